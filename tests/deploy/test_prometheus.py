"""deploy/prometheus and deploy/grafana: promtool takes them, each alert fires and does not, each has its runbook."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.missing import need

from .cluster import DEPLOY, ROOT, built, of_kind

FOLDER = DEPLOY / "prometheus"
GROUPS = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
TRIED = yaml.safe_load((FOLDER / "tests.yml").read_text(encoding="utf-8"))["tests"]
BOARD = json.loads((DEPLOY / "grafana" / "darkroom.json").read_text(encoding="utf-8"))
RUNBOOKS = ROOT / "docs" / "guides" / "runbooks.md"
PAGES = tuple(ROOT / "docs" / "guides" / name for name in ("runbooks.md", "kubernetes.md", "monitoring.md"))
QUOTED = re.compile(r'"([^"]+)"')
# By the text this follows: what each alert compares, and for how long.
THRESHOLDS = {
    "DarkroomSlow": ("> 60", "5m"),
    "DarkroomUnderused": ("< 50", None),
    "DarkroomOverloaded": ("> 95", None),
    "DarkroomQueueLong": ("> 50", None),
    "DarkroomErrors": ("> 0.05", None),
    "DarkroomMemoryFull": ("> 0.95", None),
}
TARGETS = {
    "Seconds from start to end": {30, 60},
    "Devices busy": {50, 70, 85, 95},
    "Jobs that wait, a worker": {10},
    "Jobs that fail": {0.01, 0.05},
    "Memory in use": {0.9, 0.95},
    "Queue": {50},
}


def promtool(*words: str | Path) -> str:
    """What it says; fails where it is not content."""
    tried = subprocess.run([need("promtool"), *map(str, words)], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    return tried.stdout


def test_the_rules_are_ones_that_prometheus_takes() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", FOLDER / "rules.yml")


def test_each_alert_and_figure_does_with_made_up_series_what_it_should() -> None:
    promtool("test", "rules", FOLDER / "tests.yml")


def test_no_alert_and_no_figure_is_left_untried() -> None:
    fires, is_silent, figures = set(), set(), ""
    for tried in TRIED:
        figures += " ".join(each["expr"] for each in tried.get("promql_expr_test", ()))
        for each in tried.get("alert_rule_test", ()):
            (fires if each["exp_alerts"] else is_silent).add(each["alertname"])
    assert fires == is_silent == set(ALERTS)
    assert {rule["record"] for rule in RULES if "record" in rule and rule["record"] not in figures} == set()


def test_a_threshold_that_moves_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "tests.yml").write_text((FOLDER / "tests.yml").read_text())
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text().replace("> 50", "> 60"))
    with pytest.raises(AssertionError, match="DarkroomQueueLong"):
        promtool("test", "rules", tmp_path / "tests.yml")


def test_the_alerts_have_the_thresholds_of_the_table() -> None:
    for name, (compared, lasts) in THRESHOLDS.items():
        assert ALERTS[name]["expr"].endswith(compared), name
        assert lasts in (None, ALERTS[name]["for"]), name


@pytest.mark.parametrize("name", ["prometheus.yml", "kubernetes.yml"])
def test_the_configurations_are_ones_that_prometheus_takes(name: str, tmp_path: Path) -> None:
    config = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):  # Debian's build is without it
            job["static_configs"] = [{"targets": ["127.0.0.1:1"]}]
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text())
    (tmp_path / name).write_text(json.dumps(config))
    promtool("check", "config", "--syntax-only", tmp_path / name)
    assert config["rule_files"] == ["rules.yml"]


def test_the_cluster_s_prometheus_has_these_very_files() -> None:
    [config] = [each for each in built("monitoring") if each["kind"] == "ConfigMap"]
    assert config["data"]["rules.yml"] == (FOLDER / "rules.yml").read_text()
    assert config["data"]["prometheus.yml"] == (FOLDER / "kubernetes.yml").read_text()


def test_each_alert_leads_to_its_runbook() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL))
    assert set(sections) == set(ALERTS)
    for name, rule in ALERTS.items():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / path, anchor) == (RUNBOOKS, name.lower())
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        for part in ("**Means.**", "**Mostly.**", "**Look.**", "**Do.**", "```sh"):
            assert part in sections[name], f"{name} has no {part}"


def test_the_monitoring_page_tells_of_each_alert_and_target() -> None:
    page = (ROOT / "docs" / "guides" / "monitoring.md").read_text(encoding="utf-8")
    for name, rule in ALERTS.items():
        [line] = re.findall(rf"^\| \[{name}\].*$", page, re.MULTILINE)
        assert line.endswith(f"| {rule['labels']['severity']} |")
        lasts = rule.get("for", "").removesuffix("m")
        assert f"for {lasts} min" in line if lasts else "for" not in line.partition("|")[2].split()
    for rule in RULES:
        assert rule.get("record", "darkroom:target_met") in page
        assert f"| {rule['labels']['target']} |" in page if "target" in rule.get("labels", {}) else True


def test_what_the_pages_look_at_in_the_cluster_is_there() -> None:
    kinds = {"deployment": "Deployment", "service": "Service", "scaledobject": "ScaledObject"}
    kinds |= {"horizontalpodautoscaler": "HorizontalPodAutoscaler", "triggerauthentication": "TriggerAuthentication"}
    folders = ("overlays/hpa", "overlays/keda", "overlays/fleet", "monitoring")
    there = {(kind, name) for kind in kinds for folder in folders for name in of_kind(folder, kinds[kind])}
    components = {
        each["metadata"]["labels"].get("app.kubernetes.io/component")
        for folder in folders
        for each in of_kind(folder, "Deployment").values()
    }
    for page in PAGES:
        for line in re.findall(r"kubectl -n darkroom [^`\n]*", page.read_text(encoding="utf-8")):
            named = set(re.findall(r"\b([a-z]+)/([a-z][\w-]*)", line))
            assert {each for each in named if each[0] in kinds} <= there, line
            assert set(re.findall(r"component=([\w-]+)", line)) <= components, line


def test_the_runbooks_send_nobody_to_a_panel_or_a_log_line_that_is_not_there() -> None:
    page = RUNBOOKS.read_text(encoding="utf-8")
    panels = [panel["title"] for panel in BOARD["panels"]]
    named = [
        name for line in re.findall(r"^On the dashboard: (.*)$", page, re.MULTILINE) for name in QUOTED.findall(line)
    ]
    assert len(named) > 5
    assert [name for name in named if not any(title.startswith(name) for title in panels)] == []
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "darkroom").rglob("*.py"))
    events = {
        event for line in page.splitlines() if "kubectl" in line for event in re.findall(r"\b[a-z]+_[a-z]+\b", line)
    }
    assert {"attempt_ended", "fleet_planned"} <= events
    assert {event for event in events if f'"{event}"' not in source} == set()


def test_the_dashboard_draws_the_targets() -> None:
    panels = {panel["title"]: panel for panel in BOARD["panels"]}
    for title, expected in TARGETS.items():
        steps = panels[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert {step["value"] for step in steps} - {None} == expected, title
        assert panels[title]["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line"


def test_the_dashboard_s_panels_have_a_place_of_their_own() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y)
            for x in range(place["w"])
            for y in range(place["h"])
            if place["x"] + x < 24
        }
        assert len(cells) == place["w"] * place["h"]
        assert not cells & taken, panel["title"]
        taken |= cells
