"""Private questions in many wordings, and the made-up facts that come and go while ember is trained."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from bench import teaching_facts

from ember import household, household_words, lessons, portuguese, skills
from ember.household import Fact

SEED = 5
NUMBER = {relation.name: number for number, relation in enumerate(household.RELATIONS)}


def wordings_of(fact: Fact, num_drawn: int = 3000) -> set[str]:
    rng = random.Random(SEED)
    return {household.word_fact(fact, rng).text for _ in range(num_drawn)}


@pytest.mark.parametrize(
    ("relation", "fillers", "expected"),
    [
        (
            "place of a thing",
            ("blue box",),
            {
                "Where did we put the blue box?",
                "Tell me where we put the blue box",
                "The blue box, where did we put it?",
                "We put the blue box where?",
                "Where'd we put the blue box?",
            },
        ),
        (
            "cuts",
            ("tulips",),
            {
                "Who cuts the tulips?",
                "The tulips, who cuts them?",
                "Who's cutting the tulips?",
                "Do you know who cuts the tulips?",
            },
        ),
        (
            "favourite",
            ("Anna", "song"),
            {
                "What is Anna's favourite song?",
                "Anna's favourite song is what?",
                "Anna, what is her favourite song?",
                "Tell me Anna's favourite song",
            },
        ),
        (
            "leaves for",
            ("ferry", "Porto"),
            {
                "When does the ferry leave for Porto?",
                "The ferry leaves when for Porto?",
                "For Porto, when does the ferry leave?",
            },
        ),
    ],
)
def test_a_fact_is_asked_in_all_word_orders(
    relation: str, fillers: tuple[str, ...], expected: set[str]
) -> None:
    assert expected - wordings_of(Fact(NUMBER[relation], fillers)) == set()


def test_no_wording_holds_an_unfilled_part() -> None:
    rng = random.Random(SEED)
    for module in (household, portuguese):
        for _ in range(3000):
            fact = module.draw_fact(rng)
            for text in (module.word_fact(fact, rng).text, module.draw_answer(fact, rng)):
                assert "{" not in text
                assert "}" not in text
                assert "  " not in text
                assert text


def test_a_portuguese_fact_is_asked_in_other_words() -> None:
    rng = random.Random(SEED)
    fact = Fact(0, ("a chave",), portuguese.LANGUAGE)
    texts = {portuguese.word_fact(fact, rng).text for _ in range(400)}
    assert {
        "Onde deixei a chave?",
        "Deixei a chave onde?",
        "A chave, onde deixei?",
        "Me diga onde deixei a chave",
    } <= texts


def test_a_neighbour_shares_something_and_is_another_fact() -> None:
    rng = random.Random(SEED)
    for module in (household, portuguese):
        for _ in range(2000):
            fact = module.draw_fact(rng)
            neighbour = module.draw_neighbour(fact, rng)
            assert neighbour != fact
            assert neighbour.relation == fact.relation or neighbour.fillers == fact.fillers


# ---------------------------------------------------------------- apart from what teaching is measured on


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def measured_shapes() -> set[str]:
    """Every question of the benchmark, of both splits, with x for what fills it and no determiner before it."""
    return {
        plain(re.sub(r"\b(the|our) \{x\}", "{x}", text).replace("{x}", "x"))
        for split in ("tune", "report")
        for template in teaching_facts.templates_of(split)  # type: ignore[arg-type]
        for text in (template.question, template.paraphrase, *template.others)
    }


def measured_fillers() -> set[str]:
    return {
        filler.lower()
        for lists in teaching_facts._FILLERS.values()
        for fillers in lists.values()
        for filler in fillers
    }


def trained_shapes() -> set[str]:
    """Every direct question about a made-up fact, with x and y for its fillers."""
    english = {
        plain(household._direct(way).format(x="x", y="y", **{"x*": "x", "y*": "y"}))
        for relation in household.RELATIONS
        for way in relation.ways
    }
    return english | {plain(direct.format(x="x")) for _, _, direct, _ in portuguese.RELATIONS}


def test_no_made_up_fact_is_asked_as_the_benchmark_asks() -> None:
    assert trained_shapes() & measured_shapes() == set()


def test_a_question_of_the_benchmark_among_the_relations_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    way = household.Way.parse("where | do | we | keep | keep | {x}")
    planted = household.Relation("planted", ("thing",), (way,), "place")
    monkeypatch.setattr(household, "RELATIONS", (*household.RELATIONS, planted))
    assert trained_shapes() & measured_shapes() == {"where do we keep x"}


def test_no_made_up_fact_is_about_what_the_benchmark_asks_about() -> None:
    reserved = {filler.lower() for filler in household_words.RESERVED}
    assert measured_fillers() <= reserved
    rng = random.Random(SEED)
    for module in (household, portuguese):
        facts = [module.draw_fact(rng) for _ in range(20_000)]
        facts += [module.draw_neighbour(fact, rng) for fact in facts[:8_000]]
        assert not {filler.lower() for fact in facts for filler in fact.fillers} & reserved


# ---------------------------------------------------------------- facts that come and go


def answers_by_question(
    taught: lessons.Lessons, rng: random.Random, num_asked: int = 3000
) -> dict[str, set[str]]:
    answers: dict[str, set[str]] = {}
    for _ in range(num_asked):
        question = taught.ask(rng)
        answers.setdefault(question.text, set()).add(question.answer)
    return answers


def test_lessons_know_their_facts_and_not_their_neighbours() -> None:
    rng = random.Random(SEED)
    found = answers_by_question(lessons.Lessons(rng, num_facts=60, share=0.5), rng)
    answers = list(itertools.chain.from_iterable(found.values()))
    num_unknown = sum(answer == skills.UNKNOWN for answer in answers)
    assert 0.1 < num_unknown / len(answers) < 0.7


def test_a_retired_fact_is_unknown_again() -> None:
    rng = random.Random(SEED)
    taught = lessons.Lessons(rng, num_facts=60, share=0.5)
    assert any(found - {skills.UNKNOWN} for found in answers_by_question(taught, rng).values())
    taught.retire_all()
    assert all(found == {skills.UNKNOWN} for found in answers_by_question(taught, rng).values())
    taught.renew(rng, 10)
    assert all(found == {skills.UNKNOWN} for found in answers_by_question(taught, rng).values())
    assert taught.share == 0.5 * lessons.RETIRED_SHARE


def test_renewed_facts_replace_the_oldest() -> None:
    rng = random.Random(SEED)
    taught = lessons.Lessons(rng, num_facts=40, share=0.5)
    before = {a for found in answers_by_question(taught, rng).values() for a in found} - {skills.UNKNOWN}
    taught.renew(rng, 40)
    after = {a for found in answers_by_question(taught, rng).values() for a in found} - {skills.UNKNOWN}
    assert len(before & after) < 10


def test_lessons_never_ask_in_a_held_out_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, ...]] = []
    whole = skills.is_held_out

    def noted(*key: object, percent: int = 10) -> bool:
        if not whole(*key, percent=percent):
            drawn.append(tuple(map(str, key)))
        return whole(*key, percent=percent)

    monkeypatch.setattr(skills, "is_held_out", noted)
    rng = random.Random(SEED)
    taught = lessons.Lessons(rng, num_facts=40, share=0.5)
    for _ in range(500):
        taught.ask(rng)
    assert len(drawn) == 500
    assert not any(whole(*key) for key in drawn)


def test_a_slip_changes_one_letter_inside_a_long_word() -> None:
    rng = random.Random(SEED)
    for _ in range(500):
        typed = lessons.mistyped("Is it 4719 at the garage?", rng)
        assert "4719" in typed
        assert typed.startswith("Is it")
        assert typed.endswith("?")
        assert abs(len(typed) - len("Is it 4719 at the garage?")) <= 1
    assert lessons.mistyped("1 + 2 is it so?", rng) == "1 + 2 is it so?"
