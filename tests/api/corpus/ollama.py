"""`/api/chat`, `/api/generate` and the embeddings as Ollama's libraries and its clients send them."""

from __future__ import annotations

from typing import Any

from tests.api.corpus.cases import Body, Case, answered, refused

CHAT, GENERATE = "/api/chat", "/api/generate"
M: Body = {"model": "default"}
CLIENTS: dict[str, Any] = {
    "ollama-python": ({"user-agent": "ollama-python/0.6.3", "accept": "application/json"}, M),
    "ollama-js": ({"user-agent": "ollama-js/0.6.0 (x64 linux)"}, M),
    "litellm": ({"content-type": "", "user-agent": "litellm/1.106.2"}, {**M, "options": {}}),
    "langchain": ({}, {**M, "format": "", "options": {"temperature": 0.8}, "keep_alive": None}),
    "llama-index": ({}, {**M, "options": {"temperature": 0.75, "num_ctx": 64}}),
    "continue": ({}, {**M, "options": {"num_predict": 2048, "stop": ["</s>"]}, "keep_alive": 1800}),
    "open-webui": ({"x-openwebui-user-name": "Ada"}, {**M, "stream": True}),
    "home-assistant": ({}, {**M, "stream": True, "keep_alive": -1, "think": False}),
    "llm": ({}, {**M, "stream": True, "options": {}}),
    "curl": ({"content-type": "application/x-www-form-urlencoded", "user-agent": "curl/8.14"}, M),
}
HI: Body = {"role": "user", "content": "hi"}
MORE: Body = {"role": "user", "content": "and now?"}


def call(name: str = "weather", **more: Any) -> Body:
    """A call in an assistant's message."""
    return {"function": {"name": name, "arguments": {"city": "Rome"}}, **more}


def said(**fields: Any) -> Body:
    """An assistant's message."""
    return {"role": "assistant", **fields}


def talk(*messages: Body) -> Body:
    """A body's messages."""
    return {"messages": list(messages)}


def tool(content: str = "sunny", **fields: Any) -> Body:
    """A tool's message."""
    return {"role": "tool", "content": content, **fields}


