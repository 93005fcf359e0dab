"""Signed URLs: for one artifact, for a while, by a secret that only its owner can read."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from darkroom.errors import Forbidden, InvalidConfig
from darkroom.gateway.signing import SECRET_NAME, VALID_S, Signer, read_secret

NOW = 1_900_000_000.0


def parts(query: str) -> tuple[str, str]:
    said = parse_qs(query)
    return said["expires"][0], said["signature"][0]


def test_a_signature_is_good_for_its_time_and_not_longer() -> None:
    signer = Signer(b"s" * 32)
    expires, signature = parts(signer.sign("art-1", NOW))
    signer.check("art-1", expires, signature, NOW + VALID_S)
    with pytest.raises(Forbidden, match="expired"):
        signer.check("art-1", expires, signature, float(expires) + 1)


def test_a_signature_is_for_one_artifact_one_time_and_one_secret() -> None:
    signer = Signer(b"s" * 32)
    expires, signature = parts(signer.sign("art-1", NOW))
    wrong = [
        (signer, "art-2", expires, signature),
        (signer, "art-1", str(int(expires) + 1), signature),
        (signer, "art-1", expires, signature[:-1] + "é"),
        (signer, "art-1", expires, ""),
        (signer, "art-1", "-1", signature),
        (signer, "art-1", "1e9", signature),
        (Signer(b"t" * 32), "art-1", expires, signature),
    ]
    for judge, artifact_id, until, signed in wrong:
        with pytest.raises(Forbidden):
            judge.check(artifact_id, until, signed, NOW)


def test_a_picture_keeps_its_url_for_a_while() -> None:
    signer = Signer(b"s" * 32)
    assert signer.sign("art-1", NOW) == signer.sign("art-1", NOW + 1)


def test_the_secret_is_drawn_once_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(read_secret, [home] * 32))
    assert len(found) == 1
    assert stat.S_IMODE((home / SECRET_NAME).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [SECRET_NAME]
    assert read_secret(tmp_path / "other") not in found


def test_a_secret_too_short_to_be_one_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / SECRET_NAME).write_text("short\n")
    with pytest.raises(InvalidConfig, match="at least"):
        read_secret(tmp_path)


def test_a_home_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidConfig, match="cannot be read or made"):
        read_secret(tmp_path / "file" / "home")
