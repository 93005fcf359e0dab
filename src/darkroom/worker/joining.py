"""How a worker joins a gateway: what both must agree in is asked for before anything else, and stands above its own.

asked: lease, heartbeat, limits, previews, tapes     its own: device, memory, drain_s, claim_ahead_s, price, logs
whose pictures are checked                            which of the gateway's models it has
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from .. import __version__
from ..config import SafetySettings, ServeSettings, Settings, gateway_key
from ..errors import (
    DarkroomError,
    Forbidden,
    InvalidConfig,
    NotFound,
    StoreUnavailable,
    Unauthorised,
    Unavailable,
    UnknownModel,
)
from ..jobs.wire import JOINING, Joining
from ..models.catalogue import Entry, catalogue
from ..models.revision import short
from ..storage.files import write_whole
from ..storage.link import Ask, Link, is_gateway_url

log = logging.getLogger(__name__)

RULES_FILE = "gateway-safety-{digest}.toml"  # in DARKROOM_HOME: whose pictures a gateway wants checked
HASHING_S = 120.0  # for a gateway that has not hashed its models' files yet
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KEY_HELP = "`darkroom keys create NAME --role worker`, where the gateway runs, makes one; set it as DARKROOM_API_KEY"


def join(settings: Settings, worker_id: str) -> tuple[Settings, str]:
    """The settings and the id of a worker at that store: as they are, unless the store is a gateway.

    Raises `Unauthorised` or `Forbidden` for a wrong key, `StoreUnavailable` where nobody answers, `InvalidConfig` where
    somebody else does or the files of a model differ, `UnknownModel` where none of the gateway's models is here.
    """
    if not is_gateway_url(settings.store_url):
        return settings, worker_id
    with contextlib.closing(Link(settings.store_url, gateway_key(settings))) as link:
        said = ask(link, settings.serve.models or tuple(catalogue(settings).entries))
    if urlsplit(settings.store_url).scheme == "http" and urlsplit(settings.store_url).hostname not in LOOPBACK:
        log.warning("the gateway is reached over plain http: whoever is on the way can read the key; use https")
    if said.version != __version__:
        log.warning("the gateway is of release %s, this worker of %s: upgrade them together", said.version, __version__)
    return with_said(settings, said), _with_suffix(worker_id, said.worker_suffix)


def ask(link: Link, models: Sequence[str] = ()) -> Joining:
    """What the gateway tells a worker, with the revisions of these models; see `join` for what it raises."""
    asked = Ask("GET", "/settings", params={"models": ",".join(models)}, wait_s=HASHING_S if models else 0.0)
    try:
        return JOINING.validate_json(link.ask(asked))
    except Unauthorised as error:
        raise Unauthorised(f"{link.url} does not know this key: {KEY_HELP}", field="api_key") from error
    except Forbidden as error:
        raise Forbidden(f"{link.url} refuses this worker: {error.message}. {KEY_HELP}", field="api_key") from error
    except Unavailable as error:
        said = f"{link.url}: {error.message}; is the address right, and the gateway up?"
        raise StoreUnavailable(said, field="gateway") from error
    except (NotFound, ValidationError) as error:
        said = f"{link.url} is no gateway that workers of release {__version__} can join"
        raise InvalidConfig(f"{said}: correct the address, or upgrade it", field="gateway") from error


def with_said(settings: Settings, said: Joining) -> Settings:
    """The settings of a worker that was told this: the gateway's, where they must agree, and the models of both."""
    shared = {name: value for name, value in said.serve.items() if name in ServeSettings.model_fields}
    serve = ServeSettings.model_validate({**settings.serve.model_dump(), **shared})
    entries = catalogue(settings).entries
    own = [entry.name for entry in entries.values() if not entry.is_remote]
    wanted = [name for name in serve.models or own if name in said.models]
    if not wanted:
        here, there = ", ".join(serve.models or own), ", ".join(said.models)
        text = f"the gateway knows none of the models of this worker ({here}); it knows {there}"
        raise UnknownModel(f"{text}: add one of these here with `darkroom models add`", field="models")
    check_revisions({name: entries[name] for name in wanted if name in entries}, said.revisions)
    left = sorted(set(serve.models or own) - set(wanted))
    if left:  # named, they are all that is served; what is here and not there would wait for jobs that never come
        log.info("the gateway does not know %s: served are %s", ", ".join(left), ", ".join(wanted))
        serve = serve.model_copy(update={"models": tuple(wanted)})
    default = said.default_model if said.default_model in wanted else settings.default_model
    safety = SafetySettings(rules=_write_rules(settings.home, said), check_images=said.check_images)
    return settings.model_copy(update={"serve": serve, "default_model": default, "safety": safety})


def check_revisions(entries: Mapping[str, Entry], theirs: Mapping[str, str]) -> None:
    """Raise `InvalidConfig` where a model's files are others than the gateway's: its pictures would be others too.

    What is not here yet, or not there, cannot be compared: the log says so.
    """
    for name, entry in entries.items():
        try:
            there, ours = theirs[name], entry.revision()
        except (DarkroomError, KeyError):
            log.warning("the files of %s cannot be compared with the gateway's: they are missing on one side", name)
            continue
        if ours != there:
            text = f"{name} has other files here (revision {short(ours)}) than at the gateway ({short(there)})"
            raise InvalidConfig(f"{text}: give it the same, or leave it out of `models` of [serve]", field="models")


def _write_rules(home: Path, said: Joining) -> Path | None:
    """The gateway's checks as a rules file: whose pictures are looked at is not for this machine to say.

    Named by what it says, so that workers of two gateways may share a home.
    """
    sections = {"models": said.checked_models, "tenants": said.checked_tenants}
    lines = [
        f"[{kind}.{json.dumps(name, ensure_ascii=False)}]\ncheck_images = {json.dumps(is_checked)}\n"
        for kind, checks in sections.items()
        for name, is_checked in sorted(checks.items())
    ]
    if not lines:
        return None
    home.mkdir(parents=True, exist_ok=True)
    content = "\n".join(lines).encode()
    path = home / RULES_FILE.format(digest=hashlib.sha256(content).hexdigest()[:16])
    write_whole(path, content)
    return path


def _with_suffix(worker_id: str, suffix: str) -> str:
    """An id that the key may speak for."""
    return worker_id if worker_id.endswith(suffix) else f"{worker_id}{suffix}"
