"""Every metric, Redis key, port, flag, variable, path and file that deploy/ names is one that the code has."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml

from darkroom import __version__
from darkroom.cli import app
from darkroom.config import ClientSettings, EnvironmentSettings, ServeSettings, load
from darkroom.fleet.drivers.kubernetes import POOL_LABEL
from darkroom.gateway.routes import health
from darkroom.gateway.signing import SECRET_NAME
from darkroom.jobs.redis import RedisStore
from darkroom.jobs.redis_link import Link
from darkroom.telemetry.worker import IS_READY, LIVES
from tests.integration.redis_site import ANYONE, LIMITS, NOW, Server, insert
from tools.docs_check import environment_names

from .cluster import (
    DEPLOY,
    KUBERNETES,
    OURS,
    OVERLAYS,
    ROOT,
    Object,
    container_of,
    deployment,
    environment_of,
    of_kind,
    pod_of,
    settings_of,
)
from .exported import exported
from .promql import metrics_in

COMPOSE = DEPLOY / "compose" / "compose.yaml"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
OF_PROMETHEUS = {"up", "ALERTS"}
OF_OTHERS = {"HOME", "HF_HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POD_NAME"}
TOMLS = sorted(DEPLOY.rglob("darkroom.toml"))


def expressions() -> Iterator[tuple[str, str]]:
    """Every query in deploy/, with its place."""
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield "rules.yml", rule["expr"]
    for panel in json.loads((DEPLOY / "grafana" / "darkroom.json").read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield f"darkroom.json: {panel['title']}", target["expr"]
    for path in KUBERNETES.rglob("*.yaml"):
        for query in re.findall(
            r"^\s*(?:query|metricsQuery|seriesQuery): (.*?)(?: #.*)?$", path.read_text(), re.MULTILINE
        ):
            yield path.name, query


def test_every_metric_is_one_that_is_exported() -> None:
    asked = {(place, name) for place, expression in expressions() for name in metrics_in(expression)}
    assert len(asked) > 40
    assert {each for each in asked if each[1] not in exported() | RECORDED | OF_PROMETHEUS} == set()


def test_a_metric_that_is_not_there_would_be_found() -> None:
    assert metrics_in('sum by (le) (rate(a_b{c="d"}[5m])) / clamp_min(e, 1) > bool 3 or g:h offset 5m') == {
        "a_b",
        "e",
        "g:h",
    }


def test_the_autoscaler_of_kubernetes_asks_for_what_its_adapter_gives() -> None:
    [metric] = of_kind("overlays/hpa", "HorizontalPodAutoscaler")["darkroom-worker"]["spec"]["metrics"]
    adapter = yaml.safe_load((KUBERNETES / "overlays/hpa/prometheus-adapter.yaml").read_text())
    [rule] = adapter["rules"]["external"]
    assert metric["external"]["metric"]["name"] == rule["seriesQuery"]


def test_keda_counts_the_key_that_holds_the_queue() -> None:
    for overlay in ("keda", "scale-to-zero"):
        [redis] = [each["metadata"] for each in triggers(overlay) if each["type"] == "redis"]
        assert redis["listName"] == Link("redis://127.0.0.1/0").key("queue")


def test_that_key_has_a_member_for_each_job_that_waits(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        store = RedisStore(server.url, LIMITS)
        for number in range(3):
            insert(store, f"j-{number}")
        store.claim(ANYONE, 1, NOW)
        store.close()
        [redis] = [each["metadata"] for each in triggers("keda") if each["type"] == "redis"]
        with server.client() as client:
            assert (client.type(redis["listName"]), client.zcard(redis["listName"])) == ("zset", 2)
    finally:
        server.kill()


def test_who_asks_prometheus_asks_the_one_that_is_installed() -> None:
    service = of_kind("monitoring", "Service")["prometheus"]
    asked = {
        urlsplit(each["metadata"]["serverAddress"]) for each in triggers("scale-to-zero") if "query" in each["metadata"]
    }
    adapter = yaml.safe_load((KUBERNETES / "overlays/hpa/prometheus-adapter.yaml").read_text())["prometheus"]
    asked.add(urlsplit(f"{adapter['url']}:{adapter['port']}"))
    [found] = asked
    name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert (found.hostname, found.port) == (name, service["spec"]["ports"][0]["port"])


def triggers(overlay: str) -> list[Object]:
    found: list[Object] = of_kind(f"overlays/{overlay}", "ScaledObject")["darkroom-worker"]["spec"]["triggers"]
    return found


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `darkroom …` that is started."""
    for folder in OURS:
        for name, each in of_kind(folder, "Deployment").items():
            yield f"{folder}: {name}", container_of(each)["command"]
    for name, service in compose()["services"].items():
        if service.get("command", [""])[0] == "darkroom":
            yield f"compose: {name}", service["command"]


