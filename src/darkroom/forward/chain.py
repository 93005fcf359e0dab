"""A job from its claim here to its end here, by way of another Darkroom; each stage runs in the attempt's own thread.

    prepare -> submit -> follow -> fetch -> complete
       '---------'---------'---------'--raised--> Endings.fail

What is asked over there is kept word for word in our storage before it is asked, with an idempotency key that is made
of our job's id and this claim's fence. So a forwarder that comes back after any crash asks the same again, and is
answered with the same job, never a second.
A service that is away is asked again until it answers, the deadline passes, or somebody wants the job stopped.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

from ..client.nouns import JobEvent, Output
from ..core import Artifact, Job, priority_class_of
from ..errors import (
    DarkroomError,
    Forbidden,
    NotFound,
    StoreUnavailable,
    TooBusy,
    Unauthorised,
    Unavailable,
)
from ..jobs.store import Store
from ..models.offer import Offer
from ..models.request import PICTURES
from ..storage.encoding import FORMATS
from ..storage.objects import Storage, key_for_output
from ..worker.events import StageBegan, StoreFailed, Tell
from .attempt import Attempt
from .ending import Endings, key_for_wish

log = logging.getLogger(__name__)
T = TypeVar("T")

# Whoever runs both will put that right, and until then no job is lost: a key that is refused among them.
AWAY = (Unavailable, TooBusy, Unauthorised, Forbidden)
ASK_AGAIN_S = (0.5, 15.0)  # the first pause while it is away, and the longest
CANCEL_S = 10.0  # how long it is asked to cancel, and waited for, before the job ends here alone
LOOK_S = 0.2  # between two looks whether it has ended there
SUFFIXES = dict(FORMATS.values())
MOST_WARNINGS, MOST_WARNING = 16, 4096  # of what another server says; characters of one
MOST_PREVIEW = 4 * 2**20  # characters of a data URL


@dataclass(frozen=True)
class Tools:
    """What the stages work with."""

    store: Store
    storage: Storage
    tell: Tell


class Chain:
    """Runs attempts, each in the thread that calls `run`."""

    def __init__(self, tools: Tools, endings: Endings) -> None:
        self._store, self._storage, self._tell = tools.store, tools.storage, tools.tell
        self._endings = endings
        self._stages: tuple[Callable[[Attempt], None], ...] = (
            self.prepare,
            self.submit,
            self.follow,
            self.fetch,
            endings.complete,
        )

    def run(self, attempt: Attempt) -> None:
        """From the claim to the end, whatever comes."""
        try:
            for stage in self._stages:
                attempt.check()
                self._tell(StageBegan(attempt.job.id, attempt.job.attempt, stage.__name__))
                stage(attempt)
        except BaseException as error:  # budget: an attempt's outermost frame; its fault is its own job's
            if self._endings.is_last(attempt, error):
                self._call_off(attempt)
            self._endings.fail(attempt, error)

    def prepare(self, attempt: Attempt) -> None:
        """What is to be asked, as it was asked before where this is not the first try."""
        key = key_for_wish(attempt.job)
        try:
            attempt.wish = json.loads(self._storage.get(key))
        except NotFound:
            model = attempt.backend.entries[attempt.job.model].remote_model
            attempt.wish = {**wish_of(attempt.job, model, self._offer_of(attempt)), **self._upload(attempt)}
            self._storage.put(key, json.dumps(attempt.wish).encode(), "application/json")

    def submit(self, attempt: Attempt) -> None:
        """Hand it over, under a key by which it is known when it comes again."""
        job, client = attempt.job, attempt.backend.client
        names: dict[str, Any] = {"request_id": job.request_id or None, "traceparent": job.traceparent or None}
        there = self._patiently(attempt, lambda: client.submit(**attempt.wish, **names))
        attempt.remote_id = there.id
        if there.warnings:
            self._warn(attempt, there.warnings)

    def follow(self, attempt: Attempt) -> None:
        """Tell here what happens there, until it has ended."""
        client, remote_id, seen = attempt.backend.client, str(attempt.remote_id), 0

        def listen() -> None:
            nonlocal seen
            for event in client.events(remote_id, seen):
                seen = event.seq
                self._hear(attempt, event)
                attempt.check()
                attempt.check_deadline()

        while attempt.ended is None:
            self._patiently(attempt, listen)
            found = self._patiently(attempt, lambda: client.get(remote_id))
            attempt.ended = found if found.is_final else None
        if attempt.ended.state != "succeeded":
            attempt.check_deadline()  # it was called off there for that
            attempt.ended.raise_for_state()

    def fetch(self, attempt: Attempt) -> None:
        """Bring its pictures here, under keys of this claim's own."""
        began = time.monotonic()
        assert attempt.ended is not None
        for number, output in enumerate(attempt.ended.outputs):
            self._fetch(attempt, number, output)
        attempt.fetch_s = time.monotonic() - began

    def cancel(self, attempt: Attempt) -> None:
        """Ask the other Darkroom to stop it; a while, for here it ends in any case."""
        until = time.monotonic() + CANCEL_S
        while attempt.remote_id is not None and attempt.ended is None and time.monotonic() < until:
            try:
                attempt.backend.asking.cancel(attempt.remote_id)
                return
            except DarkroomError as error:
                if not isinstance(error, AWAY):
                    return
                log.warning("it is not cancelled there yet: %s", error.code)
                time.sleep(ASK_AGAIN_S[0])

    def _call_off(self, attempt: Attempt) -> None:
        """Have it stopped there, and learn what it took: that is used, and paid for here."""
        until = time.monotonic() + CANCEL_S
        self.cancel(attempt)
        while attempt.remote_id is not None and attempt.ended is None and time.monotonic() < until:
            try:
                found = attempt.backend.asking.get(attempt.remote_id)
            except DarkroomError as error:
                if not isinstance(error, AWAY):
                    return
            else:
                attempt.ended = found if found.is_final else None
            if attempt.ended is None:
                time.sleep(LOOK_S)

    def _fetch(self, attempt: Attempt, number: int, output: Output) -> None:
        job, client = attempt.job, attempt.backend.client
        data = self._patiently(attempt, lambda: client.download(output.artifact_id))
        if len(data) != output.size:
            raise Unavailable("a picture came in part only")
        key = key_for_output(job.id, job.fence, number, SUFFIXES.get(output.content_type, ""))
        self._storage.put(key, data, output.content_type)
        attempt.keys.append(key)
        attempt.outputs.append(_artifact_of(job, key, output))

    def _hear(self, attempt: Attempt, event: JobEvent) -> None:
        if event.type == "started":
            attempt.started_at = time.monotonic()
        elif event.type == "progress":
            self._report(attempt, int(event.data["step"]), int(event.data["steps"]))
        elif event.type == "preview" and len(str(event.data["image"])) <= MOST_PREVIEW:
            self._report(attempt, attempt.step, attempt.job.steps, str(event.data["image"]))

    def _report(self, attempt: Attempt, step: int, steps: int, preview: str | None = None) -> None:
        attempt.step = step
        try:
            self._store.report_step(attempt.lease, step, steps, time.time(), preview)
        except StoreUnavailable:
            self._tell(StoreFailed("reporting a step"))

    def _warn(self, attempt: Attempt, warnings: Sequence[str]) -> None:
        """Say here what was said there: only there does anybody know the model's window."""
        kept = [attempt.backend.masked(fair_text(said)[:MOST_WARNING]) for said in warnings[:MOST_WARNINGS]]
        try:
            self._store.add_warnings(attempt.lease, kept)
        except StoreUnavailable:
            self._tell(StoreFailed("adding warnings"))

    def _upload(self, attempt: Attempt) -> dict[str, str]:
        """The pictures that it starts from, as the other Darkroom knows them."""
        return {name: self._upload_one(attempt, name) for name in PICTURES if attempt.job.input.get(name) is not None}

    def _upload_one(self, attempt: Attempt, name: str) -> str:
        artifact_id = str(attempt.job.input[name])
        artifact = self._store.artifact(artifact_id)
        if artifact is None:
            raise NotFound(f"{name}: there is no artifact {artifact_id!r}, or no longer", field=name)
        data = self._storage.get(artifact.key)
        return self._patiently(attempt, lambda: attempt.backend.client.upload(data))

    def _offer_of(self, attempt: Attempt) -> Offer:
        described = attempt.backend.described.get(attempt.job.model)
        if described is None:
            raise Unavailable("what the model offers is not known just now")
        return described.offer

    def _patiently(self, attempt: Attempt, ask: Callable[[], T]) -> T:
        """The answer, however long the other Darkroom is away."""
        delay_s, longest_s = ASK_AGAIN_S
        while True:
            attempt.check()
            attempt.check_deadline()
            try:
                return ask()
            except NotFound as error:
                if attempt.remote_id is None:
                    raise
                self._storage.delete([key_for_wish(attempt.job)])
                # The next attempt hands it over anew.
                raise Unavailable("the service behind it has lost the job") from error
            except AWAY as error:
                log.warning("the service behind %s is away: %s", attempt.job.model, error.code)
            attempt.stopped.wait(delay_s)
            delay_s = min(2 * delay_s, longest_s)


