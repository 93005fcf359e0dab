"""The runner over toy modules: stacking, splitting, halving, and not trusting a spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from darkroom.engine.call import Call, make_call
from darkroom.engine.hook import HookedMethod
from darkroom.engine.profile import Profile
from darkroom.engine.runner import CHECK_EVERY, Runner
from darkroom.engine.specs import CallSpec, Kind


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    """As in the engine's thread: calls with gradients run alone."""
    with torch.no_grad():
        yield


SPEC = CallSpec("forward", Kind.DENOISE, "sample", ("sample", "extras"), ("timestep",), shared=("grid",))


class Toy(torch.nn.Module):
    """Adds its timestep; remembers how many rows each forward had; fails on rows that hold `poison`."""

    def __init__(self, poison: float | None = None, most_rows: int = 10**6) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.poison, self.most_rows = poison, most_rows
        self.forwards: list[int] = []

    def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None, flag: Any = 1) -> Any:
        self.forwards.append(len(sample))
        if len(sample) > self.most_rows:
            raise torch.OutOfMemoryError("too many rows")
        if self.poison is not None and bool((sample == self.poison).any()):
            raise ValueError("poison")
        more = 0 if extras is None else extras["a"][0]
        return (sample + torch.as_tensor(timestep).reshape(-1, 1) + more,)


class Mixing(Toy):
    """What a wrong spec does: every row depends on all rows."""

    def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None, flag: Any = 1) -> Any:
        return (sample + sample.mean(),)


def calls_of(module: torch.nn.Module, samples: list[Any], fixed_rows: int = 0, **more: Any) -> list[Call]:
    hook = HookedMethod(module, "forward", SPEC, "toy")
    return [make_call(hook, (sample, 10.0 * i), more, fixed_rows) for i, sample in enumerate(samples)]


def rows_of(*values: float) -> torch.Tensor:
    return torch.tensor([[float(value)] * 2 for value in values])


def runner_of(**more: Any) -> Runner:
    return Runner(Profile(32), **more)


def test_one_forward_serves_all_calls_with_their_own_scalars() -> None:
    module = Toy()
    outcomes = runner_of(check=False).run(calls_of(module, [rows_of(1), rows_of(2, 3), rows_of(4)]))
    assert module.forwards == [4]
    assert [outcome.output[0][:, 0].tolist() for outcome in outcomes] == [[1.0], [12.0, 13.0], [24.0]]


def test_rows_are_handed_out_as_copies() -> None:
    outcomes = runner_of(check=False).run(calls_of(Toy(), [rows_of(1), rows_of(2)]))
    one, other = (outcome.output[0] for outcome in outcomes)
    assert one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr()
    assert one.untyped_storage().nbytes() == one.nbytes


def test_a_lone_call_runs_as_it_was_made_with_nothing_copied() -> None:
    class Echo(Toy):
        def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None) -> Any:
            return (sample, timestep, extras)

    extras = {"a": [rows_of(5)]}
    (call,) = calls_of(Echo(), [rows_of(1)], extras=extras)
    (outcome,) = runner_of().run([call])
    sample, timestep, seen = outcome.output
    assert sample is call.arguments["sample"]
    assert type(timestep) is float
    assert seen is extras


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, 2), {}), ((1,), {"timestep": 2}), ((1, 2, 3, 4, 5), {}), ((), {"grid": 4, "timestep": 2, "sample": 1})],
)
def test_arguments_are_bound_in_the_methods_order_whichever_way_they_are_given(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    hook = HookedMethod(Toy(), "forward", SPEC, "toy")
    bound = hook.bind(args, kwargs)
    assert bound == hook._bind_any(args, kwargs)
    assert list(bound or ()) == ["sample", "timestep", "extras", "grid", "flag"]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {}), ((1, 2), {"sample": 1}), ((1, 2), {"typo": 1}), (range(9), {})]
)
def test_arguments_that_do_not_fit_are_refused_as_python_refuses_them(args: Any, kwargs: dict[str, Any]) -> None:
    hook = HookedMethod(Toy(), "forward", SPEC, "toy")
    with pytest.raises(TypeError):
        hook.bind(tuple(args), kwargs)


@pytest.mark.parametrize("poisoned", range(5))
def test_a_failing_call_is_found_by_halving_and_fails_alone(poisoned: int) -> None:
    module = Toy(poison=float(poisoned))
    outcomes = runner_of().run(calls_of(module, [rows_of(i) for i in range(5)]))
    assert [outcome.error is not None for outcome in outcomes] == [i == poisoned for i in range(5)]
    assert all(outcome.output is not None for i, outcome in enumerate(outcomes) if i != poisoned)


