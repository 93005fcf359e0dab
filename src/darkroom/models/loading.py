"""A pipeline from a catalogue entry, through diffusers' own loading; what goes wrong gets a name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
from safetensors import SafetensorError

from ..errors import CorruptWeights, InvalidConfig, MissingWeights, UnsafeWeights
from . import ip_adapter, read_ahead, t2i_adapter
from .catalogue import HUB, Entry
from .checking import Checker, calls_its_own, followed_by, has_own, load_checker, with_own, without_own
from .controlnet import FIELD
from .device import Placement, place
from .laying import device_map_of, lay
from .layout import Layout, layout_from, read_layout
from .offer import Offer, offer_of, plain_offer
from .tuning import tune
from .weights import variant_of_component
from .window import Window, windows_of_folder, windows_of_pipeline

# What diffusers and transformers raise for files that are not what a configuration says.
LOADING_FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, SafetensorError)
LOUD_LOGGERS = (
    "diffusers.models.modeling_utils",
    "transformers.modeling_utils",
    "transformers.utils.loading_report",
    "transformers.distributed.tensor_parallel",  # it warns of each layer that lies whole on its one device
)
# Which pipeline a single file is for, by what diffusers takes its keys to be.
FILE_PIPELINES = {
    "v1": "StableDiffusionPipeline",
    "v2": "StableDiffusionPipeline",
    "xl_base": "StableDiffusionXLPipeline",
    "playground-v2-5": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "sd35_medium": "StableDiffusion3Pipeline",
    "sd35_large": "StableDiffusion3Pipeline",
    "flux-dev": "FluxPipeline",
    "flux-schnell": "FluxPipeline",
}


@dataclass(frozen=True)
class Loaded:
    """A model in memory, on its device and in evaluation mode; `checker` is one that its pipelines do not call.

    `controlnet` reads control images, in pipelines that are made with it: a ControlNet or a T2I-Adapter. `prompted` is
    the pipeline that pictures prompt, over a UNet of its own with the same weights. `refiner` is another model's
    pipeline.
    """

    entry: Entry
    pipe: Any
    placement: Placement
    revision: str
    checker: Checker | None = None
    controlnet: Any = None
    prompted: Any = None
    refiner: Any = None

    @property
    def has_checker(self) -> bool:
        """Whether its pictures can be checked."""
        return self.checker is not None or has_own(self.pipe)

    @property
    def beside(self) -> tuple[Any, ...]:
        """Modules that belong to it and are no components of its pipeline."""
        modules = (self.checker and self.checker.module, self.controlnet)
        inner = (
            part for pipe in (self.prompted, self.refiner) if pipe is not None for part in pipe.components.values()
        )
        return tuple(module for module in (*modules, *inner) if isinstance(module, torch.nn.Module))

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """All that hold weights of it."""
        parts = (*self.pipe.components.values(), *self.beside)
        return tuple(part for part in parts if isinstance(part, torch.nn.Module))

    def with_checker(self, pipe: Any) -> Any:
        """One of its pipelines, with the checker behind it that it does not call itself."""
        return pipe if self.checker is None else followed_by(pipe, self.checker)

    def without_checker(self, pipe: Any) -> Any:
        """One of its pipelines that checks nothing."""
        return without_own(pipe) if has_own(pipe) else pipe

    def offer(self) -> Offer:
        """What a request may ask of it."""
        if self.entry.is_plain:
            return plain_offer(self.entry)
        return offer_of(self.entry, read_layout(self.entry.folder) if self.entry.folder else layout_of(self.pipe))

    def windows(self) -> list[Window]:
        """How much of a prompt its text encoders read."""
        if self.entry.is_plain:
            return []  # what becomes of its texts only its function knows
        folder = self.entry.folder
        return windows_of_folder(folder) if folder else windows_of_pipeline(self.pipe)


class Composing(Protocol):
    """How a model is made of others that are in memory."""

    def parts(self, name: str) -> Sequence[str]:
        """The names of the models that it is made of; none of one with weights of its own."""

    def compose(self, name: str, parts: Sequence[Loaded]) -> Loaded:
        """It, over those."""


def load(entry: Entry, *, is_offline: bool) -> Loaded:
    """Load an entry's pipeline; downloads a hub model that is not there yet, unless offline.

    Raises `MissingWeights`, `CorruptWeights`, `UnsafeWeights`, `InvalidConfig`, `NotSupported`.
    """
    placement = place(entry.settings.device, entry.settings.dtype)
    if entry.source == HUB:
        fetch(entry, is_offline=is_offline)
    if entry.settings.read_ahead:
        read_ahead.begin(entry)
    refiner = None if entry.refiner is None else load(entry.refiner, is_offline=is_offline).pipe
    controlnet = _controlnet_of(entry, placement, is_offline=is_offline) or _adapter_of(entry, placement)
    revision = entry.revision()
    with _naming_faults(entry.origin), _refusing_made_up_weights(entry.origin):
        pipe = _from_file(entry, placement) if entry.settings.file else _from_folder(entry, placement)
        checker = _checker_of(entry, placement)
    if entry.controlnet is not None:
        denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
        configs = (_config_in(part) for part in (controlnet, denoiser, getattr(pipe, "vae", None)))
        entry.controlnet.check_fit(*configs)
    if entry.settings.vae_tiling:
        _tile(pipe, entry.name)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    if checker is not None and calls_its_own(pipe):
        with_own(pipe, checker)
        checker = None
    beside = {} if controlnet is None else {"controlnet": controlnet}
    tune(pipe, entry.settings, entry.name, placement.torch_dtype, beside)
    lay(pipe, entry.settings, placement, entry.name)
    prompted = _prompted(entry, pipe)
    return Loaded(entry, pipe, placement, revision, checker, controlnet, prompted, refiner)


def _prompted(entry: Entry, pipe: Any) -> Any:
    """The pipeline that pictures prompt, where the entry names an IP-Adapter."""
    said = entry.ip_adapter
    if said is None:
        return None
    from .image_prompts import prompted

    origin = f"the IP-Adapter {said.file}"
    try:
        with _refusing_made_up_weights(origin, ip_adapter.FIELD):
            return prompted(pipe, said)
    except torch.OutOfMemoryError:
        raise
    except LOADING_FAULTS as error:
        raise _loading_fault(origin, error, ip_adapter.FIELD) from error


def _adapter_of(entry: Entry, placement: Placement) -> Any:
    """The T2I-Adapter that the entry names, on the model's device."""
    said = entry.t2i_adapter
    if said is None:
        return None
    entry.check()
    origin = f"the T2I-Adapter {said.folder}"
    try:
        with _refusing_made_up_weights(origin, t2i_adapter.FIELD):
            module = diffusers.T2IAdapter.from_pretrained(
                said.folder,
                dtype=placement.torch_dtype,
                variant=variant_of_component(said.folder),
                use_safetensors=None if said.allow_pickle else True,
                local_files_only=True,
            )
    except torch.OutOfMemoryError:
        raise
    except LOADING_FAULTS as error:
        raise _loading_fault(origin, error, t2i_adapter.FIELD) from error
    return module.eval().to(placement.kind)


