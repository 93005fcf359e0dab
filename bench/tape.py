"""`python -m bench.tape`: bytes a step, seconds to resume against seconds redone, and what recording costs.

One request of the bundled model alone in an engine, in reproducible mode; pairs with and without recording take turns.
Then one job whose worker is killed `--kills` times (`tape_every = 1`): how many steps that costs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from darkroom.core import Event
from darkroom.engine.engine import Engine, Options
from darkroom.engine.tape import Tape
from darkroom.storage.objects import Storage, open_storage

from .tape_kills import steps_lost

BUNDLED = Path("src/darkroom/models/bundled/landscapes")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.tape", description=main.__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kills", type=int, default=8, help="0: none")
    parser.add_argument("--out", type=Path, default=Path("out/bench-tape.json"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    call = {"prompt": "a lake at dusk", "num_inference_steps": asked.steps, "guidance_scale": 5.0, "seed": 1}
    found = {"steps": asked.steps, "threads": asked.threads, **recording(call, asked.pairs), **resuming(call)}
    found |= steps_lost(asked.kills) if asked.kills else {}
    print("\n".join(f"{name:36} {value:>14.4f}" for name, value in found.items()))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def pipeline() -> Any:
    """The bundled model with the solver of its presets."""
    pipe = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32, local_files_only=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def recording(call: dict[str, Any], pairs: int) -> dict[str, float]:
    """Percent of a run that recording takes."""
    pipe = pipeline()
    with Engine(pipe, reproducible=True) as on, Engine(pipe, reproducible=True, options=Options(tapes=False)) as off:
        ratios = []
        for _ in range(pairs + 1):  # the first pair warms up
            without, beside = seconds_of(off, call), seconds_of(on, call)
            ratios.append(beside / without)
    return {"run_s": without, "recording_percent": 100 * (median(ratios[1:]) - 1)}


def seconds_of(engine: Engine, call: dict[str, Any]) -> float:
    """Of one run."""
    began = time.perf_counter()
    engine.submit(**call).result()
    return time.perf_counter() - began


def resuming(call: dict[str, Any]) -> dict[str, float]:
    """From bytes in a folder to the end of the first step that is not on the tape, at two thirds of the run."""
    steps = call["num_inference_steps"]
    at = 2 * steps // 3
    with tempfile.TemporaryDirectory() as folder, Engine(pipeline(), reproducible=True) as engine:
        storage = open_storage(folder)
        tape, redone_s = recorded(engine, call, at)
        store_s, data = stored(storage, tape)
        resumed_s = median(resumed(engine, storage, tape.asked.arguments) for _ in range(5))
    return {
        "bytes_a_step": tape.held_bytes / at,
        "stored_bytes": float(data),
        "store_s": store_s,
        "resumed_at_step": float(at),
        "resume_s": resumed_s,
        "redone_otherwise_s": redone_s,
    }


def recorded(engine: Engine, call: dict[str, Any], at: int) -> tuple[Tape, float]:
    """The tape after that step, and the seconds to the end of the next one."""
    found: list[Any] = []
    gate = threading.Event()
    began = time.perf_counter()

    def callback(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        gate.wait()  # until somebody listens
        return {}

    handle = engine.submit(**call, callback_on_step_end=callback)

    def listen(event: Event) -> None:
        if event.type == "progress" and event.data["step"] == at:
            found.append(handle.checkpoint())
        if event.type == "progress" and event.data["step"] == at + 1:
            found.append(time.perf_counter() - began)

    handle.listen(listen)
    gate.set()
    handle.result()
    tape, seconds = found
    return tape, seconds


def stored(storage: Storage, tape: Tape) -> tuple[float, int]:
    """Seconds to make bytes of it and put them down durably, and how many."""
    began = time.perf_counter()
    data = tape.to_bytes(with_arguments=False)
    storage.put("tape", data, "application/octet-stream")
    return time.perf_counter() - began, len(data)


def resumed(engine: Engine, storage: Storage, call: Mapping[str, Any]) -> float:
    """Seconds from fetching the bytes to the end of the first step that is not on the tape."""
    began, found = time.perf_counter(), threading.Event()
    handle = engine.resume(Tape.from_bytes(storage.get("tape"), **call))
    handle.listen(lambda event: found.set() if event.type in ("progress", "succeeded", "failed") else None)
    assert found.wait(600)
    seconds = time.perf_counter() - began
    handle.cancel()
    return seconds


if __name__ == "__main__":
    main()
