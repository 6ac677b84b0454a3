"""Signing in and out in a browser, with scripts and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.web.furnished import Furnished, furnished


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("furnished")) as made:
        yield made


@pytest.mark.parametrize("with_scripts", [True, False])
def test_one_signs_in_to_the_page_one_wanted_and_out_again(
    browser: Browser, house: Furnished, with_scripts: bool
) -> None:
    context = browser.new_context(base_url=house.url, java_script_enabled=with_scripts)
    page = context.new_page()
    page.goto("/login?next=/runs")
    page.get_by_label("API key").fill("hf-wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key is not known.")
    page.get_by_label("API key").fill(house.house.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{house.url}/runs")
    assert [cookie["name"] for cookie in context.cookies()] == ["homefire_key"]
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{house.url}/login")
    assert context.cookies() == []
    context.close()
