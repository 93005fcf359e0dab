"""Who may hold how much of the memory for bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from darkroom.errors import Unavailable
from darkroom.gateway.access import USER, Caller
from darkroom.gateway.limits import BodyLimit

SIZE, BUDGET = 100, 3200.0
OWL = Caller("owl", frozenset({USER}), key_id="k")


def guest(house: int) -> Caller:
    return Caller(f"guest-{house}-x", frozenset({USER}), guest=f"guest:{house}")


def taken(callers: Sequence[Caller]) -> list[bool]:
    """Whose bodies are taken when each sends one after the other, and none is answered."""
    return asyncio.run(_taken(callers))


async def _taken(callers: Sequence[Caller]) -> list[bool]:
    done, found = asyncio.Event(), list[bool]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except Unavailable:
            found.append(False)
            return
        found.append(True)
        await done.wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * SIZE, "more_body": False}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    wall = BodyLimit(app, limit_of=lambda path: SIZE, budget=BUDGET)
    tasks = []
    for number, caller in enumerate(callers):
        scope: dict[str, Any] = {
            "type": "http",
            "path": "/",
            "headers": [],
            "client": None,
            "state": {"caller": caller},
        }
        tasks.append(asyncio.create_task(wall(scope, receive, send)))
        while len(found) == number:
            await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*tasks)
    assert not wall._shares
    return found


def test_a_tenant_holds_a_quarter() -> None:
    assert taken([OWL] * 9) == [True] * 8 + [False]


def test_the_guests_of_one_address_hold_a_sixteenth() -> None:
    assert taken([guest(1)] * 3 + [guest(2)]) == [True, True, False, True]


def test_guests_together_leave_half_to_others() -> None:
    assert taken([*map(guest, range(17)), *[OWL] * 8]) == [True] * 16 + [False] + [True] * 8
