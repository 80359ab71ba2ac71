"""What checks and reports add up to, by the rules of seed 001, and which presets a project's files give."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given, strategies as st
from tests.core.walk import CREATED, Walk, event

from godwit.core.errors import ConfigurationError, InvalidArgument
from godwit.core.events import (
    ActionClosed,
    ActionOpened,
    AgentMessage,
    EventData,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UserAnswer,
    UserMessage,
    VerificationReported,
    from_outside,
)
from godwit.core.ids import ActionId, CallId, InputId, MessageId, RunId
from godwit.core.messages import Assistant, Text, ToolCall
from godwit.core.presets import Project, presets_of, to_read
from godwit.core.state import Run, fold
from godwit.core.verification import (
    Check,
    VerificationCommand,
    VerificationPolicy,
    VerificationPreset,
    VerificationReport,
    VerificationStatus,
    VerificationSummary,
    check_report,
    latest,
    summarize,
    summary_text,
)

STATUSES: tuple[VerificationStatus, ...] = get_args(VerificationStatus)


def check(status: VerificationStatus, *, required: bool = True, risk: str | None = None, id: str = "c") -> Check:  # noqa: A002
    return Check(id, status=status, required=required, residual_risk=risk)


def report(*checks: Check, subject: str = "s", risks: tuple[str, ...] = ()) -> VerificationReport:
    return VerificationReport(subject, checks, risks)


checks = st.builds(
    Check,
    id=st.text(min_size=1, max_size=3),
    status=st.sampled_from(STATUSES),
    required=st.booleans(),
    residual_risk=st.none() | st.text(max_size=3),
)
reports = st.builds(
    VerificationReport,
    subject=st.sampled_from(("a", "b", "c")),
    checks=st.lists(checks, max_size=4).map(tuple),
    residual_risks=st.lists(st.text(min_size=1, max_size=3), max_size=2).map(tuple),
)

# --- a report's status ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_report", "status"),
    [
        (report(), "skipped"),
        (report(check("passed")), "passed"),
        (report(check("failed")), "failed"),
        (report(check("failed", required=False)), "failed"),
        (report(check("needs_review")), "needs_review"),
        (report(check("skipped")), "needs_review"),
        (report(check("skipped", required=False)), "passed"),
        (report(check("needs_review", required=False)), "passed"),
        (report(check("needs_review"), check("failed")), "failed"),
        (report(risks=("nobody looked",)), "needs_review"),
        (report(check("passed"), risks=("only on Linux",)), "needs_review"),
        (report(check("passed", risk="slow")), "needs_review"),
        (report(check("failed"), risks=("and more",)), "failed"),
    ],
)
def test_the_status_of_a_report(given_report: VerificationReport, status: VerificationStatus) -> None:
    assert given_report.status == status
    assert given_report.is_complete == (status != "needs_review")


def test_a_check_that_says_nothing_of_itself_needs_review() -> None:
    assert report(Check("looked at by nobody")).status == "needs_review"


@given(reports)
def test_a_report_passes_only_when_nothing_is_open(made: VerificationReport) -> None:
    if made.status == "passed":
        assert made.checks
        assert all(c.status == "passed" or (not c.required and c.status != "failed") for c in made.checks)
        assert not made.risks


@given(reports, checks)
def test_a_further_failed_check_always_fails_it(made: VerificationReport, more: Check) -> None:
    failed = msgspec.structs.replace(more, status="failed")
    assert msgspec.structs.replace(made, checks=(*made.checks, failed)).status == "failed"


@given(reports)
def test_reports_come_back_from_their_bytes(made: VerificationReport) -> None:
    again = msgspec.json.decode(msgspec.json.encode(made), type=VerificationReport)
    assert again == made
    assert again.status == made.status


# --- a summary ------------------------------------------------------------------------------------------------------


def test_no_reports_are_skipped() -> None:
    assert summarize([]) == VerificationSummary()
    assert summary_text(summarize([])) == "Verification skipped: no reports."


def test_the_counts_of_a_summary() -> None:
    made = summarize(
        [
            report(check("passed"), check("failed", required=False, id="d"), subject="program:test"),
            report(check("needs_review"), check("skipped", id="d"), subject="review", risks=("r",)),
            report(check("failed", risk="x"), subject="another"),
            report(check("failed"), subject="another"),
        ]
    )
    assert made == VerificationSummary(
        status="failed",
        report_count=4,
        required_check_count=5,
        pending_required_check_count=2,
        failed_check_count=3,
        residual_risk_count=2,
        pending_subjects=("review",),
        failed_subjects=("another", "program:test"),
    )


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        (["passed", "failed", "needs_review", "skipped"], "failed"),
        (["passed", "needs_review", "skipped"], "needs_review"),
        (["passed", "skipped"], "skipped"),
        (["passed", "passed"], "passed"),
    ],
)
def test_the_worst_status_is_that_of_all(statuses: list[VerificationStatus], together: VerificationStatus) -> None:
    of: dict[VerificationStatus, VerificationReport] = {
        "passed": report(check("passed")),
        "failed": report(check("failed")),
        "needs_review": report(check("needs_review")),
        "skipped": report(),
    }
    assert summarize([of[s] for s in statuses]).status == together


@given(st.lists(reports, max_size=5), st.randoms())
def test_a_summary_does_not_depend_on_the_order(made: list[VerificationReport], random: Any) -> None:
    shuffled = list(made)
    random.shuffle(shuffled)
    assert summarize(shuffled) == summarize(made)


@given(st.lists(reports, max_size=5))
def test_a_summary_agrees_with_its_reports(made: list[VerificationReport]) -> None:
    summary = summarize(made)
    assert (summary.status == "failed") == bool(summary.failed_check_count) == bool(summary.failed_subjects)
    assert not summary.pending_required_check_count or summary.status in ("failed", "needs_review")
    assert not summary.residual_risk_count or summary.status in ("failed", "needs_review")
    assert summary.pending_subjects == tuple(sorted(set(summary.pending_subjects)))
    assert set(summary.pending_subjects) == {r.subject for r in made if not r.is_complete}
    assert summary.is_complete == (summary.status != "needs_review")
    text = summary_text(summary)
    assert text.startswith(f"Verification {summary.status.replace('_', ' ')}")
    assert ("Residual risks:" in text) == bool(summary.residual_risk_count)


def test_the_text_of_a_summary() -> None:
    passed = report(check("passed"), subject="docs")
    failed = report(check("failed"), subject="program:test")
    assert summary_text(summarize([passed])) == "Verification passed (1 report, 1 required check)."
    assert (
        summary_text(summarize([passed, failed]))
        == "Verification failed: 1 failed check in program:test (2 reports, 2 required checks)."
    )
    open_too = report(check("needs_review"), subject="review", risks=("a", "b"))
    assert (
        summary_text(summarize([open_too]))
        == "Verification needs review: 1 pending required check in review (1 report, 1 required check). Residual risks: 2."
    )
    assert "2 failed checks in a, b; 1 pending required check (" in summary_text(
        summarize([report(check("failed"), subject="b"), report(check("failed"), subject="a"), report(check("skipped"))])
    )
    assert summary_text(summarize([report()])) == (
        "Verification skipped: a report without checks (1 report, 0 required checks)."
    )


def test_the_newest_report_of_a_subject_is_what_holds() -> None:
    failed = report(check("failed"), subject="run")
    other = report(check("needs_review"), subject="ci")
    passed = report(check("passed"), subject="run")
    assert latest([failed, other, passed]) == [other, passed]
    assert latest([passed, other, failed]) == [other, failed]
    assert latest([]) == []


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": " ", "command": "x"}, "needs an id and a command"),
        ({"id": "a", "command": ""}, "needs an id and a command"),
        ({"id": "a", "command": "x\0"}, "NUL"),
        ({"id": "a", "command": "x", "timeout_s": 0}, "more than 0"),
        ({"id": "a", "command": "x", "timeout_s": -1}, "more than 0"),
        ({"id": "a", "command": "x", "timeout_s": 601}, "at most 600"),
        ({"id": "a", "command": "x", "timeout_s": float("nan")}, "more than 0"),
    ],
)
def test_commands_that_cannot_work(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        VerificationCommand(**fields)


def test_policies_that_cannot_work() -> None:
    test = VerificationCommand("test", "make test")
    with pytest.raises(ConfigurationError, match="needs commands, or presets=True"):
        VerificationPolicy()
    with pytest.raises(ConfigurationError, match="max_attempts=0 must be at least 1"):
        VerificationPolicy((test,), max_attempts=0)
    with pytest.raises(ConfigurationError, match="share an id: 'test'"):
        VerificationPolicy((test, VerificationCommand("test", "pytest")))
    with pytest.raises(ConfigurationError, match="'lint' is not required, but a run is done only once all"):
        VerificationPolicy((test, VerificationCommand("lint", "ruff check", required=False)))


def test_a_policy_takes_the_required_commands_of_presets_unless_it_has_one_of_that_id() -> None:
    preset = VerificationPreset(
        "python",
        "",
        (
            VerificationCommand("python:test", "pytest"),
            VerificationCommand("python:lint", "ruff check .", required=False),
            VerificationCommand("python:build", "python -m build"),
        ),
    )
    mine = VerificationCommand("python:test", "tox")
    assert [c.command for c in VerificationPolicy((mine,), presets=True).chosen([preset])] == ["tox", "python -m build"]
    assert [c.command for c in VerificationPolicy(presets=True).chosen([preset])] == ["pytest", "python -m build"]
    assert VerificationPolicy((mine,)).chosen([preset]) == (mine,)
    assert VerificationPolicy(presets=True).chosen([]) == ()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (report(subject=" "), "needs a subject"),
        (report(check("passed"), check("failed")), "share an id"),
        (report(check("passed", id="")), "needs an id"),
        (report(check("fine")), "fine"),  # type: ignore[arg-type]
        (VerificationReport("s", (Check("c", evidence=("seq:6",)),)), "'seq:6' names no event"),
        (VerificationReport("s", (Check("c", evidence=("seq:0",)),)), "'seq:0' names no event"),
        (VerificationReport("s", (Check("c", evidence=("seq:x",)),)), "'seq:x' names no event"),
        (VerificationReport("s", (Check("c", evidence=("seq:" + "9" * 5000,)),)), "names no event"),
        (VerificationReport(3), "cannot be used"),  # type: ignore[arg-type]
        (VerificationReport("s", ("c",)), "cannot be used"),  # type: ignore[arg-type]
        (VerificationReport("s", at_ms="now"), "cannot be used"),  # type: ignore[arg-type]
        (VerificationReport(object()), "cannot be used"),  # type: ignore[arg-type]
    ],
)
def test_reports_that_cannot_be_used(bad: VerificationReport, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_report(bad, head=5)


@given(reports)
def test_a_report_with_checks_told_apart_is_taken(made: VerificationReport) -> None:
    numbered = tuple(
        msgspec.structs.replace(c, id=f"{n}", evidence=("seq:5", "https://ci")) for n, c in enumerate(made.checks)
    )
    check_report(msgspec.structs.replace(made, checks=numbered), head=5)


# --- what a run's state keeps of it ---------------------------------------------------------------------------------

R = RunId("r")
RUNNING: tuple[EventData, ...] = (
    CREATED,
    UserMessage(InputId("i"), (Text("go"),)),
    RunStarted(R, InputId("i")),
    RunClaimed(R, 1),
    InputDelivered(InputId("i")),
)


def turn(number: int, *names: str) -> list[EventData]:
    """A turn up to the calls the model asked for."""
    calls = tuple(ToolCall(CallId(f"c{number}-{name}"), name) for name in names)
    answer = Assistant(MessageId(f"m{number}"), (Text("so"), *calls), "p:m", "tool_use" if calls else "end_turn")
    return [TurnStarted(number), ModelStarted(answer.id, "p:m"), AgentMessage(answer)]


def ran(number: int, *names: str) -> list[EventData]:
    """A whole turn in which these tools ran."""
    calls = [CallId(f"c{number}-{name}") for name in names]
    done: list[EventData] = []
    for call, name in zip(calls, names, strict=True):
        done += [ToolStarted(call, name, {}, "k"), ToolFinished(call, name, "ok")]
    return [*turn(number, *names), *done, TurnFinished(number)]


def on_the_run(status: VerificationStatus, source: str = "run") -> VerificationReported:
    return VerificationReported(VerificationReport("run", (check(status, id="tests"),), source=source))


def run_after(*data: EventData) -> Run:
    walk = Walk()
    for one in (*RUNNING, *data):
        walk.take(one)
    assert walk.state.run is not None
    return walk.state.run


def test_a_run_knows_which_of_its_tools_did_something() -> None:
    assert run_after().touched == ()
    assert run_after(*ran(1, "read", "bash"), *ran(2, "bash")).touched == ("read", "bash")
    refused = [*turn(1, "bash"), ToolFinished(CallId("c1-bash"), "bash", "denied"), TurnFinished(1)]
    assert run_after(*refused).touched == ()
    unknown = [
        *turn(1, "bash"),
        ToolStarted(CallId("c1-bash"), "bash", {}, "k"),
        ToolFinished(CallId("c1-bash"), "bash", "unknown"),
    ]
    assert run_after(*unknown).touched == ("bash",)


def test_a_result_from_outside_is_something_done() -> None:
    given = [*turn(1, "deploy"), ActionOpened(ActionId("a"), "external", CallId("c1-deploy"), "deploy")]
    answered = [*given, UserAnswer(ActionId("a"), "result"), ActionClosed(ActionId("a"))]
    assert run_after(*answered, ToolFinished(CallId("c1-deploy"), "deploy", "ok")).touched == ("deploy",)
    assert (
        run_after(*given, ActionClosed(ActionId("a")), ToolFinished(CallId("c1-deploy"), "deploy", "skipped")).touched == ()
    )


def test_a_hosts_own_calls_are_not_the_runs() -> None:
    own: list[EventData] = [
        ToolStarted(CallId("o"), "bash", {}, "k", origin="direct"),
        ToolFinished(CallId("o"), "bash", "ok", origin="direct"),
    ]
    assert run_after(*own).touched == ()


def test_what_a_report_says_of_the_run_holds_until_work_goes_on() -> None:
    failed = run_after(*ran(1, "bash"), on_the_run("failed"))
    assert (failed.verdict, failed.unverified, failed.failures, failed.reports) == ("failed", ("tests",), 1, 1)
    assert failed.touched == ("bash",)
    told = UserMessage(InputId("j"), (Text("they fail"),), "steer")
    again = run_after(*ran(1, "bash"), on_the_run("failed"), told, InputDelivered(InputId("j")))
    assert (again.verdict, again.failures, again.touched) == (None, 1, ("bash",))
    passed = run_after(*ran(1, "bash"), on_the_run("failed"), on_the_run("passed"))
    assert (passed.verdict, passed.unverified, passed.failures, passed.reports) == ("passed", (), 1, 2)
    assert passed.touched == ()


def test_only_a_report_on_the_run_decides_and_only_its_driver_writes_one() -> None:
    for source in ("commands", "tool", "ci"):
        assert from_outside(on_the_run("passed", source))
        run = run_after(*ran(1, "bash"), on_the_run("passed", source))
        assert (run.verdict, run.reports, run.touched) == (None, 0, ("bash",))
    assert not from_outside(on_the_run("passed"))


def test_a_check_of_the_run_that_came_to_its_end_is_something_its_driver_did() -> None:
    walk = Walk()
    for one in (*RUNNING, RunClaimed(R, 2), RunClaimed(R, 3)):
        walk.take(one)
    assert walk.state.run is not None
    assert walk.state.run.takeovers == 2
    done = event(walk.state.seq + 1, ToolFinished(CallId("o"), "bash", "ok", origin="verification"))
    from_elsewhere = fold(walk.state, done)
    assert from_elsewhere.run is not None
    assert from_elsewhere.run.takeovers == 2
    done.run = R
    after = fold(walk.state, done)
    assert after.run is not None
    assert after.run.takeovers == 0


def test_the_next_run_begins_with_nothing() -> None:
    more = UserMessage(InputId("j"), (Text("more"),))
    run = run_after(
        *ran(1, "bash"), *turn(2), TurnFinished(2), on_the_run("failed"), RunFinished(R, "failed"),
        more, RunStarted(RunId("r2"), InputId("j")),
    )  # fmt: skip
    assert (run.verdict, run.failures, run.touched, run.report) == (None, 0, (), None)


# --- presets --------------------------------------------------------------------------------------------------------


def found(
    texts: dict[str, str] | None = None, *files: str, folders: tuple[str, ...] = (), programs: tuple[str, ...] = ()
) -> dict[str, list[str]]:
    """Preset names with their commands; what is not required in brackets."""
    texts = texts or {}
    project = Project(frozenset((*texts, *files)), frozenset(folders), texts, frozenset(programs))
    return {p.name: [c.command if c.required else f"({c.command})" for c in p.commands] for p in presets_of(project)}


PYTEST = "[tool.pytest.ini_options]\n"


def test_a_folder_with_nothing_known_gives_no_preset() -> None:
    assert found() == {}
    assert found({}, "README.md", "main.c", folders=("tests",)) == {}


@pytest.mark.parametrize(
    "given_project",
    [
        found({"pyproject.toml": PYTEST}),
        found({}, "pytest.ini"),
        found({}, "conftest.py"),
        found({"setup.cfg": "[tool:pytest]\n"}),
        found({"tox.ini": "[pytest]\n"}),
        found({"pyproject.toml": ""}, folders=("tests",)),
        found({}, "setup.py", folders=("test",)),
        found({}, "requirements.txt", folders=("tests",)),
        found({}, "test_sums.py"),
        found({}, "sums_test.py"),
    ],
)
def test_what_says_that_there_are_python_tests(given_project: dict[str, list[str]]) -> None:
    assert given_project == {"python": ["python3 -m pytest -q"]}


def test_python_files_that_say_nothing_of_tests() -> None:
    assert found({"pyproject.toml": "[project]\nname = 'x'\n"}) == {}
    assert found({"setup.cfg": "[metadata]\n", "tox.ini": "[tox]\n"}) == {}


def test_ruff_and_mypy_are_found_by_their_marks_and_not_required() -> None:
    assert found({"pyproject.toml": PYTEST + "[tool.ruff]\nline-length = 99\n[tool.mypy]\nstrict = true\n"}) == {
        "python": ["python3 -m pytest -q", "(python3 -m mypy .)", "(ruff check .)"]
    }
    assert found({"pyproject.toml": "[tool.mypy]\nfiles = ['src']\n"}) == {"python": ["(python3 -m mypy)"]}
    assert found({"setup.cfg": "[mypy]\n"}) == {"python": ["(python3 -m mypy .)"]}
    assert found({"pyproject.toml": ""}, "mypy.ini", ".ruff.toml") == {"python": ["(python3 -m mypy .)", "(ruff check .)"]}


@pytest.mark.parametrize(
    ("text", "files", "run"),
    [
        ("", ("uv.lock",), "uv run pytest"),
        ("[tool.uv]\ndev-dependencies = []\n", (), "uv run pytest"),
        ("", ("poetry.lock",), "poetry run pytest"),
        ("[tool.poetry]\nname = 'x'\n", (), "poetry run pytest"),
        ("", ("pdm.lock",), "pdm run pytest"),
        ("", ("hatch.toml",), "hatch run pytest"),
        ("[tool.hatch.envs.default]\n", (), "hatch run pytest"),
        ("[tool.hatch.build]\n", (), "python3 -m pytest"),
    ],
)
def test_the_tool_that_manages_a_project_runs_its_checks(text: str, files: tuple[str, ...], run: str) -> None:
    assert found({"pyproject.toml": text}, *files, folders=("tests",)) == {"python": [f"{run} -q"]}


def test_a_virtual_environment_with_the_program_comes_first() -> None:
    texts = {"pyproject.toml": PYTEST + "[tool.ruff]\n[tool.mypy]\n"}
    assert found(texts, "uv.lock", programs=("python", "python3", "pytest")) == {
        "python": [".venv/bin/python -m pytest -q", "(uv run mypy .)", "(uv run ruff check .)"]
    }
    assert found(texts, programs=("python3", "pytest", "mypy", "ruff")) == {
        "python": [".venv/bin/python3 -m pytest -q", "(.venv/bin/python3 -m mypy .)", "(.venv/bin/python3 -m ruff check .)"]
    }
    assert found(texts, programs=("pytest",))["python"][0] == "python3 -m pytest -q"


def node(**package: Any) -> dict[str, str]:
    return {"package.json": json.dumps(package)}


@pytest.mark.parametrize(
    ("manager", "lock", "commands"),
    [
        (None, (), ["npm test", "(npm run typecheck)", "(npm run lint)"]),
        (None, ("package-lock.json",), ["npm test", "(npm run typecheck)", "(npm run lint)"]),
        (None, ("pnpm-lock.yaml",), ["pnpm test", "(pnpm typecheck)", "(pnpm lint)"]),
        (None, ("yarn.lock",), ["yarn test", "(yarn typecheck)", "(yarn lint)"]),
        (None, ("bun.lock",), ["bun run test", "(bun run typecheck)", "(bun run lint)"]),
        (None, ("bun.lockb",), ["bun run test", "(bun run typecheck)", "(bun run lint)"]),
        ("pnpm@9.1.0+sha512.abc", ("yarn.lock",), ["pnpm test", "(pnpm typecheck)", "(pnpm lint)"]),
        ("yarn@4.0.0", (), ["yarn test", "(yarn typecheck)", "(yarn lint)"]),
        ("rm -rf / #@1", ("yarn.lock",), ["yarn test", "(yarn typecheck)", "(yarn lint)"]),
        (7, (), ["npm test", "(npm run typecheck)", "(npm run lint)"]),
    ],
)
def test_the_scripts_of_a_package_by_its_manager(manager: Any, lock: tuple[str, ...], commands: list[str]) -> None:
    package: dict[str, Any] = {"scripts": {"test": "vitest", "typecheck": "tsc", "lint": "eslint .", "start": "node ."}}
    if manager is not None:
        package["packageManager"] = manager
    assert found(node(**package), *lock) == {"node": commands}


def test_packages_without_a_known_script_give_no_preset() -> None:
    assert found(node(name="x")) == {}
    assert found(node(scripts={"start": "node ."})) == {}
    assert found(node(scripts={"test": 'echo "Error: no test specified" && exit 1'})) == {}
    assert found(node(scripts={"test": ["vitest"], "lint": ""})) == {}
    assert found(node(scripts=["test"])) == {}
    assert found(node(scripts={"type-check": "tsc"})) == {"node": ["(npm run type-check)"]}


def test_rust_and_go() -> None:
    rust = ["cargo fmt -- --check", "cargo check", "cargo test", "(cargo clippy --all-targets -- -D warnings)"]
    assert found({"Cargo.toml": "[package]\nname = 'x'\n"}) == {"rust": rust}
    assert found({"Cargo.toml": "[workspace]\nmembers = ['a']\n"}) == {"rust": rust}
    assert found({"Cargo.toml": "[profile.release]\nlto = true\n"}) == {}
    assert found({"go.mod": "module example.com/x\n\ngo 1.22\n"}) == {"go": ["go test ./...", "(go vet ./...)"]}
    assert found({"go.mod": "go 1.22\n"}) == {}
    assert found({"go.mod": "module\n"}) == {}


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("test:\n\tpytest\n", ["make test"]),
        ("all: test lint\ncheck: ; true\n", ["make check"]),
        ("test: build\n\tx\ncheck: test\n\ty\nlint:\n\tz\n", ["make test", "(make check)", "(make lint)"]),
        ("lint test::\n\tx\n", ["make test", "(make lint)"]),
        ("lint:\n\tx\n", ["(make lint)"]),
        ("test := 3\ncheck ?= 4\nlint ::= 5\n", []),
        ("test: CFLAGS = -g\n", []),
        ("test: export MODE := 1\n", []),
        (".PHONY: test check\n", []),
        ("# test:\n\ttest:\n  check:\n", []),
        ("define recipe\ntest:\nendef\ncheck:\n\tx\n", ["make check"]),
        ("FILES = a \\\ntest: b\n", []),
        ("$(TARGETS): x\n", []),
    ],
)
def test_the_targets_of_a_makefile(text: str, targets: list[str]) -> None:
    for name in ("Makefile", "makefile", "GNUmakefile"):
        assert found({name: text}) == ({"make": targets} if targets else {})


@pytest.mark.parametrize(
    ("text", "recipes"),
    [
        ("test:\n    pytest\n", ["just test"]),
        ("@check: build\n    x\nlint:\n    y\n", ["just check", "(just lint)"]),
        ("test *args:\n    x {{args}}\n", ["just test"]),
        ("test mode='fast':\n    x\n", ["just test"]),
        ("test target:\n    x\n", []),
        ("test +targets:\n    x\n", []),
        ("test := 'x'\nalias check := test\n", []),
        ("# test:\n[private]\n    lint:\n", []),
        ("build:\n    test: x\n", []),
    ],
)
def test_the_recipes_of_a_justfile(text: str, recipes: list[str]) -> None:
    for name in ("justfile", "Justfile", ".justfile"):
        assert found({name: text}) == ({"just": recipes} if recipes else {})


def test_several_presets_stand_beside_one_another() -> None:
    texts = {
        "pyproject.toml": PYTEST,
        **node(scripts={"test": "vitest"}),
        "Cargo.toml": "[package]\nname = 'x'\n",
        "go.mod": "module x\n",
        "Makefile": "test:\n\tx\n",
        "justfile": "check:\n    x\n",
    }
    made = found(texts)
    assert list(made) == ["python", "node", "rust", "go", "make", "just"]
    # A project's own `make test` mostly calls these once more.
    assert made["make"] == ["(make test)"]
    assert made["just"] == ["(just check)"]


def test_a_task_runner_alone_is_what_is_required() -> None:
    assert found({"Makefile": "test:\n\tx\n", "pyproject.toml": "[tool.ruff]\n"}) == {
        "python": ["(ruff check .)"],
        "make": ["make test"],
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[tool.pytest"),
        ("pyproject.toml", "a = " + "[" * 10_000),
        ("package.json", '{"scripts": {"test": '),
        ("package.json", "[" * 100_000),
        ("package.json", '"scripts"'),
        ("package.json", "null"),
        ("Cargo.toml", "package = 3\n"),
        ("Cargo.toml", "[package"),
        ("go.mod", "{}"),
        ("Makefile", "\0\0: x"),
        ("justfile", ":"),
    ],
)
def test_a_malformed_file_gives_no_preset(name: str, text: str) -> None:
    assert found({name: text}, folders=("tests",)) == {}


def test_a_malformed_file_leaves_the_others_presets() -> None:
    texts = {"package.json": "{", "tox.ini": "no section\n", "setup.cfg": "[a]\n[a]\nx=1\nx=2\n", "go.mod": "module x\n"}
    assert list(found(texts, "pytest.ini")) == ["python", "go"]


names = st.sampled_from((*to_read(()), "pyproject.toml", "setup.cfg", "tox.ini", "package.json", "Cargo.toml", "go.mod",
                         "Makefile", "justfile", "pytest.ini", "uv.lock", "yarn.lock", "test_x.py"))  # fmt: skip
words = st.sampled_from(
    ("[tool.pytest]", "[tool.ruff]", "[package]", "test:", "test := 1", "module x", "=", "[", '{"scripts":', '{"test":"x"}',
     "}", "\n", "\t", "\\", ":", "define x", "tool=3", "\0", "\u2028", "[mypy]", "%(x)s")
)  # fmt: skip
contents = st.text() | st.lists(words, max_size=12).map(" ".join) | st.lists(words, max_size=12).map("\n".join)


@given(st.dictionaries(names, contents, max_size=5), st.frozensets(names), st.booleans(), st.booleans())
@example({"pyproject.toml": "tool = 3"}, frozenset(), True, True)
@example({"package.json": '{"scripts": {"test": "\\ud800"}}'}, frozenset(), False, False)
def test_no_file_makes_presets_fail(texts: dict[str, str], files: frozenset[str], tests: bool, venv: bool) -> None:
    project = Project(
        frozenset(texts) | files,
        frozenset(("tests",)) if tests else frozenset(),
        texts,
        frozenset(("python", "pytest")) if venv else frozenset(),
    )
    made = presets_of(project)
    assert made == presets_of(project)
    ids = [c.id for p in made for c in p.commands]
    assert len(set(ids)) == len(ids)
    assert all(p.commands and p.found for p in made)
    # What runs is made of words of ours alone.
    known = {w for p in presets_of(EVERYTHING) for c in p.commands for w in c.command.split()} | set(MORE_WORDS.split())
    assert {w for p in made for c in p.commands for w in c.command.split()} <= known


MORE_WORDS = "npm pnpm yarn bun uv poetry pdm hatch run pytest mypy ruff .venv/bin/python make just test check lint"


EVERYTHING = Project(
    frozenset(("pytest.ini", "mypy.ini", "ruff.toml", "pyproject.toml")),
    frozenset(),
    {
        "pyproject.toml": "",
        "package.json": json.dumps(
            {"scripts": {"test": "x", "lint": "x", **{n: "x" for n in ("typecheck", "type-check", "check-types", "tsc")}}}
        ),
        "Cargo.toml": "[package]\nname = 'x'\n",
        "go.mod": "module x\n",
    },
)
