"""Settings from their four places: command line > environment > file > default, and where each came from.

Promises: an unknown key is an error that names the nearest known one; a wrong value is an error that names
key, value, origin and what was expected; a secret in the file is refused without being printed. All errors
of one load are reported together.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from homefire.config.interpolate import interpolate
from homefire.config.json_schema import settings_json_schema
from homefire.config.redaction import MIN_SECRET_LENGTH, Redactor, looks_like_secret
from homefire.config.schema import Key, Settings, iter_keys
from homefire.config.values import describe_expected, show_value, value_from_text
from homefire.errors import ConfigError, StoreReadOnly
from homefire.home import Home

__all__ = ["Loaded", "load_settings", "nearest_key", "settings_json_schema"]

DEFAULT_ORIGIN = "default"
COMMAND_LINE_ORIGIN = "command line"
_SECRET_NAME = re.compile(r"(^|[._])(api_?key|token|secret|password|credentials?)$", re.IGNORECASE)
_SECRET_HINT = (
    "Secrets do not belong in homefire.toml: set HOMEFIRE_API_KEY, or put the key into credentials/api_key."
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each dotted key where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Given:
    """A value somebody set; `is_text` when it must be read according to the key's type."""

    value: Any
    origin: str
    is_text: bool


@dataclass(slots=True)
class _Problems:
    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, key: str, message: str) -> None:
        self.found.append((key, message))

    def raise_if_any(self) -> None:
        if not self.found:
            return
        key, message = self.found[0]
        if len(self.found) > 1:
            message = "\n".join(
                [f"{len(self.found)} settings are wrong:", *(f"  {text}" for _, text in self.found)]
            )
        raise ConfigError(message, key=key, keys=[name for name, _ in self.found])


