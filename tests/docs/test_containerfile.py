"""The Containerfile: what it copies is in the checkout, what it runs is asked for rightly, nobody serves as root."""

from __future__ import annotations

import json
import re
import tomllib

from .deployed import CONTAINERFILE, GUIDE, ROOT, asked_of_the_cli, instructions, shell_commands

STEPS = instructions(CONTAINERFILE.read_text(encoding="utf-8"))
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "CMD"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def said(word: str) -> list[str]:
    """Of each such instruction, the rest of its line."""
    return [rest for name, rest in STEPS if name == word]


def copied() -> set[str]:
    """The names that lie in the image's working folder, from the checkout."""
    return {name for rest in said("COPY") for name in rest.split()[:-1]}


def test_each_instruction_is_one() -> None:
    assert {name for name, _ in STEPS} <= KNOWN
    assert STEPS[0][0] == "FROM"


def test_what_it_copies_is_in_the_checkout() -> None:
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_it_copies_what_the_build_of_the_package_reads() -> None:
    read = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "hatch_build.py", "src"}
    assert read <= copied()


def test_it_installs_extras_that_exist_under_the_pins_of_the_tests() -> None:
    installs = [command for run in said("RUN") for command in shell_commands(run) if command[:2] == ["pip", "install"]]
    [ours] = [command for command in installs if any(word.startswith(".") for word in command)]
    [extras] = re.findall(r"^\.\[(.*)\]$", next(word for word in ours if word.startswith(".")))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert ours[ours.index("-c") + 1] == "constraints.txt"
    assert "constraints.txt" in copied()


def test_its_first_layer_finds_one_pin_of_torch() -> None:
    [pattern] = re.findall(r"sed -n '/(.*?)/p' constraints\.txt", " ".join(said("RUN")))
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if re.search(pattern, line)]
    assert len(pins) == 1
    assert pins[0].startswith("torch==")


def test_its_python_is_one_that_we_admit() -> None:
    [image] = said("FROM")
    [version] = re.findall(r"python:(\d+\.\d+)", image)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_it_serves_as_a_user_that_it_made_and_owns_the_volume() -> None:
    names = [name for name, _ in STEPS]
    [user], [volume] = said("USER"), said("VOLUME")
    assert user != "root"
    commands = [command for run in said("RUN") for command in shell_commands(run)]
    assert any(command[0] == "useradd" and command[-1] == user for command in commands)
    assert ["chown", user, volume] in commands
    assert names.index("USER") < names.index("CMD")
    assert names.index("USER") > max(index for index, name in enumerate(names) if name == "RUN")


def test_what_is_written_and_downloaded_lies_on_the_volume() -> None:
    [volume] = said("VOLUME")
    environment = dict(pair.split("=", 1) for rest in said("ENV") for pair in rest.split())
    for name in ("DARKROOM_HOME", "HF_HOME"):
        assert environment[name] == volume or environment[name].startswith(f"{volume}/")


def test_what_it_starts_is_a_command_of_ours_at_the_port_that_it_names() -> None:
    from darkroom.config import ServeSettings

    [command], [port] = said("CMD"), said("EXPOSE")
    asked = asked_of_the_cli(json.loads(command))
    assert asked["host"] == "0.0.0.0"  # its own loopback reaches nobody
    assert (asked["port"] or ServeSettings().port) == int(port)


def test_it_is_given_the_time_that_it_takes_to_stop() -> None:
    from darkroom.cli.serve import GATEWAY_STOP_S
    from darkroom.config import ServeSettings
    from darkroom.fleet.supervisor import STOP_MARGIN_S

    pages = (CONTAINERFILE.read_text(encoding="utf-8"), GUIDE.read_text(encoding="utf-8"))
    given = [int(seconds) for page in pages for seconds in re.findall(r"--stop-timeout (\d+)", page)]
    assert given
    assert min(given) > ServeSettings().drain_s + STOP_MARGIN_S + GATEWAY_STOP_S
