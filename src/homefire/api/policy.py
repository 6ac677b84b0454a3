"""Who may send what from where: pure decisions about one request's peer and headers.

Against open ports, DNS rebinding, and pages of other sites that send requests to this server:
- the Host header must name this server (`server.allowed_hosts` adds names);
- an Origin header, on any method, must be this server's own or in `server.allowed_origins`; `null` never is;
- a body must be declared as JSON, which no foreign page can do without asking first;
- a key must be right; without one only a peer on loopback that really is one may pass, and for it what does
  not look like a key of ours counts as none, since many clients insist on sending something.

Pure: no I/O, a few dictionary look-ups (about 2 µs).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homefire.errors import AuthenticationRequired, ConfigError, Forbidden, UnsupportedMediaType

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::", ""})
FORWARDING_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
SINGLE_HEADERS = frozenset({b"host", b"origin", b"authorization", b"x-api-key", b"content-type"})
"""Two of one of these would let two readers of one request see different things."""
KEY_COOKIE = "homefire_key"
"""Set by the sign-in page, HttpOnly and SameSite=Strict; the Origin check covers what that does not."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HeaderMap = Mapping[bytes, bytes]


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine and nothing else."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, *, num_keys: int) -> None:
    """ConfigError where the server would listen beyond this machine with no key to ask for."""
    if not is_loopback(host) and num_keys == 0:
        raise ConfigError(
            f"Refusing to listen on {host or 'all addresses'} without an API key: anyone could use it.",
            hint="Create a key first (`homefire up` on loopback makes one), or set server.host to 127.0.0.1.",
            key="server.host",
        )


def host_name(value: str) -> str:
    """The name in a Host header or a URL's authority, without its port: `[::1]:8765` → `::1`."""
    if value.startswith("["):
        return value[1:].partition("]")[0].lower()
    name, _, port = value.rpartition(":")
    return (name if name and port.isdigit() else value).lower()


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings it rests on; `host` is the address the server listens on."""

    host: str
    allowed_hosts: frozenset[str]
    allowed_origins: frozenset[str]
    loopback_without_key: bool

    @classmethod
    def from_settings(
        cls,
        host: str,
        *,
        allowed_hosts: Sequence[str],
        allowed_origins: Sequence[str],
        loopback_without_key: bool,
    ) -> Policy:
        """Normalises names and origins once."""
        return cls(
            host=host.lower(),
            allowed_hosts=frozenset(host_name(name) for name in allowed_hosts)
            | LOOPBACK_NAMES
            | {host.lower()},
            allowed_origins=frozenset(origin.lower().rstrip("/") for origin in allowed_origins),
            loopback_without_key=loopback_without_key,
        )

    def check_host(self, value: bytes | None) -> None:
        """Forbidden where the request was meant for another name: a rebound one, or one nobody configured."""
        name = host_name(value.decode("latin-1")) if value is not None else ""
        if name in self.allowed_hosts and name:
            return
        if self.host in WILDCARD_ADDRESSES and _is_address(name):
            # A browser sends an address only where a person typed it: it cannot be rebound.
            return
        raise Forbidden(
            "This server does not answer under the host name of the request.",
            hint="Add the name to server.allowed_hosts if it is yours.",
        )

    def check_origin(self, origin: bytes | None, host: bytes) -> bool:
        """Whether the request comes from a page of an allowed *other* origin (which then needs CORS headers).

        Forbidden for any other page than our own.
        """
        if origin is None:
            return False
        text, own = origin.decode("latin-1").lower(), host.decode("latin-1").lower()
        if text in (f"http://{own}", f"https://{own}"):
            return False
        if text in self.allowed_origins and text != "null":
            return True
        raise Forbidden(
            "A page of another site sent this request.",
            hint="Add its origin to server.allowed_origins if you trust it.",
        )

    def may_pass_without_key(self, peer: str | None, headers: HeaderMap) -> bool:
        """Whether the peer is a program on this machine, and not one that forwards for others."""
        return (
            self.loopback_without_key
            and peer is not None
            and is_loopback(peer)
            and is_loopback(host_name(headers.get(b"host", b"").decode("latin-1")))
            and FORWARDING_HEADERS.isdisjoint(headers)
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def shown_keys(headers: HeaderMap) -> list[str]:
    """The keys a request shows (`Authorization: Bearer`, `x-api-key`, cookie); another scheme is refused."""
    keys: list[str] = []
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise AuthenticationRequired(
                "Only `Authorization: Bearer <key>` and `x-api-key: <key>` are understood."
            )
        keys.append(key.strip().decode("latin-1"))
    if b"x-api-key" in headers:
        keys.append(headers[b"x-api-key"].strip().decode("latin-1"))
    return keys


def shown_cookie(headers: HeaderMap) -> str | None:
    """The key in the cookie of the sign-in page, if any."""
    if b"cookie" not in headers:
        return None
    for pair in headers[b"cookie"].decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == KEY_COOKIE:
            return value
    return None


def check_media_type(
    method: str, headers: HeaderMap, *, forms_ok: bool = False, curl_ok: bool = False
) -> None:
    """UnsupportedMediaType for a write whose body is not declared as JSON.

    With `curl_ok` (Ollama's routes, whose own examples are `curl -d '{…}'`) curl's default passes where no
    browser sent it: every browser names the Origin of a write, or says `Sec-Fetch-Site`.
    With `forms_ok` (the web page's own routes) an HTML form passes where a page of ours sent it: its Origin
    was checked, or it carries htmx's header, which no other site can set.
    """
    if method in SAFE_METHODS:
        return
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type == b"application/json":
        return
    empty = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
    if empty and not media_type:
        return
    ours = b"origin" in headers or b"hx-request" in headers
    if forms_ok and ours and media_type == b"application/x-www-form-urlencoded":
        return
    browser = ours or b"sec-fetch-site" in headers
    if curl_ok and not browser and media_type == b"application/x-www-form-urlencoded":
        return
    shown = media_type.decode("latin-1") or "none"
    raise UnsupportedMediaType(
        f"A body must be sent as application/json; this one is declared as {shown}.",
        hint="With curl: -H 'Content-Type: application/json'.",
    )
