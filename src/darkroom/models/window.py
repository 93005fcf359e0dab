"""What of a prompt a model will not see: a text encoder reads a fixed number of tokens. No torch here.

A prompt past the window is accepted; the caller is told which words are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import pipeline_of, read_json

NO_LIMIT = 100_000  # tokenizers without a limit say 10^30
# Pipelines that give their T5 fewer tokens than its tokenizer says.
PIPELINE_TOKENS = {"StableDiffusion3Pipeline": 256}


@dataclass(frozen=True)
class Window:
    """One text encoder's tokenizer, and how many tokens its encoder reads, special ones among them."""

    tokenizer: Any  # tokenizers.Tokenizer
    tokens: int

    def seen(self, prompt: str) -> int:
        """How many characters from the start are seen."""
        offsets = self.tokenizer.encode(prompt, add_special_tokens=False).offsets
        room = self.tokens - self.tokenizer.num_special_tokens_to_add(False)
        return len(prompt) if len(offsets) <= room else int(offsets[room][0])


def unseen(prompt: str, windows: Sequence[Window]) -> str:
    """The end of the prompt that no encoder reads; where several read it, the longest window counts."""
    return prompt[max((window.seen(prompt) for window in windows), default=len(prompt)) :]


def warnings_for(prompts: dict[str, str], windows: Sequence[Window]) -> list[str]:
    """One sentence for each named prompt that is longer than the model reads."""
    lost = {name: unseen(prompt, windows).strip() for name, prompt in prompts.items()}
    return [f"{name} is longer than the model reads; it will not see: {text!r}" for name, text in lost.items() if text]


def windows_of_folder(folder: Path) -> list[Window]:
    """The windows of a model folder in diffusers layout."""
    most = PIPELINE_TOKENS.get(pipeline_of(read_json(folder / "model_index.json")), NO_LIMIT)
    found = (_window_of(path.parent, most) for path in sorted(folder.glob("tokenizer*/tokenizer_config.json")))
    return [window for window in found if window is not None]


def windows_of_pipeline(pipe: Any) -> list[Window]:
    """The windows of a loaded pipeline, for a model that came in a single file."""
    most = PIPELINE_TOKENS.get(type(pipe).__name__, NO_LIMIT)
    parts = [part for name, part in sorted(pipe.components.items()) if name.startswith("tokenizer") and part]
    sized = [(part.backend_tokenizer, min(int(part.model_max_length), most)) for part in parts]
    return [Window(_unlimited(tokenizer), tokens) for tokenizer, tokens in sized if tokens < NO_LIMIT]


def _window_of(folder: Path, most: int) -> Window | None:
    tokens = min(int(read_json(folder / "tokenizer_config.json").get("model_max_length", NO_LIMIT)), most)
    tokenizer = _read_tokenizer(folder)
    return Window(tokenizer, tokens) if tokenizer is not None and tokens < NO_LIMIT else None


def _read_tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    whole = folder / "tokenizer.json"
    if whole.exists():
        return _unlimited(Tokenizer.from_file(str(whole)))
    if (folder / "merges.txt").exists() and (folder / "vocab.json").exists():
        return _clip_tokenizer(folder)
    return None


def _clip_tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer from the two files in which older folders keep it."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    vocab, merges = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    model = models.BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", fuse_unk=False)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    start, end = ("<|startoftext|>", vocab["<|startoftext|>"]), ("<|endoftext|>", vocab["<|endoftext|>"])
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def _unlimited(tokenizer: Any) -> Any:
    """A copy that neither cuts nor pads."""
    from tokenizers import Tokenizer

    own = Tokenizer.from_str(tokenizer.to_str())
    own.no_truncation()
    own.no_padding()
    return own
