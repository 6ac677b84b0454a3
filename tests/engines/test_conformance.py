"""Every engine against every capability it declares; and broken engines, each of which must be caught."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, get_args

import msgspec
import pytest

from homefire.engines.base import Capability, Delta, Embeddings, Engine, EngineRequest, Finish, Generated
from homefire.engines.process import LlamaCppEngine
from homefire.errors import ContextOverflow
from homefire.types import Message, Usage
from tests.engines import conformance
from tests.engines.conformance import CASES, Case
from tests.support.scripted_engine import ScriptedEngine

SCRIPTED_CAPABILITIES = sorted(ScriptedEngine(can_sleep=True).capabilities - {"sampling"})
"""It says the same whatever the sampling: the gap is this line."""


def cases_of(capabilities: Sequence[Capability]) -> list[Case]:
    return [case for capability in capabilities for case in CASES[capability]]


def test_every_capability_is_listed() -> None:
    assert set(CASES) == set(get_args(Capability))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "case", cases_of(sorted(LlamaCppEngine.capabilities)), ids=lambda case: case.__name__
)
async def test_llama_cpp(case: Case, shared_engine: LlamaCppEngine) -> None:
    await case(shared_engine)


@pytest.mark.asyncio(loop_scope="module")
async def test_llama_cpp_forgets_who_left_the_queue(shared_engine: LlamaCppEngine) -> None:
    await conformance.goes_on_after_a_cancellation_in_the_queue(shared_engine)


@pytest.mark.parametrize("case", cases_of(SCRIPTED_CAPABILITIES), ids=lambda case: case.__name__)
async def test_the_scripted_engine(case: Case) -> None:
    await case(ScriptedEngine(can_sleep=True))


# Planted bugs


class IgnoresStopStrings(ScriptedEngine):
    def cut_at_stop(self, text: str, stops: Sequence[str]) -> tuple[str, str | None]:
        return text, None


class ShowsTheStopString(ScriptedEngine):
    def cut_at_stop(self, text: str, stops: Sequence[str]) -> tuple[str, str | None]:
        cut, stop = super().cut_at_stop(text, stops)
        return cut + (stop or ""), stop


class Rewrites(ScriptedEngine):
    """Changes the items of every stream."""

    def change(self, item: Generated) -> list[Generated]:
        raise NotImplementedError

    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        async for item in super().generate(request):
            for changed in self.change(item):
                yield changed


class ForgetsTheFinish(Rewrites):
    def change(self, item: Generated) -> list[Generated]:
        return [] if isinstance(item, Finish) else [item]


class MiscountsThePrompt(Rewrites):
    def change(self, item: Generated) -> list[Generated]:
        if not isinstance(item, Finish):
            return [item]
        usage = msgspec.structs.replace(item.usage, prompt_tokens=item.usage.prompt_tokens + 1)
        return [msgspec.structs.replace(item, usage=usage)]


class SaysStopAtTheLimit(Rewrites):
    def change(self, item: Generated) -> list[Generated]:
        return [msgspec.structs.replace(item, stop_reason="stop")] if isinstance(item, Finish) else [item]


class LosesLogprobs(Rewrites):
    def change(self, item: Generated) -> list[Generated]:
        return [Delta(item.text)] if isinstance(item, Delta) else [item]


class CutsThePromptSilently(ScriptedEngine):
    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        try:
            async for item in super().generate(request):
                yield item
        except ContextOverflow:
            short = msgspec.structs.replace(request, messages=(Message("user", "cut"),))
            async for item in super().generate(short):
                yield item


class LeaksSlots(ScriptedEngine):
    async def generate(self, request: EngineRequest) -> AsyncIterator[Generated]:
        async for item in super().generate(request):
            self.num_active += 1
            yield item


class EmbedsAtAnyLength(ScriptedEngine):
    async def embed(self, texts: Sequence[str]) -> Embeddings:
        embedded = await super().embed(texts)
        doubled = tuple(tuple(2 * value for value in vector) for vector in embedded.vectors)
        return Embeddings(doubled, embedded.usage)


class EmbedsForNothing(ScriptedEngine):
    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings((await super().embed(texts)).vectors, Usage(prompt_tokens=0, completion_tokens=0))


class CutsTextsSilently(ScriptedEngine):
    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await super().embed([text[:100] for text in texts])


class ForgetsToWake(ScriptedEngine):
    async def wake(self) -> None:
        pass


def name_of(value: Any) -> str:
    return str(getattr(value, "func", value).__name__)


PLANTED: list[tuple[Callable[[], Engine], Case]] = [
    (IgnoresStopStrings, conformance.stops_before_any_stop_string),
    (ShowsTheStopString, conformance.stops_before_any_stop_string),
    (ForgetsTheFinish, conformance.streams_pieces_then_one_finish),
    (MiscountsThePrompt, conformance.reports_tokens_and_times),
    (SaysStopAtTheLimit, conformance.ends_at_max_tokens_and_says_so),
    (LosesLogprobs, conformance.reports_log_probabilities_of_what_it_says),
    (CutsThePromptSilently, conformance.refuses_an_over_long_prompt_with_figures),
    (LeaksSlots, conformance.frees_the_slot_of_a_closed_stream),
    (EmbedsAtAnyLength, conformance.embeds_texts_as_unit_vectors),
    (EmbedsForNothing, conformance.embeds_texts_as_unit_vectors),
    (CutsTextsSilently, conformance.refuses_an_over_long_text_with_figures),
    (partial(ForgetsToWake, can_sleep=True), conformance.answers_the_same_after_sleep),
]


@pytest.mark.parametrize(("broken", "case"), PLANTED, ids=name_of)
async def test_a_broken_engine_is_caught(broken: Callable[[], Engine], case: Case) -> None:
    with pytest.raises(AssertionError):
        await case(broken())
