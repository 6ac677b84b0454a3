from __future__ import annotations

from pathlib import Path

import pytest

from homefire.catalog.models import ModelInfo
from homefire.errors import Conflict, EngineCrashed, ModelNotFound
from homefire.home import Home
from homefire.store.nouns.aliases import AliasMoved
from homefire.store.nouns.versions import GateJudged
from homefire.store.store import Store
from homefire.versions.library import Library
from homefire.versions.manifest import BaseEntry, Lineage
from homefire.versions.promotion import Promotion
from tests.support.small_models import SmallCatalog, write_model


class Swaps:
    """What serving was asked to make ready, and what `live` was at that moment."""

    def __init__(self, store: Store) -> None:
        self.store, self.seen, self.fails = store, [], False  # type: ignore[var-annotated]

    async def __call__(self, model: ModelInfo) -> None:
        alias = self.store.aliases.get("live")
        self.seen.append((model.name, alias.target if alias else None))
        if self.fails:
            raise EngineCrashed("It does not load.")


@pytest.fixture
def catalog(store: Store, tmp_path: Path) -> SmallCatalog:
    catalog = SmallCatalog(store)
    catalog.add_base("small", write_model(tmp_path / "base", {}))
    return catalog


@pytest.fixture
def swaps(store: Store) -> Swaps:
    return Swaps(store)


@pytest.fixture
def promotion(home: Home, store: Store, catalog: SmallCatalog, swaps: Swaps) -> Promotion:
    return Promotion(home=home, store=store, catalog=catalog, swap_to=swaps, world=store.world)


@pytest.fixture
async def versions(library: Library, store: Store, catalog: SmallCatalog, tmp_path: Path) -> None:
    """v001 and v002 passed their gate, v003 did not, v004 was not judged."""
    for number in range(1, 5):
        await library.publish(
            write_model(tmp_path / str(number), {"n": str(number)}),
            kind="full",
            base=BaseEntry(name="small", digest="sha256:00"),
            parent="small",
            lineage=Lineage(),
        )
        if number < 4:
            judged = GateJudged(
                version=f"v00{number}", run_id=None, passed=number < 3, scores={},
                reasons=("It forgot.",) * (number == 3),
            )  # fmt: skip
            await store.append(judged)


def live(store: Store) -> str:
    alias = store.aliases.get("live")
    assert alias is not None
    return alias.target


