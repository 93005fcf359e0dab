"""`darkroom serve`: a gateway and its workers on this machine, kept alive until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..app import address_of, store_of
from ..config import Settings
from ..errors import BadInput, OutputNotWritable, StoreUnavailable
from ..fleet.devices import CUDA_DEVICES, accelerators, share
from ..fleet.releasing import Releasing
from ..fleet.supervisor import STOP_MARGIN_S, Child, Supervisor
from ..fleet.told import read_note
from ..jobs.opening import hide_password
from ..jobs.store import Store
from ..models.catalogue import catalogue, check_described, narrow, served
from ..safety import read_rules
from . import say
from .reach import asks_for_keys, check_reach, said_of_callers
from .start import ConfigOption, start, with_host

DARKROOM = (sys.executable, "-m", "darkroom")
MAX_PORT = 65535
BACKLOG = 2048  # connections that wait while the gateway restarts
GATEWAY_STOP_S = 20.0  # requests under way have 10 s (gateway/server.py); then what they stand on ends
LOOK_S = 0.2
EXAMPLE = """  curl {url}/v1/jobs {key}-H 'Content-Type: application/json' -H 'Prefer: wait=60' \\
    -d '{{"input": {{"prompt": "A beautiful sunset over mountains", "preset": "fast"}}}}'"""
KEY_HEADER = '-H "Authorization: Bearer $DARKROOM_API_KEY" '
HostOption = Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")]


def serve(
    host: HostOption = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.", show_default="8188")] = None,
    model: Annotated[
        str | None, typer.Option(help="Serve this model alone: a name or a path.", show_default="all")
    ] = None,
    is_insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen where others reach it, though nobody is asked for a key.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Start the service with its workers, say where it is, and keep it running until Ctrl-C."""
    settings = with_host(narrow(start(config)[0], model), host)
    check_described(settings)
    read_rules(settings.safety)  # a fault in them stops the start, and not a child again and again
    make_home(settings.home)
    flags = {"--config": config, "--model": model}
    arguments = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
    with contextlib.closing(store_of(settings)) as store:
        check_reach(settings, store, host, is_insecure=is_insecure)
        listener = listen_at(settings, host, port)
        House(settings, store, listener, arguments, is_insecure=is_insecure).run()


