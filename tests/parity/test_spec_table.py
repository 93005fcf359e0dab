"""The table of call specs is true of the installed libraries: what it stacks comes out as it does alone."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
import transformers

from darkroom.engine import rows
from darkroom.engine.call import Call, make_call, tensors_in
from darkroom.engine.hook import HookedMethod
from darkroom.engine.profile import Profile
from darkroom.engine.runner import Runner
from darkroom.engine.spec_table import CONTAINERS, SPECS, find
from darkroom.engine.specs import CallSpec
from tests.parity import tiny_calls
from tests.parity.tiny_inputs import Made, randn
from tests.parity.tiny_modules import controlnet, flux, unet
from tests.parity.tiny_unet_calls import controlnet_calls, unet_calls

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def library_class(name: str) -> type:
    return getattr(diffusers, name, None) or getattr(transformers, name)


def named_arguments(spec: CallSpec) -> set[str]:
    groups = (spec.stacked, spec.scalars, spec.factors, spec.times, spec.listed, spec.repeated, spec.shared)
    return {spec.rows, *(name for group in groups for name in group)}


@pytest.mark.parametrize("name", list(SPECS))
def test_every_argument_that_a_spec_names_is_one_of_the_method(name: str) -> None:
    for spec in SPECS[name]:
        parameters = inspect.signature(getattr(library_class(name), spec.method)).parameters
        assert named_arguments(spec) <= set(parameters)
        assert spec.rows in spec.stacked + spec.listed


@pytest.mark.parametrize("name", list(CONTAINERS))
def test_a_container_holds_its_modules_where_the_table_says(name: str) -> None:
    inner = [torch.nn.Identity()]
    module = find_class(name)(inner)
    assert list(getattr(module, CONTAINERS[name])) == inner


def find_class(name: str) -> Any:
    from diffusers.models import controlnets

    return getattr(diffusers, name, None) or getattr(controlnets, name)


@pytest.mark.parametrize("name", list(tiny_calls.CALLS))
def test_stacked_calls_come_out_as_single_calls_do(name: str) -> None:
    module, method, calls = tiny_calls.CALLS[name]()
    fixed = spec_of(module, method).fixed
    outcomes = run_together(module, method, calls)
    # made anew: one forward empties a list that it is given
    expected = [getattr(module, method)(**call, **fixed) for call in tiny_calls.CALLS[name]()[2]]
    for outcome, single in zip(outcomes, expected, strict=True):
        assert outcome.error is None
        assert type(outcome.output) is type(single)
        assert rows.largest_difference(outcome.output, single) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", list(tiny_calls.CALLS))
def test_a_spec_that_forgot_an_argument_would_be_found_out(name: str) -> None:
    """Or the comparison above would show nothing."""
    module, method, calls = tiny_calls.CALLS[name]()
    spec = spec_of(module, method)
    expected = [getattr(module, method)(**call, **spec.fixed) for call in tiny_calls.CALLS[name]()[2]]
    given = {name for name, value in calls[0].items() if value is not None} - {spec.rows, *spec.shared, *spec.repeated}
    for argument in sorted(given & named_arguments(spec)):
        forgetful = HookedMethod(module, method, forget(spec, argument), method)
        made = [make_call(forgetful, (), call, 0) for call in tiny_calls.CALLS[name]()[2]]
        assert is_found_out(made, expected), f"{name} does not depend on {argument}"


def forget(spec: CallSpec, argument: str) -> CallSpec:
    """The spec that takes the first call's value of the argument for all."""
    groups = {
        group: tuple(name for name in getattr(spec, group) if name != argument)
        for group in ("stacked", "scalars", "factors", "times", "listed")
    }
    return replace(spec, **groups, ignored=(*spec.ignored, argument))


def is_found_out(made: list[Call], expected: list[Any]) -> bool:
    """It fails, or somebody's rows are wrong."""
    hooked = made[0].hook
    try:
        output = hooked.original(**rows.stack(made))
        parts = rows.split(output, [call.rows for call in made], is_listed=bool(hooked.spec and hooked.spec.listed))
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return True
    return any(rows.largest_difference(part, single) > 1e-3 for part, single in zip(parts, expected, strict=True))


def run_together(module: torch.nn.Module, method: str, calls: list[dict[str, Any]]) -> list[Any]:
    hooked = hook_of(module, method)
    made = [make_call(hooked, (), call, 0) for call in calls]
    assert all(call.is_stackable for call in made), "the spec leaves an argument unexplained"
    assert len({call.key for call in made}) == 1, "the calls do not share a key"
    runner = Runner(Profile(64), check=False)
    outcomes = runner.run(made)
    assert [stats.batches for stats in runner.modules.values()] == [1]
    return outcomes


def spec_of(module: torch.nn.Module, method: str) -> CallSpec:
    (spec,) = [spec for spec in find(type(module)) or () if spec.method == method]
    return spec


def hook_of(module: torch.nn.Module, method: str) -> HookedMethod:
    return HookedMethod(module, method, spec_of(module, method), method)


