"""Triton's Python backend, which gets what the dynamic batcher gathered:
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/python_backend/README.html."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

sys.path[:0] = os.environ["PEER_PACKAGES"].split(os.pathsep)  # the stub reads no PYTHONPATH

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402
from drawing import Asked, Model, read, settings  # noqa: E402

NAMES = ("prompt", "steps", "guidance", "width", "height", "seed")


class TritonPythonModel:
    """The name that the backend looks for."""

    def initialize(self, args: Any) -> None:
        """Once."""
        said = settings()
        self._model = Model(said.model, said.threads)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """An answer for each."""
        pictures = self._model.draw([_asked(request) for request in requests])
        return [_answer(picture) for picture in pictures]


def _asked(request: Any) -> Asked:
    values = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy().item() for name in NAMES}
    return read(values | {"prompt": values["prompt"].decode()})


def _answer(picture: str) -> Any:
    tensor = pb_utils.Tensor("image", np.array([[picture.encode()]], dtype=np.object_))
    return pb_utils.InferenceResponse(output_tensors=[tensor])
