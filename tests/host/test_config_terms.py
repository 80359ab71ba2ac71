"""[budget], [checkpoints] and [web_search] of configuration files: what is read, what a folder may, what it comes to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st
from tests.host.test_config import Files
from tests.parts.web_site import page, site

import godwit
from godwit.core.agent import AgentSpec
from godwit.core.budget import Budget
from godwit.core.checkpoint import CheckpointPolicy
from godwit.core.errors import ConfigurationError, ToolNotFound
from godwit.core.events import ToolFinished
from godwit.core.ids import AgentName
from godwit.core.messages import text_of
from godwit.engine.session import Session
from godwit.host.config import Config, load
from godwit.host.config_sections import SECTIONS
from godwit.host.runtime import Runtime
from godwit.host.search import SearchSettings
from godwit.host.terms import BudgetSection, BudgetTerms, CheckpointTerms, Terms, given as set_in
from godwit.models.script import Reply, ScriptedModel, call

MODEL = "scripted:test"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GODWIT_SEARCH", "GODWIT_SEARCH_URL", "BRAVE_API_KEY", "TAVILY_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def spec(**options: object) -> AgentSpec:
    return godwit.Agent("clerk", model=MODEL, **options).spec  # type: ignore[arg-type]


def trusting(files: Files, text: str = "") -> str:
    return f'trusted = ["{files.workspace}"]\n{text}'


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_sections_are_read(files: Files) -> None:
    found = files.load(
        "[budget]\nusd = 5\ntokens = 1e6\non_limit = 'ask'\n[budget.tree]\nusd = 20.5\n"
        "[checkpoints]\nkeep_count = 50\nkeep_age_s = 86_400\nkeep_bytes = 1_000_000\n"
        "ignored = 'never'\non_failure = 'warn'\n"
        "[web_search]\nbackend = 'brave'\nkey_env = 'OUR_BRAVE_KEY'\n"
    )
    assert found.user_budget == BudgetSection(BudgetTerms(usd=5, tokens=1_000_000, on_limit="ask"), BudgetTerms(usd=20.5))
    assert found.user_checkpoints == CheckpointTerms(
        ignored="never", on_failure="warn", keep_count=50, keep_age_s=86_400, keep_bytes=1_000_000
    )
    assert found.web_search == SearchSettings("brave", "OUR_BRAVE_KEY")
    assert found.notices == ()
    assert files.load("[checkpoints]\nenabled = false\n").terms == Terms(checkpoints=CheckpointTerms(enabled=False))
    local = files.load("[web_search]\nbackend = 'searxng'\nurl = 'http://localhost:8888'\n")
    assert local.web_search == SearchSettings("searxng", url="http://localhost:8888")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[budget]\nusd = 1\n\nusdd = 5\n", 4, "there is no setting 'usdd' in .budget.: did you mean 'usd'?"),
        ("[budget]\nscope = 'tree'\n", 2, "there is no setting 'scope' in .budget."),
        ("[budget]\ntokens = 5\nusd = -1\n", 3, r".budget.: usd=-1 must be a number, 0 or more"),
        ("[budget]\nusd = '5'\n", 2, "usd='5' must be a number"),
        ("[budget]\nusd = nan\n", 2, "must be a number"),
        ("[budget]\nusd = inf\n", 2, "must be a number"),
        ("[budget]\nturns = true\n", 2, "turns=True must be a number"),
        ("[budget]\nturns = 1.5\n", 2, "must be a whole number"),
        ("[budget]\nsoft = 2\n", 2, "soft=2 must be more than 0"),
        ("[budget]\non_limit = 'go'\n", 2, "on_limit='go' must be stop or ask"),
        ("[budget]\nunpriced = []\n", 2, "unpriced=.. must be deny or allow"),
        ("[budget]\nusd = 1\n[budget.tree]\nturns = 1\nusd = -2\n", 5, r".budget.tree.: usd=-2 must be"),
        ("[budget.tree]\nusd = 1\nusdd = 1\n", 3, "no setting 'usdd' in .budget.tree."),
        ("[budget.tree.tree]\nusd = 1\n", 1, "no setting 'tree' in .budget.tree."),
        ("[budget]\nusd = 1\ntree = 5\n", 3, ".budget.tree. has to be a table"),
        ("\n\nbudget = { tree = { usd = -1 } }\n", 3, "usd=-1"),
        ("[budget]\nusd = 1\ntree = { usd = -1 }\n", 3, "usd=-1"),
        ("[budget]\ntree.usd = -1\n", 2, "usd=-1"),
        ("budget.usd = -1\n", 1, "usd=-1"),
        ("budget = 5\n", 1, ".budget. has to be a table"),
        ("[[budget]]\nusd = 5\n", 1, ".budget. has to be a table"),
        ("[budgets]\nusd = 5\n", 1, "there is no setting or section 'budgets': did you mean 'budget'?"),
        ("[checkpoints]\nkeep_cuont = 5\n", 2, "no setting 'keep_cuont' in .checkpoints.: did you mean 'keep_count'?"),
        ("[checkpoints]\nenabled = true\nkeep_count = -1\n", 3, "keep_count=-1 must be more than 0"),
        ("[checkpoints]\nkeep_age_s = nan\n", 2, "keep_age_s=nan must be more than 0"),
        ("[checkpoints]\nkeep_bytes = 0\n", 2, "keep_bytes=0 must be more than 0"),
        ("[checkpoints]\n\nkeep_count = 1.5\n", 3, "keep_count: expected int"),
        ("[checkpoints]\nenabled = 'no'\n", 2, "enabled: expected bool"),
        ("[checkpoints]\nignored = 'some'\n", 2, "ignored: invalid enum value 'some'"),
        ("[checkpoints]\non_failure = 'ask'\n", 2, "on_failure: invalid enum value 'ask'"),
        ("checkpoints = false\n", 1, ".checkpoints. has to be a table"),
        ("[web_search]\nbackend = 'bing'\n", 2, "backend: invalid enum value 'bing'"),
        ("\n[web_search]\nurl = 'http://a'\n", 2, "chooses no backend: searxng, brave or tavily"),
        ("[web_search]\nbackend = 'brave'\nkeyenv = 'A'\n", 3, "'keyenv' in .web_search.: did you mean 'key_env'?"),
        ("[web_search]\nbackend = 'searxng'\n", 2, "searxng needs the address of the instance"),
        ("[web_search]\nbackend = 'searxng'\nurl = 'localhost'\n", 3, "a URL begins with https"),
        ("[web_search]\nbackend = 'searxng'\nurl = 'http://a:b@c'\n", 3, "leave it out"),
        ("[web_search]\nbackend = 'searxng'\nurl = 'http://a'\nkey_env = 'A'\n", 4, "searxng takes no key"),
        ("[web_search]\nbackend = 'tavily'\nurl = 'http://a'\n", 3, "tavily has its own"),
        ("[web_search]\nbackend = 'tavily'\nkey_env = 5\n", 3, "key_env: expected str"),
        ("web_search = 'brave'\n", 1, ".web_search. has to be a table"),
    ],
)  # fmt: skip
def test_an_error_names_file_and_line(files: Files, text: str, line: int, what: str) -> None:
    for file, texts in ((files.user, (text, None)), (files.project, (None, text))):
        with pytest.raises(ConfigurationError, match=rf"^{file}:{line}: .*{what}"):
            files.load(*texts)


@pytest.mark.parametrize("setting", ["key", "api_key", "token", "key_env"])
def test_a_key_in_a_file_is_refused_and_not_shown(files: Files, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{files.user}:3: .*(never in a file|never the key itself)") as refused:
        files.load(f"[web_search]\nbackend = 'tavily'\n{setting} = 'tvlyHunter2'\n")
    assert "unter2" not in str(refused.value.fault())


# --- what a folder's file may -----------------------------------------------------------------------------------------


def test_a_folders_file_may_only_lower_a_budget(files: Files) -> None:
    user = "[budget]\nusd = 5\nturns = 10\non_limit = 'ask'\n[budget.tree]\nusd = 20\n"
    project = (
        "[budget]\nusd = 50\nturns = 3\ntool_calls = 7\non_limit = 'stop'\nunpriced = 'deny'\n"
        "[budget.tree]\nsoft = 1\nusd = 21\ntokens = 9\n"
    )
    found = files.load(user, project)
    assert found.terms.budget == BudgetSection(
        BudgetTerms(usd=5, turns=3, tool_calls=7, on_limit="ask", unpriced="deny"), BudgetTerms(usd=20, tokens=9)
    )
    shown = [str(notice) for notice in found.notices]
    assert [line.split(": ")[0] for line in shown] == [f"{files.project}:{n}" for n in (2, 5, 8, 9)]
    assert "usd 50 is not used: this folder may spend 5 at most, unless you trust it" in shown[0]
    assert "on_limit is not used: this folder may only lower limits" in shown[1]
    free = files.load(trusting(files, user), project)
    assert free.notices == ()
    assert free.terms.budget.session == BudgetTerms(usd=50, turns=3, tool_calls=7, on_limit="stop", unpriced="deny")
    assert free.terms.budget.tree == BudgetTerms(usd=21, tokens=9, soft=1)


def test_a_folders_file_may_only_keep_more(files: Files) -> None:
    weaker = "[checkpoints]\nenabled = false\non_failure = 'warn'\nignored = 'always'\nkeep_count = 1\n"
    found = files.load("[checkpoints]\nkeep_count = 9\n", weaker)
    assert found.terms.checkpoints == CheckpointTerms(keep_count=9)
    assert [n.line for n in found.notices] == [2, 3, 4, 5]
    assert "enabled is not used: this folder may only turn checkpoints on" in str(found.notices[0])
    stricter = "[checkpoints]\nenabled = true\non_failure = 'block'\n"
    found = files.load("[checkpoints]\nenabled = false\non_failure = 'warn'\nkeep_count = 9\n", stricter)
    assert (found.terms.checkpoints, found.notices) == (CheckpointTerms(True, None, "block", keep_count=9), ())
    free = files.load(trusting(files, "[checkpoints]\nkeep_count = 9\n"), weaker)
    assert free.terms.checkpoints == CheckpointTerms(False, "always", "warn", keep_count=1)


def test_a_folders_file_may_not_choose_who_is_asked(files: Files) -> None:
    project = "[web_search]\nbackend = 'searxng'\nurl = 'http://evil.example'\n"
    found = files.load("[web_search]\nbackend = 'brave'\n", project)
    assert found.web_search == SearchSettings("brave")
    assert str(found.notices[0]).startswith(f"{files.project}:2: backend 'searxng' is not used: this folder may not choose")
    assert files.load(None, project).web_search is None
    free = files.load(trusting(files, "[web_search]\nbackend = 'brave'\n"), project)
    assert free.web_search == SearchSettings("searxng", url="http://evil.example")


def test_a_persons_file_within_the_workspace_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "godwit" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[budget]\nusd = 5\non_limit = 'ask'\n[checkpoints]\nenabled = false\n[web_search]\nbackend = 'brave'\n")
    found = load(tmp_path, environment={"HOME": str(tmp_path)})
    assert (found.terms, found.web_search) == (Terms(BudgetSection(BudgetTerms(usd=5))), None)
    assert len(found.notices) == 4


AMOUNTS = st.none() | st.integers(0, 20)
BUDGETS = st.builds(
    BudgetTerms,
    tokens=AMOUNTS,
    usd=AMOUNTS,
    turns=AMOUNTS,
    soft=st.sampled_from([None, 0.5, 1]),
    on_limit=st.sampled_from([None, "stop", "ask"]),
    unpriced=st.sampled_from([None, "deny", "allow"]),
)
CHECKPOINTS = st.builds(
    CheckpointTerms,
    enabled=st.sampled_from([None, True, False]),
    ignored=st.sampled_from([None, "never", "small", "always"]),
    on_failure=st.sampled_from([None, "block", "warn"]),
    keep_count=st.none() | st.integers(1, 9),
    max_bytes=st.none() | st.integers(1, 9),
)


@given(BUDGETS, BUDGETS, st.none() | st.integers(0, 20))
def test_whatever_a_folder_says_of_a_budget_nothing_is_loosened(
    user: BudgetTerms, theirs: BudgetTerms, own: int | None
) -> None:
    agent = spec(budget=None if own is None else Budget(turns=own))
    kept, left = SECTIONS["budget"].untrusted(BudgetSection(theirs), BudgetSection(user))
    alone = Terms(BudgetSection(user)).held(agent).budgets
    both = Config(user_budget=BudgetSection(user), project_budget=kept).terms.held(agent).budgets
    before, after = (budgets[0] if budgets else Budget() for budgets in (alone, both))
    for name, limit in before.limits.items():
        assert after.limits[name] <= limit
    if both:
        assert after.on_limit == (before.on_limit if alone else user.on_limit or "stop")
        assert after.unpriced in ("deny", before.unpriced if alone else user.unpriced or "deny")
    told = {key for key, _, _ in left}
    assert told | set_in(kept.session).keys() == set_in(theirs).keys(), "what is not used is told"


@given(CHECKPOINTS, CHECKPOINTS)
def test_whatever_a_folder_says_of_checkpoints_no_less_is_kept(user: CheckpointTerms, theirs: CheckpointTerms) -> None:
    kept, left = SECTIONS["checkpoints"].untrusted(theirs, user)
    before = Terms(checkpoints=user).held(spec()).checkpoints
    after = Config(user_checkpoints=user, project_checkpoints=kept).terms.held(spec()).checkpoints
    assert after.enabled >= before.enabled
    assert after.on_failure in ("block", before.on_failure)
    same = msgspec.structs.replace(after, enabled=before.enabled, on_failure=before.on_failure)
    assert same == before
    assert {key for key, _, _ in left} | set_in(kept).keys() == set_in(theirs).keys(), "what is not used is told"


# --- what it comes to -------------------------------------------------------------------------------------------------


def test_of_a_limit_the_lower_one_counts() -> None:
    terms = Terms(BudgetSection(BudgetTerms(usd=5, turns=10, soft=0.5), BudgetTerms(tokens=100, on_limit="ask")))
    assert terms.held(spec()).budgets == (
        Budget(usd=5, turns=10, soft=0.5),
        Budget(tokens=100, scope="tree", on_limit="ask"),
    )
    own = spec(budget=[Budget(usd=9, turns=2, tokens=7, on_limit="ask"), Budget(tokens=5, scope="tree")])
    assert terms.held(own).budgets == (
        Budget(usd=5, turns=2, tokens=7, soft=0.5, on_limit="ask"),
        Budget(tokens=5, scope="tree", on_limit="ask"),
    )
    assert Terms().held(own) is own
    assert Terms(BudgetSection(BudgetTerms(on_limit="ask"))).held(spec()).budgets == ()  # it limits nothing
    kept = Terms(checkpoints=CheckpointTerms(keep_count=3, on_failure="warn")).held(
        spec(checkpoints=CheckpointPolicy(ignored="never", keep_count=9))
    )
    assert kept.checkpoints == CheckpointPolicy(ignored="never", on_failure="warn", keep_count=3)
    off = Terms(checkpoints=CheckpointTerms(enabled=True)).held(spec(checkpoints=False))
    assert off.checkpoints == CheckpointPolicy()


class Hosted:
    """Sessions of a runtime that reads the files of their folders."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def config(self, workspace: str | None) -> Config:
        return load(workspace, environment=self.files.environment)

    async def open(self, script: Iterable[Reply | str] = ()) -> Runtime:
        models = {MODEL: ScriptedModel(list(script), MODEL)}
        return await Runtime.open(self.files.home / "godwit.db", models=models, config=self.config)

    async def start(self, runtime: Runtime, **options: object) -> Session:
        agent = godwit.Agent("clerk", model=MODEL, **options)  # type: ignore[arg-type]
        return await runtime.start_session(agent, workspace=self.files.workspace)


