"""Where outputs go and how long they stay: presigned URLs of an object store, retention by bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from darkroom.config import ServeSettings
from darkroom.jobs.keeper import PRUNE_S, Keeper
from darkroom.jobs.opening import open_store

from .gateway_site import Site, open_site, picture, wait_until
from .openai_site import client_of, worker
from .redis_server import RedisServer
from .s3_server import SECRETS, s3_server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield f"s3://darkroom/cloud?endpoint={found}&region=us-east-1"


@pytest.fixture(scope="module")
def cloud(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("cloud"), storage=bucket) as found:
        yield found


def fetched(url: str) -> httpx.Response:
    """What a stranger gets: without a key, without cookies."""
    return httpx.get(url, trust_env=False)


def finished(site: Site, **body: Any) -> dict[str, Any]:
    job_id = site.submit(**body)["id"]
    _, lease = site.claim()
    site.complete(lease)
    return site.job(job_id)


def test_a_jobs_output_is_a_presigned_url_that_a_stranger_can_fetch(cloud: Site) -> None:
    [output] = finished(cloud)["outputs"]
    place = urlsplit(output["url"])
    assert cloud.url not in output["url"]
    assert {"X-Amz-Signature", "X-Amz-Expires"} <= set(parse_qs(place.query))
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in output["url"]
    answer = fetched(output["url"])
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", picture())
    assert len(answer.content) == output["size"]


def test_events_and_openais_dialect_give_the_same_kind_of_url(cloud: Site) -> None:
    job = finished(cloud)
    stream = cloud.http.get(f"/v1/jobs/{job['id']}/events").text
    assert "X-Amz-Signature" in stream
    with worker(cloud):
        said = client_of(cloud).images.generate(prompt="a lake", response_format="url")
        carried = client_of(cloud).images.generate(prompt="a lake")
    assert said.data is not None
    assert carried.data is not None
    answer = fetched(said.data[0].url or "")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert carried.data[0].b64_json


def test_the_bytes_can_also_be_had_from_us(cloud: Site) -> None:
    [output] = finished(cloud)["outputs"]
    answer = cloud.http.get(f"/v1/artifacts/{output['artifact_id']}")
    assert (answer.content, answer.headers["content-type"]) == (picture(), "image/png")


def test_a_folders_url_is_ours_and_a_stranger_can_fetch_it(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        [output] = finished(site)["outputs"]
        assert output["url"].startswith(f"{site.url}/v1/artifacts/")
        assert fetched(output["url"]).content == picture()


@pytest.fixture(params=["folder", "s3", "redis"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "redis":
        (tmp_path / "redis").mkdir()
        server = RedisServer(tmp_path / "redis")
        with open_site(tmp_path, store=open_store(server.url)) as found:
            yield found
        server.kill()
        return
    storage = None if request.param == "folder" else f"{request.getfixturevalue('bucket')}".replace("/cloud?", "/kept?")
    with open_site(tmp_path, storage=storage) as found:
        yield found


def keeper_of(site: Site, keep_bytes: float | None) -> Keeper:
    keep_gb = None if keep_bytes is None else keep_bytes / 1024**3
    settings = ServeSettings(keep_gb=keep_gb)
    return Keeper(site.store, lambda gone: site.storage.delete([each.key for each in gone]), settings)


def test_when_room_is_short_the_jobs_that_ended_first_go_with_their_bytes(site: Site) -> None:
    jobs = []
    for _ in range(4):
        jobs.append(finished(site))
        time.sleep(0.01)
    uploaded = site.http.post("/v1/uploads", content=picture(kind="JPEG")).json()
    waiting = site.submit(input={"prompt": "a lake", "image": uploaded["artifact_id"]})
    size = jobs[0]["outputs"][0]["size"]
    keeper = keeper_of(site, uploaded["size"] + 2 * size)
    now = site.parts.clock()
    keeper.run_once(now)
    keeper.clean_once(now)
    statuses = [site.http.get(f"/v1/jobs/{job['id']}").status_code for job in [*jobs, waiting]]
    assert statuses == [404, 404, 200, 200, 200]
    assert [fetched(job["outputs"][0]["url"]).status_code for job in jobs] == [404, 404, 200, 200]
    assert site.store.stored_bytes() == uploaded["size"] + 2 * size
    keys = sorted(site.storage.list())
    assert len(keys) == 3
    assert site.http.get(f"/v1/artifacts/{uploaded['artifact_id']}").status_code == 200
    keeper.run_once(now + PRUNE_S)
    assert sorted(site.storage.list()) == keys


def test_uploads_and_live_jobs_stay_whatever_they_take(site: Site) -> None:
    uploaded = site.http.post("/v1/uploads", content=picture()).json()
    waiting = site.submit(input={"prompt": "a lake", "image": uploaded["artifact_id"]})
    keeper = keeper_of(site, 1)
    keeper.run_once(site.parts.clock())
    keeper.clean_once(site.parts.clock())
    assert site.job(waiting["id"])["state"] == "queued"
    assert site.http.get(f"/v1/artifacts/{uploaded['artifact_id']}").status_code == 200


def test_without_the_setting_nothing_goes(site: Site) -> None:
    job = finished(site)
    keeper = keeper_of(site, None)
    keeper.run_once(site.parts.clock())
    keeper.clean_once(site.parts.clock())
    assert site.job(job["id"])["state"] == "succeeded"


def test_the_keepers_own_threads_do_it(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        old, young = finished(site), finished(site)
        keeper = keeper_of(site, old["outputs"][0]["size"])
        keeper.start()
        try:
            wait_until(lambda: len(list(site.storage.list())) == 1)
        finally:
            keeper.stop()
        assert site.http.get(f"/v1/jobs/{old['id']}").status_code == 404
        assert fetched(young["outputs"][0]["url"]).content == picture()
