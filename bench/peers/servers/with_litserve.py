"""LitServe with its own batching: https://lightning.ai/docs/litserve/features/batching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import litserve
from drawing import Asked, Model, read, settings


class Landscapes(litserve.LitAPI):
    """A batch is a list; with a batch of one LitServe hands over the request itself."""

    def setup(self, device: str) -> None:
        said = settings()
        self._model = Model(said.model, said.threads)

    def decode_request(self, request) -> Asked:  # an annotation would be read as a schema
        return read(request)

    def predict(self, x: Asked | Sequence[Asked]) -> Any:
        return self._model.draw([x])[0] if isinstance(x, Asked) else self._model.draw(x)

    def encode_response(self, output: str) -> dict[str, str]:
        return {"image": output}


if __name__ == "__main__":
    said = settings()
    api = Landscapes(max_batch_size=said.most, batch_timeout=said.window_s if said.most > 1 else 0.0)
    # Its own limit of 30 s would refuse what the others serve late.
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=said.instances, timeout=False)
    server.run(host="127.0.0.1", port=said.port, log_level="warning", generate_client_file=False, access_log=False)