def test_a_reproducible_call_is_retried_alone_at_its_row_count() -> None:
    module = Toy(poison=1.0)
    outcomes = runner_of().run(calls_of(module, [rows_of(i) for i in range(4)], fixed_rows=4))
    assert [outcome.error is not None for outcome in outcomes] == [False, True, False, False]
    assert set(module.forwards) == {4}


def test_out_of_memory_is_halved_and_lowers_the_cap() -> None:
    module, runner = Toy(most_rows=2), runner_of(check=False)
    calls = calls_of(module, [rows_of(i) for i in range(8)])
    outcomes = runner.run(calls)
    assert all(outcome.error is None for outcome in outcomes)
    assert runner.profile.cap(calls[0].shape_key) == 2


def test_out_of_memory_of_one_row_is_that_requests_error() -> None:
    outcomes = runner_of().run(calls_of(Toy(most_rows=0), [rows_of(1), rows_of(2)]))
    assert all(isinstance(outcome.error, torch.OutOfMemoryError) for outcome in outcomes)


def test_what_batching_changes_is_no_longer_batched_and_says_why() -> None:
    runner = runner_of()
    calls = calls_of(Mixing(), [rows_of(1), rows_of(100)])
    outcomes = runner.run(calls)
    assert [outcome.output[0][0, 0].item() for outcome in outcomes] == [2.0, 200.0]
    assert not runner.can_batch(calls[0])
    assert "differed" in (runner.modules["toy"].unbatched_because or "")


def test_an_honest_batch_passes_the_shadow_check_uncounted() -> None:
    runner, module = runner_of(), Toy()
    runner.run(calls_of(module, [rows_of(1), rows_of(2)]))
    assert module.forwards == [2, 1, 1]
    assert runner.modules["toy"].batches == 1


class Turning(Toy):
    """Rows mind their company from the forward on that it is told to turn at."""

    def __init__(self) -> None:
        super().__init__()
        self.has_turned = False

    def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None, flag: Any = 1) -> Any:
        return (sample + (sample.max() if self.has_turned else 0.0),)


@pytest.mark.parametrize("fixed_rows", [0, 4])
def test_one_batch_in_a_thousand_is_checked(fixed_rows: int) -> None:
    module, runner = Turning(), runner_of()
    calls = calls_of(module, [rows_of(1), rows_of(100)], fixed_rows=fixed_rows)
    ends: list[list[float]] = []
    for _ in range(CHECK_EVERY + 2):
        ends.append([outcome.output[0][0, 0].item() for outcome in runner.run(calls)])
        module.has_turned = True
    assert ends[0] == [1.0, 100.0]
    assert ends[1] == ends[CHECK_EVERY - 1] == [101.0, 200.0], "checked too often, or it shows nothing"
    assert ends[CHECK_EVERY] == ends[CHECK_EVERY + 1] == [2.0, 200.0]


def test_a_lone_request_whose_rows_are_alike_vouches_for_no_company() -> None:
    """The first forward of a shape then shows nothing; the first with company does."""
    runner = runner_of()
    lone, *company = calls_of(Mixing(), [rows_of(3), rows_of(1), rows_of(100)], fixed_rows=2)
    runner.run([lone])
    outcomes = runner.run(company)
    assert [outcome.output[0][0, 0].item() for outcome in outcomes] == [2.0, 200.0]


def test_autocast_is_a_regime_of_its_own() -> None:
    """What holds for one dtype's kernels says nothing of another's."""

    class Half(Toy):
        def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None) -> Any:
            return (sample + (sample.max() if torch.is_autocast_enabled("cpu") else 0.0),)

    runner, module = runner_of(check=False), Half()
    hook = HookedMethod(module, "forward", SPEC, "toy")
    samples = [rows_of(100), rows_of(1)]
    runner.run([make_call(hook, (sample, 1.0), {}, 2) for sample in samples])
    with torch.autocast("cpu", torch.bfloat16):
        calls = [make_call(hook, (sample, 1.0), {}, 2) for sample in samples]
    outcomes = runner.run(calls)
    assert [outcome.output[0][0, 0].item() for outcome in outcomes] == [200.0, 2.0]


