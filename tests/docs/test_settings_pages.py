"""The pages about models and settings: their files are valid, and no key goes unsaid."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from darkroom import config
from darkroom.bench.template import read_template
from darkroom.config import SafetySettings
from darkroom.models.catalogue import catalogue
from darkroom.safety import read_rules

ROOT = Path(__file__).parents[2]
GUIDES = sorted(f"docs/guides/{path.name}" for path in (ROOT / "docs/guides").glob("*.md"))
PAGES = (*GUIDES, "docs/reference/settings.md", "README.md")
RULES, TEMPLATE = "# rules.toml\n", "# theirs.toml\n"  # begin what is no darkroom.toml
TOML = re.compile(r"^( *)```toml\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
    return [(page, dedent(block)) for page, text in texts.items() for _, block in TOML.findall(text)]


@pytest.mark.parametrize(("page", "block"), blocks())
def test_every_file_on_the_pages_is_a_valid_one(
    page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "darkroom.toml"
    path.write_text(block, encoding="utf-8")
    if block.startswith(RULES):
        assert read_rules(SafetySettings(rules=path)).default.finds("forbidden")
        return
    if block.startswith(TEMPLATE):
        monkeypatch.setenv("THEIR_KEY", "a-key")
        assert read_template(path).url == "http://127.0.0.1:9000/predictions"
        return
    settings = config.load(path)
    known = catalogue(settings) if settings.models or not settings.adapters else None  # a block may name others' models
    assert known is None or settings.models.keys() <= known.entries.keys()
    for model in settings.models.values():
        # A reader copies what is there: a folder is no file, and a file is no folder.
        assert model.path is None or not model.path.suffix, f"{page}: a single file goes under `file`"
        assert model.file is None or model.file.suffix == ".safetensors"


@pytest.mark.parametrize(
    "key",
    sorted(
        {
            name
            for table in (
                *(config.FileSettings, config.ModelSettings, config.PresetSettings),
                *(config.ServeSettings, config.SafetySettings, config.OidcSettings, config.SlackSettings),
            )
            for name in table.model_fields
        }
        - {"models", "serve", "safety", "oidc", "guests", "slack", "fleet"}  # tables
    ),
)
def test_every_key_is_explained(key: str) -> None:
    assert f"| `{key}` |" in (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", sorted({*config.EnvironmentSettings.model_fields, *config.ClientSettings.model_fields}))
def test_every_variable_is_explained(key: str) -> None:
    name = f"{config.ENV_PREFIX}{key.upper()}"
    assert f"`{name}`" in (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
