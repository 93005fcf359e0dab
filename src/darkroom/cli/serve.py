"""`darkroom serve`: a gateway and its workers on this machine, kept alive until Ctrl-C."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..app import store_of
from ..config import Settings
from ..errors import BadInput, OutputNotWritable, StoreUnavailable
from ..fleet.supervisor import Child, Supervisor
from ..jobs.opening import hide_password
from ..jobs.store import Store
from ..models.catalogue import catalogue, narrow
from . import say
from .start import ConfigOption, start

DARKROOM = (sys.executable, "-m", "darkroom")
BACKLOG = 2048  # connections that wait while the gateway restarts
STOP_MARGIN_S = 10.0  # beyond drain_s, before a worker that does not end is killed
LOOK_S = 0.2
EXAMPLE = """  curl {url}/v1/jobs -H 'Content-Type: application/json' -H 'Prefer: wait=60' \\
    -d '{{"input": {{"prompt": "A beautiful sunset over mountains", "preset": "fast"}}}}'"""
HostOption = Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")]


def serve(
    host: HostOption = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.", show_default="8188")] = None,
    model: Annotated[
        str | None, typer.Option(help="Serve this model alone: a name or a path.", show_default="all")
    ] = None,
    is_insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen where others reach it, without API keys.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Start the service with its workers, say where it is, and keep it running until Ctrl-C."""
    settings = narrow(start(config)[0], model)
    _make_home(settings.home)
    flags = {"--config": config, "--model": model}
    arguments = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
    listener = listen_at(settings, host, port, is_insecure=is_insecure)
    with contextlib.closing(store_of(settings)) as store:
        House(settings, store, listener, arguments).run()


class House:
    """The processes of one box: children to supervise, and what is said of them."""

    def __init__(self, settings: Settings, store: Store, listener: socket.socket, arguments: Sequence[str]) -> None:
        self.settings, self.store, self.listener, self._arguments = settings, store, listener, arguments
        self._ids: dict[str, str] = {}
        self._began, self._is_ready, self._look_at = time.time(), False, 0.0

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        host, port = self.listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self) -> None:
        """Start everything, keep it alive until a signal, stop it in order."""
        count = self.settings.serve.workers or max(1, accelerators())
        supervisor = Supervisor([self._gateway(), *(self._worker(k) for k in range(count))], say.note, time.monotonic)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: supervisor.ask_stop())
        say.note(self._screen(count))
        supervisor.start()
        try:
            supervisor.run(self._tell_when_ready)
        finally:
            say.note("stopping: workers finish what fits, and hand back the rest")
            supervisor.stop()
            say.note("stopped")

    def _gateway(self) -> Child:
        fd = self.listener.fileno()
        return Child("gateway", lambda: [*DARKROOM, "gateway", "--fd", str(fd), *self._arguments], fds=(fd,))

    def _worker(self, number: int) -> Child:
        name = f"worker-{number}"

        def command() -> list[str]:
            # A fresh id for each life: what its former life held is then nobody's but the dead one's.
            self._ids[name] = f"{name}-{secrets.token_hex(4)}"
            return [*DARKROOM, "worker", "--id", self._ids[name], *self._arguments]

        environment = {"CUDA_VISIBLE_DEVICES": str(number)} if accelerators() > 1 else {}
        stop_s = self.settings.serve.drain_s + STOP_MARGIN_S
        return Child(name, command, lambda code: self._release(name), environment=environment, stop_s=stop_s)

    def _release(self, name: str) -> None:
        try:
            self.store.release_worker(self._ids[name], "its worker ended", time.time())
        except StoreUnavailable as error:
            say.problem(f"{name}'s jobs come back when their leases end: {error.message}")

    def _screen(self, count: int) -> str:
        settings = self.settings
        said = {
            "API": f"{self.url}/v1   (what it takes: {self.url}/docs)",
            "models": ", ".join(settings.serve.models) or ", ".join(catalogue(settings).entries),
            "workers": f"{count} on this machine",
            "home": str(settings.home),
            "jobs": hide_password(settings.store_url),
            "images": hide_password(settings.storage_url),
            "settings": str(settings.config_file or "defaults; there is no darkroom.toml here"),
        }
        lines = [f"  {name:9} {value}" for name, value in said.items()]
        risks = [f"  note      {risk}" for risk in self.store.settings_risks()]
        return "\n".join([f"Darkroom {__version__}", *lines, *risks, "  Ctrl-C stops it; loading the models..."])

    def _tell_when_ready(self) -> None:
        now = time.time()
        if self._is_ready or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        with contextlib.suppress(StoreUnavailable):
            self._is_ready = any(report.state == "ready" for report in self.store.workers(self._began))
        if self._is_ready:
            say.note(f"ready after {now - self._began:.1f} s; try:\n{EXAMPLE.format(url=self.url)}")


def accelerators() -> int:
    """How many NVIDIA devices this machine has, without importing torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen_at(settings: Settings, host: str | None, port: int | None, *, is_insecure: bool) -> socket.socket:
    """A listening socket at the address that was said or set; raises `BadInput` where it may not or cannot be."""
    host, port = host or settings.serve.host, settings.serve.port if port is None else port
    if not is_loopback(host) and not is_insecure:
        raise BadInput(
            f"{host} can be reached by others, and there are no API keys: listen on 127.0.0.1 behind a proxy that asks "
            "who calls, or say --insecure",
            field="host",
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        said = f"{host}:{port} cannot be listened on: {error.strerror}; take another --port, or 0 for a free one"
        raise BadInput(said, field="port") from error


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"{home} cannot be made: {error.strerror}; set DARKROOM_HOME", field="home") from error
