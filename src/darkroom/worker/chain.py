"""An attempt from claim to end, as a chain of named steps over one record; each runs in the attempt's own thread.

fetch -> load -> submit -> follow -> check -> encode -> upload -> complete
  '-------'--------'---------'-------'---------'---------'--raised--> Endings.fail
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..core import Artifact, Event, Job, class_step
from ..engine.engine import Engine
from ..engine.tape import Tape
from ..errors import BadInput, DeadlineExceeded, NotFound, TapeRefused
from ..jobs.store import Store
from ..models.checking import check_answer
from ..models.record import conditions_of, record
from ..models.residency import Residency, Resident
from ..models.tasks import call_of, made_of
from ..safety import Rules
from ..storage.encoding import VIDEOS, encode, shape_of
from ..storage.incoming import PictureLimits, read_input_picture
from ..storage.objects import Storage, key_for_output
from .adapting import AdapterFiles, lend
from .asked import is_reproducible, request_of
from .attempt import Attempt, File
from .ending import Endings, raised_by
from .events import AttemptResumed, ImageEnded, StageBegan, Tell
from .step_box import StepBox
from .tapes import Tapes

if TYPE_CHECKING:
    from PIL import Image

    from ..engine.handle import Handle
    from ..models.request import ImageRequest

log = logging.getLogger(__name__)

# Of inputs that are artifacts, once read.
MODES = {"image": "RGB", "mask_image": "L", "control_image": "RGB", "ip_adapter_image": "RGB"}


@dataclass(frozen=True)
class Tools:
    """What the steps work with; `pool` encodes and uploads, `threads` is torch's count, recorded with each image."""

    store: Store
    storage: Storage
    engine: Engine
    residency: Residency
    step_box: StepBox
    pool: Executor
    threads: int
    limits: PictureLimits
    tell: Tell
    rules: Rules
    adapters: AdapterFiles
    tapes: Tapes


