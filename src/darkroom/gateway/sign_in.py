"""Signing in with an OpenID Connect issuer: the authorization code flow with PKCE, state and nonce.

    /auth/login ── state, nonce, verifier in a signed cookie ──▶ issuer ──▶ /auth/callback?code&state
                                                                                │ code + verifier + client's secret
    session cookie ◀── e-mail address allowed ◀── id_token verified ◀───────────╯

OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (iss). Tokens of the issuer are not kept.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx

from ..access_settings import OidcSettings
from ..config import Settings
from ..errors import BadInput, Forbidden, InvalidConfig, Unavailable
from .sessions import People, normal_email
from .signing import Signer

PURPOSE = "sign-in"
HOUR_S = 3600.0
STASH_S = 600.0  # to type a password in
FACTS_S = 3600.0  # how long the issuer's addresses and keys are believed
TIMEOUT_S = 10.0
AWAY_S = 5.0  # how long an issuer that did not answer is left alone
REDEMPTIONS = 8  # codes that are redeemed at once, each in up to three requests of ours
# Anybody has a Google account with an address of their own, verified once. That the domain's owners manage the account,
# `hd` says alone (developers.google.com/identity/openid-connect/openid-connect).
GOOGLE = "https://accounts.google.com"
LEEWAY_S = 60  # between the issuer's clock and ours
# Signed by the issuer's own key: a shared secret (HS256) or none at all would let others sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
NOT_TRUSTED = "the issuer's id_token does not hold: its signature, its issuer, its audience, its times or its nonce"
FIRST_PAGE = "/auth/me"
LOCAL_PAGE = re.compile(r"/(?:[\w.~%-][\w.~%/?&#=+:@,;!$'()*-]*)?", re.ASCII)  # "//host" and "/\\host" lead elsewhere
NOT_BEGUN = "this sign-in was not begun in this browser, or was begun too long ago: begin again at /auth/login"


@dataclass(frozen=True)
class Began:
    """A sign-in under way: where the browser goes, and the cookie that it brings back."""

    url: str
    stash: str


@dataclass(frozen=True)
class Facts:
    """What the issuer says of itself, and when we asked."""

    said: Mapping[str, Any]
    keys: Any
    at: float

    def url(self, name: str) -> str:
        """One of its addresses; raises `Unavailable`."""
        found = self.said.get(name)
        if not isinstance(found, str) or not found.startswith(("https://", "http://")):
            raise Unavailable(f"the issuer names no {name}")
        return found


class SignIn:
    """Brings people to the issuer and back; its methods belong to the event loop."""

    def __init__(self, settings: Settings, oidc: OidcSettings, signer: Signer, clock: Callable[[], float]) -> None:
        _check_library()
        secret = oidc.secret(settings.oidc_client_secret)
        self._oidc, self._secret = oidc, secret.get_secret_value() if secret else None
        self._signer, self._clock, self._people = signer, clock, People(oidc)
        self._facts: Facts | None = None
        self._reading, self._redeeming = asyncio.Lock(), 0
        self._away: tuple[float, str] | None = None  # when the issuer last failed to say its facts, and how

    @property
    def session_s(self) -> float:
        """How long somebody stays signed in."""
        return self._oidc.session_h * HOUR_S

    @property
    def issuer_name(self) -> str:
        """What people know the issuer by."""
        return self._oidc.shown_name

    def page_after(self, stash: str) -> str | None:
        """The page that the sign-in under way in this browser leads to; None without one."""
        kept = self._signer.unseal(PURPOSE, stash, self._clock())
        return None if kept is None else str(kept["after"])

    async def begin(self, redirect_uri: str, after: str) -> Began:
        """Where to send the browser; `after` is the page of ours to come back to. Raises `Unavailable`."""
        facts = await self._issuer()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code",
            "client_id": self._oidc.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        kept = {"state": state, "nonce": nonce, "verifier": verifier, "after": after}
        place = facts.url("authorization_endpoint")
        url = f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}"
        return Began(url, self._signer.seal(PURPOSE, kept, self._clock() + STASH_S))

    async def finish(self, said: Mapping[str, str], stash: str, redirect_uri: str) -> tuple[str, str]:
        """The address of who signed in, and the page to go to; raises `BadInput`, `Forbidden` or `Unavailable`."""
        kept = self._signer.unseal(PURPOSE, stash, self._clock())
        if kept is None or not hmac.compare_digest(kept["state"].encode(), said.get("state", "").encode()):
            raise BadInput(NOT_BEGUN, field="state")
        if said.get("iss", self._oidc.issuer) != self._oidc.issuer:
            raise Forbidden("another issuer answered than the one that was asked", field="iss")
        if "error" in said or "code" not in said:
            raise Forbidden("the issuer did not sign you in", field="code")
        if self._redeeming >= REDEMPTIONS:
            raise Unavailable("many people sign in just now: try again a little later")
        self._redeeming += 1
        try:
            claims = await self._claims(said["code"], kept, redirect_uri)
        finally:
            self._redeeming -= 1
        return self._admitted(claims), str(kept["after"])

    async def _claims(self, code: str, kept: Mapping[str, Any], redirect_uri: str) -> Mapping[str, Any]:
        """What the issuer says of who came with that code."""
        facts = await self._issuer()
        given = await self._redeem(facts, code, kept["verifier"], redirect_uri)
        claims = await self._verified(facts, given.get("id_token"), kept["nonce"])
        return await self._with_email(facts, claims, given)

    async def _issuer(self, known: Facts | None = None) -> Facts:
        """The issuer's facts, read again where they are old or no newer than those that are `known` not to do.

        One asks at a time, and nobody for a while after an answer that was none; raises `Unavailable`.
        """
        async with self._reading:
            now = self._clock()
            if self._facts is not None and self._facts is not known and 0 <= now - self._facts.at < FACTS_S:
                return self._facts
            if self._away is not None and 0 <= now - self._away[0] < AWAY_S:
                raise Unavailable(self._away[1])
            try:
                self._facts, self._away = await self._read_issuer(), None
            except Unavailable as error:
                self._away = (self._clock(), error.message)
                raise
            return self._facts

    async def _read_issuer(self) -> Facts:
        issuer = self._oidc.issuer
        said = await self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise Unavailable(f"oidc.issuer is {issuer!r}, and the issuer calls itself {said.get('issuer')!r}")
        keys = await self._ask("GET", Facts(said, None, 0.0).url("jwks_uri"))
        return Facts(said, keys, self._clock())

    async def _redeem(self, facts: Facts, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._oidc.client_id,
            "code_verifier": verifier,
        }
        methods = facts.said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        auth: httpx.BasicAuth | None = None
        if self._secret is not None and "client_secret_basic" in methods:
            auth = httpx.BasicAuth(quote_plus(self._oidc.client_id), quote_plus(self._secret))
        elif self._secret is not None:
            form["client_secret"] = self._secret
        return await self._ask("POST", facts.url("token_endpoint"), data=form, auth=auth)

    async def _verified(self, facts: Facts, id_token: Any, nonce: str) -> Mapping[str, Any]:
        """The claims of an id_token; keys that the issuer has changed since are read once more."""
        try:
            return claims_of(id_token, facts.keys, self._oidc, nonce, self._clock())
        except UnknownSigner:
            facts = await self._issuer(known=facts)
        try:
            return claims_of(id_token, facts.keys, self._oidc, nonce, self._clock())
        except UnknownSigner as error:
            raise Forbidden(NOT_TRUSTED, field="id_token") from error

    async def _with_email(self, facts: Facts, claims: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims, with those of the userinfo endpoint where only that says the address (OpenID Core 5.4)."""
        if "email" in claims or "userinfo_endpoint" not in facts.said or "access_token" not in given:
            return claims
        headers = {"Authorization": f"Bearer {given['access_token']}"}
        more = await self._ask("GET", facts.url("userinfo_endpoint"), headers=headers)
        return {**more, **claims} if more.get("sub") == claims["sub"] else claims

    def _admitted(self, claims: Mapping[str, Any]) -> str:
        email = normal_email(claims.get("email"))
        if email is None:
            raise Forbidden("the issuer says no e-mail address that can be used here", field="email")
        if claims.get("email_verified") is not True:
            raise Forbidden("the issuer has not verified your e-mail address", field="email")
        if self._people.roles_of(email) is None:
            raise Forbidden(f"{email} may not sign in here; see oidc.allowed_emails and allowed_domains", field="email")
        is_google = self._oidc.issuer.rstrip("/") == GOOGLE
        if is_google and self._people.needs_hosting(email) and not self._people.is_hosted(claims.get("hd")):
            raise Forbidden(f"{email} is no account of its domain's own; see oidc.allowed_domains", field="hd")
        return email

    async def _ask(self, method: str, url: str, **what: Any) -> dict[str, Any]:
        """The issuer's JSON; what it says in an error is not passed on."""
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = await client.request(method, url, **what)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the issuer {self._oidc.issuer} does not answer as it should") from error
        if answer.is_client_error and method == "POST":
            raise Forbidden("the issuer did not take the code: begin again at /auth/login", field="code")
        if not answer.is_success or not isinstance(said, dict):
            raise Unavailable(f"the issuer {self._oidc.issuer} answered {answer.status_code}")
        return said


