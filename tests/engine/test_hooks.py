"""Calling hooks: order, matchers, changes handed on, failures, tries, time, and registering on a live session."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import godwit
from godwit.contracts import HookCall
from godwit.core.errors import ConfigurationError
from godwit.core.events import Labels
from godwit.core.hooks import INTERRUPTED, POINTS, HookMatcher, HookResult, HookSpec
from godwit.core.ids import RunId, SessionId
from godwit.engine.cancel import Cancel
from godwit.engine.hooks import ASKED_AGAIN, Hooks
from godwit.host.hooks import HOOK_KIT
from tests.engine.conftest import within

SESSION = SessionId("ses_1")
Answer = HookResult | None
CALL = {"tool": "bash", "arguments": {"command": "rm -rf /tmp/x"}, "call": "c1"}


def hooks() -> Hooks:
    made = Hooks(SESSION, HOOK_KIT)
    made.workspace = "/w"
    return made


def says(result: object, told: list[Any] | None = None, name: object = None) -> Callable[[HookCall], Awaitable[Any]]:
    """A handler that answers this; it notes its name, or the payload it was given."""

    async def handler(call: HookCall) -> Any:
        if told is not None:
            told.append(call.payload if name is None else name)
        return result

    return handler


async def hang(_: HookCall) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


# --- order and matching -------------------------------------------------------------------------------------------------


async def test_a_lower_priority_number_is_called_first_and_equal_ones_by_id() -> None:
    made, told = hooks(), list[Any]()
    for name, priority in (("b", 10), ("late", 100), ("a", 10), ("first", 5)):
        made.register(HookSpec(name, "before_turn", priority=priority), says(None, told, name))
    await made.fire("before_turn", {})
    assert told == ["first", "a", "b", "late"]
    assert [spec.id for spec in made.list()] == told


@pytest.mark.parametrize(
    ("matcher", "tool", "arguments", "expected"),
    [
        (HookMatcher(), "read", {}, True),
        (HookMatcher(tool="bash"), "bash", {}, True),
        (HookMatcher(tool="Bash"), "bash", {}, True),
        (HookMatcher(tool="bash"), "bashful", {}, False),
        (HookMatcher(tool="edit|write"), "write", {}, True),
        (HookMatcher(tool="edit | wr?te"), "write", {}, True),
        (HookMatcher(tool="mcp__mem__*"), "mcp__mem__get", {}, True),
        (HookMatcher(tool="a.c"), "abc", {}, False),
        (HookMatcher(tool_regex="^Note|Edit"), "edit", {}, True),
        (HookMatcher(tool_regex="mcp__.*"), "mcp__x__y", {}, True),
        (HookMatcher(tool_regex="^Bash$"), "bash", {}, True),
        (HookMatcher(path="*.rs"), "write", {"file_path": "src/deep/a.rs"}, True),
        (HookMatcher(path="src/**/*.rs"), "write", {"file_path": "src/file.rs"}, True),
        (HookMatcher(path="src/**/*.rs"), "write", {"file_path": "src/a/b/file.rs"}, True),
        (HookMatcher(path="src/*.rs"), "write", {"file_path": "src/a/file.rs"}, False),
        (HookMatcher(path="src/*.rs"), "write", {"file_path": "other/src/file.rs"}, False),
        (HookMatcher(path=".env"), "write", {"file_path": "a/../.env"}, True),
        (HookMatcher(path="src/*.py"), "ls", {"path": "/w/src/a.py"}, True),
        (HookMatcher(path="/etc/**"), "read", {"file_path": "/etc/ssl/x"}, True),
        (HookMatcher(path="*.{py,rs}"), "read", {"file_path": "a.rs"}, True),
        (HookMatcher(path="[!a]*.py"), "read", {"file_path": "x/b.py"}, True),
        (HookMatcher(path="[!a]*.py"), "read", {"file_path": "a.py"}, False),
        (HookMatcher(path="*"), "bash", {"command": "ls"}, False),
        (HookMatcher(command=r"rm\s+-rf"), "bash", {"command": "sudo rm  -rf /"}, True),
        (HookMatcher(command=r"^rm"), "bash", {"command": "sudo rm"}, False),
        (HookMatcher(command=r"rm"), "write", {"content": "rm"}, False),
        (HookMatcher(tool="bash", command="ls"), "bash", {"command": "pwd"}, False),
        (HookMatcher(when={"status": "ok|error"}), "bash", {}, False),
    ],
)  # fmt: skip
async def test_a_matcher_matches_when_all_of_its_fields_do(
    matcher: HookMatcher, tool: str, arguments: dict[str, Any], expected: bool
) -> None:
    made, told = hooks(), list[Any]()
    made.register(HookSpec("h", "before_tool", matcher), says(None, told))
    await made.fire("before_tool", {"tool": tool, "arguments": arguments})
    assert bool(told) == expected


async def test_a_matcher_on_a_tool_does_not_match_where_there_is_none() -> None:
    made, told = hooks(), list[Any]()
    made.register(HookSpec("h", "before_turn", HookMatcher(tool="*")), says(None, told))
    made.register(HookSpec("w", "after_run", HookMatcher(when={"outcome": "done|limited"})), says(None, told))
    await made.fire("before_turn", {"turn": 1})
    await made.fire("after_run", {"outcome": "failed"})
    assert told == []
    await made.fire("after_run", {"outcome": "limited"})
    assert told == [{"outcome": "limited"}]


@pytest.mark.parametrize(
    ("field", "pattern", "why"),
    [
        ("command", "(?<!x)rm", r"\(\?<!"),
        ("command", r"(a)\1", "invalid escape"),
        ("command", "(", r"missing \)"),
        ("tool_regex", "*", "no argument"),
        ("path", "src/{a,b", "not closed"),
        ("path", "/", "names no file"),
        ("tool", "bash|", "empty alternative"),
    ],
)
async def test_a_pattern_that_cannot_be_used_is_refused_with_its_hook_and_reason(
    field: str, pattern: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = hooks()
    made.register(HookSpec("h", "before_tool", HookMatcher(tool="old")))
    with pytest.raises(ConfigurationError, match=why) as caught:
        made.register(HookSpec("h", "before_tool", HookMatcher(**{field: pattern})))  # type: ignore[arg-type]
    assert "'h'" in caught.value.message
    assert repr(pattern) in caught.value.message
    assert made.list() == [HookSpec("h", "before_tool", HookMatcher(tool="old"))]
    assert capfd.readouterr().err == "", "the library writes errors of its own"


async def test_no_pattern_explodes_on_what_a_model_wrote() -> None:
    made = hooks()
    made.register(
        HookSpec("h", "before_tool", HookMatcher(command=r"(a|a)*(a+)+$", path="*a*a*a*a*a*a*a*a*a*b")), says(None)
    )
    before = time.process_time()
    await made.fire("before_tool", {"tool": "bash", "arguments": {"command": "a" * 30_000 + "!", "path": "a" * 30_000}})
    assert time.process_time() - before < 2


# --- chains -------------------------------------------------------------------------------------------------------------


async def test_each_hook_sees_what_the_one_before_has_changed_and_matches_on_it() -> None:
    made, told = hooks(), list[Any]()
    changed = HookResult(modified={"command": "ls"})
    made.register(HookSpec("a", "before_tool", HookMatcher(command="rm")), says(changed, told))
    made.register(HookSpec("b", "before_tool", HookMatcher(command="rm")), says(HookResult("block"), told))
    made.register(HookSpec("c", "before_tool", HookMatcher(command="ls")), says(None, told))
    result = await made.fire("before_tool", CALL)
    assert [p["arguments"]["command"] for p in told] == ["rm -rf /tmp/x", "ls"]
    assert (result.action, result.modified, result.hook) == ("continue", {"command": "ls"}, "a")


async def test_a_block_stops_the_chain_and_tells_who_and_why() -> None:
    made, told = hooks(), list[Any]()
    made.register(HookSpec("a", "before_tool"), says(HookResult("block", reason="no"), told, "a"))
    made.register(HookSpec("b", "before_tool"), says(None, told, "b"))
    result = await made.fire("before_tool", CALL)
    assert told == ["a"]
    assert (result.action, result.reason, result.hook, result.failed) == ("block", "no", "a", False)


async def test_a_block_without_a_reason_has_one() -> None:
    made = hooks()
    made.register(HookSpec("a", "before_tool"), says(HookResult("block")))
    assert (await made.fire("before_tool", CALL)).reason == "Blocked"


@pytest.mark.parametrize("first", ["allow", "escalate"])
async def test_a_later_block_beats_an_allow_and_a_question(first: Any) -> None:
    made = hooks()
    made.register(HookSpec("a", "before_tool"), says(HookResult(first, reason="x")))
    assert (await made.fire("before_tool", CALL)).action == first
    made.register(HookSpec("b", "before_tool"), says(HookResult("block", reason="y")))
    result = await made.fire("before_tool", CALL)
    assert (result.action, result.reason) == ("block", "y")


async def test_a_skip_stops_the_chain() -> None:
    made, told = hooks(), list[Any]()
    made.register(HookSpec("a", "before_tool"), says(HookResult("skip"), told, "a"))
    made.register(HookSpec("b", "before_tool"), says(HookResult("block"), told, "b"))
    assert (await made.fire("before_tool", CALL)).action == "skip"
    assert told == ["a"]


async def test_where_nobody_can_be_asked_a_question_blocks() -> None:
    made = hooks()
    made.register(HookSpec("a", "before_restore"), says(HookResult("escalate", reason="sure?")))
    result = await made.fire("before_restore", {})
    assert result.action == "block"
    assert result.reason is not None
    assert result.reason.endswith("sure?")


async def test_a_retry_asks_the_whole_point_again_after_its_delay() -> None:
    made, told = hooks(), list[Any]()

    async def busy(_: HookCall) -> Answer:
        told.append("busy")
        return HookResult("retry", delay_s=0.0) if told.count("busy") < 3 else None

    made.register(HookSpec("a", "before_tool"), says(None, told, "a"))
    made.register(HookSpec("b", "before_tool"), busy)
    assert (await made.fire("before_tool", CALL)).action == "continue"
    assert told == ["a", "busy"] * 3


async def test_a_hook_that_never_stops_asking_for_a_retry_blocks() -> None:
    made, told = hooks(), list[Any]()
    made.register(HookSpec("a", "before_tool"), says(HookResult("retry", delay_s=0.0, reason="wait"), told))
    result = await made.fire("before_tool", CALL)
    assert (result.action, result.hook, result.failed) == ("block", "a", True)
    assert len(told) == ASKED_AGAIN + 1


async def test_nothing_a_hook_does_to_its_payload_reaches_anybody() -> None:
    made, told = hooks(), list[Any]()

    async def meddle(call: HookCall) -> Answer:
        call.payload["arguments"]["command"] = "evil"
        return None

    payload = {"tool": "bash", "arguments": {"command": "ls"}}
    made.register(HookSpec("a", "before_tool"), meddle)
    made.register(HookSpec("b", "before_tool"), says(None, told))
    result = await made.fire("before_tool", payload)
    assert told[0]["arguments"] == payload["arguments"] == {"command": "ls"}
    assert result.modified is None


async def test_a_hook_is_told_of_labels_run_workspace_and_session() -> None:
    made, told = hooks(), list[HookCall]()
    made.labels = Labels(tenant="acme", principal="ada")
    made.register(HookSpec("a", "before_turn"), lambda call: told.append(call))
    await made.fire("before_turn", {"turn": 1}, run=RunId("run_1"))
    assert told == [
        HookCall("before_turn", SESSION, RunId("run_1"), Labels(tenant="acme", principal="ada"), "/w", {"turn": 1})
    ]


# --- failures -----------------------------------------------------------------------------------------------------------


async def fails(_: HookCall) -> Answer:
    raise RuntimeError("boom")


async def cancels_itself(_: HookCall) -> Answer:
    raise asyncio.CancelledError


FAILURES: dict[str, tuple[Any, str]] = {
    "raises": (fails, "RuntimeError: boom"),
    "hangs": (hang, "did not answer within 0.05 s"),
    "answers nonsense": (says("yes"), "answered str"),
    "answers true": (says(True), "answered bool"),
    "an unknown action": (says(HookResult("maybe")), "unknown action"),  # type: ignore[arg-type]
    "cannot be stored": (says(HookResult(modified={"x": object()})), "object"),
    "cancels itself": (cancels_itself, "cancelled"),
    "takes no argument": (lambda: None, "TypeError"),
    "raises in a thread": (lambda call: call.nonsense, "AttributeError"),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_a_gating_hook_that_fails_blocks(kind: str) -> None:
    made, told = hooks(), list[Any]()
    handler, why = FAILURES[kind]
    made.register(HookSpec("guard", "before_tool", timeout_s=0.05), handler)
    made.register(HookSpec("later", "before_tool"), says(None, told))
    result = await within(made.fire("before_tool", CALL))
    assert (result.action, result.hook, result.failed) == ("block", "guard", True)
    assert result.reason is not None
    assert result.reason.startswith("Required hook 'guard' failed: ")
    assert why in result.reason
    assert told == []


@pytest.mark.parametrize("kind", FAILURES)
async def test_elsewhere_a_failure_is_recorded_and_passed_over(kind: str) -> None:
    made, told = hooks(), list[Any]()
    handler, why = FAILURES[kind]
    made.register(HookSpec("note", "after_tool", timeout_s=0.05), handler)
    made.register(HookSpec("other", "after_tool"), says(HookResult(note="seen"), told))
    result = await within(made.fire("after_tool", CALL | {"result": "x"}))
    assert (result.action, result.note) == ("continue", "seen")
    assert len(told) == 1
    (report,) = made.take_reports()
    assert (report.hook, report.point, report.failed) == ("note", "after_tool", True)
    text = report.text
    assert why in text or "may have" in text


async def test_a_failed_hook_is_tried_again_with_the_same_payload() -> None:
    made, told = hooks(), list[Any]()

    async def second_time(call: HookCall) -> Answer:
        told.append(dict(call.payload))
        call.payload.clear()
        if len(told) == 1:
            raise RuntimeError
        return HookResult("allow")

    made.register(HookSpec("h", "before_tool", retries=2), second_time)
    assert (await made.fire("before_tool", CALL)).action == "allow"
    assert told == [CALL, CALL]


async def test_tries_are_counted() -> None:
    made, told = hooks(), list[Any]()
    made.register(HookSpec("h", "before_tool", retries=2), says("nonsense", told))
    assert (await made.fire("before_tool", CALL)).failed
    assert len(told) == 3


async def test_a_handler_that_ignores_its_cancellation_is_left_to_itself() -> None:
    made, go = hooks(), asyncio.Event()
    ended = []

    async def stubborn(_: HookCall) -> Answer:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        ended.append(True)
        return HookResult("allow")

    made.register(HookSpec("h", "before_tool", timeout_s=0.01), stubborn)
    assert (await within(made.fire("before_tool", CALL))).failed
    assert ended == []
    go.set()
    await within(asyncio.wait(made.cut_off()))
    assert ended == [True]


async def test_a_function_without_async_runs_beside_and_may_hang_too() -> None:
    made, go, threads = hooks(), threading.Event(), list[str]()

    def slow(_: HookCall) -> Answer:
        threads.append(threading.current_thread().name)
        go.wait(20)
        return HookResult("allow")

    made.register(HookSpec("h", "before_tool", timeout_s=0.05), slow)
    assert (await within(made.fire("before_tool", CALL))).failed
    go.set()
    assert (await within(made.fire("before_tool", CALL))).action == "allow"
    assert threads == ["godwit-hook", "godwit-hook"]


async def test_an_interrupt_cuts_a_hanging_hook_off() -> None:
    made, cancel = hooks(), Cancel()
    started = asyncio.Event()

    async def hanging(call: HookCall) -> Answer:
        started.set()
        return await hang(call)

    made.register(HookSpec("h", "before_tool"), hanging)
    firing = asyncio.ensure_future(made.fire("before_tool", CALL, cancel=cancel))
    await within(started.wait())
    cancel.cancel()
    assert await within(firing) is INTERRUPTED
    assert await made.fire("before_tool", CALL, cancel=cancel) is INTERRUPTED


async def test_an_interrupt_cuts_a_delay_off() -> None:
    made, cancel = hooks(), Cancel()
    asked = asyncio.Event()

    async def busy(_: HookCall) -> Answer:
        asked.set()
        return HookResult("retry", delay_s=50)

    made.register(HookSpec("h", "before_tool"), busy)
    firing = asyncio.ensure_future(made.fire("before_tool", CALL, cancel=cancel))
    await within(asked.wait())
    await asyncio.sleep(0)
    cancel.cancel()
    assert await within(firing) is INTERRUPTED


async def test_after_a_step_nothing_is_blocked_but_the_model_is_told() -> None:
    made = hooks()
    made.register(HookSpec("h", "after_tool"), says(HookResult("block", reason="the linter is unhappy")))
    result = await made.fire("after_tool", CALL | {"result": "x"})
    assert (result.action, result.note) == ("continue", "the linter is unhappy")


async def test_a_long_text_is_cut() -> None:
    made = hooks()
    made.register(HookSpec("h", "before_tool"), says(HookResult("block", reason="x" * 100_000)))
    reason = (await made.fire("before_tool", CALL)).reason
    assert reason is not None
    assert len(reason) < 20_000
    assert "left out" in reason


async def test_a_background_hook_is_not_waited_for_and_its_failure_is_recorded() -> None:
    made, go = hooks(), asyncio.Event()

    async def later(_: HookCall) -> Answer:
        await go.wait()
        raise RuntimeError("late")

    made.register(HookSpec("h", "after_tool", background=True), later)
    assert (await within(made.fire("after_tool", CALL | {"result": ""}))).action == "continue"
    left = list(made._left or ())
    go.set()
    await within(asyncio.wait(left))
    assert made.take_reports()[0].text == "RuntimeError: late"


async def test_what_runs_in_the_background_is_cut_off_at_the_end() -> None:
    made = hooks()
    made.register(HookSpec("h", "after_tool", background=True), hang)
    await made.fire("after_tool", CALL | {"result": ""})
    left = made.cut_off()
    assert left
    await within(asyncio.wait(left))


async def test_a_message_for_people_is_reported() -> None:
    made = hooks()
    made.register(HookSpec("h", "before_turn"), says(HookResult(message="mind the step")))
    await made.fire("before_turn", {})
    assert [(r.text, r.failed) for r in made.take_reports()] == [("mind the step", False)]


# --- who is there -------------------------------------------------------------------------------------------------------


async def test_without_handler_and_command_a_hook_lets_everything_pass() -> None:
    made = hooks()
    made.register(HookSpec("h", "before_tool"))
    assert (await made.fire("before_tool", CALL)).action == "continue"


async def test_a_required_hook_without_a_handler_blocks() -> None:
    made = hooks()
    made.register(HookSpec("h", "before_tool", required=True))
    made.register(HookSpec("n", "after_tool", required=True))
    result = await made.fire("before_tool", CALL)
    assert (result.action, result.failed) == ("block", True)
    assert result.reason is not None
    assert "no handler in this process" in result.reason
    assert (await made.fire("after_tool", CALL)).action == "continue"


async def test_hooks_and_handlers_come_and_go_apart_from_one_another() -> None:
    made = hooks()
    one, other = HookSpec("h", "before_tool"), HookSpec("h", "before_tool", priority=1)
    made.register_handler("h", says(HookResult("block", reason="1")))
    assert made.register(one) is None
    assert made.count == 1
    assert made.register(other) == one
    assert made.count == 1
    assert (await made.fire("before_tool", CALL)).reason == "1"
    made.register_handler("h", says(HookResult("block", reason="2")))
    assert (await made.fire("before_tool", CALL)).reason == "2"
    made.unregister_handler("h")
    made.unregister_handler("h")
    assert (await made.fire("before_tool", CALL)).action == "continue"
    assert made.unregister("h") == other
    assert made.unregister("h") is None
    assert made.count == 0
    with pytest.raises(ConfigurationError, match="cannot be called"):
        made.register_handler("h", "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no hook"):
        made.register("x")  # type: ignore[arg-type]


async def test_a_handler_takes_the_place_of_a_command() -> None:
    made = hooks()
    made.register(HookSpec("h", "before_turn", command="echo no >&2; exit 2"), says(None))
    made.workspace = None
    assert (await made.fire("before_turn", {})).action == "continue"
    made.unregister_handler("h")
    assert (await made.fire("before_turn", {})).reason == "no"


async def test_the_agents_hooks_are_adopted_once_and_what_was_done_by_hand_stays() -> None:
    made = hooks()
    agents = (HookSpec("a", "before_tool"), HookSpec("b", "before_tool"))
    made.register(HookSpec("mine", "before_tool"))
    made.adopt(agents, {"a": says(HookResult("block", reason="a"))})
    assert (made.count, (await made.fire("before_tool", CALL)).reason) == (3, "a")
    made.unregister("a")
    made.adopt(agents, {"a": says(HookResult("block", reason="a"))})
    assert [s.id for s in made.list()] == ["b", "mine"]
    made.adopt((HookSpec("c", "before_tool"),), {})
    assert [s.id for s in made.list()] == ["c", "mine"]


async def test_unregistering_from_within_a_hook_does_not_disturb_the_chain() -> None:
    made, told = hooks(), list[Any]()

    async def leave(_: HookCall) -> Answer:
        made.unregister("a")
        made.unregister("b")
        return None

    made.register(HookSpec("a", "before_turn"), leave)
    made.register(HookSpec("b", "before_turn"), says(None, told, "b"))
    await made.fire("before_turn", {})
    assert (told, made.count) == (["b"], 0)


def test_the_decorator_makes_a_hook_of_a_function() -> None:
    @godwit.hook("PreToolUse", tool="bash", command="rm", priority=3)
    async def careful(_: HookCall) -> HookResult:
        return HookResult("block")

    assert careful.spec == HookSpec(
        "careful", "before_tool", HookMatcher(tool="bash", command="rm"), priority=3, required=True
    )
    with pytest.raises(ConfigurationError, match="did you mean"):
        godwit.hook("before_toll")
    with pytest.raises(ConfigurationError, match="no hook"):
        godwit.Agent("a", model="m:x", hooks=[lambda _: None])  # type: ignore[list-item]


async def test_where_no_hook_is_registered_nothing_is_asked() -> None:
    made = hooks()
    made.register(HookSpec("h", "before_tool"), says(None))
    wanted = [point for point in POINTS if made.wants(point)]
    assert wanted == ["before_tool"]
    payload: Any = object()  # would fail if anybody looked at it
    assert (await made.fire("before_turn", payload)).action == "continue"


# --- chains, as they come -------------------------------------------------------------------------------------------------

links = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["continue", "allow", "escalate", "skip", "block", "raise", "nonsense", "modify"]),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(links, max_size=6))
def test_no_order_of_hooks_lets_through_what_one_of_them_blocks(chain: list[tuple[int, str, bool]]) -> None:
    """Against a plain reading of the rules: sorted, each matching one asked until one ends it, the strictest kept."""
    called: list[str] = []

    def handler(name: str, kind: str) -> Callable[[HookCall], Awaitable[Any]]:
        async def answer(call: HookCall) -> Any:
            called.append(name)
            if kind == "raise":
                raise RuntimeError(name)
            if kind == "nonsense":
                return 7
            if kind == "modify":
                return HookResult(modified={"by": name, "before": call.payload["arguments"].get("by")})
            return HookResult(kind, reason=name)  # type: ignore[arg-type]

        return answer

    made = hooks()
    for number, (priority, kind, matches) in enumerate(chain):
        name = f"h{number}"
        matcher = HookMatcher(tool="bash" if matches else "other")
        made.register(HookSpec(name, "before_tool", matcher, priority=priority), handler(name, kind))
    result = asyncio.run(made.fire("before_tool", {"tool": "bash", "arguments": {}}))

    expected, strictness, by = [], {"continue": 0, "allow": 1, "escalate": 2, "skip": 3, "block": 4}, None
    action = "continue"
    for priority, name, kind in sorted((p, f"h{n}", k) for n, (p, k, m) in enumerate(chain) if m):
        assert priority >= 0
        expected.append(name)
        means = {"raise": "block", "nonsense": "block", "modify": "continue"}.get(kind, kind)
        by = name if kind == "modify" else by
        action = max(action, means, key=lambda a: strictness[a])
        if means in ("block", "skip"):
            break
    assert called == expected
    assert result.action == action
    assert (result.modified or {}).get("by") == by