EMPTY = {"thinking": None, "images": None, "tool_calls": None, "tool_name": None}
SHAPES: dict[str, Body] = {
    "text": talk(HI),
    "system": talk({"role": "system", "content": "Be brief."}, HI),
    "history": talk(HI, said(content="Hello."), MORE),
    "answer back": talk(HI, said(content="Hello.", **EMPTY), {**MORE, **EMPTY}),
    "no pictures": talk({**HI, "images": []}),
    "tool": talk(HI, said(content="", tool_calls=[call()]), tool(tool_name="weather")),
    "tool, older": talk(HI, said(tool_calls=[call()]), tool(name="weather")),
    "tool, oldest": talk(HI, said(content="Let me see.", tool_calls=[call()]), tool()),
    "tool, ids": talk(
        HI, said(tool_calls=[call(id="a", type="function")]), tool(tool_call_id="a", tool_name="weather")
    ),
    "tools": talk(
        HI,
        said(tool_calls=[call("x"), call("y")]),
        tool(tool_name="y"),
        tool(tool_name="x"),
        said(content="Done."),
        MORE,
    ),
    "tool, index": talk(
        HI, said(tool_calls=[{"function": {"index": 0, "name": "x", "arguments": {}}}]), tool(tool_name="x")
    ),
    "thinking": talk(HI, said(content="Hello.", thinking="They greet."), MORE),
}
PROMPTS: dict[str, Body] = {
    "prompt": {"prompt": "hi"},
    "system": {"prompt": "hi", "system": "Be brief."},
    "raw": {"prompt": "hi", "raw": True},
    "nulls": {"prompt": "hi", "system": None, "raw": None, "images": None, "suffix": None, "template": None},
    "empties": {
        "prompt": "hi",
        "system": "",
        "raw": False,
        "images": [],
        "suffix": "",
        "template": "",
        "context": [],
    },
}
SCHEMA: Body = {"type": "object", "properties": {"a": {"type": "integer"}}}
FIELDS: list[list[Body]] = [
    [{}, {"stream": None}, {"stream": False}, {"stream": True}],
    [
        {},
        {"keep_alive": "5m"},
        {"keep_alive": 300},
        {"keep_alive": "-1s"},
        {"keep_alive": "1h30m"},
        {"keep_alive": None},
        {"keep_alive": "0"},
    ],
    [{}, {"format": None}, {"format": ""}, {"format": "json"}, {"format": SCHEMA}],
    [
        {},
        {"think": None},
        {"think": False},
        {"truncate": True, "shift": None},
        {"truncate": None, "shift": False},
        {"truncate": False},
    ],
    [
        {},
        {"logprobs": None, "top_logprobs": None},
        {"logprobs": False},
        {"logprobs": True, "top_logprobs": 2},
    ],
    [
        {},
        {"options.temperature": 0.0},
        {"options.temperature": None, "options.seed": None, "options.stop": None, "options.num_ctx": None},
        {"options.seed": 0, "options.top_k": 40, "options.top_p": 0.9, "options.min_p": 0.0},
        {"options.seed": -1},
        {"options.seed": 4294967295, "options.repeat_penalty": 1.1},
        {"options.stop": []},
        {"options.stop": "never"},
        {"options.stop": ["never"], "options.num_predict": 20},
        {"options.num_predict": -1},
        {"options.num_ctx": 32},
    ],
    [
        {},
        {"options.presence_penalty": 0, "options.frequency_penalty": 0.0, "options.mirostat": 0},
        {
            "options.num_gpu": None,
            "options.num_thread": None,
            "options.use_mmap": None,
            "options.num_keep": None,
        },
        {
            "options.mirostat": 0,
            "options.mirostat_tau": 5.0,
            "options.mirostat_eta": 0.1,
            "options.typical_p": 1.0,
        },
        {"options.tfs_z": 1, "options.low_vram": False, "options.numa": False, "options.use_mlock": False},
    ],
]
REFUSED: list[tuple[str, Body]] = [
    # What this server does not do.
    ("think", {"think": True}),
    ("think", {"think": "low"}),
    ("shift", {"shift": True}),
    ("options.num_gpu", {"options": {"num_gpu": 1}}),
    ("options.num_thread", {"options": {"num_thread": 4}}),
    ("options.num_batch", {"options": {"num_batch": 512}}),
    ("options.use_mmap", {"options": {"use_mmap": True}}),
    ("options.mirostat", {"options": {"mirostat": 2}}),
    ("options.presence_penalty", {"options": {"presence_penalty": 1.5}}),
    ("options.typical_p", {"options": {"typical_p": 0.7}}),
    ("options.repeat_last_n", {"options": {"repeat_last_n": 64}}),
    ("options.frobnicate", {"options": {"frobnicate": 1}}),
    ("frobnicate", {"frobnicate": 1}),
    ("format", {"format": "xml"}),
    # What makes no sense.
    ("keep_alive", {"keep_alive": "soon"}),
    ("keep_alive", {"keep_alive": "5"}),
    ("keep_alive", {"keep_alive": ""}),
    ("keep_alive", {"keep_alive": [5]}),
    ("options.num_ctx", {"options": {"num_ctx": 8192}}),
    ("options.num_ctx", {"options": {"num_ctx": 0}}),
    ("options.num_predict", {"options": {"num_predict": 0}}),
    ("options.num_predict", {"options": {"num_predict": -2}}),
    ("options.temperature", {"options": {"temperature": "hot"}}),
    ("options.stop", {"options": {"stop": ""}}),
    ("options.top_p", {"options": {"top_p": 2}}),
    ("options", {"options": [1]}),
    ("top_logprobs", {"top_logprobs": 3}),
    ("stream", {"stream": "no"}),
    ("model", {"model": None}),
]
TOOL: Body = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CHAT_REFUSED: list[tuple[str, Body]] = [
    *REFUSED,
    ("tools", {"tools": [TOOL]}),
    ("tools", {"tools": [TOOL, TOOL], "think": False}),
    ("messages[0].images", talk({**HI, "images": ["aGk="]})),
    ("messages[2].images", talk(HI, said(content="Hello."), {**MORE, "images": ["aGk="]})),
    ("messages[0].role", talk({"role": "control", "content": "thinking"})),
    ("messages[0].tool_calls", talk({**HI, "tool_calls": [call()]})),
    ("messages[0].content", talk({"role": "user"})),
    ("messages[0].content", talk({"role": "user", "content": ""})),
    ("messages", talk(HI, said(content="Hello."))),
    ("messages[1].tool_name", talk(HI, tool(tool_name="weather"))),
    ("messages[1].tool_name", talk(HI, tool())),
    ("messages[1].name", talk(HI, tool(name="weather"))),
    (
        "messages[2].tool_name",
        talk(HI, said(tool_calls=[call(id="a")]), tool(tool_call_id="a", tool_name="b")),
    ),
    (
        "messages[1].tool_calls[0].function.arguments",
        talk(HI, said(tool_calls=[{"function": {"name": "x", "arguments": "{}"}}])),
    ),
    ("messages[1].tool_calls[0].function.name", talk(HI, said(tool_calls=[{"function": {"arguments": {}}}]))),
    ("messages[1].content", talk(HI, said(), MORE)),
    ("messages", {"messages": "hi"}),
]
GENERATE_REFUSED: list[tuple[str, Body]] = [
    *REFUSED,
    ("suffix", {"suffix": "end"}),
    ("template", {"template": "{{ .Prompt }}"}),
    ("context", {"context": [1, 2]}),
    ("images", {"images": ["aGk="]}),
    ("width", {"width": 512}),
    ("system", {"raw": True, "system": "Be brief."}),
    ("prompt", {"prompt": 5}),
]
BOTH = ({"stream": False}, {"stream": True})
LOAD: list[tuple[str, Body]] = [
    (CHAT, {}),
    (CHAT, {"messages": []}),
    (CHAT, {"messages": None, "keep_alive": "5m"}),
    (CHAT, {"messages": [], "keep_alive": 0}),
    (GENERATE, {}),
    (GENERATE, {"prompt": ""}),
    (GENERATE, {"prompt": None, "keep_alive": -1}),
    (GENERATE, {"prompt": "", "keep_alive": "0s"}),
]
EMBED, OLD_EMBED = "/api/embed", "/api/embeddings"
EMBED_FIELDS: list[list[Body]] = [
    [{"input": "hi"}, {"input": ["hi", "there"]}, {"input": []}],
    [{}, {"truncate": None}, {"truncate": True}, {"truncate": False}],
    [{}, {"dimensions": None}, {"dimensions": 8}],
    [{}, {"options": {}}, {"options": None, "keep_alive": None}, {"keep_alive": "5m"}],
]
EMBED_REFUSED: list[tuple[str, Body]] = [
    ("input", {"input": ""}),
    ("input[1]", {"input": ["hi", ""]}),
    ("input", {"input": [1, 2]}),
    ("dimensions", {"dimensions": 4}),
    ("options.num_gpu", {"options": {"num_gpu": 1}}),
    ("keep_alive", {"keep_alive": "soon"}),
]
EMBED_CLIENTS = {name: (headers, M) for name, (headers, _) in CLIENTS.items()}
CASES = [
    *answered(CHAT, CLIENTS, SHAPES, *FIELDS),
    *refused(CHAT, CLIENTS, talk(HI), CHAT_REFUSED, both=BOTH),
    *answered(GENERATE, CLIENTS, PROMPTS, *FIELDS),
    *refused(GENERATE, CLIENTS, {"prompt": "hi"}, GENERATE_REFUSED, both=BOTH),
    *(
        Case(f"load {path} {number}", path, {**M, **body}, answer="")
        for number, (path, body) in enumerate(LOAD)
    ),
    *answered(EMBED, EMBED_CLIENTS, {"": {}}, *EMBED_FIELDS),
    *refused(EMBED, EMBED_CLIENTS, {"input": "hi"}, EMBED_REFUSED, both=({}, {"truncate": True})),
    Case("older embeddings", OLD_EMBED, {**M, "prompt": "hi", "options": {}}),
    Case("older embeddings of nothing", OLD_EMBED, {**M, "prompt": ""}, "prompt", 400),
]
