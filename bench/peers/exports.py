"""Darkroom's engine in two of the peers' servers: what `darkroom export` writes, started as its guides say."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

from bench.service.box import ROOT
from darkroom.bench.dialects import Answered, Now, sent
from darkroom.bench.plan import Wanted
from darkroom.bench.template import Plain, Template
from darkroom.errors import DarkroomError

from .environments import packages, run_whole, shared_packages
from .systems import MODEL, Place, Start, System, torchserve_of, triton_of

HEADER = "inference-header-content-length"  # of an answer: as many bytes of JSON, then tensors as they are
EXPORT_S = 120.0
MEASURED = ("W2", "W6")  # once


class Pixels(Plain):
    """Triton, whose answer is the picture's bytes, three for a pixel."""

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        """One request; an answer with fewer or more pixels is none."""
        answer = await sent(self._hands, self._template.request(wanted), self.url)
        ended_s = now()
        width, height = wanted.size or (0, 0)
        if len(answer.content) - int(answer.headers.get(HEADER, 0)) != width * height * 3:
            raise DarkroomError(f"{self.url} answered with other than {width}x{height} pixels")
        return Answered(ended_s, None, 1)


def _torchserve(place: Place) -> Start:
    return torchserve_of(place, _exported(place, "torchserve"), python=_environment(place))


def _triton(place: Place) -> Start:
    python = _environment(place)
    path = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    return triton_of(place, _exported(place, "triton"), path)


def _exported(place: Place, server: str) -> Path:
    """The folder that the server serves."""
    (place.folder / "darkroom.toml").write_text(f"threads = {place.batch.threads}\n", encoding="utf-8")
    made = place.folder / "exported"
    command = [sys.executable, "-m", "darkroom", "export", server, MODEL.name, "--output", str(made)]
    command += ["--instances", str(place.batch.instances)]
    run_whole(command, os.environ | {"DARKROOM_HOME": str(place.folder)}, place.folder, EXPORT_S)
    return made


def _environment(place: Place) -> Path:
    """A Python that finds the server's packages, Darkroom as it stands, and the project's, the server's own first."""
    assert place.environment is not None
    folder = place.folder / "environment"
    venv.create(folder, symlinks=True)
    found_in = [str(packages(place.environment)), str(Path(ROOT) / "src"), shared_packages()]
    (packages(folder) / "found.pth").write_text("\n".join(found_in), encoding="utf-8")
    return folder / "bin" / "python"


def _predictions(url: str) -> Template:
    body = {
        "prompt": "{prompt}",
        "num_inference_steps": "{steps}",
        "guidance_scale": "{guidance}",
        "width": "{width}",
        "height": "{height}",
        "seed": "{seed}",
    }
    return Template(f"{url}/predictions/landscapes", body=body, image="image")


def _infer(url: str) -> Template:
    values = {
        "prompt": ("BYTES", "{prompt}"),
        "steps": ("INT32", "{steps}"),
        "guidance_scale": ("FP32", "{guidance}"),
        "width": ("INT32", "{width}"),
        "height": ("INT32", "{height}"),
        "seed": ("INT64", "{seed}"),
    }
    inputs = [{"name": name, "shape": [1], "datatype": kind, "data": [said]} for name, (kind, said) in values.items()]
    outputs = [{"name": "image", "parameters": {"binary_data": True}}]
    return Template(f"{url}/v2/models/landscapes/infer", body={"inputs": inputs, "outputs": outputs})


EXPORTS = (
    System(
        "torchserve-export",
        "Darkroom's engine in TorchServe",
        "torchserve",
        "torchserve",
        _torchserve,
        _predictions,
        is_gathering=True,
    ),
    System(
        "triton-export",
        "Darkroom's engine in Triton",
        "nvidia-pytriton",
        "triton",
        _triton,
        _infer,
        "/v2",
        is_gathering=True,
        dialect=Pixels,
    ),
)
