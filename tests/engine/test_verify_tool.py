"""The tool by which a model has the checks run itself."""

from __future__ import annotations

import asyncio

import godwit
from godwit.contracts import BudgetCheck
from godwit.core.budget import Budget, BudgetDecision
from godwit.core.events import InputDelivered, UserMessage
from godwit.core.messages import ToolResult
from godwit.core.verification import VerificationCommand
from godwit.models.script import Script, call
from tests.engine.conftest import Bench, data, until_type, within
from tests.engine.verification_words import WAITS, begun, commands_run, reports, writes


async def test_the_model_can_have_the_checks_run_itself(bench: Bench) -> None:
    session = await bench.start(
        [call("verify"), writes("a", "x"), call("verify"), "Done."],
        "files",
        "verify",
        verification=[VerificationCommand("there", "echo looking; test -e a")],
    )
    result = await session.send("Make it.")
    assert (result.outcome, result.verified) == ("done", True)
    first, _, second = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert (first.status, second.status) == ("error", "ok")
    assert "there: verification command exited with code 1" in first.text
    assert "looking" in first.text
    assert second.text == "All checks pass: there"
    assert [(r.source, r.status) for r in await reports(session)] == [
        ("tool", "failed"),
        ("tool", "passed"),
        ("run", "passed"),
    ]
    assert (await session.verification_summary()).report_count == 1, "all of them are about the same work"


async def test_the_tool_decides_nothing_and_needs_no_policy(bench: Bench) -> None:
    (bench.workspace / "Makefile").write_text("check:\n\t@exit 3\n")
    session = await bench.start([call("verify"), "It fails."], "verify")
    result = await session.send("Check it.")
    assert (result.outcome, result.verification) == ("done", None)
    (told,) = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert "make:check: verification command exited with code 2: make check" in told.text


async def test_the_tool_where_there_is_nothing_to_check(bench: Bench) -> None:
    session = await bench.start([call("verify"), "So be it."], "verify")
    await session.send("Check it.")
    (told,) = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert (told.status, told.text) == ("ok", "There is nothing to verify here: no checks are known for this project.")


async def test_an_interrupt_ends_the_tool_and_its_command(bench: Bench) -> None:
    session = await bench.start([call("verify")], "verify", verification=[f"{WAITS}; true"])
    run = await session.prompt("Check it.")
    await begun(session)
    assert await within(session.interrupt())
    assert (await session.wait(run)).outcome == "interrupted"
    assert await reports(session) == []
    assert (await session.state()).own_calls == ()


async def test_a_budget_that_is_met_within_the_tool_asks_for_more(bench: Bench) -> None:
    """The call ends without a report and says so, the run waits with the question, and goes on when there is more."""
    script: Script = [call("verify"), call("verify"), "Done."]
    session = await bench.start(
        script,
        "verify",
        verification=["echo 1", "echo 2"],
        budget=Budget(tool_calls=2, on_limit="ask"),
    )
    run = await session.prompt("Check it.")
    await until_type(session, "run.parked")
    (asked,) = await session.approvals.pending()
    assert asked.name == "budget"
    assert asked.arguments["tool_calls"] == 2
    assert await reports(session) == [], "what could not be paid for has not failed"
    await bench.close()  # the question outlives the process
    session = await (await bench.runtime(script)).open_session(session.id)
    assert await session.approve(asked.id, arguments={"tool_calls": 10})
    result = await within(session.wait(run))
    assert (result.outcome, result.verified) == ("done", True)
    first, second = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert (first.status, second.status) == ("error", "ok")
    assert first.text.startswith("Budget exhausted on 'tool_calls': 2 of 2 tool calls spent")
    assert "before echo 2" in first.text
    assert "call verify again" in first.text
    assert second.text == "All checks pass: echo 1, echo 2"
    assert await commands_run(session) == ["echo 1", *["echo 1", "echo 2"] * 2], "the tool, the tool again, the run's end"