def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def test_what_is_started_is_a_command_of_ours() -> None:
    found = dict(commands())
    assert len(found) > 10
    for place, words in found.items():
        asked = asked_of(words)
        assert not asked.get("is_insecure"), place
        if words[1] == "gateway":
            assert (asked["host"], asked["port"]) == ("0.0.0.0", ServeSettings().port), place


def asked_of(words: list[str]) -> dict[str, Any]:
    """What a command of any depth would be called with; raises where there is no such command, flag or value."""
    command: Any = typer.main.get_command(app)
    assert words[0] == "darkroom"
    rest = words[1:]
    while rest and hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return dict(command.make_context(command.name, rest).params)


def test_every_variable_is_one_that_is_read() -> None:
    known = {*environment_names(EnvironmentSettings), *environment_names(ClientSettings)} | OF_OTHERS
    for folder in OURS:
        for name, each in of_kind(folder, "Deployment").items():
            assert set(environment_of(each)) <= known, f"{folder}: {name}"
            told = " ".join(container_of(each)["command"])
            assert set(re.findall(r"\$\((\w+)\)", told)) <= set(environment_of(each))
    for service in ("gateway", "worker"):
        assert set(compose()["services"][service]["environment"]) - {"<<"} <= known


@pytest.mark.parametrize("path", TOMLS, ids=lambda path: str(path.parent.relative_to(DEPLOY)))
def test_the_settings_are_ones_that_are_taken(path: Path) -> None:
    settings = load(path)
    assert settings.serve.worker_metrics.startswith("0.0.0.0:")
    if path.parent.name == "fleet":
        assert settings.fleet is not None


def test_ports_are_those_that_are_listened_on() -> None:
    for folder in OURS:
        for name, each in of_kind(folder, "Deployment").items():
            serve = settings_of(folder, each)["serve"]
            metrics = int(serve["worker_metrics"].rpartition(":")[2])
            ports = {port["name"]: port["containerPort"] for port in container_of(each).get("ports", [])}
            expected = {"gateway": {"http": ServeSettings().port}, "worker": {"metrics": metrics}, "fleet": {}}
            assert ports == expected[each["metadata"]["labels"]["app.kubernetes.io/component"]], name
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    serve = load(COMPOSE.parent / "darkroom.toml").serve
    assert targets == {
        "darkroom-gateway": [f"gateway:{ServeSettings().port}"],
        "darkroom-worker": [f"worker:{serve.worker_metrics.rpartition(':')[2]}"],
    }
    assert "gateway" in serve.allowed_hosts  # it is called by that name
    assert compose()["services"]["gateway"]["ports"] == [f"127.0.0.1:{ServeSettings().port}:{ServeSettings().port}"]


def test_probes_ask_what_is_answered() -> None:
    of_gateways = {route.path for route in health.router.routes}  # type: ignore[attr-defined]
    answered = {"gateway": ("http", of_gateways), "worker": ("metrics", {LIVES, IS_READY})}
    for folder in OURS:
        for name, each in of_kind(folder, "Deployment").items():
            probes = {kind: probe for kind, probe in container_of(each).items() if kind.endswith("Probe")}
            port, paths = answered.get(each["metadata"]["labels"]["app.kubernetes.io/component"], ("", set()))
            assert {probe["httpGet"]["port"] for probe in probes.values()} <= {port}, name
            assert {probe["httpGet"]["path"] for probe in probes.values()} <= paths, name
    assert container_of(deployment("base", "darkroom-worker"))["readinessProbe"]["httpGet"]["path"] == IS_READY
    for service, (_, paths) in answered.items():
        asked = " ".join(compose()["services"][service]["healthcheck"]["test"])
        [url] = re.findall(r"http://[^']+", asked)
        assert urlsplit(url).path in paths


def test_the_url_secret_lies_where_it_is_read() -> None:
    gateway = deployment("base", "darkroom-gateway")
    paths = [mount["mountPath"] for mount in container_of(gateway)["volumeMounts"]]
    assert f"{environment_of(gateway)['DARKROOM_HOME']}/{SECRET_NAME}" in paths