@pytest.fixture
def hosted(files: Files) -> Hosted:
    return Hosted(files)


async def test_a_session_is_held_to_the_budget_of_the_files(hosted: Hosted, files: Files) -> None:
    files.load("[budget]\nturns = 2\n", "[budget]\nturns = 1\n")
    async with await hosted.open([call("ls"), "Done.", call("ls"), "Done."]) as runtime:
        session = await hosted.start(runtime, tools=["ls"], budget={"turns": 9, "tool_calls": 5})
        assert await session.budget() == Budget(turns=1, tool_calls=5)
        assert session.config.spec.budgets == (Budget(turns=9, tool_calls=5),)  # as it is stored
        result = await session.send("Go.")
        assert (result.outcome, result.error and result.error.code) == ("limited", "budget_exhausted")
        await session.set_budget({"turns": 20})  # what is set on a session counts in place of the files
        assert (await session.resume_run(result.run)).outcome == "done"
        await session.set_budget(None)
        assert await session.budget() == Budget(turns=1, tool_calls=5)


async def test_a_direct_call_is_held_to_it_as_well(hosted: Hosted, files: Files) -> None:
    files.load("[budget]\ntool_calls = 1\n")
    async with await hosted.open() as runtime:
        session = await hosted.start(runtime, tools=["ls"])
        assert (await session.tool("ls", {})).ok
        refused = await session.tool("ls", {})
        assert not refused.ok
        assert "Budget exhausted on 'tool_calls': 1 of 1 tool call spent" in refused.output


