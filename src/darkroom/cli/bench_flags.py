"""The flags of `darkroom bench` as what to measure; whatever cannot be is refused with the flag to blame."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..bench.bench import Asked
from ..bench.dialects import Dialect, open_native, open_openai
from ..bench.plan import PROMPTS, Arrivals, Crowd, Mix, Pattern, Size
from ..bench.replay import Replay
from ..bench.template import Plain, read_template
from ..errors import BadInput, OutputNotWritable
from ..storage import files
from ..traces import Request, read_trace, synthetic

DEFAULT_LOAD = 0.7
DEFAULT_REQUESTS = 50
SYNTHETIC = re.compile(r"synthetic(?::([0-9]{1,4}))?")
SYNTHETIC_DAYS, MOST_DAYS = 21, 60
SIDE = 8192  # pixels
FLAGS = {"map_models": "--map", "json_file": "--json"}  # where a parameter is named otherwise
WITHOUT_A_RUN = {"--compare": ("compare", "html"), "--save-trace": ("save_trace", "trace", "seed")}
POSITIVE = ("requests", "duration", "burst_size", "spike", "users", "compress", "price_per_hour")


@dataclass(frozen=True)
class Said:
    """The flags as they were typed; docs/reference/cli.md says what each means."""

    arrivals: Pattern | None = None
    rate: str | None = None
    load: str | None = None
    requests: int | None = None
    duration: float | None = None
    burst_size: int = 8
    ramp_from: float = 0.0
    spike: float = 10.0
    users: int | None = None
    think: float = 0.0
    trace: str | None = None
    compress: float = 1.0
    map_models: list[str] | None = None
    save_trace: Path | None = None
    steps: str = "4,8,20"
    guidance: str | None = None
    size: str | None = None
    adapters: str | None = None
    model: str | None = None
    images: int = 1
    prompts: Path | None = None
    seed: int = 0
    api: str | None = None
    template: Path | None = None
    url: str | None = None
    price_per_hour: float | None = None
    json_file: Path | None = None
    html: Path | None = None
    compare: tuple[Path, Path] | None = None

    def is_given(self, name: str) -> bool:
        """Whether a flag says something else than nothing, or an empty list of them."""
        value, default = getattr(self, name), self.__dataclass_fields__[name].default
        return bool(value != default and value != [])


def check_outputs(said: Said) -> None:
    """Raise `OutputNotWritable` for a file that cannot be written; said before the work, not after it."""
    for name in ("json_file", "html", "save_trace"):
        path = getattr(said, name)
        try:
            if path is not None:
                files.check_writable(path)
        except OutputNotWritable as error:
            error.field = _flag(name)
            raise


def check_alone(said: Said, flag: str) -> None:
    """Raise `BadInput` where `--compare` or `--save-trace` comes with flags of a run."""
    for each in fields(said):
        if each.name not in WITHOUT_A_RUN[flag] and said.is_given(each.name):
            raise BadInput(f"{flag} measures nothing: leave out {_flag(each.name)}", field=_flag(each.name))


def asked_of(said: Said) -> Asked:
    """What to measure. Raises `BadInput`."""
    _check(said)
    mix = _mix(said)
    about: dict[str, Any] = {"seed": said.seed, "price_per_hour_usd": said.price_per_hour}
    if said.trace is not None:
        replay = Replay(said.trace, said.compress, said.requests, said.duration, _mapping(said.map_models or ()))
        return Asked(replay, mix, trace=trace_of(said), **about)
    count = DEFAULT_REQUESTS if said.requests is None and said.duration is None else said.requests
    if said.users is not None:
        most = count if said.requests is not None or count is None else max(count, said.users)
        return Asked(Crowd(said.users, most, said.duration, said.think), mix, **about)
    rates = _numbers("rate", said.rate)
    loads = _numbers("load", said.load) if said.rate is None else ()
    loads = loads or (() if rates else (DEFAULT_LOAD,))
    pattern = said.arrivals or "poisson"
    first = rates[0] if rates else 1.0
    arrivals = Arrivals(pattern, first, count, said.duration, said.burst_size, said.ramp_from, said.spike)
    return Asked(arrivals, mix, rates=rates, loads=loads, **about)


def dialect_of(said: Said) -> Dialect:
    """The service, in the words that it understands. Raises `BadInput`."""
    if said.template is not None:
        return Plain(read_template(said.template))
    return open_openai(said.url) if said.api == "openai" else open_native(said.url)


def trace_of(said: Said) -> list[Request]:
    """The requests of `--trace`. Raises `BadInput`."""
    if said.trace is None:
        raise BadInput("--save-trace needs --trace, such as --trace synthetic", field="--trace")
    drawn = SYNTHETIC.fullmatch(said.trace)
    if drawn is None:
        return read_trace(Path(said.trace), "--trace", has_run=False)
    days = int(drawn[1] or SYNTHETIC_DAYS)
    if not 1 <= days <= MOST_DAYS:
        raise BadInput(f"--trace synthetic:DAYS takes 1 to {MOST_DAYS} days, not {days}", field="--trace")
    return synthetic(days, seed=said.seed)


def _check(said: Said) -> None:
    for name in POSITIVE:
        _check_positive(name, getattr(said, name))
    for name, most in (("think", math.inf), ("ramp_from", 1.0)):
        if not 0 <= getattr(said, name) <= most or getattr(said, name) == math.inf:
            bound = "" if most == math.inf else f" to {most:g}"
            raise BadInput(f"{_flag(name)} must be from 0{bound}", field=_flag(name))
    for first, *others in (
        ("rate", "load"),
        ("requests", "duration"),
        ("users", "rate", "load", "arrivals"),
        ("trace", "rate", "load", "arrivals", "users"),
        ("trace", "steps", "images"),
        ("template", "api", "url", "adapters"),
    ):
        _check_one(said, first, others)
    for name, needed in (("compress", "trace"), ("map_models", "trace"), ("think", "users")):
        if said.is_given(name) and getattr(said, needed) is None:
            raise BadInput(f"{_flag(name)} needs --{needed}", field=_flag(name))
    for name, pattern in (("burst_size", "burst"), ("ramp_from", "ramp"), ("spike", "spike")):
        if said.is_given(name) and said.arrivals != pattern:
            raise BadInput(f"{_flag(name)} needs --arrivals {pattern}", field=_flag(name))


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise BadInput(f"{_flag(name)} must be above 0, not {value:g}", field=_flag(name))


def _check_one(said: Said, first: str, others: list[str]) -> None:
    for other in others:
        if said.is_given(first) and said.is_given(other):
            raise BadInput(f"give {_flag(first)} or {_flag(other)}, not both", field=_flag(other))


def _mix(said: Said) -> Mix:
    adapters = tuple(dict.fromkeys(part.strip() for part in (said.adapters or "").split(",") if part.strip()))
    guidance = _numbers("guidance", said.guidance, least=0.0)
    return Mix(
        _parse_steps(said.steps),
        _read_prompts(said.prompts),
        said.images,
        said.model,
        guidance,
        _parse_sizes(said.size),
        adapters,
    )


def _numbers(name: str, said: str | None, least: float = 1e-9) -> tuple[float, ...]:
    if said is None:
        return ()
    try:
        found = tuple(float(part) for part in said.split(","))
    except ValueError:
        found = ()
    if not found or not all(least <= value < math.inf for value in found):
        allowed = "0 or more" if least == 0.0 else "above 0"
        raise BadInput(f"--{name} must be numbers {allowed} with commas between, not {said!r}", field=f"--{name}")
    return found


def _parse_steps(said: str) -> tuple[int, ...]:
    parts = [part.strip() for part in said.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part[:9]) <= 1000 for part in parts):
        raise BadInput(f"--steps must be step counts from 1 to 1000 with commas between, not {said!r}", field="--steps")
    return tuple(int(part) for part in parts)


def _parse_sizes(said: str | None) -> tuple[Size, ...]:
    if said is None:
        return ()
    found = [re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", part.strip()) for part in said.split(",")]
    sizes = tuple((int(each[1]), int(each[2])) for each in found if each is not None)
    if len(sizes) < len(found) or not all(1 <= side <= SIDE for size in sizes for side in size):
        raise BadInput(f"--size must be sizes such as 512x512 with commas between, not {said!r}", field="--size")
    return sizes


def _mapping(said: list[str] | tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {}
    for each in said:
        name, sign, models = (part.strip() for part in each.partition("="))
        parts = tuple(model.strip() for model in models.split(","))
        if not name or not sign or not all(parts):
            raise BadInput(f"--map must be NAME=MODEL, or several models with commas, not {each!r}", field="--map")
        found[name] = parts
    return found


def _read_prompts(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return PROMPTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}", field="--prompts") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise BadInput(f"{path} has no prompt in it", field="--prompts")
    return found


def _flag(name: str) -> str:
    return FLAGS.get(name, f"--{name.replace('_', '-')}")
