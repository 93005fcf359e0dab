"""The web UI's files over HTTP: found, cached, packed, guarded; a page that says how to build them where none are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from darkroom.gateway.ui import policy_with, storage_origin, takes_gzip
from darkroom.storage.objects import open_storage

from .callers import add_key
from .gateway_site import Site, open_site
from .s3_server import SECRETS

PAGE = "<!doctype html><title>Darkroom</title>" + "<p>rooms</p>" * 100
SCRIPT = "export const rooms = 4;\n" * 200
FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ui") / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "theme.js").write_text("1;")
    (folder / "assets" / "index-B7x.js").write_text(SCRIPT)
    (folder / "assets" / "face.woff2").write_bytes(bytes(range(256)) * 8)
    (folder.parent / "secret.txt").write_text("not for the world")
    (folder / "assets" / "link.txt").symlink_to(folder.parent / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, static: Path) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("home"), parts={"static": static}) as found:
        add_key(found.store, "owl")  # the API asks for keys from now on, and the files do not
        yield found


def test_the_root_leads_to_the_ui(site: Site) -> None:
    answer = site.http.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")
    assert site.http.get("/", follow_redirects=True).text == PAGE


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/library", "/ui/compare/job-1.2", "/ui/index.html", "/ui/a/b/c"])
def test_whatever_is_no_file_is_the_page(site: Site, path: str) -> None:
    answer = site.http.get(path)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert site.http.get("/v1/jobs").status_code == 401


def test_assets_are_kept_for_ever_and_the_rest_is_asked_for_each_time(site: Site) -> None:
    script = site.http.get("/ui/assets/index-B7x.js")
    assert (script.text, script.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert script.headers["cache-control"] == FOR_EVER
    assert site.http.get("/ui/assets/face.woff2").headers["content-type"] == "font/woff2"
    assert site.http.get("/ui/theme.js").headers["cache-control"] == "no-cache"
    status, error = site.refused("GET", "/ui/assets/index-old.js")  # no page: a browser would take it for a script
    assert (status, error["code"]) == (404, "not_found")


def test_what_packs_is_packed_and_each_form_has_its_own_etag(site: Site) -> None:
    packed = site.http.get("/ui/assets/index-B7x.js", headers={"Accept-Encoding": "gzip"})
    plain = site.http.get("/ui/assets/index-B7x.js", headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert packed.content == plain.content == SCRIPT.encode()
    assert int(packed.headers["content-length"]) < len(SCRIPT) / 10
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    for answer in (packed, plain):
        coding = {"Accept-Encoding": "gzip" if answer is packed else "identity"}
        again = site.http.get("/ui/assets/index-B7x.js", headers={"If-None-Match": answer.headers["etag"], **coding})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
        assert again.headers["cache-control"] == FOR_EVER
    changed = site.http.get("/ui/assets/index-B7x.js", headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


def test_what_does_not_pack_is_sent_as_it_is(site: Site, static: Path) -> None:
    answer = site.http.get("/ui/assets/face.woff2", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.content == (static / "assets" / "face.woff2").read_bytes()


@pytest.mark.parametrize(
    ("said", "is_taken"),
    [
        *(("gzip", True), ("br, gzip", True), ("gzip;q=0.5, br", True), ("*", True), ("GZIP", True)),
        *(("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000", False), ("x-gzipped", False)),
    ],
)
def test_gzip_is_sent_to_those_who_take_it(said: str, is_taken: bool) -> None:
    assert takes_gzip(said) is is_taken


def test_head_says_what_get_would(site: Site) -> None:
    for path in ("/", "/ui/", "/ui/assets/index-B7x.js"):
        got, headed = site.http.get(path), site.http.head(path)
        assert (headed.status_code, headed.content) == (got.status_code, b"")
        for name in ("content-type", "content-length", "etag", "cache-control", "location"):
            assert headed.headers.get(name) == got.headers.get(name)


def test_the_page_may_load_nothing_from_elsewhere(site: Site) -> None:
    for path in ("/ui/", "/ui/assets/index-B7x.js"):
        headers = site.http.get(path).headers
        policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["font-src"] == policy["form-action"] == "'self'"
        assert policy["img-src"] == "'self' data: blob:"
        host = site.url.removeprefix("http://")
        assert policy["connect-src"] == f"'self' ws://{host} wss://{host}"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_pictures_may_come_from_where_the_storage_signs_its_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    bucket = open_storage("s3://darkroom/made?endpoint=https://objects.example:9000&region=us-east-1")
    assert storage_origin(bucket) == "https://objects.example:9000"
    assert storage_origin(open_storage(str(tmp_path / "files"))) == ""
    policy = policy_with(storage_origin(bucket), "us:8188")
    assert "img-src 'self' data: blob: https://objects.example:9000;" in policy
    assert "connect-src 'self' ws://us:8188 wss://us:8188 https://objects.example:9000;" in policy


def test_where_pictures_come_from_is_asked_again_until_it_is_known(
    tmp_path: Path, static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://darkroom/made?endpoint=https://objects.example:9000&region=us-east-1"
    with open_site(tmp_path, parts={"static": static}) as site:
        site.gateway.storage = open_storage(url)  # without its secrets it cannot sign
        policy = site.http.get("/ui/").headers["content-security-policy"]
        assert "img-src 'self' data: blob: https:;" in policy
        assert "https:" not in policy.partition("connect-src")[2]
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        site.gateway.storage = open_storage(url)
        policy = site.http.get("/ui/").headers["content-security-policy"]
        assert "img-src 'self' data: blob: https://objects.example:9000;" in policy


@pytest.mark.parametrize(
    "path", ["/ui/../secret.txt", "/ui/%2e%2e/secret.txt", "/ui/..%2fsecret.txt", "/ui/assets/..%2f..%2fsecret.txt"]
)
def test_nothing_outside_the_folder_is_served(site: Site, path: str) -> None:
    for each in (path, "/ui/assets/link.txt"):
        answer = httpx.get(httpx.URL(site.url).copy_with(raw_path=each.encode()))
        assert "not for the world" not in answer.text
    assert site.http.get("/ui/assets/link.txt").status_code == 404


def test_other_methods_and_paths_keep_the_apis_errors(site: Site) -> None:
    assert site.refused("POST", "/ui/")[1]["code"] == "method_not_allowed"
    assert site.refused("DELETE", "/")[1]["code"] == "method_not_allowed"
    assert site.refused("GET", "/uix")[1]["code"] == "not_found"


def test_what_is_built_anew_is_served_anew(site: Site, static: Path) -> None:
    (static / "other.html").write_text("<p>old</p>")
    before = site.http.get("/ui/other.html")
    (static / "other.html").write_text("<p>newer</p>")
    after = site.http.get("/ui/other.html", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.text) == (200, "<p>newer</p>")


def test_where_nothing_is_built_a_page_says_how(tmp_path: Path) -> None:
    with open_site(tmp_path / "home", parts={"static": tmp_path / "nowhere"}) as site:
        answer = site.http.get("/ui/library")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "make web" in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert site.http.get("/v1/models").status_code == 200
