"""Templates render to the same characters as in transformers, and know what the model wrote."""

from __future__ import annotations

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from homefire.engines.template import ChatTemplate, strip_generation_marks
from homefire.errors import BadModel
from homefire.types import Message
from tests.engines.support import ember_folder

CONVERSATION = [
    Message("system", "Be brief. <&'\">"),
    Message("user", "Hi, 你好"),
    Message("assistant", "Hello."),
    Message("user", "And now?\n"),
    Message("assistant", "Now this 🙂."),
]
MARKED = (ember_folder() / "chat_template.jinja").read_text(encoding="utf-8")
UNMARKED = strip_generation_marks(MARKED)
FEATURES = """{%- set ns = namespace(n=0) %}
{%- for m in messages %}
    {%- if m.role == 'system' %}{% continue %}{% endif %}
    {%- set ns.n = ns.n + 1 %}
[{{ ns.n }}] {{ m | tojson }} {{ m.content.strip().split(' ')[0] }}
{%- endfor %}
  {% if add_generation_prompt %}
> {{ eos_token }}
  {% endif %}
"""


def plain(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


@pytest.mark.parametrize("source", [MARKED, UNMARKED, FEATURES])
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_renders_as_transformers_does(source: str, add_generation_prompt: bool) -> None:
    theirs, _ = render_jinja_template(
        [plain(CONVERSATION)],
        chat_template=source,
        add_generation_prompt=add_generation_prompt,
        eos_token="</s>",
        bos_token="",
    )
    ours = ChatTemplate(source, eos_token="</s>").render(CONVERSATION, add_generation_prompt).text
    assert ours == theirs[0]


def test_spans_are_those_of_transformers() -> None:
    texts, spans = render_jinja_template(
        [plain(CONVERSATION)], chat_template=MARKED, return_assistant_tokens_mask=True
    )
    rendered = ChatTemplate(MARKED).render_with_spans(CONVERSATION)
    assert rendered.text == texts[0]
    assert [tuple(span) for span in spans[0]] == list(rendered.spans)


def test_spans_hold_the_answers_and_their_stop_tokens() -> None:
    rendered = ChatTemplate(MARKED).render_with_spans(CONVERSATION)
    assert [rendered.text[start:end] for start, end in rendered.spans] == [
        "Hello.<|im_end|>",
        "Now this 🙂.<|im_end|>",
    ]


def test_without_marks_the_prefixes_give_the_same_spans() -> None:
    template = ChatTemplate(UNMARKED, eos_token="<|im_end|>")
    assert not template.has_generation_marks
    assert template.render_with_spans(CONVERSATION) == ChatTemplate(MARKED).render_with_spans(CONVERSATION)


def test_an_answer_that_cannot_be_told_from_its_prompt_is_an_error() -> None:
    shuffling = "{% for m in messages | reverse %}{{ m.content }}|{% endfor %}"
    with pytest.raises(BadModel, match="generation"):
        ChatTemplate(shuffling).render_with_spans(CONVERSATION)


@pytest.mark.parametrize("left", ["{%", "{%-"])
@pytest.mark.parametrize("right", ["%}", "-%}"])
@pytest.mark.parametrize("before", ["x \n  ", "x", "\n"])
def test_stripped_marks_trim_what_the_marks_trimmed(left: str, right: str, before: str) -> None:
    source = f"A {before}{left} generation {right}\n  B\n{left} endgeneration {right}\n C"
    assert ChatTemplate(strip_generation_marks(source)).render([]) == ChatTemplate(source).render([])


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no system message') }}",
        "{% for i in range(999999999) %}{% endfor %}",
    ],
)
def test_a_template_that_breaks_out_or_refuses_is_a_bad_model(source: str) -> None:
    with pytest.raises(BadModel):
        ChatTemplate(source).render(CONVERSATION)


def test_a_template_that_does_not_compile_says_why() -> None:
    with pytest.raises(BadModel, match="does not compile"):
        ChatTemplate("{% if %}")


def test_a_model_that_can_think_aloud_is_asked_and_taught_the_answer_alone() -> None:
    thinks = (
        "{% for m in messages %}<{{ m.role }}>"
        "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }};{% endfor %}"
        "{% if add_generation_prompt %}<assistant>"
        "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{% endif %}"
    )
    template = ChatTemplate(thinks, eos_token=";")
    question, answer = Message("user", "Hi"), Message("assistant", "Hello.")
    assert template.render([question]).text.endswith("<assistant><think></think>")
    rendered = template.render_with_spans([question, answer])
    assert [rendered.text[start:end] for start, end in rendered.spans] == ["Hello.;"]
