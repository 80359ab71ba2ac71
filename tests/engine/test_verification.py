"""Checks run by the session's own tool path, reports in its log, and runs that are done only once their checks pass."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import godwit
from godwit.contracts import BudgetCheck, FileInfo, HookCall
from godwit.core.budget import Budget, BudgetDecision
from godwit.core.checkpoint import CheckpointRef
from godwit.core.errors import (
    ConfigurationError,
    InvalidArgument,
    RunFailed,
    SessionArchived,
    SessionClosed,
    ToolFailed,
)
from godwit.core.events import (
    HookBlocked,
    InputDelivered,
    RunFinished,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    UserMessage,
    VerificationReported,
)
from godwit.core.hooks import HookPoint, HookResult, HookSpec
from godwit.core.messages import ToolResult, text_of
from godwit.core.verification import (
    Check,
    VerificationCommand,
    VerificationPolicy,
    VerificationReport,
    commands_of,
)
from godwit.engine.log import append_outside
from godwit.engine.session import Session
from godwit.engine.verification import SENDER, find_presets
from godwit.models.script import Script, call
from godwit.workspaces.local import LocalWorkspace

from .conftest import Bench, data, types, until, until_type, within

# Without bytecode: a file that is mended within a second, with as many bytes, would be read as it was.
PYTEST = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {sys.executable} -B -m pytest -q -p no:cacheprovider"


async def commands_run(session: Session) -> list[str]:
    """The commands of verifications, in the order they were started."""
    return [d.arguments["command"] for d in await data(session, ToolStarted) if d.origin == "verification"]


async def reports(session: Session) -> list[VerificationReport]:
    return [d.report for d in await data(session, VerificationReported)]


def hook(session: Session, point: HookPoint, answer: Callable[[HookCall], HookResult | None]) -> None:
    session._home.hooks(session.id).register(HookSpec(f"test {point}", point), answer)


# --- commands of the host -------------------------------------------------------------------------------------------


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


# --- hooks ----------------------------------------------------------------------------------------------------------


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


# --- reports from elsewhere, and what all come to --------------------------------------------------------------------


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


# --- presets --------------------------------------------------------------------------------------------------------


class MemoryWorkspace(LocalWorkspace):
    """Files that are on no disk. Only what presets may ask for is there."""

    def __init__(self, files: dict[str, bytes], *, broken: tuple[str, ...] = ()) -> None:
        self._kept = files
        self._broken = broken

    async def listdir(self, path: str = ".") -> list[FileInfo]:
        if path in self._broken:
            raise ToolFailed(f"{path!r} cannot be listed")
        prefix = "" if path == "." else f"{path}/"
        below = {n.removeprefix(prefix).partition("/")[::2] for n in self._kept if n.startswith(prefix)}
        if not below:
            raise ToolFailed(f"there is no folder {path!r}")
        return [FileInfo(prefix + name, "directory" if rest else "file", 1, 0) for name, rest in sorted(below)]

    async def info(self, path: str) -> FileInfo | None:
        content = self._kept.get(path)
        return None if content is None else FileInfo(path, "file", len(content), 0)

    async def read(self, path: str) -> bytes:
        if path in self._broken:
            raise ToolFailed(f"{path!r} cannot be read")
        return self._kept[path]


async def found(files: dict[str, bytes], *broken: str) -> list[str]:
    return [c.command for p in await find_presets(MemoryWorkspace(files, broken=broken)) for c in p.commands]


async def test_presets_need_no_disk() -> None:
    project = {
        "pyproject.toml": b"[tool.pytest]\n",
        ".venv/bin/python": b"",
        ".venv/bin/pytest": b"",
        "Makefile": b"lint:\n",
    }
    assert await found(project) == [".venv/bin/python -m pytest -q", "make lint"]


async def test_a_workspace_that_cannot_be_read_has_fewer_presets() -> None:
    project = {"package.json": b'{"scripts": {"test": "x"}}', "go.mod": b"module x\n", "tox.ini": b"\xff"}
    assert await found(project) == ["npm test", "go test ./...", "go vet ./..."]
    assert await found(project, "package.json") == ["go test ./...", "go vet ./..."]
    assert await found(project, ".") == []
    assert await found({"go.mod": b"module x\n" + b" " * 2_000_000}) == []


async def test_presets_of_a_real_folder(bench: Bench, tmp_path: Path) -> None:
    session = await bench.start([], "bash")
    assert await session.verification_presets() == []
    (bench.workspace / "pytest.ini").write_text("")
    (bench.workspace / ".venv" / "bin").mkdir(parents=True)
    (bench.workspace / ".venv" / "bin" / "python").symlink_to(sys.executable)  # leads out, as in every such environment
    (bench.workspace / ".venv" / "bin" / "pytest").write_text("")
    os.mkfifo(bench.workspace / "package.json")
    (bench.workspace / "Cargo.toml").symlink_to(tmp_path / "nowhere")
    (preset,) = await session.verification_presets()
    assert (preset.name, [c.command for c in preset.commands]) == ("python", [".venv/bin/python -m pytest -q"])
    homeless = await bench.runtimes[0].start_session(godwit.Agent("tester", model="scripted:test"))
    assert await homeless.verification_presets() == []


# --- runs that are held to checks ------------------------------------------------------------------------------------


def writes(path: str, content: str) -> Any:
    return call("write", file_path=path, content=content)


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
    assert told.sender == SENDER
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
    (told,) = [text_of(m.content) for m in await data(session, UserMessage) if m.sender == SENDER]
    assert "hangs: verification command timed out after 0.3 s: echo waiting; sleep 60\nwaiting" in told


async def test_only_the_end_of_an_output_is_given_back(bench: Bench) -> None:
    commands = [VerificationCommand(f"c{n}", f"seq 1 100000; echo last of {n}; exit 1") for n in range(7)]
    policy = VerificationPolicy(tuple(commands), max_attempts=2)
    session = await bench.start([writes("made", ""), "Done.", "Still."], "files", verification=policy)
    with pytest.raises(RunFailed):
        await within(session.send("Make it."))
    (told,) = [text_of(m.content) for m in await data(session, UserMessage) if m.sender == SENDER]
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


# --- budgets --------------------------------------------------------------------------------------------------------


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


# --- what comes in between -------------------------------------------------------------------------------------------


WAITS = "until test -e go; do sleep 0.02; done"
"""A check that is under way until the test lets it end."""


async def begun(session: Session) -> None:
    """A check is under way."""
    await within(until(session, lambda e: isinstance(e.data, ToolStarted) and e.data.origin == "verification"))


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
    async with asyncio.timeout(20):
        while bench.runtimes[0].drives(session.id):  # noqa: ASYNC110 - nothing tells of the end of such a drive
            await asyncio.sleep(0.01)
    assert await commands_run(session) == [WAITS]
    assert await reports(session) == []
    await other.store.release(lease)
    again = await other.open_session(session.id)
    assert (await within(again.wait(run))).verified
    assert await commands_run(again) == [WAITS, "echo second >> ran"], "what had come to its end is not run again"
    assert (bench.workspace / "ran").read_text() == "second\n"


# --- the tool -------------------------------------------------------------------------------------------------------


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
