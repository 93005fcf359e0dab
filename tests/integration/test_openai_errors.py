"""OpenAI's Images API: every refusal, from whichever layer, in its shape and as the package's exceptions."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from starlette.requests import HTTPConnection

from darkroom.core import Allowance, ApiKey
from darkroom.errors import Forbidden, LimitExceeded, QueueFull, Unauthorised
from darkroom.gateway.access import Caller
from darkroom.gateway.dialects.openai_answers import fault_of, refused
from darkroom.gateway.keys import draw, id_of

from .gateway_site import Site, open_site, picture
from .openai_site import client_of, failing, worker

PROMPT = "a lake at night"
GENERATIONS, EDITS, VARIATIONS = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), max_body_mb=1.0) as found:
        yield found


@pytest.fixture(scope="module")
def client(site: Site) -> openai.OpenAI:
    return client_of(site)


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and param of a refusal in its one shape."""
    assert set(answer.json()) == {"error"}, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return answer.status_code, error["code"], error["param"]


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "bad_input", "prompt"),
    ({"prompt": "  "}, "bad_input", "prompt"),
    ({"prompt": "x" * 2001}, "bad_input", "prompt"),
    ({"n": 0}, "bad_input", "n"),
    ({"n": 11}, "bad_input", "n"),
    ({"size": "big"}, "bad_input", "size"),
    ({"size": "300x300"}, "size_not_offered", "size"),
    ({"size": "512x512"}, "size_not_offered", "size"),
    ({"quality": "superb"}, "bad_input", "quality"),
    ({"output_format": "svg"}, "bad_input", "output_format"),
    ({"response_format": "pdf"}, "bad_input", "response_format"),
    ({"output_format": "webp", "output_compression": 101}, "bad_input", "output_compression"),
    ({"stream": True, "partial_images": 4}, "bad_input", "partial_images"),
    ({"extra_body": {"steps": 0}}, "bad_input", "steps"),
    ({"extra_body": {"steps": -1}}, "bad_input", "steps"),
    ({"extra_body": {"steps": 1001}}, "bad_input", "steps"),
    ({"extra_body": {"steps": "5"}}, "bad_input", "steps"),
    ({"extra_body": {"steps": 5, "num_inference_steps": 6}}, "bad_input", "steps"),
    ({"extra_body": {"scheduler": "magic"}}, "unknown_solver", "scheduler"),
    ({"extra_body": {"strength": 0.5}}, "bad_input", "image"),
    ({"extra_body": {"seed": -1}}, "bad_input", "seed"),
]


@pytest.mark.parametrize(("asked", "code", "param"), BAD)
def test_a_call_that_cannot_be_taken_is_a_bad_request_error(
    client: openai.OpenAI, asked: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**{"prompt": PROMPT, **asked})
    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.request_id


@pytest.mark.parametrize("model", ["dall-e-3", "gpt-image-1", "../../etc"])
def test_an_unknown_model_is_a_not_found_error_that_says_which_there_are(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError, match="allowed: landscapes") as caught:
        client.images.generate(prompt=PROMPT, model=model)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


LORA_FILES: list[dict[str, Any]] = [
    {"lora": "https://example.org/ink.safetensors"},
    {"lora": "someone/ink-lora"},
    {"lora": {"../loras/ink.safetensors": 0.8}},
    {"lora": [{"name": "ink", "path": "C:\\loras\\ink"}]},
    {"loras": ["ink"]},
    {"lora_weights": "ink.safetensors"},
]


@pytest.mark.parametrize("asked", LORA_FILES)
def test_a_lora_by_its_file_or_address_is_refused_by_name(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.InternalServerError, match="named by what they are registered as") as caught:
        client.images.generate(prompt=PROMPT, extra_body=asked)
    assert (caught.value.status_code, caught.value.code, caught.value.param) == (501, "not_supported", *asked)


LORAS: list[tuple[dict[str, Any], str, str]] = [
    ({"lora": "nobodys"}, "unknown_adapter", "lora"),
    ({"lora": {"nobodys": 0.8}}, "unknown_adapter", "lora"),
    ({"lora": {"nobodys": "strong"}}, "bad_input", "lora"),
    ({"lora": 0.8}, "bad_input", "lora"),
    ({"lora": ["ink", 0.8]}, "bad_input", "lora"),
    ({"lora": ["ink", {"ink": 0.8}]}, "bad_input", "lora"),
    ({"lora": [f"ink-{k}" for k in range(9)]}, "bad_input", "lora"),
    ({"lora": "ink", "adapters": {"ink": 0.8}}, "bad_input", "lora"),
    ({"adapters": {"nobodys": 0.8}}, "unknown_adapter", "adapters"),
]


@pytest.mark.parametrize(("asked", "code", "param"), LORAS)
def test_a_lora_that_cannot_be_taken_says_by_which_field_it_came(
    client: openai.OpenAI, asked: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt=PROMPT, extra_body=asked)
    assert (caught.value.code, caught.value.param) == (code, param)


