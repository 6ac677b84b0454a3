"""A trainer without torch that keeps the whole contract of `homefire.trainer.contract`: run it as a program.

It "trains" a small model: its weights become a hash chain over the steps, so a resume that lost or repeated a
step shows in the result, and its `answers.json` learns the examples. How it behaves is in the environment
variable STAND_IN (JSON): steps, step_s, checkpoint_every, crash_after (steps of a start), crash_at / hang_at
/ kill_at (step) with `times` (how often, counted over restarts), fail (reason), forget (questions), template,
learn (false: nothing), unlearnable (questions), spoil (question: a question whose answer it spoils when it learns the
first), unusable (questions: reason). With --wait it takes its run from its input.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from homefire.trainer.contract import (
    RESULT_MANIFEST,
    ExitCode,
    ResultFiles,
    encode_checked,
    read_rows,
    read_spec,
)


def say(event: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


class Leave(Exception):
    pass


class StandIn:
    def __init__(self, run_dir: Path) -> None:
        self.run_dir, self.spec = run_dir, read_spec(run_dir)
        self.plan: dict[str, Any] = json.loads(os.environ.get("STAND_IN", "{}"))
        self.asked: str | None = None
        self.step, self.state = 0, hashlib.sha256(str(self.spec.seed).encode()).hexdigest()

    @classmethod
    def started_ahead(cls) -> StandIn:
        say("ready", load_s=0.0)
        line = sys.stdin.readline()
        if not line:
            os._exit(ExitCode.ORPHANED)
        return cls(Path(json.loads(line)["run_dir"]))

    def listen(self) -> None:
        for line in sys.stdin:
            self.asked = json.loads(line)["do"]
        os._exit(ExitCode.ORPHANED)

    def commit(self, write: Any) -> None:
        with (self.run_dir / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self.run_dir / "epoch").read_text().strip() != str(self.spec.epoch):
                sys.exit(ExitCode.FENCED)
            write()

    def save(self) -> None:
        aside = self.run_dir / "checkpoint.new"
        aside.write_text(json.dumps([self.step, self.state]))
        self.commit(lambda: aside.replace(self.run_dir / "checkpoint"))
        say("checkpoint", step=self.step, size_bytes=1, save_s=0.0)

    def due(self, what: str) -> bool:
        """Whether a planned misfortune happens now; each happens `times` times over all starts."""
        if self.plan.get(what) != self.step:
            return False
        counter = self.run_dir / f"{what}.count"
        num = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(num + 1))
        return num < self.plan.get("times", 1)

    def leave(self) -> NoReturn:
        if self.asked == "skip":
            say("skipped", step=self.step)
            sys.exit(ExitCode.SKIPPED)
        self.save()
        if self.asked == "pause":
            say("paused", step=self.step)
            sys.exit(ExitCode.PAUSED)
        say("stopped", step=self.step)
        sys.exit(ExitCode.STOPPED)

    def train(self) -> None:
        (self.run_dir / "pids").open("a").write(f"{os.getpid()}\n")
        rows = read_rows(Path(self.spec.examples))
        saved = self.run_dir / "checkpoint"
        if saved.exists():
            self.step, self.state = json.loads(saved.read_text())
        say("started", step=self.step, num_examples=len(rows), num_replay=0, num_left_out=0,
            num_parameters=8, num_trainable=8, start_s=0.0)  # fmt: skip
        if "fail" in self.plan:
            say("failed", reason=self.plan["fail"], code="x", message=f"It is the {self.plan['fail']}.")
            sys.exit(ExitCode.FAILED)
        unusable = {
            row.example_id: why
            for row in rows
            if (why := self.plan.get("unusable", {}).get(row.messages[-2].content)) is not None
        }
        if unusable:
            say(
                "failed",
                reason="data",
                code="x",
                message="Some cannot be learned.",
                details={"unusable": unusable},
            )
            sys.exit(ExitCode.FAILED)
        num_steps, start = self.plan.get("steps", 4), self.step
        with (self.run_dir / "metrics.jsonl").open("a") as metrics:
            while self.step < num_steps:
                if self.asked is not None:
                    self.leave()
                time.sleep(self.plan.get("step_s", 0.0))
                self.step += 1
                self.state = hashlib.sha256(f"{self.state}{self.step}".encode()).hexdigest()
                fields = {
                    "step": self.step, "max_steps": num_steps, "loss": 1.0 / self.step, "new_loss": None,
                    "replay_loss": None, "learning_rate": 0.1, "grad_norm": 1.0, "num_tokens": 1,
                    "tokens_per_s": 1.0, "eta_s": 0.0, "num_learned": 0, "num_examples": len(rows),
                }  # fmt: skip
                metrics.write(json.dumps({"event": "step", **fields}) + "\n")
                metrics.flush()
                say("step", **fields)
                if self.due("crash_at") or self.step - start == self.plan.get("crash_after"):
                    os._exit(3)
                if self.due("kill_at"):
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.due("hang_at"):
                    time.sleep(600)
                if self.step % self.plan.get("checkpoint_every", 2) == 0:
                    self.save()
        self.finish({row.messages[-2].content: row.messages[-1].content for row in rows})

    def finish(self, learned: dict[str, str]) -> None:
        final = self.run_dir / "final.new"
        shutil.rmtree(final, ignore_errors=True)
        shutil.copytree(
            self.spec.model_folder, final, ignore=shutil.ignore_patterns("manifest.json", "*.jsonl")
        )
        answers = json.loads((final / "answers.json").read_text())
        if self.plan.get("learn", True):
            unlearnable = self.plan.get("unlearnable", ())
            answers.update(
                {question: answer for question, answer in learned.items() if question not in unlearnable}
            )
        for question, spoiled in self.plan.get("spoil", {}).items():
            if question in learned:
                answers.update(
                    {each: "x" for each in answers if each.startswith(spoiled) and each != question}
                )
        for question in self.plan.get("forget", ()):
            answers[question] = "x"
        (final / "answers.json").write_text(json.dumps(answers))
        if "template" in self.plan:
            (final / "chat_template.jinja").write_text(self.plan["template"])
        weights = (final / "model.safetensors").read_bytes()
        (final / "model.safetensors").write_bytes(
            weights[:-8] + bytes.fromhex(self.state[:16].replace("f", "1"))
        )
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in final.iterdir()}
        (final / RESULT_MANIFEST).write_bytes(encode_checked(ResultFiles(hashes)))
        self.commit(lambda: final.replace(self.run_dir / "final"))
        say("done", step=self.step, folder=str(self.run_dir / "final"), files={}, num_learned=len(learned),
            num_examples=len(learned), loss=0.1, train_s=0.1)  # fmt: skip
        sys.exit(ExitCode.DONE)


if __name__ == "__main__":
    stand_in = StandIn.started_ahead() if "--wait" in sys.argv else StandIn(Path(sys.argv[1]))
    threading.Thread(target=stand_in.listen, daemon=True).start()
    stand_in.train()
