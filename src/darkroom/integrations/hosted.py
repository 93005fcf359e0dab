"""One model in an engine, in a process that another program's server has started and talks to.

Requests share batches at the denoising step, whenever they come: whoever calls `make` only has to call it as each one
comes, and not to wait for one before the next. Everything is settled by the darkroom.toml that was exported with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..config import FILE_NAME
from ..config import load as load_settings
from ..engine.engine import Engine, Options
from ..engine.handle import Handle
from ..errors import BadInput, DarkroomError, EngineBroken, InvariantBroken, NotSupported, OutOfMemory, QueueFull
from ..models.catalogue import catalogue
from ..models.checking import check_answer
from ..models.device import fix_threads
from ..models.loading import load
from ..models.offer import TEXT_TO_IMAGE
from ..models.record import conditions_of, record
from ..models.request import MAX_SEED, ImageRequest, refuse_unknown, validate
from ..models.tasks import call_of, pipeline_for
from ..safety import check_characters, read_rules

log = logging.getLogger(__name__)

INPUTS = (
    "prompt",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "width",
    "height",
    "seed",
    "preset",
    "solver",
    "adapters",
    "reproducible",
)
WARM_UP = {"prompt": "a quiet field", "seed": 0, "num_inference_steps": 2}
TENANT = "local"  # these servers know nobody by name
FATAL = (EngineBroken, torch.AcceleratorError)  # no later request would fare better
LAST_ANSWERS_S = 1.0


@dataclass(frozen=True)
class Made:
    """A picture, and everything that must be known to make it again; JSON."""

    image: Image.Image
    settings: dict[str, Any]


class Hosted:
    """The model of the `darkroom.toml` in `folder`, loaded and tried once; raises what keeps it from being served."""

    def __init__(self, folder: Path) -> None:
        settings = load_settings(folder / FILE_NAME)
        [name] = settings.serve.models
        self._most = settings.serve.max_queued
        self._rules = read_rules(settings.safety)
        self._loaded = load(catalogue(settings).find(name), is_offline=settings.offline)
        self._offer = self._loaded.offer()
        self._is_checked = self._rules.has_checks(name, TENANT, has_checker=self._loaded.has_checker)
        threads = fix_threads(settings.threads, self._offer.fixed_rows)
        self._conditions = conditions_of(self._loaded, self._offer.fixed_rows, threads)
        self._pipes: dict[str | None, Any] = {}
        self._adapters: set[str] = set()
        self._making = threading.Lock()
        room, aside = settings.serve.adapter_memory_mb * 2**20, settings.serve.decode_aside
        self._engine = Engine(options=Options(adapter_bytes=room, decode_aside=aside, tapes=False))
        request, _, handle = self._submit(WARM_UP)  # kernels are chosen, and what is wrong shows now
        self._finish(request, handle, is_reproducible=False)

    async def make(self, inputs: Mapping[str, Any]) -> Made:
        """One picture; `inputs` are those of `INPUTS`, None being the same as not given. Raises `DarkroomError`."""
        try:
            # Not in the loop's own thread: a solver's or an adapter's first use takes a while.
            request, is_reproducible, handle = await asyncio.to_thread(self._submit, inputs)
            await handle
            return await asyncio.to_thread(self._finish, request, handle, is_reproducible=is_reproducible)
        except Exception as error:
            if isinstance(error, FATAL):
                _end_soon(error)
            raise named(error) from error

    def close(self) -> None:
        """Finish what was asked for, and take nothing more."""
        self._engine.close()

    def _submit(self, inputs: Mapping[str, Any]) -> tuple[ImageRequest, bool, Handle]:
        given = {name: value for name, value in inputs.items() if value is not None}
        request, is_reproducible = self._judged(given), bool(given.get("reproducible"))
        self._check_room()
        pipe = self._made_ready(request)
        handle = self._engine.submit(
            model=_served_as(request.solver),
            seed=request.seed,
            adapters=dict(request.adapters),
            reproducible=is_reproducible,
            **call_of(pipe, request),
        )
        return request, is_reproducible, handle

    def _judged(self, given: Mapping[str, Any]) -> ImageRequest:
        refuse_unknown(map(str, given), INPUTS)
        if not isinstance(given.get("reproducible", False), bool):
            raise BadInput("reproducible must be true or false", field="reproducible")
        asked = {name: value for name, value in given.items() if name != "reproducible"}
        request = validate({"seed": secrets.randbelow(MAX_SEED), **asked}, self._offer)
        check_characters(request.texts)
        self._rules.check_texts(request.texts, self._offer.model, TENANT)
        return request

    def _check_room(self) -> None:
        stats = self._engine.stats()
        if stats["waiting"] + stats["running"] >= self._most:
            raise QueueFull(f"{self._most} requests are waiting or running: try again later")

    def _made_ready(self, request: ImageRequest) -> Any:
        """The pipeline that the engine serves for its solver, and its adapters; each made known at its first use."""
        with self._making:
            if request.solver not in self._pipes:
                pipe = pipeline_for(self._loaded.pipe, TEXT_TO_IMAGE, request.solver, self._offer.model)
                checked = self._loaded.with_checker if self._is_checked else self._loaded.without_checker
                pipe = checked(pipe)
                rows, said = self._offer.fixed_rows, self._loaded.entry.settings
                name, easy = _served_as(request.solver), said.easy_cache
                self._engine.add(pipe, name, fixed_rows=rows, compiled=said.compile, easy_cache=easy)
                self._pipes[request.solver] = pipe
            for name in request.adapters.keys() - self._adapters:
                self._engine.add_adapter(name, self._offer.adapters[name].file, model=_served_as(request.solver))
                self._adapters.add(name)
            return self._pipes[request.solver]

    def _finish(self, request: ImageRequest, handle: Handle, *, is_reproducible: bool) -> Made:
        answer, pipe = handle.result(), self._pipes[request.solver]
        check_answer(answer, must_tell=self._is_checked)
        pictures = getattr(answer, "images", None)
        if not pictures:
            raise NotSupported(f"{type(pipe).__name__} makes no pictures", field="model")
        conditions = self._conditions if is_reproducible else {**self._conditions, "reproducible": False}
        return Made(pictures[0], record(request, pipe, conditions, handle.unsteady))


def see_one_device(number: int) -> None:
    """Use that one of the devices that this process may use, and no other; before CUDA is asked for anything."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[number].strip() if seen else str(number)


def _served_as(solver: str | None) -> str:
    return solver or "own"


def named(error: BaseException) -> DarkroomError:
    """What is not ours is told by its kind and first line, never by its trace, which the log has."""
    if isinstance(error, DarkroomError):
        return error
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return OutOfMemory("the device ran out of memory: try again later, or a smaller size")
    log.error("a request failed", exc_info=error)
    [text, *_] = str(error).strip().splitlines() or [""]
    return InvariantBroken(f"the pipeline failed: {type(error).__name__}: {text[:300]}")


def _end_soon(error: BaseException) -> None:
    """No later request would fare better. TorchServe starts the process anew; Triton says that it has gone."""
    log.critical("the engine is broken and its process ends: %s", error)
    ending = threading.Timer(LAST_ANSWERS_S, os._exit, (1,))
    ending.daemon = True
    ending.start()
