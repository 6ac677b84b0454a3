"""Routes follow aliases, give their reasons in words, and never answer with another model."""

from __future__ import annotations

import pytest

from homefire.errors import ModelNotFound
from homefire.serving.router import Router
from tests.serving.models import FakeCatalog


def make_router() -> Router:
    return Router(FakeCatalog("ember", "v003", aliases={"default": "live", "live": "v003"}))  # type: ignore[arg-type]


def test_an_alias_is_followed_and_the_reason_tells_how() -> None:
    route = make_router().route("default")
    assert (route.requested, route.model.name) == ("default", "v003")
    assert route.chain == ("default", "live", "v003")
    assert route.reason == "'default' → 'live' → 'v003'"


def test_a_model_asked_for_by_its_own_name_is_that_model() -> None:
    route = make_router().route("ember")
    assert (route.model.name, route.reason) == ("ember", "'ember' was asked for")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelNotFound) as caught:
        make_router().route("embre")
    assert caught.value.details == {"nearest": "ember"}
