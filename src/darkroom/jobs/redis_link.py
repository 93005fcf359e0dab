"""The way to one Redis: a pool of connections for many threads, scripts by name, waiting, and what its faults mean.

Every command may be sent again when a connection breaks: reads change nothing, scripts are made so that a second run
after a first that did happen changes nothing more (lua/*.lua say how). So a short absence of Redis, a restart or a
failover, is waited out; after `timeout_s` it is `StoreUnavailable`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import redis
from redis import exceptions as faults
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import DarkroomError, InvalidConfig, InvariantBroken, StoreUnavailable

SHEBANG = "#!lua\n"  # Redis 7: a script that may write is refused as a whole where memory or disk is full
PREFIX = re.compile(r"[A-Za-z0-9_.{}-]{1,64}")
SHAPES = "redis://[USER:PASSWORD@]HOST:PORT/DB, rediss://… or unix:///PATH?db=DB, with ?prefix=NAME"
OPTIONS = frozenset({"prefix", "db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "client_name"})
CONNECTIONS = 128  # a process's, at most; each thread that waits holds one
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
LAYOUT, EARLIER = "2", "1"  # of the keys: ours, and the one that is made ours; another one is another release's
PORTION = 500  # queued jobs that one script lays out anew

Answer = TypeVar("Answer")

# What goes by itself: Redis is starting, failing over, or busy. The driver has classes for some replies, and takes the
# code off those; of the others the text begins with it.
AWAY = (faults.ConnectionError, faults.TimeoutError, faults.ReadOnlyError, faults.ClusterDownError)
AWAY_CODES = ("BUSY ", "NOREPLICAS ")
CLUSTER = "it is a Redis Cluster, which is not supported: name a single server"
STANDING: tuple[tuple[type[Exception], str], ...] = (
    (faults.AuthenticationError, "it refuses the user name or password, or wants one"),
    (faults.NoPermissionError, "its ACL does not let us: docs/architecture/03-redis.md says what we need"),
    (faults.OutOfMemoryError, "its memory is full (maxmemory): give it more, or keep jobs for a shorter time"),
    (faults.MovedError, CLUSTER),
    (faults.ClusterCrossSlotError, CLUSTER),
)
STANDING_WORDS = (
    ("MISCONF", "it cannot write to its disk: its log says why"),
    ("do not hash to the same slot", CLUSTER),
)


class Link:
    """Commands and scripts on the Redis at `url`; nothing is reached before the first."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        parts, options = _read(url)
        self.prefix = options.pop("prefix", "darkroom") + ":"
        self.place = _place(parts)
        self._timeout_s = timeout_s
        self._is_known, self._healed = False, ""  # the second: the start of Redis whose file is known to be whole
        self._closed = threading.Event()
        self._connect = functools.partial(_pool, parts, options, timeout_s, self._meet)
        self._client = self._new_client()

    def _new_client(self) -> redis.Redis:
        client = redis.Redis(connection_pool=self._connect())
        client.response_callbacks.clear()  # answers as Redis gives them
        return client

    def key(self, *parts: str) -> str:
        """The key of that name; parts are joined by colons."""
        return self.prefix + ":".join(parts)

    def call(self, *words: str | float) -> Any:
        """One command's answer."""
        return self._ask(lambda: self._client.execute_command(*words))

    def call_all(self, *commands: tuple[str | float, ...]) -> list[Any]:
        """The answers to several commands that nothing comes between."""

        def ask() -> list[Any]:
            with self._client.pipeline(transaction=True) as pipe:
                for words in commands:
                    pipe.execute_command(*words)
                return pipe.execute()

        return self._ask(ask)

    def run(self, name: str, *words: str | float) -> Any:
        """What the script lua/`name`.lua answers; `words` are its ARGV behind the prefix."""
        return self._ask(lambda: self._evaluate(name, *words))

    def _evaluate(self, name: str, *words: str | float) -> Any:
        text, digest = script(name)
        arguments = (1, self.key("queue"), self.prefix, *words)
        try:
            return self._client.execute_command("EVALSHA", digest, *arguments)
        except faults.NoScriptError:
            self._client.execute_command("SCRIPT LOAD", text)
            return self._client.execute_command("EVALSHA", digest, *arguments)

    def read(self, stream: str, after: str, most: int, timeout_s: float = 0.0, is_sharp: bool = False) -> list[Any]:
        """Entries of a stream after that id, `[id, [field, value, …]]`, waiting up to `timeout_s` for one.

        Redis looks at the times of those who wait every 100 ms. `is_sharp` keeps the time here instead, and costs the
        connection: nothing else takes back a command that was sent.
        """
        until = time.monotonic() + timeout_s

        def ask() -> list[Any]:
            left_s = until - time.monotonic()
            wait = ("BLOCK", int((left_s + is_sharp) * 1000) + 1) if left_s > 0 else ()
            words = ("XREAD", "COUNT", most, *wait, "STREAMS", stream, after)
            answer = self._answer_within(words, max(0.0, left_s), is_sharp and left_s > 0)
            return list(answer[0][1]) if answer else []

        return self._ask(ask, waits=True)

    def _answer_within(self, words: tuple[str | float, ...], wait_s: float, is_sharp: bool) -> Any:
        """The answer to a command that may take its time; a sharp one is not waited for longer."""
        pool = self._client.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_command(*words)
            if connection.can_read(timeout=wait_s if is_sharp else wait_s + self._timeout_s / 2):
                return connection.read_response()
            if not is_sharp:
                raise faults.TimeoutError("no answer")
            connection.disconnect()
            return None
        except BaseException:
            connection.disconnect()  # what it would still answer must not meet the next command
            raise
        finally:
            pool.release(connection)

    def settings(self, names: Sequence[str]) -> dict[str, str] | None:
        """Settings of Redis itself; None where it does not let us see them, as many hosts of it do not."""
        flat = self._ask(lambda: _if_allowed(self._client.execute_command, "CONFIG GET", *names))
        return None if flat is None else dict(zip(flat[::2], flat[1::2], strict=True))

    def facts(self, section: str = "default") -> dict[str, str]:
        """What INFO says, as far as we may see it."""
        return _facts_in(self._ask(lambda: _if_allowed(self._client.execute_command, "INFO", section)))

    def heal_log(self) -> None:
        """After a start of Redis, have it write its append-only file anew, if we may; asked often, done once a start.

        A power cut or kill -9 can tear the last transaction of the file. Redis does not run that, but leaves its
        beginning in the file, and would run it together with the next one at the start after (valkey-io/valkey#4342).
        """
        self._ask(lambda: self._heal_log(self._client.execute_command))

    def _meet(self, connection: redis.Connection) -> None:
        """A new connection: what is at its other end may have started since the last, and hears that first."""
        connection.on_connect()

        def ask(*words: str) -> Any:
            connection.send_command(*words, check_health=False)
            return connection.read_response()

        if self._is_known:
            self._heal_log(ask)

    def _heal_log(self, ask: Callable[..., Any]) -> None:
        run = _facts_in(_if_allowed(ask, "INFO", "server")).get("run_id", "")
        if not run or run == self._healed:
            return
        try:
            if ask("GET", self.key("run")) != run:
                ask("BGREWRITEAOF")
        except faults.ResponseError as error:
            if not _is_settled(error):
                return  # tried again: by the next connection, or by the keeper
        self._healed = run
        _if_allowed(ask, "SET", self.key("run"), run)

    def close(self) -> None:
        """Let go of the connections; whoever still waits is told."""
        self._closed.set()
        self._client.connection_pool.disconnect()

    def _ask(self, ask: Callable[[], Answer], waits: bool = False) -> Answer:
        """The answer, asked for again while Redis is away for a moment; one that waits may take long before that."""
        until = None if waits else time.monotonic() + self._timeout_s
        pause_s = FIRST_PAUSE_S
        while True:
            if self._closed.is_set():
                raise StoreUnavailable("the job store was closed")
            try:
                if not self._is_known:
                    self._greet()
                return ask()
            except faults.RedisError as error:
                until = until or time.monotonic() + self._timeout_s
                if not _is_passing(error) or time.monotonic() + pause_s >= until:
                    raise self._named(error) from None  # the driver's own text may quote what we sent
                if isinstance(error, faults.ReadOnlyError):
                    self._client = self._new_client()  # the old connections lead to a primary that is one no longer
            except (AttributeError, OSError, ValueError):
                if not self._closed.is_set():
                    raise
                continue  # its connection was closed under it, by `close` in another thread
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _greet(self) -> None:
        """Make sure, once, that the keys there are laid out as ours."""
        layout = self._client.execute_command("GET", self.key("layout"))
        if layout is None:
            self._client.execute_command("SETNX", self.key("layout"), LAYOUT)
            layout = self._client.execute_command("GET", self.key("layout"))
        if layout == EARLIER:
            while self._evaluate("upgrade", PORTION):
                pass
            layout = self._client.execute_command("GET", self.key("layout"))
        if layout != LAYOUT:
            said = f"the jobs in {self.place} are laid out as {layout!r}, and this release knows {LAYOUT!r}"
            raise InvalidConfig(f"{said}: use another prefix, or the release that wrote them", field="serve.store")
        self._heal_log(self._client.execute_command)
        self._is_known = True

    def _named(self, error: faults.RedisError) -> DarkroomError:
        said = str(error)
        reasons = [text for kind, text in STANDING if isinstance(error, kind)]
        reasons += [text for word, text in STANDING_WORDS if word in said]
        if reasons:
            return self._unavailable(f"the job store does not take this: {reasons[0]}")
        if "compiling script" in said or "shebang" in said:
            return InvalidConfig(f"{self.place}: Redis 7.0 or newer is needed, or Valkey", field="serve.store")
        if _is_passing(error):
            return self._unavailable("the job store does not answer: is Redis up, and reachable from here?")
        return InvariantBroken(f"the job store answered: {said}")

    def _unavailable(self, why: str) -> StoreUnavailable:
        error = StoreUnavailable(why)
        error.add_note(f"store: {self.place}")  # for logs: the message goes to clients, who need not know where
        return error


