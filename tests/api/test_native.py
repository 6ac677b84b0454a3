"""The native routes: what they give, what they refuse, and that nothing crosses a principal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from homefire.store.nouns.runs import RunMoved
from homefire.training.progress import Progress
from homefire.types import Message
from homefire.web.routes import add_pages
from tests.api.asking import Asker
from tests.api.house import LOCAL, RUN, House, close_house, open_house, queue_run


async def test_health_says_when_nothing_can_be_written(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.client() as client:
        assert (await client.get("/health")).json() == {"state": "ok", "store": "ok"}
        from homefire.errors import StorePoisoned

        monkeypatch.setattr(type(house.store), "failure", StorePoisoned("A flush failed."))
        answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"state": "degraded", "store": "store_poisoned", "failed": ["store"]}


async def test_info_version_status_and_config_agree(house: House) -> None:
    async with house.client() as client:
        info = (await client.get("/info")).json()
        version = (await client.get("/version")).json()
        status = (await client.get("/v1/status")).json()
        config = (await client.get("/v1/config")).json()
    assert info["version"] == version["version"] == status["version"]
    assert info["live"] == status["live"] == "ember"
    assert info["machine"]["num_cores"] >= info["machine"]["num_usable_cores"] >= 1
    assert status["home"] == config["home"]
    assert config["settings"]["server.port"] == {"value": 8765, "origin": "default"}
    assert house.key not in json.dumps(config)


async def test_a_correction_of_a_turn_becomes_an_example(house: House) -> None:
    async with house.client() as client:
        turn = (await client.post("/v1/chat", json={"message": "Where is the key?"})).json()
        body = {"turn_id": turn["turn_id"], "verdict": "correction", "text": "Under the pot."}
        given = (await client.post("/v1/feedback", json=body)).json()
        queue = (await client.get("/v1/queue")).json()
    example = house.store.examples.get(given["example_id"])
    assert example is not None
    assert example.messages == (Message("user", "Where is the key?"), Message("assistant", "Under the pot."))
    assert queue["num_pending_examples"] == 1


async def test_a_correction_without_a_turn_takes_a_prompt_or_a_conversation(house: House) -> None:
    async with house.client() as client:
        by_prompt = await client.post("/v1/corrections", json={"prompt": "Key?", "answer": "Pot."})
        messages = [{"role": "user", "content": "Key?"}]
        same = await client.post("/v1/corrections", json={"messages": messages, "answer": "Pot."})
        both = await client.post(
            "/v1/corrections", json={"prompt": "Key?", "messages": messages, "answer": "Pot."}
        )
        neither = await client.post("/v1/corrections", json={"answer": "Pot."})
        empty = await client.post("/v1/corrections", json={"prompt": "Key?", "answer": " "})
    assert by_prompt.json()["example_id"] == same.json()["example_id"]
    assert [both.status_code, neither.status_code, empty.status_code] == [400, 400, 400]


async def test_runs_are_listed_shown_and_found_by_their_example(house: House) -> None:
    await queue_run(house)
    async with house.client() as client:
        (run,) = (await client.get("/v1/runs")).json()["runs"]
        assert (run["run_id"], run["state"], run["progress"]["phase"]) == (RUN, "queued", "waiting")
        assert (await client.get(f"/v1/runs/{RUN}")).json() == run
        found = await client.get("/v1/runs", params={"example_id": "a" * 64})
        assert len(found.json()["runs"]) == 1
        assert (await client.get("/v1/runs", params={"example_id": "c" * 64})).json()["runs"] == []
        assert (await client.get("/v1/runs", params={"state": "done"})).json()["runs"] == []
        assert (await client.get("/v1/runs", params={"state": "nonsense"})).status_code == 400
        assert (await client.get("/v1/runs/run_2")).status_code == 404
        assert (await client.get("/v1/queue")).json()["runs"] == [run]


async def test_moving_a_run_is_recorded_with_who_and_why(house: House) -> None:
    await queue_run(house)
    house.homefire.training._store_run = house.store.runs.get
    async with house.client(headers={"x-api-key": house.key}) as client:
        moved = await client.post(f"/v1/runs/{RUN}/pause", json={"why": "guests"})
        assert moved.status_code == 200, moved.text
        bare = await client.post(f"/v1/runs/{RUN}/resume")
        assert bare.status_code == 200
        assert (await client.post(f"/v1/runs/{RUN}/explode", json={})).status_code == 400
    (row,) = house.store.keys.list()
    assert house.homefire.training.signals[0] == (RUN, "pause", row.key_id, "guests")


async def test_a_run_that_is_followed_gives_its_progress_until_the_server_drains(house: House) -> None:
    await queue_run(house)
    house.homefire.training.steps = [
        Progress(run_id=RUN, state="running", phase="training", step=step) for step in (1, 2)
    ]
    async with house.client() as client:
        assert (await client.get("/v1/runs/run_2/events")).status_code == 404
    follower = Asker(f"/v1/runs/{RUN}/events", method="GET")
    following = follower.ask(house)
    await follower.got(lambda: follower.text.count("data: ") == 2)
    assert not following.done()
    house.app.state.context.stopping.set()
    await following
    assert (b"content-type", b"text/event-stream") in follower.sent[0]["headers"]
    events = [json.loads(line[6:]) for line in follower.text.splitlines() if line.startswith("data: ")]
    assert [event["step"] for event in events] == [1, 2]


async def test_sessions_are_listed_shown_and_exported(house: House) -> None:
    async with house.client() as client:
        turn = (await client.post("/v1/chat", json={"message": "one"})).json()
        session = turn["session_id"]
        again = {"message": "two", "session_id": session}
        assert (await client.post("/v1/chat", json=again)).json()["session_id"] == session
        shown = (await client.get(f"/v1/sessions/{session}")).json()
        assert [message["role"] for message in shown["messages"]] == ["user", "assistant"] * 2
        assert len(shown["turns"]) == 2
        assert (await client.get("/v1/sessions")).json()["sessions"][0]["session_id"] == session
        text = await client.get(f"/v1/sessions/{session}/export")
        assert "**You:**\n\none" in text.text
        exported = await client.get(f"/v1/sessions/{session}/export", params={"format": "json"})
        assert exported.json() == shown
        assert (await client.get("/v1/sessions/ses_0")).status_code == 404
        assert (await client.post("/v1/chat", json={**again, "session_id": "ses_0"})).status_code == 404


async def test_parts_of_messages_can_be_read_in_the_export_and_on_the_page(house: House) -> None:
    add_pages(house.app)
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"what": "key"}'}}
    messages = [
        {"role": "user", "content": "Where is the key?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Under the pot."},
        {"role": "user", "content": "Thank you"},
    ]
    async with house.client() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "default", "messages": messages})
        assert answer.status_code == 200, answer.text
        session = answer.headers["x-homefire-session"]
        exported = (await client.get(f"/v1/sessions/{session}/export")).text
        assert "**Homefire:**\n\nI look.\n\nCalls `look_up`:\n\n```json" in exported
        assert "**Tool:**\n\nA tool answered:\n\n```\nUnder the pot.\n```" in exported
        page = (await client.get(f"/chat/{session}")).text
        for shown in ("I look.", "<code>look_up</code>", "A tool answered:", "Under the pot."):
            assert shown in page


async def test_regenerating_answers_again_beside_the_old_answer(house: House) -> None:
    async with house.client() as client:
        turn = (await client.post("/v1/chat", json={"message": "one"})).json()
        again = await client.post("/v1/chat", json={"replaces_turn_id": turn["turn_id"]})
        assert again.status_code == 200, again.text
        shown = (await client.get(f"/v1/sessions/{turn['session_id']}")).json()
    assert len(shown["turns"]) == 2
    assert len(shown["messages"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": " "},
        {"messages": []},
        {"message": "a", "messages": [{"role": "user", "content": "b"}]},
        {"messages": [{"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "tool", "content": "b"}]},
        {"message": "a", "grammar": "x", "json_schema": {}},
        {"message": "a", "stop": [""]},
        {"message": "a", "channel": "openai"},
    ],
)
async def test_contradictory_chats_are_refused(house: House, body: Any) -> None:
    async with house.client() as client:
        answer = await client.post("/v1/chat", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] in ("invalid_request", "unsupported_parameter")


async def test_a_chat_that_names_no_model_gets_the_configured_one(tmp_path: Path) -> None:
    house = await open_house(tmp_path)
    async with house.client() as client:
        named = (await client.post("/v1/chat", json={"message": "hi"})).json()["model"]
        route = (await client.get("/v1/route")).json()
    await close_house(house)
    assert named == route["requested"] == "default"
    assert route["chain"] == ["default", "live", "ember"]


async def test_models_are_added_by_absolute_path_only(house: House) -> None:
    async with house.client() as client:
        refused = await client.post("/v1/homefire/models", json={"path": "../x"})
        assert refused.status_code == 400
        added = await client.post("/v1/homefire/models", json={"path": "/models/new", "name": "new"})
        assert added.json()["name"] == "new"
        assert "new" in {
            model["name"] for model in (await client.get("/v1/homefire/models")).json()["models"]
        }
        assert (await client.delete("/v1/homefire/models/new")).json() == {"removed": "new"}
        assert (await client.delete("/v1/homefire/models/nope")).status_code == 404


async def test_the_engine_of_a_removed_model_is_evicted(house: House) -> None:
    async with house.client() as client:
        await client.post("/v1/homefire/models", json={"path": "/models/new", "name": "new"})
        asked = {"model": "new", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await client.post("/v1/chat/completions", json=asked)).status_code == 200
        assert "new" in {model.name for model in house.homefire.serving.status()}
        await client.delete("/v1/homefire/models/new")
        states = {model.name: model.state for model in house.homefire.serving.status()}
        assert states.get("new", "unloading") == "unloading"


async def test_versions_routes_answer_and_refuse(house: House) -> None:
    async with house.client() as client:
        assert (await client.get("/v1/versions")).json() == {
            "versions": [],
            "live": "ember",
            "rollback_to": None,
        }
        assert (await client.get("/v1/versions/v001")).status_code == 404
        assert (await client.post("/v1/versions/v001/verify")).status_code == 404
        assert (
            await client.get("/v1/versions/compare", params={"a": "v001", "b": "v002"})
        ).status_code == 404
        assert (await client.get("/v1/versions/compare", params={"a": "v001"})).status_code == 400
        moved = await client.post("/v1/versions/rollback", json={"to": "ember"})
        assert moved.json() == {"live": "ember", "previous": "ember"}
        promoted = await client.post("/v1/versions/v001/promote", json={"why": "better"})
        assert promoted.json()["live"] == "v001"
    assert house.homefire.promotion.moves == [
        ("ember", "local", "rollback asked for"),
        ("v001", "local", "better"),
    ]


async def test_an_override_without_a_reason_is_given_none(house: House) -> None:
    async with house.client() as client:
        await client.post("/v1/versions/v001/promote", json={"override": True})
    assert house.homefire.promotion.moves == [("v001", "local", "")]


async def test_metrics_count_requests_turns_tokens_and_runs(house: House) -> None:
    await queue_run(house)
    async with house.client() as client:
        for _ in range(3):
            await client.post("/v1/chat", json={"message": "hi"})
        await client.get("/v1/sessions/ses_0")
        text = (await client.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    route = '{dialect="native",route="/v1/chat",status="200"}'
    assert lines[f"homefire_http_requests_total{route}"] == "3.0"
    missing = '{dialect="native",route="/v1/sessions/{session_id}",status="404"}'
    assert lines[f"homefire_http_requests_total{missing}"] == "1.0"
    assert lines['homefire_turns_total{dialect="native",outcome="answered"}'] == "3.0"
    assert lines['homefire_tokens_total{kind="completion",model="ember"}'] == "15.0"
    assert lines['homefire_first_token_seconds_count{model="ember"}'] == "3.0"
    assert lines['homefire_live_model{model="ember"}'] == "1.0"
    assert lines['homefire_runs{state="queued"}'] == "1.0"
    assert lines['homefire_engine_restarts_total{model="ember"}'] == "0.0"
    assert lines["homefire_turns_in_flight"] == "0.0"


async def test_unknown_addresses_do_not_grow_the_metrics(house: House) -> None:
    async with house.client() as client:
        for number in range(20):
            await client.get(f"/nothing/{number}")
        text = (await client.get("/metrics")).text
    assert "nothing" not in text


async def test_errors_of_the_framework_have_the_dialects_shape(house: House) -> None:
    async with house.client() as client:
        assert (await client.get("/nope")).json()["error"]["code"] == "not_found"
        assert isinstance((await client.get("/api/nope")).json()["error"], str)
        wrong = await client.get("/v1/messages")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"
        assert wrong.json()["type"] == "error"
        limit = await client.get("/v1/sessions", params={"limit": "many"})
        assert limit.status_code == 400
        assert limit.json()["error"]["details"]["param"] == "limit"


async def test_a_bug_is_hidden_from_the_client_and_logged(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret inner state")

    monkeypatch.setattr(house.homefire.catalog, "list", broken)
    monkeypatch.setattr(house.homefire.router, "route", broken)
    async with house.client() as client:
        answers = [
            await client.get("/v1/homefire/models"),
            await client.get("/api/tags"),
            await client.post("/v1/chat", json={"message": "hi"}),
        ]
    for answer in answers:
        assert answer.status_code == 500
        assert "secret" not in answer.text
    assert caplog.text.count("the secret inner state") >= 3


async def test_the_description_covers_native_and_chat_routes(house: House) -> None:
    async with house.client(LOCAL) as client:
        document = (await client.get("/openapi.json")).json()
    assert "/v1/chat/completions" in document["paths"]
    assert "/v1/runs/{run_id}/events" in document["paths"]
    body = document["paths"]["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = body["$ref"].rsplit("/", 1)[1]
    assert set(document["components"]["schemas"][name]["properties"]) == {"turn_id", "verdict", "text"}
    assert "x-homefire-type" not in json.dumps(document)


async def test_a_finished_run_says_whether_it_was_promoted(house: House) -> None:
    await queue_run(house)
    for state in ("running", "failed"):
        await house.store.append(
            RunMoved(run_id=RUN, state=state, epoch=1, who="trainer", why="because")  # type: ignore[arg-type]
        )
    async with house.client() as client:
        run = (await client.get(f"/v1/runs/{RUN}")).json()
        status = (await client.get("/v1/status")).json()
    assert (run["state"], run["promoted"], run["why"]) == ("failed", False, "because")
    assert [row["run_id"] for row in status["runs"]] == [RUN]


# Corrections after they were given


async def test_corrections_are_paged_and_filtered_by_state(house: House) -> None:
    async with house.client() as client:
        for number in range(5):
            given = {"prompt": f"q{number}", "answer": "a"}
            assert (await client.post("/v1/corrections", json=given)).status_code == 200
        first = (await client.get("/v1/corrections", params={"limit": 2})).json()
        assert [row["question"] for row in first["corrections"]] == ["q4", "q3"]
        assert {row["state"] for row in first["corrections"]} == {"waiting"}
        rest = await client.get("/v1/corrections", params={"limit": 3, "before": first["next_before"]})
        assert [row["question"] for row in rest.json()["corrections"]] == ["q2", "q1", "q0"]
        assert rest.json()["next_before"] is None
        waiting = await client.get("/v1/corrections", params={"state": "waiting", "limit": 4})
        assert len(waiting.json()["corrections"]) == 4
        refused = await client.get("/v1/corrections", params={"state": "refused"})
        assert refused.json() == {"corrections": [], "next_before": None}
        assert (await client.get("/v1/corrections", params={"state": "nonsense"})).status_code == 400
        assert (await client.get("/v1/corrections", params={"limit": 0})).status_code == 400


async def test_a_correction_is_shown_edited_and_withdrawn(house: House) -> None:
    async with house.client() as client:
        given = (await client.post("/v1/corrections", json={"prompt": "Key?", "answer": "Pot."})).json()
        short = given["example_id"][:10]
        shown = (await client.get(f"/v1/corrections/{short}")).json()
        assert (shown["question"], shown["answer"], shown["state"]) == ("Key?", "Pot.", "waiting")
        nothing = await client.patch(f"/v1/corrections/{short}", json={})
        same = await client.patch(f"/v1/corrections/{short}", json={"answer": "Pot."})
        assert [nothing.status_code, same.status_code] == [400, 400]
        edited = (await client.patch(f"/v1/corrections/{short}", json={"answer": "Shelf."})).json()
        assert (edited["answer"], edited["state"]) == ("Shelf.", "waiting")
        assert (await client.get(f"/v1/corrections/{short}")).json()["state"] == "superseded"
        gone = await client.request(
            "DELETE", f"/v1/corrections/{edited['example_id']}", json={"why": "a slip"}
        )
        assert (gone.json()["state"], gone.json()["why"]) == ("withdrawn", "a slip")
        assert (await client.get("/v1/queue")).json()["num_pending_examples"] == 0
        retried = await client.post(f"/v1/corrections/{edited['example_id']}/retry")
        assert retried.status_code == 409
        assert (await client.get("/v1/corrections/0123456789")).status_code == 404


async def test_nobody_sees_or_changes_the_corrections_of_others(house: House) -> None:
    async with house.client() as mine, house.client() as theirs:
        theirs.headers["authorization"] = f"Bearer {house.key}"
        given = (await mine.post("/v1/corrections", json={"prompt": "Key?", "answer": "Pot."})).json()
        path = f"/v1/corrections/{given['example_id']}"
        assert (await theirs.get("/v1/corrections")).json()["corrections"] == []
        answers = [
            await theirs.get(path),
            await theirs.patch(path, json={"answer": "x"}),
            await theirs.delete(path),
            await theirs.post(f"{path}/retry"),
        ]
        assert [answer.status_code for answer in answers] == [404] * 4
        assert (await mine.get(path)).json()["state"] == "waiting"


async def test_status_queue_and_run_name_the_corrections_that_nothing_teaches(house: House) -> None:
    await queue_run(house)
    await house.store.append(RunMoved(run_id=RUN, state="skipped", epoch=0, who="me", why="enough"))
    async with house.client() as client:
        for path in ("/v1/status", "/v1/queue"):
            (row,) = (await client.get(path)).json()["unlearned"]
            assert (row["state"], row["why"], row["run_id"]) == ("stranded", "enough", RUN)
            assert "corrections retry" in row["next"]
        retried = (await client.post(f"/v1/corrections/{'a' * 64}/retry")).json()
        assert retried["state"] == "queued"
        assert (await client.get("/v1/status")).json()["unlearned"] == []
