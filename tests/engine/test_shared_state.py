"""The shared state in sessions: the host's part, tools, who writes at once, what a model is told, restarts, rewinds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

import godwit
from godwit.contracts import ModelRequest, ToolContext
from godwit.core.errors import InvalidArgument, KeyReused, PatchFailed, SessionArchived
from godwit.core.events import SessionCompacted, StateUpdated, ToolFinished
from godwit.core.messages import text_of
from godwit.core.shared_state import STATE_BYTES, state_told
from godwit.models.script import call, hold, say

from .conftest import Bench, data, types, within


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def update(*operations: dict[str, Any]) -> Any:
    return call("update_state", operations=list(operations))


def texts(bench: Bench, request: int = -1) -> list[str]:
    assert bench.model is not None
    return [text_of(entry.message.content) for entry in bench.model.requests[request].entries]


async def test_a_client_sets_and_patches_it(bench: Bench) -> None:
    session = await bench.start(["Hello."])
    assert await session.shared_state() == {}
    assert await session.set_shared_state({"title": "Letter", "lines": []}, sender="ann") == {"title": "Letter", "lines": []}
    patch = [add("/lines/-", "Dear"), {"op": "test", "path": "/title", "value": "Letter"}]
    assert await session.patch_shared_state(patch) == {"title": "Letter", "lines": ["Dear"]}
    assert await session.shared_state() == {"title": "Letter", "lines": ["Dear"]}
    first, second = await data(session, StateUpdated)
    assert (first.value, first.patch, first.sender, first.call, first.tell) == (
        {"title": "Letter", "lines": []},
        (),
        "ann",
        None,
        False,
    )
    assert [(one.op, one.path, one.value) for one in second.patch] == [
        ("add", "/lines/-", "Dear"),
        ("test", "/title", "Letter"),
    ]
    # What is given out is a copy.
    taken = await session.shared_state()
    taken["lines"].append("mine")
    assert await session.shared_state() == {"title": "Letter", "lines": ["Dear"]}
    # The same again, and a patch of nothing, are no changes.
    before = await types(session)
    assert await session.set_shared_state({"lines": ["Dear"], "title": "Letter"}) == taken | {"lines": ["Dear"]}
    assert await session.patch_shared_state([]) == taken | {"lines": ["Dear"]}
    assert await types(session) == before
    assert await session.set_shared_state(None) == {}
    await within(session.send("Hello."))
    assert not any("Shared state" in text for text in texts(bench)), "its agent has no tool for it, so it is not told"


async def test_what_does_not_fit_is_refused_and_changes_nothing(bench: Bench) -> None:
    session = await bench.start(["Hello."])
    await session.set_shared_state({"title": "Letter" * 100})
    before = await types(session)
    refused: list[tuple[Any, type[Exception], str]] = [
        (lambda: session.patch_shared_state([add("/a", 1), {"op": "remove", "path": "/b"}]), PatchFailed, "operation 2"),
        (lambda: session.patch_shared_state([{"op": "put", "path": "/a"}]), InvalidArgument, "op 'put' is none of"),
        (lambda: session.patch_shared_state([add("/a", "x" * (STATE_BYTES - 500))]), InvalidArgument, "larger than 262,144"),
        (lambda: session.set_shared_state("x" * STATE_BYTES), InvalidArgument, "has 262,146 bytes as JSON"),
        (lambda: session.set_shared_state({"what": object()}), InvalidArgument, "cannot be stored as JSON"),
        (lambda: session.set_shared_state({}, sender="nudge"), InvalidArgument, "godwit's own"),
    ]
    for way, error, says in refused:
        with pytest.raises(error, match=says):
            await way()
    assert await types(session) == before
    assert await session.shared_state() == {"title": "Letter" * 100}
    await bench.runtimes[-1].archive(session.id)
    with pytest.raises(SessionArchived):
        await session.set_shared_state({})


async def test_a_change_that_is_sent_again_under_its_key_is_made_once(bench: Bench) -> None:
    session = await bench.start(["Hello."])
    await session.set_shared_state({"n": 0})
    for _ in range(3):
        await session.patch_shared_state([{"op": "test", "path": "/n", "value": 0}, add("/n", 1)], key="k")
    assert await session.shared_state() == {"n": 1}
    await session.set_shared_state({"n": 5}, key="set")
    await session.patch_shared_state([add("/n", 6)])
    assert await session.set_shared_state({"n": 5}, key="set") == {"n": 6}, "it was set before what came then"
    with pytest.raises(KeyReused):
        await session.set_shared_state({"n": 7}, key="set")
    with pytest.raises(PatchFailed):
        await session.patch_shared_state([{"op": "test", "path": "/n", "value": 0}], key="another")


async def test_of_many_who_write_at_once_none_writes_over_another(bench: Bench) -> None:
    """Beside a run that works, and from handles of another runtime on the same file."""
    release = asyncio.Event()
    script = [update(add("/list/-", f"model {n}")) for n in range(5)]
    session = await bench.start([*script, hold(release) + say("Done.")], "state")
    await session.set_shared_state({"list": [], "n": 0})
    other = await (await bench.runtime()).open_session(session.id, drive=False)
    run = await session.prompt("Go.")

    async def write(handle: Any, who: str) -> None:
        for n in range(10):
            await handle.patch_shared_state([add("/list/-", f"{who} {n}")])

    async def count() -> None:
        """Reads and writes: only what was read is replaced."""
        for _ in range(10):
            while True:
                n = (await session.shared_state())["n"]
                try:
                    patch = [{"op": "test", "path": "/n", "value": n}, {"op": "replace", "path": "/n", "value": n + 1}]
                    await other.patch_shared_state(patch)
                except PatchFailed:
                    continue
                break

    work = [write(session, "here"), write(other, "there"), write(other, "third"), count(), count()]
    await within(asyncio.gather(*work))
    release.set()
    await within(session.wait(run))
    state = await session.shared_state()
    assert state["n"] == 20
    expected = [f"{who} {n}" for who in ("here", "there", "third") for n in range(10)] + [f"model {n}" for n in range(5)]
    assert sorted(state["list"]) == sorted(expected)


async def test_a_model_changes_it_and_reads_what_it_is_like_then(bench: Bench) -> None:
    session = await bench.start(
        [
            update(add("/title", "Letter"), add("/lines", [])),
            call("update_state", operations=[add("/lines/-", "Dear")]) + call("update_state", show="/lines"),
            call("update_state"),
            "Done.",
        ],
        "state",
    )
    assert session.tool_names() == ["update_state"]
    await within(session.send("Write."))
    results = [(f.status, text_of(f.content)) for f in await data(session, ToolFinished)]
    whole = '{"title":"Letter","lines":["Dear"]}'
    assert results == [("ok", '{"title":"Letter","lines":[]}'), ("ok", whole), ("ok", '["Dear"]'), ("ok", whole)]
    calls = [c.call for c in await data(session, ToolFinished)]
    assert [event.call for event in await data(session, StateUpdated)] == calls[:2]
    assert not any("Shared state" in text for text in texts(bench)), "it has made the changes itself"
    # A change is stored with its call, before the result.
    order = [t for t in await types(session) if t in ("tool.started", "state.updated", "tool.finished")]
    assert order[:3] == ["tool.started", "state.updated", "tool.finished"]


async def test_nobody_is_asked_about_it_and_it_works_in_plan_mode(bench: Bench) -> None:
    session = await bench.start([update(add("/n", 1)), "Done."], "state")
    await session.set_mode("plan")
    await within(session.send("Plan."))
    assert await session.shared_state() == {"n": 1}
    assert "action.opened" not in await types(session)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"operations": [add("/lines/-", 1)]}, "operation 1 (add '/lines/-'): there is no 'lines'"),
        ({"operations": [{"op": "replace", "path": "title", "value": 1}]}, "a path begins with '/'"),
        ({"operations": [{"op": "add", "path": "/a"}]}, "operation 1: add needs a `value`"),
        ({"operations": [add("/a", "x" * STATE_BYTES)]}, "may have 262,144"),
        ({"operations": [add("/a", 1)], "show": "/a"}, "not both"),
        ({"show": "/nothing"}, "there is no 'nothing'"),
        ({"operations": [{"op": "put", "path": "/a"}]}, "operations[0].op"),
    ],
)
async def test_a_models_mistake_tells_it_what_the_state_is(bench: Bench, arguments: dict[str, Any], says: str) -> None:
    session = await bench.start([call("update_state", **arguments), "So be it."], "state")
    await session.set_shared_state({"title": "Letter"})
    await within(session.send("Write."))
    (result,) = await data(session, ToolFinished)
    assert result.status in ("error", "invalid")
    assert says in text_of(result.content)
    if "show" not in arguments and result.status == "error":
        assert text_of(result.content).endswith('The state is: {"title":"Letter"}')
    assert await session.shared_state() == {"title": "Letter"}


async def test_a_model_is_told_what_others_have_changed_and_nothing_twice(bench: Bench) -> None:
    session = await bench.start(["1", "2", update(add("/n", 3)), "3", "4", "5"], "state")
    await within(session.send("Nothing yet."))
    assert texts(bench) == ["Nothing yet."]
    await session.set_shared_state({"n": 1})
    await session.patch_shared_state([add("/n", 2)])
    await within(session.send("Look."))
    assert texts(bench)[-2:] == [state_told({"n": 2}), "Look."]
    await within(session.send("Change it."))
    assert texts(bench).count(state_told({"n": 2})) == 1
    await within(session.send("Again."))
    assert not any(text == state_told({"n": 3}) for text in texts(bench)), "what it has written it knows"
    await session.set_shared_state({})
    await within(session.send("Empty?"))
    assert texts(bench)[-2:] == [state_told({}), "Empty?"]
    _prefixes_grow(bench.model.requests if bench.model is not None else [])


async def test_a_surface_may_have_it_told_or_not(bench: Bench) -> None:
    session = await bench.start(["1", "2", "3"])
    await session.set_shared_state({"n": 1}, tell=True)
    await within(session.send("Look."))
    assert texts(bench) == [state_told({"n": 1}), "Look."]
    await session.set_shared_state({"n": 2}, tell=False)
    await within(session.send("Look."))
    assert texts(bench)[-1] == "Look."
    assert state_told({"n": 2}) not in texts(bench)
    assert await session.set_shared_state({"n": 2}, tell=True) == {"n": 2}, "the same value, and now it is told"
    await within(session.send("Look."))
    assert texts(bench)[-2:] == [state_told({"n": 2}), "Look."]


async def test_what_a_surface_has_told_is_told_when_functions_change_it(bench: Bench) -> None:
    @godwit.tool
    async def work(context: ToolContext) -> str:
        """Work."""
        await context.patch_shared_state([add("/n", 2)])
        return "done"

    session = await bench.start([call("work"), "1", call("work"), "2"], work)
    await session.set_shared_state({"n": 1}, tell=True)
    await within(session.send("Go."))
    assert texts(bench)[-2:] == ["done", state_told({"n": 2})]
    await session.set_shared_state({"n": 1})
    await within(session.send("Go."))
    assert texts(bench)[-2:] == ["", "done"], "by default a model without the tool is told nothing"


async def test_a_process_without_the_agents_tools_has_it_told_as_well(bench: Bench) -> None:
    @godwit.tool
    async def own() -> str:
        """Something of this program."""
        return "done"

    session = await bench.start(["1"], own, "state")
    await bench.close()
    elsewhere = await bench.runtime([])
    watching = await elsewhere.open_session(session.id, drive=False)
    await watching.set_shared_state({"n": 1})
    (event,) = await data(watching, StateUpdated)
    assert event.tell


async def test_a_hundred_at_once_in_one_process(bench: Bench) -> None:
    session = await bench.start(["1"])
    await session.set_shared_state({"list": []})
    await within(asyncio.gather(*(session.patch_shared_state([add("/list/-", n)]) for n in range(100))))
    assert sorted((await session.shared_state())["list"]) == [*range(100)]


async def test_a_change_during_a_run_is_told_with_the_next_step(bench: Bench) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    @godwit.tool
    async def wait() -> str:
        """Wait."""
        entered.set()
        await release.wait()
        return "waited"

    session = await bench.start([call("wait"), "Done."], wait, "state")
    run = await session.prompt("Go.")
    await within(entered.wait())
    await session.set_shared_state({"n": 1})
    release.set()
    await within(session.wait(run))
    assert texts(bench)[-2:] == ["waited", state_told({"n": 1})]
    _prefixes_grow(bench.model.requests if bench.model is not None else [])


async def test_function_tools_read_and_change_it(bench: Bench) -> None:
    seen: list[Any] = []

    @godwit.tool
    async def work(context: ToolContext) -> str:
        """Work."""
        seen.append(context.shared_state)
        seen.append(await context.set_shared_state({"steps": []}))
        for n in range(3):
            seen.append(await context.patch_shared_state([add("/steps/-", n)]))
        seen.append(context.shared_state)
        seen[-1]["steps"].append("mine")
        seen.append(context.shared_state)
        try:
            await context.patch_shared_state([{"op": "remove", "path": "/x"}])
        except PatchFailed as error:
            return f"refused: {error.code}"
        return "not refused"

    session = await bench.start([call("work"), "Done."], work)
    await within(session.send("Go."))
    steps = [{"steps": [*range(n)]} for n in range(4)]
    assert seen[0] == {}
    assert seen[1:5] == steps
    assert seen[6] == steps[-1]
    (finished,) = await data(session, ToolFinished)
    assert text_of(finished.content) == "refused: patch_failed"
    assert [event.call for event in await data(session, StateUpdated)] == [finished.call] * 4
    assert await session.shared_state() == {"steps": [0, 1, 2]}
    # The same in a call of the host.
    seen.clear()
    result = await session.tool("work")
    assert text_of(result.content) == "refused: patch_failed"
    assert seen[0] == {"steps": [0, 1, 2]}
    assert seen[1:5] == steps
    assert seen[6] == steps[-1]


async def test_it_is_there_after_a_restart_goes_back_with_a_rewind_and_along_with_a_fork(bench: Bench) -> None:
    session = await bench.start(["1", "2", "3", "4", "5"], "state")
    await session.set_shared_state({"list": []})
    await session.patch_shared_state([add("/list/-", 1)])
    await within(session.send("One."))
    here = (await session.events())[-1].seq
    await session.patch_shared_state([add("/list/-", 2)])
    await session.patch_shared_state([add("/list/-", 3)])
    await within(session.send("Two."))
    await session.rewind(here)
    assert await session.shared_state() == {"list": [1]}
    await within(session.send("Another two."))
    assert texts(bench) == [state_told({"list": [1]}), "One.", "1", "Another two."]
    await session.rewind(1)
    assert await session.shared_state() == {}
    await session.redo()
    assert await session.shared_state() == {"list": [1]}
    fork = await session.fork()
    await fork.patch_shared_state([add("/list/-", "fork")])
    assert await session.shared_state() == {"list": [1]}
    assert await fork.shared_state() == {"list": [1, "fork"]}
    await bench.close()
    runtime = await bench.runtime(["4", "5", "6", "7", "8"])
    opened = await runtime.open_session(session.id)
    assert await opened.shared_state() == {"list": [1]}
    assert await (await runtime.open_session(fork.id)).shared_state() == {"list": [1, "fork"]}


async def test_a_summary_does_not_take_it_from_the_model(bench: Bench) -> None:
    session = await bench.start(["1", "A summary.", "2", "3"], "state")
    await session.set_shared_state({"n": 1})
    await within(session.send("One. " + "x" * 4000))
    await session.compact(keep_tokens=1)
    assert await data(session, SessionCompacted)
    await within(session.send("Two."))
    assert texts(bench)[-2:] == [state_told({"n": 1}), "Two."]
    await within(session.send("Three."))
    assert texts(bench).count(state_told({"n": 1})) == 1


def _prefixes_grow(requests: Sequence[ModelRequest]) -> None:
    """What a provider has read stays as it was, and only more comes behind it."""
    for before, now in itertools.pairwise(requests):
        assert [e.message for e in now.entries][: len(before.entries)] == [e.message for e in before.entries]