async def test_those_that_work_for_a_session_are_held_to_its_tree(hosted: Hosted, files: Files) -> None:
    files.load(None, "[budget.tree]\nturns = 1\n")
    async with await hosted.open(["One.", "Two."]) as runtime:
        session = await hosted.start(runtime)
        child = await runtime.start_session(
            "clerk", parent=session.id
        )  # in no folder, so that only its parent's file counts
        assert (await child.send("Go.")).outcome == "done"
        assert (await child.send("Go.")).outcome == "limited"


async def test_a_question_of_the_files_budget_is_answered_with_more(hosted: Hosted, files: Files) -> None:
    files.load("[budget]\nturns = 1\non_limit = 'ask'\n")
    async with await hosted.open([call("ls"), "Done."]) as runtime:
        session = await hosted.start(runtime, tools=["ls"])
        run = await session.prompt("Go.")
        async for event in session.follow():
            if event.type == "action.opened":
                break
        (question,) = await session.approvals.pending()
        assert question.arguments["turns"] == 1
        await session.approve(question.id)
        assert (await session.wait(run)).outcome == "done"
        assert await session.budget() == Budget(turns=2, on_limit="ask")


async def test_checkpoints_are_taken_as_the_files_say(hosted: Hosted, files: Files) -> None:
    writes: list[Reply | str] = []
    for n in range(3):
        writes += [call("write", file_path=f"{n}.txt", content="x"), "Done."]
    files.load("[checkpoints]\nenabled = false\n")
    async with await hosted.open(writes) as runtime:
        session = await hosted.start(runtime, tools=["write"])
        await session.send("Go.")
        assert await session.checkpoints() == []
        files.load("[checkpoints]\nenabled = false\n", "[checkpoints]\nenabled = true\n")  # it counts from the next drive on
        await session.send("Go.")
        assert len(await session.checkpoints()) == 2
    files.load("[checkpoints]\nkeep_count = 1\n")
    async with await hosted.open(writes) as runtime:
        session = await hosted.start(runtime, tools=["write"])
        for _ in range(3):
            await session.send("Go.")
    async with await hosted.open() as runtime:  # they are let go of once a run has ended, at the latest when its host closes
        session = await runtime.open_session(session.id, drive=False)
        assert len([c for c in await session.checkpoints() if c.kept]) == 1


