"""Stop strings in a stream: text that may be the beginning of one is held back until that is decided.

Promise: what is let through, joined, is the answer up to the earliest stop string and never a character of
it, wherever the pieces were cut. Pure; costs a search in the last few characters of each piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from homefire.engines.base import TokenLogprob


@dataclass(frozen=True, slots=True)
class Passed:
    """What may be shown now. `stop_string` is set once, when the answer ends because of it."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    stop_string: str | None = None


@dataclass(slots=True)
class StopFilter:
    """Feed it pieces with `push`; after the last one, `flush` gives what was held back."""

    stops: Sequence[str]
    _held: str = ""
    _tokens: list[tuple[int, TokenLogprob]] = field(default_factory=list)
    """Log-probabilities not passed yet, with the position in `_held` where their text ends."""

    def push(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> Passed:
        """Add a piece of the answer."""
        end = len(self._held)
        for entry in logprobs:
            end += len(entry.token)
            self._tokens.append((end, entry))
        self._held += text
        if not self.stops:
            return self._pass(len(self._held))
        hits = [(place, -len(stop), stop) for stop in self.stops if (place := self._held.find(stop)) >= 0]
        if hits:
            place, _, stop = min(hits)
            return self._pass(place, stop_string=stop)
        return self._pass(len(self._held) - self._possible_beginning())

    def flush(self) -> Passed:
        """The answer ended by itself: what was held back belongs to it."""
        return self._pass(len(self._held))

    def _possible_beginning(self) -> int:
        """Length of the longest end of the held text with which some stop string begins."""
        longest = min(max(map(len, self.stops)) - 1, len(self._held))
        for length in range(longest, 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self.stops):
                return length
        return 0

    def _pass(self, length: int, *, stop_string: str | None = None) -> Passed:
        text, self._held = self._held[:length], self._held[length:]
        ready = tuple(entry for end, entry in self._tokens if end <= length)
        self._tokens = [(end - length, entry) for end, entry in self._tokens if end > length]
        return Passed(text, ready, stop_string)
