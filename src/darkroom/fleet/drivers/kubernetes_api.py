"""A conversation with the API server of Kubernetes: lists and merge patches, with its refusals as `DriverUnavailable`.

Follows https://kubernetes.io/docs/reference/using-api/api-concepts/: pages of a list, which expire (410), patches,
which conflict (409), and the `Status` object that every refusal carries. Requests are safe to repeat: they say what is
to be, not what to change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from ...errors import DriverUnavailable
from .kubernetes_access import Access

MERGE_PATCH = "application/merge-patch+json"
PAGE = 250
TIMEOUT_S = 10.0
PAUSES_S = (0.2, 0.5, 1.0)  # before each further try
PATIENCE_S = 5.0  # the longest pause that the server may ask for
PASSING = (429, 500, 502, 503, 504)


class Conflict(Exception):
    """Somebody else changed the object since it was read."""


class Expired(Exception):
    """The rest of a list is gone; it is to be read anew."""


class NotThere(Exception):
    """There is no such object, or no longer."""


class Api:
    """Raises `DriverUnavailable` where the server does not answer or refuses."""

    def __init__(self, access: Access, sleep: Callable[[float], None] = time.sleep) -> None:
        self._access, self._sleep = access, sleep
        self._http = httpx.Client(base_url=access.url, verify=access.tls, timeout=TIMEOUT_S)

    def get_all(self, path: str, selector: str) -> list[dict[str, Any]]:
        """All objects with those labels, read in pages."""
        for _ in PAUSES_S:
            try:
                return self._pages(path, selector)
            except Expired:
                continue
        raise DriverUnavailable(f"the Kubernetes API server loses its list of {path} while it is read")

    def get(self, path: str) -> dict[str, Any]:
        """One object; raises `NotThere`."""
        return self._ask("GET", path)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge this into an object; raises `NotThere`, and `Conflict` where its `resourceVersion` is another now."""
        return self._ask("PATCH", path, json=body, headers={"Content-Type": MERGE_PATCH})

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def _pages(self, path: str, selector: str) -> list[dict[str, Any]]:
        asked: dict[str, str | int] = {"labelSelector": selector, "limit": PAGE}
        items: list[dict[str, Any]] = []
        while True:
            answer = self._ask("GET", path, params=asked)
            items += answer.get("items") or []
            more = answer.get("metadata", {}).get("continue")
            if not more:
                return items
            asked["continue"] = more

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **said: Any) -> dict[str, Any]:
        """Ask until the server has an answer, or has had its tries."""
        for pause_s in (*PAUSES_S, None):
            response = self._send(method, path, headers or {}, is_last=pause_s is None, **said)
            if response is not None and (response.status_code not in PASSING or pause_s is None):
                return self._read(method, path, response)
            assert pause_s is not None
            self._sleep(pause_s if response is None else _asked_pause(response, pause_s))
        raise AssertionError("the last try answers or raises")

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], *, is_last: bool, **said: Any
    ) -> httpx.Response | None:
        token = self._access.token()
        shown = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            return self._http.request(method, path, headers=shown, **said)
        except httpx.HTTPError as error:
            if is_last:
                place = self._access.url
                raise DriverUnavailable(f"the Kubernetes API server at {place} does not answer: {error}") from error
            return None

    def _read(self, method: str, path: str, response: httpx.Response) -> dict[str, Any]:
        if response.is_success:
            return _object_of(response)
        known = {404: NotThere, 409: Conflict, 410: Expired}.get(response.status_code)
        if known is not None:
            raise known
        raise DriverUnavailable(_refusal(method, path, response))


def _object_of(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DriverUnavailable(f"what answers at {response.url} is not Kubernetes: its answer is no object")
    return answer


def _refusal(method: str, path: str, response: httpx.Response) -> str:
    try:
        said = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        said = f"{method} {path}"
    if response.status_code == 401:
        return f"the Kubernetes API server does not accept the credentials: {said}"
    if response.status_code == 403:
        return f"the Kubernetes API server forbids it; deploy/kubernetes/overlays/fleet has the Role: {said}"
    return f"the Kubernetes API server answers {response.status_code}: {said}"


def _asked_pause(response: httpx.Response, pause_s: float) -> float:
    said = response.headers.get("Retry-After", "")
    return min(float(said), PATIENCE_S) if said.isdigit() else pause_s
