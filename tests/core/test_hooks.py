"""Points and their other names, what may be answered, and how answers combine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from godwit.core.errors import ConfigurationError
from godwit.core.hooks import (
    ABSENT,
    ALIASES,
    ASKING,
    GATING,
    LATER,
    MODIFIABLE,
    POINTS,
    SKIPPABLE,
    HookAction,
    HookPoint,
    HookResult,
    HookSpec,
    applied,
    folded,
    point_named,
    problem_of,
)

SEED_NAMES = (  # noqa: SIM905
    "pre_tool_use post_tool_use permission_request pre_compact post_compact generate_start generate_end session_start"
    " session_end skill_load skill_unload pre_prompt post_response on_error pre_context_perception"
    " post_context_perception on_success pre_memory_recall post_memory_recall pre_planning post_planning pre_reasoning"
    " post_reasoning on_rate_limit on_confirmation intent_detection"
).split()
CLAUDE_NAMES = (  # noqa: SIM905
    "PreToolUse PostToolUse PostToolUseFailure UserPromptSubmit PermissionRequest Notification Stop StopFailure"
    " SubagentStart SubagentStop PreCompact PostCompact SessionStart SessionEnd Setup"
).split()


def test_all_twenty_six_names_of_the_seed_and_those_of_claude_code_are_known() -> None:
    assert len(SEED_NAMES) == 26
    for name in (*SEED_NAMES, *CLAUDE_NAMES):
        assert name in POINTS or name in ALIASES or name in LATER or name in ABSENT, name


@pytest.mark.parametrize(("alias", "point"), sorted(ALIASES.items()))
def test_an_alias_is_read_and_never_written(alias: str, point: str) -> None:
    spec = HookSpec("h", alias)  # type: ignore[arg-type]  # by another's name
    assert spec.point == point
    assert point in POINTS


@pytest.mark.parametrize("name", sorted(LATER))
def test_a_point_of_a_capability_that_is_not_there_yet_says_so(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{LATER[name]}.*does not have yet"):
        point_named(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("before_tol", "did you mean 'before_tool'"), ("PreToolUze", "did you mean 'PreToolUse'"), ("x", "there are before_")],
)
def test_an_unknown_point_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        HookSpec("h", name)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "fields",
    [
        {"id": " "},
        {"timeout_s": 0},
        {"timeout_s": float("inf")},
        {"timeout_s": float("nan")},
        {"retries": -1},
        {"background": True},
        {"command": "  "},
    ],
)
def test_a_hook_that_cannot_work_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        HookSpec(**{"id": "h", "point": "before_tool", **fields})


def test_the_defaults_are_those_of_the_seed() -> None:
    spec = HookSpec("h", "before_tool")
    assert (spec.priority, spec.timeout_s, spec.retries, spec.background) == (100, 30.0, 0, False)


def test_every_set_of_points_holds_points() -> None:
    assert set(POINTS) >= GATING | SKIPPABLE | ASKING | set(MODIFIABLE)
    assert ASKING <= GATING


@pytest.mark.parametrize(
    ("point", "answer", "why"),
    [
        ("before_tool", True, "no HookResult"),
        ("before_tool", {"action": "block"}, "no HookResult"),
        ("before_tool", HookResult("banana"), "unknown action"),  # type: ignore[arg-type]
        ("before_tool", HookResult(reason=7), "reason is int"),  # type: ignore[arg-type]
        ("before_tool", HookResult("retry", delay_s=-1), "delay_s"),
        ("before_tool", HookResult("retry", delay_s=float("nan")), "delay_s"),
        ("before_tool", HookResult("retry", delay_s=True), "delay_s"),
        ("before_tool", HookResult(modified=[1]), "modified is list"),  # type: ignore[arg-type]
        ("before_turn", HookResult(modified={"a": 1}), "nothing can be modified"),
        ("before_turn", HookResult("skip"), "cannot be left out"),
        ("before_prompt", HookResult(modified={"text": "x"}), "may have prompt, content"),
        ("after_tool", HookResult(modified={}), "may have result"),
    ],
)
def test_an_answer_that_makes_no_sense_is_seen(point: HookPoint, answer: object, why: str) -> None:
    problem = problem_of(point, answer)
    assert problem is not None
    assert why in problem


@pytest.mark.parametrize(
    ("point", "modified"),
    [
        ("before_prompt", {"prompt": 7}),
        ("before_prompt", {"content": []}),
        ("before_prompt", {"content": [{"type": "nonsense"}]}),
        ("after_tool", {"result": ["x"]}),
        ("before_command", {"arguments": {"a": 1}}),
    ],
)
def test_a_modification_that_cannot_be_read_is_refused(point: HookPoint, modified: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="modified"):
        applied(point, {"prompt": "x", "content": [], "result": "x", "arguments": ""}, modified)


def test_a_new_prompt_keeps_what_is_no_text() -> None:
    image = {"type": "image", "data": "AAAA", "media_type": "image/png"}
    payload = {"prompt": "old", "content": [{"type": "text", "text": "old"}, image]}
    after = applied("before_prompt", payload, {"prompt": "new"})
    assert after["prompt"] == "new"
    assert [b["type"] for b in after["content"]] == ["text", "image"]
    assert applied("before_prompt", payload, {"content": "only this"})["content"] == [{"type": "text", "text": "only this"}]


ACTIONS: tuple[HookAction, ...] = ("continue", "allow", "escalate", "skip", "retry", "block")
results = st.builds(
    HookResult,
    st.sampled_from(ACTIONS),
    reason=st.none() | st.text(max_size=3),
    modified=st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), min_size=1),
    note=st.none() | st.text(min_size=1, max_size=3),
    hook=st.sampled_from(["h1", "h2", "h3"]),
    end_run=st.booleans(),
)


@given(st.lists(results, max_size=6))
def test_of_several_answers_the_strictest_wins_and_nothing_is_lost(answers: list[HookResult]) -> None:
    whole = HookResult()
    for answer in answers:
        whole = folded(whole, answer)
    strictest = max((ACTIONS.index(a.action) for a in answers), default=0)
    assert whole.action == ACTIONS[strictest]
    if whole.action != "continue":
        first = next(a for a in answers if a.action == whole.action)
        assert (whole.reason, whole.hook) == (first.reason, first.hook)
    changed = [a.modified for a in answers if a.modified is not None]
    assert whole.modified == (changed[-1] if changed else None)
    assert whole.end_run == any(a.end_run for a in answers)
    assert (whole.note or "") == "\n".join(a.note for a in answers if a.note)
