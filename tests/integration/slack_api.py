"""A double of Slack on loopback: its Web API, its sockets, and people who type commands and press buttons.

It answers as https://docs.slack.dev/reference/methods says, errors too, and takes nothing that Slack would not take:
what it finds wrong is in `faults` as well. Signatures are made as
https://docs.slack.dev/authentication/verifying-requests-from-slack has it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlencode

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.integration.service import wait_until

TEAM, BOT, ANN, BEN = "T1", "UBOT", "UANN", "UBEN"
BOT_TOKEN, APP_TOKEN, SIGNING_SECRET = "xoxb-1-double", "xapp-1-double", "5ec4e7"
HOME, ELSEWHERE, ATTIC = "C1", "C2", "C3"  # channels: with the bot, without it, archived
SCOPES = {  # each method's bot scope; None: needs none
    "auth.test": None,
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}
UPDATES_A_MINUTE = 50
ACK_S = 3.0


class Refused(Exception):
    """The error code of an answer."""


@dataclass
class Message:
    """A message of the bot's, and all that it ever said."""

    channel: str
    ts: str
    thread: str | None
    said: list[dict[str, Any]]
    is_deleted: bool = False

    @property
    def text(self) -> str:
        return str(self.said[-1]["text"])

    @property
    def buttons(self) -> dict[str, str]:
        """Values by action."""
        found = [block["elements"] for block in self.said[-1]["blocks"] if block["type"] == "actions"]
        return {button["action_id"]: button["value"] for buttons in found for button in buttons}


@dataclass
class Upload:
    """A file on its way: asked for, stored, posted."""

    id: str
    name: str
    length: int
    alt: str
    content: bytes | None = None
    is_posted: bool = False


@dataclass
class Post:
    """Files that were posted, with the words over them."""

    channel: str
    thread: str | None
    comment: str
    files: list[Upload]


@dataclass
class Use:
    """One use of a command or a button: how fast it was acknowledged, and what the user alone was told."""

    kind: str
    payload: dict[str, Any]
    acked_after_s: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


