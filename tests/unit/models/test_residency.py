"""Which models are in memory: bounded in bytes, one load at a time, nobody held up who need not be."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from darkroom.config import ModelSettings, ServeSettings
from darkroom.engine.compiling import is_compiled
from darkroom.engine.engine import Engine
from darkroom.engine.host_copy import HostCopy
from darkroom.errors import CorruptWeights, EngineClosed, UnknownModel
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.footprint import (
    Budgets,
    budget_of,
    budgets,
    expected_bytes,
    host_budget_of,
    host_bytes,
    weights_of,
)
from darkroom.models.loading import Loaded, load
from darkroom.models.request import validate
from darkroom.models.residency import DISK, HOST, Residency
from darkroom.models.shelf import Shelf
from darkroom.models.tasks import call_of, model_of
from tests.missing import need

from .conftest import LANDSCAPES

WAIT_S = 120.0
MIB = 2**20

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(entry_of("landscapes", tmp_path_factory.mktemp("home")), is_offline=True)


@pytest.fixture(scope="module")
def size(bundled: Loaded) -> int:
    """Bytes of the bundled model in memory."""
    return sum(weights_of(bundled.pipe).values())


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


class Loader:
    """Copies of the bundled model, weights and all, under any name.

    `gates` hold loads until they are set, `faults` make them fail once.
    """

    def __init__(self, bundled: Loaded, home: Path) -> None:
        self.bundled, self.home, self.loads = bundled, home, list[str]()
        self.gates: dict[str, threading.Event] = {}
        self.began: dict[str, threading.Event] = {}
        self.faults: dict[str, BaseException] = {}

    def hold(self, name: str) -> threading.Event:
        self.gates[name], self.began[name] = threading.Event(), threading.Event()
        return self.gates[name]

    def __call__(self, name: str) -> Loaded:
        self.loads.append(name)
        if name in self.gates:
            self.began[name].set()
            assert self.gates[name].wait(WAIT_S)
        if name in self.faults:
            raise self.faults.pop(name)
        return replace(self.bundled, entry=entry_of(name, self.home), pipe=copy.deepcopy(self.bundled.pipe))


def entry_of(name: str, home: Path) -> Entry:
    return Entry(name, FOLDER, ModelSettings(path=LANDSCAPES), home)


@pytest.fixture
def loader(bundled: Loaded, tmp_path: Path) -> Loader:
    return Loader(bundled, tmp_path)


@pytest.fixture
def residency(engine: Engine, loader: Loader, size: int) -> Iterator[Callable[..., Residency]]:
    made: list[Residency] = []

    def make(models: float, **more: Any) -> Residency:
        budget = int(models * size)
        made.append(Residency(engine, loader, lambda name: expected_bytes(entry_of(name, loader.home)), budget, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Holding:
    """Modules, held as a pipeline holds them."""

    def __init__(self, *modules: torch.nn.Module) -> None:
        self.components = dict(enumerate(modules))


def use(residency: Residency, name: str) -> None:
    """Take a model once it is there, and give it back."""
    taken = residency.take(name)
    assert taken.result(WAIT_S).loaded.entry.name == name
    residency.give_back(name, taken)


def test_models_stay_until_their_room_is_needed_and_the_least_recently_used_leaves(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    changes: list[tuple[str, bool]] = []
    models = residency(2.1, changed=lambda name, resident: changes.append((name, resident is not None)))
    for name in ("a", "b", "a", "c", "a"):
        use(models, name)
    assert loader.loads == ["a", "b", "c"]
    assert set(models.loaded) == {"a", "c"}
    assert changes == [("a", True), ("b", True), ("b", False), ("c", True)]


def test_what_is_resident_never_exceeds_the_budget(
    residency: Callable[..., Residency], loader: Loader, size: int
) -> None:
    models = residency(1.5)
    for name in ("a", "b", "c", "a"):
        use(models, name)
        assert models.held_bytes == size
    assert models.loaded == ("a",)


def test_one_model_is_loaded_however_large(residency: Callable[..., Residency]) -> None:
    models = residency(0.1)
    use(models, "a")
    assert models.loaded == ("a",)


def test_a_model_in_use_does_not_leave(residency: Callable[..., Residency], loader: Loader) -> None:
    models = residency(1.1)
    in_use = models.take("a")
    in_use.result(WAIT_S)
    wanted = models.take("b")
    assert "b" not in loader.loads
    assert not wanted.done()
    models.give_back("a", in_use)
    wanted.result(WAIT_S)
    assert models.loaded == ("b",)


def test_a_model_that_is_to_leave_takes_nothing_new_so_that_steady_use_keeps_no_other_out(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models = residency(1.1)
    in_use = models.take("a")
    in_use.result(WAIT_S)
    wanted = models.take("b")
    while models.loaded:  # until the loader has chosen who leaves
        assert not wanted.done()
    late = models.take("a")
    assert not late.done()
    models.give_back("a", in_use)
    wanted.result(WAIT_S)
    assert not late.done()
    models.give_back("b", wanted)
    assert late.result(WAIT_S).loaded.entry.name == "a"
    assert loader.loads == ["a", "b", "a"]


def test_a_model_stays_where_the_one_that_needed_its_room_is_no_longer_wanted(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models = residency(1.1)
    in_use = models.take("a")
    resident = in_use.result(WAIT_S)
    wanted = models.take("b")
    while models.loaded:
        assert not wanted.done()
    models.give_back("b", wanted)
    again = models.take("a")
    assert again.result(WAIT_S) is resident
    assert loader.loads == ["a"]


def test_whoever_asks_for_a_model_just_as_it_is_given_up_gets_it(
    residency: Callable[..., Residency], loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, given_up, go_on = residency(1.1), threading.Event(), threading.Event()
    make_room = Residency._make_room

    def held(self: Residency, name: str, needed_bytes: int) -> bool:
        answer = make_room(self, name, needed_bytes)
        if not answer:
            given_up.set()
            assert go_on.wait(WAIT_S)
        return answer

    monkeypatch.setattr(Residency, "_make_room", held)
    in_use = models.take("a")
    in_use.result(WAIT_S)
    left = models.take("b")
    while models.loaded:
        assert not left.done()
    models.give_back("b", left)
    assert given_up.wait(WAIT_S)
    wanted = models.take("b")
    go_on.set()
    models.give_back("a", in_use)
    assert wait([wanted, Future()], WAIT_S, FIRST_COMPLETED).done == {wanted}
    assert wanted.result().loaded.entry.name == "b"


def test_others_go_on_while_a_model_is_loading(residency: Callable[..., Residency], loader: Loader) -> None:
    models = residency(2.1)
    use(models, "a")
    gate = loader.hold("b")
    wanted = models.take("b")
    assert loader.began["b"].wait(WAIT_S)
    use(models, "a")
    assert not wanted.done()
    gate.set()
    wanted.result(WAIT_S)


def test_a_model_that_several_want_is_loaded_once(residency: Callable[..., Residency], loader: Loader) -> None:
    models, gate = residency(1.1), loader.hold("a")
    taken = [models.take("a") for _ in range(3)]
    gate.set()
    assert len({id(each.result(WAIT_S)) for each in taken}) == 1
    assert loader.loads == ["a"]
    assert taken[0].result().uses == 3


def test_what_goes_wrong_is_told_to_those_who_wait_and_the_next_is_loaded(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models = residency(1.1)
    loader.faults["bad"] = CorruptWeights("no weights in there", field="model")
    bad, good = models.take("bad"), models.take("good")
    with pytest.raises(CorruptWeights):
        bad.result(WAIT_S)
    models.give_back("bad", bad)
    good.result(WAIT_S)
    assert models.loaded == ("good",)


def test_out_of_memory_makes_the_others_leave_and_loads_again(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models = residency(3.1)
    use(models, "a")
    loader.faults["b"] = torch.OutOfMemoryError("the device is full of somebody else's")
    use(models, "b")
    assert loader.loads == ["a", "b", "b"]
    assert models.loaded == ("b",)


def test_tasks_and_solvers_share_every_weight_and_are_served_under_names_of_their_own(
    residency: Callable[..., Residency], engine: Engine, size: int
) -> None:
    models = residency(1.1)
    taken = models.take("a")
    resident = taken.result(WAIT_S)
    names = {
        models.variant(resident, task, solver)[0]
        for task in ("text-to-image", "image-to-image", "inpaint")
        for solver in (None, "ddim")
    }
    assert len(names) == 6
    assert {model_of(name) for name in names} == {"a"}
    assert models.held_bytes == size
    name, pipe = models.variant(resident, "text-to-image", "ddim")
    assert pipe.unet is resident.loaded.pipe.unet
    said = {"prompt": "a hill", "seed": 1, "num_inference_steps": 2, "width": 192, "height": 192}
    call = call_of(pipe, validate(said, resident.offer))
    assert engine.submit(model=name, seed=1, **call).result(WAIT_S).images[0].size == (192, 192)


@pytest.mark.filterwarnings("ignore")  # torch's own, of its own deprecated parts
def test_a_model_that_is_to_be_compiled_is_handed_over_so(engine: Engine, loader: Loader, size: int) -> None:
    need("g++")

    def load_compiled(name: str) -> Loaded:
        made = loader(name)
        settings = made.entry.settings.model_copy(update={"compile": name == "compiled"})
        return replace(made, entry=replace(made.entry, settings=settings))

    models = Residency(engine, load_compiled, lambda name: 0, 3 * size)
    found = {}
    for name in ("compiled", "plain"):
        taken = models.take(name)
        _, pipe = models.variant(taken.result(WAIT_S), "text-to-image", None)
        found[name] = is_compiled(pipe.unet)
        models.give_back(name, taken)
    models.close()
    assert found == {"compiled": True, "plain": False}


def test_a_model_that_left_is_served_no_longer(residency: Callable[..., Residency], engine: Engine) -> None:
    models = residency(1.1)
    taken = models.take("a")
    name, _ = models.variant(taken.result(WAIT_S), "text-to-image", None)
    models.give_back("a", taken)
    use(models, "b")
    with pytest.raises(UnknownModel):
        engine.submit(model=name, prompt="a hill")


def test_closing_tells_those_who_wait(residency: Callable[..., Residency], loader: Loader) -> None:
    models, gate = residency(1.1), loader.hold("a")
    first, second = models.take("a"), models.take("b")
    assert loader.began["a"].wait(WAIT_S)
    models.close()
    gate.set()
    first.result(WAIT_S)  # it was on its way
    while not second.done():
        assert models.is_loading
    assert isinstance(second.exception(), EngineClosed)


def test_tensors_that_share_memory_count_once(size: int) -> None:
    one, other = torch.nn.Linear(64, 64, bias=False), torch.nn.Linear(64, 64, bias=False)
    other.weight = torch.nn.Parameter(one.weight.detach())
    assert sum(weights_of(Holding(one, other)).values()) == 64 * 64 * 4
    assert size > 10 * MIB


def test_the_budget_is_what_is_set_else_a_share_of_what_there_is() -> None:
    assert budget_of("cpu", 512) == 512 * MIB
    assert 0 < budget_of("cpu", None) < host_bytes()
    assert budget_of("cpu", None, workers=2) == pytest.approx(budget_of("cpu", None) / 2, abs=1)
    assert budget_of("cpu", 512, workers=2) == 512 * MIB  # said for each


def test_a_part_that_lies_on_another_device_takes_none_of_this_ones_room() -> None:
    here, there = torch.nn.Linear(64, 64, bias=False), torch.nn.Linear(32, 32, bias=False, device="meta")
    assert sum(weights_of(Holding(here, there), kind="cpu").values()) == 64 * 64 * 4


def test_weights_that_move_are_still_those_that_another_shares() -> None:
    shared = torch.nn.Linear(64, 64, bias=False)
    before, held = weights_of(Holding(shared)), shared.weight.data
    shared.to(torch.float16).to(torch.float32)  # as layers that are cast while they run
    assert shared.weight.data_ptr() != held.data_ptr()
    assert weights_of(Holding(shared)) == before


def test_what_a_model_will_hold_is_read_from_its_files(loader: Loader, size: int) -> None:
    assert expected_bytes(entry_of("a", loader.home)) == pytest.approx(size, rel=0.01)
    assert expected_bytes(Entry("b", FOLDER, ModelSettings(path=loader.home), loader.home)) == 0


def test_what_is_expected_is_what_will_lie_on_the_models_device(loader: Loader) -> None:
    def expected(**said: Any) -> int:
        return expected_bytes(Entry("a", FOLDER, ModelSettings(path=LANDSCAPES, **said), loader.home))

    parts = {name: expected() - expected(devices={name: "cuda:1"}) for name in ("text_encoder", "unet", "vae")}
    assert all(parts.values())
    assert sum(parts.values()) == expected()
    assert expected(devices={"vae": "cpu"}) == expected()  # which is where the model lies
    assert expected(float8=True) == expected() - parts["unet"] * 3 // 4
    assert expected(offload="model") == max(parts.values())
    assert expected(offload="blocks") == max(parts["text_encoder"], parts["vae"])
    assert expected(offload="model", devices={"unet": "cpu"}) == parts["unet"] + expected(offload="blocks")


def test_a_model_that_turns_out_larger_than_expected_makes_others_leave_after_all(
    engine: Engine, loader: Loader, size: int
) -> None:
    models = Residency(engine, loader, lambda name: 0, int(1.5 * size))
    for name in ("a", "b"):
        use(models, name)
        assert models.held_bytes == size
    models.close()


# Models that are made of others.


class Pairs:
    """`pair-a-b` is made of `a` and `b`: a pipeline over the components of the first."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def parts(self, name: str) -> list[str]:
        return name.split("-")[1:]

    def compose(self, name: str, parts: Sequence[Loaded]) -> Loaded:
        pipe = copy.copy(parts[0].pipe)
        return replace(parts[0], entry=entry_of(name, self.loader.home), pipe=pipe)