async def test_no_more_for_the_checks_of_the_tool_ends_the_run(bench: Bench) -> None:
    session = await bench.start(
        [call("verify")], "verify", verification=["true"], budget=Budget(tool_calls=1, on_limit="ask")
    )
    run = await session.prompt("Check it.")
    await until_type(session, "run.parked")
    (asked,) = await session.approvals.pending()
    assert await session.deny(asked.id)
    result = await within(session.wait(run))
    assert (result.outcome, result.error.code if result.error else "") == ("limited", "budget_exhausted")


async def test_a_budget_that_is_met_within_the_tool_ends_the_run_as_limited(bench: Bench) -> None:
    session = await bench.start([call("verify")], "verify", verification=["true"], budget=Budget(tool_calls=1))
    result = await session.send("Check it.")
    assert (result.outcome, result.error.code if result.error else "") == ("limited", "budget_exhausted")
    assert await reports(session) == []
    assert await commands_run(session) == []


async def test_a_guard_that_wants_a_person_for_a_check_of_the_tool_is_told_to_the_model(bench: Bench) -> None:
    """Nobody is asked: a yes would be for the run's next step, which the check is not."""

    class Careful:
        async def before_tool(self, check: BudgetCheck) -> BudgetDecision:
            return BudgetDecision("ask", "tools", reason="dear") if check.tool == "bash" else BudgetDecision("allow")

    (bench.workspace / "Makefile").write_text("check:\n\t@true\n")
    session = await bench.start([call("verify"), "So be it."], "verify")
    session.set_budget_guard(Careful())  # type: ignore[arg-type]
    result = await session.send("Check it.")
    (told,) = [m for m in await session.history() if isinstance(m, ToolResult)]
    assert told.status == "error"
    assert told.text.startswith("Budget exhausted on 'tools': dear")
    assert await reports(session) == []
    assert result.outcome == "done"


async def test_a_pause_meanwhile_leaves_the_question_for_later(bench: Bench) -> None:
    session = await bench.start(
        [call("verify"), call("verify"), "Done."],
        "verify",
        verification=[f"{WAITS}; true", "true"],
        budget=Budget(tool_calls=2, on_limit="ask"),
    )
    run = await session.prompt("Check it.")
    await begun(session)
    pausing = asyncio.ensure_future(session.pause())
    await until_type(session, "session.paused")
    (bench.workspace / "go").touch()
    assert await within(pausing)
    assert await session.approvals.pending() == []
    await session.resume()
    await until_type(session, "run.parked")
    (asked,) = await session.approvals.pending()
    await session.approve(asked.id, arguments={"tool_calls": 10})
    assert (await within(session.wait(run))).outcome == "done"


async def test_a_host_can_call_the_tool_too(bench: Bench) -> None:
    session = await bench.start([], "verify", verification=["true"])
    assert (await session.tool("verify")).output == "All checks pass: true"
    assert [r.source for r in await reports(session)] == ["tool"]


async def test_a_function_tool_can_ask_for_the_checks(bench: Bench) -> None:
    @godwit.tool
    async def ship(ctx: godwit.ToolContext) -> str:
        """Ship it if it is fine."""
        return (await ctx.verify()).report.status

    @godwit.tool
    def ship_slowly(ctx: godwit.ToolContext) -> str:
        """The same in a thread."""
        return asyncio.run(ctx.verify()).report.status

    session = await bench.start(
        [call("ship") + call("ship_slowly"), "Shipped."], ship, ship_slowly, verification=["test ! -e broken"]
    )
    await session.send("Ship it.")
    assert [m.text for m in await session.history() if isinstance(m, ToolResult)] == ["passed", "passed"]


async def test_the_inputs_of_a_verification_are_delivered_once(bench: Bench) -> None:
    session = await bench.start(
        [writes("a", "x"), "Done.", writes("b", "x"), "Mended."], "files", verification=["test -e b"]
    )
    await session.send("Make it.")
    sent = [m.id for m in await data(session, UserMessage)]
    assert [d.id for d in await data(session, InputDelivered)] == sent
