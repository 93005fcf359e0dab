"""What callers do to a service, good and bad, and the ledger of what it owes them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

from darkroom import AsyncClient, errors
from darkroom.client.nouns import Job

SIDES = (192, 256)
SUCCEEDED, ENDED = frozenset({"succeeded"}), frozenset({"succeeded", "cancelled"})
LAST_STEPS = 3  # a cancel that comes in these may find the pictures made before it is heard
BAD: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("num_inference_steps", {"prompt": "a lake", "num_inference_steps": 0}),
    ("prompt", {"prompt": ""}),
    ("width", {"prompt": "a lake", "width": 100, "height": 192}),
    ("guidance_scale", {"prompt": "a lake", "guidance_scale": "much"}),
    ("seed", {"prompt": "a lake", "seed": -1}),
    ("adapters", {"prompt": "a lake", "adapters": {"nobody-has-this": 1.0}}),
)


@dataclass
class Traffic:
    """One caller after another, `pause_s` apart on average; each minds its own job and notes what it is owed.

    `owed` has the states that each accepted job may end in; `faults` what was not as promised.
    """

    url: str
    rng: random.Random
    pause_s: float
    owed: dict[str, frozenset[str]] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    async def run(self, seconds: float, patience_s: float) -> None:
        """Callers for so long; then each gets `patience_s` to finish what it began."""
        end, callers = time.monotonic() + seconds, set[asyncio.Task[None]]()
        # Without retries: what a caller is refused once is a fault, also where it would be served the next time.
        async with AsyncClient(self.url, retries=0) as client, httpx.AsyncClient(base_url=self.url, timeout=60) as wire:
            kinds = self._kinds(client, wire)
            while time.monotonic() < end:
                kind = self.rng.choices([*kinds], [weight for weight, _ in kinds.values()])[0]
                caller = asyncio.create_task(self._call(kind, kinds[kind][1]), name=kind)
                self.begun[kind] += 1
                callers.add(caller)
                caller.add_done_callback(callers.discard)
                await asyncio.sleep(self.rng.expovariate(1 / self.pause_s))
            if callers:
                _, waiting = await asyncio.wait(callers, timeout=patience_s)
                self.faults += [f"stuck: {caller.get_name()}" for caller in waiting]
                for caller in waiting:
                    caller.cancel()
            if self.begun != self.done:
                self.faults.append(f"not all callers came to an end: {dict(self.begun - self.done)}")
            await self._settle(client, patience_s)

    def _kinds(
        self, client: AsyncClient, wire: httpx.AsyncClient
    ) -> dict[str, tuple[float, Callable[[], Awaitable[None]]]]:
        """Who calls how often, and what he does."""
        return {
            "waits": (8, lambda: self._wait(client)),
            "brings a picture": (2, lambda: self._bring(client)),
            "cancels": (2, lambda: self._cancel(client)),
            "stops listening": (2, lambda: self._leave(client)),
            "hangs up": (2, lambda: self._hang_up(client, wire)),
            "asks for what is refused": (2, lambda: self._ask_badly(wire)),
            "uploads rubbish": (1, lambda: self._upload_rubbish(wire)),
            "deletes": (1, lambda: self._delete(client)),
        }

    async def _call(self, kind: str, does: Callable[[], Awaitable[None]]) -> None:
        try:
            await does()
        except Exception as error:  # budget: nobody reads this task; whatever ends a caller is a fault
            self.faults.append(f"{kind}: {type(error).__name__}: {error}")
        self.done[kind] += 1

    def _wish(self) -> dict[str, Any]:
        side, number = self.rng.choice(SIDES), self.rng.randrange(10**6)
        wish = {"num_inference_steps": self.rng.randint(2, 10), "width": side, "height": side, "seed": number}
        if self.rng.random() < 0.2:
            wish["num_images_per_prompt"] = 2
        if self.rng.random() < 0.2:
            wish["reproducible"] = True
        return wish

    async def _submit(self, client: AsyncClient, may_end: frozenset[str] = SUCCEEDED, **more: Any) -> str:
        job = await client.submit("night, full moon over a lake", **{**self._wish(), **more})
        self.owed[job.id] = may_end
        return job.id

    async def _wait(self, client: AsyncClient) -> None:
        await self._see_pictures(client, await self._submit(client))

    async def _see_pictures(self, client: AsyncClient, job_id: str) -> None:
        job = await client.wait(job_id)
        job.raise_for_state()
        for output in job.outputs:
            picture = Image.open(io.BytesIO(await client.download(output)))
            picture.load()  # `open` reads its header alone
            assert picture.size == (output.width, output.height), f"{job_id}: {picture.size}"

    async def _bring(self, client: AsyncClient) -> None:
        side = self.rng.choice(SIDES)
        picture = Image.effect_noise((side, side), 60).convert("RGB")
        wish = {"image": picture, "strength": 0.7, "width": side, "height": side}
        await self._see_pictures(client, await self._submit(client, **wish))

    async def _cancel(self, client: AsyncClient) -> None:
        job_id = await self._submit(client, ENDED, num_inference_steps=20)
        await asyncio.sleep(self.rng.uniform(0, 3))
        answered = await client.cancel(job_id)
        ended = answered if answered.is_final else await client.wait(job_id)
        assert is_heeded(answered, ended), f"{job_id} {ended.state} after a cancel at step {answered.step}"
        self.owed[job_id] = frozenset({ended.state}) & ENDED

    async def _leave(self, client: AsyncClient) -> None:
        events = client.events(await self._submit(client))
        async for _ in events:
            break
        await events.aclose()

    async def _hang_up(self, client: AsyncClient, wire: httpx.AsyncClient) -> None:
        """A caller whose line breaks while he waits finds his job again by its key."""
        key, asked = f"key-{self.rng.randrange(10**9)}", {"input": {"prompt": "a calm sea", **self._wish()}}
        with contextlib.suppress(httpx.TimeoutException):
            waiting = {"Idempotency-Key": key, "Prefer": "wait=30"}
            await wire.post("/v1/jobs", json=asked, headers=waiting, timeout=httpx.Timeout(self.rng.uniform(0.05, 0.5)))
        again = await wire.post("/v1/jobs", json=asked, headers={"Idempotency-Key": key})
        assert again.status_code in (200, 202), again.text
        self.owed[again.json()["id"]] = SUCCEEDED

    async def _ask_badly(self, wire: httpx.AsyncClient) -> None:
        named, asked = self.rng.choice(BAD)
        answer = await wire.post("/v1/jobs", json={"input": asked})
        said = answer.json()["error"]
        assert answer.status_code in (400, 404), f"{asked}: {answer.status_code}"
        assert named in str(said["field"]), f"{asked}: {said}"

    async def _upload_rubbish(self, wire: httpx.AsyncClient) -> None:
        answer = await wire.post("/v1/uploads", content=self.rng.randbytes(20_000))
        assert 400 <= answer.status_code < 500, f"{answer.status_code} to rubbish"

    async def _delete(self, client: AsyncClient) -> None:
        job_id = await self._submit(client)
        await client.wait(job_id)
        await client.delete(job_id)
        self.owed.pop(job_id)
        try:
            await client.get(job_id)
        except errors.NotFound:
            return
        raise AssertionError(f"{job_id} is there after it was deleted")

    async def _settle(self, client: AsyncClient, patience_s: float) -> None:
        """Each job that is owed must be there, and have ended as it may."""
        for job_id, may_end in self.owed.items():
            try:  # who left, or hung up, has not waited for it
                state = (await client.wait(job_id, patience_s)).state
            except TimeoutError:
                state = (await client.get(job_id)).state
            except errors.NotFound:
                self.faults.append(f"lost: {job_id}")
                continue
            except Exception as error:  # budget: the jobs after it are looked at all the same
                self.faults.append(f"not to be seen: {job_id}: {type(error).__name__}: {error}")
                continue
            if state not in may_end:
                self.faults.append(f"{'ended' if state in ENDED | {'failed'} else 'stuck'} {state}: {job_id}")


def is_heeded(answered: Job, ended: Job) -> bool:
    """Whether a job ended as the answer to its cancel promises: cancelled, unless its pictures were all but made."""
    if answered.is_final:
        return answered.state in ENDED
    if not answered.is_cancelling:
        return False
    return ended.state == "cancelled" or answered.step >= answered.steps - LAST_STEPS > 0
