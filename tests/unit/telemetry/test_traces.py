"""What traces cost those who do not use them: nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
{before}
from darkroom.app import _tracing
from darkroom.config import load
import darkroom.gateway.app, darkroom.telemetry.worker
with _tracing(load(), "gateway", "gateway") as tracing:
    print(type(tracing).__name__, sys.modules.get("opentelemetry.sdk") is not None)
"""
UNINSTALLED = "sys.modules.update({'opentelemetry.sdk': None, 'opentelemetry.exporter': None})"


def run(folder: Path, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        cwd=folder,
        env={"DARKROOM_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
    )


def test_without_an_endpoint_nothing_of_it_is_imported(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout.split()) == (0, ["NoneType", "False"]), ended.stderr


def test_without_the_extra_all_goes_on_with_a_warning(tmp_path: Path) -> None:
    ended = run(tmp_path, UNINSTALLED, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    assert (ended.returncode, ended.stdout.split()) == (0, ["NoneType", "False"]), ended.stderr
    assert "The extra `otel` brings it" in ended.stderr


def test_an_endpoint_in_the_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text('[serve]\notlp_endpoint = "http://127.0.0.1:9"\n')
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout.split()) == (0, ["Tracing", "True"]), ended.stderr


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text('[serve]\notlp_endpoint = "http://127.0.0.1:9"\n')
    said = "from darkroom.config import load; print(load().serve.otlp_endpoint)"
    for name in ("DARKROOM_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        ended = subprocess.run(
            [sys.executable, "-c", said],
            cwd=tmp_path,
            env={name: "http://collector:4318"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout.strip() == "http://collector:4318"
