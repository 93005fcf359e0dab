"""The web UI at `/ui`: the files that `make web` builds, open to everybody; what they show, the API asks a key for.

Whatever below `/ui` is no file is a room of the UI, so it gets the one page, which finds its way by the path.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..errors import DarkroomError, NotFound
from ..storage.objects import Storage
from .parts import At, Gateway
from .shelf import Shelved

PAGE = "index.html"
ASSETS = "assets/"  # their names change with what is in them
FOR_EVER, EACH_TIME = "public, max-age=31536000, immutable", "no-cache"
NOT_BUILT = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>Darkroom</title><style>body{font:18px/1.6 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;
color-scheme:light dark}code{font:inherit;font-family:ui-monospace,monospace}</style>
<h1>The web UI is not built</h1><p>The service runs. To build its pages, run <code>make web</code> in the checkout
(Node 20.19 or newer is fetched where there is none), then load this page again.</p>
<p>The API needs none of that: <a href="/docs">/docs</a>.</p></html>"""
GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?(?=,|$)", re.IGNORECASE)
METHODS = ["GET", "HEAD"]

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=METHODS)
async def root() -> Response:
    """The UI is what people come for."""
    return RedirectResponse("/ui/", 307, {"Cache-Control": EACH_TIME})


@router.api_route("/ui", methods=METHODS)
@router.api_route("/ui/{name:path}", methods=METHODS)
async def file(request: Request, here: At, name: str = "") -> Response:
    """A built file, else the page; raises `NotFound` for an asset that is not there."""
    found, pictures_at = await here.threads.files(find, here, name)
    policy = policy_with(pictures_at, request.headers.get("host", ""))
    if found is None and name.startswith(ASSETS):
        raise NotFound(f"there is no file {request.url.path!r}")
    if found is None:
        return HTMLResponse(NOT_BUILT, 404, {"Cache-Control": "no-store", "Content-Security-Policy": policy})
    answer = answer_of(found, request.headers, FOR_EVER if name.startswith(ASSETS) else EACH_TIME, policy)
    if here.guests is not None and found.content_type.startswith("text/html"):
        here.guests.draw(request)  # with the page, so that all the page asks for comes from the same guest
        here.guests.welcome(request, answer)
    return answer


def find(gateway: Gateway, name: str) -> tuple[Shelved | None, str | None]:
    """The file of that name, else the page (None: not built, or no such asset), and `storage_origin`; blocks."""
    if gateway.pictures_at is None:
        gateway.pictures_at = storage_origin(gateway.storage)
    found = gateway.shelf.find(name) if name else None
    is_page = found is None and not name.startswith(ASSETS)
    return (gateway.shelf.find(PAGE) if is_page else found), gateway.pictures_at


def answer_of(found: Shelved, asked: Headers, cache: str, policy: str) -> Response:
    """The file as that client takes it: packed, or not at all where it has it."""
    packed = found.packed if takes_gzip(asked.get("accept-encoding", "")) else None
    etag = found.etag if packed is None else f'{found.etag[:-1]}-gzip"'
    headers = {"ETag": etag, "Cache-Control": cache, "Vary": "Accept-Encoding", "Content-Security-Policy": policy}
    if has_already(asked.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(found.plain if packed is None else packed, 200, headers, found.content_type)


def takes_gzip(said: str) -> bool:
    """Whether an Accept-Encoding (RFC 9110) takes it."""
    found = GZIP.search(said)
    return found is not None and (found[1] is None or any(digit in "123456789" for digit in found[1]))


def has_already(said: str, etag: str) -> bool:
    """Whether an If-None-Match (RFC 9110) names that very file."""
    return said.strip() == "*" or etag in [each.strip().removeprefix("W/") for each in said.split(",")]


def storage_origin(storage: Storage) -> str | None:
    """Where the storage's own URLs lead ("": it has none, None: it cannot be told now); blocks."""
    try:
        url = storage.signed_url("ui/origin", 60) if storage.can_sign else None
    except DarkroomError:
        return None
    place = urlsplit(url or "")
    return f"{place.scheme}://{place.netloc}" if place.netloc else ""


def policy_with(pictures_at: str | None, host: str) -> str:
    """The policy (w3.org/TR/CSP3) of a page at `host` that also lets pictures come from there (None: from anywhere)."""
    known = pictures_at or ""
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": f"'self' data: blob: {'https:' if pictures_at is None else known}",
        "media-src": f"'self' blob: {'https:' if pictures_at is None else known}",
        "connect-src": f"'self' ws://{host} wss://{host} {known}",  # not every browser counts WebSockets to 'self'
        "font-src": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'self'",
    }
    return "; ".join(f"{name} {value}".strip() for name, value in rules.items())
