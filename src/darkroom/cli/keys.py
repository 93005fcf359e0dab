"""`darkroom keys create | list | revoke`: who may call the service, how much, and how much it has."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from ..app import store_of
from ..config import Settings, load, with_places
from ..core import Allowance, ApiKey, Usage
from ..errors import BadInput
from ..gateway.keys import draw, is_alive
from ..gateway.keys import id_of as id_in
from ..gateway.moments import rfc3339
from ..jobs.store import Store
from . import say
from .reach import asks_for_keys
from .serve import make_home
from .start import ConfigOption, JsonOption

DAY_S = 86400.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,99}")
NAME_SAID = "1 to 100 letters, digits, '@', '.', '_', '+', '-', the first a letter or a digit"
MOST = 1e9
CLOSED = (
    "this is the first key: from now on nobody is served without one, on this machine either, and revoking it does not "
    "change that. Send it as `Authorization: Bearer dk_…`, in DARKROOM_API_KEY for the commands and the Python client, "
    'or in the web page, which asks for it. To go on without keys, set auth = "open" in [serve] and start it again'
)

StoreOption = Annotated[str | None, typer.Option("--store", help="Where keys are kept.", show_default="as set")]


class Role(StrEnum):
    """What a key may do."""

    USER = "user"
    OPERATOR = "operator"
    WORKER = "worker"


class PriorityClass(StrEnum):
    """How its jobs stand to those of other keys."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


