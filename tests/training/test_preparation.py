"""What a run's spec says: how its parent is trained further."""

from __future__ import annotations

from pathlib import Path

from homefire.config.schema import Settings, TrainingSettings
from homefire.trainer.contract import read_spec
from tests.support.small_training import small_training


async def test_what_was_trained_whole_is_taught_further_whole(tmp_path: Path) -> None:
    """An adapter made on top of a version's own weights would be served on those of its base."""
    modes = []
    for mode, question in (("full", "Where is the key?"), ("lora", "Where is the cat?")):
        training = TrainingSettings(quiet_s=0.0, auto=False, mode=mode)  # type: ignore[arg-type]
        async with small_training(tmp_path, Settings(training=training)) as house:
            await house.correct(question)
            run = await house.ended((await house.daemon.queue()).run_id)
            assert run.metrics["promoted"], run.why
            modes.append(read_spec(house.home.runs / run.run_id).mode)
    assert modes == ["full", "full"]
