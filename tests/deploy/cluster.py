"""What deploy/kubernetes becomes: each folder built by kubectl, read as the API server would read it."""

from __future__ import annotations

import functools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.missing import need

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
GUIDE = ROOT / "docs" / "guides" / "kubernetes.md"
OVERLAYS = ("hpa", "keda", "scale-to-zero", "spot-pool", "fleet")
FOLDERS = ("base", *(f"overlays/{name}" for name in OVERLAYS), "monitoring")
OURS = FOLDERS[:-1]
OLDEST = (4, 5)  # kustomize that understands what the files say
Object = dict[str, Any]


@functools.cache
def built(folder: str) -> tuple[Object, ...]:
    """The objects that `kubectl apply -k` would send."""
    kubectl = need("kubectl")
    version = subprocess.run([kubectl, "version", "--client"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Kustomize Version: v(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        pytest.skip("kubectl is older than 1.25: its kustomize does not read these files")
    made = subprocess.run([kubectl, "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == "", "kustomize warns"
    return tuple(yaml.safe_load_all(made.stdout))


def of_kind(folder: str, kind: str) -> dict[str, Object]:
    """By name."""
    return {each["metadata"]["name"]: each for each in built(folder) if each["kind"] == kind}


def deployment(folder: str, name: str) -> Object:
    return of_kind(folder, "Deployment")[name]


def pod_of(owner: Object) -> Object:
    pod: Object = owner["spec"]["template"]["spec"]
    return pod


def container_of(owner: Object) -> Object:
    """Its only one."""
    [container] = pod_of(owner)["containers"]
    found: Object = container
    return found


def pods() -> Iterator[tuple[str, Object]]:
    """Every Deployment of every folder."""
    for folder in FOLDERS:
        for each in of_kind(folder, "Deployment").values():
            yield f"{folder}:{each['metadata']['name']}", each


def environment_of(owner: Object) -> dict[str, Any]:
    """Values by name; where one comes from the Secret, its key as `secret/KEY`."""
    found = {}
    for each in container_of(owner).get("env", []):
        source = each.get("valueFrom", {}).get("secretKeyRef", {})
        found[each["name"]] = each.get("value", f"secret/{source['key']}" if source else "field")
    return found


def settings_of(folder: str, owner: Object) -> dict[str, Any]:
    """Of the darkroom.toml that its pods read."""
    [name] = [each["configMap"]["name"] for each in pod_of(owner)["volumes"] if "configMap" in each]
    return tomllib.loads(of_kind(folder, "ConfigMap")[name]["data"]["darkroom.toml"])
