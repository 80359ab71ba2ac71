"""Configuration files on the command line: budgets, checkpoints and the search service, of a person and of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from godwit.core.budget import Budget
from godwit.core.events import SessionConfigured
from godwit.host.terms import BudgetTerms
from godwit.models.script import Script, call
from godwit.surfaces.cli_agent import AgentFlags
from godwit.surfaces.cli_budget import over_files
from tests.parts.web_site import page, site
from tests.surfaces.terminal import Command, record


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The person's file."""
    return tmp_path / "config.toml"


@pytest.fixture
def theirs(command: Command) -> Path:
    """The folder's."""
    file = command.folder / ".godwit" / "config.toml"
    file.parent.mkdir()
    return file


@pytest.fixture
async def twice(tmp_path: Path) -> str:
    """A run that calls bash twice and then answers."""
    turns: Script = [call("bash", command="echo one > a"), call("bash", command="echo two > a"), "That was it."]
    return str(await record(tmp_path / "twice.jsonl", turns))


async def test_a_run_is_held_to_the_budget_of_the_files(command: Command, own: Path, theirs: Path, twice: str) -> None:
    own.write_text("[budget]\ntool_calls = 5\nturns = 50\n")
    theirs.write_text("[budget]\ntool_calls = 1\nturns = 60\n")
    words = ("run", "Go.", "--replay", twice, "--allow", "bash")
    env = {"GODWIT_CONFIG": str(own)}
    limited = await command.run(*words, **env)
    assert limited.code == 3, limited.err
    assert f"{theirs}:3: turns 60 is not used: this folder may spend 50 at most" in limited.out + limited.err
    (shown,) = (await command.run("budget", "last", "--json", **env)).lines
    assert shown["budget"] == {"tool_calls": 1, "turns": 50}
    assert (await command.run("budget", "last", "--json")).lines[0]["budget"] == {"tool_calls": 1, "turns": 60}
    # What a person types counts before the files, and leaves their other limits.
    done = await command.run(*words, "--max-tool-calls", "2", **env)
    assert done.code == 0, done.err
    (shown,) = (await command.run("budget", "last", "--json", **env)).lines
    assert shown["budget"] == {"tool_calls": 2, "turns": 50}
    set_here = [e.data.budgets for e in await command.log() if isinstance(e.data, SessionConfigured)]
    assert set_here == [(Budget(tool_calls=2, turns=50),)]
    lower = await command.run(*words, "--max-tool-calls", "0", **env)
    assert lower.code == 3
    assert not any(isinstance(e.data, SessionConfigured) for e in await command.log()), "the agent's own is low enough"


def test_what_is_typed_counts_before_the_files() -> None:
    terms = BudgetTerms(usd=5, tokens=100, on_limit="ask")
    assert over_files(Budget(usd=9), terms) == Budget(usd=9, tokens=100, on_limit="ask")
    assert over_files(Budget(usd=9), BudgetTerms()) == Budget(usd=9)


async def test_checkpoints_are_taken_as_the_files_say(command: Command, own: Path, theirs: Path, twice: str) -> None:
    own.write_text("[checkpoints]\nkeep_count = 1\n")
    theirs.write_text("[checkpoints]\nenabled = false\n")
    words = ("run", "Go.", "--replay", twice, "--allow", "bash")
    env = {"GODWIT_CONFIG": str(own)}
    ran = await command.run(*words, **env)
    assert ran.code == 0, ran.err
    assert f"{theirs}:2: enabled is not used: this folder may only turn checkpoints on" in ran.out + ran.err
    kept = [line for line in (await command.run("checkpoints", "last", "--json", **env)).lines if line.get("kept", True)]
    assert len(kept) == 1
    own.write_text(f'trusted = ["{command.folder}"]\n')
    assert (await command.run(*words, **env)).code == 0
    assert (await command.run("checkpoints", "last", "--json", **env)).lines == []


