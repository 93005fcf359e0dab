"""Adapters over HTTP: listed, registered by operators, named in jobs, refused by name in every dialect."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from darkroom.storage.objects import key_for_adapter
from tests.lora_files import PICKLED, lora, put, weights

from .callers import Holder, add_key
from .gateway_site import PROMPT, Site, open_site, picture
from .openai_site import client_of, worker

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One adapter stands in its settings: chalk."""
    home = tmp_path_factory.mktemp("house")
    with open_site(home, adapters={"chalk": put(home / "chalk.safetensors", lora(9))}) as found:
        yield found


def upload(site: Site, data: bytes, **what: Any) -> str:
    answer = site.http.post("/v1/uploads", content=data, **what)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["artifact_id"])


def register(site: Site, name: str, seed: int = 1) -> dict[str, Any]:
    body = {"name": name, "model": "landscapes", "artifact_id": upload(site, lora(seed))}
    answer = site.http.post("/v1/adapters", json=body)
    assert answer.status_code == 201, answer.text
    said: dict[str, Any] = answer.json()
    return said


def listed(site: Site) -> dict[str, dict[str, Any]]:
    return {said["name"]: said for said in site.http.get("/v1/adapters").json()["data"]}


def test_what_is_registered_is_listed_and_can_be_asked_for_at_once(house: Site) -> None:
    made = register(house, "ink")
    facts = (made["source"], made["model"], made["size"], made["problem"])
    assert facts == ("registered", "landscapes", len(lora(1)), None)
    assert listed(house)["ink"] == made
    assert listed(house)["chalk"]["source"] == "folder"
    one = house.http.get("/v1/models/landscapes").json()
    assert {"ink", "chalk"} <= set(one["adapters"])
    assert {"ink", "chalk"} <= set(one["input"]["properties"]["adapters"]["properties"])
    job = house.submit({"adapters": {"ink": 0.5, "chalk": 1}})
    assert job["input"]["adapters"] == {"ink": 0.5, "chalk": 1.0}
    assert job["input"]["adapter_digests"]["ink"] == made["digest"]
    again = {key: value for key, value in job["input"].items() if value is not None}
    assert house.submit(again)["input"] == job["input"]


def test_a_name_that_is_taken_is_a_conflict(house: Site) -> None:
    first = register(house, "twice")
    assert register(house, "twice") == first  # an answer may have been lost
    for name in ("twice", "chalk"):
        body = {"name": name, "model": "landscapes", "artifact_id": upload(house, lora(2))}
        status, error = house.refused("POST", "/v1/adapters", json=body)
        assert (status, error["code"], error["field"]) == (409, "conflict", "name")
    assert listed(house)["twice"] == first


def test_what_is_removed_can_be_asked_for_no_more(house: Site) -> None:
    register(house, "gone")
    assert house.http.delete("/v1/adapters/gone").status_code == 204
    assert "gone" not in listed(house)
    status, error = house.refused("POST", "/v1/jobs", json={"input": {**PROMPT, "adapters": {"gone": 1}}})
    assert (status, error["code"], error["field"]) == (400, "unknown_adapter", "adapters")
    assert "allowed: chalk" in error["message"]
    assert house.refused("DELETE", "/v1/adapters/gone")[0] == 404
    assert house.refused("DELETE", "/v1/adapters/..%2F..")[0] == 404
    assert house.refused("DELETE", "/v1/adapters/chalk")[0] == 409


FILES: list[tuple[bytes, int, str]] = [
    (PICKLED, 400, "unsafe_weights"),
    (weights(conv=(2, 2)), 400, "bad_input"),
    (lora(1)[:-1], 400, "bad_input"),
    (weights(**{"a.lora_A.weight": (2,), "a.dora_scale": (2,)}), 501, "not_supported"),
]


@pytest.mark.parametrize(("data", "status", "code"), FILES)
def test_what_is_no_lora_is_no_upload(house: Site, data: bytes, status: int, code: str) -> None:
    said, error = house.refused("POST", "/v1/uploads", content=data)
    assert (said, error["code"], error["field"]) == (status, code, "body")


def test_a_file_past_the_limit_is_refused(tmp_path: Path) -> None:
    with open_site(tmp_path, max_upload_mb=0.001) as site:
        status, error = site.refused("POST", "/v1/uploads", content=lora(1))
        assert (status, error["code"]) == (413, "too_large")


