"""What `darkroom` gives to programs, and that it gives it without delay."""

from __future__ import annotations

import subprocess
import sys

import pytest

import darkroom


def test_importing_darkroom_imports_neither_torch_nor_anything_slow() -> None:
    slow = "{'torch', 'pydantic', 'numpy', 'httpx'} & set(sys.modules)"
    code = f"import sys, darkroom; darkroom.errors, darkroom.__version__; print(sorted({slow}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_are_loaded_when_they_are_asked_for() -> None:
    from darkroom.client.asynchronous import AsyncClient
    from darkroom.client.blocking import Client
    from darkroom.engine.engine import Engine
    from darkroom.engine.handle import Handle

    assert (darkroom.Engine, darkroom.Handle) == (Engine, Handle)
    assert (darkroom.Client, darkroom.AsyncClient) == (Client, AsyncClient)
    assert set(darkroom.__all__) == set(dir(darkroom))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Customer'"):
        _ = darkroom.Customer  # type: ignore[attr-defined]
