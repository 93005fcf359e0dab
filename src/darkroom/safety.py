"""Which prompts are refused, and whose pictures are checked: the rules of one file, read at the start.

A text is judged as people read it: compatibility forms folded (NFKC), what is invisible taken out, case ignored.
Words are matched whole; patterns are RE2's (https://github.com/google/re2), whose time grows with the text alone, so
that no pattern and no prompt can stall the gateway.
"""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .config import SafetySettings
from .errors import BadInput, ContentRefused, InvalidConfig, NotSupported
from .wording import problem_said

WORD = re.compile(r"[^\W_]+")
# Of the default-ignorable code points (UAX 44) those that are no format characters (Cf) already; unassigned ones too.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # Cc, but tab and both ends of lines
MOST_MEMORY = 8 * 2**20  # bytes that one pattern may take, compiled
Judged = Literal["prompt", "negative_prompt"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Section(_Frozen):
    """What is refused: `words` (or phrases) and `patterns`, in those `fields`."""

    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    fields: tuple[Judged, ...] = ("prompt", "negative_prompt")


class OwnSection(Section):
    """The same for one model or tenant; `check_images` stands above `[safety] check_images`."""

    check_images: bool | None = None


class RulesFile(_Frozen):
    """What a rules file may say."""

    default: Section = Field(default_factory=Section)
    models: dict[str, OwnSection] = Field(default_factory=dict)
    tenants: dict[str, OwnSection] = Field(default_factory=dict)


@dataclass(frozen=True)
class Matcher:
    """One section, made ready."""

    phrases: tuple[str, ...]
    patterns: tuple[Any, ...]
    fields: tuple[str, ...]

    def finds(self, text: str) -> bool:
        """Whether something in the text is refused; `text` is plain already."""
        words = phrase_of(text)
        return any(phrase in words for phrase in self.phrases) or any(each.search(text) for each in self.patterns)


@dataclass(frozen=True)
class Rules:
    """All sections; what a request meets is the default, its model's and its tenant's together."""

    default: Matcher
    models: Mapping[str, Matcher]
    tenants: Mapping[str, Matcher]
    checked_models: Mapping[str, bool]
    checked_tenants: Mapping[str, bool]
    check_images: bool

    def check_texts(self, texts: Mapping[str, str], model: str, tenant: str, *, read_as: str | None = None) -> None:
        """Raise `ContentRefused` with the field; what was found is not told, or it would be learnt by asking.

        `read_as`: the field by whose rules all of them are judged.
        """
        found = (self.default, self.models.get(model), self.tenants.get(tenant))
        matchers = [matcher for matcher in found if matcher is not None]
        for field, text in texts.items():
            said = plain(text)
            if any((read_as or field) in matcher.fields and matcher.finds(said) for matcher in matchers):
                raise ContentRefused(f"the rules of this service refuse the {field.replace('_', ' ')}", field=field)

    def check_remote(self, model: str, tenant: str) -> None:
        """Raise `NotSupported` where the rules insist on checks of a model whose pictures another service makes."""
        if self.checked_tenants.get(tenant, self.checked_models.get(model)):
            said = f"pictures of {model} are to be checked by the rules here, and another service makes them"
            raise NotSupported(f"{said}: its operator says check_images in the rules over there instead", field="model")

    def has_checks(self, model: str, tenant: str, *, has_checker: bool) -> bool:
        """Whether the pictures of such a job are checked: the tenant's word first, then the model's.

        Raises `InvalidConfig` where one of them insists, and the model has no checker.
        """
        said = self.checked_tenants.get(tenant, self.checked_models.get(model))
        if said and not has_checker:
            text = f"pictures of {model} are to be checked, and it has no safety checker: name one in its entry"
            raise InvalidConfig(text, field="safety_checker")
        return has_checker and (self.check_images if said is None else said)


def read_rules(said: SafetySettings) -> Rules:
    """The rules of the file that the settings name; raises `InvalidConfig`, which says file, key and what is wrong."""
    file = RulesFile() if said.rules is None else _read(said.rules)
    return Rules(
        default=_matcher(file.default, said.rules, "default"),
        models={name: _matcher(each, said.rules, f"models.{name}") for name, each in file.models.items()},
        tenants={name: _matcher(each, said.rules, f"tenants.{name}") for name, each in file.tenants.items()},
        checked_models=_checks(file.models),
        checked_tenants=_checks(file.tenants),
        check_images=said.check_images,
    )


def plain(text: str) -> str:
    """The text as it is judged."""
    # Taken out before as well, for what is invisible keeps marks from the letters that they belong to.
    return _visible(unicodedata.normalize("NFKC", _visible(text.encode("utf-8", "replace").decode())))


def check_characters(texts: Mapping[str, str]) -> None:
    """Raise `BadInput` with the field where a text holds control characters but tabs and ends of lines.

    Nobody sees them, tokenizers drop them, and words in two would be words of none for the rules.
    """
    for field, text in texts.items():
        if (found := CONTROL.search(text)) is not None:
            said = f"{field} must hold no control characters but tab and line ends, and has U+{ord(found[0]):04X}"
            raise BadInput(said, field=field)


def _visible(text: str) -> str:
    return "".join(mark for mark in INVISIBLE.sub("", text) if unicodedata.category(mark) != "Cf")


def phrase_of(text: str) -> str:
    """Its words in one case, each between spaces: what is whole in one is whole in the other."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


def _read(path: Path) -> RulesFile:
    try:
        # Through JSON, so that strict types take a TOML array for a tuple.
        return RulesFile.model_validate_json(json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str))
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{path} is not valid TOML: {error}", field="safety.rules") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}", field="safety.rules") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InvalidConfig(f"{path}: {key}: {problem_said(first)}", field="safety.rules") from error


def _checks(sections: Mapping[str, OwnSection]) -> dict[str, bool]:
    return {name: each.check_images for name, each in sections.items() if each.check_images is not None}


def _matcher(said: Section, path: Path | None, place: str) -> Matcher:
    phrases = []
    for text in said.words:
        phrase = phrase_of(plain(text))
        if not phrase.strip():
            raise InvalidConfig(f"{path}: {place}.words: {text!r} has no word in it", field="safety.rules")
        phrases.append(phrase)
    return Matcher(tuple(phrases), tuple(_compiled(said.patterns, path, place)), said.fields)


def _compiled(patterns: Sequence[str], path: Path | None, place: str) -> list[Any]:
    if not patterns:
        return []
    try:
        import re2
    except ModuleNotFoundError as error:
        text = f"{path}: {place}.patterns need the package google-re2, which the extra `safety` brings"
        raise InvalidConfig(text, field="safety.rules") from error
    options = re2.Options()
    options.case_sensitive, options.log_errors, options.max_mem = False, False, MOST_MEMORY
    compiled = []
    for pattern in patterns:
        try:
            compiled.append(re2.compile(pattern, options))
        except re2.error as error:
            text = f"{path}: {place}.patterns: {pattern!r} is no pattern of RE2: {_said(error)}"
            raise InvalidConfig(text, field="safety.rules") from error
    return compiled


def _said(error: Exception) -> str:
    found = error.args[0] if error.args else ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
