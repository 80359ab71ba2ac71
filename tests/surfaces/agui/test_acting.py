"""What an input does to its session: once, and nothing while an answer is missing."""

from __future__ import annotations

import asyncio
from typing import Any

import godwit
from godwit.core.messages import User
from godwit.host.agent_registry import AgentRegistry
from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings
from tests.surfaces.mcp_server.clients import put
from tests.surfaces.server.running import running

from .conftest import ASKING, Gate, Start, approved
from .wire import Json, Wire, asking, said, text_of, types

PICK: Json = {"name": "pick", "description": "Pick a colour.", "parameters": {"type": "object", "properties": {}}}


def warnings(events: list[Json]) -> list[str]:
    return list(events[0]["metadata"]["godwit"].get("warnings", ()))


def snapshot(events: list[Json]) -> list[tuple[str, Any]]:
    """The messages as the last one tells them: what is to stand elsewhere is taken away by one before."""
    found = [event["messages"] for event in events if event["type"] == "MESSAGES_SNAPSHOT"][-1]
    return [(one["role"], one.get("content")) for one in found]


async def test_a_message_is_answered_once_more_in_place_of_all_behind_it(start: Start) -> None:
    site = start("One.", "Two.", "Three.")
    again = {"godwit": {"regenerate": True}}
    async with site.wire() as wire:
        await wire.run(asking("t1", said("a", "u1"), run="r1"))
        await wire.run(asking("t1", said("a", "u1"), said("b", "u2"), run="r2"))
        told = await wire.run(asking("t1", said("a", "u1"), said("b", "u2"), run="r3", forwardedProps=again))
        assert text_of(told) == "Two."
        assert site.count("model.started") == 3
        # The same request once more is the same run, and does nothing again.
        told = await wire.run(asking("t1", said("a", "u1"), said("b", "u2"), run="r3", forwardedProps=again))
        assert site.count("session.rewound") == 1
        assert snapshot(told) == [("user", "a"), ("assistant", "One."), ("user", "b"), ("assistant", "Two.")]
        told = await wire.run(asking("t1", said("c", "u3"), run="r4"))
        assert text_of(told) == "Three."
    assert [entry.message.text for entry in site.model.requests[-1].entries] == ["a", "One.", "b", "Two.", "c"]


async def test_what_began_no_run_is_not_answered_once_more(start: Start) -> None:
    gate = Gate()
    site = start(say("It ") + gate.hold() + say("rains."), "So it is.")
    async with site.wire() as wire:
        async with wire.opened(asking("t1", said("a", "u1"), run="r1")) as first:
            await gate.reached()
            refused = await wire.refused(
                asking("t1", said("a", "u1"), run="r2", forwardedProps={"godwit": {"regenerate": True}})
            )
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
            async with wire.opened(asking("t1", said("a", "u1"), said("b", "u2"), run="r2")):
                pass
            gate.open(site)
            await first.all()
        for messages in ([said("a", "u1"), said("b", "u2")], [said("new", "u9")]):
            refused = await wire.refused(asking("t1", *messages, run="r3", forwardedProps={"godwit": {"regenerate": True}}))
            assert refused.status_code in (400, 409)
    assert site.count("session.rewound") == 0


async def test_what_a_key_may_read_it_may_follow_and_no_more(tmp_path: Any) -> None:
    model = godwit.ScriptedModel([call("bash", command="echo hi"), "Hi."], "scripted:any")
    bird = godwit.Agent("bird", model="scripted:any", tools=["bash"], permissions=ASKING, sandbox=None)
    settings = ServerSettings(port=0, keys=True)
    with running(
        tmp_path / "g.db", models={"scripted:any": model}, settings=settings, prepare=lambda r: put(r, bird)
    ) as server:

        def key(*scopes: Any) -> dict[str, str]:
            keys = server.app.callers.keys
            made = server.call(lambda: keys.create("one", tenant=None, scopes=list(scopes)))
            return {"authorization": f"Bearer {made[0]}"}

        url = f"{server.url}/agui/bird"
        reads, answers, operates = (Wire(url, key(*one)) for one in (("read",), ("answer",), ("operate",)))
        async with reads, answers, operates, Wire(url) as nobody:
            assert (await nobody.refused(asking("t1", said("Say hi.")))).status_code == 401
            for wire in (reads, answers):
                assert (await wire.refused(asking("t1", said("Say hi.")))).status_code == 403
            told = await operates.run(asking("t1", said("Say hi."), run="r1"))
            (interrupt,) = told[-1]["outcome"]["interrupts"]
            refused = await reads.refused(asking("t1", said("Say hi."), run="r2", resume=[approved(interrupt)]))
            assert refused.status_code == 403
            told = await reads.run(asking("t1", run="r3"), "/connect")
            assert told[-1]["outcome"]["type"] == "interrupt"
            told = await answers.run(asking("t1", said("Say hi."), run="r4", resume=[approved(interrupt)]))
            assert text_of(told) == "Hi."


