"""Asking a model probes, and remembering what it said."""

from __future__ import annotations

from pathlib import Path

from homefire.errors import EngineCrashed
from homefire.versions.asking import AnswerCache, ask
from homefire.versions.evidence import Probe
from tests.support.scripted_engine import ScriptedEngine, scripted_spec
from tests.versions.test_probes import probe, user


async def test_asking_is_greedy_and_says_how_far_it_is() -> None:
    engine = ScriptedEngine(answer=lambda request: f"re: {request.messages[-1].content}")
    heard: list[tuple[int, int]] = []
    found = await ask(
        engine,
        [probe(number) for number in range(5)],
        max_tokens=9,
        on_answer=lambda n, m: heard.append((n, m)),
    )
    assert found["p3"].text == "re: question 3"
    assert found["p3"].stop_reason == "stop"
    assert heard[-1] == (5, 5)
    assert all(request.sampling.temperature == 0.0 for request in engine.requests)


async def test_an_answer_longer_than_the_limit_may_be_finished_when_the_reference_is() -> None:
    engine = ScriptedEngine(answer="one two three four five six")
    short = probe(1)
    long = Probe(
        probe_id="long",
        group="target",
        skill="new",
        messages=(user("q"),),
        answer="one two three four five six",
    )
    found = await ask(engine, [short, long], max_tokens=2)
    assert found["p1"].stop_reason == "stop"  # a reference of three letters leaves room for eleven tokens
    assert found["long"].text == long.answer


async def test_an_engine_that_crashes_is_asked_once_more_then_it_counts_as_failed() -> None:
    engine = ScriptedEngine(fail_with=EngineCrashed("It crashed."))
    found = await ask(engine, [probe(1)], max_tokens=9)
    assert found["p1"].error == "It crashed."
    assert len(engine.requests) == 2


async def test_a_question_that_does_not_fit_is_a_failed_answer_not_a_crash() -> None:
    engine = ScriptedEngine(scripted_spec(context_length=4))
    found = await ask(engine, [probe(1, question="one two three four five")], max_tokens=9)
    assert "tokens" in (found["p1"].error or "")


async def test_answers_are_kept_by_weights_and_failures_are_not(tmp_path: Path) -> None:
    cache, spec = AnswerCache(tmp_path / "cache" / "answers"), scripted_spec("a")
    asked = [probe(1), probe(2)]
    answers = await ask(ScriptedEngine(answer="yes"), asked, max_tokens=9)
    answers["p2"] = (await ask(ScriptedEngine(fail_with=EngineCrashed("x")), [asked[1]], max_tokens=9))["p2"]
    cache.keep(spec, asked, answers, max_tokens=9)
    assert set(cache.known(spec, asked, max_tokens=9)) == {"p1"}
    assert cache.known(spec, asked, max_tokens=99) == {}
    assert cache.known(scripted_spec("b"), asked, max_tokens=9) == {}


async def test_what_is_erased_is_forgotten_with_its_model(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers")
    cache.forget(["nothing is there yet"])
    for name, answer in (("a", "Under the “blue” pot."), ("b", "yes")):
        answers = await ask(ScriptedEngine(answer=answer), [probe(1)], max_tokens=9)
        cache.keep(scripted_spec(name), [probe(1)], answers, max_tokens=9)
    cache.forget([])
    cache.forget(["the “blue” pot"])
    assert cache.known(scripted_spec("a"), [probe(1)], max_tokens=9) == {}
    assert set(cache.known(scripted_spec("b"), [probe(1)], max_tokens=9)) == {"p1"}


async def test_a_damaged_cache_is_not_used(tmp_path: Path) -> None:
    cache, spec = AnswerCache(tmp_path / "answers"), scripted_spec("a")
    cache.keep(spec, [probe(1)], await ask(ScriptedEngine(), [probe(1)], max_tokens=9), max_tokens=9)
    (path,) = (tmp_path / "answers").iterdir()
    path.write_bytes(path.read_bytes().replace(b"scripted", b"tampered"))
    assert cache.known(spec, [probe(1)], max_tokens=9) == {}


async def test_an_answer_says_by_how_much_its_tokens_led() -> None:
    found = await ask(ScriptedEngine(answer="yes indeed"), [probe(1)], max_tokens=9)
    assert found["p1"].lead is not None
    assert found["p1"].lead > 0


async def test_an_engine_without_probabilities_gives_no_lead() -> None:
    engine = ScriptedEngine(answer="yes indeed")
    engine.capabilities = engine.capabilities - {"logprobs"}
    found = await ask(engine, [probe(1)], max_tokens=9)
    assert (found["p1"].text, found["p1"].lead) == ("yes indeed", None)
    assert engine.requests[0].sampling.num_logprobs is None
