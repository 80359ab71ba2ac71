"""Runs that are held to checks, and what pays for these."""

from __future__ import annotations

import os
import sys

import pytest

import godwit
from godwit.contracts import BudgetCheck
from godwit.core.budget import Budget, BudgetDecision
from godwit.core.errors import RunFailed
from godwit.core.events import RunFinished, UserMessage
from godwit.core.hooks import HookResult
from godwit.core.messages import ToolResult, text_of
from godwit.core.senders import VERIFICATION
from godwit.core.verification import VerificationCommand, VerificationPolicy, commands_of
from godwit.models.script import call
from tests.engine.conftest import Bench, data, until_type, within
from tests.engine.verification_words import commands_run, hook, reports, writes

# Without bytecode: a file that is mended within a second, with as many bytes, would be read as it was.
PYTEST = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {sys.executable} -B -m pytest -q -p no:cacheprovider"


async def test_a_run_is_done_once_its_checks_pass(bench: Bench) -> None:
    session = await bench.start([writes("made", "x"), "Done."], "files", verification=["test -e made"])
    result = await session.send("Make it.")
    assert (result.outcome, result.text, result.verified) == ("done", "Done.", True)
    assert result.verification is not None
    assert (result.verification.subject, result.verification.source) == ("workspace", "run")
    assert result.verification_summary().status == "passed"
    assert not result.has_pending_verification()
    assert await session.verification_reports() == [result.verification]
    (finished,) = await data(session, RunFinished)
    reported = next(e for e in await session.events() if e.type == "verification.reported")
    assert finished.verification == reported.seq
    assert reported.run == result.run
    assert {e.run for e in await session.events() if getattr(e.data, "origin", "") == "verification"} == {result.run}


SUMS = "def add(a, b):\n    return a - b\n"


TESTS = "from sums import add\n\n\ndef test_add():\n    assert add(2, 2) == 4\n"


async def test_failures_go_back_to_the_model_until_a_real_project_passes(bench: Bench) -> None:
    (bench.workspace / "test_sums.py").write_text(TESTS)
    session = await bench.start(
        [
            writes("sums.py", SUMS),
            "It is done.",
            call("edit", file_path="sums.py", old_string="a - b", new_string="a + b"),
            "Now it is.",
        ],
        "files",
        verification=[VerificationCommand("tests", PYTEST)],
    )
    result = await session.send("Write sums.py.")
    assert (result.outcome, result.text, result.verified, result.turns) == ("done", "Now it is.", True, 4)
    first, second = await reports(session)
    assert (first.status, second.status) == ("failed", "passed")
    assert (await session.verification_summary()).status == "passed"
    (told,) = [m for m in await data(session, UserMessage) if m.delivery == "steer"]
    assert told.sender == VERIFICATION
    text = text_of(told.content)
    assert "attempt 1 of 3" in text
    assert f"tests: verification command exited with code 1: {PYTEST}" in text
    assert "assert 0 == 4" in text, "the end of what pytest said"
    assert bench.model is not None
    assert text in [text_of(m.content) for m in await session.history() if not isinstance(m, ToolResult)]


async def test_a_model_that_says_done_forever_is_not_believed(bench: Bench) -> None:
    session = await bench.start(["Done.", "Really.", "Yes!", "no more"], verification=VerificationPolicy(
        (VerificationCommand("never", "echo broken; false"),), only_if_changed=False))  # fmt: skip
    with pytest.raises(RunFailed) as failed:
        await within(session.send("Do it."))
    result = failed.value.result
    assert (result.outcome, result.error.code, result.turns, result.verified) == ("failed", "unverified", 3, False)
    assert result.verification.status == "failed"
    assert result.error.details == {"report": result.error.details["report"], "attempts": 3, "checks": ["never"]}
    assert "after 3 verifications these checks do not pass: never" in result.error.message
    assert len(await reports(session)) == 3
    assert await session.status() == "idle"
    assert bench.model is not None
    assert len(bench.model.requests) == 3


