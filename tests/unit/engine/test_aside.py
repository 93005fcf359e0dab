"""Decodes beside the denoiser: nobody waits for them, and everything else is as without."""

from __future__ import annotations

import contextlib
import copy
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan

from darkroom import errors
from darkroom.engine.engine import Engine, Options
from darkroom.engine.hook import has_own_cache
from darkroom.engine.options import Tick
from darkroom.engine.resting import offload
from tests.unit.engine.test_engine import same

WAIT_S = 30.0
ASIDE = Options(decode_aside=True)


class SlowDecoder:
    """Keeps each forward of a VAE's decoder until it is let go."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self.threads: set[str] = set()
        self._forward = decoder.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        self.reached.set()
        assert self.go.wait(WAIT_S)
        return self._forward(*args, **kwargs)


@pytest.fixture
def slow(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDecoder]:
    decoder = SlowDecoder(pipe.vae.decoder)
    monkeypatch.setattr(pipe.vae.decoder, "forward", decoder)
    yield decoder
    decoder.go.set()


def test_others_denoise_while_a_decode_runs(pipe: Any, call: dict[str, Any], slow: SlowDecoder) -> None:
    def let_go(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        slow.go.set()
        return {}

    with Engine(pipe, options=ASIDE) as engine:
        first = engine.submit(**call)
        assert slow.reached.wait(WAIT_S)
        assert not slow.go.is_set()
        other = engine.submit(**call, callback_on_step_end=let_go)
        assert same(first.result(WAIT_S), other.result(WAIT_S))
    assert slow.threads == {"darkroom-decode_0"}


@pytest.mark.parametrize("is_reproducible", [False, True])
def test_images_are_those_of_decodes_in_turn(pipe: Any, call: dict[str, Any], is_reproducible: bool) -> None:
    def made(options: Options) -> list[Any]:
        with Engine(pipe, options=options) as engine:
            asked = {**call, "reproducible": is_reproducible}
            handles = [engine.submit(**{**asked, "seed": k, "num_inference_steps": 2 + k % 3}) for k in range(6)]
            results = [handle.result(WAIT_S) for handle in handles]
            assert engine.stats()["finished"] == 6
            return results

    for one, other in zip(made(ASIDE), made(Options(decode_aside=False)), strict=True):
        assert same(one, other)
        assert not is_reproducible or np.array_equal(one.images, other.images)


def test_one_that_is_cancelled_while_its_decode_runs_ends_when_that_does(
    pipe: Any, call: dict[str, Any], slow: SlowDecoder
) -> None:
    with Engine(pipe, options=ASIDE) as engine:
        handle, late = engine.submit(**call), engine.submit(**{**call, "seed": 8}, deadline_s=WAIT_S)
        assert slow.reached.wait(WAIT_S)
        handle.cancel()
        slow.go.set()
        with pytest.raises(errors.JobCancelled):
            handle.result(WAIT_S)
        assert late.result(WAIT_S).images.shape[0] == 1
        assert handle.metrics["decode_s"] > 0


def test_one_that_waits_for_its_decode_is_cancelled_at_once(pipe: Any, call: dict[str, Any], slow: SlowDecoder) -> None:
    with Engine(pipe, options=ASIDE) as engine:
        first = engine.submit(**call)
        assert slow.reached.wait(WAIT_S)
        second = engine.submit(**{**call, "num_inference_steps": 1})
        third = engine.submit(**{**call, "num_inference_steps": 1, "output_type": "latent"})
        third.result(WAIT_S)
        second.cancel()
        with pytest.raises(errors.JobCancelled):
            second.result(WAIT_S)
        assert not slow.go.is_set()
        slow.go.set()
        assert first.result(WAIT_S).images.shape[0] == 1


def test_a_deadline_that_passes_in_the_decode_is_said(pipe: Any, call: dict[str, Any], slow: SlowDecoder) -> None:
    with Engine(pipe, options=ASIDE) as engine:
        handle = engine.submit(**call, deadline_s=3.0)
        assert slow.reached.wait(WAIT_S)
        threading.Timer(3.0, slow.go.set).start()
        with pytest.raises(errors.DeadlineExceeded):
            handle.result(WAIT_S)


def test_a_decode_that_fails_is_its_own_requests(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, left = pipe.vae.decoder.forward, [1]

    def failing(*args: Any, **kwargs: Any) -> Any:
        if left:
            left.pop()
            raise ValueError("no such picture")
        return forward(*args, **kwargs)

    monkeypatch.setattr(pipe.vae.decoder, "forward", failing)
    with Engine(pipe, options=ASIDE) as engine:
        with pytest.raises(ValueError, match="no such picture"):
            engine.submit(**call).result(WAIT_S)
        assert engine.submit(**call).result(WAIT_S).images.shape[0] == 1


def test_closing_waits_for_the_decode(pipe: Any, call: dict[str, Any], slow: SlowDecoder) -> None:
    engine = Engine(pipe, options=ASIDE)
    handle = engine.submit(**call)
    assert slow.reached.wait(WAIT_S)
    closing = threading.Thread(target=engine.close)
    closing.start()
    slow.go.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert handle.result(0).images.shape[0] == 1


def test_closing_with_cancel_ends_one_in_its_decode(pipe: Any, call: dict[str, Any], slow: SlowDecoder) -> None:
    engine = Engine(pipe, options=ASIDE)
    handle = engine.submit(**call)
    assert slow.reached.wait(WAIT_S)
    closing = threading.Thread(target=engine.close, args=(True,))
    closing.start()
    while not engine._loop.is_closing:
        time.sleep(0.001)
    slow.go.set()
    closing.join(WAIT_S)
    with pytest.raises(errors.JobCancelled):
        handle.result(0)


def test_listeners_hear_of_decodes_in_the_engines_thread(pipe: Any, call: dict[str, Any]) -> None:
    heard: list[tuple[str, str]] = []

    def hear(tick: Tick) -> None:
        heard.append((tick.kind, threading.current_thread().name))

    with Engine(pipe, options=Options(decode_aside=True, on_tick=hear)) as engine:
        engine.submit(**call).result(WAIT_S)
    assert ("decode", "darkroom-engine") in heard


def test_many_that_come_and_are_cancelled_lose_no_row(pipe: Any, call: dict[str, Any]) -> None:
    chance = random.Random(0)
    with Engine(pipe, options=ASIDE) as engine:
        handles = []
        for seed in range(40):
            steps = chance.randrange(1, 4)
            handles.append(engine.submit(**{**call, "seed": seed, "num_inference_steps": steps}))
            if chance.random() < 0.4:
                chance.choice(handles).cancel()
        for handle in handles:
            with contextlib.suppress(errors.JobCancelled):
                assert handle.result(WAIT_S).images.shape[0] == 1
        assert engine.submit(**call).result(WAIT_S).images.shape[0] == 1  # it slept before, and looked for lost rows
        attempts = engine._attempts
    assert (attempts.rows_in, attempts.decodes, attempts.lent) == (attempts.rows_out, {}, {})


def test_a_step_that_has_no_room_beside_a_decode_runs_again_when_that_is_done(
    pipe: Any, call: dict[str, Any], slow: SlowDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, refused = pipe.unet.forward, threading.Event()

    def greedy(*args: Any, **kwargs: Any) -> Any:
        if slow.reached.is_set() and not slow.go.is_set():
            refused.set()
            threading.Timer(0.1, slow.go.set).start()
            raise torch.OutOfMemoryError("no room")
        return forward(*args, **kwargs)

    monkeypatch.setattr(pipe.unet, "forward", greedy)
    with Engine(pipe, options=ASIDE) as engine:
        first = engine.submit(**call)
        assert slow.reached.wait(WAIT_S)
        others = [engine.submit(**{**call, "seed": seed}) for seed in (7, 8)]
        assert same(first.result(WAIT_S), others[0].result(WAIT_S))
        assert others[1].result(WAIT_S).images.shape[0] == 1
        assert refused.is_set()
        curves = engine.profile._curves.values()
        stats = engine.stats()
        charged_s = sum(handle.metrics["device_s"] for handle in (first, *others))
    assert all(curve.limit is None for curve in curves)
    assert stats["busy_s"] - stats["outside_s"] - stats["checking_s"] == pytest.approx(charged_s)
    assert "darkroom-engine" in slow.threads  # for a while decodes take turns


def test_a_decode_that_has_no_room_beside_a_step_takes_its_turn(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, decode = pipe.unet.forward, pipe.vae.decoder.forward
    begun, stepping, refused = threading.Event(), threading.Event(), threading.Event()
    threads: list[str] = []

    def stepped(*args: Any, **kwargs: Any) -> Any:
        if begun.is_set() and not refused.is_set():
            stepping.set()
            assert refused.wait(WAIT_S)
        return step(*args, **kwargs)

    def decoded(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread().name)
        if not refused.is_set():
            begun.set()
            assert stepping.wait(WAIT_S)
            refused.set()
            raise torch.OutOfMemoryError("no room")
        return decode(*args, **kwargs)

    monkeypatch.setattr(pipe.unet, "forward", stepped)
    monkeypatch.setattr(pipe.vae.decoder, "forward", decoded)
    with Engine(pipe, options=ASIDE) as engine:
        first = engine.submit(**call)
        assert begun.wait(WAIT_S)
        other = engine.submit(**call)
        assert same(first.result(WAIT_S), other.result(WAIT_S))
        assert all(curve.limit is None for curve in engine.profile._curves.values())
    assert threads == ["darkroom-decode_0", "darkroom-engine", "darkroom-engine"]


def patched(pipe: Any) -> None:
    decode = pipe.vae.decode
    pipe.vae.__dict__["decode"] = lambda *args, **kwargs: decode(*args, **kwargs)


def remembering(pipe: Any) -> None:
    pipe.vae.__dict__["clear_cache"] = lambda: None


def casting(pipe: Any) -> None:
    pipe.vae.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)


def resting(pipe: Any) -> None:
    offload([pipe.vae], torch.device("cpu"))


@pytest.mark.parametrize("change", [patched, remembering, casting, resting])
def test_a_decode_that_another_may_disturb_takes_its_turn(pipe: Any, call: dict[str, Any], change: Any) -> None:
    own = copy.copy(pipe)
    own.vae = copy.deepcopy(pipe.vae)
    change(own)
    with Engine(own, options=ASIDE) as engine:
        assert engine.submit(**call).result(WAIT_S).images.shape[0] == 1
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("darkroom-decode")]


def test_a_vae_that_remembers_frames_is_known_by_its_cache() -> None:
    small = {"dim_mult": [1, 1], "num_res_blocks": 1, "temperal_downsample": [False], "z_dim": 4}
    wan = AutoencoderKLWan(base_dim=8, **small, latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    assert has_own_cache(wan)
    assert not has_own_cache(AutoencoderKL(block_out_channels=(8,), norm_num_groups=4))
