"""Resumed runs of the model that ships, and of requests with adapters: the bytes of uninterrupted ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.engine.tape import Tape
from tests.parity import company
from tests.parity.families import FAMILIES, LANDSCAPES, Family, ask
from tests.parity.test_resume import COMPANY, bytes_of, call_of, cut, recorded
from tests.parity.tiny_adapters import ATTENTION, CONVOLUTIONS, save

pytestmark = [pytest.mark.parity, pytest.mark.slow]

SHALLOW = (1, 2, 1)  # calls of the denoiser on the tape: the rest of the run is what costs here
MIXES = ({"a": 1.0}, {"a": 0.5, "b": -0.4}, {})


def test_the_model_that_ships_goes_on_with_its_bytes() -> None:
    """In another engine and among strangers: text to image by two solvers, and from a picture."""
    family = LANDSCAPES
    requests = [family.requests[0], ask("euler", 7, "a red barn", 4, 3.0, height=192, width=192), family.requests[4]]
    calls = [call_of(family, request, "np") for request in requests]
    with company.open_engine(family, reproducible=True) as engine:
        runs = recorded(engine, calls)
    cuts = [(cut(tape)[at].to_bytes(), bytes_of(result)) for (tape, result), at in zip(runs, SHALLOW, strict=True)]
    hold_resumed(family, cuts, calls[1])


@pytest.mark.parametrize("name", ["sd-solvers", "flux"])
def test_requests_with_adapters_go_on_with_their_bytes(name: str, tmp_path: Path) -> None:
    """Cut off after every call; the other engine knows the same files by the same names."""
    family = FAMILIES[name]
    request = family.requests[0]
    pipe = family.pipes()[request.pipe]
    files = {
        "a": save(pipe, tmp_path / "a", 1),
        "b": save(pipe, tmp_path / "b", 2, targets=(*ATTENTION, *CONVOLUTIONS)),
    }
    calls = [{**call_of(family, request, "latent"), "adapters": mix} for mix in MIXES]
    with company.open_engine(family, reproducible=True) as engine:
        for adapter, path in files.items():
            engine.add_adapter(adapter, path, model=request.pipe)
        runs = recorded(engine, calls)
    assert len({bytes_of(result) for _, result in runs}) == len(MIXES)  # the adapters do something
    cuts = [(each.to_bytes(), bytes_of(result)) for tape, result in runs for each in cut(tape)]
    hold_resumed(family, cuts, calls[0], files)


def hold_resumed(
    family: Family, cuts: list[tuple[bytes, bytes]], strange: dict[str, object], files: dict[str, Path] | None = None
) -> None:
    """All of them at once, each against its uninterrupted run."""
    with company.open_engine(family) as engine:
        for adapter, path in (files or {}).items():
            engine.add_adapter(adapter, path, model=str(strange["model"]))
        for _ in range(COMPANY):
            engine.submit(**{**strange, "seed": 77}, reproducible=True)
        handles = [(engine.resume(Tape.from_bytes(data)), expected) for data, expected in cuts]
        wrong = [place for place, (handle, expected) in enumerate(handles) if bytes_of(handle.result(300)) != expected]
        print(f"{family.name}: {len(cuts)} resumed runs, {len(wrong)} with other bytes")
        assert wrong == []
        steps = [[event.data["step"] for event in handle.events() if event.type == "progress"] for handle, _ in handles]
        assert [told[:1] for told in steps] != [[1]] * len(steps)  # they went on, and did not start over