async def test_one_attempt_makes_a_failure_final(bench: Bench) -> None:
    policy = VerificationPolicy((VerificationCommand("never", "false"),), max_attempts=1, only_if_changed=False)
    session = await bench.start(["Done."], verification=policy)
    with pytest.raises(RunFailed, match="after 1 verification these checks do not pass"):
        await session.send("Do it.")
    assert [m.delivery for m in await data(session, UserMessage)] == ["prompt"]


async def test_a_run_that_changed_nothing_is_not_verified(bench: Bench) -> None:
    (bench.workspace / "file").write_text("x")
    session = await bench.start(
        ["Hello.", call("read", file_path="file"), "I have read it.", call("bash", command="ls"), "I have looked."],
        "files",
        "bash",
        verification=["touch verified"],
    )
    for prompt, expected in (("Hi.", None), ("Read.", None), ("Look.", True)):
        result = await session.send(prompt)
        assert (result.outcome, result.verified) == ("done", expected)
    assert (bench.workspace / "verified").exists()


async def test_a_call_that_was_refused_has_changed_nothing(bench: Bench) -> None:
    session = await bench.start(
        [call("bash", command="true"), "I may not."], "bash", permissions={"bash": "deny"}, verification=["touch verified"]
    )
    assert (await session.send("Go.")).verified is None
    assert not (bench.workspace / "verified").exists()


async def test_presets_of_the_workspace_hold_a_run_too(bench: Bench) -> None:
    (bench.workspace / "Makefile").write_text("test:\n\t@test -e made\nlint:\n\t@touch linted\n")
    policy = VerificationPolicy((VerificationCommand("mine", "true"),), presets=True)
    session = await bench.start([writes("made", ""), "Done."], "files", verification=policy)
    result = await session.send("Make it.")
    assert result.verification is not None
    assert [(c.id, c.status) for c in result.verification.checks] == [("mine", "passed"), ("make:test", "passed")]
    assert not (bench.workspace / "linted").exists(), "what is not required holds nobody"


async def test_where_there_is_nothing_to_check_a_run_is_done_and_not_called_verified(bench: Bench) -> None:
    session = await bench.start([writes("made", ""), "Done."], "files", verification=VerificationPolicy(presets=True))
    result = await session.send("Make it.")
    assert (result.outcome, result.verified) == ("done", None)
    assert result.verification_summary().status == "skipped"


async def test_a_flaky_check_passes_when_it_passes(bench: Bench) -> None:
    flaky = "test -e once || { touch once; exit 1; }"
    session = await bench.start([writes("made", ""), "Done.", "I think it was flaky."], "files", verification=[flaky])
    result = await session.send("Make it.")
    assert (result.outcome, result.verified, result.text) == ("done", True, "I think it was flaky.")
    assert [r.status for r in await reports(session)] == ["failed", "passed"]


async def test_a_check_that_hangs_is_ended_by_its_timeout_and_told(bench: Bench) -> None:
    hangs = VerificationCommand("hangs", "echo waiting; sleep 60", timeout_s=0.3)
    policy = VerificationPolicy((hangs,), max_attempts=2)
    session = await bench.start([writes("made", ""), "Done.", "Still."], "files", verification=policy)
    with pytest.raises(RunFailed):
        await within(session.send("Make it."))
    (told,) = [text_of(m.content) for m in await data(session, UserMessage) if m.sender == VERIFICATION]
    assert "hangs: verification command timed out after 0.3 s: echo waiting; sleep 60\nwaiting" in told


async def test_only_the_end_of_an_output_is_given_back(bench: Bench) -> None:
    commands = [VerificationCommand(f"c{n}", f"seq 1 100000; echo last of {n}; exit 1") for n in range(7)]
    policy = VerificationPolicy(tuple(commands), max_attempts=2)
    session = await bench.start([writes("made", ""), "Done.", "Still."], "files", verification=policy)
    with pytest.raises(RunFailed):
        await within(session.send("Make it."))
    (told,) = [text_of(m.content) for m in await data(session, UserMessage) if m.sender == VERIFICATION]
    assert len(told) < 25_000
    assert "last of 4" in told
    assert "Likewise: c5, c6" in told


