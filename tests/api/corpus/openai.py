"""`/v1/chat/completions` and `/v1/embeddings` as OpenAI's SDKs and what is built on them send them."""

from __future__ import annotations

from typing import Any

from tests.api.corpus.cases import Body, Case, answered, merged, refused

CHAT = "/v1/chat/completions"
M: Body = {"model": "default"}
CLIENTS: dict[str, Any] = {
    "openai-python": ({"user-agent": "OpenAI/Python 3.52.0", "x-stainless-lang": "python"}, M),
    "openai-node": (
        {"user-agent": "OpenAI/JS 6.1.0", "x-stainless-lang": "js", "accept": "application/json"},
        M,
    ),
    "litellm": ({"user-agent": "litellm/1.106.2"}, {**M, "user": None}),
    "langchain": ({"x-stainless-lang": "python"}, {**M, "n": 1}),
    "llama-index": ({"x-stainless-lang": "python"}, {**M, "temperature": 0.1}),
    "instructor": ({"x-stainless-lang": "python"}, {**M, "response_format": {"type": "json_object"}}),
    "pydantic-ai": ({"user-agent": "pydantic-ai/2.0"}, {**M, "parallel_tool_calls": None}),
    "vercel-ai": ({"user-agent": "ai/6.0 ai-sdk/openai-compatible/2.0"}, {**M, "temperature": 0}),
    "continue": ({"user-agent": "node-fetch"}, {**M, "stop": None}),
    "cline": ({"http-referer": "https://cline.bot", "x-title": "Cline"}, {**M, "temperature": 0}),
    "open-webui": ({"x-openwebui-user-name": "Ada"}, {**M, "stream": True}),
    "llm": ({"user-agent": "OpenAI/Python 3.52.0"}, {**M, "stream": True}),
    "aider": ({"user-agent": "litellm/1.106.2"}, {**M, "temperature": 0}),
    "curl": ({"user-agent": "curl/8.14"}, M),
}
HI: Body = {"role": "user", "content": "hi"}
MORE: Body = {"role": "user", "content": "and now?"}


def call(call_id: str, name: str, arguments: str = '{"city":"Rome"}', **more: Any) -> Body:
    """A call in an assistant's message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def result(call_id: str, content: Any = "sunny", **more: Any) -> Body:
    """A tool's message."""
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def said(**fields: Any) -> Body:
    """An assistant's message."""
    return {"role": "assistant", **fields}


def talk(*messages: Body) -> Body:
    """A body's messages."""
    return {"messages": list(messages)}


def text(content: str, **more: Any) -> Body:
    """A text part."""
    return {"type": "text", "text": content, **more}


EMPTY = {"refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": None}
CALLED = said(content=None, tool_calls=[call("call_1", "weather")])
SHAPES: dict[str, Body] = {
    "text": talk(HI),
    "parts": talk({"role": "user", "content": [text("hi"), text(" there")]}),
    "system": talk({"role": "system", "content": "Be brief."}, HI),
    "developer": talk({"role": "developer", "content": [text("Be brief.")]}, HI),
    "cached": talk(
        {"role": "system", "content": [text("Be brief.", cache_control={"type": "ephemeral"})]}, HI
    ),
    "breakpoint": talk(
        {"role": "user", "content": [text("hi", prompt_cache_breakpoint={"mode": "explicit"})]}
    ),
    "history": talk(HI, said(content="Hello."), MORE),
    "answer back": talk(HI, said(content="Hello.", **EMPTY), MORE),
    "litellm's answer back": talk(
        HI,
        said(content="Hello.", images=None, thinking_blocks=None, provider_specific_fields={"refusal": None}),
        MORE,
    ),
    "parsed answer back": talk(HI, said(content='{"a": 1}', parsed={"a": 1}, refusal=None), MORE),
    "parsed call back": talk(
        HI,
        said(
            tool_calls=[
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "x", "arguments": '{"a":1}', "parsed_arguments": {"a": 1}},
                }
            ]
        ),
        result("a"),
    ),
    "nulls": talk({**HI, "name": None, "tool_calls": None, "tool_call_id": None}),
    "tool": talk(HI, CALLED, result("call_1")),
    "tool, named": talk(HI, CALLED, result("call_1", name="weather"), MORE),
    "tool, text": talk(HI, said(content="Let me see.", tool_calls=[call("a", "weather")]), result("a")),
    "tool, empty": talk(HI, said(content="", tool_calls=[call("a", "now", "")]), result("a", "")),
    "tool, parts": talk(HI, CALLED, result("call_1", [text("sun"), text("ny")])),
    "tools": talk(
        HI, said(tool_calls=[call("a", "x", "{}"), call("b", "y", "{}")]), result("b"), result("a")
    ),
    "stream's index": talk(HI, said(content=None, tool_calls=[call("a", "x", "{}", index=0)]), result("a")),
    "function": talk(
        HI,
        said(content=None, function_call={"name": "weather", "arguments": '{"city": "Rome"}'}),
        {"role": "function", "name": "weather", "content": "sunny"},
    ),
    "reasoning_content": talk(HI, said(content="Hello.", reasoning_content="They greet."), MORE),
    "reasoning": talk(HI, said(content="Hello.", reasoning="They greet.", tool_calls=[]), MORE),
    "unicode": talk({"role": "user", "content": "日本 é 😀"}),
}
STREAMS: list[Body] = [
    {},
    {"stream": None},
    {"stream": False, "stream_options": None},
    {"stream": True},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": False}},
    {"stream": True, "stream_options": {}},
]
SCHEMA: Body = {"type": "object", "properties": {"a": {"type": "integer"}}}


