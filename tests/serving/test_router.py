"""Routes follow aliases, give their reasons in words, and never answer with another model."""

from __future__ import annotations

import pytest

from homefire.errors import ModelNotFound
from homefire.serving.router import Route, Router, RouteRequest
from tests.serving.models import FakeCatalog


def route(model: str) -> Route:
    catalog = FakeCatalog("ember", "v003", aliases={"default": "live", "live": "v003"})
    return Router(catalog).route(RouteRequest(model=model))  # type: ignore[arg-type]


def test_an_alias_is_followed_and_the_reason_tells_how() -> None:
    found = route("default")
    assert (found.resolved.name, found.model.name) == ("default", "v003")
    assert found.resolved.chain == ("default", "live", "v003")
    assert found.reason == "'default' → 'live' → 'v003'"


def test_a_model_asked_for_by_its_own_name_is_that_model() -> None:
    found = route("ember")
    assert (found.model.name, found.reason) == ("ember", "'ember' was asked for")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelNotFound) as caught:
        route("embre")
    assert caught.value.details == {"nearest": "ember"}
