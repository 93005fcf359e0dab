"""Jobs for a model that another Darkroom runs: durable here, done there, told here. Over real HTTP and real stores."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from darkroom.config import ModelSettings
from darkroom.core import PRIORITY_STEPS, Job, Lease, effective_priority
from darkroom.errors import InvalidConfig, Unavailable
from darkroom.forward import chain
from darkroom.models.catalogue import BUNDLED_FOLDER
from darkroom.worker.events import AttemptEnded, ClockRead
from tests.lora_files import lora

from .forward_site import all_jobs, forward_process, forwarding, found, keep, open_front, settings_for, wait_for
from .gateway_site import Site, open_site, picture, wait_until
from .otlp_receiver import collecting
from .service import free_port

# Two gateways in one process build their routes in two threads, and the framework silences this one warning in a way
# that is not made for threads.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "backend") as site:
        site.report()
        yield site


@pytest.fixture
def front(tmp_path: Path, backend: Site) -> Iterator[Site]:
    with open_front(settings_for(tmp_path / "front", backend.url)) as site:
        yield site


TOOK = {"device_s": 2.0, "cost_usd": 99.0}
OUR_PRICE = 2.0 * 7.2 / 3600


def wait_for_work(backend: Site) -> tuple[Job, Lease]:
    """The next job at the backend, as its worker takes it."""
    wait_until(lambda: backend.store.queue().queued > 0)
    return backend.claim()


def test_adapters_of_the_backend_are_listed_and_passed_on(tmp_path: Path, backend: Site) -> None:
    ink = backend.gateway.offers.registered.add("ink", "landscapes", lora(1)).facts()
    with open_front(settings_for(tmp_path / "front", backend.url)) as front:  # which asks what there is at its start
        [listed] = [each for each in front.http.get("/v1/adapters").json()["data"] if each["name"] == "ink"]
        assert (listed["source"], listed["digest"], listed["problem"]) == ("remote", None, None)
        with forwarding(front):
            front.submit({"adapters": {"ink": 0.5}})
            there, _ = wait_for_work(backend)
        assert there.input["adapters"] == {"ink": 0.5}
        assert there.input["adapter_digests"] == {"ink": ink.digest}
        status, error = front.refused("POST", "/v1/jobs", json={"input": {"prompt": "x", "adapters": {"nosuch": 1}}})
        assert (status, error["code"]) == (400, "unknown_adapter")


def test_a_job_is_done_over_there_and_told_here(front: Site, backend: Site) -> None:
    with forwarding(front):
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        names = {"X-Request-Id": "order-1", "traceparent": trace}
        job_id = front.submit(headers=names, output={"format": "png"})["id"]
        there, lease = wait_for_work(backend)
        assert there.traceparent == trace
        assert (there.model, there.request_id, there.metadata) == ("landscapes", "order-1", {"forwarded_for": job_id})
        backend.step(lease, 2, preview="data:image/jpeg;base64,AAAA")
        wait_until(lambda: found(front, job_id).step == 2)
        backend.complete(lease)
        job = wait_for(front, job_id, "succeeded")
        [output] = job.outputs
        assert front.storage.get(output.key) == picture()
        assert (output.width, output.height, output.seed, output.content_type) == (256, 256, 7, "image/png")
        assert job.metrics["denoise_s"] == 0.5
        shown = front.http.get(front.job(job_id)["outputs"][0]["url"])
        assert shown.content == picture()
        kinds = [event.type for event in front.store.events(job_id, 0)]
        assert kinds[:2] == ["queued", "started"]
        assert {"progress", "preview", "output", "succeeded"} <= set(kinds)
        wait_until(lambda: list(front.storage.list(f"outputs/{job_id}")) == [output.key])  # what was asked is forgotten


def test_the_request_over_there_is_the_one_that_was_settled_here(front: Site, backend: Site) -> None:
    asked = {"preset": "fast", "num_images_per_prompt": 2, "negative_prompt": "fog", "reproducible": True}
    with forwarding(front):
        job_id = front.submit({**asked, "num_inference_steps": None}, priority=3, deadline_s=600)["id"]
        there, _ = wait_for_work(backend)
        here = found(front, job_id)
        assert there.input == here.input
        assert (here.priority, there.priority) == (3, 0)
        assert there.deadline_at == pytest.approx(here.deadline_at, abs=20)
        assert there.input["reproducible"] is True


def test_what_the_model_will_not_see_is_said_here_as_it_is_there(front: Site, backend: Site) -> None:
    with forwarding(front):
        job_id = front.submit({"prompt": "a lake, " + "fog and rain, " * 40})["id"]
        there, lease = wait_for_work(backend)
        assert there.warnings
        assert "fog" in there.warnings[0]
        wait_until(lambda: front.job(job_id)["warnings"] == list(there.warnings))
        backend.complete(lease)
        assert wait_for(front, job_id, "succeeded").warnings == there.warnings


def test_pictures_go_there_first(front: Site, backend: Site) -> None:
    uploads = [front.http.post("/v1/uploads", content=picture(colour=colour)).json() for colour in ("red", "white")]
    names = {name: upload["artifact_id"] for name, upload in zip(("image", "mask_image"), uploads, strict=True)}
    with forwarding(front):
        job_id = front.submit({**names, "strength": 0.9})["id"]
        there, lease = wait_for_work(backend)
        for name, colour in zip(names, ("red", "white"), strict=True):
            artifact = backend.store.artifact(there.input[name])
            assert artifact is not None
            assert backend.storage.get(artifact.key) == picture(colour=colour)
        backend.complete(lease)
        assert wait_for(front, job_id, "succeeded").task == "inpaint"


def test_a_control_image_goes_to_a_backend_that_has_a_controlnet(tmp_path: Path, front: Site) -> None:
    said = {"landscapes": ModelSettings(path=BUNDLED_FOLDER / "landscapes", controlnet=str(tmp_path / "edges"))}
    assert front.http.get("/v1/models/hidden").json()["has_controlnet"] is False
    with (
        open_site(tmp_path / "controlled", models=said) as backend,
        open_front(settings_for(tmp_path / "other-front", backend.url)) as controlled,
    ):
        backend.report()
        assert controlled.http.get("/v1/models/hidden").json()["has_controlnet"] is True
        upload = controlled.http.post("/v1/uploads", content=picture(colour="red")).json()["artifact_id"]
        with forwarding(controlled):
            asked = {"control_image": upload, "controlnet_conditioning_scale": 0.5}
            job_id = controlled.submit(asked)["id"]
            there, lease = wait_for_work(backend)
            artifact = backend.store.artifact(there.input["control_image"])
            assert artifact is not None
            assert backend.storage.get(artifact.key) == picture(colour="red")
            assert there.input["controlnet_conditioning_scale"] == 0.5
            backend.complete(lease)
            wait_for(controlled, job_id, "succeeded")


def test_a_cancel_here_cancels_there(front: Site, backend: Site) -> None:
    with forwarding(front):
        job_id = front.submit()["id"]
        there, lease = wait_for_work(backend)
        backend.step(lease, 1)
        wait_until(lambda: found(front, job_id).step == 1)
        front.http.post(f"/v1/jobs/{job_id}/cancel")
        wait_until(lambda: backend.store.cancelling("worker-a") == [there.id])
        backend.store.confirm_cancelled(lease, TOOK, time.time())
        job = wait_for(front, job_id, "cancelled")
        assert (job.outputs, job.metrics["device_s"]) == ((), 2.0)
        assert job.metrics["cost_usd"] == pytest.approx(OUR_PRICE)


def test_a_job_past_its_deadline_is_called_off_there_though_nothing_comes_from_there(
    front: Site, backend: Site
) -> None:
    with forwarding(front):
        job_id = front.submit(deadline_s=5)["id"]
        there, lease = wait_for_work(backend)
        wait_until(lambda: backend.store.cancelling("worker-a") == [there.id])
        backend.store.confirm_cancelled(lease, TOOK, time.time())
        job = wait_for(front, job_id, "failed")
        assert job.error is not None
        assert job.error["code"] == "deadline_exceeded"
        assert job.metrics["cost_usd"] == pytest.approx(OUR_PRICE)
        wait_until(lambda: list(front.storage.list(f"outputs/{job_id}")) == [])  # swept once the job has ended


def test_a_job_is_paid_for_at_our_price(front: Site, backend: Site) -> None:
    with forwarding(front):
        job_id = front.submit()["id"]
        _, lease = wait_for_work(backend)
        backend.store.complete(lease, [backend.put_output(lease)], TOOK, time.time())
        assert wait_for(front, job_id, "succeeded").metrics["cost_usd"] == pytest.approx(OUR_PRICE)


@pytest.mark.parametrize("priority_class", PRIORITY_STEPS)
def test_jobs_of_each_priority_class_are_taken_there(front: Site, backend: Site, priority_class: str) -> None:
    job_id = front.submit()["id"]
    front.store.set_priority(job_id, effective_priority(priority_class, 7), time.time())
    with forwarding(front):
        there, lease = wait_for_work(backend)
        assert there.priority == {"low": -100, "normal": 0, "high": 100}[priority_class]
        backend.complete(lease)
        wait_for(front, job_id, "succeeded")


@pytest.mark.parametrize("section", ["models.hidden", "tenants.local"])
def test_checks_that_nobody_here_can_make_are_not_left_out_in_silence(
    tmp_path: Path, backend: Site, section: str
) -> None:
    home = tmp_path / "front"
    settings_for(home, backend.url)
    (home / "rules.toml").write_text(f"[{section}]\ncheck_images = true\n")
    settings = settings_for(home, backend.url, f'[safety]\nrules = "{home / "rules.toml"}"')
    with open_front(settings) as front:
        status, error = front.refused("POST", "/v1/jobs", json={"input": {"prompt": "a lake"}})
        assert (status, error["code"], error["field"]) == (501, "not_supported", "model")
        assert front.store.queue().queued == 0


def test_a_refusal_there_is_the_jobs_error_here(front: Site, backend: Site) -> None:
    with forwarding(front):
        job_id = front.submit()["id"]
        _, lease = wait_for_work(backend)
        said = {"code": "content_refused", "message": "the safety rules refuse it", "field": "prompt"}
        backend.store.fail(lease, said, {}, time.time(), None)
        job = wait_for(front, job_id, "failed")
        assert dict(job.error or {}) == said
        assert len(job.errors) == 1


def test_what_was_cancelled_there_by_others_fails_here(front: Site, backend: Site) -> None:
    with forwarding(front):
        job_id = front.submit()["id"]
        wait_until(lambda: bool(all_jobs(backend)))
        backend.http.post(f"/v1/jobs/{all_jobs(backend)[0]['id']}/cancel")
        error = wait_for(front, job_id, "failed").error
        assert error is not None
        assert error["code"] == "cancelled"


def test_a_job_that_is_lost_there_is_handed_over_anew(tmp_path: Path) -> None:
    with open_site(tmp_path / "backend") as lost:
        settings = settings_for(tmp_path / "front", lost.url)
        with open_front(settings) as front, forwarding(front):
            job_id = front.submit()["id"]
            wait_until(lambda: bool(all_jobs(lost)))
    port = int(lost.url.rsplit(":", 1)[1])
    with open_site(tmp_path / "empty", at=port) as backend, open_front(settings) as front, forwarding(front):
        wait_until(lambda: keep(front) and backend.store.queue().queued > 0)
        _, lease = backend.claim()
        backend.complete(lease)
        assert wait_for(front, job_id, "succeeded").is_final
        assert len(all_jobs(backend)) == 1


def test_a_killed_forwarder_makes_no_second_job_over_there(front: Site, backend: Site) -> None:
    settings = front.parts.settings
    with forward_process(settings, "f1") as first:
        job_id = front.submit()["id"]
        there, lease = wait_for_work(backend)
        backend.step(lease, 1)
        wait_until(lambda: found(front, job_id).step == 1)
        first.kill()
        first.wait()
    with forward_process(settings, "f2"):
        wait_until(lambda: wait_for(front, job_id, "queued", "running").worker == "f2")
        backend.step(lease, 3)
        wait_until(lambda: found(front, job_id).step == 3)
        backend.complete(lease)
        job = wait_for(front, job_id, "succeeded")
    assert len(job.outputs) == 1
    assert (job.attempt, job.errors) == (1, ())  # the death is charged to no job
    assert [listed["id"] for listed in all_jobs(backend)] == [there.id]
    assert [event.type for event in front.store.events(job_id, 0)].count("succeeded") == 1


def test_a_killed_forwarder_uploads_no_picture_twice(front: Site, backend: Site) -> None:
    upload = front.http.post("/v1/uploads", content=picture()).json()["artifact_id"]
    settings = front.parts.settings
    with forward_process(settings, "f1") as first:
        job_id = front.submit({"image": upload})["id"]
        there, lease = wait_for_work(backend)
        first.kill()
        first.wait()
    with forward_process(settings, "f2"):
        wait_until(lambda: wait_for(front, job_id, "queued", "running").worker == "f2")
        backend.complete(lease)
        wait_for(front, job_id, "succeeded")
    assert [listed["id"] for listed in all_jobs(backend)] == [there.id]


def test_sigterm_hands_back_and_the_next_one_finds_the_job_again(front: Site, backend: Site) -> None:
    settings = front.parts.settings
    with forward_process(settings, "f1") as first:
        job_id = front.submit()["id"]
        there, lease = wait_for_work(backend)
        first.terminate()
        assert first.wait(30) == 0
    assert (found(front, job_id).state, found(front, job_id).attempt) == ("queued", 0)  # charged to nobody
    with forwarding(front):
        backend.complete(lease)
        assert wait_for(front, job_id, "succeeded").attempt == 1
    assert [listed["id"] for listed in all_jobs(backend)] == [there.id]


def test_what_the_forwarder_did_is_in_the_trace_of_the_request(front: Site, backend: Site) -> None:
    trace_id, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with collecting() as collector:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with forward_process(front.parts.settings, "f1", **tracing):
            job_id = front.submit(headers={"traceparent": f"00-{trace_id}-{caller}-01"})["id"]
            _, lease = wait_for_work(backend)
            backend.complete(lease)
            wait_for(front, job_id, "succeeded")
            collector.wait_for(lambda spans: "attempt" in {span.name for span in spans})
    spans = collector.trace(trace_id)
    [attempt] = [span for span in spans if span.name == "attempt"]
    assert (attempt.service, attempt.parent_id) == ("darkroom-forwarder", caller)
    stages = {span.name for span in spans if span.parent_id == attempt.span_id}
    assert stages == {"prepare", "submit", "follow", "fetch", "complete"}


def test_while_it_was_never_asked_jobs_are_refused_in_clear_words(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with open_front(settings_for(tmp_path, url)) as site:
        status, error = site.refused("POST", "/v1/jobs", json={"input": {"prompt": "a lake"}})
        assert (status, error["code"], error["field"]) == (503, "unavailable", "model")
        assert "cannot be asked just now" in error["message"]
        [listed] = site.http.get("/v1/models").json()["data"]
        assert listed["problem"] == error["message"]
        one = site.http.get("/v1/models/hidden")
        assert url not in one.text + json.dumps(error)
        assert url.removeprefix("http://") not in one.text


def test_jobs_are_kept_while_the_backend_is_away(tmp_path: Path) -> None:
    settings = None
    with open_site(tmp_path / "backend") as backend:
        port = int(backend.url.rsplit(":", 1)[1])
        settings = settings_for(tmp_path / "front", backend.url)
    with open_front(settings) as front, forwarding(front):
        assert front.http.get("/readyz").status_code == 503
        with open_site(tmp_path / "backend", at=port) as backend:
            backend.report()
            wait_until(lambda: front.http.get("/readyz").status_code == 200)
            first = front.submit()["id"]
            there, lease = wait_for_work(backend)
        second = front.submit()["id"]  # what it offers is known: the job waits here
        time.sleep(1.0)
        assert found(front, first).state == "running"
        with open_site(tmp_path / "backend", at=port) as backend:
            backend.report()
            backend.complete(lease)
            assert wait_for(front, first, "succeeded").attempt == 1
            _, lease = wait_for_work(backend)
            backend.complete(lease)
            assert wait_for(front, second, "succeeded").attempt == 1
            assert len(all_jobs(backend)) == 2
            assert there.id in {job["id"] for job in all_jobs(backend)}


def test_a_cancel_is_honoured_while_the_backend_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CANCEL_S", 1.0)
    with ExitStack() as left_open:
        with open_site(tmp_path / "backend") as backend:
            backend.report()
            front = left_open.enter_context(open_front(settings_for(tmp_path / "front", backend.url)))
            left_open.enter_context(forwarding(front))
            job_id = front.submit()["id"]
            wait_for_work(backend)
        front.http.post(f"/v1/jobs/{job_id}/cancel")
        assert wait_for(front, job_id, "cancelled").outputs == ()


def test_what_the_model_takes_is_what_the_backend_says(front: Site, backend: Site) -> None:
    there = backend.http.get("/v1/models/landscapes").json()
    here = front.http.get("/v1/models/hidden").json()
    same = ("tasks", "sizes", "default_size", "solvers", "presets", "revision", "input", "layout", "problem")
    assert {name: here[name] for name in same} == {name: there[name] for name in same}
    for wrong in (
        {"width": 100, "height": 100},
        {"solver": "euler-a"},
        {"preset": "best"},
        {"num_inference_steps": 1001},
    ):
        asked = {"json": {"input": {"prompt": "a lake", **wrong}}}
        refusals = [site.refused("POST", "/v1/jobs", **asked) for site in (front, backend)]
        told = [(status, error["code"], error["field"]) for status, error in refusals]
        assert told[0] == told[1]


def test_the_forwarder_stands_among_the_workers_and_learns_what_steps_take(front: Site, backend: Site) -> None:
    with forwarding(front) as running:
        wait_until(lambda: front.http.get("/readyz").status_code == 200)
        for _ in range(2):
            front.submit()
        for _ in range(2):
            _, lease = wait_for_work(backend)
            backend.complete(lease)
        wait_until(lambda: sum(isinstance(event, AttemptEnded) for event in running.heard) == 2)
        wait_until(lambda: front.http.get("/v1/workers").json()["data"][0]["step_seconds"] != {})
        [report] = front.http.get("/v1/workers").json()["data"]
    assert (report["id"], report["state"], report["models"]) == ("forwarder-1", "ready", ["hidden"])
    assert report["step_seconds"]["hidden"] == pytest.approx(0.5 / 4)
    assert backend.url.removeprefix("http://") not in json.dumps(report)


def test_nothing_is_claimed_while_the_clock_is_off_the_stores(
    front: Site, backend: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, forwarding(front) as running:
        patched.setattr(front.store, "clock", lambda: time.time() - 30.0)
        wait_until(lambda: any(isinstance(event, ClockRead) and event.ahead_s > 20 for event in running.heard))
        job_id = front.submit()["id"]
        time.sleep(1.0)
        assert found(front, job_id).state == "queued"
        patched.undo()
        wait_for_work(backend)


def test_a_thread_that_breaks_is_logged_without_the_other_darkrooms_address(
    front: Site, backend: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> None:
        raise Unavailable(f"{backend.url} does not answer")

    with forwarding(front) as running:
        running.forwarder._spawn("watch", breaks)
        wait_until(lambda: bool(running.failures))
    assert "watch ended: unavailable" in caplog.text
    assert backend.url not in "".join(record.getMessage() for record in caplog.records if "ended" in record.msg)


def test_a_key_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:1", 'api_key_env = "NO_SUCH_VARIABLE"')
    with pytest.raises(InvalidConfig, match="NO_SUCH_VARIABLE holds no key"), open_front(settings):
        pass


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('[models.hidden]\nremote = "http://user:secret@host"\n', "models.hidden.remote"),
        ('[models.hidden]\nremote = "http://host"\nsizes = [[64, 64]]\n', "sizes is for the other Darkroom to say"),
        ('[models.hidden]\npath = "x"\nremote_model = "y"\n', "remote_model goes with remote only"),
        ('[models.hidden]\nremote = "http://h"\napi_key_file = "k"\napi_key_env = "K"\n', "not both"),
        ('[models.hidden]\nremote = "http://h"\npath = "x"\n', "exactly one of path, hub, file, remote"),
    ],
)
def test_what_a_remote_model_may_say(tmp_path: Path, said: str, message: str) -> None:
    from darkroom.config import load

    path = tmp_path / "darkroom.toml"
    path.write_text(said)
    with pytest.raises(InvalidConfig) as refused:
        load(path)
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)
