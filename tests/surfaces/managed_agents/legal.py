"""What holds of every list of projected events, whatever happened: said once, for walks and for real sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anthropic._models import validate_type
from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent

from godwit.surfaces.managed_agents.projected import Projected

PAIRS = {
    "session.status_running": "session.thread_status_running",
    "session.thread_status_idle": "session.status_idle",
    "session.thread_status_rescheduled": "session.status_rescheduled",
    "session.thread_status_terminated": "session.status_terminated",
}


def check(shown: Sequence[Projected], *, whole: bool = True) -> None:
    """`whole`: they begin with the session's first."""
    places = [p.place for p in shown]
    assert places == sorted(set(places)), "places grow, and each is one event's"
    waited: set[str] = set()
    once: set[str] = set()
    for p in shown:
        validate_type(type_=BetaManagedAgentsSessionEvent, value=p.body)  # type: ignore[arg-type]
        assert p.body["id"] not in once, "an id is used once, but for a message that waited"
        (once if p.waiting is None else waited).add(p.body["id"])
        assert (p.body["processed_at"] is None) == (p.waiting is not None)
    if whole:
        order([p.body for p in shown])


def order(bodies: Sequence[dict[str, Any]]) -> None:
    """The order in which a client may see them."""
    status, span, after_pair = "idle", None, None
    uses: dict[str, str] = {}
    asked: set[str] = set()
    done: set[str] = set()
    for number, body in enumerate(bodies):
        kind = body["type"]
        if after_pair is not None:
            assert kind == after_pair, f"{kind} stands between a session's status and its thread's"
            after_pair = None
        elif kind in PAIRS:
            after_pair = PAIRS[kind]
        else:
            assert kind not in PAIRS.values(), kind
        assert status != "terminated" or kind == "session.status_terminated", "nothing follows the end"
        match kind:
            case "session.status_running":
                assert status in ("idle", "rescheduling")
                status = "running"
            case "session.thread_status_idle":
                assert span is None
                status = "idle"
                assert body["stop_reason"] == bodies[number + 1]["stop_reason"]
                if body["stop_reason"]["type"] == "requires_action":
                    assert set(body["stop_reason"]["event_ids"]) <= set(uses)
            case "session.thread_status_rescheduled":
                assert status == "running"
                status = "rescheduling"
            case "session.thread_status_terminated":
                status = "terminated"
            case "span.model_request_start":
                assert span is None, "one span at a time"
                assert status == "running"
                span = body["id"]
            case "span.model_request_end":
                assert body["model_request_start_id"] == span, "a span's end names its start"
                span = None
            case "agent.message" | "agent.thinking":
                assert span is not None, "what the model says stands within its span"
                assert status == "running"
            case "agent.tool_use" | "agent.custom_tool_use" | "agent.mcp_tool_use":
                assert status == "running"
                uses[body["id"]] = kind
                if body.get("evaluated_permission") == "ask":
                    asked.add(body["id"])
            case "agent.tool_result":
                assert uses[body["tool_use_id"]] == "agent.tool_use"
                assert status == "running"
                assert body["tool_use_id"] not in done
                done.add(body["tool_use_id"])
            case "user.custom_tool_result":
                assert uses[body["custom_tool_use_id"]] == "agent.custom_tool_use"
                assert body["custom_tool_use_id"] not in done
                done.add(body["custom_tool_use_id"])
            case "user.tool_result":
                assert uses[body["tool_use_id"]] == "agent.tool_use"
                assert body["tool_use_id"] not in done
                done.add(body["tool_use_id"])
            case "user.tool_confirmation":
                assert body["tool_use_id"] in uses
            case _:
                pass
    assert after_pair is None