def token() -> str:
    """Tells one call from another, for scripts that must not do twice what they are asked for twice."""
    return uuid.uuid4().hex


@functools.cache
def script(name: str) -> tuple[str, str]:
    """A script with what all share in front of it, and its SHA-1, by which Redis knows it."""
    folder = resources.files(__package__) / "lua"
    text = SHEBANG + "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name))
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _if_allowed(ask: Callable[..., Any], *words: str) -> Any:
    """The answer; None where it is refused."""
    try:
        return ask(*words)
    except faults.ResponseError:
        return None


def _facts_in(told: Any) -> dict[str, str]:
    return dict(line.split(":", 1) for line in str(told or "").splitlines() if ":" in line)


def _is_settled(error: faults.ResponseError) -> bool:
    """Whether asking again would change nothing: we may not, or it is being done."""
    said = str(error)
    return isinstance(error, faults.NoPermissionError) or "unknown command" in said or "already in progress" in said


def _is_passing(error: faults.RedisError) -> bool:
    """Whether the same may go well in a moment."""
    if isinstance(error, faults.AuthenticationError):  # a kind of ConnectionError to the driver
        return False
    return isinstance(error, AWAY) or str(error).startswith(AWAY_CODES)


def _read(url: str) -> tuple[SplitResult, dict[str, str]]:
    """The URL's parts and its options, all known; a message never quotes it, since it may hold a secret."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError:
        raise _invalid("it is no URL, or its port is no number") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise _invalid("its scheme is another")
    for name in options:
        if name not in OPTIONS:
            raise _invalid(f"{name!r} in the query is not known; known are {', '.join(sorted(OPTIONS))}")
    db = options.get("db", parts.path.strip("/") if parts.scheme != "unix" else "")
    if db and not db.isdecimal():
        raise _invalid("the database must be a number")
    if not PREFIX.fullmatch(options.get("prefix", "darkroom")):
        raise _invalid("prefix may have letters, digits, '.', '_', '-', '{' and '}', 64 at most")
    return parts, options


def _place(parts: SplitResult) -> str:
    """Where it is, for people: without user and password."""
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "localhost"
    return f"{parts.scheme}://{host}:{parts.port or 6379}/{parts.path.strip('/') or 0}"


def _pool(
    parts: SplitResult, options: dict[str, str], timeout_s: float, meet: Callable[[redis.Connection], None]
) -> redis.BlockingConnectionPool:
    half_s = timeout_s / 2  # so that one silence leaves time for a second try
    on_tcp = {} if parts.scheme == "unix" else {"socket_keepalive": True}
    try:
        pool = redis.BlockingConnectionPool.from_url(
            f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(options)}",
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=half_s,
            socket_connect_timeout=half_s,
            health_check_interval=30,  # seconds; firewalls forget connections that are silent
            protocol=2,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),  # `_ask` does that, with an end to it
            redis_connect_func=meet,
            **on_tcp,
        )
        pool.make_connection()
    except (ValueError, TypeError, faults.RedisError):
        raise _invalid("the driver does not take it") from None
    return pool


def _invalid(why: str) -> InvalidConfig:
    return InvalidConfig(f"store: {why}; allowed: {SHAPES}", field="serve.store")