def test_the_configuration_lies_where_it_is_looked_for() -> None:
    for folder in OURS:
        for each in of_kind(folder, "Deployment").values():
            place = Path(environment_of(each)["DARKROOM_CONFIG"])
            assert str(place.parent) in [mount["mountPath"] for mount in container_of(each)["volumeMounts"]]
    for service in ("gateway", "worker"):
        found = compose()["services"][service]
        assert f"./darkroom.toml:{found['environment']['DARKROOM_CONFIG']}:ro" in found["volumes"]


def test_the_pools_are_those_of_the_deployments() -> None:
    folder = "overlays/fleet"
    said = load(KUBERNETES / folder / "darkroom.toml").fleet
    assert said is not None
    assert said.driver == "kubernetes"
    there = [each for each in of_kind(folder, "Deployment").values() if POOL_LABEL in each["metadata"]["labels"]]
    prices = {
        each["metadata"]["labels"][POOL_LABEL]: float(environment_of(each)["DARKROOM_PRICE_PER_HOUR_USD"])
        for each in there
    }
    assert prices == {name: pool.price_per_hour_usd for name, pool in said.pools.items()}
    for each in there:
        assert POOL_LABEL in each["spec"]["template"]["metadata"]["labels"]
        assert container_of(each)["command"] == ["darkroom", "worker", "--id", "$(POD_NAME)"]  # its id is its name
    namespaces = {each["metadata"]["namespace"] for each in there}
    assert namespaces == {said.kubernetes_namespace}


def test_prometheus_keeps_the_labels_and_ports_that_pods_have() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())
    for job in config["scrape_configs"]:
        component, port = job["relabel_configs"][0]["regex"].split(";")
        each = deployment("base", f"darkroom-{component}")
        assert job["job_name"] == f"darkroom-{component}"
        assert each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == component
        assert [found["name"] for found in container_of(each)["ports"]] == [port]
        [place] = [namespaces for found in job["kubernetes_sd_configs"] for namespaces in found["namespaces"]["names"]]
        assert place == each["metadata"]["namespace"]
    key = config["scrape_configs"][0]["authorization"]["credentials_file"]
    mounts = container_of(deployment("monitoring", "prometheus"))["volumeMounts"]
    assert str(Path(key).parent) in [mount["mountPath"] for mount in mounts]


def test_the_image_is_this_release_s() -> None:
    for folder in OURS:
        for each in of_kind(folder, "Deployment").values():
            assert container_of(each)["image"].rpartition(":")[2] == __version__
    assert compose()["services"]["gateway"]["image"].rpartition(":")[2] == __version__


def test_what_compose_mounts_is_in_the_checkout_and_what_it_builds_from_too() -> None:
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), f"{name}: {source}"
            else:
                assert source in compose()["volumes"]
    build = compose()["services"]["worker"]["build"]
    assert (COMPOSE.parent / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_every_overlay_is_one_that_is_tried_here() -> None:
    assert {path.parent.name for path in (KUBERNETES / "overlays").glob("*/kustomization.yaml")} == set(OVERLAYS)


def test_the_secrets_are_those_that_the_guide_makes() -> None:
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text(encoding="utf-8")
    made = set(re.findall(r"--from-(?:literal|file)=([\w-]+)=", guide))
    asked = set()
    for folder in OURS:
        for each in of_kind(folder, "Deployment").values():
            asked |= {
                value.removeprefix("secret/") for value in environment_of(each).values() if value.startswith("secret/")
            }
            asked.discard("None")
            for volume in pod_of(each)["volumes"]:
                asked |= {item["key"] for item in volume.get("secret", {}).get("items", [])}
        for each in of_kind(folder, "TriggerAuthentication").values():
            asked |= {one["key"] for one in each["spec"]["secretTargetRef"]}
    assert asked <= made
    assert Path(container_key()).name in made


def container_key() -> str:
    """The file with the key that Prometheus shows."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())
    return str(config["scrape_configs"][0]["authorization"]["credentials_file"])


def test_every_folder_that_the_guide_applies_is_there() -> None:
    guide = (ROOT / "docs" / "guides" / "kubernetes.md").read_text(encoding="utf-8")
    applied = [shlex.split(line)[-1] for line in re.findall(r"kubectl apply -k [\w/-]+", guide)]
    assert {f"deploy/kubernetes/overlays/{name}" for name in OVERLAYS} <= set(applied)
    assert [place for place in applied if not (ROOT / place / "kustomization.yaml").is_file()] == []
