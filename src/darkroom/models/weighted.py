"""Pipelines of the CLIP families that take weighted prompts of any length; see weighting.py for what is written.

The pipeline stays as it is, and is called with embeddings. They are made in the request's own fiber with the calls
that the pipeline would make itself, so text encoders are batched and cached as ever: a prompt that fits and weighs
nothing gives the same bytes. A longer one is read in chunks of the encoder's window, side by side.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

from .weighting import Fragment, fragments_of

TEXTS = ("prompt", "negative_prompt")
Ids = list[list[int]]


def weighted(pipe: Any) -> Any:
    """The same pipeline over the same components, reading weights in its `prompt` and `negative_prompt`."""
    kind = type(pipe)

    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        rest = {name: value for name, value in kwargs.items() if name not in TEXTS}
        return kind.__call__(self, *args, **rest, **_embeddings(self, kwargs["prompt"], kwargs.get("negative_prompt")))

    own = copy.copy(pipe)
    own.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call})
    return own


@torch.no_grad()
def _embeddings(pipe: Any, prompt: str, negative: str | None) -> dict[str, torch.Tensor]:
    """What the pipeline takes in place of both texts."""
    encoders = [(pipe.tokenizer, pipe.text_encoder)]
    is_xl = getattr(pipe, "text_encoder_2", None) is not None
    if is_xl:
        encoders = [each for each in (*encoders, (pipe.tokenizer_2, pipe.text_encoder_2)) if each[1] is not None]
    wanted, unwanted = fragments_of(prompt), fragments_of(negative or "", "negative_prompt")
    chunks = max(len(_chunks(tokenizer, text)[0]) for tokenizer, _ in encoders for text in (wanted, unwanted))
    device = pipe._execution_device  # not an encoder's own: one that rests, or lies elsewhere, is brought its input
    positive = [_encoded(tokenizer, encoder, wanted, chunks, is_xl, device) for tokenizer, encoder in encoders]
    if is_xl and not negative and pipe.config.force_zeros_for_empty_prompt:
        against = [(torch.zeros_like(each), torch.zeros_like(pooled)) for each, pooled in positive]
    else:
        against = [_encoded(tokenizer, encoder, unwanted, chunks, is_xl, device) for tokenizer, encoder in encoders]
    made = {
        "prompt_embeds": torch.cat([each for each, _ in positive], dim=-1),
        "negative_prompt_embeds": torch.cat([each for each, _ in against], dim=-1),
    }
    if is_xl:  # of both encoders the last one's
        made |= {"pooled_prompt_embeds": positive[-1][1], "negative_pooled_prompt_embeds": against[-1][1]}
    return made


def _encoded(
    tokenizer: Any, encoder: Any, text: list[Fragment], chunks: int, is_xl: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of [1, chunks * window, width], each token times its weight; and what stands for the whole text."""
    ids, weights = _chunks(tokenizer, text)
    empty_ids, empty_weights = _chunks(tokenizer, [])
    missing = chunks - len(ids)
    ids, weights = ids + empty_ids * missing, weights + empty_weights * missing
    asked = torch.tensor(ids, device=device)
    if is_xl:
        answer = encoder(asked, output_hidden_states=True)
        states, pooled = answer.hidden_states[-2], answer[0][:1]
    else:
        states = encoder(asked, attention_mask=None)[0]
        pooled = states[:1, 0]
    states = states.to(encoder.dtype)
    if any(weight != 1.0 for row in weights for weight in row):
        states = _weighed(states, torch.tensor(weights, device=states.device))
    return states.reshape(1, -1, states.shape[-1]), pooled


def _weighed(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Times their weights, and as large on the whole as before: the denoiser knows embeddings of one size."""
    wide = states.float()
    heavy = wide * weights[..., None]
    factor: torch.Tensor = torch.linalg.vector_norm(wide) / torch.linalg.vector_norm(heavy).clamp_min(1e-6)
    return (heavy * factor).to(states.dtype)


def _chunks(tokenizer: Any, text: list[Fragment]) -> tuple[Ids, list[list[float]]]:
    """Rows of token ids, each as long as the window with its beginning, end and padding; and each token's weight."""
    tokens: list[tuple[int, float]] = []
    for fragment in text:
        found = tokenizer(fragment.text, add_special_tokens=False, truncation=False).input_ids
        tokens += [(token, fragment.weight) for token in found]
    room = tokenizer.model_max_length - 2
    rows = [tokens[at : at + room] for at in range(0, len(tokens), room)] or [[]]
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = [[begin, *(token for token, _ in row), end, *[pad] * (room - len(row))] for row in rows]
    weights = [[1.0, *(weight for _, weight in row), *[1.0] * (room - len(row) + 1)] for row in rows]
    return ids, weights
