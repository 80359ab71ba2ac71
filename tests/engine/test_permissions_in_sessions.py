"""Rules at work: in a running session, its folder, its tenant, and in what a person's answers leave behind."""

from __future__ import annotations

import pytest

import godwit
from godwit.contracts import ModelRequest
from godwit.core.errors import ConfigurationError, InvalidArgument
from godwit.core.events import ActionOpened, Labels, RunFinished, ToolFinished
from godwit.core.messages import Text
from godwit.core.rules import ApprovalPolicy
from godwit.engine.session import Session
from godwit.host.config import Config
from godwit.host.config_sections import PermissionSection
from godwit.models.script import Script, call
from tests.engine.conftest import Bench, within

ASK = godwit.Permissions(ask=("bash",))


async def results(session: Session) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async for event in session.follow():
        if isinstance(event.data, ToolFinished):
            block = event.data.content[0]
            assert isinstance(block, Text)
            found.append((event.data.status, block.text.strip()))
        if isinstance(event.data, RunFinished):
            break
    return found


async def opened(session: Session, number: int = 1) -> ActionOpened:
    """What is asked, for the `number`th time."""
    async for event in session.follow():
        if isinstance(event.data, ActionOpened):
            number -= 1
            if number == 0:
                return event.data
    raise AssertionError


async def test_commands_run_are_denied_and_asked_by_their_parts(bench: Bench) -> None:
    rules = godwit.Permissions(allow=("bash(echo:*)", "bash(ls:*)"), deny=("bash(rm:*)",), ask=("bash",))
    turns: Script = [
        call("bash", command="echo a; ls"),
        call("bash", command="echo b; rm x"),
        call("bash", command="echo $(id -u)"),
        "done",
    ]
    session = await bench.start(turns, "bash", permissions=rules)
    await session.prompt("go")
    asked = await opened(session)
    assert asked.arguments == {"command": "echo $(id -u)"}
    await session.deny(asked.action)
    await within(session.wait())
    assert await results(session) == [
        ("ok", "a"),
        ("denied", "This call is not permitted: 'rm x': 'bash(rm:*)' denies it."),
        ("denied", "The user denied this call."),
    ]


async def test_a_person_is_told_why_when_it_is_not_plain(bench: Bench) -> None:
    rules = godwit.Permissions(allow=("bash(git log:*)",), ask=("bash",))
    session = await bench.start([call("bash", command="GIT_PAGER=x git log"), "done"], "bash", permissions=rules)
    await session.prompt("go")
    asked = await opened(session)
    assert (asked.message, asked.rules) == ("'GIT_PAGER=x git log': it sets GIT_PAGER, which may change what runs.", ())
    await session.deny(asked.action)
    await within(session.wait())
    session = await bench.start([call("bash", command="git -c a.b=c log"), "done"], "bash", permissions=rules)
    await session.prompt("go")
    asked = await opened(session)
    assert asked.message == "'git -c a.b=c log': it is told 'a.b=c', which may run a command."
    await session.deny(asked.action)
    await within(session.wait())


async def test_an_answer_for_always_holds_for_the_folder_and_the_tenant(bench: Bench) -> None:
    turns: Script = [call("bash", command="echo a"), "done"]
    first = await bench.start(turns, "bash", permissions=ASK)
    await first.prompt("go")
    asked = await opened(first)
    assert asked.rules == ("bash(echo a)",)
    await first.approve(asked.action, remember="always")
    await within(first.wait())
    store = bench.runtimes[0].store
    saved = await store.rules(workspace=str(bench.workspace))
    assert [(one.verdict, one.rule) for one in saved] == [("allow", "bash(echo a)")]

    async def asks(labels: Labels | None = None, folder: bool = True, command: str = "echo a") -> bool:
        assert bench.model is not None
        bench.model._turns = [call("bash", command=command), "done"]
        agent = godwit.Agent("other", model="scripted:test", tools=["bash"], permissions=ASK)
        other = bench.workspace.parent / "other"
        other.mkdir(exist_ok=True)
        where = bench.workspace if folder else other
        session = await bench.runtimes[0].start_session(agent, workspace=where, labels=labels)
        await session.prompt("go")
        async for event in session.follow():
            if isinstance(event.data, ActionOpened):
                await session.deny(event.data.action)
                await within(session.wait())
                return True
            if isinstance(event.data, RunFinished):
                return False
        raise AssertionError

    assert not await asks()
    assert await asks(command="echo b")
    assert await asks(Labels(tenant="t"))
    assert await asks(folder=False)
    assert await store.delete_rule("bash(echo a)", workspace=str(bench.workspace))
    assert await asks()


