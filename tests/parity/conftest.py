"""One thread while tiny tensors are compared, and the parity table at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.company import report


@pytest.fixture(scope="module", autouse=True)  # other modules of the run have their own number
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from more, and waiting threads cost much on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Largest difference to plain diffusers beside what plain diffusers shows against itself."""
    if not report.lines:
        return
    terminalreporter.section("parity with plain diffusers, largest difference of pixels in [0, 1]")
    terminalreporter.write_line(f"{'family':14} {'what':32} {'requests':>8} {'served':>10} {'plain':>10} {'bound':>10}")
    for line in report.lines.values():
        own = "bytes" if line.noise is None else f"{line.noise:10.1e}"
        figures = f"{line.requests:8} {line.difference:10.1e} {own:>10} {line.bound:10.1e}"
        terminalreporter.write_line(f"{line.family:14} {line.what:32} {figures}")


# Other people's code under numpy 2.4 and torch 2.13; ours stays under the house's rule that a warning is an error.
_THEIRS = (
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    "ignore:`FluxPosEmbed` is deprecated:FutureWarning",
    "ignore:`upcast_vae` is deprecated:FutureWarning",
    "ignore:The decode_latents method is deprecated:FutureWarning",
)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Everything here is a parity test; and libraries may warn about themselves."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for rule in _THEIRS:
                item.add_marker(pytest.mark.filterwarnings(rule))