def _tile(pipe: Any, model: str) -> None:
    """Have its VAE work tile by tile and row by row, so that memory follows from neither size nor company."""
    vae: Any = getattr(pipe, "vae", None)
    if not hasattr(vae, "use_tiling"):
        said = f"{type(vae).__name__} has no tiles" if vae is not None else f"{type(pipe).__name__} has no VAE"
        raise InvalidConfig(f"models.{model}.vae_tiling: {said}", field="vae_tiling")
    vae.enable_tiling()
    vae.enable_slicing()


def fetch_controlnet(entry: Entry) -> Path | None:
    """Have the hub's own cache hold the ControlNet that the entry names; returns the folder there.

    Raises what `load` raises.
    """
    assert entry.controlnet is not None, "there is none to fetch"
    _controlnet_of(entry, place("cpu", "float32"), is_offline=False)  # diffusers fetches what it loads
    return entry.controlnet.folder


def _controlnet_of(entry: Entry, placement: Placement, *, is_offline: bool) -> Any:
    """The one that the entry names, on the model's device; one of the hub is downloaded, unless offline."""
    said = entry.controlnet
    if said is None:
        return None
    if not said.is_hub:
        entry.check()
    origin = f"the ControlNet {said.origin}"
    options: dict[str, Any] = {"local_files_only": is_offline or not said.is_hub, "revision": said.revision}
    try:
        config = diffusers.ControlNetModel.load_config(said.place, **options)
        said.check_fit(config, *entry.configs())
        kind = getattr(diffusers, said.kind_of(config))
        with _refusing_made_up_weights(origin, FIELD):
            module = kind.from_pretrained(
                said.place,
                dtype=placement.torch_dtype,
                variant=None if said.folder is None else variant_of_component(said.folder),
                use_safetensors=None if said.allow_pickle else True,
                **options,
            )
    except torch.OutOfMemoryError:
        raise
    except LOADING_FAULTS as error:
        if said.is_hub and isinstance(error, OSError):
            raise _download_fault(origin, error, is_offline, said.allow_pickle, FIELD) from error
        raise _loading_fault(origin, error, FIELD) from error
    return module.eval().to(placement.kind)


def _config_in(module: Any) -> dict[str, Any]:
    """The configuration of a module in memory; empty where there is none."""
    return {} if module is None else {**module.config, "_class_name": type(module).__name__}


def fetch(entry: Entry, *, is_offline: bool) -> Path:
    """Have the hub's own cache hold the entry's revision; returns the folder there."""
    said = entry.settings
    try:
        folder = diffusers.DiffusionPipeline.download(
            said.hub,
            revision=said.revision,
            use_safetensors=None if said.allow_pickle else True,
            trust_remote_code=said.trust_remote_code,
            local_files_only=is_offline,
        )
    except (OSError, ValueError) as error:
        raise _download_fault(entry.origin, error, is_offline, said.allow_pickle) from error
    return Path(folder)


