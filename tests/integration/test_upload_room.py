"""What one tenant's uploads may take: a bound over all of them, and nothing left behind by jobs that were refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from darkroom.config import ServeSettings
from darkroom.gateway.pictures import MIB, most_uploaded
from darkroom.jobs.ledger import UPLOAD_BYTES
from tests.integration.gateway_site import Site, open_site, picture

THREE_MB = 3.5 * UPLOAD_BYTES / MIB  # room for three small pictures


def inline(colour: str = "teal") -> str:
    return f"data:image/png;base64,{base64.b64encode(picture(colour=colour)).decode()}"


def with_picture(image: str, **more: Any) -> dict[str, Any]:
    return {"json": {"input": {"prompt": "x", "num_inference_steps": 4, "image": image, **more}}}


def upload(site: Site) -> str:
    answer = site.http.post("/v1/uploads", content=picture())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["artifact_id"])


def test_a_tenants_uploads_are_bounded_however_they_come(tmp_path: Path) -> None:
    with open_site(tmp_path, max_uploads_mb_per_tenant=THREE_MB) as site:
        first = upload(site)
        upload(site)
        site.submit({"image": inline()})
        stored = set(site.storage.list())
        answer = site.http.post("/v1/uploads", content=picture())
        assert int(answer.headers["retry-after"]) == 60
        for status, error in (
            site.refused("POST", "/v1/uploads", content=picture()),
            site.refused("POST", "/v1/jobs", **with_picture(inline())),
        ):
            assert (status, error["code"], error["field"]) == (429, "limit_exceeded", "uploads")
        assert set(site.storage.list()) == stored
        site.submit({"image": first})  # what is there may be used
        assert site.http.delete(f"/v1/artifacts/{first}").status_code == 204
        upload(site)


def test_a_request_with_two_pictures_stores_both_or_none(tmp_path: Path) -> None:
    with open_site(tmp_path, max_uploads_mb_per_tenant=1.5 * UPLOAD_BYTES / MIB) as site:
        said = with_picture(inline(), mask_image=inline("white"))
        assert site.refused("POST", "/v1/jobs", **said)[0] == 429
        assert (list(site.storage.list()), site.store.uploaded_bytes("local")) == ([], 0)


def test_a_refused_job_leaves_no_picture_and_takes_none_away(tmp_path: Path) -> None:
    with open_site(tmp_path, max_queued=1) as site:
        own = upload(site)
        site.submit()
        stored = set(site.storage.list())
        for image in (inline(), own):
            status, error = site.refused("POST", "/v1/jobs", **with_picture(image))
            assert (status, error["code"]) == (429, "queue_full")
        assert set(site.storage.list()) == stored
        assert site.store.uploaded_bytes("local") == UPLOAD_BYTES
        assert site.store.artifact(own) is not None


@pytest.mark.parametrize(("keep_gb", "most_mb"), [(None, 8192), (100, 8192), (8, 2048), (0.5, 128)])
def test_one_tenant_fills_no_more_than_a_quarter_of_the_room(keep_gb: float | None, most_mb: float) -> None:
    assert most_uploaded(ServeSettings(keep_gb=keep_gb)) == most_mb * MIB
