"""Secrets are compared in a time that tells nothing of them: by compare_digest, also for ids that nobody has."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from darkroom.access_settings import OidcSettings
from darkroom.config import ServeSettings, Settings
from darkroom.core import ApiKey
from darkroom.errors import BadInput, Forbidden, Unauthorised
from darkroom.gateway.keys import Keyring, draw, hash_of
from darkroom.gateway.sign_in import PURPOSE, SignIn
from darkroom.gateway.signing import Signer
from darkroom.gateway.threads import Threads
from darkroom.jobs.opening import open_store

NOW = 1_900_000_000.0
Compared = list[tuple[bytes, bytes]]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    """What is compared from now on, both sides as bytes; compared all the same."""
    found: Compared = []
    own = hmac.compare_digest

    def spy(one: str | bytes, other: str | bytes) -> bool:
        as_bytes = [side.encode() if isinstance(side, str) else bytes(side) for side in (one, other)]
        found.append((as_bytes[0], as_bytes[1]))
        return bool(own(*as_bytes))

    monkeypatch.setattr(hmac, "compare_digest", spy)
    return found


@pytest.fixture
def keyring(tmp_path: Path) -> Iterator[tuple[Keyring, str]]:
    """A ring with one key, and that key."""
    drawn, threads = draw(), Threads()
    with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")) as store:
        store.add_key(ApiKey(drawn.id, "ann", "ann", ("user",), drawn.secret_hash, NOW))
        ring = Keyring(store, threads, lambda: NOW)
        asyncio.run(ring.refresh())
        yield ring, drawn.shown
        threads.close()


def test_a_key_s_hash_is_compared(keyring: tuple[Keyring, str], compared: Compared) -> None:
    ring, shown = keyring
    assert ring.find(shown).tenant == "ann"
    secret = shown.rpartition("_")[2]
    assert compared == [(hash_of(secret).encode(),) * 2]
    with pytest.raises(Unauthorised):
        ring.find(shown[:-1] + ("0" if shown[-1] != "0" else "1"))
    assert len(compared) == 2


def test_an_unknown_id_takes_a_comparison_too(keyring: tuple[Keyring, str], compared: Compared) -> None:
    stranger = draw()
    with pytest.raises(Unauthorised):
        keyring[0].find(stranger.shown)
    [(mine, other)] = compared
    assert mine == stranger.secret_hash.encode()
    assert len(other) == len(mine)


def test_signatures_of_urls_and_tokens_are_compared(compared: Compared) -> None:
    signer = Signer(b"s" * 32)
    query = dict(part.split("=") for part in signer.sign("art-1", NOW).split("&"))
    signer.check("art-1", query["expires"], query["signature"], NOW)
    assert compared == [(query["signature"].encode(),) * 2]
    with pytest.raises(Forbidden):
        signer.check("art-1", query["expires"], "x" * len(query["signature"]), NOW)
    sealed = signer.seal("p", {"a": 1}, NOW + 1)
    assert signer.unseal("p", sealed, NOW) is not None
    assert signer.unseal("p", sealed[:-1], NOW) is None
    assert [mine for mine, _ in compared[2:]] == [sealed.partition(".")[2].encode()] * 2


def test_the_state_of_a_sign_in_is_compared(compared: Compared, tmp_path: Path) -> None:
    oidc = OidcSettings(issuer="https://accounts.example", client_id="x", allowed_emails=("ann@example.org",))
    settings = Settings(
        home=tmp_path, config_file=None, offline=True, default_model="landscapes", threads=None, models={},
        serve=ServeSettings(), oidc=oidc,
    )  # fmt: skip
    signer = Signer(b"s" * 32)
    sign_in = SignIn(settings, oidc, signer, lambda: NOW)
    kept = {"state": "right", "nonce": "n", "verifier": "v", "after": "/"}
    with pytest.raises(BadInput):
        asyncio.run(sign_in.finish({"state": "wrong"}, signer.seal(PURPOSE, kept, NOW + 1), "https://here/"))
    assert (b"right", b"wrong") in compared
