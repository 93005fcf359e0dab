"""An OpenID Connect issuer on loopback, strict where the standards are, and able to misbehave as a test says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "darkroom-test", "a client's secret: +/%&"


def unpadded(data: bytes) -> str:
    """Base64 as JSON Web Tokens have it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Issuer:
    """Signs in whoever comes, as `email`; what it has seen is kept in `seen`, by path."""

    def __init__(self) -> None:
        self._first_key = RSAKey.generate_key(2048, {"kid": "first"}, private=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.behave()

    def behave(self) -> None:
        """Be a good issuer again, who has seen nothing."""
        self.email, self.is_verified = "ann@example.org", True
        self.claims: dict[str, Any] = {}  # these stand above the right ones; None leaves a claim out
        self.callback: dict[str, str] = {}  # these stand above what the browser takes back
        self.facts: dict[str, Any] = {}  # these stand above the right ones
        self.is_thin = False  # the e-mail address is at the userinfo endpoint alone
        self.algorithm = "RS256"
        self.key = self._first_key
        self.published = [self.key]
        self.seen: dict[str, list[dict[str, str]]] = {}
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def rotate(self) -> None:
        """Another key from now on; the old one is no longer told of."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)}, private=True)
        self.published = [self.key]

    def get(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any] | str]:
        """Status, and JSON or where to redirect to."""
        if path == "/.well-known/openid-configuration":
            return 200, self._facts()
        if path == "/jwks":
            return 200, {"keys": [key.as_dict(private=False, use="sig") for key in self.published]}
        if path == "/userinfo":
            return 200, {"sub": "person-7", "email": self.email, "email_verified": self.is_verified}
        return self._authorize(query) if path == "/authorize" else (404, {})

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A code for tokens, once, to the client that asked for it and can show the verifier."""
        asked = self._codes.pop(form.get("code", ""), None)
        scheme, _, said = authorization.partition(" ")
        given = [unquote_plus(each) for each in base64.b64decode(said).decode().split(":", 1)] if scheme else []
        if given != [CLIENT_ID, CLIENT_SECRET]:
            return 401, {"error": "invalid_client"}
        digest = unpadded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if digest != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "at-7", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])}

    def id_token(self, nonce: str) -> str:
        email = {} if self.is_thin else {"email": self.email, "email_verified": self.is_verified}
        now = int(time.time())
        right = {"iss": self.url, "aud": CLIENT_ID, "sub": "person-7", "exp": now + 300, "iat": now, "nonce": nonce}
        claims = {name: value for name, value in {**right, **email, **self.claims}.items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        if self.algorithm not in ("none", "HS256"):
            return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        said = ".".join(unpadded(json.dumps(part).encode()) for part in (header, claims))
        # The old trick: the public key's text as a shared secret.
        digest = hmac.new(self.key.as_pem(private=False), said.encode(), hashlib.sha256).digest()
        return f"{said}.{unpadded(digest) if self.algorithm == 'HS256' else ''}"

    def _facts(self) -> dict[str, Any]:
        places = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        told = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in places.items()}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **told, **self.facts}

    def _authorize(self, query: dict[str, str]) -> tuple[int, dict[str, Any] | str]:
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT_ID)
        assert query["code_challenge_method"] == "S256"
        assert {"openid", "email"} <= set(query["scope"].split())
        code = secrets.token_urlsafe(8)
        self._codes[code] = query
        said = {"code": code, "state": query["state"], **self.callback}
        return 302, f"{query['redirect_uri']}?{urlencode({name: value for name, value in said.items() if value})}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Asked(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                place = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(place.query).items()}
                issuer.seen.setdefault(place.path, []).append(query)
                self._answer(*issuer.get(place.path, query))

            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                issuer.seen.setdefault(self.path, []).append(form)
                self._answer(*issuer.redeem(form, self.headers.get("Authorization", "")))

            def _answer(self, status: int, said: dict[str, Any] | str) -> None:
                self.send_response(status)
                if isinstance(said, str):
                    self.send_header("Location", said)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b"" if isinstance(said, str) else json.dumps(said).encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Asked

    @contextmanager
    def serving(self) -> Iterator[Issuer]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
