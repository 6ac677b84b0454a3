"""Who may send what from where: pure decisions about one request's peer and headers.

Against open ports, DNS rebinding, and pages of other sites that send requests to this server:
- the Host header must be exactly a name of this server (`server.allowed_hosts` adds names);
- an Origin header, on any method, must be exactly this server's own or in `server.allowed_origins`; `null`
  never is; where a browser says that another site sent the request (`Sec-Fetch-Site`), only a link a person
  followed passes without an allowed Origin, so that a write without a body is refused too;
- a body is JSON. One that is not declared as JSON is taken for it only where no browser sent the request;
- a key must be right; without one only a peer on loopback that really is one may pass, and for it what is
  neither a key of this server nor looks like one counts as none, since many clients insist on sending
  something.

Pure: no I/O, a few dictionary look-ups (about 3 µs).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homefire.errors import AuthenticationRequired, ConfigError, Forbidden, UnsupportedMediaType, quoted

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_ADDRESSES = frozenset({"0.0.0.0", "::", ""})
FORWARDING_HEADERS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
SINGLE_HEADERS = frozenset(
    {
        b"host", b"origin", b"authorization", b"x-api-key", b"content-type", b"content-encoding",
        b"content-length", b"sec-fetch-site", b"sec-fetch-mode", b"cookie",
    }
)  # fmt: skip
"""Two of one of these would let two readers of one request see different things."""
KEY_COOKIE = "homefire_key"
"""Set by the sign-in page, HttpOnly and SameSite=Strict; the Origin check covers what that does not."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_PORT = 65535

_AUTHORITY = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+")
_OTHER_SITES = frozenset({b"cross-site", b"same-site"})
_NO_KEYS = frozenset({b"", b"none", b"null", b"undefined"})
"""What programs send that were given no key."""
_UNDECLARED = frozenset(
    {b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/octet-stream"}
)
"""What clients declare who were not told to declare anything: curl, Node's fetch, Python's requests."""

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


def host_name(value: str) -> str | None:
    """The name in a Host header, without its port and in lower case: `[::1]:8765` → `::1`.

    None for anything that is not exactly `name`, `name:port`, `[v6]` or `[v6]:port` (RFC 9112, section 3.2): user
    information, a trailing dot, two ports or something behind the bracket are refused, not guessed at.
    """
    match = _AUTHORITY.fullmatch(value)
    if match is None or int(match["port"] or 0) > MAX_PORT:
        return None
    if match["v6"] is None:
        return match["name"].lower()
    try:
        return str(ipaddress.IPv6Address(match["v6"]))
    except ValueError:
        return None


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
        """Normalises names and origins once. ConfigError for one that could never match a request."""
        hosts = {value: host_name(value) or _bare_v6(value) for value in allowed_hosts}
        for value, name in hosts.items():
            if name is None:
                raise ConfigError(
                    f"server.allowed_hosts has {quoted(value)}, which is not a host name or an address.",
                    hint="Write a name as it is in the address bar, without https:// and path.",
                    key="server.allowed_hosts",
                )
        origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"server.allowed_origins has {quoted(origin)}, which is not an origin.",
                    hint="Write scheme and host, as in https://chat.example; `*` and `null` are not possible.",
                    key="server.allowed_origins",
                )
        return cls(
            host=host.lower(),
            allowed_hosts=frozenset(name for name in hosts.values() if name)
            | LOOPBACK_NAMES
            | {host.lower()},
            allowed_origins=origins,
            loopback_without_key=loopback_without_key,
        )

    def check_host(self, value: bytes | None) -> str:
        """The name the request was meant for; Forbidden for a rebound one, or one nobody configured."""
        name = host_name(value.decode("latin-1")) if value is not None else None
        if name and name in self.allowed_hosts:
            return name
        if name and self.host in WILDCARD_ADDRESSES and _is_address(name):
            # A browser sends an address only where a person typed it: it cannot be rebound.
            return name
        raise Forbidden(
            "This server does not answer under the host name of the request.",
            hint="Add the name to server.allowed_hosts if it is yours.",
        )

    def check_sender(self, method: str, headers: HeaderMap) -> None:
        """Forbidden for what a page of another site sent, unless its origin is allowed.

        A page's script and form name the page's Origin. Images, links and frames do not, and browsers since 2020
        (Safari: 2023) mark those with `Sec-Fetch-Site`; of them only a link that a person followed passes.
        """
        origin = headers.get(b"origin")
        if origin is not None:
            text, own = origin.decode("latin-1").lower(), headers[b"host"].decode("latin-1").lower()
            if text in self.allowed_origins or text in (f"http://{own}", f"https://{own}"):
                return
        elif headers.get(b"sec-fetch-site") not in _OTHER_SITES or (
            method in SAFE_METHODS
            and headers.get(b"sec-fetch-mode") == b"navigate"
            and headers.get(b"sec-fetch-dest", b"document") == b"document"
        ):
            return
        raise Forbidden(
            "A page of another site sent this request.",
            hint="Add its origin to server.allowed_origins if you trust it.",
        )

    def may_pass_without_key(self, peer: str | None, host: str, headers: HeaderMap) -> bool:
        """Whether the peer is a program on this machine, and not one that forwards for others."""
        return (
            self.loopback_without_key
            and peer is not None
            and is_loopback(peer)
            and is_loopback(host)
            and FORWARDING_HEADERS.isdisjoint(headers)
        )


