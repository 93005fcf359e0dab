"""Adapters of an engine: who may use them, what is refused, what stays in memory."""

from __future__ import annotations

import gc
import hashlib
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom import errors
from darkroom.engine.adapters import Adapter, AdapterPool, Factors, Part
from darkroom.engine.engine import Engine, Options
from darkroom.engine.lora import adapted
from tests.parity import families
from tests.parity.plain import pixels
from tests.parity.tiny_adapters import save

NAME = "pytorch_lora_weights.safetensors"
WAIT_S = 120


@pytest.fixture(scope="module")
def pipe() -> Any:
    return families.sd_solvers()["ddim"]


@pytest.fixture(scope="module")
def folder(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(pipe, tmp_path_factory.mktemp("adapter"), 1)


@pytest.fixture
def engine(pipe: Any, folder: Path) -> Iterator[Engine]:
    with Engine(pipe) as opened:
        opened.add_adapter("one", folder)
        yield opened


def factors(rank: int = 1) -> Factors:
    return Factors(torch.ones(rank, 4), torch.ones(4, rank))


class Shelf:
    """A pool of adapters that hold 32 bytes each; `read` counts how often each was read."""

    def __init__(self, capacity_bytes: int) -> None:
        self.module, self.read = torch.nn.Linear(4, 4), list[str]()
        self.gate = threading.Event()
        self.gate.set()
        self.threads = ThreadPoolExecutor(1)
        self.pool = AdapterPool(capacity_bytes, self.threads.submit)

    def add(self, name: str) -> None:
        self.pool.add(name, lambda: self._read(name), {"unet": self.module})

    def _read(self, name: str) -> Adapter:
        assert self.gate.wait(WAIT_S)
        self.read.append(name)
        return Adapter(name, {"unet": Part(name, {"layer": factors()})})

    def lend(self, *names: str) -> Any:
        return self.pool.lend(dict.fromkeys(names, 1.0), {"unet": self.module})


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf(64)
    yield made
    made.threads.shutdown()


def test_the_least_recently_used_leaves_and_comes_back_when_it_is_asked_for(shelf: Shelf) -> None:
    for name in "abc":
        shelf.add(name)
    assert (shelf.pool.held, shelf.pool.held_bytes) == (("b", "c"), 64)
    loan = shelf.lend("b")
    assert loan.is_ready
    loan = shelf.lend("a")
    loan.waiting[0].result(WAIT_S)
    assert shelf.read == ["a", "b", "c", "a"]
    assert loan.is_ready
    [(part, weight)] = loan.mix_for("unet")
    assert (part.digest, weight) == ("a", 1.0)
    assert loan.mix_for("vae") == ()


def test_what_requests_hold_stays_beyond_the_bytes_until_they_end(shelf: Shelf) -> None:
    for name in "abc":
        shelf.add(name)
    loan = shelf.lend("a", "b", "c")
    for future in loan.waiting:
        future.result(WAIT_S)
    assert shelf.pool.held_bytes == 96
    loan.give_back()
    assert shelf.pool.held_bytes == 64


def test_two_requests_wait_for_one_reading(shelf: Shelf) -> None:
    for name in "abc":
        shelf.add(name)
    shelf.gate.clear()
    first, second = shelf.lend("a"), shelf.lend("a")
    assert not first.is_ready
    shelf.gate.set()
    first.waiting[0].result(WAIT_S)
    assert second.is_ready
    assert shelf.read.count("a") == 2  # when it was added, and once for both


def test_a_file_that_is_gone_or_has_changed_is_named_and_asked_for_again(
    pipe: Any, folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    call = {"prompt": "a", "num_inference_steps": 1, "height": families.SIDE, "width": families.SIDE}
    with Engine(pipe, options=Options(adapter_bytes=0)) as engine:
        engine.add_adapter("one", copy)
        (copy / NAME).rename(copy / "away.bin")
        with pytest.raises(errors.MissingWeights):
            engine.submit(**call, adapters={"one": 1.0}).result(WAIT_S)
        state = {name: 2 * value for name, value in load_file(folder / NAME).items()}
        save_file(state, copy / NAME)
        with pytest.raises(errors.CorruptWeights, match="has changed"):
            engine.submit(**call, adapters={"one": 1.0}).result(WAIT_S)
        shutil.copy(folder / NAME, copy / NAME)
        assert engine.submit(**call, adapters={"one": 1.0}).result(WAIT_S).images
        assert engine.stats()["running"] == 0


def test_reading_one_does_not_hold_up_others(pipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    call = {"prompt": "a", "num_inference_steps": 1, "height": families.SIDE, "width": families.SIDE}
    with Engine(pipe, options=Options(adapter_bytes=0)) as engine:
        engine.add_adapter("one", folder)
        real = engine._adapters._to_pool

        def slowly(read: Any) -> Future[Adapter]:
            return real(lambda: gate.wait(WAIT_S) and read())

        monkeypatch.setattr(engine._adapters, "_to_pool", slowly)
        waiting = engine.submit(**call, adapters={"one": 1.0})
        cancelled = engine.submit(**call, adapters={"one": 1.0})
        assert engine.submit(**call).result(WAIT_S).images
        cancelled.cancel()
        with pytest.raises(errors.JobCancelled):
            cancelled.result(WAIT_S)
        assert not waiting.done()
        gate.set()
        assert waiting.result(WAIT_S).images


@pytest.mark.parametrize(
    ("adapters", "error", "said"),
    [
        ({"two": 1.0}, errors.UnknownAdapter, "no adapter 'two'; there are: one"),
        ({"one": float("nan")}, errors.BadInput, "must be a number from -100 to 100"),
        ({"one": "much"}, errors.BadInput, "must be a number from -100 to 100"),
        ({"one": 1e9}, errors.BadInput, "must be a number from -100 to 100"),
        (["one"], errors.BadInput, "must be {name: weight}"),
    ],
)
def test_what_cannot_be_is_refused_at_submit(engine: Engine, adapters: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said) as refused:
        engine.submit(prompt="a", adapters=adapters)
    assert refused.value.field == "adapters"


def test_files_that_do_not_fit_are_refused_by_name(engine: Engine, folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / NAME)

    def written(name: str, changed: dict[str, torch.Tensor]) -> Path:
        save_file(changed, tmp_path / name)
        return tmp_path / name

    first = next(name for name in state if name.startswith("unet.") and "lora_A" in name)
    wide = written("wide.safetensors", {**state, first: torch.zeros(4, 999)})
    lost = written("lost.safetensors", {f"unet.nowhere.lora_{x}.weight": torch.zeros(1, 1) for x in "AB"})
    half = written("half.safetensors", {first: state[first]})
    other = written("other.safetensors", {"prior.x.lora_A.weight": torch.zeros(1, 1)})
    dora = written("dora.safetensors", {**state, "unet.x.dora_scale": torch.zeros(1)})
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    (tmp_path / "old.bin").write_bytes(b"pickle")
    refusals = [
        (wide, errors.BadInput, "for another model"),
        (lost, errors.BadInput, "there is no layer unet.nowhere"),
        (half, errors.NotSupported, "has not the two factors"),
        (other, errors.BadInput, "holds nothing for StableDiffusionPipeline"),
        (dora, errors.NotSupported, "is a DoRA adapter"),
        (tmp_path / "broken.safetensors", errors.CorruptWeights, "cannot be read"),
        (tmp_path / "old.bin", errors.UnsafeWeights, "is no safetensors file"),
        (tmp_path / "nowhere", errors.MissingWeights, "there is no adapter at"),
    ]
    for path, error, said in refusals:
        with pytest.raises(error, match=said):
            engine.add_adapter("two", path)
    with pytest.raises(errors.BadInput, match="is there already"):
        engine.add_adapter("one", folder)


def test_an_adapter_serves_every_pipeline_over_the_same_modules_and_no_other(engine: Engine) -> None:
    engine.add(families.sd_solvers()["euler"], "same")
    engine.add(families.sdxl()["text"], "other")
    size = {"height": families.SIDE, "width": families.SIDE, "num_inference_steps": 1}
    asked = {"prompt": "a", "seed": 1, "adapters": {"one": 1.0}, **size}
    assert engine.submit(model="same", **asked).result(WAIT_S).images
    with pytest.raises(errors.BadInput, match="for another model"):
        engine.submit(model="other", **asked)


def test_a_removed_adapter_is_gone_and_may_come_again(engine: Engine, folder: Path) -> None:
    engine.remove_adapter("one")
    with pytest.raises(errors.UnknownAdapter):
        engine.submit(prompt="a", adapters={"one": 1.0})
    with pytest.raises(errors.UnknownAdapter):
        engine.remove_adapter("one")
    engine.add_adapter("one", folder)


def test_a_file_with_another_digest_than_was_meant_is_not_taken(engine: Engine, folder: Path) -> None:
    with pytest.raises(errors.CorruptWeights, match="is not the file that was meant: its SHA-256 is"):
        engine.add_adapter("two", folder, digest="0" * 64)
    engine.add_adapter("two", folder, digest=hashlib.sha256((folder / NAME).read_bytes()).hexdigest())


def test_a_model_that_goes_while_its_adapter_is_read_leaves_none_behind(
    pipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(pipe) as engine:
        real, checked = AdapterPool._check_free, list[str]()

        def late(pool: AdapterPool, name: str) -> None:
            checked.append(name)
            if len(checked) == 2:  # it is read
                engine.remove("default")
            real(pool, name)

        monkeypatch.setattr(AdapterPool, "_check_free", late)
        with pytest.raises(errors.UnknownModel, match="was removed"):
            engine.add_adapter("one", folder)
        assert engine._adapters.held_bytes == 0


def test_modules_are_left_as_they_were_and_a_writer_keeps_its_adapters(pipe: Any, folder: Path) -> None:
    """FreeU writes on the UNet: its request runs on a copy of its own."""
    before = {name: dict(module.__dict__) for name, module in pipe.unet.named_modules()}
    call = {"prompt": "a", "num_inference_steps": 2, "height": families.SIDE, "width": families.SIDE, "seed": 1}
    call["output_type"] = "np"

    def write(own: Any, *_: Any) -> dict[str, Any]:
        own.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
        return {}

    with Engine(pipe) as engine:
        engine.add_adapter("one", folder)
        writer = pixels(engine.submit(**call, callback_on_step_end=write, adapters={"one": 1.0}).result(WAIT_S))
        without = pixels(engine.submit(**call, callback_on_step_end=write).result(WAIT_S))
        assert not np.allclose(writer, without, atol=1e-4)
    after = {name: dict(module.__dict__) for name, module in pipe.unet.named_modules()}
    assert {name: set(own) for name, own in after.items()} == {name: set(own) for name, own in before.items()}


def test_other_threads_call_the_module_without_and_wait_with() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4))
    mix = ((Part("a", {"0": factors()}), 1.0),)
    x = torch.ones(1, 4)
    with torch.no_grad(), ThreadPoolExecutor(1) as other:
        plain = module(x)
        with adapted(module, [mix], by_row=False):
            assert torch.allclose(module(x), plain + 4)
            assert torch.equal(other.submit(module, x).result(WAIT_S), plain)
            waiting = other.submit(run_adapted, module, mix, x)
            assert not waiting.done()
        assert torch.allclose(waiting.result(WAIT_S), plain + 4)
        assert torch.equal(module(x), plain)
    assert "forward" not in module[0].__dict__


@torch.no_grad()
def run_adapted(module: torch.nn.Module, mix: Any, x: torch.Tensor) -> torch.Tensor:
    with adapted(module, [mix], by_row=False):
        output: torch.Tensor = module(x)
        return output


def test_rows_that_all_get_the_same_need_no_telling_apart() -> None:
    """A layer may see a number of tokens that no row count divides."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 4))
    mix = ((Part("a", {"0": factors()}), 1.0),)
    x = torch.ones(3, 4)
    with torch.no_grad():
        plain = module(x)
        with adapted(module, [mix, mix], by_row=True):
            assert torch.allclose(module(x), plain + 4)
        with adapted(module, [mix, ()], by_row=True), pytest.raises(RuntimeError, match="cannot be told apart"):
            module(x)


def test_nothing_keeps_an_adapter_that_was_removed(pipe: Any, folder: Path) -> None:
    call = {"prompt": "a", "num_inference_steps": 1, "height": families.SIDE, "width": families.SIDE}
    with Engine(pipe) as engine:
        engine.add_adapter("one", folder)
        entry = engine._adapters._known["one"]
        assert entry.adapter is not None
        parts = [weakref.ref(part) for part in entry.adapter.parts.values()]
        assert len(parts) == 2  # the text encoder's too, whose outputs are kept
        del entry
        assert engine.submit(**call, adapters={"one": 1.0}).result(WAIT_S).images
        engine.remove_adapter("one")
        assert engine.submit(**call).result(WAIT_S).images  # the tick after the last one's end
        gc.collect()
        assert [part() for part in parts] == [None, None]


def test_an_engine_that_is_closed_gives_its_adapters_back(pipe: Any, folder: Path) -> None:
    engine = Engine(pipe)
    engine.add_adapter("one", folder)
    engine.close()
    with pytest.raises(errors.EngineClosed):
        engine.submit(prompt="a", adapters={"one": 1.0})
    with pytest.raises(errors.EngineClosed):
        engine.add_adapter("two", folder)
    assert engine._adapters._known["one"].uses == 0


def test_a_closed_engine_reads_nothing_again(pipe: Any, folder: Path) -> None:
    engine = Engine(pipe, options=Options(adapter_bytes=0))
    engine.add_adapter("one", folder)
    engine.close()
    with pytest.raises(errors.EngineClosed, match="takes no more requests"):
        engine.submit(prompt="a", adapters={"one": 1.0})
    engine._loop.is_closing = False  # as if it closed a moment later
    with pytest.raises(errors.EngineClosed, match="reads no more adapters"):
        engine.submit(prompt="a", adapters={"one": 1.0})
    assert engine._adapters._known["one"].loading is None
