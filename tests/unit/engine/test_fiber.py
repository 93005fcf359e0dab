"""What belongs to a fiber stays with it across switches."""

from __future__ import annotations

import contextvars
import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from darkroom.engine.call import torch_state
from darkroom.engine.fiber import Cancelled, Fiber, current, forget_frames


def fiber_of(function: Any, seed: int = 0) -> Fiber:
    return Fiber(function, seed=seed, owner=None, context=contextvars.copy_context())


def park(what: Any = None) -> Any:
    running = current()
    assert running is not None
    return running.park(what)


def test_a_fiber_parks_and_goes_on_with_the_answer() -> None:
    fiber = fiber_of(lambda: park("call") + 1)
    assert fiber.resume() == "call"
    assert not fiber.dead
    assert fiber.resume(41) == 42
    assert fiber.dead
    assert current() is None


def test_grad_mode_belongs_to_the_fiber() -> None:
    seen = []

    def run() -> None:
        with torch.enable_grad():
            park()
            seen.append(torch.is_grad_enabled())
        seen.append(torch.is_grad_enabled())

    with torch.no_grad():
        one, other = fiber_of(run), fiber_of(run)
        one.resume(), other.resume()
        assert not torch.is_grad_enabled()
        one.resume(), other.resume()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert seen == [True, False, True, False]


def test_autocast_belongs_to_the_fiber() -> None:
    def run() -> bool:
        with torch.autocast("cpu", torch.bfloat16):
            park()
            return torch.is_autocast_enabled("cpu")

    one, other = fiber_of(run), fiber_of(run)
    one.resume(), other.resume()
    assert not torch.is_autocast_enabled("cpu")
    assert one.resume() is True
    assert other.resume() is True
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu"])
def test_autocast_of_every_kind_of_device_belongs_to_the_fiber_and_goes_with_its_calls(device: str) -> None:
    def run() -> object:
        torch.set_autocast_enabled(device, True)
        torch.set_autocast_dtype(device, torch.bfloat16)
        park()
        state = torch_state()
        torch.set_autocast_enabled(device, False)
        return state[2]

    before, fiber = torch_state(), fiber_of(run)
    fiber.resume()
    assert torch_state() == before
    assert not torch.is_autocast_enabled(device)
    assert fiber.resume() == ((device, torch.bfloat16),)


def test_two_threads_fibers_take_turns_at_the_default_generator() -> None:
    """Two engines of one process: each draws what it draws alone."""

    def run() -> list[float]:
        drawn = []
        for _ in range(5):
            drawn.append(torch.rand(1).item())
            time.sleep(0.002)  # lets the other thread have its turn
            if len(drawn) % 2:
                park()
        return drawn

    def finish(fiber: Fiber) -> list[float]:
        while True:
            answer = fiber.resume()
            if fiber.dead:
                return list(answer)

    alone = [finish(fiber_of(run, seed=seed)) for seed in range(4)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: finish(fiber_of(run, seed=seed)), range(4)))
    assert together == alone
    assert torch.equal(torch.get_rng_state(), before)


def test_inference_mode_belongs_to_the_fiber() -> None:
    """Two that enter it and leave it in another order than they came."""

    def run() -> list[bool]:
        seen = []
        with torch.inference_mode():
            made = torch.ones(1)
            park()
            made.add_(1)  # refused outside of the mode
            seen += [torch.is_inference_mode_enabled(), made.is_inference()]
            with torch.inference_mode(False):
                park()
                seen.append(torch.is_inference_mode_enabled())
            seen.append(torch.is_inference_mode_enabled())
        park()
        return [*seen, torch.is_inference_mode_enabled(), torch.ones(1).is_inference()]

    one, other = fiber_of(run), fiber_of(run)
    for fiber in (one, other, other, one, one, other):
        fiber.resume()
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        assert not torch.ones(1).is_inference()
    expected = [True, True, False, True, False, False]
    assert one.resume() == other.resume() == expected


def test_a_fiber_that_is_thrown_out_leaves_its_modes_behind() -> None:
    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            park()

    fiber = fiber_of(run)
    fiber.resume()
    with pytest.raises(Cancelled):
        fiber.throw_in(Cancelled())
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled()


def test_default_device_belongs_to_the_fiber() -> None:
    def run() -> torch.device:
        with torch.device("meta"):
            park()
            return torch.zeros(1).device

    one, other = fiber_of(run), fiber_of(lambda: park() or torch.zeros(1).device)
    one.resume(), other.resume()
    assert torch.zeros(1).device.type == "cpu"
    assert other.resume().type == "cpu"
    assert one.resume().type == "meta"


def test_the_default_generator_belongs_to_the_fiber() -> None:
    def run() -> list[float]:
        first = torch.rand(1).item()
        park()
        return [first, torch.rand(1).item()]

    alone = fiber_of(run, seed=5)
    alone.resume()
    expected = alone.resume()
    torch.manual_seed(99)
    outside = torch.rand(2).tolist()
    torch.manual_seed(99)
    one, other = fiber_of(run, seed=5), fiber_of(run, seed=6)
    one.resume(), other.resume()
    first_outside = torch.rand(1).item()
    assert one.resume() == expected
    assert [first_outside, torch.rand(1).item()] == outside


def test_context_variables_are_those_of_the_submitter() -> None:
    tenant = contextvars.ContextVar("tenant", default="nobody")
    tenant.set("ada")
    fiber = fiber_of(lambda: park() or tenant.get())
    tenant.set("bob")
    fiber.resume()
    assert fiber.resume() == "ada"


def test_cancelled_passes_except_exception_and_runs_finally() -> None:
    seen = []

    def run() -> None:
        try:
            park()
        except Exception:
            seen.append("swallowed")
        finally:
            seen.append("finally")

    fiber = fiber_of(run)
    fiber.resume()
    with pytest.raises(Cancelled):
        fiber.throw_in(Cancelled())
    assert seen == ["finally"]
    assert fiber.dead


def test_frames_of_an_ended_fiber_hold_no_tensors() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def run() -> None:
        latents = torch.zeros(8)
        kept.append(weakref.ref(latents))
        raise ValueError(str(latents.sum().item()))

    with pytest.raises(ValueError, match="0") as raised:
        fiber_of(run).resume()
    forget_frames(raised.value)
    gc.collect()
    assert kept[0]() is None
