"""Which accelerators workers of this machine may use; without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from ..errors import DriverUnavailable

CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
EVERY = "all"
ANSWER_S = 10.0  # a driver that hangs must not hold up who asks


@dataclass(frozen=True)
class Sharing:
    """How many workers share this machine's memory, and how many a device's."""

    machine: int
    device: int


def sharing(workers: int | None) -> Sharing:
    """As many workers as were said, else one for each device of the machine; of those that this process was given no
    other shares in what it sees. Raises `DriverUnavailable`."""
    devices = len(accelerators(EVERY))
    count = workers or max(1, devices)
    return Sharing(count, -(-count // max(1, devices)))


def accelerators(visible: str | None = None) -> list[str]:
    """The NVIDIA devices that workers may use, as CUDA_VISIBLE_DEVICES names them.

    `visible` stands above what this process finds in that variable, and EVERY names all. Raises `DriverUnavailable`
    where nvidia-smi hangs.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=ANSWER_S)
    except subprocess.TimeoutExpired as error:
        hangs = f"nvidia-smi does not say within {ANSWER_S:g} s which accelerators there are"
        raise DriverUnavailable(hangs) from error
    there = [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]
    said = os.environ.get(CUDA_DEVICES) if visible is None else visible
    if said in (None, EVERY):
        return there
    return [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