def _bare_v6(value: str) -> str | None:
    """An IPv6 address as people write it in settings, without brackets."""
    try:
        return str(ipaddress.IPv6Address(value))
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def presented_keys(headers: HeaderMap) -> list[str]:
    """The keys in `Authorization: Bearer` and `x-api-key`; another scheme is AuthenticationRequired.

    `none`, `null`, `undefined` and nothing are what programs send without a key, so they are not one.
    """
    presented: list[bytes] = []
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization.strip().lower() not in _NO_KEYS:
        scheme, _, key = authorization.strip().partition(b" ")
        if scheme.lower() != b"bearer":
            raise AuthenticationRequired(
                "Only `Authorization: Bearer <key>` and `x-api-key: <key>` are understood."
            )
        presented.append(key)
    if b"x-api-key" in headers:
        presented.append(headers[b"x-api-key"])
    return [key.strip().decode("latin-1") for key in presented if key.strip().lower() not in _NO_KEYS]


def presented_cookie(headers: HeaderMap) -> str | None:
    """The key in the cookie of the sign-in page, if any."""
    if b"cookie" not in headers:
        return None
    for pair in headers[b"cookie"].decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == KEY_COOKIE:
            return value
    return None


def check_media_type(method: str, headers: HeaderMap, *, is_api: bool) -> None:
    """UnsupportedMediaType for a write whose body is not JSON, as far as its headers tell.

    On API addresses a body that is declared as nothing, plain text, a form or bytes passes for JSON where no
    browser sent it: clients leave the declaration out (`requests.post(data=…)`, Node's fetch, `curl -d`), and a
    page of another site can send exactly these types without asking first. Every browser names the Origin of a
    script's or form's write or says `Sec-Fetch-Site`; Firefox before 70 did neither for forms, so `Referer` and a
    browser's `User-Agent` (which a page can neither set nor remove in a form) count as well.
    Elsewhere (the pages' own routes) an HTML form passes where a page of ours sent it: its Origin was checked, or
    it carries htmx's header, which no other site can set.
    """
    if method in SAFE_METHODS:
        return
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type == b"application/json":
        return
    if (
        not media_type
        and headers.get(b"content-length", b"0") == b"0"
        and b"transfer-encoding" not in headers
    ):
        return
    if is_api:
        if media_type in _UNDECLARED and not _is_browser(headers):
            return
    elif media_type == b"application/x-www-form-urlencoded" and (
        b"origin" in headers or b"hx-request" in headers
    ):
        return
    shown = media_type.decode("latin-1") or "nothing"
    raise UnsupportedMediaType(
        f"A body must be sent as application/json; this one is declared as {shown[:100]}.",
        hint="With curl: -H 'Content-Type: application/json'.",
    )


def _is_browser(headers: HeaderMap) -> bool:
    return (
        b"origin" in headers
        or b"sec-fetch-site" in headers
        or b"referer" in headers
        or b"cookie" in headers
        or headers.get(b"user-agent", b"").lower().startswith(b"mozilla/")
    )
