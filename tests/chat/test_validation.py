"""Bad requests are refused before anything is done, and the refusal names the field."""

from __future__ import annotations

from typing import Any

import pytest

from homefire.chat.request import ChatRequest
from homefire.chat.validation import check_request
from homefire.errors import InvalidRequest
from homefire.types import Message, Sampling
from tests.chat.talk import answered, request, system


@pytest.mark.parametrize(
    ("bad", "param"),
    [
        (request(), "messages"),
        (request("hi", answered("hello")), "messages"),
        (request(system("only rules")), "messages"),
        (request(""), "messages[0].content"),
        (request("hi", answered("ok"), ""), "messages[2].content"),
        (request(Message("tool", "x"), "hi"), "messages[0]"),  # type: ignore[arg-type]
        (request("half a pair: \ud800"), "messages[0]"),
        (request(prompt=""), "prompt"),
        (request("hi", prompt="raw"), "prompt"),
        (request(prompt="raw", session_id="ses_1"), "prompt"),
        (request(prompt="raw", replaces_turn_id="turn_1"), "prompt"),
        (request(prompt="\udfff"), "prompt"),
        (request("hi", replaces_turn_id="turn_1"), "messages"),
    ],
)
def test_a_malformed_request_is_refused_by_its_field(bad: ChatRequest, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request(bad)
    assert caught.value.details["param"] == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
        ({"num_logprobs": 21}, "logprobs"),
        ({"stop": ("a", "")}, "stop"),
        ({"json_schema": {}, "grammar": "root ::= 1"}, "grammar"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_sampling_out_of_range_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request(request("hi", sampling=Sampling(**fields)))
    assert caught.value.details["param"] == param


@pytest.mark.parametrize(
    "good",
    [
        request("hi"),
        request(system(""), "hi", answered(""), "and?"),
        request("one", "two"),
        request(answered("Welcome!"), "hi"),
        request("naïve 🔥"),
        request(prompt="raw"),
        request(replaces_turn_id="turn_1", session_id="ses_1"),
        request("hi", sampling=Sampling(max_tokens=1, temperature=0, top_p=1, top_k=0, min_p=0, seed=7)),
    ],
)
def test_a_sound_request_passes(good: ChatRequest) -> None:
    check_request(good)