async def test_a_run_without_turns_left_ends_limited(bench: Bench) -> None:
    session = await bench.start(
        [writes("made", ""), "Done."], "files", verification=["false"], limits=godwit.Limits(max_turns=2)
    )
    result = await session.send("Make it.")
    assert (result.outcome, result.error.code if result.error else "", result.verified) == ("limited", "max_turns", False)


async def test_a_resumed_run_is_held_to_the_checks_as_well(bench: Bench) -> None:
    policy = VerificationPolicy((VerificationCommand("never", "false"),), max_attempts=2)
    session = await bench.start(
        [writes("made", ""), "Done."], "files", verification=policy, limits=godwit.Limits(max_turns=2)
    )
    first = await session.send("Make it.")
    assert first.outcome == "limited"
    assert bench.model is not None
    bench.model._turns += ["I go on.", "Still done."]
    with pytest.raises(RunFailed) as failed:
        await session.resume_run(first.run)
    assert failed.value.result.error.code == "unverified"


async def test_blocked_checks_hold_a_run_and_skipped_ones_do_not(bench: Bench) -> None:
    session = await bench.start(
        [writes("made", ""), "Done.", writes("made", "2"), "Done too."], "files", verification=["true"]
    )
    answer = HookResult("block", "no machine is free")
    hook(session, "before_verification", lambda _: answer)
    with pytest.raises(RunFailed, match="do not pass: true") as failed:
        await session.send("Make it.")
    result = failed.value.result
    assert result.has_pending_verification()
    assert len(await reports(session)) == 1, "the model can do nothing about it, so it is not told"
    answer = HookResult("skip")
    assert (await session.send("Again.")).verified is None


def checks_held(*commands: str) -> VerificationPolicy:
    return VerificationPolicy(commands_of(commands), only_if_changed=False)


async def test_a_budget_that_is_met_between_two_checks_ends_the_run_as_limited(bench: Bench) -> None:
    session = await bench.start(["Done."], verification=checks_held("true", "echo 2", "echo 3"), budget=Budget(tool_calls=2))
    result = await session.send("Go.")
    assert (result.outcome, result.error.code if result.error else "") == ("limited", "budget_exhausted")
    assert await commands_run(session) == ["true", "echo 2"]
    assert await reports(session) == []


async def test_a_budget_may_ask_for_more_and_the_rest_of_the_checks_is_run_then(bench: Bench) -> None:
    budget = Budget(tool_calls=2, on_limit="ask")
    session = await bench.start(["Done."], verification=checks_held("true", "echo 2", "echo 3"), budget=budget)
    run = await session.prompt("Go.")
    await until_type(session, "run.parked")
    (asked,) = await session.approvals.pending()
    assert asked.name == "budget"
    assert await session.approve(asked.id)
    result = await within(session.wait(run))
    assert (result.outcome, result.verified) == ("done", True)
    assert await commands_run(session) == ["true", "echo 2", "echo 3"]


class Stingy:
    """Lets models be asked, and no tool run."""

    async def before_tool(self, check: BudgetCheck) -> BudgetDecision:
        return BudgetDecision("deny", "tools", reason=f"no {check.tool} today")


async def test_a_guard_that_denies_a_check_of_the_host_leaves_it_failed(bench: Bench) -> None:
    session = await bench.start(["Done."], verification=checks_held("true"))
    session.set_budget_guard(Stingy())  # type: ignore[arg-type]
    (check,) = (await session.verify_commands("s", ["touch x"])).checks
    assert check.status == "failed"
    assert check.residual_risk == ("verification command could not run: Budget exhausted on 'tools': no bash today")
    result = await session.send("Go.")
    assert (result.outcome, result.error.code if result.error else "") == ("limited", "budget_exhausted")
    assert os.listdir(bench.workspace) == []
