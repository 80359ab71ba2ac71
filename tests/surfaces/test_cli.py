"""The commands as processes: what they print, their exit codes, what they leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import godwit
from godwit.contracts import EventStore
from godwit.core.agent import AgentSpec
from godwit.core.errors import ModelRefused, RunFailed
from godwit.core.events import Draft, SessionCreated
from godwit.core.ids import AgentName, SessionId
from godwit.engine.session import Session
from godwit.models.script import call, say
from godwit.stores.sqlite import SqliteStore
from godwit.surfaces.cli import VERBS, app, main
from godwit.surfaces.cli_agent import ASKED_BY_DEFAULT, AgentFlags
from godwit.surfaces.cli_exit import CliError
from tests.loopback import Loopback, Reply
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import MODEL, Command, environment, finish, record

COMMANDS = sorted(VERBS)


@pytest.fixture
async def greeting(tmp_path: Path) -> Path:
    return await record(tmp_path / "greeting.jsonl", [call("ls") + say("Looking."), "Hello there."])


# --- help, versions, errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app([name, "--help"], standalone_mode=False, prog_name="godwit") == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert f"godwit {name}" in shown


def test_help_names_the_exit_codes_and_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["godwit"])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "4 waits for an answer" in shown
    assert all(f"  {name} " in shown for name in COMMANDS)


async def test_version_and_module(command: Command) -> None:
    ended = await command.run("--version")
    assert (ended.code, ended.out) == (0, f"godwit {godwit.__version__}\n")


@pytest.mark.parametrize(
    ("words", "code", "starts"),
    [
        (["nonsense"], 2, "error[usage]: No such command 'nonsense'."),
        (["run", "--nonsense"], 2, "error[usage]: No such option: --nonsense"),
        (["run", "Go."], 2, "error[usage]: no model is chosen"),
        (["run", "Go.", "-m", "nobody:x"], 2, "error[model_not_found]: "),
        (["run", "Go.", "-m", "anthropic:claude-sonnet-4-5"], 2, "error[authentication_failed]: "),
        (["run", "Go.", "-m", "x"], 2, "error[model_not_found]: "),
        (["run", " "], 2, "error[usage]: the prompt is empty"),
        (["run"], 2, "error[usage]: no prompt is given"),
        (["run", "Go.", "--replay", "missing.jsonl"], 2, "error[configuration]: there is no recording"),
        (["run", "Go.", "--replay", "a", "--record", "b"], 2, "error[usage]: --record and --replay"),
        (["log", "ses_x"], 5, "error[session_not_found]: "),
        (["log", "last", "--deltas"], 2, "error[usage]: --deltas"),
        (["approve", "last", "--args", "[1]"], 2, "error[usage]: --args is not a JSON object"),
        (["steer", "last", "x", "--mode", "later"], 2, "error[usage]: --mode later"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing_behind(
    words: list[str],
    code: int,
    starts: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("GODWIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.argv", ["godwit", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == code, shown.err
    assert shown.out == ""
    first, *rest = shown.err.splitlines()
    assert first.startswith(starts)
    assert all(line.startswith("hint: ") for line in rest)
    assert len(rest) <= 1
    assert list(tmp_path.iterdir()) == []


async def test_only_debugging_shows_where_an_error_came_from(command: Command) -> None:
    plain = await command.run("log", "x")
    assert (plain.code, plain.out, "Traceback" in plain.err) == (5, "", False)
    assert "Traceback" in (await command.run("log", "x", GODWIT_DEBUG="1")).err


def test_starting_loads_no_provider(tmp_path: Path) -> None:
    script = (
        "import sys; from godwit.surfaces.cli import app\n"
        "app(['--db', 'x.db', 'ls'], standalone_mode=False)\n"
        "assert 'godwit.surfaces.cli_verbs.serving' not in sys.modules, 'a verb that nobody asked for'\n"
        "app(['run', '--help'], standalone_mode=False)\n"
        "heavy = {'pydantic_ai', 'openai', 'anthropic', 'google.genai', 'genai_prices', 'httpx', 'httpx2', 'rich'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    asyncio.run(SqliteStore.open(tmp_path / "x.db").close())
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- run --------------------------------------------------------------------------------------------------------------


async def test_run_prints_plain_steady_lines_into_a_pipe(command: Command, greeting: Path) -> None:
    ended = await command.run("run", "Go.", "--replay", str(greeting))
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith("session ses_")
    assert lines[1:3] == ["Looking.", "→ ls"]
    assert lines[3].startswith("✓ ls")
    assert lines[4] == "Hello there."
    assert lines[5].startswith("— done: 2 turns, 1 call")
    assert "\x1b" not in ended.out


async def test_run_as_json_is_the_log_with_the_deltas_between(command: Command, greeting: Path) -> None:
    ended = await command.run("run", "Go.", "--replay", str(greeting), "--json")
    assert ended.code == 0, ended.err
    events = [line for line in ended.lines if "seq" in line]
    assert [e["seq"] for e in events] == list(range(events[0]["seq"], events[-1]["seq"] + 1))
    assert events[-1]["type"] == "run.finished"
    stored = [json.loads(e.frame()) for e in await command.log()]
    assert events == stored[-len(events) :]
    deltas = [line for line in ended.lines if line["type"] == "delta" and line["kind"] == "text"]
    assert "".join(d["text"] for d in deltas) == "Looking.Hello there."


async def test_an_answer_that_must_fit_a_schema(command: Command, tmp_path: Path) -> None:
    schema = tmp_path / "count.json"
    schema.write_text('{"type": "object", "required": ["n"]}')
    form = {"type": "object", "required": ["n"]}
    recording = await record(tmp_path / "count.jsonl", ["two", '{"n": 2}'], "two", output=form)
    fits = await command.run("run", "two", "--schema", str(schema), "--replay", str(recording), "--json")
    assert [e["value"] for e in fits.lines if e["type"] == "output.checked" and "value" in e] == [{"n": 2}]
    nothing = await command.run("run", "two", "--schema", str(tmp_path / "missing.json"), "--replay", str(recording))
    assert (nothing.code, "--schema" in nothing.err) == (2, True), nothing.err


async def test_exit_codes_of_runs(command: Command, tmp_path: Path, greeting: Path) -> None:
    limited = await command.run("run", "Go.", "--replay", str(greeting), "--max-turns", "1")
    assert limited.code == 3
    assert "limited: max_turns" in limited.out
    mismatch = await command.run("run", "Something else.", "--replay", str(greeting))
    assert mismatch.code == 1
    assert "replay_mismatch" in mismatch.out
    assert "Something else." in mismatch.out
    failing = await _failing(tmp_path / "failing.jsonl")
    failed = await command.run("run", "Go.", "--replay", str(failing))
    assert failed.code == 1
    assert "failed: model_refused: not like this" in failed.out


async def _failing(path: Path) -> Path:
    with pytest.raises(RunFailed):
        await record(path, [ModelRefused("not like this")])
    return path


async def test_a_prompt_from_standard_input(command: Command, greeting: Path) -> None:
    ended = await command.run("run", "-", "--replay", str(greeting), text="Go.\n")
    assert ended.code == 0
    assert "Hello there." in ended.out


async def test_continue_goes_on_with_the_newest_session_of_the_folder(command: Command, tmp_path: Path) -> None:
    two = await _two(tmp_path / "two.jsonl")
    first = await command.run("run", "Go.", "--replay", str(two), "--name", "greetings")
    assert first.code == 0, first.err
    fixed = await command.run("run", "--continue", "More.", "--replay", str(two), "--tools", "bash")
    assert fixed.code == 2
    assert "--tools cannot change" in fixed.err
    second = await command.run("run", "--continue", "More.", "--replay", str(two))
    assert second.code == 0, second.out
    assert "Second." in second.out
    assert len({e.session for e in await command.log()}) == 1
    by_id = await command.run("run", "--session", (await command.log())[0].session[:12], "More.", "--replay", str(two))
    assert by_id.code == 1, "the recording holds two answers"
    listed = (await command.run("ls")).out
    assert "greetings" in listed
    assert listed.count("ses_") == 1
    nothing = await command.run("run", "--continue")
    assert nothing.code == 6
    assert "no open run to go on with; its last run is failed" in nothing.err


async def _two(path: Path) -> Path:
    async def more(session: Session) -> None:
        await session.wait()
        await session.send("More.")

    return await record(path, ["First.", "Second."], meanwhile=more)


async def test_a_live_provider_is_recorded_and_the_recording_replayed(command: Command) -> None:
    def answer(_: object) -> Reply:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        pieces = [{"role": "assistant", "content": ""}, {"content": "From "}, {"content": "afar."}]
        chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in pieces]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return Reply.sse([*chunks, {**head, "choices": [], "usage": usage}], done=True)

    async with Loopback(otherwise=answer) as server:
        env = {"OPENAI_BASE_URL": f"{server.url}/v1", "GODWIT_MODEL": "openai-chat:m"}
        live = await command.run("run", "Hello.", "--record", "kept.jsonl", **env)
        assert live.code == 0, live.err
        assert len(server.requests) == 1
        over = await command.run("run", "Something else.", "--record", "kept.jsonl", **env)
        assert over.code == 2
        assert "holds a recording already" in over.err
        assert len(server.requests) == 1, "nothing was asked"
    assert "From afar." in live.out
    again = await command.run("run", "Hello.", "--replay", "kept.jsonl", "--json")
    assert again.code == 0, again.err
    assert any(line.get("text") == "afar." for line in again.lines)


async def test_piped_chat_sends_line_after_line(command: Command, tmp_path: Path) -> None:
    two = await _two(tmp_path / "two.jsonl")
    ended = await command.run("chat", "--replay", str(two), text="Go.\nMore.\n/status\n")
    assert ended.code == 0, ended.err
    assert ended.out.index("First.") < ended.out.index("Second.")
    assert "To answer: 0" in ended.out


@pytest.mark.slow
async def test_piped_chat_answers_an_approval(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a"), "Done."])
    parked = await command.run("chat", "--replay", str(recording), text="Go.\n")
    assert parked.code == 4
    approved = await command.start("chat", "--continue", "--replay", str(recording), stdin=asyncio.subprocess.PIPE)
    ended = await finish(approved, b"/approve\n")
    assert ended.code == 0, ended.err
    assert "Done." in ended.out


# --- slash commands -------------------------------------------------------------------------------------------------


async def test_commands_are_listed_with_what_is_wrong(command: Command) -> None:
    folder = command.folder / ".godwit" / "commands"
    (folder / "git").mkdir(parents=True)
    (folder / "git" / "commit.md").write_text("---\ndescription: Commit.\nargument-hint: [MESSAGE]\n---\nCommit $1.")
    listed = await command.run("commands")
    assert listed.code == 0, listed.err
    assert "/git:commit [MESSAGE]" in listed.out
    assert "Commit.  (.godwit/commands/git/commit.md)" in listed.out
    assert "/help [COMMAND]" in listed.out
    (folder / "bad.md").write_text("---\nmodel: [\n---\nx")
    (folder / "note.md").write_text("See !`date`.")
    told = await command.run("commands", "--json")
    assert told.code == 2
    assert {"name": "note", "description": "See !`date`.", "usage": None, "safe": False} in [
        {k: v for k, v in line.items() if k != "source"} for line in told.lines
    ]
    errors = sorted(told.err.splitlines())
    assert errors[0].startswith("error: .godwit/commands/bad.md:2: the front matter is not YAML")
    assert errors[1].startswith("note: .godwit/commands/note.md:1: !`date` is not run")
    elsewhere = await command.run("commands", "--workspace", "nowhere")
    assert (elsewhere.code, elsewhere.out) == (2, "")


async def test_run_takes_commands_and_asks_no_model(command: Command, greeting: Path) -> None:
    helped = await command.run("run", "/help")
    assert helped.code == 0, helped.err
    assert "/status" in helped.out
    wrong = await command.run("run", "/hlep")
    assert wrong.code == 2
    assert wrong.err.startswith("error[unknown_command]: Unknown command: /hlep\nhint: Did you mean /help?")
    alone = await command.run("run", "/cost")
    assert alone.code == 2
    assert "godwit run --continue /cost" in alone.err
    assert not command.database.exists()
    nobody = await command.run("run", "--continue", "/cost")
    assert nobody.code == 5
    ran = await command.run("run", "Go.", "--replay", str(greeting))
    assert ran.code == 0, ran.err
    before = len(await command.log())
    cost = await command.run("run", "--continue", "/cost")
    assert cost.code == 0, cost.err
    assert cost.out.startswith("Session: ses_")
    told = await command.run("run", "--session", "last", "/name mine", "--json")
    assert [(line["name"], line["text"], line["run"]) for line in told.lines] == [("name", "Named: mine", None)]
    sent = await command.run("send", "last", "/status")
    assert "Status: idle" in sent.out
    busy = await command.run("send", "last", "/steer Stop.")
    assert (busy.code, busy.err.split("\n")[0]) == (
        6,
        "error[no_open_run]: /steer: no run is open to steer: send a prompt instead",
    )
    log = (await command.log())[before:]
    assert [e.type for e in log] == [
        "command.executed", "session.configured", "command.executed", "command.executed", "command.executed",
    ]  # fmt: skip


async def test_run_gives_a_command_file_to_the_model(command: Command, greeting: Path, tmp_path: Path) -> None:
    folder = command.folder / ".godwit" / "commands"
    folder.mkdir(parents=True)
    (folder / "go.md").write_text("Go.")
    trust = {"GODWIT_TRUST": str(tmp_path / "trusted.json")}
    ran = await command.run("run", "/go", "--trust", "--replay", str(greeting), **trust)
    assert ran.code == 0, ran.err
    assert "Hello there." in ran.out
    kinds = [e.type for e in await command.log()]
    assert kinds[1:4] == ["command.executed", "user.message", "run.started"]


async def test_a_command_that_was_cut_off_goes_on_when_it_is_given_again(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "asks.jsonl", [call("bash", command="echo a"), "Done."], "Do it.")
    folder = command.folder / ".godwit" / "commands"
    folder.mkdir(parents=True)
    (folder / "do.md").write_text("Do $ARGUMENTS.")
    trust = {"GODWIT_TRUST": str(tmp_path / "trusted.json")}
    parked = await command.run("run", "/do it", "--trust", "--replay", str(recording), **trust)
    assert parked.code == 4
    again = await command.run("run", "/do it", "--yes", "--replay", str(recording), **trust)
    assert "this prompt was given before" in again.out
    assert again.code == 0, again.err
    assert [e.type for e in await command.log()].count("run.started") == 1


async def test_piped_chat_waits_for_the_run_of_a_command_file(command: Command, tmp_path: Path) -> None:
    two = await _two(tmp_path / "two.jsonl")
    folder = command.folder / ".godwit" / "commands"
    folder.mkdir(parents=True)
    (folder / "go.md").write_text("Go.")
    lines = "/go\n/nope\nMore.\n/help show\n/show\n/follow-up\n"
    trust = {"GODWIT_TRUST": str(tmp_path / "trusted.json")}
    ended = await command.run("chat", "--trust", "--replay", str(two), text=lines, **trust)
    assert ended.code == 0, ended.err
    assert ended.out.index("First.") < ended.out.index("Second.")
    assert "/show [ID]\nShow the whole of the call that waits." in ended.out
    assert [line for line in ended.err.splitlines() if line.startswith("error")] == [
        "error[unknown_command]: Unknown command: /nope",
        "error[action_not_found]: /show: nothing waits for an answer",
        "error[invalid_argument]: /follow-up: it needs something behind it: /follow-up TEXT",
    ]
    kinds = [e.type for e in await command.log()]
    assert kinds.count("run.started") == 2
    assert kinds.count("command.executed") == 4, "what is about the screen is not recorded"


# --- looking ----------------------------------------------------------------------------------------------------------


async def _fill(store: EventStore, count: int) -> None:
    ref = await store.put_agent(AgentSpec(AgentName("coder"), (MODEL,)))
    for number in range(count):
        created = SessionCreated(ref, "/somewhere", name=f"number {number}")
        await store.create(SessionId(f"ses_{number:05}"), [Draft(created, at_ms=1_000 + number)])


async def test_ls_of_many_sessions(command: Command) -> None:
    command.database.parent.mkdir()
    async with SqliteStore.open(command.database, durability="memory") as store:
        await _fill(store, 3000)
    newest = await command.run("ls")
    assert newest.code == 0, newest.err
    lines = newest.out.splitlines()
    assert lines[0].split() == ["ID", "STATUS", "AGE", "EVENTS", "WHAT"]
    assert [line.split()[0] for line in lines[1:]] == [f"ses_{n:05}" for n in range(2999, 2979, -1)]
    assert "number 2999" in lines[1]
    assert newest.err == "older ones: godwit ls --all\n"
    everything = await command.run("ls", "--all", "--json")
    rows = everything.lines
    assert [row["id"] for row in rows] == [f"ses_{n:05}" for n in range(2999, -1, -1)]
    assert rows[0]["status"] == "queued"


@pytest.mark.slow
async def test_a_session_is_found_by_the_beginning_of_its_id(command: Command) -> None:
    command.database.parent.mkdir()
    async with SqliteStore.open(command.database) as store:
        await _fill(store, 12)
    for typed, found in (("ses_00011", "00011"), ("0000", None), ("last", "00011"), ("ses_00007", "00007"), ("9", None)):
        ended = await command.run("log", typed, "--json")
        if found is not None:
            assert [line["session"] for line in ended.lines] == [f"ses_{found}"]
        else:
            assert ended.code == (2 if typed == "0000" else 5)
            assert ("begins several sessions' ids" if typed == "0000" else "no session's id begins") in ended.err


async def test_log_of_a_run_for_people_and_from_a_place_on(command: Command, greeting: Path) -> None:
    await command.run("run", "Go.", "--replay", str(greeting))
    shown = (await command.run("log", "last")).out.splitlines()
    stored = await command.log()
    assert len(shown) == len(stored)
    assert [line.split()[2] for line in shown] == [e.type for e in stored]
    rest = await command.run("log", "last", "--from", "5", "--json")
    assert [line["seq"] for line in rest.lines] == [e.seq for e in stored[5:]]


async def test_a_reader_that_has_seen_enough_is_no_error(command: Command) -> None:
    command.database.parent.mkdir()
    async with SqliteStore.open(command.database, durability="memory") as store:
        await _fill(store, 3000)
    process = await command.start("ls", "--all", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0
    assert await process.stderr.read() == b""


async def test_doctor_tells_names_of_keys_and_never_a_key(command: Command) -> None:
    env = {
        "ANTHROPIC_API_KEY": "sk-ant-very-secret",
        "OPENAI_BASE_URL": "https://user:pass-secret@proxy.example:8443/v1?token=query-secret",
    }
    for words in (["doctor"], ["doctor", "--json"], ["-v", "doctor"]):
        ended = await command.run(*words, **env)
        assert ended.code == 0, ended.err
        assert "-secret" not in ended.out + ended.err
        assert "ANTHROPIC_API_KEY" in ended.out
        assert "https://proxy.example:8443/v1" in ended.out
    names = [line["name"] for line in (await command.run("doctor", "--json")).lines]
    assert {"godwit", "python", "sqlite", "database", "durability", "ripgrep", "git", "bash", "sandbox"} <= set(names)
    assert "sandbox none writes_confined" in names
    assert list(command.folder.iterdir()) == []


async def test_doctor_shows_what_configuration_files_say_and_what_of_it_holds(command: Command) -> None:
    own, folder = command.folder / "own.toml", command.folder / ".godwit" / "config.toml"
    folder.parent.mkdir()
    own.write_text("[budget]\nusd = 5\n")
    folder.write_text('[budget]\nusd = 2\n[permissions]\nallow = ["bash"]\n')
    ended = await command.run("doctor", GODWIT_CONFIG=str(own))
    assert ended.code == 0, ended.err
    assert f"✗ budget.usd = 5\n    {own}:2: {folder} says otherwise, and counts\n" in ended.out
    assert f"✓ budget.usd = 2\n    {folder}:2\n" in ended.out
    assert f'✗ permissions.allow = "bash"\n    {folder}:4: allow' in ended.out
    lines = {line["name"]: line for line in (await command.run("doctor", "--json", GODWIT_CONFIG=str(own))).lines}
    assert lines["this folder's"]["value"].startswith(str(folder))
    found = lines["setting budget.usd"]
    assert (found["value"], found["ok"], found["file"], found["line"], found["why"]) == ("2", True, str(folder), 2, None)
    folder.write_text("[budget]\nusd = true\n")
    ended = await command.run("doctor", GODWIT_CONFIG=str(own))
    assert ended.code == 1
    assert f"✗ configuration              {folder}:2: " in ended.out


async def test_doctor_says_when_the_database_is_damaged(command: Command) -> None:
    (command.folder / "bad.db").write_bytes(b"no database" * 100)
    ended = await command.run("--db", "bad.db", "doctor")
    assert ended.code == 1
    assert "✗ database" in ended.out


@pytest.mark.slow
def _untracked(command: Command) -> str:
    """What git would take of the database's folder."""
    subprocess.run(["git", "init", "-q"], cwd=command.folder, check=True)
    status = ["git", "status", "--porcelain", "-uall", ".godwit"]
    return subprocess.run(status, cwd=command.folder, check=True, capture_output=True, text=True).stdout


