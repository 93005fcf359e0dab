"""An S3 double (moto) on loopback, with one bucket: it speaks the protocol, and checks neither keys nor signatures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.missing import skip_or_fail

SECRETS = {"AWS_ACCESS_KEY_ID": "known", "AWS_SECRET_ACCESS_KEY": "not-for-strangers"}


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; the bucket is `darkroom`."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        skip_or_fail("moto, the S3 server of these tests, is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        assert httpx.put(f"http://{host}:{port}/darkroom", trust_env=False).status_code == 200
        yield f"http://{host}:{port}"
    finally:
        server.stop()
