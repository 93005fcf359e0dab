"""Events of all the caller's jobs in one stream; an operator may follow everybody's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, WebSocket
from starlette.responses import Response

from ...errors import BadInput, StoreUnavailable, TooBusy
from .. import desk
from ..parts import Here
from ..refusals import refusals
from ..streams import EventStream, parse_seq, serve_socket
from .jobs import SSE

router = APIRouter(prefix="/v1/events", tags=["events"])
TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}


@router.get("", response_class=Response, responses={**refusals(BadInput, TooBusy, StoreUnavailable), **SSE})
async def events(
    here: Here,
    after: Annotated[
        str | None, Query(max_length=32, description="a seq to go on behind; without it from now on")
    ] = None,
    everybody: Annotated[bool, Query(alias="all", description="everybody's jobs; for operators")] = False,
    last_event_id: Annotated[str | None, Header(max_length=32, description="the same as after, and goes first")] = None,
) -> Response:
    """Events of all your jobs as Server-Sent Events, each with its `job_id`; the stream has no end."""
    behind = place_of(last_event_id, "Last-Event-ID") if last_event_id else place_of(after, "after")
    return EventStream(await desk.follow_jobs(here, behind, everybody), desk.wide_sayer(here))


@router.websocket("/ws")
async def socket(socket: WebSocket, here: Here) -> None:
    """The same as JSON texts; `?after=SEQ` goes on behind that one, `?all=true` is for operators."""
    behind = place_of(socket.query_params.get("after"), "after")
    subscription = await desk.follow_jobs(here, behind, is_true(socket.query_params.get("all", ""), "all"))
    await serve_socket(socket, subscription, desk.wide_sayer(here))


def place_of(said: str | None, field: str) -> int | None:
    """Where to go on; None: from now on. Raises `BadInput`."""
    return parse_seq(said, field) if said else None


def is_true(said: str, field: str) -> bool:
    """What a query says; raises `BadInput`."""
    if said.lower() not in TRUTHS:
        raise BadInput(f"{field} must be true or false", field=field)
    return TRUTHS[said.lower()]
