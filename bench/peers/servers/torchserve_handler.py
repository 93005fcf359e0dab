"""TorchServe's handler of batches: https://docs.pytorch.org/serve/batch_inference_with_ts.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drawing import Model, read, settings


class Landscapes:
    """A class of one's own with the two methods that TorchServe calls."""

    def initialize(self, context: Any) -> None:
        """Once, in the worker."""
        said = settings()
        self._model = Model(said.model, said.threads)

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[dict[str, str]]:
        """An answer for each request of the batch."""
        asked = [read(each.get("body") or each.get("data")) for each in data]
        return [{"image": picture} for picture in self._model.draw(asked)]
