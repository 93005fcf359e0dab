"""Settings: what is taken, and that a wrong value stops the start and names its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom import config
from darkroom.errors import InvalidConfig

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write_toml(text: str) -> Path:
        path = tmp_path / "darkroom.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_toml


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load()
    assert (settings.home, settings.config_file, settings.default_model) == (tmp_path / ".darkroom", None, "landscapes")


def test_paths_in_the_file_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    write('home = "h"\n[models.a]\npath = "m"\n[models.b]\nfile = "/abs/b.safetensors"\n')
    (tmp_path / "elsewhere").mkdir()
    settings = config.load(tmp_path / "elsewhere" / ".." / "darkroom.toml")
    assert settings.home.resolve() == tmp_path / "h"
    assert settings.models["a"].path is not None
    assert settings.models["a"].path.resolve() == tmp_path / "m"
    assert settings.models["b"].file == Path("/abs/b.safetensors")


def test_the_environment_stands_above_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write('home = "h"\nthreads = 2\ndefault_model = "a"\n')
    monkeypatch.setenv("DARKROOM_HOME", "/somewhere")
    monkeypatch.setenv("DARKROOM_THREADS", "4")
    monkeypatch.setenv("DARKROOM_DEFAULT_MODEL", "b")
    settings = config.load()
    assert (settings.home, settings.threads, settings.default_model) == (Path("/somewhere"), 4, "b")


def test_a_pool_tells_its_worker_its_name_and_price(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("[serve]\nprice_per_hour_usd = 0.5\n")
    assert (config.load().pool, config.load().serve.price_per_hour_usd) == (None, 0.5)
    monkeypatch.setenv("DARKROOM_POOL", "spot")
    monkeypatch.setenv("DARKROOM_PRICE_PER_HOUR_USD", "0.25")
    assert (config.load().pool, config.load().serve.price_per_hour_usd) == ("spot", 0.25)
    monkeypatch.setenv("DARKROOM_PRICE_PER_HOUR_USD", "-1")
    with pytest.raises(InvalidConfig, match="DARKROOM_PRICE_PER_HOUR_USD") as caught:
        config.load()
    assert caught.value.field == "DARKROOM_PRICE_PER_HOUR_USD"


def test_the_environment_may_name_the_file(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write("threads = 2").rename(tmp_path / "other.toml")
    monkeypatch.setenv("DARKROOM_CONFIG", str(tmp_path / "other.toml"))
    monkeypatch.delenv("DARKROOM_THREADS")
    assert config.load().threads == 2


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_the_hubs_own_offline_switches_count(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Write
) -> None:
    write("offline = false")
    for other in config.OFFLINE_NAMES:
        monkeypatch.delenv(other, raising=False)
    assert not config.load().offline
    monkeypatch.setenv(name, "1")
    assert config.load().offline


MODEL = '[models.a]\npath = "m"\n'
WRONG = {
    "colour = 3": ("colour", "no such key; allowed: home, offline"),
    "offlin = true": ("offlin", "no such key (did you mean offline?); allowed: home, offline"),
    "[serve]\nprot = 1": ("serve.prot", "did you mean port?"),
    'offline = "yes"': ("offline", "valid boolean"),
    "threads = 3": ("threads", "power of two"),
    "models = 3": ("models", "not 3"),
    '[models."A b"]\npath = "m"': ("config", "lower-case letters"),
    "[models.a]\n": ("models.a", "exactly one of path, hub, file, remote; given: none"),
    MODEL + 'hub = "x/y"': ("models.a", "given: path, hub"),
    MODEL + 'revision = "main"': ("models.a", "revision goes with hub"),
    MODEL + 'config = "c"': ("models.a", "config goes with file"),
    MODEL + "stepz = 3": ("models.a.stepz", "allowed: path, hub, revision, file"),
    MODEL + 'dtype = "int8"': ("models.a.dtype", "'auto', 'float32', 'float16' or 'bfloat16', not 'int8'"),
    MODEL + 'device = "tpu"': ("models.a.device", "'auto', 'cpu', 'cuda' or 'mps', not 'tpu'"),
    MODEL + 'devices = { vae = "gpu" }': ("models.a.devices.vae", "pattern"),
    MODEL + "step_cache = 0": ("models.a.step_cache", "greater than 0"),
    MODEL + 'attention = "Flash 3"': ("models.a.attention", "pattern"),
    MODEL + 'offload = "disk"': ("models.a.offload", "'none', 'model' or 'blocks', not 'disk'"),
    MODEL + "float8 = true\nstep_cache = 0.1": ("models.a", "step_cache works on copies of modules, and float8"),
    MODEL + 'offload = "model"\nstep_cache = 0.1': ("models.a", "step_cache works on copies of modules, and offload"),
    MODEL + 'float8 = true\nip_adapter = "a"': ("models.a", "ip_adapter works on copies of modules, and float8"),
    MODEL + 'offload = "blocks"\nip_adapter = "a"': ("models.a", "ip_adapter works on copies of modules, and offload"),
    MODEL + 'device = "cpu"\noffload = "model"': ("models.a", "offload is for an accelerator"),
    MODEL + "reproducible_rows = 6": ("models.a.reproducible_rows", "power of two"),
    MODEL + "reproducible_rows = 128": ("models.a.reproducible_rows", "less than or equal to 64"),
    MODEL + "sizes = [[256, 256], [192]]": ("models.a.sizes.1", "[width, height]"),
    MODEL + 'default_size = "256x256"': ("models.a.default_size", "[width, height]"),
    MODEL + "sizes = [[256, 256]]\ndefault_size = [512, 512]": ("models.a", "default_size must be one of sizes"),
    MODEL + "allow_pickle = 1": ("models.a.allow_pickle", "valid boolean"),
    '[models.a]\nhub = "no-slash"': ("models.a.hub", "pattern"),
    MODEL + "[models.a.presets.fast]\nnum_inference_steps = 0": (
        "models.a.presets.fast.num_inference_steps",
        "greater than or equal to 1, not 0",
    ),
    MODEL + "[models.a.presets.fast]\nnum_inference_steps = 4\nguidance_scale = nan": (
        "models.a.presets.fast.guidance_scale",
        "finite number",
    ),
    MODEL + "[models.a.presets.fast]\nnum_inference_steps = 4\nsteps = 4": (
        "models.a.presets.fast.steps",
        "allowed: num_inference_steps, guidance_scale, solver",
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_value_says_file_key_and_what_is_allowed(text: str, write: Write) -> None:
    key, allowed = WRONG[text]
    path = write(text)
    with pytest.raises(InvalidConfig) as caught:
        config.load()
    assert caught.value.field == key
    assert str(path) in caught.value.message
    assert allowed in caught.value.message


def test_broken_toml_says_the_line(write: Write) -> None:
    path = write("offline = true\n[models.a\n")
    with pytest.raises(InvalidConfig, match=r"line 2") as caught:
        config.load()
    assert str(path) in caught.value.message


def test_a_file_that_is_no_text_is_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        config.load()


def test_a_file_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no such file"):
        config.load(tmp_path / "nowhere.toml")


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_OFFLINE", "perhaps")
    with pytest.raises(InvalidConfig, match=r"DARKROOM_OFFLINE.*boolean") as caught:
        config.load()
    assert caught.value.field == "DARKROOM_OFFLINE"


def test_settings_are_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        config.load().home = tmp_path  # type: ignore[misc]


OIDC = '[oidc]\nissuer = "https://accounts.example"\nclient_id = "x"\nallowed_domains = ["example.org"]\n'


def secret_of(settings: config.Settings) -> str | None:
    assert settings.oidc is not None
    said = settings.oidc.secret(settings.oidc_client_secret)
    return None if said is None else said.get_secret_value()


def test_the_clients_secret_is_read_when_it_is_needed_from_the_environment_or_a_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(OIDC)
    assert secret_of(config.load()) is None
    write(OIDC + 'client_secret_file = "hush"\n')
    settings = config.load()  # a worker on another machine has no such file, and needs none
    with pytest.raises(InvalidConfig) as caught:
        secret_of(settings)
    assert caught.value.field == "oidc.client_secret_file"
    (tmp_path / "hush").write_text("from a file\n", encoding="utf-8")
    assert secret_of(settings) == "from a file"
    monkeypatch.setenv("DARKROOM_OIDC_CLIENT_SECRET", "from the environment")
    settings = config.load()
    assert secret_of(settings) == "from the environment"
    assert "from the" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ('[serve]\ntrusted_proxies = ["proxy"]', "serve.trusted_proxies.0", "an address or a network in numbers"),
        ('[serve]\nallowed_ips = ["10.0.0.1/8"]', "serve.allowed_ips.0", "10.0.0.0/8"),
        ('[serve]\nauth = "none"', "serve.auth", "'auto', 'keys' or 'open'"),
        ("[serve]\ntoken_s = 1", "serve.token_s", "greater than or equal to 10"),
        (OIDC.replace("https", "http"), "oidc.issuer", "https"),
        (OIDC.replace("allowed_domains", "# allowed_domains"), "oidc", "say who may sign in"),
        (OIDC + "colour = 3", "oidc.colour", "allowed: issuer, client_id"),
    ],
)
def test_a_wrong_value_about_who_may_come_in_is_refused(write: Write, text: str, key: str, allowed: str) -> None:
    write(text)
    with pytest.raises(InvalidConfig) as caught:
        config.load()
    assert caught.value.field == key
    assert allowed in caught.value.message
