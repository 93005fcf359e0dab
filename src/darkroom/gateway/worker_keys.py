"""The keys in the storage that a worker which joined may name, by what it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..core import Artifact, Job, JobState, Lease
from ..errors import BadInput, LeaseLost, NotFound
from ..models.request import PICTURES
from ..storage.encoding import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .access import Caller
    from .joined import Joined

NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
CLAIM = r"(?P<fence>0|[1-9][0-9]{0,17})-(?P<number>0|[1-9][0-9]{0,5})"  # in one way alone
OUTPUT = re.compile(rf"outputs/(?P<job>{NAME})/{CLAIM}(?P<suffix>\.[a-z0-9]{{1,12}})")
TAPE = re.compile(rf"outputs/(?P<job>{NAME})/tape-{CLAIM}\.safetensors")
OUTPUTS = re.compile(rf"outputs/(?P<job>{NAME})")
UPLOAD = re.compile(r"uploads/(?P<id>[A-Za-z0-9_-]+)\.[a-z0-9]{1,12}")
ADAPTER = re.compile(rf"adapters/{NAME}/[0-9a-f]{{64}}\.safetensors")
SUFFIXES = dict(FORMATS.values())  # of content types
TYPES = {suffix: kind for kind, suffix in SUFFIXES.items()}
BYTES = "application/octet-stream"


def input_ids(job: Job) -> set[str]:
    """The artifacts that a job starts from."""
    return {str(job.input[name]) for name in PICTURES if job.input.get(name) is not None}


def images_of(job: Job) -> int:
    """How many pictures it makes."""
    return int(job.input.get("num_images_per_prompt") or 1)


def check_output(said: Artifact, lease: Lease, images: int) -> None:
    """Raise `BadInput` unless it is one of so many pictures under a key of that claim."""
    found = OUTPUT.fullmatch(said.key)
    if found is None or (found["job"], int(found["fence"])) != (lease.job_id, lease.fence):
        raise BadInput("outputs: a key is not one of this claim's", field="outputs")
    _check_number(found, images, "outputs")
    if SUFFIXES.get(said.content_type) != found["suffix"]:
        allowed = ", ".join(f"{kind} ({suffix})" for kind, suffix in SUFFIXES.items())
        raise BadInput(f"outputs: content_type must be one of {allowed}, as the key ends", field="outputs")


def type_to_put(joined: Joined, caller: Caller, key: str) -> str:
    """As what bytes under that key are stored, whatever the worker calls them: a browser may be sent there.

    Raises `LeaseLost` where its job is not held under that fence, `BadInput` for what workers do not write.
    """
    output, tape = OUTPUT.fullmatch(key), TAPE.fullmatch(key)
    found = tape or (output if output and output["suffix"] in TYPES else None)
    if found is None:
        raise BadInput("key: a worker writes outputs and tapes of jobs that it holds, nothing else", field="key")
    _check_number(found, images_of(joined.held(caller, found["job"], int(found["fence"]))), "key")
    return BYTES if tape else TYPES[found["suffix"]]


def _check_number(found: re.Match[str], images: int, field: str) -> None:
    if int(found["number"]) >= images:
        raise BadInput(f"{field}: the job makes {images} pictures, counted from 0", field=field)


def check_get(joined: Joined, caller: Caller, key: str) -> None:
    """Raise `NotFound` for what no job needs that the caller's workers hold."""
    upload, tape = UPLOAD.fullmatch(key), TAPE.fullmatch(key)
    if ADAPTER.fullmatch(key) or (upload and joined.needs(caller, upload["id"])):
        return
    try:
        if tape:
            joined.held(caller, tape["job"])
            return
    except LeaseLost:
        pass
    raise NotFound("no job that this worker holds needs an object of that key", field="key")


def check_delete(joined: Joined, caller: Caller, key: str, job_of: Callable[[str], Job | None]) -> None:
    """Raise `LeaseLost` for what a job still needs that the caller's workers do not hold, `BadInput` for other keys.

    What a lost claim left under its own fence nobody will ever read, and neither the tape of a job that has ended.
    """
    output, tape = OUTPUT.fullmatch(key), TAPE.fullmatch(key)
    found = output or tape
    if found is None:
        raise BadInput("key: a worker removes outputs and tapes, nothing else", field="key")
    job = job_of(found["job"])
    if job is None:
        return
    if output and job.fence == int(output["fence"]):
        if job.state == JobState.SUCCEEDED:
            raise LeaseLost(f"{job.id} has ended: its outputs are its owner's")
        if job.state == JobState.RUNNING:
            joined.held(caller, job.id, job.fence)
    elif tape and not job.is_final:
        joined.held(caller, job.id)
