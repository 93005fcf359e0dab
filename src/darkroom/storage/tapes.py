"""Where the tapes of jobs lie, and how they go once nobody needs them. What a tape is, only the engine knows."""

from __future__ import annotations

import re

from .objects import Storage, prefix_for_outputs

NAME = re.compile(r"tape-([0-9]+)-([0-9]+)\.safetensors")


def key_for_tape(job_id: str, fence: int, number: int) -> str:
    """Of an image, by its number; the fence keeps what a lost claim still writes apart from what later ones have."""
    return f"{prefix_for_outputs(job_id)}/tape-{fence}-{number}.safetensors"


def tapes_of(storage: Storage, job_id: str) -> dict[str, tuple[int, int]]:
    """The keys of a job's tapes, with their fences and images' numbers; raises `StorageUnavailable`."""
    found = {key: NAME.fullmatch(key.rpartition("/")[2]) for key in storage.list(prefix_for_outputs(job_id))}
    return {key: (int(said[1]), int(said[2])) for key, said in found.items() if said}


def remove_tapes(storage: Storage, job_id: str) -> None:
    """Of a job that has ended without a worker; raises `StorageUnavailable`."""
    storage.delete(sorted(tapes_of(storage, job_id)))