class Chain:
    """Runs attempts, each in the thread that calls `run`."""

    def __init__(self, tools: Tools, endings: Endings) -> None:
        self._tools, self._endings = tools, endings
        self._steps: tuple[Callable[[Attempt], None], ...] = (
            self.fetch,
            self.load,
            self.submit,
            self.follow,
            self.check,
            self.encode,
            self.upload,
            endings.complete,
        )

    def run(self, attempt: Attempt) -> None:
        """From the claim to the end, whatever comes; then let go of what it used."""
        try:
            for step in self._steps:
                attempt.check()
                self._tools.tell(StageBegan(attempt.job.id, attempt.job.attempt, step.__name__))
                step(attempt)
        except BaseException as error:  # budget: an attempt's outermost frame; its fault is its own job's
            attempt.cancel_rest()
            self._endings.fail(attempt, error)
        finally:
            self._let_go(attempt)

    def fetch(self, attempt: Attempt) -> None:
        """Read the pictures that it is made from."""
        for name, mode in MODES.items():
            artifact_id = attempt.job.input.get(name)
            if artifact_id is None:
                continue
            artifact = self._tools.store.artifact(str(artifact_id))
            if artifact is None:
                raise NotFound(f"{name}: there is no artifact {artifact_id!r}, or no longer", field=name)
            data = self._tools.storage.get(artifact.key)
            attempt.pictures[name] = read_input_picture(data, self._tools.limits, name, mode)

    def load(self, attempt: Attempt) -> None:
        """Have its model in memory; others go on meanwhile."""
        attempt.taken = self._tools.residency.take(attempt.job.model)
        either: list[Future[Any]] = [attempt.taken, attempt.stopped]
        wait(either, timeout=seconds_left(attempt.job), return_when=FIRST_COMPLETED)
        attempt.check()
        seconds_left(attempt.job)
        attempt.taken.result()
        attempt.load_s = time.monotonic() - attempt.claimed_at

    def submit(self, attempt: Attempt) -> None:
        """Hand each of its images to the engine."""
        job, resident = attempt.job, _resident_of(attempt)
        attempt.shots = shots_of(job, attempt.pictures, resident)
        first, has_checker = attempt.shots[0], resident.loaded.has_checker
        judged = [job.model, *(resident.offer.form.models if resident.offer.form else ())]
        has_checks = self._tools.rules.has_checks
        attempt.is_checked = any(has_checks(name, job.tenant, has_checker=has_checker) for name in judged)
        attempt.served_as, attempt.pipe = self._tools.residency.variant(
            *(resident, first.task, first.solver),
            is_checked=attempt.is_checked,
            pieces=first.pieces,
            is_reproducible=is_reproducible(job),
        )
        attempt.adapters = lend(self._tools.engine, self._tools.adapters, resident, attempt.served_as, first)
        self._hand_over(attempt, self._tools.tapes.fetch(attempt))

    def _hand_over(self, attempt: Attempt, tapes: Mapping[int, bytes]) -> None:
        for number, shot in enumerate(attempt.shots):
            call = call_of(attempt.pipe, shot)
            handle = self._resume(attempt, number, call, tapes[number]) if number in tapes else None
            handle = handle or self._tools.engine.submit(
                model=attempt.served_as,
                seed=shot.seed,
                adapters=attempt.adapters,
                reproducible=is_reproducible(attempt.job),
                **_terms_of(attempt.job),
                **call,
            )
            attempt.join(handle, lambda number, event: self._hear(attempt, number, event))
        self._tell_resumed(attempt)

    def _resume(self, attempt: Attempt, number: int, call: Mapping[str, Any], data: bytes) -> Handle | None:
        """Go on from a tape, or say why not."""
        job = attempt.job
        try:
            tape = Tape.from_bytes(data, **call)
            if (tape.asked.seed, tape.asked.fixed_rows > 0) != (attempt.shots[number].seed, is_reproducible(job)):
                raise TapeRefused("the tape is of another image")
            handle = self._tools.engine.resume(tape, model=attempt.served_as, **_terms_of(job))
        except (BadInput, TapeRefused) as error:
            log.warning("%s: image %d starts over: %s", job.id, number, error)
            return None
        attempt.begin_at(number, *tape.steps)
        attempt.resumed_from_step = 0
        return handle

    def _tell_resumed(self, attempt: Attempt) -> None:
        if attempt.resumed_from_step is None:
            return
        step, steps = attempt.progress
        attempt.resumed_from_step = step
        self._tools.step_box.put(attempt.lease, step, steps)
        self._tools.tell(AttemptResumed(attempt.job.id, attempt.job.attempt, step, steps))
        log.info("%s goes on from step %d of %d", attempt.job.id, step, steps)

    def follow(self, attempt: Attempt) -> None:
        """Wait for the engine; what it did on the way has gone to the step box."""
        attempt.wait()
        refused = next((handle.error for handle in attempt.handles if isinstance(handle.error, TapeRefused)), None)
        if refused is not None:
            log.warning("%s starts over: %s", attempt.job.id, refused)
            attempt.begin_again()
            attempt.check()
            self._hand_over(attempt, {})
            attempt.wait()
        for number, handle in enumerate(attempt.handles):
            self._tools.tell(_image_ended(attempt.job, number, handle))
        failed = [handle for handle in attempt.handles if [*handle.events()][-1].type == "failed"]
        if failed and failed[0].error is not None:
            raise raised_by(attempt.shots[0], failed[0].error)
        for handle in attempt.handles:
            handle.result(0)

    def check(self, attempt: Attempt) -> None:
        """Let nothing out that the safety checker refuses, or says nothing of where it was to look."""
        for handle in attempt.handles:
            check_answer(handle.result(0), must_tell=attempt.is_checked)

    def encode(self, attempt: Attempt) -> None:
        """Write what was made as files, in memory."""
        began = time.monotonic()
        seconds_left(attempt.job)
        pairs = list(zip(attempt.shots, attempt.handles, strict=True))
        conditions = self._conditions_of(attempt)
        records = [record(shot, attempt.pipe, conditions, handle.unsteady) for shot, handle in pairs]
        output = {name: value for name, value in attempt.job.output.items() if value is not None}

        def file_of(shot: ImageRequest, handle: Handle, settings: dict[str, Any]) -> File:
            made = made_of(attempt.pipe, shot, handle.result(0))
            handle.let_go()
            return File(*encode(made, settings, **output), shape_of(made))

        # One video after the other: several side by side would lie in memory twice each, as numbers and as bytes.
        run = map if pairs[0][0].kind == VIDEOS else self._tools.pool.map
        attempt.files = [*run(file_of, attempt.shots, attempt.handles, records)]
        attempt.upload_s = time.monotonic() - began

    def upload(self, attempt: Attempt) -> None:
        """Put the files under keys of this claim's own."""
        began, job = time.monotonic(), attempt.job
        attempt.keys = [key_for_output(job.id, job.fence, k, file.suffix) for k, file in enumerate(attempt.files)]
        put, contents = self._tools.storage.put, [file.data for file in attempt.files]
        list(self._tools.pool.map(put, attempt.keys, contents, [file.content_type for file in attempt.files]))
        made = zip(attempt.keys, attempt.files, attempt.shots, strict=True)
        attempt.outputs = [_artifact_of(job, key, file, shot.seed) for key, file, shot in made]
        attempt.upload_s += time.monotonic() - began

    def _hear(self, attempt: Attempt, number: int, event: Event) -> None:
        """In the engine's thread: leave what happened for others to tell."""
        if event.type == "progress":
            self._tools.tapes.stepped(attempt, number, event.data["step"], event.data["steps"])
            self._tools.step_box.put(attempt.lease, *attempt.progress)
        elif event.type == "preview" and number == 0 and not attempt.is_checked:  # it may show what the check refuses
            self._tools.step_box.put(attempt.lease, *attempt.progress, event.data["image"])

    def _conditions_of(self, attempt: Attempt) -> dict[str, Any]:
        resident = _resident_of(attempt)
        said = conditions_of(resident.loaded, resident.offer.fixed_rows, self._tools.threads)
        return said if is_reproducible(attempt.job) else {**said, "reproducible": False}

    def _let_go(self, attempt: Attempt) -> None:
        attempt.wait()  # the model must not leave while one of its requests is on its way out
        self._tools.step_box.forget(attempt.lease)
        if attempt.taken is not None:
            self._tools.residency.give_back(attempt.job.model, attempt.taken)