@pytest.mark.usefixtures("versions")
class TestPromotion:
    async def test_the_new_model_is_ready_before_live_moves(
        self, promotion: Promotion, store: Store, swaps: Swaps, home: Home, library: Library
    ) -> None:
        row = await promotion.promote("v001", who="me", why="it is good")
        assert swaps.seen == [("v001", "small")]
        assert (row.target, row.previous, row.who, row.why) == ("v001", "small", "me", "it is good")
        assert home.live_link.resolve() == library.folder("v001")
        assert not Path(home.live_link.readlink()).is_absolute()

    async def test_a_model_that_does_not_load_moves_nothing(
        self, promotion: Promotion, store: Store, swaps: Swaps
    ) -> None:
        swaps.fails = True
        with pytest.raises(EngineCrashed):
            await promotion.promote("v001", who="me", why="x")
        assert live(store) == "small"

    @pytest.mark.parametrize("version", ["v003", "v004"])
    async def test_what_the_gate_did_not_pass_is_refused(
        self, promotion: Promotion, store: Store, version: str
    ) -> None:
        for attempt in (promotion.promote(version, who="me", why="x"),
                        promotion.rollback(to=version, who="me", why="x")):  # fmt: skip
            with pytest.raises(Conflict) as caught:
                await attempt
            assert caught.value.details["version"] == version
            assert caught.value.details.get("reasons") == (["It forgot."] if version == "v003" else None)
        assert live(store) == "small"

    async def test_an_override_needs_a_reason_and_is_recorded(self, promotion: Promotion) -> None:
        with pytest.raises(Conflict):
            await promotion.promote("v003", who="me", why=" ", override=True)
        row = await promotion.promote("v003", who="me", why="I want it", override=True)
        assert row.why == "gate overridden: I want it"

    async def test_unknown_names_are_not_found(self, promotion: Promotion) -> None:
        with pytest.raises(ModelNotFound):
            await promotion.promote("v099", who="me", why="x")

    async def test_rollback_walks_back_step_by_step(self, promotion: Promotion, store: Store) -> None:
        await promotion.promote("v001", who="me", why="x")
        await promotion.promote("v002", who="me", why="x")
        assert promotion.previous() == "v001"
        await promotion.rollback(who="me", why="worse")
        assert live(store) == "v001"
        await promotion.rollback(who="me", why="worse")
        assert live(store) == "small"
        assert promotion.previous() is None
        with pytest.raises(Conflict):
            await promotion.rollback(who="me", why="worse")
        await promotion.promote("v002", who="me", why="again")
        assert promotion.previous() == "small"

    async def test_a_rollback_after_promoting_the_base_goes_back_to_the_version(
        self, promotion: Promotion, store: Store
    ) -> None:
        await promotion.promote("v001", who="me", why="x")
        await promotion.promote("small", who="me", why="plain again")
        assert promotion.previous() == "v001"
        await promotion.rollback(who="me", why="not so plain")
        assert live(store) == "v001"
        await promotion.rollback(who="me", why="further back")
        assert live(store) == "small"
        assert promotion.previous() is None

    async def test_a_rollback_over_several_steps_leaves_them_all_behind(self, promotion: Promotion) -> None:
        await promotion.promote("v001", who="me", why="x")
        await promotion.promote("v002", who="me", why="x")
        await promotion.rollback(to="small", who="me", why="from the beginning")
        assert promotion.previous() is None

    async def test_a_rollback_to_a_name_goes_to_the_last_time_it_was_live(self, promotion: Promotion) -> None:
        for name in ("v001", "v002", "v001", "small"):
            await promotion.promote(name, who="me", why="x")
        await promotion.rollback(to="v001", who="me", why="x")
        assert promotion.previous() == "v002"

    async def test_only_what_is_true_is_said_where_nothing_lies_further_back(
        self, promotion: Promotion
    ) -> None:
        with pytest.raises(Conflict, match="never was anything else"):
            await promotion.rollback(who="me", why="x")
        await promotion.promote("v001", who="me", why="x")
        await promotion.rollback(to="small", who="me", why="x")
        with pytest.raises(Conflict, match="nothing further back than small") as caught:
            await promotion.rollback(who="me", why="x")
        assert "promote v001" in (caught.value.hint or "")

    async def test_rolling_back_to_what_never_was_live_is_a_step_like_others(
        self, promotion: Promotion, store: Store
    ) -> None:
        await promotion.promote("v001", who="me", why="x")
        await promotion.rollback(to="v002", who="me", why="it passed")
        assert promotion.previous() == "v001"
        await promotion.rollback(who="me", why="x")
        assert live(store) == "v001"

    async def test_a_version_promoted_again_is_a_new_step(self, promotion: Promotion, store: Store) -> None:
        for name in ("v001", "v002", "v001"):
            await promotion.promote(name, who="me", why="x")
        seen = []
        while promotion.previous() is not None:
            await promotion.rollback(who="me", why="x")
            seen.append(live(store))
        assert seen == ["v002", "v001", "small"]

    async def test_rollback_to_a_named_version_or_base(self, promotion: Promotion, store: Store) -> None:
        await promotion.promote("v003", who="me", why="bold", override=True)
        await promotion.promote("v002", who="me", why="x")
        await promotion.rollback(to="v003", who="me", why="it lived once")
        assert live(store) == "v003"
        await promotion.rollback(to="small", who="me", why="clean")
        assert live(store) == "small"

    async def test_an_alias_is_nothing_to_go_back_to(
        self, promotion: Promotion, store: Store, catalog: SmallCatalog
    ) -> None:
        await store.append(AliasMoved(alias="default", target="live", previous=None, who="me", why="x"))
        for name in ("default", "live"):
            with pytest.raises(Conflict, match="alias"):
                await promotion.rollback(to=name, who="me", why="x")
        assert catalog.resolve("default").model.name == "small"

    async def test_a_version_that_is_gone_is_skipped(
        self, promotion: Promotion, store: Store, library: Library
    ) -> None:
        await promotion.promote("v001", who="me", why="x")
        await promotion.promote("v002", who="me", why="x")
        await library.delete("v001", who="me", why="x")
        assert promotion.previous() == "small"

    async def test_promoting_what_is_live_changes_nothing(self, promotion: Promotion, store: Store) -> None:
        await promotion.promote("v001", who="me", why="x")
        seq = store.last_seq
        await promotion.promote("v001", who="me", why="again")
        assert store.last_seq == seq

    async def test_the_link_follows_after_a_crash(
        self, promotion: Promotion, home: Home, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Promotion, "_link", killed)
        with pytest.raises(KeyboardInterrupt):
            await promotion.promote("v001", who="me", why="x")
        monkeypatch.undo()
        assert not home.live_link.is_symlink()
        promotion.repair_live_link()
        assert home.live_link.resolve() == library.folder("v001")

    async def test_the_link_is_replaced_never_missing(self, promotion: Promotion, home: Home) -> None:
        await promotion.promote("v001", who="me", why="x")
        await promotion.promote("v002", who="me", why="x")
        assert home.live_link.resolve().name.startswith("v002-")
        assert [path.name for path in home.live_link.parent.iterdir() if path.name.startswith(".")] == []
