"""Who reaches the service, and who may call it: nobody serves a whole network without having said so."""

from __future__ import annotations

import ipaddress
import socket
import time

from ..config import Settings
from ..errors import BadInput
from ..gateway.keys import is_alive
from ..jobs.store import Store


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_reach(settings: Settings, store: Store, host: str | None, *, is_insecure: bool) -> None:
    """Raise `BadInput` where others would reach the service and none of them would be asked for a key."""
    host = host or settings.serve.host
    if is_loopback(host) or is_insecure:
        return
    if settings.serve.auth == "open":
        said = f'{host} can be reached by others, and auth = "open" asks nobody for a key: take that out'
        raise BadInput(f"{said}, listen on 127.0.0.1, or say --insecure", field="host")
    keys, now = store.keys(), time.time()
    if settings.oidc is None and not any(is_alive(key, now) for key in keys):
        said = f"{host} can be reached by others, and there are no API keys yet: `darkroom keys create NAME` makes one"
        raise BadInput(f"{said}; or listen on 127.0.0.1, or say --insecure", field="host")


def with_auth(settings: Settings, listener: socket.socket, *, is_insecure: bool) -> Settings:
    """The settings of a gateway on that socket: where others reach it keys are asked for, whatever becomes of them.

    What the store says may change while it runs, or after it has died and started again: an emptied one opens nothing.
    """
    if settings.serve.auth != "auto" or is_insecure or is_loopback(str(listener.getsockname()[0])):
        return settings
    return settings.model_copy(update={"serve": settings.serve.model_copy(update={"auth": "keys"})})


def asks_for_keys(settings: Settings, store: Store) -> bool:
    """Whether callers on this machine are asked for a key or a sign-in."""
    auth = settings.serve.auth
    has_others = settings.oidc is not None or settings.guests is not None
    return auth == "keys" or (auth == "auto" and (has_others or bool(store.keys())))


def said_of_callers(settings: Settings, store: Store, *, is_insecure: bool) -> str:
    """For the start-up screen."""
    if settings.serve.auth == "open":
        return "whoever reaches it; nobody is asked for a key (auth)"
    if asks_for_keys(settings, store):
        said = f"asked for a key{' or a sign-in' if settings.oidc else ''}; `darkroom keys` makes and lists them"
        return f"guests without a key, within [guests.limits]; operators are {said}" if settings.guests else said
    whom = "whoever reaches it" if is_insecure else "whoever is on this machine"
    return f"{whom}, until `darkroom keys create NAME` makes a first key"