async def test_a_wrong_file_is_told_where_it_is_asked_for(hosted: Hosted, files: Files) -> None:
    async with await hosted.open() as runtime:
        session = await hosted.start(runtime)
        files.project.write_text("[budget]\nusd = -1\n")
        with pytest.raises(ConfigurationError, match=rf"^{files.project}:2: .*usd=-1"):
            await hosted.start(runtime)
        with pytest.raises(ConfigurationError, match=rf"^{files.project}:2: .*usd=-1"):
            await session.budget()


# --- the web ----------------------------------------------------------------------------------------------------------


async def test_the_service_of_the_files_is_asked(hosted: Hosted, files: Files) -> None:
    async with site() as here:
        found = {"results": [{"title": "Whales", "url": "https://whales.example/", "content": "Large."}]}
        here.answers["/search"] = page(json.dumps(found), "application/json")
        files.load(f"[web_search]\nbackend = 'searxng'\nurl = 'http://{here.here}'\n")
        async with await hosted.open([call("web_search", query="whales"), "Done."]) as runtime:
            session = await hosted.start(runtime, tools=["web"])
            assert session.tool_names() == ["web_fetch", "web_search"]
            await session.send("Go.")
            (said,) = [e.data for e in await session.events() if isinstance(e.data, ToolFinished)]
            assert "https://whales.example/" in text_of(said.content)


