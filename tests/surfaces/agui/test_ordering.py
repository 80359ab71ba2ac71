"""Snapshots that bring messages into our order: on the screen of `screen.py`, and in the official clients."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from godwit.surfaces.agui import events as e
from godwit.surfaces.agui.inputs import AnyMessage
from godwit.surfaces.agui.ordering import Shown
from tests.loopback import Loopback, Reply

from .front import Front, Json, Version
from .screen import Screen

ROLES = {"u": "user", "a": "assistant", "r": "reasoning"}


def message(name: str) -> Json:
    return {"id": name, "role": ROLES[name[0]], "content": f"says {name}"}


def shown(names: list[str]) -> Shown:
    return Shown([msgspec.convert(message(name), AnyMessage) for name in names])


NAMES = [f"{kind}{n}" for n in range(4) for kind in ROLES]
orders = st.permutations(NAMES).flatmap(lambda names: st.integers(0, len(names)).map(lambda n: list(names[:n])))


@given(orders, orders)
def test_whatever_order_it_had_it_has_ours(has: list[str], ours: list[str]) -> None:
    bodies = [message(name) for name in ours]
    told = shown(has).snapshots(bodies, bodies)
    assert len(told) <= 2
    screen = Screen([message(name) for name in has])
    for event in told:
        screen.take(event)
    kept = [name for name in has if name[0] == "r" and name not in ours]  # a client's own, where we have none
    if any(name[0] == "r" for name in ours):
        assert [one["id"] for one in screen.messages] == ours
    else:
        assert [one["id"] for one in screen.messages if one["id"] not in kept] == ours
    assert shown(has).after(told).is_right(bodies)


@given(orders)
def test_who_has_them_in_our_order_is_told_once(names: list[str]) -> None:
    bodies = [message(name) for name in names]
    assert len(shown(names).snapshots(bodies, bodies)) == 1
    assert shown(names).is_right(bodies)


def test_what_it_is_told_stands_behind_what_it_had() -> None:
    screen = shown(["u1", "u2"])
    assert not screen.grown
    for event in (
        e.TextMessageStart(message_id="a1"),
        e.ToolCallStart(tool_call_id="c1", tool_call_name="look", parent_message_id="a1"),
        e.ToolCallStart(tool_call_id="c2", tool_call_name="look"),
        e.ToolCallResult(message_id="c2:result", tool_call_id="c2", content=""),
    ):
        screen.take(event)
    assert screen.grown
    assert screen.is_right([{"id": name} for name in ("u1", "u2", "a1", "c2", "c2:result")])
    assert not screen.is_right([{"id": name} for name in ("u1", "a1", "u2")])
    assert not screen.is_right([{"id": name} for name in ("u1", "u2", "a1", "a2")])


@pytest.mark.parametrize("version", ["1.0", "0.x"])
@pytest.mark.parametrize(
    ("has", "ours"),
    [
        (["u1", "u2", "a1", "a2"], ["u1", "a1", "u2", "a2"]),
        (["u1", "u2", "r1", "a1", "r2", "a2"], ["u1", "r1", "a1", "u2", "r2", "a2"]),
        (["u2", "r1"], ["u1", "r1", "u2"]),
    ],
)
async def test_clients_have_our_order(front: Front, version: Version, has: list[str], ours: list[str]) -> None:
    bodies = [message(name) for name in ours]
    events: list[Any] = [
        e.RunStarted(thread_id="t", run_id="r"),
        *shown(has).snapshots(bodies, bodies),
        e.RunFinished(thread_id="t", run_id="r"),
    ]
    body = b"".join(b"data: " + e.encode(event) + b"\n\n" for event in events)
    async with Loopback([Reply(body)]) as site:
        agent = await front.agent(site.url, "t", version=version, messages=[message(name) for name in has])
        ran = await agent.run()
    assert (ran.error, ran.warned) == (None, [])
    assert ran.messages == bodies


def test_results_stand_behind_their_calls() -> None:
    screen = shown(["u1"])
    for event in (
        e.ToolCallStart(tool_call_id="c1", tool_call_name="look", parent_message_id="a1"),
        e.ToolCallStart(tool_call_id="c2", tool_call_name="look", parent_message_id="a1"),
        e.TextMessageStart(message_id="a2"),
        e.ToolCallResult(message_id="c1:result", tool_call_id="c1", content=""),
        e.ToolCallResult(message_id="c2:result", tool_call_id="c2", content=""),
        e.ToolCallResult(message_id="lost", tool_call_id="c3", content=""),
    ):
        screen.take(event)
    assert screen.is_right([{"id": name} for name in ("u1", "a1", "c1:result", "c2:result", "a2", "lost")])
