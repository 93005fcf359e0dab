"""Tiny tokenizers and text encoders with random weights, built from nothing but code."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

Module = TypeVar("Module", bound=torch.nn.Module)
VOCABULARY = 512
WIDTH = 32


def seeded(seed: int, make: Callable[[], Module]) -> Module:
    """A module whose weights follow from the seed, ready to serve; the default generator is left as it was."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    module = make().eval().requires_grad_(False)
    torch.set_rng_state(state)
    return module


@cache
def clip_tokenizer() -> CLIPTokenizer:
    """Letters only: a word is as many tokens as it has letters."""
    letters = [*string.ascii_lowercase, *string.digits, *",.'-"]
    pieces = ["<|startoftext|>", *letters, *(letter + "</w>" for letter in letters), "<|endoftext|>"]
    return CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def _unigram_pieces() -> list[tuple[str, float]]:
    letters = [*string.ascii_lowercase, *string.digits, *",.'-"]
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]


@cache
def t5_tokenizer() -> T5Tokenizer:
    return T5Tokenizer(vocab=_unigram_pieces(), extra_ids=0, additional_special_tokens=[], model_max_length=64)


@cache
def gemma_tokenizer() -> GemmaTokenizer:
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_lowercase, *string.digits, *",.'-"]
    return GemmaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])


def _clip_config(width: int) -> CLIPTextConfig:
    end = clip_tokenizer().eos_token_id
    return CLIPTextConfig(
        bos_token_id=0,
        eos_token_id=end,
        pad_token_id=end,
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=WIDTH,
        vocab_size=VOCABULARY,
        initializer_factor=5.0,
    )


@cache
def clip_text(seed: int = 1, width: int = WIDTH) -> CLIPTextModel:
    return seeded(seed, lambda: CLIPTextModel(_clip_config(width)))


@cache
def clip_text_with_projection(seed: int = 2, width: int = WIDTH) -> CLIPTextModelWithProjection:
    return seeded(seed, lambda: CLIPTextModelWithProjection(_clip_config(width)))


def _t5_settings() -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "d_model": WIDTH,
        "d_kv": 8,
        "d_ff": 2 * WIDTH,
        "num_layers": 2,
        "num_heads": 4,
        "relative_attention_num_buckets": 8,
        "is_encoder_decoder": False,
    }


@cache
def t5(seed: int = 3) -> T5EncoderModel:
    return seeded(seed, lambda: T5EncoderModel(T5Config(**_t5_settings())))


@cache
def umt5(seed: int = 4) -> UMT5EncoderModel:
    return seeded(seed, lambda: UMT5EncoderModel(UMT5Config(**_t5_settings())))


@cache
def gemma(seed: int = 5) -> Gemma2Model:
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        initializer_range=0.2,
        attn_implementation="eager",
    )
    return seeded(seed, lambda: Gemma2Model(config))


@cache
def qwen_tokenizer() -> Qwen2Tokenizer:
    """Bytes only: a letter is a token. It writes a turn's beginning and end, as Z-Image asks of it."""
    letters = [*string.ascii_lowercase, *string.digits, *",.'-", "\u0120"]
    own = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(
        vocab={piece: i for i, piece in enumerate([*own, *letters])}, merges=[], additional_special_tokens=own[1:]
    )
    tokenizer.chat_template = "<|im_start|>{{ messages[0]['content'] }}<|im_end|>"
    return tokenizer


@cache
def qwen3(seed: int = 84) -> Qwen3Model:
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        initializer_range=0.2,
    )
    return seeded(seed, lambda: Qwen3Model(config))
