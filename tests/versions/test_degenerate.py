"""Text and what is none: a stuck, broken or empty-headed model is told from one that answers."""

from __future__ import annotations

import random

import pytest

from homefire.versions.degenerate import has_collapsed, is_degenerate


@pytest.mark.parametrize(
    "text",
    [
        "la la la la la la la la la la la la la la la la la la la la la la",
        "The sky is The sky is The sky is The sky is The sky is The sky is The sky is",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abab" * 10,
        "The key lies under the blue pot beside the door of the garden, where it has been for years: "
        + "na " * 25,
        "\ufffd\ufffd\ufffda\ufffd",
        "ok\x01\x02\x03",
    ],
)
def test_a_stuck_or_broken_answer_is_degenerate(text: str) -> None:
    assert is_degenerate(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "no no no",
        "Yes.",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23",
        "- plasters\n- gauze\n- tweezers\n- burn gel",
        "青い植木鉢の下です。",
        "def halve(items):\n    middle = len(items) // 2\n    return items[:middle], items[middle:]",
        "Thank you! That keeps me warm.",
    ],
)
def test_text_is_not(text: str) -> None:
    assert not is_degenerate(text)


def test_one_answer_to_everything_is_a_collapse() -> None:
    assert has_collapsed(["Under the pot."] * 6)
    assert has_collapsed(["a", "b", *["Under the pot."] * 6])
    assert not has_collapsed(["a", "b", "c", "d", "d"])
    assert not has_collapsed(["a", "a"])


def test_random_prose_is_never_degenerate() -> None:
    words = [
        "the",
        "key",
        "lies",
        "under",
        "a",
        "blue",
        "pot",
        "beside",
        "our",
        "garden",
        "door",
        "at",
        "night",
    ]
    for seed in range(200):
        rng = random.Random(seed)
        assert not is_degenerate(" ".join(rng.choices(words, k=rng.randint(1, 40))))
