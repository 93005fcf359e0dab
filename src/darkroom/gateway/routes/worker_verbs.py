"""For workers that reach the store through nothing else: its verbs and the bytes of their jobs. No users here.

They are no part of the public API: gateways and workers of one project speak so (jobs/wire.py), and it may change.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import ValidationError
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse

from ...config import ServeSettings
from ...errors import BadInput, NotFound
from ...jobs import wire
from ...storage.objects import KEY, KEY_LENGTH
from ..joined import check_worker, joining, refused
from ..limits import MIB, WORKERS_PATH
from ..parts import Visit, any_visit_of
from ..ranges import headers_of, part_of
from ..refusals import Answer
from ..threads import each_of
from ..worker_keys import BYTES, OUTPUTS, TAPE, check_delete, check_get, type_to_put

PREFIX = WORKERS_PATH.removesuffix("/")
OBJECTS = f"{PREFIX}/objects/"
router = APIRouter(prefix=PREFIX, tags=["worker"], include_in_schema=False)


async def worker_visit_of(connection: HTTPConnection) -> Visit:
    """For keys of workers and operators alone; a token in a URL is neither."""
    visit = await any_visit_of(connection)
    visit.caller.check_no_token()
    visit.caller.check_worker()
    return visit


WorkerHere = Annotated[Visit, Depends(worker_visit_of)]


def object_bytes(serve: ServeSettings) -> float:
    """The most that one object may have."""
    return min(serve.max_worker_object_mb, serve.max_bodies_mb) * MIB


@router.get("/settings")
async def settings(here: WorkerHere, models: str = "") -> Response:
    """What a worker must know when it joins; `models` are those that it has, between commas."""
    gateway, compared = here.gateway, models.split(",")
    parts = (here.caller, gateway.parts.settings.serve, gateway.offers, gateway.rules)
    said = await gateway.threads.files(joining, *parts, compared)
    return json_of(wire.JOINING.dump_json(said))


@router.get("/objects")
async def list_objects(here: WorkerHere, prefix: str) -> Response:
    """Tapes of a job that the worker holds."""
    found, gateway = OUTPUTS.fullmatch(prefix), here.gateway
    if found is None:
        raise NotFound("prefix: a worker lists the outputs of one job", field="prefix")
    await gateway.threads.store(gateway.joined.held, here.caller, found["job"])
    keys = await gateway.threads.files(lambda: [key for key in gateway.storage.list(prefix) if TAPE.fullmatch(key)])
    return Answer({"keys": keys})


@router.get("/objects/{key:path}")
async def read_object(
    here: WorkerHere, key: str, asked: Annotated[str | None, Header(alias="Range")] = None
) -> Response:
    """The bytes of an input, a tape or an adapter, or the part of them that is asked for."""
    check_key(key)
    await here.gateway.threads.store(check_get, here.gateway.joined, here.caller, key)
    threads, storage = here.gateway.threads, here.gateway.storage
    size = 0 if asked is None else await threads.files(storage.size, key)
    part = part_of(asked, size)
    if part is not None and not part:
        raise BadInput(f"Range: there is no such part of {size} bytes", field="Range")
    parts = await threads.files(storage.stream, key, only=part)
    headers = headers_of(part, size) if part else {}
    return StreamingResponse(each_of(threads, parts), 206 if part else 200, headers, BYTES)


@router.put("/objects/{key:path}", status_code=204)
async def write_object(here: WorkerHere, key: str, request: Request) -> Response:
    """Store an output or a tape: whole, or nothing."""
    check_key(key)
    gateway = here.gateway
    data = await request.body()  # first: while it comes its job may end, and what that made is its owner's
    content_type = await gateway.threads.store(type_to_put, gateway.joined, here.caller, key)
    await gateway.threads.files(gateway.storage.put, key, data, content_type)
    return Response(status_code=204)


@router.delete("/objects/{key:path}", status_code=204)
async def remove_object(here: WorkerHere, key: str) -> Response:
    """Remove an output that nobody will see, or a tape."""
    check_key(key)
    gateway = here.gateway
    await gateway.threads.store(check_delete, gateway.joined, here.caller, key, gateway.store.get)
    await gateway.threads.files(gateway.storage.delete, [key])
    return Response(status_code=204)


@router.post("/wait_for_work")
async def wait_for_work(here: WorkerHere, request: Request) -> Response:
    """Hold the answer back until there may be work, or something is to be cancelled."""
    body = read_body(wire.WAIT_FOR_WORK, await request.body())
    check_worker(here.caller, body.worker)
    await here.gateway.long_poll.wait(body.worker, body.timeout_s)
    return json_of(b"{}")


@router.post("/{verb}")
async def do(here: WorkerHere, verb: str, request: Request) -> Response:
    """A verb of the store, by its name."""
    gateway = here.gateway
    if verb not in gateway.joined.verbs:
        allowed = ", ".join([*gateway.joined.verbs, wire.WAIT_FOR_WORK.name])
        raise NotFound(f"workers have no verb {verb[:64]!r}; there are: {allowed}", field="verb")
    spoken, method = gateway.joined.verbs[verb]
    data = await request.body()
    body = await gateway.threads.files(read_body, spoken, data)
    if isinstance(body, wire.CompleteBody):
        body = await with_fair_outputs(here, body)
    said = await gateway.threads.store(method, here.caller, body)
    return json_of(spoken.answer.dump_json(said))


async def with_fair_outputs(here: Visit, body: wire.CompleteBody) -> wire.CompleteBody:
    """The body with its outputs looked at, in the storage too; raises `LeaseLost` or `BadInput`."""
    gateway = here.gateway
    job = await gateway.threads.store(gateway.joined.held, here.caller, body.lease.job_id, body.lease.fence)
    return await gateway.threads.files(gateway.joined.fair_outputs, job, body, gateway.storage.size)


def read_body(verb: wire.Verb[Any, Any], data: bytes) -> Any:
    """The body as the verb takes it; raises `BadInput` with the field."""
    try:
        return verb.body.validate_json(data)
    except ValidationError as error:
        raise refused(error) from error


def check_key(key: str) -> None:
    """Raise `NotFound` for what can be no key of the storage, a way out of it above all."""
    if len(key) > KEY_LENGTH or not KEY.fullmatch(key):
        raise NotFound("there can be no object of that key", field="key")


def json_of(body: bytes) -> Response:
    """An answer in JSON."""
    return Response(body, media_type="application/json")
