"""What is signed: URLs of artifacts, and what a browser is handed to bring back (tokens, sessions).

A browser's `<img>` sends no key, so the URL itself says who may fetch what, until when. The secret is a file in
DARKROOM_HOME. Gateways that stand beside each other must share it, or what one signed is worth nothing at the other:
give them the same file.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Forbidden, InvalidConfig

SECRET_NAME = "url-secret"
SECRET_BYTES = 32
VALID_S = 3600.0
ROUND_S = 600.0  # expiry is rounded up to this, so that a picture keeps its URL for a while and caches can hold it


class Signer:
    """Signs until a time, and checks what comes back. Keyed with SHA-256 (HMAC, RFC 2104).

    What is signed begins with its purpose, so that nothing signed for one can be shown for another.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, artifact_id: str, now: float) -> str:
        """The query string that lets anybody fetch the artifact for at least `VALID_S`."""
        expires = math.ceil((now + VALID_S) / ROUND_S) * int(ROUND_S)
        return f"expires={expires}&signature={self._signature(artifact_id, expires)}"

    def check(self, artifact_id: str, expires: str, signature: str, now: float) -> None:
        """Raise `Forbidden` unless the signature is ours and still valid."""
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            raise Forbidden("expires must be seconds since the epoch, as it was signed", field="expires")
        expected = self._signature(artifact_id, int(expires))
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise Forbidden("the signature does not fit this URL; ask the job for a fresh one", field="signature")
        if now > int(expires):
            raise Forbidden("the URL has expired; ask the job for a fresh one", field="expires")

    def seal(self, purpose: str, said: Mapping[str, Any], expires_at: float) -> str:
        """JSON as a text that anybody can read and nobody else can make; letters, digits, `-`, `_` and a dot."""
        text = json.dumps({**said, "expires_at": expires_at}, separators=(",", ":"))
        body = _base64(text.encode())
        return f"{body}.{self._digest(purpose, body)}"

    def unseal(self, purpose: str, sealed: str, now: float) -> dict[str, Any] | None:
        """What was sealed for that purpose; None where it is not ours or has expired."""
        body, _, digest = sealed.partition(".")
        if not hmac.compare_digest(self._digest(purpose, body).encode(), digest.encode("utf-8", "replace")):
            return None
        said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return said if now < said["expires_at"] else None

    def pseudonym(self, purpose: str, said: str) -> str:
        """A name for what was said: always the same, and nobody else can tell what it is for."""
        return hmac.new(self._secret, f"{purpose}.name\n{said}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[
            :16
        ]

    def webhook_key(self, tenant: str, number: int = 0) -> bytes:
        """What a tenant's webhooks are signed with, after that many rotations: 32 bytes, always the same ones."""
        purpose = f"webhooks.{number}" if number else "webhooks"
        return hmac.new(self._secret, f"{purpose}\n{tenant}".encode("utf-8", "replace"), hashlib.sha256).digest()

    def _signature(self, artifact_id: str, expires: int) -> str:
        return self._digest("artifact", f"{artifact_id}\n{expires}")

    def _digest(self, purpose: str, said: str) -> str:
        text = f"{purpose}\n{said}".encode("utf-8", "replace")
        return _base64(hmac.new(self._secret, text, hashlib.sha256).digest())


def read_secret(home: Path) -> bytes:
    """The secret in `home`, drawn on first use; raises `InvalidConfig` where it cannot be had."""
    path = home / SECRET_NAME
    try:
        if not path.exists():
            _write_once(path, secrets.token_hex(SECRET_BYTES).encode())
        secret = path.read_bytes().strip()
    except OSError as error:
        raise InvalidConfig(f"{path} cannot be read or made: {error.strerror}", field="home") from error
    if len(secret) < SECRET_BYTES:
        raise InvalidConfig(f"{path} must hold at least {SECRET_BYTES} characters; remove it for a new one")
    return secret


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _write_once(path: Path, secret: bytes) -> None:
    """For its owner alone, and whole from the start: of two processes that start together one wins, for both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        pass  # the other one's counts
    finally:
        Path(name).unlink(missing_ok=True)