async def test_the_host_can_ask_it_for_an_agent_without_the_tool(hosted: Hosted, files: Files) -> None:
    async with site() as here:
        here.answers["/search"] = page('{"results": []}', "application/json")
        files.load(f"[web_search]\nbackend = 'searxng'\nurl = 'http://{here.here}'\n")
        async with await hosted.open() as runtime:
            session = await hosted.start(runtime)
            assert (await session.tool("web_search", {"query": "whales"})).output == "No results."


async def test_a_folders_service_is_asked_only_where_the_folder_is_trusted(hosted: Hosted, files: Files) -> None:
    project = "[web_search]\nbackend = 'searxng'\nurl = 'http://127.0.0.1:9'\n"
    async with await hosted.open() as runtime:
        files.load(None, project)
        with pytest.raises(ToolNotFound, match="web_search is absent since no search service is chosen"):
            await hosted.start(runtime, tools=["web_search"])
        assert (await hosted.start(runtime, tools=["web"])).tool_names() == ["web_fetch"]
        files.load(trusting(files), project)
        assert (await hosted.start(runtime, tools=["web_search"])).tool_names() == ["web_search"]
        with pytest.raises(ToolNotFound):
            await runtime.start_session(godwit.Agent("other", model=MODEL, tools=["web_search"]))  # in no folder


