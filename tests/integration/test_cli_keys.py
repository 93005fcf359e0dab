"""`darkroom keys` as a person types it, and that nobody serves a network without keys by mistake."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from darkroom.access_settings import OidcSettings
from darkroom.cli import run
from darkroom.cli.reach import check_reach, with_auth
from darkroom.errors import BadInput
from darkroom.jobs.opening import open_store

from .gateway_site import open_site, settings_in, wait_until

Said = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    return tmp_path


def listed(capsys: Said) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run(["keys", "list", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["keys"]
    return found


def test_a_key_is_made_opens_and_is_taken_back(home: Path, capsys: Said) -> None:
    assert run(["keys", "create", "ann"]) == 0
    said = capsys.readouterr()
    shown = said.out.strip()
    assert shown.startswith("dk_")
    assert shown not in said.err
    headers = {"Authorization": f"Bearer {shown}"}
    with open_site(home) as site:
        assert site.http.get("/v1/jobs").status_code == 401
        assert site.http.get("/auth/me", headers=headers).json()["tenant"] == "ann"
        site.submit(headers=headers)
        [key] = listed(capsys)
        assert key["used"]["live_jobs"] == 1
        assert run(["keys", "revoke", key["id"]]) == 0
        wait_until(lambda: site.http.get("/auth/me", headers=headers).status_code == 401)
    [key] = listed(capsys)
    assert (key["is_alive"], key["revoked_at"] is not None) == (False, True)
    assert shown.rpartition("_")[2] not in json.dumps(key)


def test_what_a_key_may_is_said_by_flags(home: Path, capsys: Said) -> None:
    words = ["keys", "create", "ci", "--tenant", "studio", "--role", "user", "--role", "operator"]
    words += ["--jobs-per-minute", "60", "--live-jobs", "8", "--device-s-per-day", "3600", "--usd-per-day", "2.5"]
    words += ["--priority-class", "low", "--weight", "0.5", "--expires-days", "30", "--json"]
    assert run(words) == 0
    said = json.loads(capsys.readouterr().out)
    [key] = listed(capsys)
    assert said == {**{name: value for name, value in key.items() if name != "used"}, "key": said["key"]}
    assert (key["tenant"], key["roles"], key["priority_class"], key["weight"]) == (
        "studio", ["user", "operator"], "low", 0.5,
    )  # fmt: skip
    assert key["limits"] == {
        "jobs_per_minute": 60, "live_jobs": 8, "device_s_per_day": 3600.0, "usd_per_day": 2.5,
    }  # fmt: skip
    assert run(["keys", "list"]) == 0
    line = capsys.readouterr().out
    for word in ("ci", "studio", "user+operator", "priority low", "live_jobs 8", "alive"):
        assert word in line


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["create", "two words"], "[NAME]"),
        (["create", ""], "[NAME]"),
        (["create", "x", "--tenant", "a/b"], "[--tenant]"),
        (["create", "x", "--role", "king"], "'--role': 'king' is not one of"),
        (["create", "x", "--priority-class", "urgent"], "--priority-class"),
        (["create", "x", "--jobs-per-minute", "0"], "--jobs-per-minute"),
        (["create", "x", "--weight", "0"], "weight"),
        (["create", "x", "--weight", "nan"], "weight"),
        (["create", "x", "--usd-per-day", "nan"], "--usd-per-day"),
        (["create", "x", "--expires-days", "-1"], "--expires-days"),
        (["revoke", "000000000000"], "darkroom keys list"),
    ],
)
def test_what_makes_no_key_is_refused(home: Path, capsys: Said, words: list[str], word: str) -> None:
    assert run(["keys", *words]) == 2
    assert word in capsys.readouterr().err
    assert listed(capsys) == []


def test_a_living_keys_name_is_taken(home: Path, capsys: Said) -> None:
    assert run(["keys", "create", "ann"]) == 0
    assert run(["keys", "create", "ann"]) == 2
    assert "has the name 'ann' already" in capsys.readouterr().err
    [key] = listed(capsys)
    assert run(["keys", "create", "ann2", "--tenant", "ann"]) == 0
    assert run(["keys", "revoke", key["id"]]) == 0
    assert run(["keys", "create", "ann"]) == 0


def test_a_key_is_revoked_by_its_name_and_of_several_the_living_one(home: Path, capsys: Said) -> None:
    for _ in range(2):
        assert run(["keys", "create", "ann"]) == 0
        assert run(["keys", "revoke", "ann"]) == 0
    old, new = listed(capsys)
    assert (old["is_alive"], new["is_alive"]) == (False, False)
    assert run(["keys", "revoke", "ann"]) == 2
    said = capsys.readouterr().err
    assert old["id"] in said
    assert new["id"] in said
    assert run(["keys", "revoke", "bob"]) == 2
    assert "there is no key 'bob'" in capsys.readouterr().err


def test_the_first_key_says_that_it_closes_the_door_and_how_to_go_on(home: Path, capsys: Said) -> None:
    assert run(["keys", "create", "ann"]) == 0
    first = capsys.readouterr()
    assert "from now on nobody is served without one" in first.err
    assert "DARKROOM_API_KEY" in first.err
    assert len(first.out.split()) == 1
    assert run(["keys", "create", "bob"]) == 0
    assert "from now on" not in capsys.readouterr().err


def test_a_first_key_closes_nothing_where_nobody_is_asked_for_one(home: Path, capsys: Said) -> None:
    (home / "darkroom.toml").write_text('[serve]\nauth = "open"\n', encoding="utf-8")
    assert run(["keys", "create", "ann"]) == 0
    assert "from now on" not in capsys.readouterr().err


def test_without_a_word_there_is_help(capsys: Said) -> None:
    assert run(["keys"]) == 2
    assert capsys.readouterr().err.startswith("Usage: darkroom keys")


def test_a_leaked_key_can_be_revoked_by_itself(home: Path, capsys: Said) -> None:
    assert run(["keys", "create", "ann"]) == 0
    assert run(["keys", "revoke", capsys.readouterr().out.strip()]) == 0
    assert not listed(capsys)[0]["is_alive"]


# ---- where others reach it ----


def test_a_network_is_served_only_once_there_is_a_key(home: Path, capsys: Said) -> None:
    for command in ("serve", "gateway"):
        assert run([command, "--host", "0.0.0.0"]) == 2
        said = capsys.readouterr().err
        assert "darkroom keys create" in said
        assert "--insecure" in said
    settings = settings_in(home)
    with closing(open_store(settings.store_url)) as store:
        with pytest.raises(BadInput):
            check_reach(settings, store, "192.168.1.5", is_insecure=False)
        check_reach(settings, store, "192.168.1.5", is_insecure=True)
        check_reach(settings, store, "127.0.0.1", is_insecure=False)
        assert run(["keys", "create", "ann"]) == 0
        check_reach(settings, store, "192.168.1.5", is_insecure=False)
        store.revoke_key(listed(capsys)[0]["id"], time.time())
        with pytest.raises(BadInput):
            check_reach(settings, store, "192.168.1.5", is_insecure=False)
        issuer = OidcSettings(issuer="https://accounts.example", client_id="x", allowed_domains=("*",))
        check_reach(settings.model_copy(update={"oidc": issuer}), store, "192.168.1.5", is_insecure=False)


def test_asking_nobody_is_no_way_to_serve_a_network(home: Path, capsys: Said) -> None:
    assert run(["keys", "create", "ann"]) == 0
    (home / "darkroom.toml").write_text('[serve]\nauth = "open"\n', encoding="utf-8")
    assert run(["serve", "--host", "0.0.0.0"]) == 2
    assert "--insecure" in capsys.readouterr().err


def test_on_a_network_keys_are_asked_for_whatever_becomes_of_them(home: Path) -> None:
    settings = settings_in(home)
    with socket.create_server(("127.0.0.1", 0)) as near, socket.create_server(("0.0.0.0", 0)) as far:
        assert with_auth(settings, near, is_insecure=False).serve.auth == "auto"
        assert with_auth(settings, far, is_insecure=True).serve.auth == "auto"
        assert with_auth(settings, far, is_insecure=False).serve.auth == "keys"