class SlackApi:
    """A workspace with one app in it. `refuse` makes methods fail; `command` and `press` are what people do."""

    def __init__(self, scopes: Collection[str]) -> None:
        self.scopes, self.url = scopes, ""
        self.faults: list[str] = []
        self.calls: Counter[str] = Counter()
        self.used_scopes: set[str] = {"commands"}
        self.messages: list[Message] = []
        self.posts: list[Post] = []
        self.uploads: dict[str, Upload] = {}
        self.uses: dict[str, Use] = {}
        self.sockets: list[asyncio.Queue[dict[str, Any] | None]] = []
        self.refused_at: dict[str, list[float]] = {}
        self.called_at: dict[str, list[float]] = {}
        self._refusals: dict[str, list[tuple[str, int]]] = {}
        self._tickets: set[str] = set()
        self._waiting: dict[str, Use] = {}
        self._sent_at: dict[str, float] = {}
        self._numbers = count(1)
        self.loop: asyncio.AbstractEventLoop | None = None

    # --- what people see and do --------------------------------------------------------------------------------

    def refuse(self, method: str, code: str, times: int = 1, retry_after_s: int = 0) -> None:
        """The next so many calls of the method are refused; `ratelimited` is 429 with Retry-After."""
        self._refusals.setdefault(method, []).extend([(code, retry_after_s)] * times)

    def threads(self, channel: str = HOME) -> list[Message]:
        """The messages that stand in a channel itself."""
        return [each for each in self.messages if each.channel == channel and each.thread is None]

    def in_thread(self, of: Message) -> list[Message]:
        return [each for each in self.messages if each.thread == of.ts]

    def command(self, text: str, *, channel: str = HOME, user: str = ANN, name: str = "/darkroom") -> Use:
        """Somebody's command, as its payload."""
        payload = {
            "command": name,
            "text": text,
            "team_id": TEAM,
            "channel_id": channel,
            "channel_name": "general",
            "user_id": user,
            "user_name": user.lower(),
            "api_app_id": "A1",
        }
        return self._use("slash_commands", payload)

    def press(self, message: Message, action: str, *, user: str = ANN) -> Use:
        """Somebody's press of a button that the message has."""
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "double"},
            "user": {"id": user, "team_id": TEAM},
            "channel": {"id": message.channel, "name": "general"},
            "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
            "message": {"ts": message.ts, **message.said[-1]},
            "actions": [{"type": "button", "action_id": action, "block_id": "b", "value": message.buttons[action]}],
        }
        return self._use("interactive", payload)

    def send(self, use: Use) -> None:
        """Over the socket; twice is a retry. Returns when it is acknowledged."""
        wait_until(lambda: bool(self.sockets), 20)
        envelope = {"envelope_id": f"e{next(self._numbers)}", "type": use.kind, "payload": use.payload}
        self._waiting[envelope["envelope_id"]] = use
        self._sent_at[envelope["envelope_id"]] = time.monotonic()
        acked = len(use.acked_after_s)
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.sockets[-1].put_nowait, {**envelope, "accepts_response_payload": True})
        wait_until(lambda: len(use.acked_after_s) > acked, ACK_S)

    def hang_up(self) -> None:
        """Slack ends a connection, as it does every few hours; the app must come back."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.sockets[-1].put_nowait, None)

    def request(self, bot_url: str, use: Use, *, secret: str = SIGNING_SECRET, age_s: float = 0.0) -> httpx.Response:
        """By HTTP, signed."""
        began = time.monotonic()
        answer = httpx.post(f"{bot_url}/slack/events", timeout=30, **self.signed(use, secret, age_s))
        use.acked_after_s.append(time.monotonic() - began)
        return answer

    def signed(self, use: Use, secret: str = SIGNING_SECRET, age_s: float = 0.0) -> dict[str, Any]:
        """Body and headers of such a request."""
        said = use.payload if use.kind == "slash_commands" else {"payload": json.dumps(use.payload)}
        body, stamp = urlencode(said), str(int(time.time() - age_s))
        signature = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signature}",
        }
        return {"content": body, "headers": headers}

    def _use(self, kind: str, payload: dict[str, Any]) -> Use:
        number = str(next(self._numbers))
        use = Use(kind, payload | {"trigger_id": f"trigger-{number}", "response_url": f"{self.url}/answers/{number}"})
        self.uses[number] = use
        return use

    # --- what the app reaches ----------------------------------------------------------------------------------

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/{method}", self._method, methods=["POST", "GET"]),
                Route("/upload/{id}", self._store, methods=["POST"]),
                Route("/answers/{number}", self._answer, methods=["POST"]),
                WebSocketRoute("/link", self._link),
            ]
        )

    async def _method(self, request: Request) -> Response:
        method, said = request.path_params["method"], await _said(request)
        self.calls[method] += 1
        self.called_at.setdefault(method, []).append(time.monotonic())
        planned = self._refusals.get(method)
        try:
            self._authorise(method, request.headers.get("authorization", ""))
            if planned:
                code, retry_after_s = planned.pop(0)
                self.refused_at.setdefault(method, []).append(time.monotonic())
                return _refusal(code, retry_after_s)
            answer = self._deeds()[method](said)
        except Refused as refused:
            if str(refused) == "ratelimited":
                return _refusal("ratelimited", 30)
            return JSONResponse({"ok": False, "error": str(refused)})
        return JSONResponse({"ok": True, **answer})

    def _deeds(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "auth.test": lambda _: {"team_id": TEAM, "user_id": BOT, "bot_id": "B1", "team": "double", "url": self.url},
            "apps.connections.open": lambda _: {"url": self._ticket()},
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "files.getUploadURLExternal": self._offer_upload,
            "files.completeUploadExternal": self._complete,
        }

    def _authorise(self, method: str, header: str) -> None:
        wanted = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if header != f"Bearer {wanted}":
            raise Refused("invalid_auth" if header else "not_authed")
        if method not in SCOPES and method != "apps.connections.open":
            self._wrong(f"there is no method {method}")
            raise Refused("unknown_method")
        scope = SCOPES.get(method)
        if scope is not None and scope not in self.scopes:
            raise Refused("missing_scope")
        self.used_scopes |= {scope} if scope else set()

    def _post(self, said: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(said)
        self._check_message(said)
        thread = said.get("thread_ts")
        if thread is not None and not any(each.ts == thread and each.thread is None for each in self.messages):
            raise Refused(self._wrong(f"{thread} begins no thread"))
        ts = f"{int(time.time())}.{next(self._numbers):06}"
        self.messages.append(Message(channel, ts, thread, [said]))
        return {"channel": channel, "ts": ts, "message": {"text": said["text"]}}

    def _update(self, said: dict[str, Any]) -> dict[str, Any]:
        lately = [at for at in self.called_at["chat.update"] if at > time.monotonic() - 60]
        if len(lately) > UPDATES_A_MINUTE:
            self._wrong("more updates than Slack takes")
            raise Refused("ratelimited")
        message = self._message(said)
        self._check_message(said)
        message.said.append(said)
        return {"channel": message.channel, "ts": message.ts, "text": said["text"]}

    def _delete(self, said: dict[str, Any]) -> dict[str, Any]:
        message = self._message(said)
        message.is_deleted = True
        self.messages.remove(message)
        return {"channel": message.channel, "ts": message.ts}

    def _offer_upload(self, said: dict[str, Any]) -> dict[str, Any]:
        name, length, alt = said.get("filename"), int(said.get("length") or 0), str(said.get("alt_txt") or "")
        if not name or length < 1 or len(alt) > 1000:
            raise Refused(self._wrong(f"an upload with name {name!r}, length {length}, alt text of {len(alt)}"))
        upload = Upload(f"F{next(self._numbers)}", name, length, alt)
        self.uploads[upload.id] = upload
        return {"file_id": upload.id, "upload_url": f"{self.url}/upload/{upload.id}"}

    def _complete(self, said: dict[str, Any]) -> dict[str, Any]:
        files, channel = said.get("files"), self._channel({"channel": said.get("channel_id")})
        if not isinstance(files, list) or not 1 <= len(files) <= 10:
            raise Refused(self._wrong(f"files: {files!r}"))
        found = [self.uploads.get(file.get("id")) for file in files]
        if any(upload is None or upload.content is None or upload.is_posted for upload in found):
            raise Refused(self._wrong("a file that was not uploaded, or was posted before"))
        thread = said.get("thread_ts")
        if thread is not None and not any(each.ts == thread and each.thread is None for each in self.messages):
            raise Refused(self._wrong(f"{thread} begins no thread"))
        uploads = [upload for upload in found if upload is not None]
        for upload in uploads:
            upload.is_posted = True
        self.posts.append(Post(channel, thread, str(said.get("initial_comment") or ""), uploads))
        return {"files": [{"id": upload.id, "title": upload.name} for upload in uploads]}

    async def _store(self, request: Request) -> Response:
        upload, content = self.uploads.get(request.path_params["id"]), await request.body()
        if upload is None or upload.content is not None or len(content) != upload.length:
            self._wrong(f"{len(content)} bytes for {upload}")
            return PlainTextResponse("no", 400)
        if "authorization" in request.headers:
            self._wrong("the token was shown to the upload's address")
        upload.content = content
        return PlainTextResponse(f"OK - {len(content)}")

    async def _answer(self, request: Request) -> Response:
        use, said = self.uses.get(request.path_params["number"]), await request.json()
        if use is None or len(use.told) >= 5 or not said.get("text") or said.get("response_type") != "ephemeral":
            self._wrong(f"an answer that Slack does not take: {said}")
            return PlainTextResponse("used_url", 404)
        use.told.append(said["text"])
        return PlainTextResponse("ok")

    async def _link(self, socket: WebSocket) -> None:
        if socket.query_params.get("ticket") not in self._tickets:
            await socket.close(4001)
            return
        self._tickets.discard(socket.query_params["ticket"])
        await socket.accept()
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.sockets.append(queue)
        hearing = asyncio.create_task(self._hear(socket))
        try:
            while not hearing.done():
                getting = asyncio.create_task(queue.get())
                await asyncio.wait({getting, hearing}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                elif (envelope := getting.result()) is not None:
                    await socket.send_json(envelope)
                else:
                    await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})
                    self.sockets.remove(queue)
        finally:
            hearing.cancel()
            if queue in self.sockets:
                self.sockets.remove(queue)

    async def _hear(self, socket: WebSocket) -> None:
        try:
            while True:
                envelope_id = (await socket.receive_json())["envelope_id"]
                self._waiting[envelope_id].acked_after_s.append(time.monotonic() - self._sent_at[envelope_id])
        except WebSocketDisconnect:
            return

    def _ticket(self) -> str:
        ticket = f"ticket-{next(self._numbers)}"
        self._tickets.add(ticket)
        return f"{self.url.replace('http', 'ws')}/link?ticket={ticket}"

    # --- what Slack checks -------------------------------------------------------------------------------------

    def _channel(self, said: dict[str, Any]) -> str:
        channel = said.get("channel")
        if channel not in (HOME, ELSEWHERE, ATTIC):
            raise Refused("channel_not_found")
        if channel != HOME:
            raise Refused("not_in_channel" if channel == ELSEWHERE else "is_archived")
        return str(channel)

    def _message(self, said: dict[str, Any]) -> Message:
        found = [each for each in self.messages if (each.channel, each.ts) == (said.get("channel"), said.get("ts"))]
        if not found:
            raise Refused("message_not_found")
        return found[0]

    def _check_message(self, said: dict[str, Any]) -> None:
        blocks = said.get("blocks") or []
        if not said.get("text") or len(said["text"]) > 4000:
            raise Refused(self._wrong(f"a message's text: {said.get('text')!r}"))
        if len(blocks) > 50 or not all(_is_block(block) for block in blocks):
            raise Refused(self._wrong(f"invalid_blocks {blocks}"))

    def _wrong(self, what: str) -> str:
        self.faults.append(what)
        return "invalid_arguments"


def _is_block(block: dict[str, Any]) -> bool:
    if block["type"] == "section":
        return block["text"]["type"] == "mrkdwn" and 1 <= len(block["text"]["text"]) <= 3000
    elements = block["elements"]
    is_whole = all(
        1 <= len(each["text"]["text"]) <= 75
        and each["text"]["type"] == "plain_text"
        and 1 <= len(each["action_id"]) <= 255
        and len(each["value"]) <= 2000
        and each.get("style", "primary") in ("primary", "danger")
        for each in elements
    )
    ids = [each["action_id"] for each in elements]
    return block["type"] == "actions" and 1 <= len(elements) <= 25 and len(set(ids)) == len(ids) and is_whole


def _refusal(code: str, retry_after_s: int) -> Response:
    if code == "ratelimited":
        return JSONResponse({"ok": False, "error": code}, 429, headers={"Retry-After": str(retry_after_s)})
    return JSONResponse({"ok": False, "error": code})


async def _said(request: Request) -> dict[str, Any]:
    """Arguments as Slack takes them: in the query, as a form, or as JSON."""
    said: dict[str, Any] = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/json"):
        said |= await request.json()
    else:
        said |= dict(await request.form())
    return {name: _value(name, value) for name, value in said.items()}


def _value(name: str, value: Any) -> Any:
    return json.loads(value) if name in ("blocks", "files") and isinstance(value, str) else value


@contextmanager
def slack_api(scopes: Collection[str]) -> Iterator[SlackApi]:
    """Slack, listening; gone afterwards."""
    api = SlackApi(scopes)
    config = uvicorn.Config(
        api.app(), port=0, log_config=None, access_log=False, ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)

    async def serve() -> None:
        api.loop = asyncio.get_running_loop()
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, 20)
    api.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield api
    finally:
        server.should_exit = True
        thread.join(10)
