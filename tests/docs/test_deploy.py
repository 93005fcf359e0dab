"""The files that operators copy: what the proxy must say to the gateway, and that nginx takes it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.missing import need

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = DEPLOY / "nginx" / "darkroom.conf"


def test_the_proxy_says_who_calls_by_what_name_and_over_what() -> None:
    said = dict(re.findall(r"proxy_set_header (\S+)\s+(\S+);", NGINX.read_text()))
    assert said["Host"] == "$host"
    assert said["X-Forwarded-For"] == "$proxy_add_x_forwarded_for"
    assert said["X-Forwarded-Proto"] == "$scheme"  # else links that we give out begin with http
    assert (said["Upgrade"], "Connection" in said) == ("$http_upgrade", True)


def test_nginx_takes_the_file(tmp_path: Path) -> None:
    nginx, openssl = need("nginx"), need("openssl")
    name = {"-keyout": "privkey.pem", "-out": "fullchain.pem"}
    files = [text for flag, file in name.items() for text in (flag, str(tmp_path / file))]
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=darkroom.example.org", *files]
    subprocess.run(made, check=True, capture_output=True)
    text = NGINX.read_text().replace("/etc/ssl/darkroom", str(tmp_path)).replace("listen 443", "listen 127.0.0.1:44380")
    around = f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n"
    (tmp_path / "nginx.conf").write_text(around)
    tried = subprocess.run([nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_systemd_waits_longer_than_the_supervisor_gives_its_children() -> None:
    from darkroom.cli.serve import GATEWAY_STOP_S
    from darkroom.config import ServeSettings
    from darkroom.fleet.supervisor import STOP_MARGIN_S

    unit = (DEPLOY / "systemd" / "darkroom.service").read_text()
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(seconds) > ServeSettings().drain_s + STOP_MARGIN_S + GATEWAY_STOP_S