def test_a_model_made_of_others_brings_them_in_and_keeps_them_as_long_as_it_is_there(
    residency: Callable[..., Residency], loader: Loader, size: int
) -> None:
    models = residency(2.1, composing=Pairs(loader))
    use(models, "pair-a-b")
    assert loader.loads == ["a", "b"]
    assert (set(models.loaded), models.held_bytes) == ({"pair-a-b", "a", "b"}, 2 * size)
    use(models, "a")  # the latest used of all: still the pair leaves before its parts
    use(models, "c")
    assert (set(models.loaded), loader.loads) == ({"a", "c"}, ["a", "b", "c"])
    use(models, "pair-a-b")
    assert (set(models.loaded), loader.loads) == ({"pair-a-b", "a", "b"}, ["a", "b", "c", "b"])


def test_parts_that_do_not_fit_beside_each_other_are_loaded_all_the_same(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models = residency(1.1, composing=Pairs(loader))
    use(models, "c")
    use(models, "pair-a-b")
    assert set(models.loaded) == {"pair-a-b", "a", "b"}
    use(models, "c")
    assert models.loaded == ("c",)


def test_who_waits_for_a_part_is_served_when_it_comes_in_for_another(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models, gate = residency(3.1, composing=Pairs(loader)), loader.hold("a")
    pair = models.take("pair-a-b")
    assert loader.began["a"].wait(WAIT_S)
    part = models.take("a")
    gate.set()
    assert part.result(WAIT_S) is pair.result(WAIT_S).parts["a"].result()
    assert loader.loads == ["a", "b"]
    models.give_back("a", part)
    models.give_back("pair-a-b", pair)


def test_a_part_that_cannot_be_loaded_is_told_to_who_waits_for_the_whole(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    models = residency(2.1, composing=Pairs(loader))
    loader.faults["b"] = CorruptWeights("cut off")
    with pytest.raises(CorruptWeights):
        models.take("pair-a-b").result(WAIT_S)
    assert models.loaded == ("a",)
    use(models, "pair-a-b")
    use(models, "c")
    assert "c" in models.loaded


def test_closed_while_a_part_waits_for_room_who_waits_for_the_whole_is_told(
    residency: Callable[..., Residency], loader: Loader
) -> None:
    came = threading.Event()
    models = residency(2.1, composing=Pairs(loader), changed=lambda name, _: name == "a" and came.set())
    other = models.take("c")
    other.result(WAIT_S)
    pair = models.take("pair-a-b")  # `b` needs the room of `c`, which is in use
    assert came.wait(WAIT_S)
    models.close()
    with pytest.raises(EngineClosed):
        pair.result(WAIT_S)
    models.give_back("c", other)


def picture_of(models: Residency, engine: Engine, name: str) -> Any:
    """Bytes of a small picture, as the model makes it now."""
    taken = models.take(name)
    resident = taken.result(WAIT_S)
    served, pipe = models.variant(resident, "text-to-image", "ddim")
    said = {"prompt": "a hill", "seed": 1, "num_inference_steps": 2, "width": 192, "height": 192}
    call = call_of(pipe, validate(said, resident.offer))
    made = engine.submit(model=served, seed=1, **call).result(WAIT_S).images[0]
    models.give_back(name, taken)
    return made.tobytes()


def test_a_model_that_leaves_rests_and_comes_back_without_its_files_and_makes_the_same_picture(
    residency: Callable[..., Residency], loader: Loader, engine: Engine, size: int
) -> None:
    models = residency(1.1, shelf=Shelf(2 * size + MIB))
    before = picture_of(models, engine, "a")
    use(models, "b")
    assert models.resting == ("a",)
    assert picture_of(models, engine, "a") == before
    assert models.resting == ("b",)
    assert loader.loads == ["a", "b"]
    assert models.activations["a"].keys() == {DISK, HOST}
    assert models.activations["b"].keys() == {DISK}


def test_the_model_that_rests_longest_goes_where_host_memory_is_full(
    residency: Callable[..., Residency], loader: Loader, size: int
) -> None:
    shelf = Shelf(2 * size + MIB)
    models = residency(1.1, shelf=shelf)
    for name in ("a", "b", "c", "d"):
        use(models, name)
    assert models.resting == ("b", "c")
    assert shelf.held_bytes <= shelf.budget_bytes
    use(models, "b")
    assert models.resting == ("d",)  # d's room was c's, and not that of b, which was wanted
    use(models, "a")
    assert loader.loads == ["a", "b", "c", "d", "a"]


def test_a_model_that_went_back_is_copied_no_second_time(
    residency: Callable[..., Residency], loader: Loader, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []
    copy_of = Shelf._copied

    def counted(self: Shelf, *given: Any) -> Any:
        copies.append(1)
        return copy_of(self, *given)

    monkeypatch.setattr(Shelf, "_copied", counted)
    models = residency(1.1, shelf=Shelf(2 * size + MIB))
    for name in ("a", "b", "a", "b", "a", "c"):
        use(models, name)
    assert loader.loads == ["a", "b", "c"]
    assert len(copies) == 2
    assert models.resting == ("b", "a")


def test_a_model_whose_weights_another_one_uses_too_does_not_move(engine: Engine, loader: Loader, size: int) -> None:
    vae = loader.bundled.pipe.vae

    def load_sharing(name: str) -> Loaded:
        made = loader(name)
        made.pipe.register_modules(vae=vae)
        return made

    shelf = Shelf(4 * size)
    models = Residency(engine, load_sharing, lambda name: 0, int(2.1 * size), shelf=shelf)
    for name in ("a", "b", "c"):
        use(models, name)
    assert models.loaded == ("b", "c")
    assert models.resting == ()
    shared = sum(weights_of(loader.bundled.pipe).values()) - size + sum(weights_of(Holding(vae)).values())
    assert models.held_bytes == 2 * size - shared
    models.close()


def test_out_of_memory_on_the_way_back_leaves_the_model_at_rest(
    residency: Callable[..., Residency], loader: Loader, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = residency(2.1, shelf=Shelf(4 * size))
    for name in ("a", "b", "c"):
        use(models, name)
    assert models.resting == ("a",)
    fill, faults = HostCopy._fill, [torch.OutOfMemoryError("the device is full of somebody else's")]

    def failing(self: HostCopy) -> None:
        fill(self)
        if faults:
            raise faults.pop()

    monkeypatch.setattr(HostCopy, "_fill", failing)
    use(models, "a")
    assert models.loaded == ("a",)  # the others had to leave
    assert set(models.resting) == {"b", "c"}
    assert loader.loads == ["a", "b", "c"]


def test_nothing_rests_where_the_host_is_the_device() -> None:
    assert host_budget_of("cpu", None) == host_budget_of("cpu", 512) == host_budget_of("mps", 512) == 0
    assert host_budget_of("cuda", 512) == 512 * MIB
    assert 0 < host_budget_of("cuda", None) < host_bytes()
    said = ServeSettings()
    assert budgets("cpu", said, 4, 2) == Budgets(budget_of("cpu", None, workers=4), 0)
    assert budgets("cuda", ServeSettings(model_memory_mb=512), 4, 2).host == host_budget_of("cuda", None, workers=4)
    assert host_budget_of("cuda", None, workers=4) == pytest.approx(host_budget_of("cuda", None) / 4, abs=1)
