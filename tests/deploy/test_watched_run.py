"""A real Prometheus scrapes a real service: each rule evaluates, each query of the dashboard returns data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from .cluster import DEPLOY
from .watched import Watched, watched_run

pytestmark = pytest.mark.slow

BOARD = json.loads((DEPLOY / "grafana" / "darkroom.json").read_text(encoding="utf-8"))
QUERIES = [(panel["title"], each["expr"]) for panel in BOARD["panels"] for each in panel.get("targets", [])]
FILLED_IN = {"$__rate_interval": "5m", "$model": ".*"}  # what Grafana puts there


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_run(tmp_path_factory.mktemp("watched")) as found:
        yield found


def test_every_rule_evaluates(watched: Watched) -> None:
    rules = [rule for group in watched.ask("/rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 20
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert {name for name in recorded if not watched.values(name)} == set()


def test_what_the_run_did_is_what_the_figures_say(watched: Watched) -> None:
    assert watched.values('sum(diffusion_requests_total{status="success"})') == [4]
    assert watched.values('sum(darkroom_failed_jobs_total{code="deadline_exceeded"})') == [2]
    assert watched.values("sum(darkroom_cancelled_jobs_total)") == [2]
    assert watched.values("darkroom:ready_workers") == [1]
    assert watched.values("sum(darkroom_cost_usd_total)")[0] > 0


def test_every_query_of_the_dashboard_returns_data(watched: Watched) -> None:
    empty = [f"{title}: {query}" for title, query in QUERIES if not watched.values(filled_in(query))]
    assert empty == []
    [listed] = [each["query"]["query"] for each in BOARD["templating"]["list"] if each["type"] == "query"]
    metric, label = re.findall(r"\w+", listed)[1:]
    assert watched.ask(f"/label/{label}/values", **{"match[]": metric}) == ["landscapes"]


def filled_in(query: str) -> str:
    for name, value in FILLED_IN.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query
