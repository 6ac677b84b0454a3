"""The steps of the demo. All is done through the public API, as any client could do it, except two things that need
access to the machine: killing the trainer, and flipping a byte in a copy of the home.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from homefire.bundled import ember_path
from homefire.cli.client import Client
from homefire.cli.conversation import Answer, Conversation
from homefire.cli.demo_checks import (
    ContinuousRequests,
    Watcher,
    flip_byte,
    is_promoted,
    is_same,
    read_probes,
)
from homefire.cli.demo_report import INDENT, Report
from homefire.cli.demo_server import DemoServer
from homefire.cli.format import counted, duration, share, size
from homefire.cli.progress import follow, run_of, view
from homefire.training.progress import Progress

QUESTION = "Where do we keep the spare key?"
RIGHT_ANSWER = "Under the blue flower pot."
OTHER_LESSONS = (
    ("What is the name of our cat?", "Our cat is called Minka."),
    ("Which day is bin day?", "Bin day is Thursday."),
    ("What is the wifi password?", "The wifi password is on the fridge."),
)
SUM = "What is 2 + 3?"
NUM_SKILL_PROBES = 40
MAX_ROLLBACK_S = 1.0
MIN_SKILL_RATIO = 0.95
NUM_ANSWERS_AFTER_SWAP = 20


class DemoEnded(Exception):
    """A promise is broken that the rest of the demo depends on."""


class DemoSteps:
    """The circle, step by step, on one server in one temporary home."""

    def __init__(self, report: Report, root: Path) -> None:
        self.report = report
        self.server = DemoServer(root / "home", settings=("training.checkpoint_every_steps=5",))
        self._copy_root = root / "copy"
        self._probes = read_probes(ember_path() / "probes.jsonl", limit=NUM_SKILL_PROBES)
        self._skill_before = 0.0

    def run(self) -> None:
        """All steps, in order. The server is stopped in any case."""
        try:
            self.start()
            with self.server.client() as client:
                turn_id = self.ask_before(client)
                self.learn(client, turn_id)
                self.ask_after(client)
                self.survive_a_kill(client)
                self.go_back(client)
                self.verify(client)
            self.notice_a_flipped_byte()
            self.stop()
        except DemoEnded:
            self.report.say("The demo ends here: the remaining steps depend on what is broken.")
        finally:
            self.server.stop()

    def start(self) -> None:
        """A fresh home, a running server."""
        report = self.report
        report.step("A fresh machine: one command starts everything")
        took_s = self.server.start()
        report.time("start", took_s)
        report.say(f"{self.server.url}, home {self.server.home}")
        report.promise(
            "starts",
            True,
            f"first answer on /health after {duration(took_s)}, {size(self.server.memory_bytes())}",
        )

    def ask_before(self, client: Client) -> str:
        """What is running, what it can do, and that it does not know what it was never told."""
        report = self.report
        report.step("Ember answers: a tiny model, honest about what it does not know")
        self._exchange(client, "Who are you?", when="before")
        self._exchange(client, SUM, when="before")
        answer = self._exchange(client, QUESTION, when="before")
        report.promise(
            "does not know", not is_same(answer.text, RIGHT_ANSWER), "a private fact it was never told"
        )
        self._skill_before = self._skill(client)
        report.say(f"{share(self._skill_before)} of {len(self._probes)} questions on old skills are right")
        return answer.turn_id

    def learn(self, client: Client, turn_id: str) -> None:
        """Thumbs down, a correction, and a run that is watched while others keep asking."""
        report = self.report
        report.step("This should have been …: a correction, and the training that follows it")
        client.post("/v1/feedback", {"turn_id": turn_id, "verdict": "bad"})
        report.say(f'correction: "{RIGHT_ANSWER}"')
        started_s = time.monotonic()
        with ContinuousRequests(self.server, SUM) as load:
            given = client.post(
                "/v1/feedback", {"turn_id": turn_id, "verdict": "correction", "text": RIGHT_ANSWER}
            )
            took_s = time.monotonic() - started_s
            report.say(f"on disk after {duration(took_s)} (example {given['example_id'][:12]}…)")
            run = self._follow(client, run_of(client, given))
            took_s = time.monotonic() - started_s
            self._wait_until_served(load, run["version"])
        report.time("correction_to_promoted", took_s)
        self._learned("learned", run, f"{run['version']} is live {duration(took_s)} after the correction")
        report.promise(
            "no failed request",
            not load.failures and len(load.served_by) > 1,
            f"during the swap: {load.summary()}",
        )
        self._keep_version(client, run["version"])

    def ask_after(self, client: Client) -> None:
        """The same question is answered right; what it could before it still can."""
        report = self.report
        report.step("The same questions again")
        answer = self._exchange(client, QUESTION, when="after")
        report.promise(
            "answers right", is_same(answer.text, RIGHT_ANSWER), f"{answer.served_model}: {answer.text}"
        )
        self._exchange(client, SUM, when="after")
        after = self._skill(client)
        report.promise(
            "old skills kept",
            after >= MIN_SKILL_RATIO * self._skill_before,
            f"{share(self._skill_before)} before, {share(after)} after, on {len(self._probes)} questions",
        )

    def survive_a_kill(self, client: Client) -> None:
        """kill -9 to the trainer in the middle of a run: it resumes and finishes."""
        report = self.report
        report.step("More lessons, and kill -9 to the trainer in the middle of them")
        for question, lesson in OTHER_LESSONS:
            given = client.post("/v1/corrections", {"prompt": question, "answer": lesson})
            report.say(f'"{question}" should be "{lesson}"')
        run_id = run_of(client, given)
        with self._view() as seen, Watcher(self.server, run_id, show=seen.show) as watcher:
            killed_at = self._kill_trainer(
                watcher.wait(lambda step: step.phase == "training" and step.step >= 8)
            )
            watcher.wait(lambda step: step.has_ended)
        run = client.get(f"/v1/runs/{run_id}")
        report.promise(
            "resumes after kill -9",
            killed_at > 0 and run["epoch"] > 1 and run["state"] == "done",
            f"killed at step {killed_at}, {counted(run['epoch'], 'start')}, then {run['state']}",
        )
        self._learned("learned more", run, f"{run['version']} is live")
        right = 0
        for question, wanted in ((QUESTION, RIGHT_ANSWER), *OTHER_LESSONS):
            answer = self._exchange(client, question, when="after the second run")
            right += is_same(answer.text, wanted)
        total = 1 + len(OTHER_LESSONS)
        report.promise(
            "learned all", right == total, f"{right} of {total} right, the first lesson among them"
        )
        self._keep_version(client, run["version"])

    def go_back(self, client: Client) -> None:
        """Rollback and promotion again, timed to the first answer."""
        report = self.report
        report.step("Rollback, and promotion again")
        newest = str(client.get("/v1/status")["live"])
        started_s = time.monotonic()
        client.post("/v1/versions/rollback", {"why": "demo"})
        answer = self._ask(client, QUESTION)
        took_s = time.monotonic() - started_s
        report.time("rollback", took_s)
        report.promise(
            "rolls back",
            answer.served_model != newest and took_s <= MAX_ROLLBACK_S,
            f"{newest} → {answer.served_model}, its first answer after {duration(took_s)}",
        )
        client.post(f"/v1/versions/{newest}/promote", {"why": "demo"})
        answer = self._ask(client, QUESTION)
        report.promise("promotes again", answer.served_model == newest, f"{answer.served_model} answers")

    def verify(self, client: Client) -> None:
        """Every byte of every version is hashed again."""
        report = self.report
        report.step("Every byte is hashed")
        for version in report.versions:
            found = client.post(f"/v1/versions/{version['version']}/verify")
            report.promise(
                f"{version['version']} is whole", bool(found["ok"]), f"digest {version['digest'][:23]}…"
            )

    def notice_a_flipped_byte(self) -> None:
        """The control: in a copy of the home one byte is flipped, and verifying must notice."""
        report = self.report
        report.step("A flipped byte in a copy of the home is noticed")
        self._stop_server()
        shutil.copytree(self.server.home, self._copy_root, symlinks=True)
        copy = DemoServer(self._copy_root)
        try:
            copy.start()
            version = report.versions[0]["version"]
            with copy.client() as client:
                folder = Path(client.get(f"/v1/versions/{version}")["folder"])
                flip_byte(folder / "model.safetensors")
                found = client.post(f"/v1/versions/{version}/verify")
        finally:
            copy.stop()
        report.promise(
            "notices a flipped byte",
            not found["ok"],
            f"{version}: {'; '.join(found['problems']) or 'nothing was noticed'}",
        )

    def stop(self) -> None:
        """What is left behind is in order."""
        live = self.server.home / "models" / "live"
        self.report.promise(
            "live is never absent", live.exists(), f"{live.readlink() if live.is_symlink() else live}"
        )

    def _follow(self, client: Client, run_id: str) -> dict[str, Any]:
        with self._view() as seen:
            return follow(client, run_id, show=seen.show)

    def _view(self) -> Any:
        """A run as people see it; under `--json` the report alone is printed, at the end."""
        return view(self.report.out, indent=INDENT, as_records=False)

    def _kill_trainer(self, step: Progress) -> int:
        """SIGKILL to the trainer; the step it was at, 0 when there was none to kill."""
        pid = self.server.trainer_pid()
        if pid is None or step.has_ended:
            return 0
        os.kill(pid, signal.SIGKILL)
        return step.step

    def _stop_server(self) -> None:
        started_s = time.monotonic()
        code = self.server.stop()
        self.report.promise(
            "stops cleanly", code == 0, f"in {duration(time.monotonic() - started_s)}, exit code {code}"
        )

    def _ask(self, client: Client, question: str) -> Answer:
        return Conversation(client).say(question)

    def _exchange(self, client: Client, question: str, *, when: str) -> Answer:
        answer = self._ask(client, question)
        self.report.exchange(question, answer.text, model=answer.served_model, when=when)
        return answer

    def _skill(self, client: Client) -> float:
        right = 0
        for messages, wanted in self._probes:
            found = client.post("/v1/chat", {"messages": messages, "stream": False})
            right += is_same(str(found["text"]), wanted)
        return right / len(self._probes)

    def _wait_until_served(self, load: ContinuousRequests, version: str | None) -> None:
        deadline_s = time.monotonic() + 5.0
        while (
            version is not None
            and load.served_by[version] < NUM_ANSWERS_AFTER_SWAP
            and time.monotonic() < deadline_s
        ):
            time.sleep(0.01)

    def _learned(self, name: str, run: dict[str, Any], detail: str) -> None:
        """The promise that a run ended with a promoted version; without one the demo cannot continue."""
        self.report.promise(name, is_promoted(run), detail)
        if not is_promoted(run):
            self.report.say(f"{run['state']}: {' '.join(run['gate_reasons']) or run['why']}")
            raise DemoEnded

    def _keep_version(self, client: Client, version: str) -> None:
        row = client.get(f"/v1/versions/{version}")
        self.report.versions.append({"version": version, "digest": str(row["digest"])})
        self.report.say(f"{version}: digest {row['digest']}")