async def test_the_service_of_the_persons_file_is_asked(
    command: Command, own: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site() as here:
        found = {"results": [{"title": "Whales", "url": "https://whales.example/", "content": "Large."}]}
        here.answers["/search"] = page(json.dumps(found), "application/json")
        monkeypatch.setenv("GODWIT_SEARCH", "searxng")
        monkeypatch.setenv("GODWIT_SEARCH_URL", f"http://{here.here}")
        turns: Script = [call("web_search", query="whales"), "Done."]
        recording = await record(tmp_path / "search.jsonl", turns, flags=AgentFlags(tools="web"))
        chosen = f"[web_search]\nbackend = 'searxng'\nurl = 'http://{here.here}'\n"
        env = {"GODWIT_CONFIG": str(own)}
        own.write_text(chosen)
        ran = await command.run("run", "Go.", "--replay", str(recording), "--tools", "web", **env)
        assert ran.code == 0, ran.out
        assert len(here.requests) == 2
        own.write_text("")
        theirs.write_text(chosen)
        absent = await command.run("run", "Go.", "--replay", str(recording), "--tools", "web_search", **env)
        assert "web_search is absent since no search service is chosen" in absent.err
        assert len(here.requests) == 2


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[budget]\n\nusd = -1\n", 3, "usd=-1 must be a number, 0 or more"),
        ("[checkpoints]\nkeep = 1\n", 2, "there is no setting 'keep' in [checkpoints]"),
        ("[web_search]\nbackend = 'brave'\nkey = 'hunter2'\n", 3, "a key is never in a file"),
    ],
)
async def test_a_wrong_file_starts_nothing(
    command: Command, theirs: Path, twice: str, text: str, line: int, what: str
) -> None:
    theirs.write_text(text)
    wrong = await command.run("run", "Go.", "--replay", twice)
    assert wrong.code == 2, wrong.err
    assert f"{theirs}:{line}: " in wrong.err
    assert what in wrong.err
    assert "hunter2" not in wrong.err
    assert (await command.run("ls", "--json")).lines == []


async def test_the_command_line_shows_it(command: Command, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[budget]\nusd = 5\n")
    env = {"GODWIT_CONFIG": str(own), "GODWIT_BUDGET__TURNS": "4"}
    shown = await command.run("config", "show", "budget", "--origin", **env)
    assert shown.out == f"budget.usd = 5  ({own}:2)\nbudget.turns = 4  (GODWIT_BUDGET__TURNS)\n", shown.err
    as_json = await command.run("config", "show", "--json", **env)
    assert {
        "key": "budget.turns",
        "value": "4",
        "origin": "GODWIT_BUDGET__TURNS",
        "holds": True,
        "why": None,
    } in as_json.lines
    assert f"user             {own}\n" in (await command.run("config", "path", **env)).out
    (command.folder / ".godwit").mkdir(exist_ok=True)
    (command.folder / ".godwit" / "config.toml").write_text("[permissions]\nallow = ['bash']\n")
    checked = await command.run("config", "check", **env)
    assert (checked.code, "config.toml:2: allow 'bash' is not used" in checked.err) == (0, True)
    own.write_text("[budget]\nusd = 'much'\n")
    wrong = await command.run("config", "check", **env)
    assert wrong.code == 2
    assert f"{own}:2: " in wrong.err


async def test_a_setting_that_is_typed_counts_before_all_others(command: Command, own: Path, twice: str) -> None:
    own.write_text("[budget]\ntool_calls = 9\n")
    env = {"GODWIT_CONFIG": str(own), "GODWIT_BUDGET__TOOL_CALLS": "5"}
    limited = await command.run("--set", "budget.tool_calls=1", "run", "Go.", "--replay", twice, "--allow", "bash", **env)
    assert limited.code == 3, limited.err
    shown = await command.run("--set", "budget.tool_calls=1", "config", "show", "budget", "--origin", **env)
    assert [line.partition(";")[0] for line in shown.out.splitlines()] == [
        f"budget.tool_calls = 9  ({own}:2",
        "budget.tool_calls = 5  (GODWIT_BUDGET__TOOL_CALLS",
        "budget.tool_calls = 1  (option budget.tool_calls)",
    ]
    quoted = await command.run("--set", 'models."ours:a=b".images=true', "config", "show", "models", "--json")
    assert quoted.lines == [
        {"key": 'models."ours:a=b".images', "value": "true", "origin": 'option models."ours:a=b".images', "holds": True,
         "why": None}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("budget.usd", "is no setting"),
        ("budget.usd=", "gives no value"),
        ("budget.uds=5", "option budget.uds: there is no setting 'uds' in [budget]: did you mean 'usd'?"),
        ("bugdet.usd=5", "option bugdet.usd: there is no section 'bugdet': did you mean 'budget'?"),
        ("budget.usd=much", "option budget.usd: "),
    ],
)
async def test_a_typed_setting_that_is_wrong_is_told(command: Command, given: str, what: str) -> None:
    wrong = await command.run("--set", given, "config", "check")
    assert wrong.code == 2
    assert what in wrong.err


async def test_every_setting_is_listed_with_its_variable(command: Command) -> None:
    listed = (await command.run("config", "settings", "--json")).lines
    found = {one["key"]: one["variable"] for one in listed}
    assert found["server.tenant.burst"] == "GODWIT_SERVER__TENANT__BURST"
    assert found["hooks"] is None
    shown = await command.run("config", "settings", "server.tenant")
    assert "server.tenant.burst  GODWIT_SERVER__TENANT__BURST  (whole number, 500)" in shown.out
