"""A real S3 server on loopback, with one bucket."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

SECRETS = {"AWS_ACCESS_KEY_ID": "known", "AWS_SECRET_ACCESS_KEY": "not-for-strangers"}


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; the bucket is `darkroom`."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("moto, the S3 server of these tests, is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        assert httpx.put(f"http://{host}:{port}/darkroom", trust_env=False).status_code == 200
        yield f"http://{host}:{port}"
    finally:
        server.stop()