def test_every_class_of_the_table_has_calls_that_show_it() -> None:
    shown = {name.partition(".")[0] for name in tiny_calls.CALLS} | tiny_calls.SHOWN_BY_FAMILIES
    assert set(SPECS) - shown == set()


def key_of(module: torch.nn.Module, call: dict[str, Any]) -> Any:
    made = make_call(hook_of(module, "forward"), (), call, 0)
    return made.key if made.is_stackable else None


def differing(make: Callable[[], Made], **changed: Any) -> tuple[Any, Any]:
    """The keys of a call and of the same call with some arguments changed."""
    module, _, calls = make()
    return key_of(module, calls[0]), key_of(module, {**calls[0], **changed})


def test_images_of_another_layout_do_not_share_a_forward() -> None:
    """As many tokens, but four by one instead of two by two."""
    one, other = differing(tiny_calls.CALLS["FluxTransformer2DModel"], img_ids=torch.arange(48.0).reshape(16, 3))
    assert one is not None
    assert one != other
    one, other = differing(tiny_calls.CALLS["QwenImageTransformer2DModel"], img_shapes=[[(1, 8, 2)]])
    assert one is not None
    assert one != other


def test_a_ragged_list_of_image_sizes_runs_alone() -> None:
    module, _, calls = tiny_calls.CALLS["QwenImageTransformer2DModel"]()
    ragged = {**calls[1], "img_shapes": [[(1, 4, 4)], [(1, 8, 2)]]}
    assert key_of(module, ragged) is None


def test_guess_mode_runs_alone() -> None:
    call = controlnet_calls()[0]
    assert key_of(controlnet(), call) is not None
    assert key_of(controlnet(), {**call, "guess_mode": True}) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_factor_a_row_is_as_exact_as_one_number_for_all(dtype: torch.dtype) -> None:
    values, factors = randn(3, 2, 5, 5).to(dtype), (0.3, 1.0 / 3.0, 1.7)
    wide = torch.promote_types(dtype, torch.float32)
    product = values * rows.RowFactors(torch.tensor(factors, dtype=wide))
    assert product.dtype == dtype
    for row, factor in enumerate(factors):
        assert torch.equal(product[row], values[row] * factor)


def test_a_controlnets_scale_is_exact_in_half_precision() -> None:
    """Each residual of a shared forward has the bits of the unscaled one times the call's own Python number."""
    module = copy.deepcopy(controlnet()).to(torch.bfloat16)
    calls = [half(call) for call in controlnet_calls()]
    outcomes = run_together(module, "forward", calls)
    made = [make_call(hook_of(module, "forward"), (), {**call, "conditioning_scale": 1.0}, 0) for call in calls]
    unscaled = module(**rows.stack(made))
    start = 0
    for call, outcome in zip(calls, outcomes, strict=True):
        stop = start + len(call["sample"])
        scaled = [residual[start:stop] * call["conditioning_scale"] for residual in tensors_in(unscaled)]
        assert all(map(torch.equal, tensors_in(outcome.output), scaled))
        start = stop
    assert start == 5


def half(call: dict[str, Any]) -> dict[str, Any]:
    """Pictures and embeddings in bfloat16, timesteps as they were."""
    return {name: value.bfloat16() if getattr(value, "dim", int)() > 1 else value for name, value in call.items()}


def test_a_scale_that_is_a_tensor_with_dimensions_runs_alone() -> None:
    call = controlnet_calls()[0]
    assert key_of(controlnet(), {**call, "conditioning_scale": torch.tensor(0.5)}) is not None
    assert key_of(controlnet(), {**call, "conditioning_scale": torch.tensor([0.5])}) is None


def test_attention_arguments_that_hold_tensors_run_alone() -> None:
    call = unet_calls()[0]
    assert key_of(unet(), {**call, "cross_attention_kwargs": {"scale": 0.5}}) is not None
    assert key_of(unet(), {**call, "cross_attention_kwargs": {"ip_adapter_masks": [torch.ones(1, 1, 8, 8)]}}) is None


def test_a_subclass_with_its_own_forward_has_no_spec() -> None:
    class Renamed(diffusers.UNet2DConditionModel):
        """Nothing changed."""

    class Changed(diffusers.UNet2DConditionModel):
        def forward(self, sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
            """Means something else."""

    class OwnDecoder(diffusers.AutoencoderKL):
        def decode(self, z: Any, return_dict: bool = True, generator: Any = None) -> Any:
            """Decodes in some other way."""

    assert find(Renamed) == SPECS["UNet2DConditionModel"]
    assert find(Changed) is None
    assert [spec.method for spec in find(OwnDecoder) or ()] == ["encode"]


def test_a_class_of_another_library_with_a_known_name_has_no_spec() -> None:
    namesake = type("UNet2DConditionModel", (torch.nn.Module,), {"forward": lambda self, sample: sample})
    assert find(namesake) is None
    assert find(type(flux())) is not None


def test_the_table_imports_neither_torch_nor_the_libraries_it_speaks_of() -> None:
    program = "import sys, darkroom.engine.spec_table; print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
