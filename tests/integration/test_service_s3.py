"""The whole running service over an S3 double (moto): pictures go in, come out and go again through its bucket."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from .gateway_site import picture
from .s3_server import SECRETS, s3_server
from .service import QUICK, Service, served, wait_until

pytestmark = pytest.mark.slow

SIZE = (QUICK["width"], QUICK["height"])


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, str]]:
    """The server's address, and the bucket's URL."""
    with s3_server() as found:
        yield found, f"s3://darkroom/made?endpoint={found}&region=us-east-1"


@pytest.fixture(scope="module")
def service(place: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    with served(home, DARKROOM_STORAGE=place[1], **SECRETS) as found:
        yield found


def listed(endpoint: str) -> list[str]:
    """What lies in the bucket."""
    answer = httpx.get(f"{endpoint}/darkroom", params={"list-type": "2"}, trust_env=False)
    return [part.split("</Key>")[0] for part in answer.text.split("<Key>")[1:]]


def outputs(endpoint: str) -> list[str]:
    """Of this file's service: others have places of their own in the bucket."""
    return [key for key in listed(endpoint) if key.startswith("made/outputs/")]


def test_a_picture_goes_from_upload_to_presigned_url_through_the_bucket(
    service: Service, place: tuple[str, str]
) -> None:
    uploaded = service.ask("POST", "/uploads", content=picture(*SIZE)).json()["artifact_id"]
    made = [service.submit("plain"), service.submit("changed", image=uploaded, strength=0.5)]
    for job in service.wait_all(made):
        assert (job["state"], job["attempt"]) == ("succeeded", 1), job["errors"]
        [output] = job["outputs"]
        assert output["url"].startswith(place[0])
        assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in output["url"]
        stranger = httpx.get(output["url"], trust_env=False)
        assert (stranger.status_code, stranger.headers["content-type"]) == (200, "image/png")
        assert Image.open(io.BytesIO(stranger.content)).size == SIZE
        ours = service.ask("GET", f"/artifacts/{output['artifact_id']}", follow_redirects=True)
        assert ours.content == stranger.content
    assert not (service.home / "artifacts").exists()
    assert len(outputs(place[0])) == 2


def test_what_is_removed_leaves_the_bucket_and_what_is_needed_stays(service: Service, place: tuple[str, str]) -> None:
    [first] = service.wait_all([service.submit("first")])
    before = outputs(place[0])
    copied = service.submit("second", image=first["outputs"][0]["artifact_id"], strength=0.5)
    assert service.ask("DELETE", f"/jobs/{first['id']}").status_code == 204
    gone = set(before) - set(outputs(place[0]))
    assert {first["id"] in key for key in gone} == {True}
    [job] = service.wait_all([copied])
    assert (job["state"], len(job["outputs"])) == ("succeeded", 1)
    assert any(job["input"]["image"] in key for key in listed(place[0]))


def test_a_worker_killed_in_its_steps_leaves_one_picture_in_the_bucket(
    service: Service, place: tuple[str, str]
) -> None:
    before = set(outputs(place[0]))
    job_id = service.submit("killed", num_inference_steps=30)
    wait_until(lambda: service.job(job_id)["step"] > 0)
    service.kill("worker")
    [job] = service.wait_all([job_id])
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    [key] = set(outputs(place[0])) - before
    assert job_id in key
