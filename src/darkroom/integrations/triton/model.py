"""What Triton's Python backend runs: a copy of this file is in each repository, with darkroom.toml beside it.

`execute` hands requests over and returns; each is answered through its response sender once its picture is made. So
Triton brings the next request meanwhile, and requests share batches at the denoising step. It is not decoupled mode,
whose models Triton's HTTP `infer` refuses: a request still has one response.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy._core.multiarray  # accelerate takes it for imported, which numpy 1 does not do by itself
import triton_python_backend_utils as triton

from darkroom.errors import BadInput, InvalidConfig

INPUTS = {"steps": "num_inference_steps"}  # Triton's name and ours, where they differ
CODES = {400: "INVALID_ARG", 404: "NOT_FOUND", 429: "UNAVAILABLE", 501: "UNSUPPORTED", 503: "UNAVAILABLE"}


class TritonPythonModel:
    """`prompt` and more in, `image` out: UINT8, height by width by 3."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model; where this raises, Triton says so and does not serve it."""
        # Here, for Triton reads this file twice, the first time in a process that only asks for its configuration.
        from darkroom.integrations.hosted import Hosted, see_one_device

        check_numpy()
        if args["model_instance_kind"] == "GPU":
            see_one_device(int(args["model_instance_device_id"]))
        self._hosted = Hosted(Path(args["model_repository"]) / args["model_version"])
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="darkroom-answers", daemon=True).start()

    def execute(self, requests: list[Any]) -> None:
        """Take requests and return: their tensors are gone from then on."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                said = {tensor.name(): tensor.as_numpy().reshape(-1).tolist() for tensor in request.inputs()}
                asyncio.run_coroutine_threadsafe(self._answer(sender, said), self._loop)
            except Exception as error:  # budget: a request that gets no response waits for ever
                _send(sender, refusal(error))

    def finalize(self) -> None:
        """Finish what was asked for."""
        self._hosted.close()

    async def _answer(self, sender: Any, said: Mapping[str, list[Any]]) -> None:
        try:
            made = await self._hosted.make(inputs_of(said))
            pixels = np.asarray(made.image.convert("RGB"))
            _send(sender, triton.InferenceResponse([triton.Tensor("image", pixels)]))
        except BaseException as error:  # budget: nobody reads this task, and the request would wait for ever
            _send(sender, refusal(error))


def _send(sender: Any, response: Any) -> None:
    sender.send(response, flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def refusal(error: BaseException) -> Any:
    """The response that tells a failure, in Triton's words for our names."""
    from darkroom.integrations.hosted import named

    told = named(error)
    code = getattr(triton.TritonError, CODES.get(told.http_status, "INTERNAL"))
    text = f"{told.code}: {told.message}"
    for theirs, ours in INPUTS.items():
        text = text.replace(ours, theirs)
    return triton.InferenceResponse(error=triton.TritonError(text, code))


def check_numpy() -> None:
    """Raise where the backend was built before numpy 2, and meets it: its process would die of the first request."""
    import torch

    seen = triton.Tensor.from_dlpack("probe", torch.arange(4, dtype=torch.uint8)).as_numpy()
    if seen.tolist() != [0, 1, 2, 3]:
        said = f"this Triton's Python backend cannot read arrays of numpy {np.__version__}: install numpy<2 beside it"
        raise InvalidConfig(f"{said}, or use a Triton after 24.11 (docs/guides/triton.md)", field="numpy")


def inputs_of(said: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The inputs by our names; texts come as bytes."""
    return {INPUTS.get(name, name): _value(name, values) for name, values in said.items()}


def _value(name: str, values: list[Any]) -> Any:
    if len(values) != 1:
        raise BadInput(f"{name} must hold one value, not {len(values)}", field=name)
    if not isinstance(values[0], bytes):
        return values[0]
    try:
        return values[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} must be UTF-8 text", field=name) from error
