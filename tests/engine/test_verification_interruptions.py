"""What comes in between while a run is verified: follow-ups, steers, interrupts, pauses, other drivers."""

from __future__ import annotations

import asyncio

import pytest

import godwit
from godwit.contracts import HookCall
from godwit.core.errors import RunFailed
from godwit.core.events import ToolFinished
from godwit.core.hooks import HookSpec
from godwit.core.messages import text_of
from godwit.core.verification import VerificationCommand, VerificationPolicy
from tests.engine.conftest import Bench, types, until, until_type, within
from tests.engine.verification_words import WAITS, begun, commands_run, reports, writes
from tests.patience import PATIENCE_S


async def test_a_follow_up_waits_for_the_checks(bench: Bench) -> None:
    session = await bench.start(
        [writes("a", "bad"), "Done.", writes("a", "good"), "Mended.", "Committed."], "files", verification=["grep good a"]
    )
    run = await session.prompt("Make it.")
    await session.follow_up("Commit it.")
    result = await within(session.wait(run))
    assert result.text == "Committed."
    said = [text_of(m.content) for m in await session.history() if type(m).__name__ == "User"]
    assert said[0] == "Make it."
    assert "grep good a" in said[1]
    assert said[2] == "Commit it."
    assert len(await reports(session)) == 2, "what was only said since needs no further one"


async def test_a_follow_up_of_a_run_that_failed_its_checks_stays_queued(bench: Bench) -> None:
    policy = VerificationPolicy((VerificationCommand("never", "false"),), max_attempts=1)
    session = await bench.start([writes("a", "x"), "Done."], "files", verification=policy)
    run = await session.prompt("Make it.")
    await session.follow_up("Commit it.")
    with pytest.raises(RunFailed):
        await within(session.wait(run))
    assert len(await session.queue.list()) == 1


async def test_a_skipping_steer_comes_before_the_rest_of_the_checks(bench: Bench) -> None:
    session = await bench.start(
        [writes("a", "x"), "Done.", "As you say."], "files", verification=[WAITS, "echo second >> ran"]
    )
    run = await session.prompt("Make it.")
    await begun(session)
    await session.steer("One more thing.")
    (bench.workspace / "go").touch()
    result = await within(session.wait(run))
    assert (result.outcome, result.text, result.verified) == ("done", "As you say.", True)
    assert len(await reports(session)) == 1
    assert await commands_run(session) == [WAITS, WAITS, "echo second >> ran"]
    kinds = await types(session)
    assert kinds.index("verification.reported") > len(kinds) - 1 - kinds[::-1].index("agent.message")


async def test_a_steer_that_waits_its_turn_comes_after_the_checks_together_with_what_failed(bench: Bench) -> None:
    policy = VerificationPolicy((VerificationCommand("waits", WAITS), VerificationCommand("fails", "test -e fine")))
    session = await bench.start([writes("a", "x"), "Done.", writes("fine", ""), "Both done."], "files", verification=policy)
    run = await session.prompt("Make it.")
    await begun(session)
    await session.steer("And say hello.", mode="batch")
    (bench.workspace / "go").touch()
    assert (await within(session.wait(run))).verified
    said = [text_of(m.content) for m in await session.history() if type(m).__name__ == "User"]
    assert said[1] == "And say hello."
    assert "fails: verification command exited with code 1" in said[2]
    assert len(said) == 3


async def test_a_full_inbox_loses_the_failures_and_not_the_run(bench: Bench) -> None:
    session = await bench.start([writes("a", "x"), "Done.", writes("fine", ""), "All read."], "files",
                                verification=[WAITS, "test -e fine"])  # fmt: skip
    run = await session.prompt("Make it.")
    await begun(session)
    for number in range(256):
        await session.steer(f"{number}", mode="batch")
    (bench.workspace / "go").touch()
    assert (await within(session.wait(run))).verified
    assert [r.status for r in await reports(session)] == ["failed", "passed"]


