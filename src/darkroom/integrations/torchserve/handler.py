"""What TorchServe runs: a copy of this file is in each archive, and darkroom.toml with the settings beside it.

TorchServe calls `handle` for each request as it comes (`asyncCommunication` in model-config.yaml), so that requests
share batches at the denoising step. It takes the one class of this module, whatever its name.
"""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

from darkroom.errors import BadInput, DarkroomError
from darkroom.integrations.hosted import Hosted, see_one_device
from darkroom.storage.images import encode_png

NO_OBJECT = "send a JSON object with a prompt, as Content-Type: application/json"


class TextToImage:
    """`{"prompt": …}` in, `{"image": base64 of a PNG}` out; a refusal is `{"error": {"code", "message", "field"}}`."""

    def initialize(self, context: Any) -> None:
        """Load the model; the server restarts the worker where this raises."""
        device = context.system_properties.get("gpu_id")
        if device is not None:
            see_one_device(int(device))
        self._hosted = Hosted(Path(context.system_properties["model_dir"]))

    async def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Answer each request of a batch; one that is refused, or fails, leaves its neighbours alone."""
        return await asyncio.gather(*(self._answer(number, said, context) for number, said in enumerate(data)))

    async def _answer(self, number: int, said: dict[str, Any], context: Any) -> Any:
        context.set_response_content_type(number, "application/json")
        try:
            made = await self._hosted.make(inputs_of(said))
            png = await asyncio.to_thread(encode_png, made.image, made.settings)
        except DarkroomError as error:
            context.set_response_status(code=error.http_status, phrase=error.code, idx=number)
            return {"error": {"code": error.code, "message": error.message, "field": error.field}}
        return {"image": base64.b64encode(png).decode("ascii")}


def inputs_of(said: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a request; other kinds of bodies come as bytes, or as their fields."""
    body = said.get("body", said.get("data"))
    if not isinstance(body, dict):
        raise BadInput(NO_OBJECT, field="body")
    return body
