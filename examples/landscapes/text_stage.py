"""Teaching the text encoder to understand captions before any picture is made.

The encoder first learns to name every attribute a caption mentions, from its states at and after the caption's end.
Reading is cheap to learn this way and dear to learn through a denoiser, whose every step costs ten times as much;
afterwards the encoder stays frozen and the denoiser meets conditioning that already separates the attributes.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .caption import Caption, Mentions, mention_targets, write_caption
from .course import Course
from .networks import TEXT_LENGTH, TEXT_WIDTH, build_text_encoder
from .run import cache_folder, log_line, pick_device
from .scene import ATTRIBUTES, sample_scene
from .vocabulary import load_vocabulary, write_vocabulary

BATCH = 48
PEAK_RATE = 1.5e-3
WIDTHS = [len(values) + 1 for values in ATTRIBUTES.values()]


def open_vocabulary() -> CLIPTokenizer:
    """The tokenizer of this training, made on first use."""
    folder = cache_folder() / "tokenizer"
    if not (folder / "vocab.json").exists():
        write_vocabulary(folder)
    return load_vocabulary(folder)


def read_tokens(tokenizer: CLIPTokenizer, texts: list[str], full: bool) -> Tensor:
    """Token ids, padded to the model's length or only to the longest caption plus two."""
    padded = tokenizer(texts, padding="max_length", truncation=True, max_length=TEXT_LENGTH, return_tensors="pt")
    ids: Tensor = padded["input_ids"]
    if full:
        return ids
    ends = (ids == tokenizer.eos_token_id).int().argmax(dim=1)
    return ids[:, : min(TEXT_LENGTH, int(ends.max()) + 3)]


class Reading(nn.Module):
    """The text encoder with one linear layer that names all attributes from a token's state."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder, self.name = encoder, nn.Linear(TEXT_WIDTH, sum(WIDTHS))

    def forward(self, ids: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Log-odds of each attribute's values and of "unspecified", from the caption's end and from the last place."""
        states = self.encoder(input_ids=ids).last_hidden_state
        ends = (ids == self.encoder.config.eos_token_id).int().argmax(dim=1)
        at_end, last = self.name(states[torch.arange(len(ids)), ends]), self.name(states[:, -1])
        return torch.split(at_end, WIDTHS, dim=-1), torch.split(last, WIDTHS, dim=-1)


def reading_loss(scores: tuple[Tensor, ...], wanted: list[Tensor]) -> Tensor:
    """Cross entropy summed over attributes."""
    terms = [nn.functional.cross_entropy(s, w) for s, w in zip(scores, wanted, strict=True)]
    return torch.stack(terms).sum()


def share_right(scores: tuple[Tensor, ...], wanted: list[Tensor]) -> float:
    """How many attributes are read as something the caption allows, from 0 to 1."""
    right = [(w.gather(1, s.argmax(1, keepdim=True)) > 0).float().mean() for s, w in zip(scores, wanted, strict=True)]
    return torch.stack(right).mean().item()


def stack_targets(mentions: list[Mentions]) -> list[Tensor]:
    """The odds of each attribute for a batch of captions."""
    rows = [mention_targets(m) for m in mentions]
    return [torch.tensor([row[i] for row in rows]) for i in range(len(WIDTHS))]


def _captions(rng: random.Random, count: int) -> list[Caption]:
    return [write_caption(sample_scene(rng), rng) for _ in range(count)]


def train_text_encoder(budget_s: float) -> None:
    """Train for a number of seconds of work, or go on where the last run stopped."""
    device, tokenizer = pick_device(), open_vocabulary()
    model = Reading(build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    course = Course("text", model, optimiser, PEAK_RATE)
    rng = random.Random(2_000_000 + course.step)
    course.begin(budget_s)
    while course.prepare():
        batch = _captions(rng, BATCH)
        ids = read_tokens(tokenizer, [c.text for c in batch], full=course.step % 5 == 0).to(device)
        wanted = [target.to(device) for target in stack_targets([c.mentions for c in batch])]
        at_end, last = model(ids)
        loss = reading_loss(at_end, wanted) + reading_loss(last, wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if course.record(loss.item()):
            log_line("text", right=share_right(at_end, wanted))