async def test_an_answer_for_the_session_holds_from_the_next_call_on(bench: Bench) -> None:
    one = call("bash", command="echo a", id="c1") + call("bash", command="echo a", id="c2")
    session = await bench.start([one, call("bash", command="echo a", id="c3"), "done"], "bash", permissions=ASK)
    await session.prompt("go")
    first = await opened(session)
    await session.approve(first.action, remember="session")
    await session.approve((await opened(session, 2)).action)  # it was asked before the answer was there
    await within(session.wait())
    assert [status for status, _ in await results(session)] == ["ok", "ok", "ok"]
    assert len(await bench.runtimes[0].store.read(session.id, types=("action.opened",))) == 2
    assert await bench.runtimes[0].store.rules(workspace=str(bench.workspace)) == []


async def test_a_denial_for_always_denies_elsewhere(bench: Bench) -> None:
    session = await bench.start([call("bash", command="echo a"), "done"], "bash", permissions=ASK)
    await session.prompt("go")
    await session.deny((await opened(session)).action, remember="always", rule="bash(echo:*)")
    await within(session.wait())
    second = await bench.start([call("bash", command="echo b"), "done"], "bash", permissions=ASK, runtime=bench.runtimes[0])
    await second.prompt("go")
    await within(second.wait())
    assert await results(second) == [("denied", "This call is not permitted: 'echo b': 'bash(echo:*)' denies it.")]


async def test_a_rule_that_cannot_be_remembered_changes_nothing(bench: Bench) -> None:
    session = await bench.start([call("bash", command="rm x"), "done"], "bash", permissions=ASK)
    await session.prompt("go")
    asked = await opened(session)
    assert asked.rules == ()
    with pytest.raises(InvalidArgument, match="no narrow rule is offered"):
        await session.approve(asked.action, remember="always")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await session.approve(asked.action, remember="always", rule="bash(rm")
    assert await bench.runtimes[0].store.rules(workspace=str(bench.workspace)) == []
    assert [a.id for a in await session.pending_confirmations()] == [asked.action]
    await session.deny(asked.action)
    await within(session.wait())


async def test_what_may_be_denied_is_not_approved_by_a_policy(bench: Bench) -> None:
    """Work that is approved without asking is not approved when a rule that denies may be about it."""
    rules = godwit.Permissions(deny=("bash(rm:*)",), ask=("bash",))
    turns: Script = [call("bash", command="echo a"), call("bash", command="$X a"), "done"]
    session = await bench.start(turns, "bash", permissions=rules, approvals=ApprovalPolicy(auto=("execute",)))
    await session.prompt("go")
    asked = await opened(session)
    assert asked.arguments == {"command": "$X a"}
    await session.deny(asked.action)
    await within(session.wait())
    assert [status for status, _ in await results(session)] == ["ok", "denied"]


async def test_tools_that_a_folder_denies_are_not_shown(bench: Bench) -> None:
    config = Config(project_permissions=PermissionSection(deny=("bash",)))
    runtime = await bench.runtime(["done"], config=config)
    seen: list[list[str]] = []
    assert bench.model is not None

    def look(request: ModelRequest) -> str:
        seen.append([tool.name for tool in request.tools])
        return "done"

    bench.model._turns = [look]
    session = await bench.start([], "bash", "files", runtime=runtime, permissions=godwit.Permissions(deny=("write",)))
    await session.send("go")
    assert seen == [["read", "edit", "patch", "ls", "glob", "grep"]]