class House:
    """The processes of one box: children to supervise, and what is said of them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        listener: socket.socket,
        arguments: Sequence[str],
        *,
        is_insecure: bool = False,
    ) -> None:
        self.settings, self.store, self.listener, self._arguments = settings, store, listener, arguments
        self._is_insecure = is_insecure
        self._key = KEY_HEADER if asks_for_keys(settings, store) else ""
        self._ids: dict[str, str] = {}
        self._releasing = Releasing(store, say.problem)
        self._began, self._is_ready, self._look_at = time.time(), False, 0.0

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return address_of(self.listener.getsockname())

    def run(self) -> None:
        """Start everything, keep it alive until a signal, stop it in order."""
        children = self.children()
        supervisor = Supervisor(children, say.note, time.monotonic)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: supervisor.ask_stop())
        names = [child.name for child in children]
        count = sum(name.startswith("worker-") for name in names)
        workers = pools_said(self.settings) if "fleet" in names else f"{count} on this machine"
        say.note(self._screen(workers, is_forwarding="forwarder" in names))
        supervisor.start()
        try:
            supervisor.run(self._look)
        finally:
            say.note("stopping: workers finish what fits, and hand back the rest")
            supervisor.stop()
            say.note("stopped")

    def children(self) -> list[Child]:
        """The gateway; workers, or who starts them as the work asks for them; a forwarder where a model is remote."""
        entries = served(self.settings)
        children = [self._gateway()]
        if any(not entry.is_remote for entry in entries):
            count = self.settings.serve.workers or max(1, len(accelerators()))
            children += [self._fleet()] if self._is_scaled else [self._worker(k, count) for k in range(count)]
        if any(entry.is_remote for entry in entries):
            children.append(self._forwarder())
        return children

    def _gateway(self) -> Child:
        fd = self.listener.fileno()
        arguments = ["--host", self.settings.serve.host, *self._arguments]
        arguments += ["--insecure"] if self._is_insecure else []
        return Child(
            "gateway",
            lambda: [*DARKROOM, "gateway", "--fd", str(fd), *arguments],
            fds=(fd,),
            stop_s=GATEWAY_STOP_S,
            is_last=True,
        )

    def _worker(self, number: int, count: int) -> Child:
        name = f"worker-{number}"

        def command() -> list[str]:
            # A fresh id for each life: what its former life held is then nobody's but the dead one's.
            self._ids[name] = f"{name}-{secrets.token_hex(4)}"
            return [*DARKROOM, "worker", "--id", self._ids[name], *self._arguments]

        devices = accelerators()
        environment = share(count, len(devices))
        environment |= {CUDA_DEVICES: devices[number % len(devices)]} if devices else {}
        stop_s = self.settings.serve.drain_s + STOP_MARGIN_S
        # One that ends with 0 was drained, and would be drained in vain if it started again.
        more: dict[str, Any] = {"environment": environment, "stop_s": stop_s, "may_end": True}
        return Child(name, command, lambda code: self._release(name), **more)

    @property
    def _is_scaled(self) -> bool:
        """Whether this machine's workers come and go."""
        return self.settings.fleet is not None and self.settings.fleet.driver == "local"

    def _fleet(self) -> Child:
        """Its workers end with it: they drain while it waits for them."""
        stop_s = self.settings.serve.drain_s + 2 * STOP_MARGIN_S
        return Child("fleet", lambda: [*DARKROOM, "fleet", "run", *self._arguments], stop_s=stop_s)

    def _forwarder(self) -> Child:
        name = "forwarder"

        def command() -> list[str]:
            self._ids[name] = f"{name}-{secrets.token_hex(4)}"
            return [*DARKROOM, "forward", "--id", self._ids[name], *self._arguments]

        stop_s = self.settings.serve.drain_s + STOP_MARGIN_S
        return Child(name, command, lambda code: self._release(name, is_charged=False), stop_s=stop_s, may_end=True)

    def _release(self, name: str, *, is_charged: bool = True) -> None:
        self._releasing.note_death(name, self._ids[name], is_charged=is_charged)

    def _look(self) -> None:
        """At every turn of the supervisor."""
        self._tell_when_ready()
        self._releasing.tend()

    def _screen(self, workers: str, *, is_forwarding: bool) -> str:
        settings = self.settings
        said = {
            "API": f"{self.url}/v1   (what it takes: {self.url}/docs)",
            "models": ", ".join(settings.serve.models) or ", ".join(catalogue(settings).entries),
            "callers": said_of_callers(settings, self.store, is_insecure=self._is_insecure),
            "workers": workers + (", and a forwarder to another Darkroom" if is_forwarding else ""),
            "home": str(settings.home),
            "jobs": hide_password(settings.store_url),
            "images": hide_password(settings.storage_url),
            "settings": str(settings.config_file or "defaults; there is no darkroom.toml here"),
        }
        lines = [f"  {name:9} {value}" for name, value in said.items()]
        risks = [f"  note      {risk}" for risk in self.store.settings_risks()]
        going_on = "starting the fleet..." if self._is_scaled else "loading the models..."
        head = [f"Darkroom {__version__}", "", f"  Open {self.url}/ui/ in a browser.", ""]
        return "\n".join([*head, *lines, *risks, f"  Ctrl-C stops it; {going_on}"])

    def _tell_when_ready(self) -> None:
        now = time.time()
        if self._is_ready or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        has_worker = is_awake = False
        with contextlib.suppress(StoreUnavailable):
            has_worker = any(report.state == "ready" for report in self.store.workers(self._began))
            is_awake = self._is_scaled and not has_worker and self._can_wait_for_workers()
        self._is_ready = has_worker or is_awake
        if self._is_ready:
            how = " with no worker yet, and the first job starts one" if is_awake else ""
            said = EXAMPLE.format(url=self.url, key=self._key)
            say.note(f"ready after {now - self._began:.1f} s{how}; try:\n{said}")

    def _can_wait_for_workers(self) -> bool:
        """Whether the fleet runs, and keeps nobody warm: then nobody is waited for."""
        note = read_note(self.store.fleet_note())
        if note is None or note.at < self._began:
            return False
        return note.can_start and not any(pool.wanted for pool in note.pools)


def pools_said(settings: Settings) -> str:
    """The pools in a line, with how many workers each may have."""
    assert settings.fleet is not None
    pools = [f"{name} {said.min_workers} to {said.max_workers}" for name, said in settings.fleet.pools.items()]
    return f"as the work asks for them: {', '.join(pools)}"


def listen_at(settings: Settings, host: str | None, port: int | None) -> socket.socket:
    """A listening socket at the address that was said or set; raises `BadInput` where that cannot be."""
    host, port = host or settings.serve.host, settings.serve.port if port is None else port
    if port not in range(MAX_PORT + 1):
        raise BadInput(f"port must be a number from 0 to {MAX_PORT}, not {port}", field="port")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            said = f"port {port} of {host} is taken: give another --port, or 0 for a free one"
            raise BadInput(said, field="port") from error
        if isinstance(error, socket.gaierror):
            raise BadInput(f"{host} is no address of this machine: {error.strerror}", field="host") from error
        why = os.strerror(error.errno or 0)  # the error's own text says the address once more
        field = "host" if error.errno == errno.EADDRNOTAVAIL else "port"
        raise BadInput(f"{host}:{port} cannot be listened on: {why}; give another --{field}", field=field) from error


def make_home(home: Path) -> None:
    """The folder for what Darkroom writes; raises `OutputNotWritable`."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"{home} cannot be made: {error.strerror}; set DARKROOM_HOME", field="home") from error
