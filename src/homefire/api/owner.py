"""What only the owner of the home may do."""

from __future__ import annotations

from homefire.api.context import Context
from homefire.chat.request import Principal
from homefire.errors import Forbidden
from homefire.store.api_keys import owner_ids


def is_owner(context: Context, principal: Principal) -> bool:
    """Whether the home is this principal's."""
    return principal.id in owner_ids(context.homefire.home, context.homefire.store.keys.find)


def check_owner(context: Context, principal: Principal, *, to: str) -> None:
    """Raise Forbidden for everybody else; `to` says what only the owner may do."""
    if not is_owner(context, principal):
        raise Forbidden(
            f"Only the owner of this home may {to}.",
            hint="Ask from the server's own machine, or with the key in its credentials folder.",
        )
