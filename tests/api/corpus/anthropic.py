"""`/v1/messages` and its count as Anthropic's SDKs, Claude Code, Cline, LiteLLM and others send them."""

from __future__ import annotations

from typing import Any

from tests.api.corpus.cases import Body, Case, answered, refused

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
VERSION = {"anthropic-version": "2023-06-01"}
M: Body = {"model": "default", "max_tokens": 40}
CLIENTS: dict[str, Any] = {
    "anthropic-python": (
        {**VERSION, "user-agent": "Anthropic/Python 2.11.0", "x-stainless-lang": "python"},
        M,
    ),
    "anthropic-node": ({**VERSION, "user-agent": "Anthropic/JS 0.90.0", "x-stainless-lang": "js"}, M),
    "claude-code": (
        {
            **VERSION,
            "user-agent": "claude-cli/2.1.0",
            "anthropic-beta": "claude-code-20250219",
            "x-app": "cli",
        },
        {**M, "max_tokens": 32000, "metadata": {"user_id": "user_1"}, "stream": True},
    ),
    "cline": (VERSION, {**M, "max_tokens": 8192, "temperature": 0, "stream": True}),
    "litellm": ({**VERSION, "accept": "application/json"}, M),
    "langchain": ({**VERSION, "x-stainless-lang": "python"}, {**M, "max_tokens": 1024}),
    "vercel-ai": ({**VERSION, "user-agent": "ai-sdk/anthropic/3.0"}, {**M, "max_tokens": 4096}),
    "pydantic-ai": ({**VERSION, "user-agent": "pydantic-ai/2.0"}, {**M, "stream": False}),
    "curl": (VERSION, M),
}
HI: Body = {"role": "user", "content": "hi"}
MORE: Body = {"role": "user", "content": "and now?"}
CACHED: Body = {"cache_control": {"type": "ephemeral"}}


def text(content: str, **more: Any) -> Body:
    """A text block."""
    return {"type": "text", "text": content, **more}


def use(call_id: str = "toolu_1", **more: Any) -> Body:
    """A call."""
    return {"type": "tool_use", "id": call_id, "name": "weather", "input": {"city": "Rome"}, **more}


def result(call_id: str = "toolu_1", **more: Any) -> Body:
    """What a tool answered."""
    return {"type": "tool_result", "tool_use_id": call_id, **more}


def user(*blocks: Body) -> Body:
    """A user's message of blocks."""
    return {"role": "user", "content": list(blocks)}


def said(*blocks: Body) -> Body:
    """An assistant's message of blocks."""
    return {"role": "assistant", "content": list(blocks)}


def talk(*messages: Body, **more: Any) -> Body:
    """A body's messages."""
    return {"messages": list(messages), **more}