async def test_the_database_is_chosen_by_flag_or_variable(command: Command, greeting: Path) -> None:
    flag = await command.run("--db", "own.db", "run", "Go.", "--replay", str(greeting))
    assert (flag.code, (command.folder / "own.db").exists(), command.database.exists()) == (0, True, False)
    assert "godwit --db own.db run --session ses_" in flag.out
    variable = await command.run("ls", "--json", GODWIT_DB="own.db")
    assert len(variable.lines) == 1
    verbose = await command.run("-v", "ls", GODWIT_DB="own.db")
    assert verbose.err == "database: own.db\n"
    await command.run("run", "Go.", "--replay", str(greeting))
    assert _untracked(command) == ""
    (command.database.parent / "commands" / "git").mkdir(parents=True)
    (command.database.parent / "commands" / "git" / "x.md").write_text("x")
    assert _untracked(command) == "?? .godwit/commands/git/x.md\n", "only command files are for version control"


def test_flags_make_the_agent(tmp_path: Path) -> None:
    (tmp_path / "role.txt").write_text("Be brief.")
    flags = AgentFlags(
        tools="files", instructions=f"@{tmp_path}/role.txt", ask=("write",), deny=("edit",), allow=("bash",), max_turns=3
    )
    spec = flags.agent(MODEL).spec
    assert (spec.instructions, spec.tools, spec.limits.max_turns) == ("Be brief.", ("files",), 3)
    assert (spec.permissions.deny, spec.permissions.allow) == (("edit",), ("bash",))
    assert {"write", "write(**/.git/**)"} <= set(spec.permissions.ask)
    assert "bash" not in spec.permissions.ask
    assert AgentFlags().agent(MODEL).spec.permissions.ask == ASKED_BY_DEFAULT
    sandbox = AgentFlags(allowed_hosts=["pypi.org", "localhost:8080"]).agent(MODEL).spec.sandbox
    assert (sandbox.allowed_hosts, sandbox.network) == (("pypi.org", "localhost:8080"), False)
    with pytest.raises(CliError, match="--network reaches every host"):
        AgentFlags(allowed_hosts=["pypi.org"], network=True).agent(MODEL)


async def test_a_named_database_needs_its_folder(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "hi.jsonl", ["Hello."])
    ended = await command.run("--db", "none/such/x.db", "run", "Go.", "--replay", str(recording))
    assert ended.code == 2
    assert "make it first" in ended.err
    assert not (command.folder / "none").exists()