# Over there all of ours are one tenant's, whose jobs go by priority: so our classes do, and what our tenants ask for
# does not, or one could go before the others.
PRIORITY_THERE = {"low": -100, "normal": 0, "high": 100}


def wish_of(job: Job, model: str, offer: Offer) -> dict[str, Any]:
    """The request to make over there, as keywords of `Client.submit`, without its pictures."""
    inputs = {name: value for name, value in job.input.items() if value is not None and name not in PICTURES}
    about = {
        "model": model,
        "task": job.task,
        "priority": PRIORITY_THERE[priority_class_of(job.priority)],
        "output": {name: value for name, value in job.output.items() if value is not None},
        "deadline_s": None if job.deadline_at is None else max(1.0, job.deadline_at - time.time()),
        "metadata": {"forwarded_for": job.id},
        "idempotency_key": f"forward-{job.id}-{job.fence}",
    }
    return {**about, **inputs, **_adapters(job, offer), **_preset(job, offer)}


def fair_text(said: str) -> str:
    """A text that every store can write: half a surrogate pair, which JSON can carry, is none."""
    return said.encode("utf-8", "replace").decode()


def _preset(job: Job, offer: Offer) -> dict[str, str]:
    """A job names no guidance or solver where its preset left them to the pipeline. Over there the default preset would
    fill them in; so a preset is named that leaves them open, too, as the one did that our door took it by."""
    open_ = [name for name in ("guidance_scale", "solver") if job.input.get(name) is None]
    fit = [name for name, preset in offer.presets.items() if all(getattr(preset, key) is None for key in open_)]
    fit.sort(key=lambda name: len(offer.presets[name].adapters))  # best without: they are taken out one by one
    return {"preset": fit[0]} if open_ and fit else {}


def _adapters(job: Job, offer: Offer) -> dict[str, dict[str, float]]:
    """The job's own, and at weight 0 those that the preset which fills it up over there would add."""
    preset = offer.preset(_preset(job, offer).get("preset"))
    weights = {**dict.fromkeys(preset.adapters, 0.0), **(job.input.get("adapters") or {})}
    return {"adapters": weights} if weights else {}


def _artifact_of(job: Job, key: str, output: Output) -> Artifact:
    return Artifact(
        id=uuid4().hex,
        tenant=job.tenant,
        key=key,
        content_type=output.content_type,
        size=output.size,
        created_at=time.time(),
        job_id=job.id,
        width=output.width,
        height=output.height,
        seed=output.seed,
        frames=output.frames,
        fps=output.fps,
    )