@pytest.mark.parametrize("is_autocast", [False, True])
def test_autocast_has_the_honest_noise_of_its_dtype(is_autocast: bool) -> None:
    class Rounding(Toy):
        def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None) -> Any:
            return (sample * (1.01 if len(sample) > 1 else 1.0),)

    runner = runner_of()
    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
        calls = calls_of(Rounding(), [rows_of(1), rows_of(2)])
    runner.run(calls)
    assert runner.can_batch(calls[0]) == is_autocast


def test_rows_that_change_with_their_company_run_at_their_own_count() -> None:
    runner = runner_of()
    outcomes = runner.run(calls_of(Mixing(), [rows_of(1), rows_of(100)], fixed_rows=2))
    assert [outcome.output[0][0, 0].item() for outcome in outcomes] == [2.0, 200.0]


def test_fixed_rows_pad_and_split_larger_calls() -> None:
    module = Toy()
    outcomes = runner_of().run(calls_of(module, [rows_of(*range(6))], fixed_rows=4))
    assert set(module.forwards) == {4}
    assert outcomes[0].output[0][:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_shapes_values_and_shared_tensors_tell_keys_apart() -> None:
    hook = HookedMethod(Toy(), "forward", SPEC, "toy")

    def key(sample: torch.Tensor | None = None, **more: Any) -> Any:
        return make_call(hook, (rows_of(1) if sample is None else sample, 1.0), more, 0).key

    assert key() == key(rows_of(5, 6))
    assert key() == key(flag=1)
    assert key() != key(flag=2)
    assert key() != key(torch.zeros(1, 3))
    assert key() != key(rows_of(1).double())
    assert key(grid=torch.ones(3)) == key(grid=torch.ones(3))
    assert key(grid=torch.ones(3)) != key(grid=torch.zeros(3))
    assert key(extras={"a": [rows_of(1)]}) == key(extras={"a": [rows_of(2)]})
    assert key(extras={"a": [rows_of(1)]}) != key()


def test_a_tensor_that_no_spec_names_makes_the_call_run_alone() -> None:
    hook = HookedMethod(Toy(), "forward", SPEC, "toy")
    call = make_call(hook, (rows_of(1), 1.0), {"flag": torch.ones(1)}, 0)
    assert not call.is_stackable
    assert runner_of().run([call])[0].output[0][0, 0].item() == 2.0


def test_a_stacked_argument_with_other_rows_makes_the_call_run_alone() -> None:
    hook = HookedMethod(Toy(), "forward", SPEC, "toy")
    call = make_call(hook, (rows_of(1, 2), 1.0), {"extras": {"a": [rows_of(1)]}}, 0)
    assert not call.is_stackable


def test_mixed_timestep_types_meet_in_one_forward() -> None:
    hook = HookedMethod(module := Toy(), "forward", SPEC, "toy")
    steps = [999, torch.tensor(999), torch.tensor([999.0]), torch.tensor(999.5, dtype=torch.float64)]
    calls = [make_call(hook, (rows_of(0), step), {}, 0) for step in steps]
    assert len({call.key for call in calls}) == 1
    outcomes = runner_of(check=False).run(calls)
    assert [outcome.output[0][0, 0].item() for outcome in outcomes] == [999.0, 999.0, 999.0, 999.5]
    assert module.forwards == [4]


def test_a_timestep_for_each_token_stacks_with_its_kind_only() -> None:
    hook = HookedMethod(Toy(), "forward", SPEC, "toy")
    grid = [make_call(hook, (rows_of(i), torch.tensor([[5.0, 6.0]])), {}, 0) for i in range(2)]
    assert grid[0].key == grid[1].key != make_call(hook, (rows_of(0), 5.0), {}, 0).key


def test_calls_with_gradients_run_alone() -> None:
    with torch.enable_grad():
        calls = calls_of(Toy(), [rows_of(1), rows_of(2)])
    assert not any(call.is_stackable for call in calls)


def test_a_failing_check_leaves_the_counting_on() -> None:
    class Fussy(Toy):
        def forward(self, sample: torch.Tensor, timestep: Any, extras: Any = None, grid: Any = None) -> Any:
            if len(sample) == 1:
                raise ValueError("alone")
            return super().forward(sample, timestep, extras, grid)

    runner = runner_of()
    runner.run(calls_of(Fussy(), [rows_of(1), rows_of(2)]))
    before = runner.modules["toy"].batches
    runner.run(calls_of(Toy(), [rows_of(1, 2)]))
    assert runner.modules["toy"].batches == before + 1