def load_settings(
    home: Home,
    *,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the settings of `home`. `overrides` maps dotted keys to text (the command line).

    Raises ConfigError (`details["key"]`: the first wrong key) for anything that is not as it should be.
    """
    environ = os.environ if environ is None else environ
    known = {key.dotted: key for key in iter_keys()}
    problems = _Problems()
    given: dict[str, _Given] = {}
    given.update(_from_file(home, known, environ, problems))
    given.update(_from_environment(known, environ, problems))
    given.update(_from_overrides(known, overrides or {}, problems))
    redactor = Redactor(*_secrets_in(environ))
    values: dict[str, dict[str, Any]] = {}
    for dotted, one in given.items():
        key = known[dotted]
        try:
            values.setdefault(key.section, {})[key.name] = _checked_value(key, one)
        except ValueError as error:
            shown = redactor.redact(show_value(one.value))
            problems.add(dotted, f"{dotted} = {shown} ({one.origin}): {error}")
    problems.raise_if_any()
    origins = {dotted: given[dotted].origin if dotted in given else DEFAULT_ORIGIN for dotted in known}
    return Loaded(settings=Settings.model_validate(values), origins=origins)


def nearest_key(dotted: str, known: Mapping[str, object]) -> str | None:
    """The known key that was most likely meant: the same name in another section, or close in spelling."""
    name = dotted.rpartition(".")[2]
    same_name = [key for key in known if key.rpartition(".")[2] == name]
    if same_name:
        return same_name[0]
    close = difflib.get_close_matches(dotted, known, n=1, cutoff=0.6)
    if close:
        return close[0]
    names = {key.rpartition(".")[2]: key for key in known}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def _from_file(
    home: Home, known: Mapping[str, Key], environ: Mapping[str, str], problems: _Problems
) -> Iterator[tuple[str, _Given]]:
    path = home.settings_file
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", path=str(path)) from error
    except OSError as error:
        raise StoreReadOnly(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", path=str(path)) from error
    for dotted, value in _leaves(document):
        section, _, name = dotted.partition(".")
        origin = f"file {path}:{_line_of(text, section, name)}"
        if _is_secret(dotted, value, known):
            problems.add(dotted, f"{dotted} ({origin}) is a secret. {_SECRET_HINT}")
            continue
        if dotted not in known:
            problems.add(dotted, _unknown(f"{dotted} ({origin})", dotted, known))
            continue
        try:
            resolved = _interpolated(value, environ)
        except ValueError as error:
            problems.add(dotted, f"{dotted} ({origin}): {error}.")
            continue
        yield dotted, _Given(resolved, origin, is_text=isinstance(value, str) and resolved != value)


def _from_environment(
    known: Mapping[str, Key], environ: Mapping[str, str], problems: _Problems
) -> Iterator[tuple[str, _Given]]:
    by_variable = {key.variable: key.dotted for key in known.values()}
    for variable in sorted(environ):
        if not variable.startswith("HOMEFIRE_") or "__" not in variable:
            continue
        if variable in by_variable:
            yield by_variable[variable], _Given(environ[variable], f"environment {variable}", is_text=True)
            continue
        dotted = variable.removeprefix("HOMEFIRE_").lower().replace("__", ".", 1)
        nearest = nearest_key(dotted, known)
        advice = f" Did you mean {known[nearest].variable}?" if nearest else ""
        problems.add(dotted, f"The environment variable {variable} names no setting.{advice}")


def _from_overrides(
    known: Mapping[str, Key], overrides: Mapping[str, str], problems: _Problems
) -> Iterator[tuple[str, _Given]]:
    for dotted, text in overrides.items():
        if dotted in known:
            yield dotted, _Given(text, COMMAND_LINE_ORIGIN, is_text=True)
        else:
            problems.add(dotted, _unknown(f"{dotted} ({COMMAND_LINE_ORIGIN})", dotted, known))


def _checked_value(key: Key, given: _Given) -> Any:
    """The value in the key's own type. Raises ValueError saying what was expected."""
    adapter: TypeAdapter[Any] = TypeAdapter(key.validator)
    value = given.value
    try:
        if given.is_text:
            value = value_from_text(key, value)
        return adapter.validate_python(_with_tuples(value), strict=True)
    except (ValidationError, msgspec.DecodeError) as error:
        raise ValueError(f"expected {describe_expected(key)}.") from error


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`(dotted key, value)` of a TOML document; an empty or unknown section is a leaf of its own."""
    for section, content in document.items():
        if isinstance(content, dict):
            for name, value in content.items():
                yield f"{section}.{name}", value
            if not content and section not in Settings.model_fields:
                yield section, content
        else:
            yield section, content


def _interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolate(value, environ)
    if isinstance(value, list):
        return [_interpolated(item, environ) for item in value]
    return value


def _with_tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_secret(dotted: str, value: Any, known: Mapping[str, Key]) -> bool:
    names_one = dotted not in known and _SECRET_NAME.search(dotted) is not None
    return names_one or any(looks_like_secret(text) for text in _texts(value))


def _secrets_in(environ: Mapping[str, str]) -> Iterator[str]:
    """What must not be shown should it have been interpolated into a wrong place."""
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and len(value) >= MIN_SECRET_LENGTH:
            yield value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _unknown(subject: str, dotted: str, known: Mapping[str, Key]) -> str:
    nearest = nearest_key(dotted, known)
    return f"{subject} is not a setting." + (f" Did you mean {nearest}?" if nearest else "")


def _line_of(text: str, section: str, name: str) -> int:
    """The line where a key is set, for messages; 1 where the file writes it in an unusual way."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.match(r"\[\s*([\w.-]+)\s*\]", stripped):
            current = header[1]
            if not name and current == section:
                return number
        elif assignment := re.match(r"([\w.\"'-]+)\s*=", stripped):
            written = assignment[1].replace('"', "").replace("'", "")
            full = f"{current}.{written}" if current else written
            if full == (f"{section}.{name}" if name else section):
                return number
    return 1