FILES: list[tuple[dict[str, Any], str, str]] = [
    ({"image": b"no picture"}, "unreadable_image", "image"),
    ({"image": b""}, "unreadable_image", "image"),
    ({"image": [picture(), picture()]}, "bad_input", "image"),
    ({"image": picture(), "mask": b"no picture"}, "unreadable_image", "mask"),
    ({"image": picture(), "mask": picture()}, "bad_input", "mask"),
    ({"image": picture(512, 512)}, "size_not_offered", "size"),
    ({"image": picture(), "size": "192x192"}, "bad_input", "image"),
    ({"image": picture(), "n": 11}, "bad_input", "n"),
    ({"image": picture(), "extra_body": {"steps": "many"}}, "bad_input", "steps"),
    ({"image": picture(), "prompt": " "}, "bad_input", "prompt"),
]


@pytest.mark.parametrize(("asked", "code", "param"), FILES)
def test_a_form_that_cannot_be_taken_is_a_bad_request_error(
    client: openai.OpenAI, asked: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(**{"prompt": PROMPT, **asked})
    assert (caught.value.code, caught.value.param) == (code, param)


def test_a_whole_form_without_a_prompt_is_refused(site: Site) -> None:
    answer = site.http.post(EDITS, headers=BOUNDARY, content=PART + picture() + b"\r\n--x--")
    assert refusal(answer) == (400, "bad_input", "prompt")


def test_a_mask_of_another_size_is_refused(site: Site) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(buffer, "PNG")
    files = {"image": ("a.png", picture(), "image/png"), "mask": ("m.png", buffer.getvalue(), "image/png")}
    answer = site.http.post(EDITS, data={"prompt": PROMPT}, files=files)
    assert refusal(answer) == (400, "mask_size", "mask")


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
FIELD = b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n%d\r\n'
FORMS: list[tuple[dict[str, str], bytes, str]] = [
    ({"Content-Type": "application/json"}, b'{"prompt": "x"}', "body"),
    ({}, b"", "body"),
    ({"Content-Type": "multipart/form-data"}, b"--x--", "body"),
    (BOUNDARY, b"", "body"),
    (BOUNDARY, b"--x--", "image"),
    (BOUNDARY, b"no form at all", "body"),
    (BOUNDARY, PART + picture(), "body"),
    (BOUNDARY, b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n", "body"),
    (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc\r\n--x--\r\n', "image"),
    (BOUNDARY, b"".join(FIELD % n for n in (1, 2)) + b"--x--", "n"),
    (BOUNDARY, b"".join(PART + b"a\r\n" for _ in range(40)) + b"--x--", "body"),
]


@pytest.mark.parametrize("route", [EDITS, VARIATIONS])
@pytest.mark.parametrize(("headers", "body", "field"), FORMS, ids=range(len(FORMS)))
def test_a_form_that_is_none_is_refused_by_name(
    site: Site, route: str, headers: dict[str, str], body: bytes, field: str
) -> None:
    assert refusal(site.http.post(route, headers=headers, content=body)) == (400, "bad_input", field)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"prompt": 5}', b'{"n": 1}'])
def test_a_body_that_is_none_is_refused(site: Site, body: bytes) -> None:
    answer = site.http.post(GENERATIONS, headers={"Content-Type": "application/json"}, content=body)
    assert refusal(answer)[0] == 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_guidance_that_is_no_finite_number_is_refused(site: Site, number: str) -> None:
    body = f'{{"prompt": "a lake", "guidance_scale": {number}}}'.encode()
    answer = site.http.post(GENERATIONS, headers={"Content-Type": "application/json"}, content=body)
    status, code, param = refusal(answer)
    assert (status, code) == (400, "bad_input")
    assert param in ("guidance_scale", "body")


def test_what_other_layers_refuse_has_the_same_shape(site: Site) -> None:
    assert refusal(site.http.get(GENERATIONS)) == (405, "method_not_allowed", None)
    assert refusal(site.http.post("/v1/images/nothing")) == (404, "not_found", None)
    assert refusal(site.http.get("/v1/images")) == (404, "not_found", None)
    foreign = {"Origin": "https://evil.example"}
    assert refusal(site.http.post(GENERATIONS, headers=foreign)) == (403, "forbidden", "Origin")
    large = {"prompt": "x" * 2_000_000}
    assert refusal(site.http.post(GENERATIONS, json=large))[:2] == (413, "too_large")
    parts = iter([PART, *itertools.repeat(b"\0" * 65536, 64)])
    assert refusal(site.http.post(EDITS, headers=BOUNDARY, content=parts))[:2] == (413, "too_large")


def test_the_native_routes_keep_their_own_shape(site: Site) -> None:
    assert site.refused("GET", "/v1/imagesque")[0] == 404
    assert site.refused("GET", "/v1/models/none")[1]["code"] == "unknown_model"


JOB_ENDS = [
    ("content_refused", openai.BadRequestError, 400, "content_policy_violation"),
    ("deadline_exceeded", openai.InternalServerError, 504, "deadline_exceeded"),
    ("worker_died", openai.InternalServerError, 500, "worker_died"),
    ("out_of_memory", openai.InternalServerError, 503, "out_of_memory"),
    ("not_finite", openai.InternalServerError, 500, "not_finite"),
    ("of a later release", openai.InternalServerError, 500, "internal"),
]


@pytest.mark.parametrize(("ended", "kind", "status", "code"), JOB_ENDS)
def test_a_job_that_failed_is_an_error(
    site: Site, client: openai.OpenAI, ended: str, kind: type[openai.APIStatusError], status: int, code: str
) -> None:
    with worker(site, failing(ended, "it did not work")), pytest.raises(kind, match="it did not work") as caught:
        client.images.generate(prompt=PROMPT)
    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_a_job_that_failed_for_good_is_not_made_again_by_the_package(site: Site) -> None:
    with worker(site, failing("worker_died")) as taken, pytest.raises(openai.InternalServerError):
        client_of(site, max_retries=2).images.generate(prompt=PROMPT)
    assert len(taken) == 1


def test_a_job_that_somebody_cancelled_is_a_conflict(site: Site, client: openai.OpenAI) -> None:
    def cancel(site: Site, lease: Any) -> None:
        site.http.post(f"/v1/jobs/{lease.job_id}/cancel")
        site.store.confirm_cancelled(lease, {}, site.parts.clock())

    with worker(site, cancel), pytest.raises(openai.ConflictError) as caught:
        client.images.generate(prompt=PROMPT)
    assert caught.value.code == "cancelled"


def test_a_full_queue_is_a_rate_limit_error_that_says_when_to_come_back(tmp_path: Path) -> None:
    with open_site(tmp_path, max_queued=1) as site:
        site.submit()
        with pytest.raises(openai.RateLimitError) as caught:
            client_of(site).images.generate(prompt=PROMPT)
        assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "rate_limit_error")
        assert int(caught.value.response.headers["retry-after"]) >= 1


def nobody(_: HTTPConnection) -> Caller:
    raise Unauthorised("show an API key")


def no_user(_: HTTPConnection) -> Caller:
    raise Forbidden("this key may not make jobs")


@pytest.mark.parametrize(
    ("identify", "kind", "code"),
    [(nobody, openai.AuthenticationError, "invalid_api_key"), (no_user, openai.PermissionDeniedError, "forbidden")],
)
def test_who_may_not_is_told_so_before_the_body_is_judged(
    tmp_path: Path, identify: Any, kind: type[openai.APIStatusError], code: str
) -> None:
    with open_site(tmp_path, parts={"identify": identify}) as site:
        client = client_of(site)
        calls = [
            lambda: client.images.generate(prompt="", n=99),
            lambda: client.images.edit(prompt="", image=b""),
            client.models.list,
        ]
        for number, call in enumerate(calls):
            with pytest.raises(kind) as caught:
                call()
            assert number == len(calls) - 1 or caught.value.code == code


def key_of(site: Site, tenant: str, **allowed: Any) -> str:
    drawn = draw()
    allowance = Allowance(**allowed)
    site.store.add_key(
        ApiKey(drawn.id, tenant, "k", ("user",), drawn.secret_hash, site.parts.clock(), allowance=allowance)
    )
    return drawn.shown


def test_a_real_key_opens_and_its_limits_are_rate_limit_errors(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        one, poor = key_of(site, "one", live_jobs=1), key_of(site, "poor", device_s_per_day=0.001)
        with worker(site) as taken:
            assert client_of(site, api_key=one).images.generate(prompt=PROMPT).data
        assert (taken[0].tenant, taken[0].key_id) == ("one", id_of(one))
        with pytest.raises(openai.AuthenticationError) as unknown:
            client_of(site, api_key=one[:-1] + ("0" if one[-1] != "0" else "1")).images.generate(prompt=PROMPT)
        assert (unknown.value.code, unknown.value.type) == ("invalid_api_key", "authentication_error")
        headers = {"Authorization": f"Bearer {one}", "Idempotency-Key": "k"}
        with pytest.raises(httpx.ReadTimeout):  # the job goes on, for it has an idempotency key
            httpx.post(f"{site.url}{GENERATIONS}", json={"prompt": PROMPT}, headers=headers, timeout=0.7)
        with pytest.raises(openai.RateLimitError) as busy:
            client_of(site, api_key=one).images.generate(prompt=PROMPT)
        assert (busy.value.code, busy.value.param) == ("rate_limit_exceeded", "live_jobs")
        with pytest.raises(openai.RateLimitError) as spent:
            client_of(site, api_key=poor).images.generate(prompt=PROMPT)
        assert (spent.value.code, spent.value.type) == ("insufficient_quota", "insufficient_quota")
        assert int(spent.value.response.headers["retry-after"]) > 1


def test_a_days_budget_is_a_quota_and_a_rate_is_none() -> None:
    for field, code in (("usd_per_day", "insufficient_quota"), ("jobs_per_minute", "rate_limit_exceeded")):
        error = LimitExceeded("enough for today", field=field)
        error.retry_after_s = 90.5
        assert fault_of(error)["code"] == code
        assert refused(error).headers["retry-after"] == "91"
    assert fault_of(QueueFull("full"))["code"] == "rate_limit_exceeded"
