"""Reports: the commands of a host, hooks around them, reports from elsewhere, and what all of them come to."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

import godwit
from godwit.contracts import HookCall
from godwit.core.checkpoint import CheckpointRef
from godwit.core.errors import ConfigurationError, InvalidArgument, SessionArchived, SessionClosed
from godwit.core.events import HookBlocked, SessionRewound, ToolFinished, VerificationReported
from godwit.core.hooks import HookResult
from godwit.core.messages import text_of
from godwit.core.verification import Check, VerificationCommand, VerificationReport
from godwit.engine.log import append_outside
from tests.engine.conftest import Bench, data, types, until_type, within
from tests.engine.verification_words import hook


async def test_each_command_is_a_check_and_its_exit_code_decides(bench: Bench) -> None:
    session = await bench.start([], "bash")
    commands = [VerificationCommand("one", "printf ok", "test", "it prints"), VerificationCommand("two", "exit 7")]
    report = await session.verify_commands("it works", commands)
    assert [c.status for c in report.checks] == ["passed", "failed"]
    assert report.checks[0].residual_risk is None
    assert (report.checks[0].kind, report.checks[0].description) == ("test", "it prints")
    assert report.checks[1].residual_risk == "verification command exited with code 7: exit 7"
    assert (report.status, report.subject, report.source) == ("failed", "it works", "commands")
    assert report.at_ms > 0
    assert await session.verification_reports() == [report]


async def test_what_a_check_says_can_be_followed_to_its_call(bench: Bench) -> None:
    session = await bench.start([], "bash")
    report = await session.verify_commands("it works", ["echo one", "echo two >&2; exit 3"])
    events = {e.seq: e.data for e in await session.events()}
    for check, said, code in zip(report.checks, ("one", "two"), (0, 3), strict=True):
        (evidence,) = check.evidence
        finished = events[int(evidence.removeprefix("seq:"))]
        assert isinstance(finished, ToolFinished)
        assert (finished.origin, finished.name, finished.metadata["exit_code"]) == ("verification", "bash", code)
        assert said in text_of(finished.content)
    assert isinstance(events[max(events)], VerificationReported)
    assert await session.history() == (), "no message came of it"


async def test_a_long_output_is_kept_whole_as_evidence(bench: Bench) -> None:
    session = await bench.start([], "bash")
    report = await session.verify_commands("it works", ["seq 1 40000; exit 1"])
    seq, ref = report.checks[0].evidence
    assert seq.startswith("seq:")
    kept = (await bench.runtimes[0].get_artifact(ref)).decode()
    assert kept.startswith("1\n2\n")
    assert "\n40000\n" in kept


async def test_evidence_stays_whatever_the_limits_for_artifacts_are(bench: Bench) -> None:
    runtime = await bench.runtime(artifacts=godwit.ArtifactLimits(max_artifacts=1, max_bytes=1000))
    session = await bench.start([], "bash", runtime=runtime)
    report = await session.verify_commands("it works", ["seq 1 40000; exit 1", "seq 2 40000"])
    refs = [check.evidence[1] for check in report.checks]
    other = (await session.tool("bash", {"command": "seq 3 40000"})).artifact
    assert other not in refs
    assert [(a.ref, a.pinned) for a in await session.artifacts.list()] == [(ref, True) for ref in refs]
    assert (await session.artifacts.get(refs[0])).startswith(b"1\n2\n")
    assert await session.artifacts.unpin(refs[0])
    await session.tool("bash", {"command": "seq 3 40000"})
    assert [a.ref for a in await session.artifacts.list()] == refs[1:], "until somebody lets go of it"


@pytest.mark.parametrize(
    ("command", "risk"),
    [
        (VerificationCommand("c", "sleep 30", timeout_s=0.2), "timed out after 0.2 s: sleep 30"),
        (VerificationCommand("c", "kill -KILL $$"), "kill -KILL $$"),
        (VerificationCommand("c", "no-such-program"), "exited with code 127: no-such-program"),
        (VerificationCommand("c", "( exit 3 )\n"), "exited with code 3"),
        (VerificationCommand("c", "cat"), None),  # there is no input, so it ends
    ],
)
async def test_what_else_may_become_of_a_command(bench: Bench, command: VerificationCommand, risk: str | None) -> None:
    session = await bench.start([], "bash")
    (check,) = (await within(session.verify_commands("s", [command]))).checks
    assert check.status == ("passed" if risk is None else "failed")
    assert risk is None or risk in (check.residual_risk or "")
    assert check.evidence, "it ran, so there is something to follow"


async def test_a_command_that_cannot_run_fails_and_says_why(bench: Bench) -> None:
    session = await bench.start([], "bash")
    hook(session, "before_tool", lambda _: HookResult("block", "not on a Friday"))
    (check,) = (await session.verify_commands("s", ["true"])).checks
    assert check.status == "failed"
    assert check.residual_risk == "verification command could not run: A hook blocked this call: not on a Friday"
    assert check.evidence == ()
    runtime = bench.runtimes[0]
    homeless = await runtime.start_session(godwit.Agent("tester", model="scripted:test"))
    (check,) = (await homeless.verify_commands("s", ["true"])).checks
    assert check.residual_risk == "verification command could not run: this session has no workspace"


async def test_checks_are_the_hosts_whatever_the_model_may_do(bench: Bench) -> None:
    session = await bench.start([], "files", permissions={"bash": "deny", "default": "deny"})
    assert (await session.verify_commands("s", ["true"])).status == "passed"


async def test_a_command_sees_the_workspace_and_may_change_it(bench: Bench) -> None:
    session = await bench.start([], "bash")
    report = await session.verify_commands("s", ["pwd > where", 'test "$(cat where)" = "$PWD"'])
    assert report.status == "passed"
    assert (bench.workspace / "where").read_text() == f"{bench.workspace}\n"


async def test_nothing_is_run_or_recorded_of_what_cannot_be_used(bench: Bench) -> None:
    session = await bench.start([], "bash")
    before = await types(session)
    twice = [VerificationCommand("a", "touch x"), VerificationCommand("a", "touch y")]
    with pytest.raises(ConfigurationError, match="share an id: 'a'"):
        await session.verify_commands("s", twice)
    with pytest.raises(InvalidArgument, match="needs a subject"):
        await session.verify_commands(" ", ["touch x"])
    with pytest.raises(ConfigurationError, match="are a list"):
        await session.verify_commands("s", "touch x")
    assert await types(session) == before
    assert os.listdir(bench.workspace) == []


async def test_no_commands_are_a_report_that_proves_nothing(bench: Bench) -> None:
    session = await bench.start([], "bash")
    assert (await session.verify_commands("s", [])).status == "skipped"
    assert await session.verification_summary_text() == (
        "Verification skipped: a report without checks (1 report, 0 required checks)."
    )


async def test_a_session_that_is_closed_or_final_takes_no_reports(bench: Bench) -> None:
    session = await bench.start([], "bash")
    await session.close()
    for refused in (session.verify_commands("s", ["true"]), session.record_verification_reports([])):
        with pytest.raises(SessionClosed):
            await refused
    again = await bench.runtimes[0].open_session(session.id)
    await bench.runtimes[0].archive(session.id)
    with pytest.raises(SessionArchived):
        await again.verify_commands("s", ["true"])
    with pytest.raises(SessionArchived):
        await again.record_verification_reports([VerificationReport("s")])


async def test_closing_the_handle_ends_a_verification_without_a_report(bench: Bench) -> None:
    session = await bench.start([], "bash")
    verifying = asyncio.ensure_future(session.verify_commands("s", ["echo begun; sleep 60", "true"]))
    await until_type(session, "tool.started")
    await within(session.close())
    with pytest.raises(SessionClosed):
        await within(verifying)
    assert (await types(session))[-2:] == ["tool.started", "tool.finished"]


async def test_a_cancelled_caller_ends_the_command(bench: Bench) -> None:
    session = await bench.start([], "bash")
    verifying = asyncio.ensure_future(session.verify_commands("s", ["sleep 60", "true"]))
    await until_type(session, "tool.started")
    verifying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(verifying)
    assert (await types(session))[-2:] == ["tool.started", "tool.finished"]
    assert (await session.state()).own_calls == ()


async def test_hooks_are_told_what_is_verified_and_what_came_of_it(bench: Bench) -> None:
    session = await bench.start([], "bash")
    told: list[dict[str, Any]] = []
    for point in ("before_verification", "after_verification"):
        hook(session, point, lambda asked: told.append(asked.payload))
    report = await session.verify_commands("it works", [VerificationCommand("a", "exit 1", required=False)])
    before, after = told
    assert before == {
        "subject": "it works",
        "source": "commands",
        "commands": [{"id": "a", "command": "exit 1", "required": False}],
    }
    assert (after["status"], after["checks"]) == ("failed", [{"id": "a", "status": "failed", "required": False}])
    assert after["seq"] == (await session.events())[-1].seq
    assert report.status == "failed"


async def test_a_hook_that_blocks_leaves_a_report_that_needs_review(bench: Bench) -> None:
    session = await bench.start([], "bash")
    hook(session, "before_verification", lambda _: HookResult("block", "the database is down"))
    report = await session.verify_commands("s", ["touch x"])
    assert report.status == "needs_review"
    assert [c.status for c in report.checks] == ["skipped"]
    assert report.checks[0].residual_risk == "a hook blocked the verification: the database is down"
    assert [b.reason for b in await data(session, HookBlocked)] == ["the database is down"]
    assert os.listdir(bench.workspace) == []


async def test_a_hook_that_raises_blocks_too(bench: Bench) -> None:
    session = await bench.start([], "bash")

    def broken(_: HookCall) -> HookResult | None:
        raise RuntimeError("oh")

    hook(session, "before_verification", broken)
    assert (await session.verify_commands("s", ["true"])).status == "needs_review"


async def test_a_hook_may_leave_a_verification_out(bench: Bench) -> None:
    session = await bench.start([], "bash")
    hook(session, "before_verification", lambda _: HookResult("skip"))
    report = await session.verify_commands("s", ["touch x"])
    assert (report.status, report.checks) == ("skipped", ())
    assert os.listdir(bench.workspace) == []


async def test_reports_from_elsewhere_are_evidence_beside_ours(bench: Bench) -> None:
    session = await bench.start([], "bash")
    await session.verify_commands("tests", ["true"])
    ci = VerificationReport("ci", (Check("build", status="passed", evidence=("https://ci/1", "seq:1")),), source="ci")
    posing = VerificationReport("review", (Check("a person looks"),), source="run", at_ms=5)
    await session.record_verification_reports([ci, posing])
    _, second, third = await session.verification_reports()
    assert (second.source, second.checks, second.at_ms > 0) == ("ci", ci.checks, True)
    assert (third.source, third.at_ms) == ("external", 5)
    summary = await session.verification_summary()
    assert (summary.status, summary.report_count, summary.pending_subjects) == ("needs_review", 3, ("review",))
    assert await session.verification_summary_text() == (
        "Verification needs review: 1 pending required check in review (3 reports, 3 required checks)."
    )


async def test_one_unusable_report_refuses_all(bench: Bench) -> None:
    session = await bench.start([], "bash")
    good = VerificationReport("good", (Check("a", status="passed"),))
    for bad in (
        VerificationReport(""),
        VerificationReport("b", (Check("a", status="great"),)),  # type: ignore[arg-type]
        VerificationReport("b", (Check("a", evidence=("seq:99",)),)),
    ):
        with pytest.raises(InvalidArgument):
            await session.record_verification_reports([good, bad])
    assert await session.verification_reports() == []
    assert await session.verification_summary_text() == "Verification skipped: no reports."


async def test_the_newest_report_of_a_subject_counts(bench: Bench) -> None:
    session = await bench.start([], "bash")
    await session.verify_commands("tests", ["test -e made"])
    assert (await session.verification_summary()).failed_subjects == ("tests",)
    await session.bash("touch made")
    await session.verify_commands("tests", ["test -e made"])
    assert (await session.verification_summary()).status == "passed"
    assert len(await session.verification_reports()) == 2


async def test_what_was_found_out_about_files_that_were_taken_back_holds_no_longer(bench: Bench) -> None:
    session = await bench.start([], "bash")
    await session.verify_commands("before", ["true"])
    head = (await session.events())[-1].seq
    await session.verify_commands("after", ["true"])
    rewound = SessionRewound(head, CheckpointRef("tree:1"))
    await append_outside(bench.runtimes[0].store, session.id, [rewound], bench.runtimes[0].clock)
    assert (await session.verification_summary()).report_count == 1
    assert len(await session.verification_reports()) == 2
