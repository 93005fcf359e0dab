"""A plan carried out: every image through one engine, each written as it ends, and what is said of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from ..engine.engine import Engine
from ..errors import ContentRefused, NotSupported
from ..models.checking import check_answer
from ..models.record import record
from ..models.revision import short
from ..models.tasks import call_of, made_of
from ..storage import files
from ..storage.encoding import Made, encode
from ..storage.sounds import Sound
from ..storage.videos import Video
from ..wording import counted
from . import say
from .making import Plan, Shot
from .progress import watch

if TYPE_CHECKING:
    from ..engine.handle import Handle


def make(ready: Plan, *, as_json: bool) -> None:
    """Make the images of a plan; exits with 1 where one of them failed, with the others written."""
    _tell(ready)
    began = time.perf_counter()
    ended = dict(_run(ready))
    seconds = time.perf_counter() - began
    made = [ended[number] for number in sorted(ended) if "path" in ended[number]]
    failed = [ended[number] for number in sorted(ended) if "path" not in ended[number]]
    if as_json:
        say.result(_answer(ready, made, failed, seconds))
    else:
        for image in made:
            typer.echo(f"{image['path']}  {_said_shape(image)}  seed {image['settings']['input']['seed']}")
    for fault in failed:
        say.problem(f"{fault['error']} (seed {fault['settings']['input']['seed']})")
    if failed:
        raise typer.Exit(1)


def _shape(made: Made) -> dict[str, Any]:
    if isinstance(made, Sound):
        return {"seconds": made.seconds}
    width, height = made.size
    moving = {"frames": len(made.frames), "rate": made.rate} if isinstance(made, Video) else {}
    return {"width": width, "height": height, **moving}


def _said_shape(image: Mapping[str, Any]) -> str:
    if "seconds" in image:
        return f"{image['seconds']:g} s"
    moves = f", {image['frames']} frames at {image['rate']:g} a second" if "frames" in image else ""
    return f"{image['width']}x{image['height']}{moves}"


def _tell(ready: Plan) -> None:
    """Say with what it is made, and what may not be as it was meant."""
    conditions, placement = ready.conditions, ready.loaded.placement
    rows, threads = conditions["fixed_rows"], conditions["threads"]
    said_rows = f"{rows} rows a forward" if rows > 1 else "each row alone"
    said_threads = counted(threads, "thread")
    say.note(f"{conditions['model']} {short(conditions['revision'])} on {placement}; {said_threads}, {said_rows}")
    say.note(f"seed {ready.shots[0].request.seed}")
    for text in ready.warnings:
        say.warning(text)


def _run(ready: Plan) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of each image and what became of it, as they end."""
    calls = [call_of(ready.pipe, shot.request) for shot in ready.shots]
    steps = [shot.request.steps_to_run for shot in ready.shots]
    with Engine(ready.pipe, reproducible=True, fixed_rows=ready.conditions["fixed_rows"]) as engine, _stopping(engine):
        for name, file in ready.adapters.items():
            engine.add_adapter(name, file)
        asked = [shot.request for shot in ready.shots]
        waiting = {
            n: engine.submit(seed=asked[n].seed, adapters=dict(asked[n].adapters), **call)
            for n, call in enumerate(calls)
        }
        for number, handle in watch(waiting, steps):
            yield number, _finish(ready, ready.shots[number], handle)


@contextlib.contextmanager
def _stopping(engine: Engine) -> Iterator[None]:
    """Whoever interrupts does not want to wait for the images that are left."""
    with contextlib.ExitStack() as on_fault:
        on_fault.callback(engine.close, cancel=True)
        yield
        on_fault.pop_all()


def _finish(ready: Plan, shot: Shot, handle: Handle) -> dict[str, Any]:
    """Write one image that has ended; where it failed, the others go on."""
    settings = record(shot.request, ready.pipe, ready.conditions, handle.unsteady)
    *_, last = handle.events()
    if last.type != "succeeded":
        return {"error": last.data.get("error", last.type), "settings": settings}
    try:
        check_answer(handle.result(0), must_tell=ready.is_checked)
    except (ContentRefused, NotSupported) as error:
        return {"error": error.message, "settings": settings}
    made = made_of(ready.pipe, shot.request, handle.result(0))
    data, _, _ = encode(made, settings)
    files.write_whole(shot.path, data)
    return {"path": str(shot.path.absolute()), **_shape(made), "settings": settings}


def _answer(ready: Plan, made: list[dict[str, Any]], failed: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    return {
        "model": ready.conditions["model"],
        "revision": ready.conditions["revision"],
        "seed": ready.shots[0].request.seed,
        "images": made,
        "failed": failed,
        "warnings": list(ready.warnings),
        "seconds": round(seconds, 3),
    }