async def test_a_tool_that_goes_by_a_name_of_the_agent_s_is_not_used(start: Start) -> None:
    site = start("Fine.", tools=("bash",))
    mine = {**PICK, "name": "bash"}
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("a"), tools=[mine, PICK]))
    assert warnings(told) == ["the tool 'bash' is the agent's own: the application's is not used"]
    names = [tool.name for tool in site.model.requests[0].tools]
    assert names.count("bash") == 1
    assert "pick" in names


async def test_calls_of_the_front_end_are_skipped_by_what_is_said_in_place_of_their_results(start: Start) -> None:
    site = start(call("pick"), "Never mind.")
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("a", "u1"), tools=[PICK], run="r1"))
        assert told[-1]["outcome"]["type"] == "success"
        assert len(told[-1]["outcome"]["pendingToolCallIds"]) == 1
        told = await wire.run(asking("t1", said("a", "u1"), said("leave it", "u2"), tools=[PICK], run="r2"))
        assert text_of(told) == "Never mind."
    assert [result.status for result in site.results()] == ["skipped"]


async def test_what_a_subagent_asks_is_answered_like_anything_else(start: Start) -> None:
    clerk = godwit.Agent("clerk", model="scripted:clerk", tools=["bash"], permissions=ASKING, description="Runs things.")
    models = {"scripted:clerk": godwit.ScriptedModel([call("bash", command="echo hi"), "Done."], "scripted:clerk")}
    site = start(
        call("task", agent="clerk", prompt="Say hi."), "It is done.", tools=(), subagents=[clerk.spec], models=models
    )
    async with site.wire() as wire:
        told = await wire.run(asking("t1", said("Go."), run="r1"))
        (interrupt,) = told[-1]["outcome"]["interrupts"]
        (begun,) = (event for event in told if event["type"] == "SUBAGENT_STARTED")
        (ended,) = (event for event in told if event["type"] == "SUBAGENT_FINISHED")
        assert interrupt["subagentRunId"] == begun["subagentRunId"] == ended["subagentRunId"]
        assert ended["outcome"] == {"type": "suspended", "interruptIds": [interrupt["id"]]}
        (its_call,) = (
            event["toolCallId"] for event in told if event["type"] == "TOOL_CALL_START" and event["toolCallName"] == "bash"
        )
        assert interrupt["toolCallId"] == its_call
        told = await wire.run(asking("t1", said("Go."), run="r2", resume=[approved(interrupt)]))
        assert text_of([event for event in told if "subagentRunId" not in event]) == "It is done."
        kinds = types(told)
        assert kinds.count("SUBAGENT_STARTED") == kinds.count("SUBAGENT_FINISHED") == 1
        (result,) = (e for e in told if e["type"] == "TOOL_CALL_RESULT" and e["toolCallId"] == its_call)
        assert result["content"] == "hi\n"
        # One who comes now has all of it, each message whose it is.
        told = await wire.run(asking("t1", run="r3"), "/connect")
        (shown,) = (event["messages"] for event in told if event["type"] == "MESSAGES_SNAPSHOT")
        mine = [one.get("content") for one in shown if "subagentRunId" not in one and one["role"] == "assistant"]
        its = [one.get("content") for one in shown if "subagentRunId" in one and one["role"] == "assistant"]
        assert (mine, its) == ([None, "It is done."], [None, "Done."])


async def test_what_is_told_of_the_application_is_told_when_it_changes(start: Start) -> None:
    site = start("One.", "Two.", "Three.")
    home, away = ([{"description": "page", "value": value}] for value in ("home", "away"))
    async with site.wire() as wire:
        await wire.run(asking("t1", said("a", "u1"), context=home, run="r1"))
        await wire.run(asking("t1", said("a", "u1"), said("b", "u2"), context=home, run="r2"))
        told = await wire.run(asking("t1", said("a", "u1"), said("b", "u2"), said("c", "u3"), context=away, run="r3"))
        assert ("user", "c") not in snapshot(told) or snapshot(told)[-1] == ("user", "c")  # never with what was added
    messages = [entry.message for entry in site.model.requests[-1].entries]
    texts = [message.text for message in messages if isinstance(message, User)]
    assert ["home" in text for text in texts] == [True, False, False]
    assert ["away" in text for text in texts] == [False, False, True]


