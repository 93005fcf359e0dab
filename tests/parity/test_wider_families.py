"""The families of `wider_families.py` by the same rules as the others: parity, company, bytes, tapes."""

from __future__ import annotations

import pytest

from tests.parity import company
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
