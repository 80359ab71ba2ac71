"""Worker agents: what each kind comes to, and what becomes of questions where such an agent works for another."""

from __future__ import annotations

import pytest

from godwit.core.agent import AgentSpec
from godwit.core.errors import ConfigurationError
from godwit.core.ids import AgentName
from godwit.core.narrowing import narrowed
from godwit.core.rules import ApprovalPolicy, Permissions
from godwit.core.worker_agents import KIND_ALIASES, WorkerAgentSpec, kind_of

BOSS = AgentSpec(AgentName("boss"), ("scripted:boss",))


def worker(kind: str, **more: object) -> AgentSpec:
    return WorkerAgentSpec("w", "Works.", kind, **more).agent()  # type: ignore[arg-type]  # whatever a test gives


@pytest.mark.parametrize(
    ("kind", "turns"),
    [("read_only", 20), ("planner", 30), ("implementer", 50), ("verifier", 30), ("reviewer", 25), ("custom", 30)],
)
def test_a_kind_says_how_long_it_works(kind: str, turns: int) -> None:
    assert worker(kind).limits.max_turns == turns
    assert worker(kind, max_steps=9).limits.max_turns == 9
    assert WorkerAgentSpec("w", "Works.").agent() == worker("custom")


def test_kinds_have_other_names() -> None:
    for alias, kind in KIND_ALIASES.items():
        assert WorkerAgentSpec("w", "Works.", alias.replace("_", "-").upper()).kind == kind == kind_of(alias)
    with pytest.raises(ConfigurationError, match="kind 'wizard' is none of read_only, planner"):
        WorkerAgentSpec("w", "Works.", "wizard")


@pytest.mark.parametrize("kind", ["read_only", "planner", "verifier", "reviewer"])
def test_who_changes_nothing_has_no_tool_that_does(kind: str) -> None:
    made = worker(kind)
    assert not {"write", "edit", "patch", "files", "task"} & set(made.tools)
    assert made.permissions.default == "deny"


def test_an_implementer_may_write_and_run_but_hands_nothing_on() -> None:
    made = worker("implementer")
    assert made.tools == ("files", "bash")
    assert made.permissions == Permissions()
    assert not made.subagents


def test_what_is_said_goes_before_what_the_kind_says() -> None:
    own = Permissions(("read",), default="deny")
    made = worker("custom", model="openai:gpt-5", prompt="Be kind.", permissions=own, hidden=True)
    assert (made.models, made.instructions, made.permissions, made.hidden) == (("openai:gpt-5",), "Be kind.", own, True)
    made = worker("reviewer", prompt="Be kind.")
    assert made.models == ("inherit",)
    assert made.instructions.startswith("You review a change")
    assert made.instructions.endswith("\n\nBe kind.")


def test_what_its_rules_ask_about_is_asked_unless_it_is_said_otherwise() -> None:
    assert worker("custom").confirmation_inheritance == "inherit_parent"
    assert narrowed(worker("custom"), BOSS, home="/home/me").permissions == Permissions(default="ask")
    own = Permissions(("read",), ("bash",), ("write",), "ask")
    assert worker("custom", permissions=own).confirmation_inheritance == "auto_approve"
    assert worker("custom", permissions=own).permissions == own
    made = narrowed(worker("custom", permissions=own), BOSS, home="/home/me")
    assert made.permissions == Permissions(("read", "bash"), (), ("write",), "allow")
    assert made.approvals == ApprovalPolicy()
    made = narrowed(worker("custom", permissions=own, confirmation_inheritance="deny_on_ask"), BOSS, home="/home/me")
    assert made.permissions == own
    assert made.approvals == ApprovalPolicy(on_ask="deny")
    made = narrowed(worker("custom", permissions=own, confirmation_inheritance="inherit_parent"), BOSS, home="/home/me")
    assert (made.permissions, made.approvals) == (own, ApprovalPolicy())


def test_who_works_for_one_that_asks_nobody_asks_nobody() -> None:
    strict = AgentSpec(AgentName("boss"), ("scripted:boss",), approvals=ApprovalPolicy(on_ask="deny"))
    assert narrowed(worker("custom"), strict, home="/home/me").approvals.on_ask == "deny"


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "-a", "a@1~x", "ä", "x" * 65])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        WorkerAgentSpec(name, "Works.").agent()
