"""A prompt that the rules refuse ends at the door, in every dialect's own shape; nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from darkroom.config import SafetySettings
from darkroom.errors import InvalidConfig
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import open_storage
from tests.integration.gateway_site import PROMPT, Site, open_site, running, settings_in

RULES = '[default]\nwords = ["forbidden"]\n[tenants.local]\npatterns = ["dragons?"]\n'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    settings = settings_in(tmp_path).model_copy(update={"safety": SafetySettings(rules=rules)})
    with closing(open_store(settings.store_url, Limits())) as store:
        parts = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings))
        app = build_app(parts)
        with running(app) as url:
            found = Site(url, parts, app.state.gateway)
            with found.http:
                yield found


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"prompt": "a FORBIDDEN lake"}, "prompt"),
        ({"prompt": "two dragons"}, "prompt"),
        ({"prompt": "a lake", "negative_prompt": "forbidden"}, "negative_prompt"),
        ({"prompt": "a for(bidden:1.0) lake", "prompt_style": "weighted"}, "prompt"),
        ({"prompt": "(forbidden:1.2)", "prompt_style": "weighted"}, "prompt"),
    ],
)
def test_the_native_api_refuses_with_the_field(site: Site, inputs: dict[str, str], field: str) -> None:
    status, error = site.refused("POST", "/v1/jobs", json={"input": {**PROMPT, **inputs}})
    assert (status, error["code"], error["field"]) == (400, "content_refused", field)
    assert "forbidden" not in error["message"]
    assert site.store.queue().queued == 0
    assert site.submit({"prompt": "a quiet lake"})["state"] == "queued"


def test_control_characters_get_no_word_past_the_rules(site: Site) -> None:
    status, error = site.refused("POST", "/v1/jobs", json={"input": {**PROMPT, "prompt": "for\x00bidden"}})
    assert (status, error["code"], error["field"]) == (400, "bad_input", "prompt")
    assert site.store.queue().queued == 0


def test_the_course_texts_api_refuses_in_its_shape(site: Site) -> None:
    answer = site.http.post("/generate", json={"prompt": "a forbidden lake"})
    assert answer.status_code == 400
    [said] = answer.json()["detail"]
    assert (said["type"], said["loc"]) == ("content_refused", ["body", "prompt"])


def test_openais_api_refuses_in_its_shape(site: Site) -> None:
    answer = site.http.post("/v1/images/generations", json={"prompt": "a forbidden lake"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "prompt")
    assert "forbidden" not in error["message"]


def test_a_fault_in_the_rules_stops_the_start(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[default]\npatterns = ['(']")
    with open_site(tmp_path / "other") as other:
        settings = other.parts.settings.model_copy(update={"safety": SafetySettings(rules=rules)})
        parts = Parts(settings, other.store, other.storage, other.parts.catalogue)
        with pytest.raises(InvalidConfig, match="no pattern"):
            build_app(parts)