def schema(**more: Any) -> Body:
    """A response format."""
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, **more}}
    }


FIELDS: list[list[Body]] = [
    STREAMS,
    [
        {},
        {"max_tokens": 16},
        {"max_completion_tokens": 16},
        {"max_tokens": 16, "max_completion_tokens": 16},
        {"max_tokens": None, "max_completion_tokens": None},
    ],
    [
        {},
        {"temperature": 0},
        {"temperature": 1.0, "top_p": 1},
        {"temperature": None, "top_p": None, "seed": None},
        {"temperature": 0.7, "seed": 42},
        {"seed": 0},
        {"seed": -1},
        {"seed": 4294967295},
        {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1},
    ],
    [
        {},
        {"frequency_penalty": 0, "presence_penalty": 0.0},
        {"frequency_penalty": None, "presence_penalty": None, "logit_bias": None},
        {"logit_bias": {}},
    ],
    [{}, {"n": 1}, {"n": None}],
    [
        {},
        {"user": "ada"},
        {"user": None, "metadata": None, "store": None, "service_tier": None},
        {"metadata": {"a": "b"}, "store": False},
        {"service_tier": "auto"},
        {"service_tier": "default", "safety_identifier": "x"},
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "implicit"}},
    ],
    [
        {},
        {"tools": []},
        {"tools": None, "tool_choice": None, "parallel_tool_calls": None},
        {"tool_choice": "none"},
        {"tool_choice": "auto", "parallel_tool_calls": True},
        {"parallel_tool_calls": False},
        {"functions": [], "function_call": "auto"},
        {"functions": None, "function_call": None},
    ],
    [
        {},
        {"response_format": None},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object", "json_schema": None}},
        schema(strict=True),
        schema(strict=None, description=None),
    ],
    [{}, {"stop": None}, {"stop": []}, {"stop": "never"}, {"stop": ["never", "\n\n"]}],
    [
        {},
        {"logprobs": False, "top_logprobs": None},
        {"logprobs": None, "top_logprobs": 0},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 5},
    ],
    [
        {},
        {"reasoning_effort": None, "verbosity": None, "prediction": None, "web_search_options": None},
        {"reasoning_effort": "none"},
        {"verbosity": "medium"},
        {"modalities": ["text"], "audio": None, "moderation": None},
    ],
]
TOOL: Body = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE: Body = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "auto"}}
AUDIO: Body = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
FILE: Body = {"type": "file", "file": {"filename": "a.pdf", "file_data": "AA=="}}


def parts(*given: Body) -> Body:
    """A user's message of parts."""
    return talk({"role": "user", "content": list(given)})