class UnknownSigner(Exception):
    """The id_token is signed with a key that the issuer had not told us of."""


def claims_of(id_token: Any, keys: Any, oidc: OidcSettings, nonce: str, now: float) -> Mapping[str, Any]:
    """The claims of an id_token that holds (OpenID Connect Core 3.1.3.7); raises `Forbidden` or `UnknownSigner`."""
    from joserfc import jwt
    from joserfc.errors import InvalidKeyIdError, JoseError
    from joserfc.jwk import KeySet

    must = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": oidc.issuer},
        aud={"essential": True, "value": oidc.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    try:
        claims = jwt.decode(str(id_token), KeySet.import_key_set(keys), algorithms=ALGORITHMS).claims
        must.validate(claims)
    except InvalidKeyIdError as error:
        raise UnknownSigner from error
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise Forbidden(NOT_TRUSTED, field="id_token") from error
    if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != oidc.client_id:
        raise Forbidden(NOT_TRUSTED, field="id_token")
    return claims


def challenge_of(verifier: str) -> str:
    """PKCE's S256 (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def local_page(said: str | None) -> str:
    """A page of ours to go to afterwards; raises `BadInput` for one of somebody else's (an open redirect)."""
    if said is None:
        return FIRST_PAGE
    if LOCAL_PAGE.fullmatch(said) is None:
        raise BadInput("next must be a path of this server, such as /ui", field="next")
    return said


def _check_library() -> None:
    try:
        import joserfc  # noqa: F401  # the extra, asked for here so that its absence has a name
    except ModuleNotFoundError as error:
        said = "signing in needs the oidc extra: pip install 'darkroom-server[oidc]'"
        raise InvalidConfig(said, field="oidc") from error
