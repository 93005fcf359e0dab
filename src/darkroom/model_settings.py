"""Settings that say what is served: models, their presets, and adapters. config.py reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .access_settings import Frozen
from .core import MAX_WEIGHT as MAX_WEIGHT

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # of adapters as well
SAID_NAME = "lower-case letters, digits, '.', '_' and '-', at most 64"
MAX_ROWS = 64  # rows of one forward in reproducible mode
MAX_ADAPTERS = 8  # of one request


def _pair(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("a size is [width, height] in pixels")
    return tuple(value)


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"must be a power of two from 1 to {MAX_ROWS}")
    return value


Side = Annotated[int, Field(ge=8, le=8192)]
Size = Annotated[tuple[Side, Side], BeforeValidator(_pair)]
# Threads divide the rows of a forward evenly, or a row's bits would depend on its place.
PowerOfTwo = Annotated[int, Field(ge=1, le=MAX_ROWS), AfterValidator(_power_of_two)]
# A function that is served as a model: `module:function`, or with the module's file.
FUNCTION = re.compile(r"(?P<place>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_]\w*)")
DeviceName = Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d{1,2})?)$")]
HUB_ID = re.compile(r"(?!\.{1,2}/)[\w.-]+/[\w.-]+")
# A name and a password in an URL would be secrets where nobody expects any.
PlainUrl = Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$")]
MODEL_PATHS = ("path", "file", "config", "safety_checker", "t2i_adapter", "ip_adapter", "api_key_file")
Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class PresetSettings(Frozen):
    """Named settings of a model; what is left out is the pipeline's own default."""

    num_inference_steps: int = Field(ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0, le=50, allow_inf_nan=False)
    solver: str | None = None
    adapters: dict[str, Weight] = Field(default_factory=dict, max_length=MAX_ADAPTERS)


PLAIN_KEYS = ("pipeline", "reproducible_rows")
REMOTE_KEYS = ("remote", "remote_model", "api_key_file", "api_key_env")


class ModelSettings(Frozen):
    """One `[models.NAME]` of darkroom.toml; docs/guides/models.md explains each key."""

    path: Path | None = None
    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = None
    file: Path | None = None
    config: Path | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: dict[str, DeviceName] = Field(default_factory=dict)  # of single components
    offload: Literal["none", "model", "blocks"] = "none"
    read_ahead: bool = True
    compile: bool = False
    channels_last: bool = False
    attention: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,64}$")
    float8: bool = False
    step_cache: float | None = Field(default=None, gt=0, le=1)  # a threshold
    easy_cache: float | None = Field(default=None, gt=0, le=1)  # the same
    pipeline: str | None = None
    presets: dict[str, PresetSettings] = Field(default_factory=dict)
    sizes: tuple[Size, ...] = ()
    default_size: Size | None = None
    reproducible_rows: PowerOfTwo | None = None
    allow_pickle: bool = False
    trust_remote_code: bool = False
    safety_checker: Path | None = None
    vae_tiling: bool = False
    controlnet: str | None = Field(default=None, min_length=1)
    controlnet_revision: str | None = Field(default=None, min_length=1)
    t2i_adapter: Path | None = None
    ip_adapter: Path | None = None
    refiner: str | None = Field(default=None, min_length=1)
    remote: PlainUrl | None = Field(default=None, repr=False)
    remote_model: str | None = Field(default=None, min_length=1, max_length=200)
    api_key_file: Path | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("path", "hub", "file", "remote") if getattr(self, name) is not None]
        if not given and self.function is not None:
            self._check_plain()
            return self
        if len(given) != 1:
            said = "give exactly one of path, hub, file, remote"
            function = "a function is named by pipeline = 'module:function' alone"
            raise ValueError(f"{said}; given: {', '.join(given) or 'none'}; {function}")
        self._check_remote()
        if self.revision is not None and self.hub is None:
            raise ValueError("revision goes with hub only; a folder or a file is known by the hash of its weights")
        if self.config is not None and self.file is None:
            raise ValueError("config goes with file only")
        if self.controlnet_revision is not None and not HUB_ID.fullmatch(self.controlnet or ""):
            raise ValueError("controlnet_revision goes with a controlnet from the hub only, such as owner/name")
        if self.controlnet is not None and self.t2i_adapter is not None:
            raise ValueError("give controlnet or t2i_adapter, not both: both read a request's control_image")
        if self.offload != "none" and self.device == "cpu":
            raise ValueError("offload is for an accelerator; with device cpu the host's memory is the device's")
        self._check_copied()
        if self.sizes and self.default_size and self.default_size not in self.sizes:
            raise ValueError("default_size must be one of sizes")
        return self

    def _check_copied(self) -> None:
        """What works on copies of modules, whose weights hooks then must not cast or move."""
        copying = [name for name in ("ip_adapter", "step_cache") if getattr(self, name) is not None]
        moving = [name for name in ("float8", "offload") if getattr(self, name) not in (False, "none")]
        if self.step_cache is not None and self.easy_cache is not None:
            raise ValueError("give step_cache or easy_cache, not both: each leaves out what the other measures")
        if copying and moving:
            raise ValueError(
                f"{copying[0]} works on copies of modules, and {moving[0]} on the originals: leave one out"
            )

    @property
    def function(self) -> tuple[Path, str] | None:
        """The file and the name of a function that is served as a model; None where `pipeline` is a class's name."""
        found = FUNCTION.fullmatch(self.pipeline or "")
        if found is None:
            return None
        place = found["place"]
        return Path(place if place.endswith(".py") else f"{place.replace('.', '/')}.py"), found["name"]

    def placed(self, base: Path) -> Self:
        """With a function's file, and a relative path as `controlnet`, made absolute below `base`.

        A ControlNet of the hub names its revision: a misspelt folder must not become somebody else's weights.
        """
        if self.function is not None:
            file, name = self.function
            return self.model_copy(update={"pipeline": f"{base / file.expanduser()}:{name}"})
        if self.controlnet is None or self.controlnet_revision is not None:
            return self
        return self.model_copy(update={"controlnet": str(base / Path(self.controlnet).expanduser())})

    def _check_plain(self) -> None:
        others = self.model_fields_set - set(PLAIN_KEYS)
        if others:
            said = "is for the models to say that the function calls; beside pipeline goes"
            raise ValueError(f"{min(others)} {said} {', '.join(PLAIN_KEYS[1:])}")

    def _check_remote(self) -> None:
        others = self.model_fields_set - set(REMOTE_KEYS)
        if self.remote is not None and others:
            allowed = ", ".join(REMOTE_KEYS[1:])
            raise ValueError(f"{min(others)} is for the other Darkroom to say; with remote go {allowed}")
        alone = [name for name in REMOTE_KEYS if getattr(self, name) is not None]
        if self.remote is None and alone:
            raise ValueError(f"{alone[0]} goes with remote only")
        if self.api_key_file is not None and self.api_key_env is not None:
            raise ValueError("give api_key_file or api_key_env, not both")


class AdapterSettings(Frozen):
    """One `[adapters.NAME]` of darkroom.toml: a safetensors file, or a folder with one; `model` None is the default."""

    path: Path
    model: str | None = None
