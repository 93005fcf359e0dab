"""Talking to a running service: the Python client, and its refusals as exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..client.blocking import Client
from ..errors import BadInput, DarkroomError

RETRIES = 2  # who waits at a keyboard wants to know
TO_BLAME = (400, 404, 409, 413)  # statuses that say that the input was wrong


@contextmanager
def connect() -> Iterator[Client]:
    """A client of the service that DARKROOM_URL names; what it refuses for the input's sake ends with exit code 2."""
    with Client(retries=RETRIES) as client:
        try:
            yield client
        except DarkroomError as error:
            if error.http_status in TO_BLAME:
                error.exit_code = BadInput.exit_code
            raise
