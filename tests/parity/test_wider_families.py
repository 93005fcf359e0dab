"""The families of `wider_families.py` by the same rules as the others: parity, company, bytes, tapes."""

from __future__ import annotations

import pytest

from tests.parity import company
from tests.parity.families import LAKE, NIGHT, SKY, Request
from tests.parity.test_resume import hold_wherever_it_was_cut_off
from tests.parity.wider_families import WIDER

pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.mark.parametrize("name", list(WIDER))
def test_mixed_requests_come_out_as_plain_calls_do(name: str) -> None:
    family = WIDER[name]
    served = company.serve(family, family.requests)
    assert served.unbatched == {}
    counted = served.stats["modules"][family.denoiser]
    print(name, counted)
    assert counted["batches"] < 0.7 * counted["calls"]
    company.hold_against_plain(name, served.images)


@pytest.mark.parametrize("name", list(WIDER))
def test_bytes_are_the_same_alone_and_at_any_place_in_company(name: str) -> None:
    family = WIDER[name]
    together = company.hold_alone_and_in_company(family, family.requests)
    company.hold_against_plain(name, together, "reproducible, to plain")


@pytest.mark.parametrize("name", list(WIDER))
def test_bytes_are_those_of_an_uninterrupted_run_wherever_it_was_cut_off(name: str) -> None:
    hold_wherever_it_was_cut_off(WIDER[name])


@pytest.mark.parametrize("name", [name for name in WIDER if not name.startswith("t2i")])
def test_image_k_of_a_list_has_the_bytes_of_itself_alone(name: str) -> None:
    """Captions of several lengths in one call of Z-Image, one image prompt for all, two pipelines behind each other."""
    family, prompts = WIDER[name], [NIGHT, SKY, LAKE]
    template = family.requests[0]
    alone = [Request(template.pipe, 500 + k, {**template.call, "prompt": prompt}) for k, prompt in enumerate(prompts)]
    listed = Request(template.pipe, 500, {**template.call, "prompt": [*prompts]})
    images = company.one_after_another(family, [*alone, listed])
    for k in range(len(prompts)):
        company.hold_bytes(family, "reproducible", images[k][0], images[len(prompts)][k])


def test_a_refined_request_tells_its_steps_as_those_of_one_run() -> None:
    family = WIDER["refiner"]
    with company.open_engine(family) as engine:
        handle = company.submit(engine, family, family.requests[0])
        handle.result(60)
        told = [(event.data["step"], event.data["steps"]) for event in handle.events() if event.type == "progress"]
    assert told == [(step, 5) for step in range(1, 6)]
