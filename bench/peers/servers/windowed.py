"""FastAPI and plain diffusers behind the windowed batcher: equal requests share a call, and wait for company a while.

A full or overdue group runs, that of the oldest request first. While a call runs, equal requests gather; a group that
has waited its window by then waits no more. With a batch of one and no window this is plain diffusers, one image after
another, first come first served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from drawing import Asked, Model, Settings, read, settings
from fastapi import FastAPI


@dataclass(frozen=True, eq=False)
class Waiting:
    """A request since when it waits, and where its picture goes."""

    asked: Asked
    since: float
    picture: asyncio.Future[str]


def ripe(waiting: Sequence[Waiting], now: float, most: int, window_s: float) -> tuple[list[Waiting], float | None]:
    """Those to run now; or none, and how long until the oldest has waited its window, None where nobody waits."""
    for first in waiting:
        group = [each for each in waiting if each.asked.kind == first.asked.kind][:most]
        if len(group) == most or now - first.since >= window_s:
            return group, None
    return [], waiting[0].since + window_s - now if waiting else None


class Windowed:
    """Gathers, and runs one call after another beside the event loop."""

    def __init__(self, said: Settings, model: Model) -> None:
        self._said, self._model = said, model
        self._waiting, self._changed = list[Waiting](), asyncio.Event()

    async def ask(self, asked: Asked) -> str:
        """Its picture, when its call is done."""
        picture = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(asked, time.monotonic(), picture))
        self._changed.set()
        return await picture

    async def run(self) -> None:
        """For ever."""
        while True:
            self._changed.clear()
            group, wait_s = ripe(self._waiting, time.monotonic(), self._said.most, self._said.window_s)
            if group:
                self._waiting = [each for each in self._waiting if each not in group]
                await _draw(self._model, group)
            else:
                await _any(self._changed, wait_s)


async def _draw(model: Model, group: Sequence[Waiting]) -> None:
    try:
        pictures = await asyncio.to_thread(model.draw, [each.asked for each in group])
    except (RuntimeError, ValueError, TypeError) as error:  # what diffusers refuses is told to who asked for it
        for each in group:
            each.picture.set_exception(error)
        return
    for each, picture in zip(group, pictures, strict=True):
        if not each.picture.cancelled():
            each.picture.set_result(picture)


async def _any(changed: asyncio.Event, wait_s: float | None) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(changed.wait(), wait_s)


def build(said: Settings) -> FastAPI:
    """The application, with the model in memory."""
    windowed = Windowed(said, Model(said.model, said.threads))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        running = asyncio.create_task(windowed.run())
        yield
        running.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/predict")
    async def predict(said: dict[str, Any]) -> dict[str, str]:
        return {"image": await windowed.ask(read(said))}

    return app


def create() -> FastAPI:
    """In each of uvicorn's workers: with a model and a batcher of its own."""
    return build(settings())


if __name__ == "__main__":
    uvicorn.run(
        "windowed:create",
        factory=True,
        app_dir=str(Path(__file__).parent),
        workers=settings().instances,
        host="127.0.0.1",
        port=settings().port,
        log_level="warning",
        access_log=False,
    )
