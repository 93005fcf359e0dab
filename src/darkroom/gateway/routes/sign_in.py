"""People sign in with the issuer of `[oidc]`, and out."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from ...errors import BadInput, DarkroomError, Forbidden, NotFound, Unavailable
from .. import sessions, sign_in
from ..answers import Addresses
from ..parts import At, Gateway, any_visit_of
from ..reception import check_own_page
from ..refusals import Answer, refusals

router = APIRouter(prefix="/auth", tags=["sign-in"])
STASH = "darkroom_sign_in"
CALLBACK = "/auth/callback"
REDIRECT: dict[int | str, dict[str, Any]] = {303: {"description": "on to the next page"}}
NOT_KEPT = {"Cache-Control": "no-store"}
ROOMS = "/ui/"  # below it the web UI tells people what went wrong, which others read as JSON


class Me(BaseModel):
    """Who asks: `key_id` is null for people who signed in, `email` for keys; both are where nothing is asked for."""

    tenant: str
    roles: list[str]
    key_id: str | None
    email: str | None
    is_guest: bool


class Ways(BaseModel):
    """How people come in beside a key: `issuer` is what they know the issuer by; null where nobody signs in."""

    issuer: str | None


async def connection_of(connection: HTTPConnection) -> HTTPConnection:
    """The request itself, for its cookies and the name it called us by."""
    return connection


Connection = Annotated[HTTPConnection, Depends(connection_of)]


@router.get(
    "/login",
    response_class=Response,
    status_code=303,
    responses={**refusals(BadInput, NotFound, Unavailable), **REDIRECT},
)
async def login(
    gateway: At,
    connection: Connection,
    after: Annotated[str | None, Query(alias="next", max_length=512, description="a path here to end at")] = None,
) -> Response:
    """Go to the issuer, to come back signed in."""
    signing_in, page = _sign_in(gateway), sign_in.local_page(after)
    try:
        began = await signing_in.begin(Addresses.of(connection).http(CALLBACK), page)
    except Unavailable as error:
        return _told_in(page, error)
    answer = RedirectResponse(began.url, 303, NOT_KEPT)
    sessions.set_cookie(answer, connection, STASH, began.stash, sign_in.STASH_S)
    return answer


@router.get(
    "/callback",
    response_class=Response,
    status_code=303,
    responses={**refusals(BadInput, Forbidden, NotFound, Unavailable), **REDIRECT},
)
async def callback(gateway: At, connection: Connection) -> Response:
    """Where the issuer sends the browser back to."""
    signing_in, name = _sign_in(gateway), sessions.cookie_name(connection.url.scheme, STASH)
    said, redirect_uri = dict(connection.query_params), Addresses.of(connection).http(CALLBACK)
    stash = connection.cookies.get(name, "")
    try:
        email, after = await signing_in.finish(said, stash, redirect_uri)
    except (BadInput, Forbidden, Unavailable) as error:
        return _told_in(signing_in.page_after(stash), error)
    session_s = signing_in.session_s
    answer = RedirectResponse(after, 303, NOT_KEPT)
    cookie = sessions.issue(gateway.signer, email, gateway.clock() + session_s)
    sessions.set_cookie(answer, connection, sessions.COOKIE, cookie, session_s)
    sessions.set_cookie(answer, connection, STASH, "", 0)
    return answer


@router.get("/ways", response_model=Ways, responses=refusals())
async def ways(gateway: At) -> Response:
    """What the page for signing in offers."""
    return Answer({"issuer": None if gateway.sign_in is None else gateway.sign_in.issuer_name}, 200, NOT_KEPT)


@router.post("/logout", status_code=204, responses=refusals(Forbidden))
async def logout(connection: Connection) -> Response:
    """Forget who signed in, in this browser."""
    check_own_page(connection)
    answer = Response(status_code=204)
    sessions.set_cookie(answer, connection, sessions.COOKIE, "", 0)
    return answer


@router.get("/me", response_model=Me, responses=refusals())
async def me(gateway: At, connection: Connection) -> Response:
    """Who you are here; a new guest gets its cookie."""
    if gateway.guests is not None:
        gateway.guests.draw(connection)
    caller = (await any_visit_of(connection)).caller
    said = {
        "tenant": caller.tenant,
        "roles": sorted(caller.roles),
        "key_id": caller.key_id or None,
        "email": caller.email or None,
        "is_guest": bool(caller.guest),
    }
    answer = Answer(said, 200, NOT_KEPT)
    if gateway.guests is not None and caller.guest:
        gateway.guests.welcome(connection, answer)
    return answer


def _told_in(page: str | None, error: DarkroomError) -> Response:
    """Back to the web UI, which says in its own words what `refused` names; raises the error for all other pages.

    Names alone go into the address: whoever makes a link to the page has no say in what it says.
    """
    if page is None or not page.startswith(ROOMS):
        raise error
    said = {"refused": error.field or error.code}
    return RedirectResponse(f"{urlsplit(page).path}?{urlencode(said)}", 303, NOT_KEPT)


def _sign_in(gateway: Gateway) -> sign_in.SignIn:
    if gateway.sign_in is None:
        raise NotFound("nobody can sign in here: darkroom.toml has no [oidc]")
    return gateway.sign_in