NAMED_TOOL: Body = {"type": "function", "function": {"name": "f"}}
REFUSED: list[tuple[str, Body]] = [
    # What this server does not do.
    ("tools", {"tools": [TOOL]}),
    ("tools", {"tools": [TOOL], "tool_choice": "auto"}),
    ("tools", {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}),
    ("tools", {"tools": [TOOL, {"type": "custom", "custom": {"name": "c"}}], "tool_choice": NAMED_TOOL}),
    ("tools", {"tools": [{**TOOL, "function": {"name": "f", "strict": True}}], "tool_choice": "none"}),
    ("tool_choice", {"tool_choice": "required"}),
    ("functions", {"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}}),
    ("n", {"n": 2}),
    ("n", {"n": 0}),
    ("store", {"store": True}),
    ("service_tier", {"service_tier": "flex"}),
    ("modalities", {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}),
    ("audio", {"audio": {"voice": "alloy", "format": "wav"}}),
    ("logit_bias", {"logit_bias": {"50256": -100}}),
    ("frequency_penalty", {"frequency_penalty": 0.5}),
    ("presence_penalty", {"presence_penalty": -0.5}),
    ("reasoning_effort", {"reasoning_effort": "high"}),
    ("verbosity", {"verbosity": "low"}),
    ("prediction", {"prediction": {"type": "content", "content": "x"}}),
    ("web_search_options", {"web_search_options": {"search_context_size": "low"}}),
    ("thinking", {"thinking": {"type": "enabled"}}),
    ("chat_template_kwargs", {"chat_template_kwargs": {"enable_thinking": False}}),
    ("guided_json", {"guided_json": SCHEMA}),
    ("messages[0].content[0].type", parts(IMAGE)),
    ("messages[0].content[1].type", parts(text("What is this?"), IMAGE)),
    ("messages[0].content[0].type", parts(AUDIO)),
    ("messages[0].content[0].type", parts(FILE)),
    ("messages[1].content[0].type", talk(HI, said(content=[{"type": "refusal", "refusal": "No."}]), MORE)),
    ("messages[0].name", talk({**HI, "name": "ada"})),
    ("messages[1].refusal", talk(HI, said(content=None, refusal="No."), MORE)),
    (
        "messages[1].reasoning_details",
        talk(HI, said(content="Hello.", reasoning_details=[{"type": "reasoning.text", "text": "x"}]), MORE),
    ),
    (
        "messages[1].provider_specific_fields",
        talk(HI, said(content="Hello.", provider_specific_fields={"signature": "x"}), MORE),
    ),
    ("messages[1].audio", talk(HI, said(content=None, audio={"id": "a"}), MORE)),
    ("messages[0].role", talk({"role": "critic", "content": "hi"})),
    (
        "messages[1].tool_calls[0].type",
        talk(HI, said(tool_calls=[{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}])),
    ),
    # What makes no sense.
    ("messages", {"messages": []}),
    ("messages", talk(HI, said(content="Hello."))),
    ("messages[0].content", talk({"role": "user", "content": ""})),
    ("messages[0].content", parts()),
    ("messages[0].content", talk({"role": "user"})),
    ("messages[1].content", talk(HI, said(content=None), MORE)),
    ("messages[0].tool_calls", talk({**HI, "tool_calls": [call("a", "x")]})),
    ("messages[1].tool_calls[0].function.arguments", talk(HI, said(tool_calls=[call("a", "x", "[1]")]))),
    ("messages[1].tool_calls[0].function.arguments", talk(HI, said(tool_calls=[call("a", "x", "{oops")]))),
    ("messages[1].tool_calls[0].id", talk(HI, said(tool_calls=[{"function": {"name": "x"}}]))),
    ("messages[2].tool_call_id", talk(HI, CALLED, {"role": "tool", "content": "sunny"})),
    ("messages[2].name", talk(HI, CALLED, result("call_1", name="other"))),
    ("messages[1].name", talk(HI, {"role": "function", "name": "x", "content": "y"})),
    ("messages[0].content[0].text", parts({"type": "text"})),
    ("temperature", {"temperature": 2.5}),
    ("temperature", {"temperature": "hot"}),
    ("top_p", {"top_p": 1.5}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": 5, "max_completion_tokens": 6}),
    ("stop", {"stop": ["a"] * 17}),
    ("top_logprobs", {"top_logprobs": 3}),
    ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
    ("seed", {"seed": 2**64}),
    ("response_format.type", {"response_format": {"type": "grammar", "grammar": "x"}}),
    ("response_format.json_schema.schema", {"response_format": {"type": "json_schema"}}),
    ("stream", {"stream": "yes"}),
    ("model", {"model": 5}),
]
CHAT_CASES = [
    *answered(CHAT, CLIENTS, SHAPES, *FIELDS),
    *refused(CHAT, CLIENTS, talk(HI), REFUSED, both=({"stream": False}, {"stream": True})),
    Case("no model", CHAT, talk(HI), "model", 400),
    Case(
        "usage of no stream",
        CHAT,
        {**M, **talk(HI), "stream_options": {"include_usage": True}},
        "stream_options",
        400,
    ),
]

EMBED = "/v1/embeddings"
EMBEDDINGS_FIELDS: list[list[Body]] = [
    [{"input": "hi"}, {"input": ["hi"]}, {"input": ["hi", "there", "hi"]}, {"input": ["word"] * 40}],
    [{}, {"encoding_format": None}, {"encoding_format": "float"}, {"encoding_format": "base64"}],
    [{}, {"dimensions": None}, {"dimensions": 8}],
    [{}, {"user": "ada"}, {"user": None}],
]
EMBEDDING_CLIENTS = {name: (headers, M) for name, (headers, _) in CLIENTS.items()}
EMBEDDINGS_REFUSED: list[tuple[str, Body]] = [
    ("input", {"input": [1, 2, 3]}),
    ("input", {"input": [[1, 2], [3]]}),
    ("input", {"input": []}),
    ("input", {"input": ""}),
    ("input[1]", {"input": ["hi", ""]}),
    ("input[1]", {"input": ["hi", None]}),
    ("input", {"input": None}),
    ("dimensions", {"dimensions": 256}),
    ("encoding_format", {"encoding_format": "int8"}),
    ("input_type", {"input_type": "query"}),
]
CASES = [
    *CHAT_CASES,
    *answered(EMBED, EMBEDDING_CLIENTS, {"": {}}, *EMBEDDINGS_FIELDS),
    *refused(EMBED, EMBEDDING_CLIENTS, {"input": "hi"}, EMBEDDINGS_REFUSED, both=({}, {"user": "ada"})),
    Case("an unknown model", EMBED, merged({"model": "nope", "input": "hi"}), None, 404, answer=None),
]