app = typer.Typer(help="API keys: who may call the service, and how much.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def keys(context: typer.Context) -> None:
    """API keys: who may call the service, and how much."""
    if context.invoked_subcommand is None:
        say.note(context.get_help())
        raise typer.Exit(2)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What you know it by; its tenant too, unless one is said.")],
    tenant: Annotated[str | None, typer.Option(help="Whose jobs they are.", show_default="the name")] = None,
    role: Annotated[list[Role] | None, typer.Option(help="May be given again.", show_default="user")] = None,
    jobs_per_minute: Annotated[int | None, typer.Option(min=1, max=10**6, show_default="no limit")] = None,
    live_jobs: Annotated[int | None, typer.Option(min=1, max=10**6, show_default="no limit")] = None,
    device_s_per_day: Annotated[float | None, typer.Option(min=0, max=MOST, show_default="no limit")] = None,
    usd_per_day: Annotated[float | None, typer.Option(min=0, max=MOST, show_default="no limit")] = None,
    priority_class: Annotated[PriorityClass, typer.Option(help="Goes before all priorities.")] = PriorityClass.NORMAL,
    weight: Annotated[float, typer.Option(help="Its share of a busy fleet beside others.")] = 1.0,
    expires_days: Annotated[float | None, typer.Option(min=0.0001, max=36500, show_default="never")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and say it, this once: only a hash of it is kept."""
    _check_name(name, "name")
    _check_name(tenant or name, "tenant")
    if not 0.001 <= weight <= 1000:
        raise BadInput(f"weight must be a number from 0.001 to 1000, not {weight:g}", field="weight")
    now, drawn, settings = time.time(), draw(), with_places(load(config), store, None)
    key = ApiKey(
        id=drawn.id,
        tenant=tenant or name,
        name=name,
        roles=tuple(str(each) for each in dict.fromkeys(role or [Role.USER])),
        secret_hash=drawn.secret_hash,
        created_at=now,
        priority_class=str(priority_class),
        weight=weight,
        allowance=Allowance(jobs_per_minute, live_jobs, device_s_per_day, usd_per_day),
        expires_at=None if expires_days is None else now + expires_days * DAY_S,
    )
    with _opened(settings) as opened:
        others = opened.keys()
        _check_new(key, others, now)
        was_open = not asks_for_keys(settings, opened)
        opened.add_key(key)
    _tell_made(key, drawn.shown, settings, as_json=as_json)
    if was_open and settings.serve.auth != "open":
        say.warning(CLOSED)


@app.command("list")
def list_keys(as_json: JsonOption = False, store: StoreOption = None, config: ConfigOption = None) -> None:
    """List the keys, with what each has used today."""
    now = time.time()
    with _opened(with_places(load(config), store, None)) as opened:
        known = opened.keys()
        found = [(key, opened.usage(key.id, now)) for key in known]
    if as_json:
        say.result({"keys": [{**_told(key, now), "used": _used(used)} for key, used in found]})
        return
    if not found:
        say.note("there are no keys; `darkroom keys create NAME` makes one")
    for key, used in found:
        typer.echo(_line(key, used, now))


@app.command("revoke")
def revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="A key's id or its name, as `list` says them, or the key itself.")
    ],
    as_json: JsonOption = False,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Take a key back: about a second later it opens nothing any more, and neither do its tokens."""
    wanted, now = id_in(key_id) or key_id, time.time()
    with _opened(with_places(load(config), store, None)) as opened:
        key = opened.revoke_key(_meant(wanted, opened.keys(), now), now)
    if key is None:
        raise _no_key(wanted)
    if as_json:
        say.result(_told(key, time.time()))
    else:
        typer.echo(f"{key.id}  {key.name}  revoked {rfc3339(key.revoked_at)}")


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[Store]:
    make_home(settings.home)
    with contextlib.closing(store_of(settings)) as store:
        yield store


def _check_name(said: str, field: str) -> None:
    if NAME.fullmatch(said) is None:
        raise BadInput(f"{field} must have {NAME_SAID}, not {said[:110]!r}", field=field)


def _meant(wanted: str, keys: Iterable[ApiKey], now: float) -> str:
    """The id of the key with that id, or else with that name: of several the one that is alive. Raises `BadInput`."""
    known = list(keys)
    named = [key for key in known if key.name == wanted]
    found = [key for key in known if key.id == wanted] or [key for key in named if is_alive(key, now)] or named
    if not found:
        raise _no_key(wanted)
    if len(found) > 1:
        ids = ", ".join(key.id for key in found)
        raise BadInput(f"{len(found)} keys have the name {wanted!r}: say the id of one, {ids}", field="key_id")
    return found[0].id


def _no_key(wanted: str) -> BadInput:
    return BadInput(f"there is no key {wanted!r}; `darkroom keys list` says which there are", field="key_id")


def _check_new(key: ApiKey, others: Iterable[ApiKey], now: float) -> None:
    same = next((each for each in others if each.name == key.name and is_alive(each, now)), None)
    if same is not None:
        said = f"the key {same.id} has the name {key.name!r} already: take another name (with --tenant {same.tenant}"
        raise BadInput(f"{said} it sees the same jobs), or revoke that one first", field="name")


def _tell_made(key: ApiKey, shown: str, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        say.result({**_told(key, key.created_at), "key": shown})
    else:
        typer.echo(shown)
        say.note(f"{key.id}: tenant {key.tenant}, {_said(key)}. Keep the key: it is not said again")
    if key.allowance.usd_per_day is not None and settings.serve.price_per_hour_usd == 0:
        say.warning("price_per_hour_usd is 0, so jobs cost nothing and the daily dollars are never used up")


def _told(key: ApiKey, now: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "roles": list(key.roles),
        "priority_class": key.priority_class,
        "weight": key.weight,
        "limits": asdict(key.allowance),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "revoked_at": rfc3339(key.revoked_at),
        "is_alive": is_alive(key, now),
    }


def _used(used: Usage) -> dict[str, Any]:
    return {"live_jobs": used.live_jobs, "device_s": used.device_s, "usd": used.cost_usd}


def _said(key: ApiKey) -> str:
    limits = [f"{name} {value:g}" for name, value in asdict(key.allowance).items() if value is not None]
    rest = ["+".join(key.roles), f"priority {key.priority_class}", f"weight {key.weight:g}", *limits]
    return ", ".join([*rest, *([f"until {rfc3339(key.expires_at)}"] if key.expires_at else [])])


def _line(key: ApiKey, used: Usage, now: float) -> str:
    state = "alive" if is_alive(key, now) else "revoked" if key.revoked_at else "expired"
    today = f"today {used.device_s:.1f} device s, ${used.cost_usd:.4f}; {used.live_jobs} live"
    return f"{key.id}  {state:7}  {key.name}  tenant {key.tenant}  {_said(key)}  {today}"
