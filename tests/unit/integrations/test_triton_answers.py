"""What runs in Triton answers each request once, whatever fails on the way: one without a response waits for ever."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from queue import Queue
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from darkroom.cli import run

WISH = {"prompt": b"night, full moon", "steps": 2, "seed": 7, "width": 192, "height": 192}


class FullMemory(Exception):
    """What Triton raises where its shared memory has no room for an array."""


class Host(ModuleType):
    """Triton's side of its Python backend, as far as a model sees it; `room` is that of its shared memory."""

    TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    TritonError = type("TritonError", (), {"__init__": lambda self, text, code: setattr(self, "said", (code, text))})
    room = 10**9

    def __init__(self) -> None:
        super().__init__("triton_python_backend_utils")
        for code in ("INTERNAL", "INVALID_ARG", "NOT_FOUND", "UNAVAILABLE", "UNSUPPORTED"):
            setattr(self.TritonError, code, code)

    def InferenceResponse(self, tensors: Any = None, error: Any = None) -> Any:  # noqa: N802  # theirs
        return SimpleNamespace(tensors=tensors, error=error and error.said)

    def __getattr__(self, name: str) -> Any:
        if name == "Tensor":
            return Tensors(self)
        raise AttributeError(name)


class Tensors:
    """Triton's tensors; made in its shared memory."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self, name: str, array: np.ndarray) -> Any:
        if array.nbytes > self._host.room:
            raise FullMemory("Failed to increase the shared memory pool size")
        return SimpleNamespace(name=lambda: name, as_numpy=lambda: array)

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> Any:
        return SimpleNamespace(name=lambda: name, as_numpy=lambda: np.from_dlpack(tensor))


class Request:
    """One of Triton's requests; `answers` has what was sent."""

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors, self.answers = tensors, Queue[Any]()

    def inputs(self) -> list[Any]:
        return self._tensors

    def get_response_sender(self) -> Any:
        return SimpleNamespace(send=lambda response, flags: self.answers.put((response, flags)))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with pytest.MonkeyPatch.context() as patch:
        made = Host()
        patch.setitem(sys.modules, made.__name__, made)
        yield made


@pytest.fixture(scope="module")
def model(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("repository")
    assert run(["export", "triton", "landscapes", "-o", str(folder)]) == 0
    made = importlib.import_module("darkroom.integrations.triton.model").TritonPythonModel()
    place = {"model_repository": str(folder / "landscapes"), "model_version": "1"}
    made.initialize({"model_instance_kind": "CPU", **place})
    yield made
    made.finalize()


def asked(host: Host, **changes: Any) -> Request:
    wish: dict[str, Any] = WISH | changes
    return Request([host.Tensor(name, np.array([value], dtype=object)) for name, value in wish.items()])


def answer(request: Request) -> Any:
    response, flags = request.answers.get(timeout=120)
    assert flags == Host.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    return response


def test_a_picture_that_triton_has_no_room_for_is_answered_with_an_error(
    host: Host, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(host)
    monkeypatch.setattr(host, "room", 1000, raising=False)
    model.execute([request])
    code, text = answer(request).error
    assert code == "INTERNAL"
    assert "FullMemory: Failed to increase the shared memory pool size" in text


def test_a_request_that_cannot_be_read_is_answered_and_its_neighbour_is_served(host: Host, model: Any) -> None:
    torn, whole = Request([SimpleNamespace(name=lambda: "prompt", as_numpy=lambda: None)]), asked(host)
    model.execute([torn, whole])
    assert answer(torn).error[0] == "INTERNAL"
    [picture] = answer(whole).tensors
    assert picture.as_numpy().shape == (192, 192, 3)


def test_a_refusal_is_told_in_triton_s_words(host: Host, model: Any) -> None:
    request = asked(host, steps=0)
    model.execute([request])
    assert answer(request).error == ("INVALID_ARG", "bad_input: steps must be a whole number from 1 to 1000, not 0")
