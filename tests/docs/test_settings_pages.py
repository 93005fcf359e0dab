"""The pages about models and settings: their files are valid, and no key goes unsaid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from darkroom import config

ROOT = Path(__file__).parents[2]
PAGES = ("docs/guides/models.md", "docs/guides/operating.md", "docs/reference/settings.md", "README.md")
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return [(page, block) for page in PAGES for block in TOML.findall((ROOT / page).read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "block"), blocks())
def test_every_file_on_the_pages_is_a_valid_one(page: str, block: str, tmp_path: Path) -> None:
    path = tmp_path / "darkroom.toml"
    path.write_text(block, encoding="utf-8")
    settings = config.load(path)
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
                *(config.ServeSettings, config.SafetySettings, config.OidcSettings),
            )
            for name in table.model_fields
        }
        - {"models", "serve", "safety", "oidc"}  # tables
    ),
)
def test_every_key_is_explained(key: str) -> None:
    assert f"| `{key}` |" in (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", sorted({*config.EnvironmentSettings.model_fields, *config.ClientSettings.model_fields}))
def test_every_variable_is_explained(key: str) -> None:
    name = f"{config.ENV_PREFIX}{key.upper()}"
    assert f"`{name}`" in (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
