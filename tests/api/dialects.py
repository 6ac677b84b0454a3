"""The four dialects as data: how each says a thing, and where its answers keep it.

`GAPS` lists what a dialect has no words for; everything else must work in all of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Dialect:
    """One door to a turn."""

    name: str
    path: str
    base: Body
    stream: Body
    plain: Body
    fields: dict[str, Any] = field(default_factory=dict)
    """Capability → how its field is said: a dotted name."""

    def body(self, text: str = "hi", *, streamed: bool = False, **wanted: Any) -> Body:
        """A request that says `text` and asks for `wanted` capabilities."""
        body = {**self.base, **(self.stream if streamed else self.plain)}
        if self.name == "native" or self.name == "generate":
            body[self.fields["text"]] = text
        else:
            body["messages"] = [{"role": "user", "content": text}]
        for capability, value in wanted.items():
            put(body, self.fields[capability], value)
        return body

    def text(self, answer: Any) -> str:
        """The answer's text."""
        match self.name:
            case "openai":
                return str(answer["choices"][0]["message"]["content"])
            case "anthropic":
                return "".join(block["text"] for block in answer["content"])
            case "ollama":
                return str(answer["message"]["content"])
            case "generate":
                return str(answer["response"])
        return str(answer["text"])

    def tokens(self, answer: Any) -> tuple[int, int]:
        """Prompt and completion tokens."""
        usage = answer.get("usage") or answer
        names = {
            "openai": ("prompt_tokens", "completion_tokens"),
            "native": ("prompt_tokens", "completion_tokens"),
            "anthropic": ("input_tokens", "output_tokens"),
        }.get(self.name, ("prompt_eval_count", "eval_count"))
        return usage[names[0]], usage[names[1]]

    def reason(self, answer: Any) -> str:
        """Why it ended: stop, length or stop_sequence."""
        match self.name:
            case "openai":
                found = answer["choices"][0]["finish_reason"]
            case "anthropic":
                found = answer["stop_reason"]
            case "native":
                found = answer["stop_reason"]
            case _:
                found = answer["done_reason"]
        return {"end_turn": "stop", "max_tokens": "length"}.get(found, found)

    def trimmed(self, answer: Any) -> int:
        """How many messages the answer's body says were left out."""
        if self.name == "native":
            return int(answer["num_trimmed_messages"])
        return int((answer if self.path.startswith("/api/") else answer["usage"]).get("trimmed_messages", 0))

    def error(self, document: Any) -> str:
        """The message of an error; asserts that its shape is the dialect's."""
        if self.path.startswith("/api/"):
            assert list(document) == ["error"]
            assert isinstance(document["error"], str)
            return str(document["error"])
        inner = document["error"]
        if self.name == "openai":
            assert set(inner) == {"message", "type", "param", "code"}
        elif self.name == "anthropic":
            assert document["type"] == "error"
            assert set(inner) == {"type", "message"}
        else:
            assert set(inner) == {"code", "message", "hint", "details"}
            return f"{inner['message']} {inner['hint'] or ''} {inner['details']}"
        return str(inner["message"])

    def streamed_text(self, raw: str) -> str:
        """The text of a stream, put together from its pieces."""
        parts = []
        for event in self.events(raw):
            match self.name:
                case "openai":
                    parts += [choice["delta"].get("content", "") for choice in event.get("choices", ())]
                case "anthropic" if event["type"] == "content_block_delta":
                    parts.append(event["delta"]["text"])
                case "ollama":
                    parts.append(event.get("message", {}).get("content", ""))
                case "generate":
                    parts.append(event.get("response", ""))
                case "native" if set(event) <= {"text", "logprobs"}:
                    parts.append(event["text"])
        return "".join(parts)

    def events(self, raw: str) -> list[Any]:
        """The JSON documents of a stream, in order."""
        if self.path.startswith("/api/"):
            return [json.loads(line) for line in raw.splitlines()]
        lines = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


def put(body: Body, name: str, value: Any) -> None:
    """Set a dotted name."""
    *outer, last = name.split(".")
    for part in outer:
        body = body.setdefault(part, {})
    body[last] = value


_SAME = {
    name: name
    for name in ("max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop")
}
_OPTIONS = {
    **{name: f"options.{name}" for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop")},
    "max_tokens": "options.num_predict",
    "repetition_penalty": "options.repeat_penalty",
    "json_schema": "format",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
    "system": "system",
    "text": "prompt",
}
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "openai",
            "/v1/chat/completions",
            {"model": "default"},
            {"stream": True},
            {},
            {
                **_SAME,
                "json_schema": "response_format",
                "logprobs": "logprobs",
                "top_logprobs": "top_logprobs",
            },
        ),
        Dialect(
            "anthropic",
            "/v1/messages",
            {"model": "default", "max_tokens": 40},
            {"stream": True},
            {},
            {
                **{name: name for name in ("max_tokens", "temperature", "top_p", "top_k", "system")},
                "stop": "stop_sequences",
                "json_schema": "output_config.format",
            },
        ),
        Dialect("ollama", "/api/chat", {"model": "default"}, {}, {"stream": False}, _OPTIONS),
        Dialect("generate", "/api/generate", {"model": "default"}, {}, {"stream": False}, _OPTIONS),
        Dialect(
            "native",
            "/v1/chat",
            {},
            {"stream": True},
            {},
            {
                **_SAME,
                "json_schema": "json_schema",
                "logprobs": "num_logprobs",
                "system": "system",
                "text": "message",
            },
        ),
    )
}

GAPS = {
    ("anthropic", "min_p"): "the dialect has no such field",
    ("anthropic", "repetition_penalty"): "the dialect has no such field",
    ("anthropic", "seed"): "the dialect has no such field",
    ("anthropic", "logprobs"): "the dialect has no such field",
    ("generate", "conversation"): "the route takes one prompt",
    ("native", "conversation"): "sessions carry it; /v1/chat also takes `messages`",
}
