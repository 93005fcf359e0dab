"""Whatever bytes come in, by upload, data URL or form: a named error or the right picture, in bounded memory."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from darkroom.storage.incoming import PictureLimits, read_input_picture

from .gateway_site import Site, open_site
from .hostile_pictures import HUGE, LARGE, NOISE, PICTURE, TAKEN, UNREADABLE, saved
from .openai_site import worker

PROMPT = "a lake at night"
LIMITS = PictureLimits(24 * 1024 * 1024, 4096 * 4096)
MOST_GROWTH_MIB = 200  # a picture at the limit takes 64 decoded, and its mask 32; the bombs would take 400 to 14000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house")) as found:
        yield found


def upload(site: Site, data: bytes) -> httpx.Response:
    return site.http.post("/v1/uploads", content=data, headers={"Content-Type": "image/png"})


def as_data_url(site: Site, data: bytes) -> httpx.Response:
    text = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return site.http.post("/v1/jobs", json={"input": {"prompt": PROMPT, "image": text}})


def as_form(site: Site, data: bytes) -> httpx.Response:
    return site.http.post("/v1/images/edits", data={"prompt": PROMPT}, files={"image": ("../a.png", data, "image/png")})


def as_mask(site: Site, data: bytes) -> httpx.Response:
    files = {"image": ("a.png", saved(PICTURE, "PNG"), "image/png"), "mask": ("m.png", data, "image/png")}
    return site.http.post("/v1/images/edits", data={"prompt": PROMPT}, files=files)


Face = Callable[[Site, bytes], httpx.Response]
FACES: dict[Face, str] = {upload: "body", as_data_url: "image", as_form: "image", as_mask: "mask"}


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("field") or error.get("param")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_picture_is_refused_by_name(site: Site, name: str, face: Face) -> None:
    assert refusal(face(site, UNREADABLE[name])) == (400, "unreadable_image", FACES[face])


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", HUGE)
def test_what_is_too_large_is_refused_by_name(site: Site, name: str, face: Face) -> None:
    assert refusal(face(site, HUGE[name])) == (413, "too_large", FACES[face])


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", LARGE)
def test_what_lies_about_its_size_is_refused_by_name(site: Site, name: str, face: Face) -> None:
    assert refusal(face(site, LARGE[name])) in (
        (413, "too_large", FACES[face]),
        (400, "unreadable_image", FACES[face]),
    )


@pytest.mark.parametrize("face", FACES)
def test_nothing_is_no_picture(site: Site, face: Face) -> None:
    code = "bad_input" if face is upload else "unreadable_image"
    assert refusal(face(site, b"")) == (400, code, FACES[face])


def test_a_refused_file_makes_no_job_and_stores_nothing(site: Site) -> None:
    before = (site.store.queue(), site.store.stored_bytes(), sorted(site.storage.list()))
    for face in (upload, as_data_url, as_form):
        face(site, UNREADABLE["moving webp"])
    assert (site.store.queue(), site.store.stored_bytes(), sorted(site.storage.list())) == before


def seen_by_the_worker(site: Site, artifact_id: str) -> Image.Image:
    artifact = site.store.artifact(artifact_id)
    assert artifact is not None
    image = read_input_picture(site.storage.get(artifact.key), LIMITS)
    assert image.size == (artifact.width, artifact.height)
    return image


def assert_alike(found: Image.Image, wanted: Image.Image) -> None:
    assert found.size == wanted.size
    difference = ImageStat.Stat(ImageChops.difference(found.convert("RGB"), wanted)).mean
    assert max(difference) < 4, difference


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_picture_is_taken_as_a_person_sees_it(site: Site, name: str) -> None:
    data, wanted = TAKEN[name]
    answer = upload(site, data)
    assert answer.status_code == 201, answer.text
    uploaded = answer.json()
    assert_alike(seen_by_the_worker(site, uploaded["artifact_id"]), wanted)
    back = site.http.get(f"/v1/artifacts/{uploaded['artifact_id']}")
    assert (back.content, back.headers["content-type"]) == (data, uploaded["content_type"])
    assert back.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in back.headers["content-security-policy"]
    with worker(site) as taken:
        job = as_data_url(site, data)
        assert job.status_code == 202, job.text
        form = as_form(site, data)
        assert form.status_code == 200, form.text
    for each in taken:
        assert_alike(seen_by_the_worker(site, each.input["image"]), wanted)
        assert "mask_image" not in each.input


GOOD = {kind: saved(NOISE, kind) for kind in ("PNG", "JPEG", "WEBP")} | {"16 bits": TAKEN["grey png of 16 bits"][0]}
DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
    st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(0, 7)),
    st.tuples(st.just("head"), st.integers(0, 63), st.integers(0, 255)),
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.integers(0, 255)),
)


def damaged(data: bytes, harm: list[tuple[str, int, int]]) -> bytes:
    content = bytearray(data)
    for what, place, value in harm:
        at = place % max(1, len(content))
        if what == "cut":
            del content[at:]
        elif what == "insert":
            content[at:at] = bytes([value]) * 3
        elif at < len(content):
            content[at] = value if what == "head" else content[at] ^ (1 << value)
    return bytes(content)


@settings(max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(GOOD)), st.lists(DAMAGE, min_size=1, max_size=6), st.sampled_from(list(FACES)[:2]))
def test_no_damage_gets_past_the_named_errors(
    site: Site, kind: str, harm: list[tuple[str, int, int]], face: Face
) -> None:
    data = damaged(GOOD[kind], harm)
    answer = face(site, data)
    if answer.status_code == 201:
        seen_by_the_worker(site, answer.json()["artifact_id"])
    elif answer.status_code != 202:
        status, code, field = refusal(answer)
        named = {"unreadable_image", "too_large", "bad_input", "size_not_offered"}
        assert status in (400, 413)
        assert code in named
        assert field


MEASURE = """
import json, re, tempfile
from pathlib import Path
from tests.integration.gateway_site import open_site
from tests.integration.hostile_pictures import HUGE, LARGE, UNREADABLE, png
from tests.integration.test_hostile_uploads import FACES, upload, as_form
with open_site(Path(tempfile.mkdtemp())) as site:
    refused, largest = {**UNREADABLE, **HUGE, **LARGE}, png(4096, 4096, rows=4096, is_colour=True)
    peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: what made the files does not count
    before = peak()
    statuses = {face(site, data).status_code for data in refused.values() for face in FACES}
    hostile = peak() - before
    taken = [upload(site, largest).status_code, as_form(site, largest).status_code]
    print(json.dumps({"hostile": hostile, "all": peak() - before, "statuses": sorted(statuses), "taken": taken}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_memory_stays_bounded() -> None:
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE], cwd=root, capture_output=True, text=True, timeout=300,
        env={"PYTHONPATH": f"{root}:{root / 'src'}", "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    said: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    assert (said["statuses"], said["taken"]) == ([400, 413], [201, 400])  # no model offers so large a picture
    assert said["all"] < MOST_GROWTH_MIB, said
    print(said)
