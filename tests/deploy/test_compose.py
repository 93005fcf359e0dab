"""deploy/compose: Compose takes the file, its services find each other, and they have the time that they need."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from darkroom.config import ServeSettings, load

from .cluster import DEPLOY

FOLDER = DEPLOY / "compose"
SAID = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SCHEMA = jsonschema.Draft202012Validator(json.loads((Path(__file__).parent / "compose.schema.json").read_text()))
SERVICES: dict[str, Any] = SAID["services"]
GUIDE = DEPLOY.parent / "docs" / "guides" / "monitoring.md"


def test_the_file_is_one_that_compose_takes() -> None:
    SCHEMA.validate(SAID)


def test_a_field_that_is_none_would_be_refused() -> None:
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate({**SAID, "services": {"worker": {**SERVICES["worker"], "shm": "2gb"}}})


def test_the_box_has_all_its_parts() -> None:
    assert set(SERVICES) == {"gateway", "worker", "redis", "prometheus", "grafana"}
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped", name
        for other in service.get("depends_on", ()):
            assert other in SERVICES


def test_who_is_called_by_name_is_there() -> None:
    serve = load(FOLDER / "darkroom.toml").serve
    assert urlsplit(serve.store or "").hostname in SERVICES
    source = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    asked = urlsplit(source["datasources"][0]["url"])
    assert asked.hostname in SERVICES
    assert SERVICES["prometheus"]["ports"] == [f"127.0.0.1:{asked.port}:{asked.port}"]


def test_the_dashboard_lies_where_grafana_looks_for_it() -> None:
    told = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "dashboards" / "darkroom.yml").read_text())
    folder = told["providers"][0]["options"]["path"]
    assert f"../grafana/darkroom.json:{folder}/darkroom.json:ro" in SERVICES["grafana"]["volumes"]


def test_processes_are_given_the_time_that_they_take_to_stop() -> None:
    from darkroom.cli.serve import GATEWAY_STOP_S
    from darkroom.fleet.supervisor import STOP_MARGIN_S

    given = {name: int(SERVICES[name]["stop_grace_period"].removesuffix("s")) for name in ("gateway", "worker")}
    assert given["gateway"] > GATEWAY_STOP_S
    assert given["worker"] > load(FOLDER / "darkroom.toml").serve.drain_s + STOP_MARGIN_S
    assert load(FOLDER / "darkroom.toml").serve.drain_s == ServeSettings().drain_s


def test_redis_loses_nothing_that_was_accepted() -> None:
    words = SERVICES["redis"]["command"][1:]
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert flags == {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}


def test_gateway_and_worker_write_to_their_volume_alone() -> None:
    for name in ("gateway", "worker"):
        service = SERVICES[name]
        assert service["read_only"], name
        writable = {volume.split(":")[1] for volume in service["volumes"] if not volume.endswith(":ro")}
        assert {service["environment"]["DARKROOM_HOME"], service["environment"]["HOME"]} == writable
        assert service["environment"]["HF_HOME"].startswith(f"{service['environment']['DARKROOM_HOME']}/")


def test_the_secrets_are_those_that_the_guide_makes() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for name, secret in SAID["secrets"].items():
        assert secret["file"].removeprefix("./") in guide, name
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    shown = config["scrape_configs"][0]["authorization"]["credentials_file"]
    assert shown == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
    assert re.search(r"^secrets/$", (FOLDER / ".gitignore").read_text(), re.MULTILINE)