async def test_a_missing_key_is_told_by_its_variable(hosted: Hosted, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.load("[web_search]\nbackend = 'tavily'\nkey_env = 'OUR_KEY'\n")
    async with await hosted.open() as runtime:
        with pytest.raises(ToolNotFound, match="absent since the search service is tavily: set OUR_KEY as well"):
            await hosted.start(runtime, tools=["web_search"])
        monkeypatch.setenv("OUR_KEY", "hunter2")
        assert (await hosted.start(runtime, tools=["web_search"])).tool_names() == ["web_search"]


async def test_the_environment_and_the_programs_own_tool_count_before_a_file(
    hosted: Hosted, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    from godwit.tools.web_search import SearXNG, WebSearch

    files.load("[web_search]\nbackend = 'tavily'\nkey_env = 'OUR_KEY'\n")
    monkeypatch.setenv("OUR_KEY", "hunter2")
    own = WebSearch(SearXNG("http://127.0.0.1:9"))
    async with await Runtime.open(":memory:", tools=[own], config=hosted.config) as runtime:
        assert runtime.tools_of(spec(tools=["web_search"]), str(files.workspace)) == [own]
    monkeypatch.setenv("GODWIT_SEARCH", "brave")
    async with await hosted.open() as runtime:
        with pytest.raises(ToolNotFound, match="GODWIT_SEARCH is brave: set BRAVE_API_KEY as well"):
            await hosted.start(runtime, tools=["web_search"])


def test_files_say_how_conversations_are_kept_but_a_stranger_may_only_tell_less(tmp_path: Path) -> None:
    own, folder = tmp_path / "own.toml", tmp_path / "work"
    (folder / ".godwit").mkdir(parents=True)
    own.write_text("[context]\ncompact_at = 0.5\n")
    (folder / ".godwit" / "config.toml").write_text("[context]\nfiles = false\nkeep_tokens = 7\n")
    found = load(folder, environment={"GODWIT_CONFIG": str(own)})
    held = found.terms.held(AgentSpec(AgentName("a"), ("p:m",)))
    assert (held.context.compact_at, held.context.keep_tokens) == (0.5, 20_000)
    assert (found.context.files, [notice.line for notice in found.notices]) == (False, [3])
    own.write_text("[context]\ncompact_at = 2\n")
    with pytest.raises(ConfigurationError, match=r"own.toml:2: "):
        load(folder, environment={"GODWIT_CONFIG": str(own)})