def layout_of(pipe: Any) -> Layout:
    """The layout of a pipeline in memory, for models that came without configuration files."""
    names = ("scheduler", "unet", "transformer", "vae")
    parts = {name: dict(getattr(getattr(pipe, name, None), "config", {})) for name in names}
    scheduler = {"_class_name": type(getattr(pipe, "scheduler", None)).__name__, **parts["scheduler"]}
    return layout_from(type(pipe).__name__, scheduler, parts["unet"] or parts["transformer"], parts["vae"])


def _checker_of(entry: Entry, placement: Placement) -> Checker | None:
    """The one that the entry names, on the model's device."""
    folder = entry.settings.safety_checker
    if folder is None:
        return None
    checker = load_checker(folder, placement.torch_dtype, allow_pickle=entry.settings.allow_pickle)
    return Checker(checker.module.to(placement.kind), checker.extractor)


def _from_folder(entry: Entry, placement: Placement) -> Any:
    from .weights import variant_of

    folder = entry.folder
    assert folder is not None  # revision() has checked it
    said = entry.settings
    return _class_of(entry).from_pretrained(
        folder,
        dtype=placement.torch_dtype,
        variant=variant_of(folder),
        use_safetensors=None if said.allow_pickle else True,
        trust_remote_code=said.trust_remote_code,
        local_files_only=True,
        **device_map_of(said, placement, getattr(diffusers, read_layout(folder).pipeline, diffusers.DiffusionPipeline)),
    )


def _from_file(entry: Entry, placement: Placement) -> Any:
    config = entry.settings.config
    return _class_of(entry).from_single_file(
        str(entry.settings.file),
        dtype=placement.torch_dtype,
        **({"config": str(config), "local_files_only": True} if config else {}),
    )


def _class_of(entry: Entry) -> Any:
    """The pipeline class that the entry names, or that fits what is there."""
    name = entry.settings.pipeline
    if name is None and entry.settings.file is None:
        return diffusers.DiffusionPipeline
    name = name or _pipeline_of_file(entry)
    found = getattr(diffusers, name, None)
    if not isinstance(found, type) or not issubclass(found, diffusers.DiffusionPipeline):
        said = f"{name!r} is no pipeline class of diffusers {diffusers.__version__}"
        raise InvalidConfig(f"models.{entry.name}.pipeline: {said}", field="pipeline")
    if entry.settings.file and not hasattr(found, "from_single_file"):
        raise InvalidConfig(f"models.{entry.name}.pipeline: {name} cannot be loaded from one file", field="pipeline")
    return found


def _pipeline_of_file(entry: Entry) -> str:
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type, load_single_file_checkpoint

    kind = infer_diffusers_model_type(load_single_file_checkpoint(str(entry.settings.file)))
    if kind not in FILE_PIPELINES:
        said = f"models.{entry.name}.pipeline: say which pipeline this file is for; it looks like {kind!r}"
        raise InvalidConfig(said, field="pipeline")
    return FILE_PIPELINES[kind]


def _download_fault(
    origin: str, error: Exception, is_offline: bool, allow_pickle: bool, field: str = "model"
) -> Exception:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "trust_remote_code" in str(error):
        return UnsafeWeights(f"{origin} brings Python code of its own: {text}", field="trust_remote_code")
    if "safetensors" in str(error) and not allow_pickle:
        return UnsafeWeights(f"{origin} has no safetensors weights: {text}", field="allow_pickle")
    if is_offline:
        return MissingWeights(f"{origin} is not downloaded, and offline is set", field=field)
    return MissingWeights(f"{origin} cannot be downloaded: {text}", field=field)


def _loading_fault(origin: str, error: Exception, field: str = "model") -> CorruptWeights:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CorruptWeights(f"{origin} cannot be loaded: {text}", field=field)


@contextmanager
def _naming_faults(origin: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # the files are good; the device is too small
    except LOADING_FAULTS as error:
        raise _loading_fault(origin, error) from error


class _Listener(logging.Handler):
    """Keeps what the libraries say of weights that a file does not hold; they say it, and go on with random ones."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "newly initialized" in text or "MISSING" in text:
            self.heard.append(text)


@contextmanager
def _refusing_made_up_weights(origin: str, field: str = "model") -> Iterator[None]:
    listener, loggers = _Listener(), [logging.getLogger(name) for name in LOUD_LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(listener)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # heard here, and said by us if it matters
    try:
        yield
    finally:
        for logger, (level, propagates) in zip(loggers, before, strict=True):
            logger.removeHandler(listener)
            logger.setLevel(level)
            logger.propagate = propagates
    if listener.heard:
        text = " ".join(listener.heard[0].split())[:300]
        raise CorruptWeights(f"{origin} does not hold all of its weights: {text}", field=field)
