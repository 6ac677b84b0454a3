from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from homefire.trainer.contract import (
    METRICS_FILE,
    Checkpointed,
    DiskFull,
    Done,
    ExitCode,
    Failed,
    Heartbeat,
    Paused,
    Ready,
    Skipped,
    Started,
    Stepped,
    Stopped,
    TrainingRow,
    decode_event,
)
from homefire.types import Message
from tests.support.trainer import EMBER, FACTS, QUICK, Worker, make_run, row, write_spec


def final_digest(worker: Worker) -> str:
    done = worker.events[-1]
    assert isinstance(done, Done), (worker.events[-1], worker.log())
    return done.files["model.safetensors"]


def test_runs_as_a_command_and_pauses_with_its_memory_handed_back(tmp_path: Path) -> None:
    make_run(tmp_path)
    command = [sys.executable, "-m", "homefire.trainer.worker", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(decode_event(line))
            if isinstance(events[-1], Stepped) and events[-1].step == 2:
                process.stdin.write(b'{"do":"pause"}\n')
                process.stdin.flush()
    assert process.returncode == ExitCode.PAUSED
    assert isinstance(events[-1], Paused)
    assert isinstance(events[-2], Checkpointed)
    assert events[-1].step == events[-2].step < QUICK.max_steps


def test_a_paused_run_goes_on_where_it_was_and_ends_like_one_that_was_not(tmp_path: Path) -> None:
    make_run(tmp_path / "straight")
    straight = Worker(tmp_path / "straight")
    assert straight.finish() == ExitCode.DONE
    make_run(tmp_path / "paused")
    first = Worker(tmp_path / "paused")
    first.wait_for(Stepped, where=lambda event: isinstance(event, Stepped) and event.step == 4)
    first.terminate()
    assert first.finish() == ExitCode.PAUSED
    paused = first.events[-1]
    assert isinstance(paused, Paused)
    second = Worker(tmp_path / "paused")
    assert second.finish() == ExitCode.DONE
    started = next(event for event in second.events if isinstance(event, Started))
    assert started.step == paused.step
    assert final_digest(second) == final_digest(straight)


def test_a_worker_that_was_started_ahead_makes_the_same_bits(tmp_path: Path) -> None:
    make_run(tmp_path / "fresh")
    fresh = Worker(tmp_path / "fresh")
    assert fresh.finish() == ExitCode.DONE
    make_run(tmp_path / "ahead")
    ahead = Worker(tmp_path / "ahead", waits=True)
    ahead.wait_for(Ready)
    ahead.send(json.dumps({"do": "train", "run_dir": str(tmp_path / "ahead")}))
    assert ahead.finish() == ExitCode.DONE
    assert final_digest(ahead) == final_digest(fresh)


def test_a_worker_that_waits_for_a_run_ends_with_its_server(tmp_path: Path) -> None:
    worker = Worker(tmp_path, waits=True)
    worker.wait_for(Ready)
    worker.hang_up()
    assert worker.finish() == ExitCode.ORPHANED


@pytest.mark.parametrize(
    ("command", "code", "event"), [("stop", ExitCode.STOPPED, Stopped), ("skip", ExitCode.SKIPPED, Skipped)]
)
def test_stop_keeps_a_checkpoint_and_skip_does_not(
    tmp_path: Path, command: str, code: ExitCode, event: type[Stopped | Skipped]
) -> None:
    make_run(tmp_path, checkpoint_every_steps=1000)
    worker = Worker(tmp_path)
    worker.wait_for(Stepped)
    worker.send(json.dumps({"do": command}))
    assert worker.finish() == code
    assert isinstance(worker.events[-1], event)
    has_checkpoint = any(isinstance(seen, Checkpointed) for seen in worker.events)
    assert has_checkpoint == (command == "stop")
    assert not (tmp_path / "final").exists()


def test_a_line_that_is_no_command_is_logged_and_passed_over(tmp_path: Path) -> None:
    make_run(tmp_path)
    worker = Worker(tmp_path)
    worker.send('{"do":"dance"}')
    assert worker.finish() == ExitCode.DONE
    assert "Not a command" in worker.log()


def test_leaves_at_once_when_the_server_hangs_up(tmp_path: Path) -> None:
    make_run(tmp_path, checkpoint_every_steps=1000)
    worker = Worker(tmp_path)
    worker.wait_for(Stepped)
    worker.hang_up()
    assert worker.finish() == ExitCode.ORPHANED
    assert not (tmp_path / "checkpoints").exists()


def test_a_lost_lease_commits_nothing(tmp_path: Path) -> None:
    make_run(tmp_path, checkpoint_every_steps=1000)
    worker = Worker(tmp_path)
    worker.wait_for(Stepped)
    (tmp_path / "epoch").write_text("2\n")
    assert worker.finish() == ExitCode.FENCED
    failed = worker.events[-1]
    assert isinstance(failed, Failed)
    assert failed.reason == "fenced"
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert not (tmp_path / "final").exists()


def test_a_pause_while_the_disk_is_full_goes_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    make_run(tmp_path)
    worker = Worker(tmp_path)
    worker.wait_for(Checkpointed)
    worker.limit_file_size(200_000)
    worker.wait_for(DiskFull)
    worker.send('{"do":"pause"}')
    assert worker.finish() == ExitCode.PAUSED
    saved = [event.step for event in worker.events if isinstance(event, Checkpointed)]
    assert worker.events[-1] == Paused(step=saved[-1])


def test_metrics_and_losses_hold_every_step_once(tmp_path: Path) -> None:
    make_run(tmp_path, checkpoint_every_steps=5)
    first = Worker(tmp_path)
    first.wait_for(Stepped, where=lambda event: isinstance(event, Stepped) and event.step == 7)
    first.kill()
    first.finish()
    assert Worker(tmp_path).finish() == ExitCode.DONE
    metrics = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, 19))
    header, *losses = [
        json.loads(line) for line in (tmp_path / "example_losses.jsonl").read_text().splitlines()
    ]
    assert header["examples"] == [f"ex-{q[:9]}" for q, _ in FACTS]
    assert [line["step"] for line in losses] == list(range(1, 19))
    assert all({0, 1, 2} <= set(line["rows"]) for line in losses)