async def test_who_speaks_elsewhere_is_heard_here(start: Start) -> None:
    gate = Gate()
    site = start(say("It ") + gate.hold() + say("rains."), "So it is.")
    async with site.wire() as wire, wire.opened(asking("t1", said("a", "u1"), run="r1")) as reading:
        await gate.reached()

        async def steer() -> None:
            runtime = site.server.runtime
            session = await runtime.desk.session((await runtime.sessions(limit=1))[0].id)
            await session.steer("And the wind?", sender="somebody")

        await asyncio.to_thread(site.server.call, steer)
        gate.open(site)
        told = await reading.all()
    begun = {event["messageId"]: event.get("role") for event in told if event["type"] == "TEXT_MESSAGE_START"}
    texts = [(begun[e["messageId"]], e["delta"]) for e in told if e["type"] == "TEXT_MESSAGE_CONTENT"]
    assert ("user", "And the wind?") in texts


async def test_a_thread_may_be_a_session_that_was_begun_elsewhere(start: Start) -> None:
    site = start("One.", "Two.")

    async def begin() -> str:
        runtime = site.server.runtime
        registry = AgentRegistry(runtime.store, ids=runtime.ids, clock=runtime.clock)
        (bird,) = await registry.list(tenant=None, limit=2, ascending=True, archived=False)
        session = await runtime.start_session(bird.ref)
        await session.send("Hello.")
        return str(session.id)

    thread = await asyncio.to_thread(site.server.call, begin)
    async with site.wire() as wire:
        told = await wire.run(asking(thread, said("And?", "u1")))
        assert snapshot(told) == [("user", "Hello."), ("assistant", "One."), ("user", "And?")]
        assert text_of(told) == "Two."
    async with Wire(site.url.replace("/bird", "/fish")) as fish:
        assert (await fish.refused(asking(thread, said("x", "u2")))).status_code == 404


async def test_a_thread_stays_with_its_agent(start: Start) -> None:
    site = start("One.")

    async def another() -> None:
        await put(site.server.runtime, godwit.Agent("fish", model="scripted:any"))

    await asyncio.to_thread(site.server.call, another)
    async with site.wire() as wire, Wire(site.url.replace("/bird", "/fish")) as fish:
        await wire.run(asking("t1", said("a", "u1")))
        refused = await fish.refused(asking("t1", said("b", "u2")))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")


async def test_the_state_is_shared_with_the_agent(start: Start) -> None:
    """By whole values and patches in both directions, and also with those who look on."""
    patch = [{"op": "replace", "path": "/count", "value": 2}, {"op": "add", "path": "/by", "value": "bird"}]
    gate = Gate()
    site = start(call("update_state", operations=patch), gate.hold() + say("Done."), "Seen.", tools=("state",))
    async with site.wire() as wire:
        async with wire.opened(asking("t1", said("Count.", "u1"), state={"count": 1}, run="r1")) as reading:
            await gate.reached()
            # Who joins now has the value as it is, and no patch of what it never had.
            async with wire.opened(asking("t1", said("Count.", "u1"), run="r2"), "/connect") as joined:
                first = await joined.until("STATE_SNAPSHOT")
                assert first.event["snapshot"] == {"count": 2, "by": "bird"}
                gate.open(site)
                assert "STATE_DELTA" not in types(await joined.all())
            told = await reading.all()
        assert [event["snapshot"] for event in told if event["type"] == "STATE_SNAPSHOT"] == [{"count": 1}]
        assert [event["delta"] for event in told if event["type"] == "STATE_DELTA"] == [patch]

        async def elsewhere() -> None:
            runtime = site.server.runtime
            session = await runtime.open_session((await runtime.sessions(limit=1))[0].id, drive=False)
            await session.set_shared_state({"count": 7})

        await asyncio.to_thread(site.server.call, elsewhere)
        # One that has never had a state takes nobody's away.
        told = await wire.run(asking("t1", said("Count.", "u1"), said("And?", "u2"), state={}, run="r3"))
        assert [event["snapshot"] for event in told if event["type"] == "STATE_SNAPSHOT"] == [{"count": 7}]
    assert any('"count":7' in entry.message.text.replace(" ", "") for entry in site.model.requests[-1].entries)


async def test_a_state_that_is_too_large_is_refused_and_changes_nothing(start: Start) -> None:
    site = start("Fine.")
    async with site.wire() as wire:
        refused = await wire.refused(asking("t1", said("a", "u1"), state={"text": "x" * 300_000}))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_argument")
    assert site.count("user.message") == 0
