"""What every engine must do, by capability. A case is a coroutine that raises when the engine breaks a rule.

An engine is held to the cases of the capabilities it declares, so a gap is a line missing in its list.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from homefire.engines.base import Capability, Delta, Engine, Finish
from homefire.errors import ContextOverflow
from homefire.types import Message
from tests.engines.support import asking, collect, endless

Case = Callable[[Engine], Awaitable[None]]
QUESTION: Final = "Who are you?"


async def streams_pieces_then_one_finish(engine: Engine) -> None:
    answer = await collect(engine, asking(QUESTION))
    assert answer.text
    assert all(answer.pieces), "an empty piece was sent"
    assert len(answer.pieces) > 1, "the answer came in one piece"


async def reports_tokens_and_times(engine: Engine) -> None:
    finish = (await collect(engine, asking(QUESTION))).finish
    assert finish.usage.prompt_tokens == await engine.count_tokens([Message("user", QUESTION)])
    assert finish.usage.completion_tokens > 0
    assert 0 <= finish.usage.cached_tokens <= finish.usage.prompt_tokens
    assert all(value >= 0 for value in msgspec.structs.asdict(finish.timings).values())


async def ends_at_max_tokens_and_says_so(engine: Engine) -> None:
    answer = await collect(engine, asking(QUESTION, max_tokens=3))
    assert answer.finish.stop_reason == "length"
    assert answer.finish.usage.completion_tokens == 3
    whole = await collect(engine, asking(QUESTION))
    assert whole.finish.stop_reason == "stop"
    assert whole.text.startswith(answer.text)


async def refuses_an_over_long_prompt_with_figures(engine: Engine) -> None:
    request = asking("a b " * (2 * engine.context_length), max_tokens=5)
    refusal: ContextOverflow | None = None
    try:
        await collect(engine, request)
    except ContextOverflow as error:
        refusal = error
    assert refusal is not None, "a prompt that cannot fit was answered"
    num_tokens = await engine.count_tokens(request.messages)
    figures = {"prompt_tokens": num_tokens, "limit": engine.context_length, "max_tokens": 5}
    assert refusal.details == figures


async def frees_the_slot_of_a_closed_stream(engine: Engine) -> None:
    for _ in range(3 * engine.spec.num_parallel):
        stream = engine.generate(asking(QUESTION))
        assert isinstance(await anext(stream), Delta)
        assert engine.status().num_active == 1
        await stream.aclose()  # type: ignore[attr-defined]
    assert engine.status().num_active == 0
    assert (await collect(engine, asking(QUESTION))).text


async def stops_before_any_stop_string(engine: Engine) -> None:
    whole = (await collect(engine, asking(QUESTION))).text
    for start, length in itertools.product(range(1, len(whole) - 4, 5), (1, 4)):
        stop = whole[start : start + length]
        answer = await collect(engine, asking(QUESTION, stop=("\0never", stop)))
        assert answer.text == whole[: whole.index(stop)], f"at {stop!r}"
        assert (answer.finish.stop_reason, answer.finish.stop_string) == ("stop", stop)


SEEDS: Final = (0, 1, -1, 7, 2**32 - 2, 2**32 - 1, 2**32, -(2**31), 2**63)
"""Some of them mean "a random one" to one library or another."""


async def repeats_itself_with_the_same_seed(engine: Engine) -> None:
    for seed in SEEDS:
        texts = {
            (await collect(engine, asking(QUESTION, temperature=2.0, seed=seed, max_tokens=20))).text
            for _ in range(3)
        }
        assert len(texts) == 1, f"seed {seed}"


async def says_something_else_with_another_seed(engine: Engine) -> None:
    grammar = "root ::= [a-z]{40}"
    texts = {
        seed: (await collect(engine, asking(QUESTION, temperature=2.0, seed=seed, grammar=grammar))).text
        for seed in SEEDS
    }
    assert len(set(texts.values())) == len(SEEDS), texts


async def says_when_the_context_was_full(engine: Engine) -> None:
    full = (await collect(engine, endless())).finish
    assert full.stop_reason == "context"
    assert full.usage.prompt_tokens + full.usage.completion_tokens == engine.context_length
    short = (await collect(engine, endless(max_tokens=3))).finish
    assert short.stop_reason == "length"


async def obeys_the_sampling_parameters(engine: Engine) -> None:
    greedy = (await collect(engine, asking(QUESTION))).text
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}):
        answer = await collect(engine, asking(QUESTION, **{"temperature": 2.0, "seed": 3, **narrow}))
        assert answer.text == greedy, f"{narrow} did not narrow the choice to one"
    penalised = await collect(engine, asking(QUESTION, repetition_penalty=5.0, max_tokens=40))
    assert penalised.text != greedy


async def answers_json_that_is_valid(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    value = json.loads((await collect(engine, asking(QUESTION, json_schema=schema, max_tokens=200))).text)
    assert set(value) == {"name", "age"}
    assert isinstance(value["age"], int)
    assert len(value["name"]) <= 8


async def answers_within_the_grammar(engine: Engine) -> None:
    for grammar, allowed in (('root ::= "yes" | "no"', {"yes", "no"}), ('root ::= "é😀"', {"é😀"})):
        assert (await collect(engine, asking(QUESTION, grammar=grammar))).text in allowed


async def never_cuts_a_character(engine: Engine) -> None:
    answer = await collect(engine, asking(QUESTION, grammar='root ::= "é😀漢字" [é-í]{3} "ñ"'))
    assert "�" not in answer.text
    assert answer.text.startswith("é😀漢字")


async def reports_log_probabilities_of_what_it_says(engine: Engine) -> None:
    answer = await collect(engine, asking(QUESTION, num_logprobs=2))
    assert "".join(entry.token for entry in answer.logprobs) == answer.text
    for entry in answer.logprobs:
        assert entry.logprob <= 0
        assert len(entry.top) == 2
        assert entry.top[0][1] >= entry.top[1][1]
        assert entry.top[0] == (entry.token, entry.logprob), "a greedy choice is its own best rival"
    plain = await collect(engine, asking(QUESTION))
    assert plain.logprobs == []


async def counts_what_it_will_read(engine: Engine) -> None:
    short = await engine.count_tokens([Message("user", QUESTION)])
    long = await engine.count_tokens(
        [Message("user", QUESTION), Message("assistant", "Hm."), Message("user", "?")]
    )
    assert 0 < short < long
    assert 0 < await engine.count_tokens([], prompt=QUESTION) < short


async def answers_requests_side_by_side(engine: Engine) -> None:
    questions = [f"What is {index} + 1?" for index in range(2 * engine.spec.num_parallel)]
    alone = [(await collect(engine, asking(text))).text for text in questions]
    together = await asyncio.gather(*(collect(engine, asking(text)) for text in questions))
    assert [answer.text for answer in together] == alone


async def embeds_texts_as_unit_vectors(engine: Engine) -> None:
    texts = ["the cat sat", "17 + 4", "the cat sat"]
    embedded = await engine.embed(texts)
    one, other, again = embedded.vectors
    counts = [await engine.count_tokens([], prompt=text) for text in texts]
    assert (embedded.usage.prompt_tokens, embedded.usage.completion_tokens) == (sum(counts), 0)
    for vector in (one, other):
        assert math.isclose(math.sqrt(sum(value * value for value in vector)), 1.0, abs_tol=1e-3)
    assert all(math.isclose(a, b, abs_tol=1e-4) for a, b in zip(one, again, strict=True))
    assert sum(a * b for a, b in zip(one, other, strict=True)) < 0.999


async def refuses_an_over_long_text_with_figures(engine: Engine) -> None:
    text = "a b " * (2 * engine.context_length)
    refusal: ContextOverflow | None = None
    try:
        await engine.embed(["short", text])
    except ContextOverflow as error:
        refusal = error
    assert refusal is not None, "a text that cannot fit was embedded"
    num_tokens = await engine.count_tokens([], prompt=text)
    assert (refusal.details["prompt_tokens"], refusal.details["limit"]) == (num_tokens, engine.context_length)
    assert (await engine.embed(["short"])).vectors


async def states_its_context_and_memory(engine: Engine) -> None:
    assert 0 < engine.context_length <= engine.spec.context_length
    assert await engine.estimate() >= 0


async def answers_the_same_after_sleep(engine: Engine) -> None:
    before = (await collect(engine, asking(QUESTION))).text
    await engine.sleep()
    await engine.wake()
    assert (await collect(engine, asking(QUESTION))).text == before


async def goes_on_after_a_cancellation_in_the_queue(engine: Engine) -> None:
    running = [engine.generate(endless()) for _ in range(engine.spec.num_parallel)]
    for stream in running:
        await anext(stream)
    waiting = asyncio.ensure_future(collect(engine, asking(QUESTION)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for stream in running:
        await stream.aclose()  # type: ignore[attr-defined]
    assert isinstance((await collect(engine, asking(QUESTION))).finish, Finish)


CASES: Final[dict[Capability, tuple[Case, ...]]] = {
    "stream": (
        states_its_context_and_memory,
        streams_pieces_then_one_finish,
        reports_tokens_and_times,
        ends_at_max_tokens_and_says_so,
        refuses_an_over_long_prompt_with_figures,
    ),
    "cancel": (frees_the_slot_of_a_closed_stream,),
    "stop_strings": (stops_before_any_stop_string,),
    "seed": (repeats_itself_with_the_same_seed,),
    "sampling": (obeys_the_sampling_parameters, says_something_else_with_another_seed),
    "json_schema": (answers_json_that_is_valid,),
    "grammar": (answers_within_the_grammar, never_cuts_a_character, says_when_the_context_was_full),
    "logprobs": (reports_log_probabilities_of_what_it_says,),
    "count": (counts_what_it_will_read,),
    "batching": (answers_requests_side_by_side,),
    "embeddings": (embeds_texts_as_unit_vectors, refuses_an_over_long_text_with_figures),
    "adapters": (),
    "sleep": (answers_the_same_after_sleep,),
}
"""Adapters need files of their own: `tests/catalog/test_adapter_parity.py` holds engines to them."""
