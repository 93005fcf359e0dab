"""Who draws which random number is the same in an engine as in a plain call."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import LTXPipeline, StableDiffusionPipeline, UNet2DConditionModel

from tests.parity import company, plain
from tests.parity.families import FAMILIES, VIDEO, Family, ltx_parts, quiet, sd_parts
from tests.parity.solvers import DIFFUSION, FLOW
from tests.parity.tiny_modules import ltx_vae, unet

pytestmark = [pytest.mark.parity, pytest.mark.slow]


class DrawingUNet(UNet2DConditionModel):
    """Somebody's own denoiser, which no spec knows: it adds noise from torch's default generator."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        (sample,) = super().forward(*args, **{**kwargs, "return_dict": False})
        return (sample + 0.3 * torch.randn_like(sample),)


def drawing_unet() -> Family:
    module = DrawingUNet.from_config(unet().config).eval().requires_grad_(False)
    module.load_state_dict(unet().state_dict())
    pipe = StableDiffusionPipeline(**sd_parts(unet=module, scheduler=DIFFUSION["ddim"]()))
    pipes = quiet({"ddim": pipe})
    requests = [request for request in FAMILIES["sd2-v"].requests if request.pipe == "ddim"]
    return Family("drawing-unet", lambda: pipes, tuple(requests), "unet")


def drawing_decoder() -> Family:
    scheduler = FLOW["flow-euler"](use_dynamic_shifting=True)
    pipes = quiet({"flow-euler": LTXPipeline(**ltx_parts(vae=ltx_vae(is_noisy=True), scheduler=scheduler))})
    return Family("drawing-ltx", lambda: pipes, FAMILIES["ltx"].requests[:3], size=VIDEO)


@pytest.mark.parametrize("make", [drawing_unet, drawing_decoder])
@pytest.mark.parametrize("reproducible", [False, True])
def test_a_module_that_draws_in_its_forward_draws_what_its_request_draws_alone(make: Any, reproducible: bool) -> None:
    family = make()
    references = [plain.run(family, request) for request in family.requests]
    served = company.serve(family, family.requests, reproducible=reproducible)
    assert served.unbatched == {}
    company.report.hold(
        company.Line(family.name, "draws in a forward", plain.largest_difference(served.images[index], reference), 0.0)
        for index, reference in enumerate(references)
    )


def test_a_generator_given_by_the_caller_is_used_and_left_as_it_was() -> None:
    family = FAMILIES["sd-solvers"]
    given = torch.Generator("cpu").manual_seed(5)
    before = given.get_state()
    call = plain.arguments(family, family.requests[3])
    with company.open_engine(family) as engine:
        served = engine.submit(model="euler-ancestral", generator=given, **call).result(60).images
    assert torch.equal(given.get_state(), before)
    expected = family.pipes()["euler-ancestral"](**call, generator=torch.Generator("cpu").manual_seed(5)).images
    difference, noise = plain.largest_difference(served, expected), company.reference_noise("sd-solvers", 3)
    company.report.hold([company.Line("sd-solvers", "caller's own generator", difference, noise)])
