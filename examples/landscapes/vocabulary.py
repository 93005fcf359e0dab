"""The model's own byte-pair vocabulary, in the files that CLIPTokenizer loads."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from . import words
from .caption import write_caption
from .networks import TEXT_LENGTH
from .scene import sample_scene

START, END = "<|startoftext|>", "<|endoftext|>"
PIECES = Regex(r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


def write_vocabulary(folder: Path, captions: int = 20_000) -> None:
    """Learn merges from captions and common words; every byte stays a token, so any text can be read."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(PIECES, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    rng = random.Random(5)
    texts = [write_caption(sample_scene(rng), rng).text for _ in range(captions)] + [words.COMMON] * 40
    trained.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    pieces = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(dict.fromkeys(pieces))}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")


def load_vocabulary(folder: Path) -> CLIPTokenizer:
    """The tokenizer with its special tokens and the length that the text model takes."""
    return CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        model_max_length=TEXT_LENGTH,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
    )
