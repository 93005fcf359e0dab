"""`darkroom fleet top`: the fleet in a terminal, a frame a second."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from ..client.blocking import Client
from ..errors import Unavailable
from .fleet_frame import Room, Seen, frame
from .remote import connect

EVERY_S = 1.0
WINDOW_S = 3600
MOST_JOBS = 100  # running ones that are asked for
QUIT = ("q", "Q", "\x03")
UNDER_PIPE = 40  # lines where there is no terminal

Pressed = Callable[[float], str]


def top(
    is_once: Annotated[bool, typer.Option("--once", help="Print one frame and stop.")] = False,
) -> None:
    """Watch queue, workers, running jobs, cost and failures of a running service; q quits. For operators."""
    with connect() as client:
        seen, console = look(client), Console(highlight=False)
        if is_once or not console.is_terminal:
            console.print(frame(seen, room_of(console)))
            return
        with keys() as pressed, contextlib.suppress(KeyboardInterrupt):
            watch(client, seen, console, pressed)


def watch(client: Client, seen: Seen, console: Console, pressed: Pressed) -> None:
    """Draw until a key says that it is enough; while the service is away the last frame stays, with the reason."""
    fault = None
    with Live(frame(seen, room_of(console)), console=console, screen=True, auto_refresh=False) as live:
        while pressed(EVERY_S) not in QUIT:
            try:
                seen, fault = look(client), None
            except Unavailable as error:
                fault = f"{error.message}; this was {time.time() - seen.at:.0f} s ago"
            live.update(frame(seen, room_of(console), fault), refresh=True)


def look(client: Client) -> Seen:
    """Ask the service once; raises what it refuses with."""
    fleet, workers = client.fleet(WINDOW_S), client.workers()
    running = client.page(state="running", limit=MOST_JOBS).jobs if fleet["queue"]["running"] else ()
    return Seen(client.url, fleet, workers, running, time.time())


def room_of(console: Console) -> Room:
    """The terminal's, as it is now."""
    return Room(console.width, console.height if console.is_terminal else UNDER_PIPE)


@contextlib.contextmanager
def keys() -> Iterator[Pressed]:
    """Waits for a key at most so many seconds, and says which ("": none); without a terminal it only waits."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    import termios  # not on every system, and nothing else needs it
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _key(wait_s: float) -> str:
    readable, _, _ = select.select([sys.stdin], [], [], wait_s)
    return sys.stdin.read(1) if readable else ""


def _no_key(wait_s: float) -> str:
    time.sleep(wait_s)
    return ""