def test_a_result_can_be_taught_further(tmp_path: Path) -> None:
    make_run(tmp_path / "first")
    assert Worker(tmp_path / "first").finish() == ExitCode.DONE
    final = tmp_path / "first" / "final"
    assert {path.name for path in final.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    make_run(
        tmp_path / "second",
        model_folder=final,
        retained=[row(*FACTS[0], "old")],
        rows=[row(*FACTS[1], "new")],
    )
    assert Worker(tmp_path / "second").finish() == ExitCode.DONE


def test_an_adapter_is_small_portable_and_can_be_taught_further(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(QUICK, mode="lora", max_steps=6, min_steps=6)
    make_run(tmp_path / "first", recipe=recipe)
    assert Worker(tmp_path / "first").finish() == ExitCode.DONE
    final = tmp_path / "first" / "final"
    assert {path.name for path in final.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    }  # fmt: skip
    config = json.loads((final / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "ember"
    make_run(tmp_path / "second", recipe=recipe, model_folder=final)
    assert Worker(tmp_path / "second").finish() == ExitCode.DONE


def failure(tmp_path: Path) -> Failed:
    worker = Worker(tmp_path)
    assert worker.finish() == ExitCode.FAILED
    assert isinstance(worker.events[-1], Failed)
    assert not (tmp_path / "final").exists()
    return worker.events[-1]


def test_all_examples_that_cannot_be_learned_are_named_at_once_with_the_numbers(tmp_path: Path) -> None:
    """Also the row that asks an example's question alone; those that can be learned are in no list."""
    very_long = "very " * 3000
    rows = [
        row("How long?", very_long, "long"),
        row("Where?", "Here.", "good"),
        row("Why?", very_long, "too#alone"),
    ]
    make_run(tmp_path, rows=[*rows, TrainingRow((Message("user", "Hello?"),), "open")])
    failed = failure(tmp_path)
    assert (failed.reason, set(failed.details["unusable"])) == ("data", {"long", "too", "open"})
    words = failed.details["unusable"]["long"].split()
    assert " ".join(words[:8]) == "It is longer than this model can hold"
    assert failed.details["unusable"]["long"].endswith("of 2048 tokens).")
    assert int(words[8].removeprefix("(")) > 3000
    assert "does not end with an answer" in failed.details["unusable"]["open"]


def test_examples_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path, rows=[TrainingRow((Message("user", "Hello?"),), "open")])
    assert failure(tmp_path).reason == "data"
    make_run(tmp_path, rows=[])
    assert failure(tmp_path).reason == "data"


def test_an_untrained_stop_token_is_refused_before_the_first_step(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in EMBER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    template = (folder / "chat_template.jinja").read_text()
    broken = template.replace("message['content'] + '<|im_end|>' }}", "message['content'] }}", 1)
    assert broken != template
    (folder / "chat_template.jinja").write_text(broken)
    make_run(tmp_path / "run", model_folder=folder)
    failed = failure(tmp_path / "run")
    assert failed.reason == "model"
    assert "stop token" in failed.message


def test_a_run_that_breaks_down_keeps_its_last_checkpoint_and_writes_no_weights(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(QUICK, learning_rate=1e30, warmup_steps=0, parent_decay=0.0)
    make_run(tmp_path, recipe=recipe, checkpoint_every_steps=1)
    assert failure(tmp_path).reason == "numeric"


def test_a_job_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    spec = make_run(tmp_path)
    write_spec(tmp_path, spec)
    (tmp_path / "spec.json").write_bytes(b"{}")
    assert failure(tmp_path).reason == "bug"


def test_takes_the_lowest_priority_before_it_loads_anything(tmp_path: Path) -> None:
    write_spec(tmp_path, msgspec.structs.replace(make_run(tmp_path), nice=19))
    worker = Worker(tmp_path)
    worker.wait_for(Heartbeat)
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == 19
    assert os.sched_getscheduler(worker.pid) in (os.SCHED_IDLE, os.SCHED_BATCH)
    worker.kill()
    assert worker.finish() < 0
