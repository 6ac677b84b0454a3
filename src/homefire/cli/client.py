"""The one HTTP client of the command line: the native API, with the server's errors as typed exceptions.

    with Client(find_server()) as client:
        client.get("/v1/runs")                       # → the JSON document
        for event, data in client.events("/v1/chat", {...}): ...

Every answer that is not 2xx is raised as the `HomefireError` whose `code` the server named; no server at all
is `ServerUnreachable`. Costs: importing httpx, about 0.1 s.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

import httpx

import homefire
from homefire import errors
from homefire.cli.address import Address, is_loopback
from homefire.errors import HomefireError, InvalidRequest, ServerUnreachable
from homefire.home import proof_of_home

CONNECT_TIMEOUT_S = 3.0
CHALLENGE_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 330.0
"""Longer than the server's own longest wait, so that its error arrives and not ours."""


class UnknownServerError(HomefireError):
    """An error of a kind this client does not know (a newer server, or a proxy in between)."""

    code = "server_error"


class Client:
    """A connection to one server. Not for use from several threads at once.

    The server of a home has shown that it is this home's (`Address`) before anything is sent to it, a key least
    of all. That it still runs is looked at before every request, since another may listen there by now.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float = READ_TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._key = address.key
        self._proven: tuple[str, str | None] | None = None
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            headers={"User-Agent": f"homefire-cli/{homefire.__version__}", "Accept": "application/json"},
            # A proxy named in the environment is for other machines.
            trust_env=address.url is not None and not is_loopback(address.url),
            transport=transport,
        )

    @property
    def url(self) -> str:
        """Where the server is. Raises ServerUnreachable where there is none, or another home's."""
        url, token = found = self.address.locate()
        if token is not None and found != self._proven:
            self._challenge(url, token)
            self._proven = found
        return url

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; an answer that still streams is cancelled by the server."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """GET; `None` among the query values means: not sent."""
        return self._json("GET", path, query=query)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST a JSON body."""
        return self._json("POST", path, body=body, query=query)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH with a JSON body."""
        return self._json("PATCH", path, body=body)

    def delete(self, path: str, body: Any = None) -> Any:
        """DELETE."""
        return self._json("DELETE", path, body=body)

    def text(self, path: str, **query: Any) -> str:
        """GET something that is not JSON (an export)."""
        with self._response("GET", path, None, query) as response:
            response.read()
            return response.text

    def events(self, path: str, body: Any = None) -> Generator[tuple[str, dict[str, Any]], None, None]:
        """Server-sent events as (name, data): GET without a body, POST with one.

        An `error` event is raised. Closing the iterator closes the connection, which cancels the answer.
        """
        method = "GET" if body is None else "POST"
        with self._response(method, path, body, {}) as response:
            for name, data in _parse_events(response.iter_lines()):
                if name == "error":
                    _raise(data.get("error", data), 0)
                yield name, data

    def is_up(self) -> bool:
        """Whether a server answers at all."""
        try:
            self.get("/health")
        except HomefireError as error:
            return not isinstance(error, ServerUnreachable)
        return True

    def _json(self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        with self._response(method, path, body, query or {}) as response:
            raw = response.read()
        if not raw:
            return {}
        try:
            return json.loads(raw)
        except ValueError as error:
            raise UnknownServerError(
                f"{response.url} answered with something that is not JSON.",
                hint="Check with --url that this is a Homefire server.",
                url=str(response.url),
            ) from error

    @contextmanager
    def _response(self, method: str, path: str, body: Any, query: dict[str, Any]) -> Iterator[httpx.Response]:
        params = {name: value for name, value in query.items() if value is not None}
        url = self.url
        with self._reaching(url):
            response = self._send(method, url + path, body, params)
            if response.status_code == 401 and self._take_own_key():
                response.close()
                response = self._send(method, url + path, body, params)
            try:
                if not response.is_success:
                    response.read()
                    _raise_response(response)
                yield response
            finally:
                response.close()

    def _send(self, method: str, url: str, body: Any, params: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            request = self._http.build_request(method, url, json=body, params=params or None, headers=headers)
        except UnicodeError as error:
            raise InvalidRequest(
                "What was given is not valid UTF-8 text.", hint="Check the terminal's encoding."
            ) from error
        return self._http.send(request, stream=True)

    def _take_own_key(self) -> bool:
        if self._key is None:
            self._key = self.address.own_key()
            return self._key is not None
        return False

    def _challenge(self, url: str, token: str) -> None:
        """ServerUnreachable unless the server at `url` proves that it has this home open."""
        challenge = secrets.token_hex(16)
        timeout_s = min(self._timeout_s, CHALLENGE_TIMEOUT_S)
        with self._reaching(url):
            answer = self._http.get(f"{url}/health", params={"challenge": challenge}, timeout=timeout_s)
        try:
            proof = str(answer.json()["proof"])
        except (ValueError, KeyError, TypeError):
            proof = ""
        if not hmac.compare_digest(proof.encode(), proof_of_home(token, challenge).encode()):
            raise ServerUnreachable(
                f"What answers at {url} is not the server of the home {self.address.home}. "
                "Nothing was sent to it.",
                hint="Start this home's own server with `homefire up`, or name only --url.",
                url=url,
                home=str(self.address.home),
            )

    @contextmanager
    def _reaching(self, url: str) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise ServerUnreachable(
                f"The server at {url} took too long to answer.",
                hint="See `homefire status` and the server's log.",
                url=url,
            ) from error
        except httpx.TransportError as error:
            self._proven = None
            raise self._unreachable(url, error) from error
        except httpx.InvalidURL as error:
            raise InvalidRequest(
                f"{url} is not a URL: {error}.", hint="Write it as http://127.0.0.1:8765."
            ) from error

    def _unreachable(self, url: str, error: httpx.TransportError) -> ServerUnreachable:
        if isinstance(error, httpx.ConnectError):
            return ServerUnreachable(
                f"No server answers at {url}.",
                hint="Start one with `homefire up`, or name one with --url.",
                url=url,
                source=self.address.source,
            )
        return ServerUnreachable(
            f"The connection to {url} broke: {error or type(error).__name__}.",
            hint="See whether the server still runs with `homefire status`, then repeat the command.",
            url=url,
        )


def _parse_events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events (WHATWG HTML, section 9.2.6), as far as a JSON stream uses them."""
    name = "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                parsed = json.loads("\n".join(data))
                yield name, parsed if isinstance(parsed, dict) else {"value": parsed}
            name, data = "message", []
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))


def _raise_response(response: httpx.Response) -> NoReturn:
    try:
        body = response.json()
    except ValueError:
        body = {}
    found = body.get("error", body) if isinstance(body, dict) else {}
    _raise(found if isinstance(found, dict) else {"message": str(found)}, response.status_code)


def _raise(found: dict[str, Any], status: int) -> NoReturn:
    """The server's error object as the exception of its code."""
    code = str(found.get("code") or "")
    message = str(found.get("message") or found.get("detail") or f"The server answered {status}.")
    hint, details = found.get("hint"), found.get("details")
    kind = _kinds().get(code)
    figures = dict(details) if isinstance(details, dict) else {}
    if kind is None:
        kind = UnknownServerError
        figures.update({name: value for name, value in (("code", code), ("status", status)) if value})
    # A hint for those who speak HTTP is none here; the report then has one of its own.
    is_hint = isinstance(hint, str) and not re.search(r"\b(GET|POST|DELETE) /", hint)
    error = kind(message, hint=hint if is_hint else None)
    error.details = figures
    raise error


@cache
def _kinds() -> dict[str, type[HomefireError]]:
    return {
        kind.code: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, HomefireError)
    }
