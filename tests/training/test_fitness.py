"""Before anything is taught: can this model be, and does it answer like one that was trained?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homefire.catalog import inspection
from homefire.engines.base import EngineRequest, ModelSpec
from homefire.errors import BadModel
from homefire.training import fitness
from homefire.training.answers import AnswerCollector
from homefire.training.fitness import Fitness, FitnessCheck, judge_answers
from homefire.versions.asking import AnswerCache
from homefire.versions.evidence import ProbeAnswer
from homefire.versions.general_prompts import GENERAL_PROMPTS
from tests.support.model_info import model_info
from tests.support.scripted_engine import ScriptedEngine, scripted_spec

GOOD_TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
RIGHT = {known.prompt: known.accepts[0] for known in GENERAL_PROMPTS if known.accepts}


class OneModel:
    """A catalog of one model."""

    def __init__(self, folder: Path, template: str) -> None:
        self._folder = folder / "model"
        self._folder.mkdir(exist_ok=True)
        (self._folder / "chat_template.jinja").write_text(template)

    async def why_not_teachable(self, _model: Any) -> str | None:
        return await inspection.why_not_teachable([self._folder])

    async def spec(self, _model: Any, *, nice: int) -> ModelSpec:
        return scripted_spec()


async def look_at(
    folder: Path, answer: str | Callable[[EngineRequest], str], *, template: str = GOOD_TEMPLATE, **model: Any
) -> Fitness:
    catalog: Any = OneModel(folder, template)
    engine = ScriptedEngine(answer=answer)
    answers = AnswerCollector(catalog=catalog, make_engine=lambda _: engine, cache=AnswerCache(folder))
    return await FitnessCheck(catalog=catalog, answers=answers).look_at(model_info("m", **model))


async def test_a_model_that_answers_can_be_taught(tmp_path: Path) -> None:
    found = await look_at(tmp_path, lambda request: RIGHT[str(request.messages[-1].content)])
    assert (found.teachable, found.why_not, found.warnings) == (True, None, ())
    assert found.num_right == found.num_asked == fitness.NUM_ASKED


async def test_a_narrow_model_that_is_wrong_about_everything_is_no_babbler(tmp_path: Path) -> None:
    """Its answers are text, and not the same for different questions."""
    found = await look_at(
        tmp_path, lambda request: f"Ask Ines, room {len(str(request.messages[-1].content)) + 100}."
    )
    assert (found.warnings, found.num_right) == ((), 0)


BABBLE = {
    "one word": "Tomato.",
    "one piece": "la la la la la la la la la la la la la la la la la la la la la la la la la la la la la la",
    "nothing": "",
}


@pytest.mark.parametrize("name", BABBLE)
async def test_a_model_that_only_babbles_is_served_with_a_warning(tmp_path: Path, name: str) -> None:
    found = await look_at(tmp_path, BABBLE[name])
    assert found.teachable
    (warning,) = found.warnings
    assert "It may never have been trained" in warning


async def test_answers_without_end_are_noticed(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(100)]

    def ramble(request: EngineRequest) -> str:
        start = len(str(request.messages[-1].content))
        return " ".join(words[start % 7 :])

    found = await look_at(tmp_path, ramble)
    assert "do not end" in found.warnings[0]


async def test_a_model_that_cannot_be_asked_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise BadModel("A tensor is missing.")

    monkeypatch.setattr(OneModel, "spec", fail)
    found = await look_at(tmp_path, "x")
    assert found.warnings == ("It could not be asked anything: A tensor is missing.",)


async def test_what_cannot_be_taught_says_why(tmp_path: Path) -> None:
    gguf = await look_at(tmp_path, "x", why_not_trainable="it is a GGUF file")
    assert (gguf.teachable, gguf.why_not) == (False, "it is a GGUF file")
    silent = await look_at(tmp_path, "x", template="{% for m in messages %}{{ m.role }}{% endfor %}")
    assert not silent.teachable
    assert silent.why_not is not None


async def test_a_model_too_large_for_the_memory_says_how_much_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "available_bytes", lambda: 2 << 30)
    large = await look_at(
        tmp_path, lambda r: RIGHT[str(r.messages[-1].content)], num_parameters=10**9, size_bytes=2 << 30
    )
    assert large.warnings == ("Teaching it needs about 3.0 GiB of memory; 2.0 GiB are free now.",)
    assert large.teachable


async def test_control_without_the_look_at_sameness_a_babbler_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: the answers are not compared with one another."""
    monkeypatch.setattr(fitness, "has_collapsed", lambda _answers: False)
    assert (await look_at(tmp_path, "Tomato.")).warnings == ()


@pytest.mark.parametrize(("num_failed", "is_told"), [(2, False), (3, True), (5, True)])
def test_a_model_that_fails_most_questions_could_not_be_asked(num_failed: int, is_told: bool) -> None:
    answers = [ProbeAnswer(error="gone")] * num_failed
    answers += [ProbeAnswer(text=f"Answer {number}.", stop_reason="stop") for number in range(5 - num_failed)]
    told = judge_answers(answers)
    assert any("could not be asked most questions: gone" in warning for warning in told) is is_told
