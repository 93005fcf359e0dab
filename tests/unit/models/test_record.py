"""What a picture says of itself."""

from __future__ import annotations

from types import SimpleNamespace

from darkroom.models.record import record
from darkroom.models.request import ImageRequest

ASKED = ImageRequest("a lake", "", 2, 4.0, 192, 192, 1, 7, None, "text-to-image")


def test_a_record_names_the_modules_that_ran_alone_for_their_bits_and_is_silent_otherwise() -> None:
    pipe = SimpleNamespace(scheduler=None)
    assert "unsteady" not in record(ASKED, pipe, {"device": "cpu"})
    assert record(ASKED, pipe, {"device": "cpu"}, ("unet",))["unsteady"] == ["unet"]
