"""`python -m bench.gpu`: how near an accelerator comes to its limit, with random weights in the shapes of real models.

Per cent of the FLOP floor (all FLOPs of an image at the device's peak), seconds of a forward by rows and size, the
workloads W1 to W3, and W7, many different adapters in one forward. `--small` runs all of it at small widths, on a CPU
too: it shows that it runs, not how fast.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from darkroom.engine.engine import Engine, Options
from darkroom.models.device import best_device, device_name

from . import loads, parts
from .shapes import SHAPES, Shape, build

H200_TFLOPS = 790.0  # bf16, dense, as large products of matrices reach it


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    asked = _parser().parse_args(arguments)
    kind = best_device()
    device = torch.device("cpu" if asked.small and kind != "cuda" else kind)
    if device.type != "cuda" and not asked.small:
        sys.exit(f"there is no CUDA device here ({kind}): --small runs the same at small widths")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    peak = _peak(asked.peak_tflops, device, dtype)
    print(f"{device_name(device.type)} ({device.type}), {dtype}, peak {peak / 1e12:.3g} TFLOP/s", flush=True)
    told = {name: _measured(name, asked, device, peak) for name in asked.shapes}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "device": device_name(device.type),
        "torch": torch.__version__,
        "peak_flops": peak,
        "compiled": asked.compile,
        "decode_in_turn": asked.decode_in_turn,
    }
    asked.out.write_text(json.dumps({**about, "small": asked.small, "shapes": told}, indent=1), encoding="utf-8")
    print(f"written: {asked.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--small", action="store_true", help="small widths; runs on a CPU as well")
    parser.add_argument("--compile", action="store_true", help="the engine compiles the denoiser's blocks")
    parser.add_argument("--decode-in-turn", action="store_true", help="decodes take turns with the denoiser")
    parser.add_argument(
        "--peak-tflops", type=float, help="of the device; else an H200's, or what a large product reaches"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 3, 4, 8, 16])
    parser.add_argument("--requests", type=int, default=40, help="of each open-loop load")
    parser.add_argument(
        "--loads", type=float, nargs="+", default=[0.5, 0.9, 1.5, 2.5], help="of W2; W1 and W3 run at 0.9"
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench-gpu.json"))
    return parser


def _peak(said: float | None, device: torch.device, dtype: torch.dtype) -> float:
    if said is not None:
        return said * 1e12
    is_h200 = device.type == "cuda" and "H200" in device_name("cuda")
    return H200_TFLOPS * 1e12 if is_h200 else parts.peak_flops(device, dtype)


def _measured(name: str, asked: argparse.Namespace, device: torch.device, peak: float) -> dict[str, Any]:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    flops = parts.flops_of(build(name, torch.device("meta"), dtype, small=asked.small))
    shape, floor_s = build(name, device, dtype, small=asked.small), flops["image"] / peak
    cost = f"{flops['image'] / 1e12:.4g} TFLOP, floor {floor_s:.3f} s"
    print(f"\n{name}: {shape.side} px, {shape.steps} steps, {cost}", flush=True)
    aside = False if asked.decode_in_turn else None
    with Engine(options=Options(compile=asked.compile, decode_aside=aside)) as engine:
        engine.add(shape.pipe, shape.name)
        alone = parts.image_seconds(shape, engine, asked.repeats)
        for system, seconds in alone.items():
            print(f"  one image, {system:8} {seconds:9.3f} s   {floor_s / seconds:6.1%} of the floor", flush=True)
        found = [_load(*each, shape, engine, asked, alone["plain"]) for each in _workloads(asked.loads)]
    sides = sorted({shape.side // 2, shape.side})
    curve = parts.curve(shape, asked.rows, sides, asked.repeats)
    for side, seconds_by_rows in curve.items():
        _print_curve(side, seconds_by_rows)
    rows = max(asked.rows)
    added = parts.adapters_added(shape, rows, asked.repeats)
    print(f"  W7: {rows} different adapters in {rows} rows add {added:+.1%}", flush=True)
    told = {"flops": flops, "floor_s": floor_s, "alone_s": alone, "curve_s": curve, "adapters_added": added}
    return {**told, "loads": [asdict(one) for one in found]}


def _workloads(mixed: list[float]) -> list[tuple[str, float]]:
    return [("W1", 0.9), *(("W2", load) for load in mixed), ("W3", 0.9)]


def _load(
    workload: str, load: float, shape: Shape, engine: Engine, asked: argparse.Namespace, image_s: float
) -> loads.Told:
    told = loads.run(workload, shape, engine, load, asked.requests, image_s)
    kept = ", ".join(f"{slo} {share:.0%}" for slo, share in told.attained.items())
    waits = f"p50 {told.p50_s:.2f} s, p99 {told.p99_s:.2f} s"
    queued = f"one after another {told.queue_p50_s:.2f}, {told.queue_p99_s:.2f}"
    print(f"  {workload} at {load:g}: {told.images_per_s:.2f} images/s, {waits} ({queued}); within {kept}", flush=True)
    return told


def _print_curve(side: int, seconds: dict[int, float]) -> None:
    first = seconds[min(seconds)] / min(seconds)
    said = "  ".join(f"{rows}: {spent * 1000:.1f} ms ({first * rows / spent:.2f}x)" for rows, spent in seconds.items())
    print(f"  rows at {side} px  {said}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
