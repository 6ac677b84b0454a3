"""What the demo found: promises kept or broken, with their figures.

People see it as it happens, programs at the end.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from homefire.cli.output import Output

INDENT = "   "


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise that was put to the test."""

    name: str
    ok: bool
    detail: str


@dataclass
class Report:
    """Collects what the demo finds and shows it on `out`."""

    out: Output
    promises: list[Promise] = field(default_factory=list)
    answers: list[dict[str, str]] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    versions: list[dict[str, str]] = field(default_factory=list)
    _num_steps: int = 0
    _started_s: float = field(default_factory=time.monotonic)

    @property
    def broken(self) -> list[Promise]:
        """The promises that did not hold."""
        return [promise for promise in self.promises if not promise.ok]

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._num_steps += 1
        self.out.line()
        self.out.line(f"{self._num_steps}. {title}", style="bold")

    def say(self, text: str) -> None:
        """A line of explanation."""
        self.out.line(f"{INDENT}{text}")

    def exchange(self, question: str, answer: str, *, model: str, when: str) -> None:
        """A question and its answer, kept for the report."""
        self.answers.append({"when": when, "model": model, "question": question, "answer": answer})
        self.out.line(f"{INDENT}you    {question}")
        self.out.line(f"{INDENT}{model:<6} {answer}", style="cyan")

    def promise(self, name: str, ok: bool, detail: str) -> None:
        """Record whether a promise held."""
        self.promises.append(Promise(name, ok, detail))
        self.out.line(
            f"{INDENT}{'kept  ' if ok else 'BROKEN'} {name}: {detail}", style="green" if ok else "bold red"
        )

    def time(self, name: str, seconds: float) -> None:
        """Keep a duration for the report."""
        self.timings_s[name] = round(seconds, 3)

    def document(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "ok": not self.broken,
            "promises": [asdict(promise) for promise in self.promises],
            "answers": self.answers,
            "timings_s": {**self.timings_s, "whole_demo": round(time.monotonic() - self._started_s, 3)},
            "versions": self.versions,
        }
