"""Writes a model archive: a zip file, as torch-model-archiver makes it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from ...config import Settings
from ...errors import OutputNotWritable
from ...models.catalogue import Entry
from ..packing import Content, folder_for, pack, served_name, source_of

HANDLER, CONFIG = "handler.py", "model-config.yaml"
# TorchServe reads this, and Darkroom its own darkroom.toml. Each worker holds the weights once.
MODEL_CONFIG = """\
asyncCommunication: true
batchSize: 1
maxBatchDelay: 1
minWorkers: {instances}
maxWorkers: {instances}
startupTimeout: 1200
"""
BEGINNING = (1980, 1, 1, 0, 0, 0)  # of time, to a zip file: the same model gives the same bytes


def write_archive(
    settings: Settings,
    entry: Entry,
    output: Path,
    *,
    name: str | None = None,
    has_weights: bool = False,
    instances: int = 1,
) -> Path:
    """Write NAME.mar into the folder `output`, over one that is there; returns its path. `instances`: TorchServe's
    workers, which share its devices out among them.

    Raises `BadInput` or one of its kind.
    """
    name = served_name(name, entry)
    model = {"modelName": name, "modelVersion": "1.0", "handler": HANDLER, "configFile": CONFIG}
    manifest = {"runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    contents: dict[str, Content] = {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=2).encode(),
        HANDLER: source_of("torchserve", HANDLER),
        CONFIG: MODEL_CONFIG.format(instances=instances).encode(),
        **pack(settings, entry, has_weights=has_weights),
    }
    target = folder_for(output) / f"{name}.mar"
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:  # weights do not get smaller
            for place, content in contents.items():
                _add(archive, place, content)
        os.replace(partial, target)
    except OSError as error:
        raise OutputNotWritable(f"{target} cannot be written: {error.strerror}", field="output") from error
    finally:
        partial.unlink(missing_ok=True)  # gone already where all went well
    return target


def _add(archive: zipfile.ZipFile, place: str, content: Content) -> None:
    info = zipfile.ZipInfo(place, BEGINNING)
    info.external_attr = 0o644 << 16
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size  # past 4 GiB the zip format has a longer header
    with content.open("rb") as source, archive.open(info, "w") as target:
        while block := source.read(1 << 20):
            target.write(block)
