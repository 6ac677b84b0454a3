from __future__ import annotations

import html
import io
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homefire.config.logs import configure_logging
from homefire.config.redaction import MASK, RedactingFilter, Redactor, looks_like_secret
from homefire.config.schema import LoggingSettings

CANARY = "canary-7f3a-secret"
API_KEY = "hf-" + "aZ09_-" * 7 + "x"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def leave_traces(logger: logging.Logger, secret: str) -> None:
    """Every way in which a text gets into a log line."""
    logger.info("message %s", secret)
    logger.info(f"formatted {secret}")
    logger.info("mapping %(key)s", {"key": secret})
    logger.info("object %r", {"authorization": secret})
    logger.warning("stack", stack_info=True)
    try:
        try:
            raise ValueError(f"inner {secret}")
        except ValueError as error:
            raise RuntimeError(f"outer {secret}") from error
    except RuntimeError:
        logger.exception("failed with %s", secret)


@pytest.mark.parametrize("format_name", ["text", "json"])
@pytest.mark.parametrize("secret", [CANARY, API_KEY])
def test_no_secret_reaches_the_log(format_name: str, secret: str) -> None:
    stream = io.StringIO()
    settings = LoggingSettings.model_validate({"level": "debug", "format": format_name})
    configure_logging(settings, Redactor(CANARY), stream=stream)
    leave_traces(logging.getLogger("some.library"), secret)
    text = stream.getvalue()
    assert "outer" in text
    assert "inner" in text
    assert secret not in text
    assert text.count(MASK) >= 7


def test_planted_bug_without_the_filter_the_canary_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedactingFilter, "filter", lambda self, record: True)
    stream = io.StringIO()
    configure_logging(LoggingSettings(), Redactor(CANARY), stream=stream)
    leave_traces(logging.getLogger("some.library"), CANARY)
    assert CANARY in stream.getvalue()


def test_json_lines_are_objects() -> None:
    stream = io.StringIO()
    configure_logging(LoggingSettings.model_validate({"format": "json"}), Redactor(), stream=stream)
    leave_traces(logging.getLogger("some.library"), CANARY)
    lines = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["info"] * 4 + ["warning", "error"]
    assert "RuntimeError" in lines[-1]["error"]


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging(LoggingSettings.model_validate({"level": "error"}), Redactor(), stream=stream)
    logging.getLogger("x").warning("nothing")
    assert stream.getvalue() == ""


@given(before=st.text(), after=st.text())
def test_a_known_secret_is_masked_wherever_it_stands(before: str, after: str) -> None:
    assert CANARY not in Redactor(CANARY).redact(before + CANARY + after)


def test_longer_secrets_are_masked_before_those_they_contain() -> None:
    redactor = Redactor("password", "password-and-more")
    assert redactor.redact("password-and-more password") == f"{MASK} {MASK}"


def test_keys_are_known_by_their_shape_and_after_bearer() -> None:
    assert Redactor().redact(f"key {API_KEY}.") == f"key {MASK}."
    assert Redactor().redact("Authorization: Bearer abcdefghijk") == f"Authorization: Bearer {MASK}"
    assert Redactor().redact("the bearer of news, hf-short") == "the bearer of news, hf-short"
    assert looks_like_secret(API_KEY)
    assert not looks_like_secret("hf-short")


def test_a_word_is_no_secret() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        Redactor("short")


def test_a_secret_is_masked_as_json_python_pages_and_urls_write_it() -> None:
    secret = 'k3y-"quoted"\\odd+/&<7>'
    redactor = Redactor(secret)
    written = [json.dumps(secret), repr(secret), html.escape(secret), quote(secret), quote(secret, safe="")]
    assert not any("odd" in redactor.redact(f"said {text} there") for text in written)