async def test_what_was_to_be_told_can_be_withdrawn_and_is_found_out_again(bench: Bench) -> None:
    session = await bench.start([writes("a", "x"), "Done."], "files", verification=["test -e fine"])
    withdrawn: list[str] = []

    async def mend(_: HookCall) -> None:
        """Somebody is quicker than the model: nothing is delivered yet when this is called."""
        (bench.workspace / "fine").touch()
        for waiting in await session.queue.list():
            withdrawn.append(waiting.id)
            await session.queue.withdraw(waiting.id)

    session._home.hooks(session.id).register(HookSpec("mend", "after_verification"), mend)
    result = await within(session.send("Make it."))
    assert (result.verified, result.text, len(withdrawn)) == (True, "Done.", 1)
    assert [r.status for r in await reports(session)] == ["failed", "passed"]


async def test_an_interrupt_ends_a_check_that_hangs(bench: Bench) -> None:
    session = await bench.start([writes("a", "x"), "Done."], "files", verification=["sleep 60"])
    run = await session.prompt("Make it.")
    await begun(session)
    assert await within(session.interrupt())
    result = await session.wait(run)
    assert (result.outcome, result.verification) == ("interrupted", None)
    assert await reports(session) == []
    assert (await session.state()).own_calls == ()


async def test_the_end_of_a_runs_time_ends_its_checks(bench: Bench) -> None:
    session = await bench.start(
        [writes("a", "x"), "Done."], "files", verification=["sleep 60"], limits=godwit.Limits(max_duration_s=1.5)
    )
    result = await within(session.send("Make it."))
    assert (result.outcome, result.error.code if result.error else "") == ("limited", "max_duration")
    assert await reports(session) == []


async def test_a_pause_lets_the_check_in_hand_end_and_the_rest_is_run_when_it_goes_on(bench: Bench) -> None:
    session = await bench.start([writes("a", "x"), "Done."], "files", verification=[WAITS, "test -e a"])
    run = await session.prompt("Make it.")
    await begun(session)
    pausing = asyncio.ensure_future(session.pause())
    await until_type(session, "session.paused")
    (bench.workspace / "go").touch()
    await within(pausing)
    assert await session.status() == "paused"
    assert await commands_run(session) == [WAITS]
    await session.resume()
    result = await within(session.wait(run))
    assert result.verified
    assert await commands_run(session) == [WAITS, "test -e a"], "what was completed is not run again"
    assert result.verification is not None
    assert all(c.evidence for c in result.verification.checks)


async def test_another_process_goes_on_where_the_first_was_put_down(bench: Bench) -> None:
    session = await bench.start([writes("a", "x"), "Done."], "files", verification=[WAITS, "test -e a"])
    run = await session.prompt("Make it.")
    await begun(session)
    closing = asyncio.ensure_future(bench.runtimes[0].close())
    await asyncio.sleep(0)
    (bench.workspace / "go").touch()
    await within(closing)
    bench.runtimes.clear()
    runtime = await bench.runtime(["unused"])
    again = await runtime.open_session(session.id)
    result = await within(again.wait(run))
    assert (result.outcome, result.verified) == ("done", True)
    ran = await commands_run(again)
    assert ran.count("test -e a") == 1


async def test_a_driver_that_lost_its_session_begins_no_check_and_reports_nothing(bench: Bench) -> None:
    session = await bench.start([writes("a", "x"), "Done."], "files", verification=[WAITS, "echo second >> ran"])
    run = await session.prompt("Make it.")
    await begun(session)
    other = await bench.runtime(["unused"])
    lease = await other.store.claim(session.id, other.store.owner, 30.0, force=True)
    assert lease is not None
    (bench.workspace / "go").touch()
    await until(session, lambda e: isinstance(e.data, ToolFinished) and e.data.origin == "verification")
    async with asyncio.timeout(PATIENCE_S):
        while bench.runtimes[0].drives(session.id):  # noqa: ASYNC110 - nothing tells of the end of such a drive
            await asyncio.sleep(0.01)
    assert await commands_run(session) == [WAITS]
    assert await reports(session) == []
    await other.store.release(lease)
    again = await other.open_session(session.id)
    assert (await within(again.wait(run))).verified
    assert await commands_run(again) == [WAITS, "echo second >> ran"], "what had come to its end is not run again"
    assert (bench.workspace / "ran").read_text() == "second\n"