THOUGHT: Body = {"type": "thinking", "thinking": "They greet.", "signature": "abc"}
SHAPES: dict[str, Body] = {
    "text": talk(HI),
    "blocks": talk(user(text("hi"), text(" there"))),
    "cached": talk(user(text("hi", cache_control={"type": "ephemeral", "ttl": "1h"}))),
    "system": talk(HI, system="Be brief."),
    "system blocks": talk(HI, system=[text("Be brief.", **CACHED), text("Be kind.", cache_control=None)]),
    "system, null": talk(HI, system=None),
    "system, empty": talk(HI, system=[]),
    "system message": talk(HI, {"role": "system", "content": [text("Be brief.")]}, MORE),
    "history": talk(HI, {"role": "assistant", "content": "Hello."}, MORE),
    "answer back": talk(HI, said(text("Hello.", citations=None)), MORE),
    "tool": talk(HI, said(use()), user(result(content="sunny"))),
    "tool, blocks": talk(
        HI, said(text("Let me see."), use(**CACHED)), user(result(content=[text("sunny", **CACHED)]))
    ),
    "tool, error": talk(HI, said(use()), user(result(content="no network", is_error=True, **CACHED))),
    "tool, nothing": talk(HI, said(use()), user(result()), {"role": "assistant", "content": "Done."}, MORE),
    "tool, null": talk(HI, said(use(caller={"type": "direct"})), user(result(content=None, is_error=None))),
    "tools": talk(HI, said(use("a"), use("b")), user(result("a", content="x"), result("b", content="y"))),
    "result and text": talk(HI, said(use()), user(result(content="sunny"), text("And tomorrow?"))),
    "thinking": talk(HI, said(THOUGHT, text("Hello.")), MORE),
    "thinking and tool": talk(HI, said({**THOUGHT, "signature": ""}, use()), user(result(content="sunny"))),
}
FIELDS: list[list[Body]] = [
    [{}, {"stream": None}, {"stream": False}, {"stream": True}],
    [
        {},
        {"temperature": 0},
        {"temperature": 1.0, "top_p": 0.9},
        {"temperature": None, "top_p": None},
        {"top_k": 40},
        {"top_k": None},
    ],
    [{}, {"stop_sequences": None}, {"stop_sequences": []}, {"stop_sequences": ["never", "\n\nHuman:"]}],
    [
        {},
        {"metadata": None},
        {"metadata": {"user_id": "u"}},
        {"metadata": {}},
        {"metadata": {"user_id": None}},
    ],
    [
        {},
        {"service_tier": "auto"},
        {"service_tier": "standard_only"},
        {"service_tier": None, "cache_control": None},
        CACHED,
    ],
    [
        {},
        {"tools": []},
        {"tools": None, "tool_choice": None},
        {"tool_choice": {"type": "auto"}},
        {"tool_choice": {"type": "none"}},
        {"tools": [], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ],
    [
        {},
        {"thinking": {"type": "disabled"}},
        {"thinking": None, "output_config": None, "container": None, "diagnostics": None},
        {"context_management": {"edits": []}, "mcp_servers": [], "speed": "standard"},
        {"context_management": None, "mcp_servers": None, "speed": None, "inference_geo": None},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_config": {"format": None, "effort": None}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
    ],
]
TOOL: Body = {"name": "f", "description": "x", "input_schema": {"type": "object"}}
IMAGE: Body = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
DOCUMENT: Body = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
FIRST = "messages[0].content[0].type"
PROMPT_REFUSED: list[tuple[str, Body]] = [
    # What this server does not do.
    ("tools", {"tools": [TOOL]}),
    ("tools", {"tools": [TOOL], "tool_choice": {"type": "any"}}),
    ("tools", {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}}),
    ("tools", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("tool_choice", {"tool_choice": {"type": "any"}}),
    ("thinking", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ("thinking", {"thinking": {"type": "adaptive", "display": "summarized"}}),
    ("output_config.effort", {"output_config": {"effort": "high"}}),
    ("speed", {"speed": "fast"}),
    ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}),
    ("context_management", {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
    (FIRST, talk(user(IMAGE, text("What is this?")))),
    ("messages[0].content[1].type", talk(user(text("Read this."), {**DOCUMENT, **CACHED}))),
    (FIRST, talk(user({"type": "search_result", "source": "x", "title": "x", "content": []}))),
    (FIRST, talk(user({"type": "container_upload", "file_id": "x"}))),
    (
        "messages[1].content[0].type",
        talk(HI, said({"type": "redacted_thinking", "data": "x"}, text("Hello.")), MORE),
    ),
    (
        "messages[1].content[0].type",
        talk(HI, said({"type": "server_tool_use", "id": "a", "name": "b", "input": {}}), MORE),
    ),
    ("messages[2].content[0].content[0].type", talk(HI, said(use()), user(result(content=[IMAGE])))),
    ("messages[1].content[0].citations", talk(HI, said(text("Hello.", citations=[{"type": "x"}])), MORE)),
    ("messages[0].role", talk({"role": "tool", "content": "hi"})),
    ("fallbacks_x", {"fallbacks_x": 1}),
    # What makes no sense.
    ("messages", {"messages": []}),
    ("messages[0].content", talk({"role": "user", "content": ""}, system="Be brief.")),
    ("messages[0].content", talk(user())),
    ("messages[0].content[0].text", talk(user({"type": "text"}))),
    ("messages[0].content[0].type", talk(user({"text": "hi"}))),
    ("messages[0].content[0].type", talk(user(use()))),
    ("messages[1].content[0].type", talk(HI, said(result(content="x")), MORE)),
    ("messages[1].content[0].input", talk(HI, said({**use(), "input": "x"}), MORE)),
    ("messages[2].content[0].tool_use_id", talk(HI, said(use()), user({"type": "tool_result"}))),
    ("system[0].type", talk(HI, system=[IMAGE])),
    ("model", {"model": None}),
]
REFUSED: list[tuple[str, Body]] = [
    *PROMPT_REFUSED,
    ("messages", talk(HI, said(text("Hello")))),
    ("container", {"container": "c"}),
    ("inference_geo", {"inference_geo": "us"}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": None}),
    ("temperature", {"temperature": 1.5}),
    ("top_k", {"top_k": -1}),
    ("stop_sequences[0]", {"stop_sequences": [""]}),
    ("service_tier", {"service_tier": "priority"}),
    ("metadata.team", {"metadata": {"team": "x"}}),
    ("output_config.format.type", {"output_config": {"format": {"type": "xml", "schema": {}}}}),
    ("stream", {"stream": 1}),
]
COUNT_CLIENTS = {name: (headers, {"model": "default"}) for name, (headers, _) in CLIENTS.items()}
COUNT_FIELDS: list[list[Body]] = [FIELDS[5], FIELDS[6][:2], [{}, CACHED, {"cache_control": None}]]
CASES = [
    *answered(MESSAGES, CLIENTS, SHAPES, *FIELDS),
    *refused(MESSAGES, CLIENTS, talk(HI), REFUSED, both=({"stream": False}, {"stream": True})),
    *answered(COUNT, COUNT_CLIENTS, SHAPES, *COUNT_FIELDS),
    *refused(COUNT, COUNT_CLIENTS, talk(HI), PROMPT_REFUSED, both=({}, CACHED)),
    Case("no max_tokens", MESSAGES, {"model": "default", **talk(HI)}, "max_tokens", 400, VERSION),
    Case("a beta by its query", f"{MESSAGES}?beta=true", {**M, **talk(HI)}, None, 200, VERSION, answer=None),
]
