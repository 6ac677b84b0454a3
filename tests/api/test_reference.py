"""The reference pages are what the code says now."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from tools.docs import api_reference, error_reference

from homefire.api.server import HOT_ROUTES
from tests.api.house import House


@pytest.mark.parametrize("page", [api_reference, error_reference])
def test_the_committed_page_is_current(page: object) -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.make_page(), (  # type: ignore[attr-defined]
        f"run python -m {page.__name__}"  # type: ignore[attr-defined]
    )


def test_every_api_route_is_on_the_page(house: House) -> None:
    text = api_reference.PAGE.read_text(encoding="utf-8")
    found = list(api_reference.routes(house.app))
    assert len(found) > 40
    for _, method, path, doc in found:
        assert doc, f"{method} {path} says nothing of itself"
        assert f"| {method} | `{path}` |" in text
    assert set(HOT_ROUTES) <= {path for _, _, path, _ in found}


def test_a_new_route_is_noticed(house: House) -> None:
    """Planted bug: a route nobody documented."""
    router = APIRouter(tags=["server"])

    @router.get("/v1/secret-door")
    async def secret() -> None:
        """Nobody wrote this down."""

    house.app.include_router(router)
    with pytest.raises(AssertionError):
        test_every_api_route_is_on_the_page(house)