def _terms_of(job: Job) -> dict[str, Any]:
    """How urgent it is; what was asked for counts among its tenant's own, in the queue."""
    return {"priority": class_step(job.priority), "deadline_s": seconds_left(job)}


def shots_of(job: Job, pictures: dict[str, Image.Image], resident: Resident) -> tuple[ImageRequest, ...]:
    """One request an image, with the one seed that is its own: each can then be made again alone."""
    asked = request_of(job, pictures, resident.offer)
    images = range(asked.num_images_per_prompt)
    return tuple(replace(asked, seed=asked.seed + k, num_images_per_prompt=1) for k in images)


def seconds_left(job: Job) -> float | None:
    """Until its deadline, None where it has none; raises `DeadlineExceeded`."""
    if job.deadline_at is None:
        return None
    left_s = job.deadline_at - time.time()
    if left_s <= 0:
        raise DeadlineExceeded("its deadline passed before it finished")
    return left_s


def _image_ended(job: Job, number: int, handle: Handle) -> ImageEnded:
    events = [*handle.events()]
    started_at = next((event.at for event in events if event.type == "started"), None)
    return ImageEnded(job.id, job.attempt, number, events[0].at, started_at, events[-1].at, handle.metrics)


def _resident_of(attempt: Attempt) -> Resident:
    assert attempt.taken is not None, "the model has not been asked for"
    return attempt.taken.result()


def _artifact_of(job: Job, key: str, file: File, seed: int) -> Artifact:
    return Artifact(
        id=uuid4().hex,
        tenant=job.tenant,
        key=key,
        content_type=file.content_type,
        size=len(file.data),
        created_at=time.time(),
        job_id=job.id,
        seed=seed,
        **file.shape,
    )
