"""Word that this machine will be taken away: clouds say it at an address of the machine's own, some time ahead.

    cloud    asked at                                                         says it    ahead
    aws      /latest/meta-data/spot/instance-action, with a session token     200        120 s
    gcp      /computeMetadata/v1/instance/preempted                           TRUE       30 s
    azure    /metadata/scheduledevents, an event of type Preempt              an event   30 s

Followed: EC2's instance metadata service, version 2; Compute Engine's metadata server; Azure's scheduled events
(2020-07-01). What answers nothing, or something else, is no notice: a worker never drains by mistake.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import httpx

EVERY_S = 2.0  # a cloud that says it thirty seconds ahead leaves time enough; AWS asks for five or less
ANSWER_S = 1.0
TOKEN_S = 21600  # the longest that AWS gives
SILENT = 30  # looks in a row without any answer before it is said
LINK_LOCAL = "http://169.254.169.254"
PLACES = {"aws": LINK_LOCAL, "gcp": "http://metadata.google.internal", "azure": LINK_LOCAL}
log = logging.getLogger(__name__)


class Aws:
    """EC2: a session token first, and a new one where it has run out."""

    def __init__(self, http: httpx.Client) -> None:
        self._http, self._token = http, ""

    def is_taken(self) -> bool:
        """Whether the machine will be taken away; raises `httpx.HTTPError` where nobody answers."""
        answer = self._ask()
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            asked = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
            told = self._http.put("/latest/api/token", headers=asked)
            self._token = told.text if told.is_success else ""
            answer = self._ask()
        return answer.is_success and said(answer, "action") in ("stop", "hibernate", "terminate")

    def _ask(self) -> httpx.Response:
        headers = {"X-aws-ec2-metadata-token": self._token} if self._token else {}
        return self._http.get("/latest/meta-data/spot/instance-action", headers=headers)


class Gcp:
    """Compute Engine."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def is_taken(self) -> bool:
        """As `Aws.is_taken`."""
        asked = {"Metadata-Flavor": "Google"}
        answer = self._http.get("/computeMetadata/v1/instance/preempted", headers=asked)
        return answer.is_success and answer.text.strip() == "TRUE"


class Azure:
    """Azure's scheduled events, of which only a pre-emption takes the machine away."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def is_taken(self) -> bool:
        """As `Aws.is_taken`. Events name the machines that they are about: ours is asked for once."""
        answer = self._get("/metadata/scheduledevents", "2020-07-01")
        events = said(answer, "Events") if answer.is_success else None
        found = [each for each in events if isinstance(each, dict)] if isinstance(events, list) else []
        taken = [each.get("Resources") for each in found if each.get("EventType") == "Preempt"]
        return bool(taken) and any(not names or self._name() in names for names in taken)

    def _name(self) -> str:
        answer = self._get("/metadata/instance/compute/name", "2021-02-01", format="text")
        return answer.text.strip() if answer.is_success else ""

    def _get(self, path: str, version: str, **more: str) -> httpx.Response:
        return self._http.get(path, params={"api-version": version, **more}, headers={"Metadata": "true"})


CLOUDS: dict[str, Callable[[httpx.Client], Aws | Gcp | Azure]] = {"aws": Aws, "gcp": Gcp, "azure": Azure}


class Notices:
    """Asks one cloud every two seconds, in a thread of its own; `taken` is called once, at the first notice.

    `url` stands in for the cloud's own address (a proxy to it, a test).
    """

    def __init__(self, cloud: str, taken: Callable[[], None], url: str | None = None, every_s: float = EVERY_S) -> None:
        self._cloud, self._taken, self._every_s = cloud, taken, every_s
        self._http = httpx.Client(base_url=url or PLACES[cloud], timeout=ANSWER_S, trust_env=False)
        self._asking = CLOUDS[cloud](self._http)
        self._closed, self._silent = threading.Event(), 0
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
        self._thread.join(2 * ANSWER_S)
        self._http.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            if self._look():
                log.warning("%s takes this machine away: the worker drains", self._cloud)
                self._taken()
                return
            self._closed.wait(self._every_s)

    def _look(self) -> bool:
        try:
            is_taken = self._asking.is_taken()
        except httpx.HTTPError as error:
            self._silent += 1
            if self._silent == SILENT:
                log.warning("%s does not say whether it takes this machine away: %s", self._cloud, error)
            return False
        self._silent = 0
        return is_taken


def said(answer: httpx.Response, key: str) -> object:
    """What a JSON object says by that key; None where it is none."""
    try:
        told = answer.json()
    except ValueError:
        return None
    return told.get(key) if isinstance(told, dict) else None