BODIES: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "Ink"}, 400, "name"),
    ({"name": "../ink"}, 400, "name"),
    ({"model": "nonesuch"}, 404, "model"),
    ({"artifact_id": "art-none"}, 400, "artifact_id"),
    ({"artifact_id": "/etc/passwd"}, 400, "artifact_id"),
    ({"weight": 1}, 400, "weight"),
]


@pytest.mark.parametrize(("wrong", "status", "field"), BODIES)
def test_a_wrong_registration_is_refused_by_its_field(
    house: Site, wrong: dict[str, Any], status: int, field: str
) -> None:
    body = {"name": "fine", "model": "landscapes", "artifact_id": upload(house, lora(1)), **wrong}
    said, error = house.refused("POST", "/v1/adapters", json=body)
    assert (said, error["field"]) == (status, field)
    assert "fine" not in listed(house)


def test_a_picture_is_no_adapter_and_an_adapter_is_no_picture(house: Site) -> None:
    body = {"name": "fine", "model": "landscapes", "artifact_id": upload(house, picture())}
    assert house.refused("POST", "/v1/adapters", json=body)[1]["field"] == "artifact_id"
    body = {"input": {**PROMPT, "image": upload(house, lora(1))}}
    status, error = house.refused("POST", "/v1/jobs", json=body)
    assert (status, error["field"]) == (400, "image")


def test_registering_is_for_operators(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="keys") as site:
        ann, bob = add_key(site.store, "ann"), add_key(site.store, "bob", "operator")

        def asked(who: Holder, method: str, path: str, **what: Any) -> int:
            return site.http.request(method, path, headers=who.headers, **what).status_code

        assert asked(ann, "POST", "/v1/uploads", content=lora(1)) == 403
        artifact_id = upload(site, lora(1), headers=bob.headers)
        body = {"name": "ink", "model": "landscapes", "artifact_id": artifact_id}
        assert asked(ann, "POST", "/v1/adapters", json=body) == 403
        assert asked(ann, "POST", "/v1/adapters", json={"name": 7}) == 403
        assert asked(bob, "POST", "/v1/adapters", json=body) == 201
        assert asked(ann, "DELETE", "/v1/adapters/ink") == 403
        assert asked(ann, "POST", "/v1/jobs", json={"input": {**PROMPT, "adapters": {"ink": 1}}}) == 202
        assert asked(ann, "GET", "/v1/adapters") == 200
        assert site.http.get("/v1/adapters").status_code == 401


def test_another_gateway_knows_what_was_registered_here_and_nothing_prunes_it(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        made = register(site, "ink")
        later = time.time() + HOUR_S
        gone = [artifact.key for artifact in site.store.prune(later, later, later)]
        assert [key.partition("/")[0] for key in gone] == ["uploads"]
        site.storage.delete(gone)
        assert site.storage.get(key_for_adapter("ink", made["digest"])) == lora(1)
        with open_site(tmp_path, store=site.store) as other:
            assert listed(other)["ink"] == made
            assert other.submit({"adapters": {"ink": 1}})["input"]["adapter_digests"]["ink"] == made["digest"]


# ---- dialects ----


def test_openais_images_take_adapters_in_json_and_in_a_form(house: Site) -> None:
    with worker(house) as taken, client_of(house) as client:
        client.images.generate(prompt="a barn", extra_body={"adapters": {"chalk": 0.5}})
        body = {"adapters": json.dumps({"chalk": 0.25})}
        client.images.edit(prompt="a barn", image=picture(), extra_body=body)
    assert [job.input["adapters"] for job in taken[-2:]] == [{"chalk": 0.5}, {"chalk": 0.25}]


@pytest.mark.parametrize("adapters", [{"nosuch": 1}, {"chalk": 1000}])
def test_openais_dialect_refuses_as_ours_does(house: Site, adapters: dict[str, float]) -> None:
    with client_of(house) as client, pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a barn", extra_body={"adapters": adapters})
    assert caught.value.param == "adapters"


def test_a_form_says_how_adapters_are_given(house: Site) -> None:
    form = {"prompt": "a barn", "adapters": "chalk=1"}
    answer = house.http.post("/v1/images/edits", data=form, files={"image": picture()})
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], "must be JSON" in answer.text) == ("adapters", True)


def test_the_course_texts_api_names_what_it_does_not_know(house: Site) -> None:
    answer = house.http.post("/generate", json={"prompt": "a barn", "adapters": {"chalk": 1}})
    assert answer.status_code == 200
    assert "adapters is not known here and was ignored" in answer.json()["warnings"]
