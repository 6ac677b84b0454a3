"""Write docs/reference/api.md from the live route table and the types of the bodies.

    python -m tools.docs.api_reference

A test compares the committed page with what this makes.
"""

from __future__ import annotations

import inspect
import tempfile
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from fastapi.routing import iter_route_contexts

from homefire.api import anthropic_types, native_types, ollama_types, openai_types
from homefire.api.server import HOT_ROUTES, HomefireApp, create_app
from homefire.app import build
from homefire.config.loader import load_settings
from homefire.home import Home

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md"
GROUPS = {
    "openai": "OpenAI's dialect",
    "ollama": "Ollama's dialect",
    "anthropic": "Anthropic's dialect",
    "native": "Homefire's own: chat",
    "turns": "Homefire's own: running answers",
    "learning": "Homefire's own: learning",
    "versions": "Homefire's own: versions",
    "models": "Homefire's own: models",
    "sessions": "Homefire's own: conversations",
    "keys": "Homefire's own: API keys",
    "server": "The server",
}
BODIES = {
    "openai": openai_types.ChatBody,
    "ollama": ollama_types.ChatBody,
    "anthropic": anthropic_types.MessagesBody,
    "native": native_types.ChatBody,
}
HEAD = """\
# Every address

Made from the route table by `python -m tools.docs.api_reference`. The same as OpenAPI, with every type:
`GET /openapi.json`.

**Who may call.** A key in `Authorization: Bearer` or `x-api-key`; programs on this machine may do
without (`server.loopback_without_key`), and for them a key that is not known and does not begin with `hf-`
counts as none. The Host header must name this server and an Origin header must be its own
(`server.allowed_hosts`, `server.allowed_origins`). Only `/health` and the sign-in page answer without a
key.

**What is sent.** JSON, at most `server.max_body_bytes`, as it is or packed with `Content-Encoding: gzip`
or `deflate`. It should be declared as `application/json`; a program that is not a browser may leave that out.
An unknown field is an error that names it. A request lasts at most `server.request_timeout_s`, waiting and
writing included, and a client that reads nothing of its answer for 30 s is cut off; what changes something (a
promotion, a model that is copied) is finished once it has begun.

**What comes back.** Every answer carries `Request-Id` (and the same as `X-Request-Id`), which the log names
where something failed. `HEAD` works where `GET` does.
Chat answers carry `X-Homefire-Turn`, `X-Homefire-Session`, `X-Homefire-Model` (the
model that answered) and, when old messages were left out to fit, `X-Homefire-Trimmed-Messages`; the
usage then says it too, as `trimmed_messages`. The `id` of an answer in the OpenAI and Anthropic
dialects is the turn's id, which feedback is given by. Errors have the dialect's own shape and the
header `X-Homefire-Error` with their [code](errors.md); a failure in the middle of a stream is the
stream's last event.

**Streams.** OpenAI and Anthropic: server-sent events as in the original. Ollama: JSON lines. Native
chat: the events `started`, `delta` and `ended` or `error`. A client that disconnects cancels its turn.
"""
NOTES = {
    "openai": """\
Also accepted: the extensions `top_k`, `min_p`, `repetition_penalty`. Accepted without effect, because
official clients send them and they ask for nothing here: `user`, `safety_identifier`, `metadata`,
`prompt_cache_key`, `stream_options.include_obfuscation`, and the values `n: 1`, `store: false`,
`service_tier: auto`, `modalities: [text]`, `tool_choice: none|auto`, any `parallel_tool_calls`, and
empty `tools`, `functions`, `logit_bias`, and penalties of 0. Any other value of those is refused by
name. `GET /v1/models` answers in Anthropic's shape where the header `anthropic-version` is present.""",
    "ollama": """\
`keep_alive` does one thing: 0 with an empty prompt (or no messages) unloads the model; otherwise the
server decides what stays loaded. An empty prompt without it loads the model. `num_ctx` must not exceed
what the model holds; every request has all of it. `num_predict: -1` means the setting
`chat.max_tokens`. Options of Ollama's own loader (`num_gpu`, `num_thread`, …) are refused by name.
`:latest` after a model's name is left out. Durations are nanoseconds. The root answers `Homefire is
running` to clients that do not ask for HTML.""",
    "anthropic": """\
Accepted without effect: `metadata`, `service_tier`, `cache_control` (prefixes are always cached),
`thinking: disabled`, empty `tools`, `tool_choice: none|auto`, and the query `?beta=true`.
`input_tokens` are those not read from the prefix cache, as in the original; a stream says 0 in
`message_start` and the truth in `message_delta`.""",
    "native": """\
One of `message`, `messages` and `replaces_turn_id` (answer again) is expected. With `session_id` the
stored conversation comes before.""",
}


def routes(app: HomefireApp) -> Iterator[tuple[str, str, str, str]]:
    """(group, method, path, what it does) of every API route; pages are not part of the API."""
    for path, route in HOT_ROUTES.items():
        yield route.dialect, "POST", path, route.summary
    for route in iter_route_contexts(app.routes):
        tags = getattr(route, "tags", None)
        if route.endpoint is not None and tags:
            for method in sorted(route.methods or ()):
                yield (
                    str(tags[0]),
                    method,
                    str(route.path),
                    first_sentence(inspect.getdoc(route.endpoint) or ""),
                )


def first_sentence(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split("\n\n")[0].split())


def fields(body: type[msgspec.Struct]) -> Iterator[tuple[str, str, str]]:
    """(name, type, default) of a body's fields."""
    hints = typing.get_type_hints(body)
    for field in msgspec.structs.fields(body):
        default = "required" if field.required else ""
        if not field.required and field.default not in (None, msgspec.NODEFAULT):
            default = f"`{msgspec.json.encode(field.default).decode()}`"
        yield field.encode_name, type_name(hints[field.name]), default


def type_name(kind: Any) -> str:
    """A type in words a client's author knows; null is always allowed where a default is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments if argument is not types.NoneType)
    if origin is typing.Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict or kind is dict:
        return "object"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "only empty"}
    if kind in names:
        return names[kind]
    return str(getattr(kind, "__name__", kind))


def make_page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        homefire = build(load_settings(home, environ={}), home)
        try:
            table = sorted(
                set(routes(create_app(homefire))), key=lambda row: (list(GROUPS).index(row[0]), row[2:0:-1])
            )
        finally:
            homefire.store.close()
    parts = [HEAD]
    for group, title in GROUPS.items():
        parts.append(f"\n## {title}\n\n| | address | what it does |\n|---|---|---|\n")
        parts += [f"| {method} | `{path}` | {doc} |\n" for name, method, path, doc in table if name == group]
        if group in NOTES:
            parts.append(f"\n{NOTES[group]}\n")
        if group in BODIES:
            path = next(path for path, route in HOT_ROUTES.items() if route.dialect == group)
            parts.append(f"\n`POST {path}` takes:\n\n| field | type | default |\n|---|---|---|\n")
            parts += [f"| `{name}` | {kind} | {default} |\n" for name, kind, default in fields(BODIES[group])]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(make_page(), encoding="utf-8")
