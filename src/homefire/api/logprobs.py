"""Tokens with their probabilities as OpenAI's and Ollama's clients read them; the two say it alike."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from homefire.engines.base import TokenLogprob


class RivalLogprob(Struct, frozen=True):
    """A token that could have been chosen."""

    token: str
    logprob: float
    bytes: list[int]


class ChosenLogprob(Struct, frozen=True):
    """A token that was chosen, with its rivals."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[RivalLogprob]


def chosen_logprobs(tokens: Iterable[TokenLogprob]) -> list[ChosenLogprob]:
    """What the engine says of each token, with its UTF-8 bytes."""
    return [
        ChosenLogprob(
            token.token,
            token.logprob,
            list(token.token.encode()),
            [RivalLogprob(text, logprob, list(text.encode())) for text, logprob in token.top],
        )
        for token in tokens
    ]
