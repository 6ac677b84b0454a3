"""How the server is: health, what it is, its settings, everything at a glance, and the metrics."""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from msgspec import UNSET
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from starlette.requests import Request
from starlette.responses import Response

import homefire as package
from homefire.api.auth import principal_of
from homefire.api.context import Context
from homefire.api.documents import JsonDocument, create_router
from homefire.api.metrics import CONTENT_TYPE, Family
from homefire.api.native_learning import disagreements, open_runs, run_view
from homefire.api.native_types import (
    Config,
    DiskView,
    Health,
    Info,
    QueueView,
    ResidentView,
    Setting,
    Status,
    VersionInfo,
)
from homefire.api.native_versions import live_model
from homefire.app import Homefire
from homefire.chat.request import Principal
from homefire.home import proof_of_home
from homefire.machine.probe import probe
from homefire.serving.residency import ResidentModel

DIALECTS = ["openai", "ollama", "anthropic", "native"]
NUM_RECENT_RUNS = 5
NUM_UNLEARNED = 20


def create_status_router(context: Context) -> APIRouter:
    """Routes about the server itself."""
    router = create_router("server")
    homefire, describe = context.homefire, context.described.route

    @router.get("/health", **describe(answer=Health))
    async def health(
        request: Request, challenge: Annotated[str | None, Query(max_length=100)] = None
    ) -> JsonDocument:
        """Liveness: 200 whenever the server answers. Needs no key, and tells nothing else.

        A `challenge` is answered with a `proof` that only this home's server can give: the command line asks
        for it before it sends anything else.
        """
        failure, token = homefire.store.failure, getattr(request.app.state, "server_token", None)
        failed = sorted(homefire.failures())
        return JsonDocument(
            Health(
                "degraded" if failed else "ok",
                "ok" if failure is None else failure.code,
                proof_of_home(token, challenge) if token and challenge else UNSET,
                failed or UNSET,
            )
        )

    @router.get("/info", **describe(answer=Info))
    async def info() -> JsonDocument:
        """What this server is, speaks, and runs on."""
        return JsonDocument(
            Info(
                name="homefire",
                version=package.__version__,
                python=platform.python_version(),
                live=live_model(context),
                dialects=DIALECTS,
                num_models=len(homefire.catalog.list()),
                started_at_s=homefire.started_at_s,
                machine=probe(homefire.home.root),
            )
        )

    @router.get("/version", **describe(answer=VersionInfo))
    async def version() -> JsonDocument:
        """The program's own version (models' versions are at /v1/versions)."""
        return JsonDocument(VersionInfo(package.__version__))

    @router.get("/metrics", **describe(answer_type="text/plain"))
    async def metrics() -> Response:
        """Prometheus exposition."""
        return Response(context.metrics.text(), headers={"content-type": CONTENT_TYPE})

    @router.get("/v1/status", **describe(answer=Status))
    async def status(request: Request) -> JsonDocument:
        """Everything at a glance."""
        return JsonDocument(read_status(context, principal_of(request)))

    @router.get("/v1/config", **describe(answer=Config))
    async def config() -> JsonDocument:
        """Every setting with where its value comes from. Secrets are not settings."""
        loaded = homefire.loaded
        settings = {
            f"{section}.{key}": Setting(value, loaded.origins.get(f"{section}.{key}", "default"))
            for section, values in loaded.settings.model_dump(mode="json").items()
            for key, value in values.items()
        }
        return JsonDocument(Config(str(homefire.home.root), str(homefire.home.settings_file), settings))

    return router


def read_status(context: Context, principal: Principal) -> Status:
    """What `/v1/status` tells this principal. Some milliseconds."""
    homefire = context.homefire
    disk = shutil.disk_usage(homefire.home.root)
    queue = homefire.serving.queue()
    ended = [row for row in homefire.store.runs.list() if row.ended_at_s is not None]
    recent = sorted(ended, key=lambda row: row.ended_at_s or 0.0, reverse=True)[:NUM_RECENT_RUNS]
    return Status(
        version=package.__version__,
        pid=os.getpid(),
        uptime_s=homefire.world.clock.now_s() - homefire.started_at_s,
        rss_bytes=rss_bytes(),
        home=str(homefire.home.root),
        disk=DiskView(disk.free, disk.total),
        database=f"{homefire.store.database.name}, {homefire.store.database.where}",
        database_failure=None if homefire.store.failure is None else str(homefire.store.failure),
        live=live_model(context),
        queue=QueueView(queue.num_active, queue.num_waiting, queue.waiting),
        scrub=homefire.scrub.status(),
        failures=homefire.failures(),
        resident=[_resident(model) for model in homefire.serving.status()],
        num_pending_examples=len(homefire.store.examples.pending()),
        waiting_reason=homefire.training.waiting_reason(),
        runs=[*open_runs(context), *(run_view(context, row) for row in recent)],
        unlearned=tuple(homefire.training.unlearned(principal.id)[:NUM_UNLEARNED]),
        disagreements=disagreements(context, principal)[:NUM_UNLEARNED],
    )


def _resident(model: ResidentModel) -> ResidentView:
    engine = model.engine
    return ResidentView(
        name=model.name,
        state=model.state,
        pinned=model.pinned,
        active=model.num_active,
        pid=engine.pid if engine is not None else None,
        memory_bytes=engine.rss_bytes if engine is not None else None,
        num_restarts=engine.num_restarts if engine is not None else 0,
        context_length=model.context_length,
    )


def rss_bytes() -> int:
    """Memory of this process that is really there (Linux; 0 elsewhere)."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def readings(homefire: Homefire) -> Iterator[Family]:
    """What is true now, for the metrics."""
    build = GaugeMetricFamily("homefire_build", "The running program.", labels=["version"])
    build.add_metric([package.__version__], 1)
    yield build
    live = GaugeMetricFamily("homefire_live_model", "The model that `live` means.", labels=["model"])
    live.add_metric([homefire.catalog.resolve("live").model.name], 1)
    yield live
    yield GaugeMetricFamily("homefire_resident_bytes", "Memory of the server process.", value=rss_bytes())
    yield GaugeMetricFamily(
        "homefire_start_time_seconds", "Unix time of the start.", value=homefire.started_at_s
    )
    queue = homefire.serving.queue()
    yield GaugeMetricFamily(
        "homefire_queue_waiting", "Requests that wait for a model.", value=queue.num_waiting
    )
    yield GaugeMetricFamily("homefire_queue_active", "Requests that use a model.", value=queue.num_active)
    yield GaugeMetricFamily(
        "homefire_turns_in_flight", "Turns being answered now.", value=homefire.turns.num_running
    )
    restarts = CounterMetricFamily(
        "homefire_engine_restarts", "Restarts of engine workers.", labels=["model"]
    )
    memory = GaugeMetricFamily(
        "homefire_engine_resident_bytes", "Memory of engine workers.", labels=["model"]
    )
    for model in homefire.serving.status():
        if model.engine is not None:
            restarts.add_metric([model.name], model.engine.num_restarts)
            memory.add_metric([model.name], model.engine.rss_bytes or 0)
    yield restarts
    yield memory
    runs = GaugeMetricFamily("homefire_runs", "Training runs by state.", labels=["state"])
    for state, number in Counter(row.state for row in homefire.store.runs.list()).items():
        runs.add_metric([state], number)
    yield runs
    pending = len(homefire.store.examples.pending())
    yield GaugeMetricFamily("homefire_examples_pending", "Corrections not in any run yet.", value=pending)
    yield GaugeMetricFamily("homefire_events", "Events in the log.", value=homefire.store.last_seq)
