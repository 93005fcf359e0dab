"""The command line end to end with the model that ships: images, repeats, refusals, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin

from darkroom.cli import run
from darkroom.models.catalogue import BUNDLED_FOLDER
from tests.integration.redis_server import RedisServer
from tests.lora_files import lora, put

QUICK = ["--steps", "2", "--size", "192x192"]  # what an image costs here is mostly its steps
COMMAND = [sys.executable, "-c", "from darkroom.cli import main; main()"]
LANDSCAPES = BUNDLED_FOLDER / "landscapes"

pytestmark = pytest.mark.filterwarnings("ignore")  # the command line itself silences the libraries


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder; what a command does to this process is undone."""
    monkeypatch.chdir(tmp_path)
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, os.environ.get(name, "error"))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def darkroom(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        return Said(code, *capsys.readouterr())

    return call


def pixels(path: Path | str) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def settings(path: Path | str) -> dict[str, Any]:
    with Image.open(path) as image:
        return dict(json.loads(image.text["darkroom"]))  # type: ignore[attr-defined]


# ---- images ----


def test_a_prompt_becomes_a_picture_that_says_how_it_was_made(darkroom: Call, folder: Path) -> None:
    said = darkroom("generate", "A beautiful sunset over mountains", "-o", "sunset.png", "--seed", "7", *QUICK)
    assert said.code == 0
    assert str(folder / "sunset.png") in said.out
    assert "steps/s" in said.err
    assert "float32" in said.err
    made = settings("sunset.png")
    assert made["input"]["prompt"] == "A beautiful sunset over mountains"
    assert (made["input"]["seed"], made["model"], made["task"]) == (7, "landscapes", "text-to-image")
    assert {"revision", "fixed_rows", "device", "threads", "versions", "scheduler"} <= made.keys()
    assert Image.open("sunset.png").size == (192, 192)
    assert "Steps: 2, Sampler: DPM++ 2M" in Image.open("sunset.png").text["parameters"]  # type: ignore[attr-defined]


def test_like_repeats_an_image_pixel_for_pixel(darkroom: Call) -> None:
    darkroom("generate", "dawn over hills", "-o", "a.png", "--negative", "rain", "--solver", "euler", *QUICK)
    said = darkroom("generate", "--like", "a.png", "-o", "b.png")
    assert said.code == 0
    assert "warning" not in said.err
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_like_finds_a_model_that_was_given_by_a_path(darkroom: Call, folder: Path) -> None:
    shutil.copytree(LANDSCAPES, folder / "mine", copy_function=os.symlink)
    darkroom("generate", "dawn over hills", "-o", "a.png", "--model", "mine", *QUICK)
    assert settings("a.png")["origin"] == str(folder / "mine")
    said = darkroom("generate", "--like", "a.png", "-o", "b.png")
    assert (said.code, "warning" in said.err) == (0, False)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    darkroom("generate", "dawn over hills", "-o", "c.png", *QUICK)
    assert "origin" not in settings("c.png"), "a name says it all"


@pytest.fixture
def ink(folder: Path) -> Path:
    """An adapter that darkroom.toml names."""
    (folder / "darkroom.toml").write_text('[adapters.ink]\npath = "ink.safetensors"\n')
    return put(folder / "ink.safetensors", lora(1))


def test_an_adapter_changes_the_picture_and_like_uses_it_again(darkroom: Call, ink: Path) -> None:
    asked = ("generate", "dawn over hills", "--seed", "7", *QUICK)
    assert darkroom(*asked, "-o", "plain.png").code == 0
    assert darkroom(*asked, "-o", "a.png", "--adapter", "ink=1").code == 0
    assert pixels("a.png") != pixels("plain.png")
    assert settings("a.png")["input"]["adapters"] == {"ink": 1.0}
    said = darkroom("generate", "--like", "a.png", "-o", "b.png")
    assert (said.code, "warning" in said.err) == (0, False)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert darkroom("generate", "--like", "a.png", "--adapter", "ink=0", "-o", "c.png").code == 0
    assert pixels("c.png") == pixels("plain.png")


def test_like_says_which_adapter_has_changed_or_is_missing(darkroom: Call, ink: Path) -> None:
    darkroom("generate", "dawn over hills", "-o", "a.png", "--adapter", "ink=1", *QUICK)
    ink.write_bytes(lora(2))
    said = darkroom("generate", "--like", "a.png", "-o", "b.png")
    assert said.code == 0
    assert "adapter ink was" in said.err
    (ink.parent / "darkroom.toml").unlink()
    said = darkroom("generate", "--like", "a.png", "-o", "c.png")
    assert (said.code, "no adapter 'ink'" in said.err) == (2, True)


def test_like_yields_to_what_is_said(darkroom: Call) -> None:
    darkroom("generate", "dawn over hills", "-o", "a.png", "--seed", "3", *QUICK)
    assert darkroom("generate", "--like", "a.png", "-o", "b.png", "--steps", "3").code == 0
    assert settings("b.png")["input"] == {**settings("a.png")["input"], "num_inference_steps": 3}
    assert pixels("a.png") != pixels("b.png")


def test_one_of_several_images_can_be_made_again_alone(darkroom: Call, folder: Path) -> None:
    said = darkroom("generate", "a lake", "--images", "4", "-o", "x.png", "--seed", "40", *QUICK)
    assert said.code == 0
    assert sorted(path.name for path in folder.glob("*.png")) == [f"x-{k}.png" for k in range(4)]
    assert [settings(f"x-{k}.png")["input"]["seed"] for k in range(4)] == [40, 41, 42, 43]
    assert len({pixels(f"x-{k}.png") for k in range(4)}) == 4
    darkroom("generate", "--like", "x-2.png", "-o", "again.png")
    assert Path("again.png").read_bytes() == Path("x-2.png").read_bytes()


def test_several_prompts_and_a_file_of_them_make_the_same_images(darkroom: Call) -> None:
    Path("prompts.txt").write_text("a lake\n\n  two pines  \n", encoding="utf-8")
    assert darkroom("generate", "a lake", "two pines", "-o", "x.png", "--seed", "1", *QUICK).code == 0
    said = darkroom("generate", "--prompts-file", "prompts.txt", "-o", "y.png", "--seed", "1", *QUICK)
    assert said.code == 0
    assert "2 images" in said.err
    for k in range(2):
        assert Path(f"x-{k}.png").read_bytes() == Path(f"y-{k}.png").read_bytes()


def test_json_is_one_object_on_stdout(darkroom: Call, folder: Path) -> None:
    said = darkroom("generate", "a lake", "--json", "-o", "x.png", *QUICK)
    answer = said.json
    assert [image["path"] for image in answer["images"]] == [str(folder / "x.png")]
    assert answer["images"][0]["settings"] == settings("x.png")
    assert (answer["model"], answer["failed"], answer["warnings"]) == ("landscapes", [], [])
    assert f"seed {answer['seed']}" in said.err


def test_a_drawn_seed_is_told_and_differs(darkroom: Call) -> None:
    for name in ("a.png", "b.png"):
        darkroom("generate", "a lake", "-o", name, *QUICK)
    assert settings("a.png")["input"]["seed"] != settings("b.png")["input"]["seed"]


def test_a_preset_sets_steps_guidance_and_solver(darkroom: Call) -> None:
    said = darkroom("models", "--json").json
    fast = next(model for model in said["models"] if model["name"] == "landscapes")["presets"]["fast"]
    darkroom("generate", "a lake", "--preset", "fast", "-o", "x.png", "--size", "192x192")
    assert settings("x.png")["input"].items() >= {k: v for k, v in fast.items() if v}.items()


def test_pictures_to_start_from_and_masks(darkroom: Call) -> None:
    darkroom("generate", "a lake", "-o", "start.png", "--seed", "1", *QUICK)
    Image.new("L", (192, 192), 255).save("mask.png")
    start = ["--init-image", "start.png", "--steps", "4"]
    assert darkroom("generate", "a lake in snow", *start, "--strength", "0.5", "-o", "b.png").code == 0
    assert darkroom("generate", "a red house", *start, "--mask", "mask.png", "-o", "c.png").code == 0
    assert (settings("b.png")["task"], settings("c.png")["task"]) == ("image-to-image", "inpaint")
    assert darkroom("generate", "--like", "b.png", "--init-image", "start.png", "-o", "again.png").code == 0
    assert Path("again.png").read_bytes() == Path("b.png").read_bytes()
    refused = darkroom("generate", "--like", "b.png", "-o", "again.png")
    assert refused.code == 2
    assert "was made from another picture" in refused.err
    assert "with a mask" in darkroom("generate", "--like", "c.png", "--init-image", "start.png", "-o", "no.png").err
    both = ["--init-image", "start.png", "--mask", "mask.png"]
    assert darkroom("generate", "--like", "c.png", *both, "-o", "again.png").code == 0
    assert Path("again.png").read_bytes() == Path("c.png").read_bytes()
    changed = darkroom("generate", "--like", "b.png", "--init-image", "c.png", "-o", "again.png")
    assert "picture to start from was" in changed.err


def test_words_that_the_model_will_not_see_are_quoted(darkroom: Call) -> None:
    said = darkroom("generate", "a lake, " * 60 + "golden pagodas", "--json", "-o", "x.png", *QUICK)
    assert said.code == 0
    assert said.json["warnings"][0].endswith("golden pagodas'")
    assert "golden pagodas" in said.err


@pytest.mark.parametrize(("name", "value"), [("revision", "0" * 64), ("threads", 64), ("fixed_rows", 4)])
def test_like_warns_of_what_has_changed(name: str, value: Any, darkroom: Call) -> None:
    darkroom("generate", "a lake", "-o", "a.png", *QUICK)
    rewrite("a.png", {**settings("a.png"), name: value})
    said = darkroom("generate", "--like", "a.png", "-o", "b.png")
    assert said.code == 0
    if name == "fixed_rows":  # taken over: it decides the pixels
        assert settings("b.png")["fixed_rows"] == 4
    else:
        assert f"warning: {'model revision' if name == 'revision' else 'thread count'} was" in said.err


def test_like_warns_of_another_torch(darkroom: Call) -> None:
    darkroom("generate", "a lake", "-o", "a.png", *QUICK)
    made = settings("a.png")
    rewrite("a.png", {**made, "versions": {**made["versions"], "torch": "1.0"}})
    assert "warning: torch was 1.0 and is" in darkroom("generate", "--like", "a.png", "-o", "b.png").err


def rewrite(path: str, made: dict[str, Any] | str) -> None:
    """Give a picture other settings."""
    info = PngImagePlugin.PngInfo()
    info.add_text("darkroom", made if isinstance(made, str) else json.dumps(made))
    with Image.open(path) as image:
        image.load()
        image.save(path, pnginfo=info)


# ---- refusals ----


def a_picture(name: str, size: tuple[int, int] = (192, 192)) -> str:
    Image.new("RGB", size).save(name)
    return name


def a_file(name: str, content: bytes = b"") -> str:
    Path(name).write_bytes(content)
    return name


def a_damaged_picture(name: str) -> str:
    rewrite(a_picture(name), '{"input":')
    return name


def a_picture_with(name: str, **asked: Any) -> str:
    inputs = {"prompt": "p", "num_inference_steps": 2, "width": 192, "height": 192, "seed": 1, **asked}
    rewrite(a_picture(name), {"model": "landscapes", "fixed_rows": 8, "input": inputs})
    return name


def a_toml(text: str) -> str:
    return a_file("darkroom.toml", text.encode())


Arguments = Callable[[], list[str]]
REFUSED: dict[str, tuple[Arguments, str]] = {
    "no prompt": (list, "a prompt of 1 to 2000 characters"),
    "empty prompt": (lambda: [""], "prompt must have 1 to 2000 characters, not 0 [PROMPT]"),
    "blank prompt": (lambda: ["  "], "not only blanks"),
    "over-long prompt": (lambda: ["x" * 2001], "prompt must have 1 to 2000 characters, not 2001"),
    "over-long negative": (lambda: ["p", "--negative", "x" * 2001], "[--negative]"),
    "steps 0": (lambda: ["p", "--steps", "0"], "must be a whole number from 1 to 1000, not 0 [--steps]"),
    "steps -1": (lambda: ["p", "--steps", "-1"], "not -1 [--steps]"),
    "steps 1001": (lambda: ["p", "--steps", "1001"], "not 1001 [--steps]"),
    "steps of words": (lambda: ["p", "--steps", "many"], "--steps"),
    "size no multiple": (lambda: ["p", "--size", "250x256"], "width must be a multiple of 16, not 250"),
    "size not offered": (lambda: ["p", "--size", "512x512"], "it offers 256x256, 320x192, 192x320, 192x192 [--size]"),
    "size of words": (lambda: ["p", "--size", "large"], "size must be WIDTHxHEIGHT in pixels"),
    "NaN guidance": (lambda: ["p", "--guidance", "nan"], "a finite number from 0 to 50, not nan [--guidance]"),
    "infinite guidance": (lambda: ["p", "--guidance", "inf"], "[--guidance]"),
    "seed too large": (lambda: ["p", "--seed", str(2**63)], "from 0 to 9223372036854775807"),
    "17 images": (lambda: ["p", "--images", "17"], "from 1 to 16, not 17 [--images]"),
    "unknown model": (lambda: ["p", "--model", "nope"], "there is no model 'nope'; there are: landscapes"),
    "unknown solver": (lambda: ["p", "--solver", "nope"], "'nope' is no solver; landscapes takes: ddim"),
    "solver that does not fit": (lambda: ["p", "--solver", "flow-euler"], "does not fit landscapes, a diffusion model"),
    "unknown preset": (lambda: ["p", "--preset", "nope"], "no preset 'nope'; allowed: fast, quality, turbo [--preset]"),
    "missing image": (lambda: ["p", "--init-image", "nope.png"], "nope.png cannot be read as a picture"),
    "unreadable image": (lambda: ["p", "--init-image", a_file("a.png", b"no")], "is no picture that can be read"),
    "image of another size": (lambda: ["p", "--init-image", a_picture("a.png", (100, 96))], "multiple of 16"),
    "mask of another size": (
        lambda: ["p", "--init-image", a_picture("a.png"), "--mask", a_picture("m.png", (256, 256))],
        "mask_image is 256x256; it must have the image's size, 192x192 [--mask]",
    ),
    "mask without image": (lambda: ["p", "--mask", a_picture("m.png")], "needs an image"),
    "strength without image": (lambda: ["p", "--strength", "0.5"], "needs an image to start from [--init-image]"),
    "strength without a step": (
        lambda: ["p", "--init-image", a_picture("a.png"), "--strength", "0.1", "--steps", "5"],
        "leaves none of 5 steps to run; at least 0.2",
    ),
    "output folder missing": (lambda: ["p", "-o", "nowhere/x.png"], "make the folder first [--output]"),
    "output is a folder": (lambda: ["p", "-o", os.makedirs("d.png") or "d.png"], "is a folder"),
    "output in no folder": (lambda: ["p", "-o", a_file("f") + "/x.png"], "make the folder first"),
    "output no PNG": (lambda: ["p", "-o", "x.jpg"], "must end in .png"),
    "control image": (
        lambda: ["p", "--control-image", a_picture("c.png")],
        "landscapes has no ControlNet to read a control image: `controlnet` in [models.landscapes] of darkroom.toml",
    ),
    "control scale alone": (lambda: ["p", "--control-scale", "0.5"], "needs a control_image to follow"),
    "adapter unknown": (lambda: ["p", "--adapter", "ink=0.5"], "no adapter 'ink'"),
    "adapter without weight": (lambda: ["p", "--adapter", "ink"], "must be NAME=WEIGHT"),
    "adapter twice": (lambda: ["p", "--adapter", "a=1", "--adapter", "a=2"], "each adapter once"),
    "adapter too heavy": (lambda: ["p", "--adapter", "ink=1e9"], "from -100 to 100"),
    "prompts file missing": (lambda: ["--prompts-file", "nope.txt"], "nope.txt cannot be read"),
    "prompts file empty": (lambda: ["--prompts-file", a_file("p.txt", b"\n\n")], "holds no prompt"),
    "prompts file no text": (lambda: ["--prompts-file", a_file("p.txt", b"\xff\xfe")], "is not UTF-8 text"),
    "prompts twice": (lambda: ["p", "--prompts-file", "p.txt"], "not both"),
    "one bad line of many": (lambda: ["--prompts-file", a_file("p.txt", b"a\n" + b"x" * 2001)], "not 2001"),
    "like nothing": (lambda: ["--like", "nope.png"], "nope.png cannot be read as a picture"),
    "like a foreign picture": (lambda: ["--like", a_picture("a.png")], "carries no settings of Darkroom's"),
    "like a damaged picture": (lambda: ["--like", a_damaged_picture("a.png")], "its settings are damaged"),
    "like impossible settings": (
        lambda: ["--like", a_picture_with("a.png", num_inference_steps=0)],
        "its settings are damaged: num_inference_steps",
    ),
    "like an impossible seed": (lambda: ["--like", a_picture_with("a.png", seed="x")], "seed must be a whole number"),
    "broken toml": (lambda: ["p", "--config", a_toml("[models\n")], "is not valid TOML"),
    "wrong key": (lambda: ["p", "--config", a_toml("colour = 1")], "colour: there is no such key; allowed: home"),
    "missing config": (lambda: ["p", "--config", "nope.toml"], "there is no such file"),
    "unknown flag": (lambda: ["p", "--colour"], "No such option: --colour"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_bad_input_is_refused_in_one_line_with_exit_code_2(wrong: str, darkroom: Call) -> None:
    arguments, allowed = REFUSED[wrong]
    said = darkroom("generate", *arguments())
    assert said.code == 2
    assert allowed in said.err
    assert said.err.startswith("darkroom: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(Path().glob("out*.png"))


def test_a_refusal_is_json_too(darkroom: Call) -> None:
    said = darkroom("generate", "p", "--steps", "0", "--json")
    assert said.code == 2
    assert said.json["error"]["code"] == "bad_input"
    assert said.json["error"]["field"] == "num_inference_steps"


def test_a_flag_that_does_not_exist_is_json_too(darkroom: Call) -> None:
    said = darkroom("generate", "p", "--colour", "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "bad_input")


def broken_model(harm: Callable[[Path], object]) -> str:
    """A copy of the bundled model by links, with one thing wrong, as the catalogue's only entry beside it."""
    copied = Path(shutil.copytree(LANDSCAPES, "broken", copy_function=os.symlink))
    harm(copied)
    return a_toml('[models.broken]\npath = "broken"\n')


def cut(model: Path) -> None:
    path = model / "unet" / "diffusion_pytorch_model.safetensors"
    content = path.read_bytes()[:-10]
    path.unlink()
    path.write_bytes(content)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing weights": (lambda m: (m / "vae/diffusion_pytorch_model.safetensors").unlink(), "holds no weights"),
    "missing folder": (shutil.rmtree, "there is no such folder"),
    "cut-off weights": (cut, "where its header says"),
    "pickled weights": (
        lambda m: (m / "vae/diffusion_pytorch_model.safetensors").rename(m / "vae/diffusion_pytorch_model.bin"),
        "allow_pickle = true",
    ),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_model_is_refused_listed_and_diagnosed(wrong: str, darkroom: Call) -> None:
    harm, why = BROKEN[wrong]
    broken_model(harm)
    said = darkroom("generate", "p", "--model", "broken")
    assert said.code == 2
    assert why in said.err
    assert why in darkroom("models").out
    doctor = darkroom("doctor")
    assert doctor.code == 1
    assert why in next(line for line in doctor.out.splitlines() if line.split()[1:3] == ["model", "broken:"])
    assert "wrong" in doctor.out


# ---- models and doctor ----


def test_models_says_what_there_is_and_where_it_came_from(darkroom: Call) -> None:
    a_toml('[models.far]\nhub = "some/model-that-is-not-here"\nrevision = "abc"\n')
    said = darkroom("models")
    assert said.code == 0
    revision = darkroom("models", "list", "--json").json["models"][0]["revision"]
    assert revision[:12] in said.out
    assert str(LANDSCAPES) in said.out
    assert "some/model-that-is-not-here@abc" in said.out
    assert "not downloaded yet" in said.out


def test_flags_may_stand_before_or_after_list(darkroom: Call) -> None:
    a_file("other.toml", b'default_model = "other"')
    for order in (["--config", "other.toml", "--json", "list"], ["list", "--json", "--config", "other.toml"]):
        assert darkroom("models", *order).json["default"] == "other"


def test_the_revision_listed_is_the_revision_recorded(darkroom: Call) -> None:
    darkroom("generate", "a lake", "-o", "x.png", *QUICK)
    assert settings("x.png")["revision"] == darkroom("models", "--json").json["models"][0]["revision"]


def test_doctor_is_content_where_all_is_well(darkroom: Call, folder: Path) -> None:
    said = darkroom("doctor")
    assert said.code == 0
    assert "wrong" not in said.out
    for word in (
        "torch",
        "diffusers",
        str(folder / ".darkroom"),
        "float32",
        "model         landscapes: ",
        "adapter       neon: ",
        "no darkroom.toml here",
        " MiB for models, then the disk: the host's memory is the device's",
        str(folder / ".darkroom" / "jobs.sqlite3"),
        str(folder / ".darkroom" / "artifacts"),
    ):
        assert word in said.out
    assert {line[7:21].partition("  ")[0] for line in said.out.splitlines()} >= {"torch", "home", "device", "model"}
    assert darkroom("doctor", "--json").json["ok"] is True
    assert not [*(folder / ".darkroom").glob("jobs*"), *(folder / ".darkroom").glob("artifacts*")]  # it only looks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models\n", "is not valid TOML"),
        ('default_model = "nope"', "default_model is 'nope'; there are: landscapes"),
        ('home = "f/home"', "f/home"),
        ('[serve]\nstore = "sqlite:///darkroom.toml"', "is damaged"),
        ('[serve]\nstore = "redis://127.0.0.1:1/0"', "redis://127.0.0.1:1/0"),
        ('[serve]\nstorage = "f"', "storage"),
        ('[adapters.ink]\npath = "nowhere.safetensors"', "adapter       ink: "),
    ],
)
def test_doctor_says_what_is_wrong(text: str, said: str, darkroom: Call) -> None:
    a_file("f")
    a_toml(text)
    answer = darkroom("doctor")
    assert answer.code == 1
    assert said in next(line for line in answer.out.splitlines() if line.startswith("wrong"))


def test_doctor_says_what_a_redis_may_lose(folder: Path, darkroom: Call) -> None:
    server = RedisServer(folder, fsync="everysec")
    try:
        a_toml(f'[serve]\nstore = "{server.url}"')
        said = darkroom("doctor")
    finally:
        server.kill()
    [found] = [line for line in said.out.splitlines() if line.split()[:2] == ["ok", "store"]]
    assert "(appendfsync everysec): a power cut may lose up to a second of accepted jobs" in found


def test_without_a_command_there_is_help(darkroom: Call) -> None:
    said = darkroom()
    assert said.code == 2
    assert "generate" in said.err
    assert darkroom("--version").out.startswith("darkroom ")


# ---- a process of its own ----


def environment(**more: str) -> dict[str, str]:
    """No network, and of what this test process was told only the threads: bytes follow them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "TRANSFORMERS_"))}
    return {**kept, "HF_HUB_OFFLINE": "1", "DARKROOM_THREADS": os.environ["DARKROOM_THREADS"], **more}


@pytest.mark.slow
def test_a_process_says_nothing_that_it_was_not_asked(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "generate", "a lake", "-o", "x.png", "--seed", "7", *QUICK],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'x.png'}  192x192  seed 7\n"
    lines = done.stderr.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["landscapes", "seed", "1"], done.stderr


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes_in_another_process(folder: Path, darkroom: Call) -> None:
    command = ["generate", "a lake", "--seed", "7", *QUICK]
    assert darkroom(*command, "-o", "a.png").code == 0
    subprocess.run([*COMMAND, *command, "-o", "b.png"], check=True, capture_output=True, env=environment(), timeout=300)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.slow
def test_an_interrupt_ends_it_with_130_and_leaves_no_file(folder: Path) -> None:
    command = [*COMMAND, "generate", "a lake", "-o", "x.png", "--steps", "900"]
    # a shell that runs the tests in the background has them ignore interrupts, and children inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    signal.signal(signal.SIGINT, before)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("landscapes")  # loaded: it begins
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert list(folder.glob("*x.png*")) == []


@pytest.mark.slow
def test_an_output_folder_that_cannot_be_written_is_refused_before_torch_is_loaded(folder: Path) -> None:
    code = "import sys\nfrom darkroom.cli import run\ncode = run(sys.argv[1:])\nprint(code, 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "generate", "p", "-o", "nowhere/x.png"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    assert done.stdout == "2 False\n", done.stderr
