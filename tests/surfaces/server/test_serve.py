"""`godwit serve` as a process: told to end and killed in the middle of runs, with the official client on the other side."""

from __future__ import annotations

import signal
import socket
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx2
import pytest

import godwit
from godwit.core.errors import ConfigurationError
from godwit.surfaces.cli_exit import CliError
from godwit.surfaces.cli_serve import ServeFlags, settings_of, setup_of
from tests.patience import PATIENCE_S
from tests.surfaces.managed_agents.talk import custom, said
from tests.surfaces.server.losing import losing
from tests.surfaces.server.process import Process, serving, setup
from tests.surfaces.terminal import Command

TOOL = """
    from godwit.models.script import ScriptedModel, call, say

    def runtime():
        return {"models": {"scripted:any": ScriptedModel([call("look", where="the nest"), say("It is a bird.")])}}
"""

SLOW = """
    import asyncio, os

    from godwit.models.script import ScriptedModel, call, hold, say

    async def runtime():
        last = say("Rested.") if "AWAKE" in os.environ else hold(asyncio.Event()) + say("Never.")
        return {"models": {"scripted:any": ScriptedModel([say("First."), last])}}
"""

SAYING = """
    from godwit.models.script import ScriptedModel, say

    def runtime():
        return {"models": {"scripted:any": ScriptedModel([say("First."), say("Second."), say("Third.")])}}
"""

ANY = ("--model", "*=scripted:any")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def client_of(process: Process, **options: Any) -> anthropic.Anthropic:
    given: dict[str, Any] = {"api_key": "any", "_strict_response_validation": True, **options}
    return anthropic.Anthropic(base_url=process.url, **given)


def begin(client: anthropic.Anthropic, *tools: Any) -> str:
    """A session with a first message; returns its id."""
    agent = client.beta.agents.create(name="Bird", model="claude-opus-5", tools=list(tools))
    environment = client.beta.environments.create(name="nest")
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    return session.id


def listen(client: anthropic.Anthropic, session: str, message: str, *until: str) -> list[Any]:
    """Say something, and hear what comes of it until one of these."""
    heard = []
    with client.beta.sessions.events.stream(session) as stream:
        client.beta.sessions.events.send(session, events=[said(message)])
        for event in stream:
            heard.append(event)
            if event.type in until:
                return heard
    raise AssertionError([event.type for event in heard])


def kinds(client: anthropic.Anthropic, session: str) -> list[str]:
    return [event.type for event in client.beta.sessions.events.list(session)]


def answers(client: anthropic.Anthropic, session: str) -> list[str]:
    found = [e for e in client.beta.sessions.events.list(session) if e.type == "agent.message"]
    return [block.text for message in found for block in message.content if block.type == "text"]


def test_killed_with_a_pending_tool_the_next_call_finds_everything(folder: Path) -> None:
    own = setup(folder, TOOL)
    with serving(folder, "--setup", own, *ANY) as process, client_of(process) as client:
        session = begin(client, custom("look"))
        heard = listen(client, session, "What is it?", "session.status_idle")
        assert heard[-1].stop_reason.type == "requires_action"
        before = kinds(client, session)
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(folder, "--setup", own, *ANY) as process, client_of(process) as client:
        assert kinds(client, session) == before
        found = client.beta.sessions.retrieve(session)
        assert found.status == "idle"
        use = next(e for e in client.beta.sessions.events.list(session) if e.type == "agent.custom_tool_use")
        assert use.input == {"where": "the nest"}
        result: Any = {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": use.id,
            "content": [{"type": "text", "text": "a bird"}],
        }
        with client.beta.sessions.events.stream(session) as stream:
            client.beta.sessions.events.send(session, events=[result])
            for event in stream:
                if event.type == "session.status_idle":
                    assert event.stop_reason.type == "end_turn"
                    break
        assert answers(client, session) == ["It is a bird."]
        assert kinds(client, session)[: len(before)] == before


def test_a_message_whose_answer_was_lost_is_said_once(folder: Path) -> None:
    """The official client sends it again by itself, in between the server is killed and started anew."""
    own = setup(folder, SAYING)
    with ExitStack() as stack:
        first = stack.enter_context(serving(folder, "--setup", own, *ANY))
        proxy = stack.enter_context(losing(first.url))
        client = stack.enter_context(anthropic.Anthropic(base_url=proxy.url, api_key="any"))
        session = begin(client)
        proxy.lose()
        (sent,) = client.beta.sessions.events.send(session, events=[said("one")]).data or []

        def restart() -> None:
            first.end(signal.SIGKILL)
            second = stack.enter_context(serving(folder, "--setup", own, *ANY))
            proxy.upstream = (proxy.upstream[0], urlsplit(second.url).port or 0)

        proxy.between = restart
        proxy.lose()
        (again,) = client.beta.sessions.events.send(session, events=[said("two")]).data or []
        assert proxy.lost == 2
        messages = [e for e in client.beta.sessions.events.list(session) if e.type == "user.message"]
        assert [m.id for m in messages] == [sent.id, again.id]
        assert [block.text for m in messages for block in m.content if block.type == "text"] == ["one", "two"]
        # And what is meant twice is said twice.
        client.beta.sessions.events.send(session, events=[said("two")])
        assert len([e for e in client.beta.sessions.events.list(session) if e.type == "user.message"]) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_told_to_end_it_lets_the_run_yield_and_the_next_one_goes_on(folder: Path, number: int) -> None:
    own = setup(folder, SLOW)
    with serving(folder, "--setup", own, *ANY) as process, client_of(process, max_retries=0) as client:
        session = begin(client)
        listen(client, session, "one", "session.status_idle")
        with client.beta.sessions.events.stream(session) as stream:
            client.beta.sessions.events.send(session, events=[said("two")])
            heard = []
            for event in stream:
                heard.append(event.type)
                if event.type == "session.status_running":
                    process.process.send_signal(number)
            # The stream was ended, not cut: the client has no error.
        assert "session.status_running" in heard
        assert process.process.wait(PATIENCE_S) == 0
        assert not [line for line in process.log if '"level":"error"' in line], process.log
    with serving(folder, "--setup", own, *ANY, AWAKE="1") as process, client_of(process) as client:
        with client.beta.sessions.events.stream(session) as stream:
            if client.beta.sessions.retrieve(session).status != "idle":
                for event in stream:
                    if event.type == "session.status_idle":
                        break
        assert answers(client, session) == ["First.", "Rested."]
        said_once = [e for e in client.beta.sessions.events.list(session) if e.type == "user.message"]
        assert len(said_once) == 2


@pytest.mark.slow
def test_another_server_goes_on_with_the_run_of_one_that_was_killed_at_once(folder: Path) -> None:
    """Long before it looks for whatever nobody drives, which is after half a minute."""
    own = setup(folder, SLOW)
    with ExitStack() as stack:
        first = stack.enter_context(serving(folder, "--setup", own, *ANY))
        second = stack.enter_context(serving(folder, "--setup", own, *ANY, AWAKE="1"))
        client, other = (stack.enter_context(client_of(one)) for one in (first, second))
        session = begin(client)
        listen(client, session, "one", "session.status_idle")
        listen(client, session, "two", "session.status_running")
        with other.beta.sessions.events.stream(session) as stream:
            first.end(signal.SIGKILL)
            killed_s = time.monotonic()
            for event in stream:
                if event.type == "session.status_idle":
                    break
        assert time.monotonic() - killed_s < 25
        assert answers(other, session) == ["First.", "Rested."]


@pytest.mark.slow
async def test_a_run_that_was_let_go_says_so_in_its_log(folder: Path) -> None:
    own = setup(folder, SLOW)
    with serving(folder, "--setup", own, *ANY) as process, client_of(process) as client:
        session = begin(client)
        listen(client, session, "one", "session.status_idle")
        listen(client, session, "two", "session.status_running")
        assert process.end() == 0
    log = await Command(folder).log()
    assert [e.type for e in log][-1] == "run.yielded", [e.type for e in log]


def test_what_it_prints_is_how_to_connect(folder: Path) -> None:
    with serving(folder, "--setup", setup(folder, TOOL), *ANY) as process:
        assert process.started["keys"] is False
        assert httpx2.get(f"{process.url}/readyz").json() == {"status": "ok"}
        httpx2.get(f"{process.url}/v1/agents?api_key=secret")
        assert process.end() == 0
        assert [(r["route"], r["status"]) for r in process.requests] == [("/readyz", 200), ("/v1/agents", 200)]
        assert "secret" not in "\n".join(process.log)


@pytest.mark.slow
async def test_it_starts_only_where_somebody_can_get_in(folder: Path) -> None:
    command = Command(folder)
    refused = await command.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert (refused.code, "there are none" in refused.err) == (2, True)
    refused = await command.run("serve", "--host", "0.0.0.0", "--no-keys")
    assert (refused.code, "needs keys" in refused.err) == (2, True)
    made = await command.run("keys", "create", "--name", "laptop", "--tenant", "acme", "--expires", "90d")
    assert made.code == 0, made.err
    with serving(folder, "--host", "0.0.0.0") as process:
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(f"{url}/v1/agents").status_code == 401
        assert httpx2.get(f"{url}/v1/agents", headers={"x-api-key": made.out.strip()}).status_code == 200
        listed = await command.run("keys", "list", "--json")
        assert [(k["name"], k["tenant"], k["state"]) for k in listed.lines] == [("laptop", "acme", "active")]
        revoked = await command.run("keys", "revoke", listed.lines[0]["id"][:12])
        assert revoked.code == 0, revoked.err
        assert httpx2.get(f"{url}/v1/agents", headers={"x-api-key": made.out.strip()}).status_code == 401


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("wrong", "MODULE:FUNCTION"),
        ("nowhere_at_all:x", "nowhere_at_all"),
        ("wrong_setup:absent", "wrong_setup has no absent"),
        ("wrong_setup:nothing", "returned int"),
        ("wrong_setup:more", "Runtime.open has no modelz"),
        ("wrong_setup:one", "agents is str"),
    ],
)
async def test_a_setup_that_cannot_work_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, named: str, told: str
) -> None:
    (folder / "wrong_setup.py").write_text(
        "def nothing(): return 1\ndef more(): return {'modelz': {}}\ndef one(): return {'agents': 'x'}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(CliError, match=told):
        await setup_of(named)


def test_flags_that_cannot_work_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODWIT_CONFIG", "")
    for flags in (ServeFlags(models=("claude",)), ServeFlags(models=("=a:b",)), ServeFlags(folder=Path("absent"))):
        with pytest.raises(CliError):
            settings_of(flags)
    with pytest.raises(ConfigurationError):
        settings_of(ServeFlags(host="0.0.0.0", keys=False))


async def test_a_model_of_a_provider_that_there_is_not_is_told_at_the_start(folder: Path) -> None:
    refused = await Command(folder).run("serve", "--port", "0", "-m", "x=nobody:y")
    assert (refused.code, refused.out) == (2, ""), refused.err
    assert "error[model_not_found]: x=nobody:y: model 'nobody:y': no provider 'nobody'" in refused.err
    assert "hint: correct --model" in refused.err


def test_a_key_that_is_missing_is_told_and_the_server_serves(folder: Path) -> None:
    with serving(folder, "-m", "x=openai:gpt-5", OPENAI_API_KEY="") as process:
        missing = "set OPENAI_API_KEY, or store one with godwit login openai"
        assert process.log[0] == f"note: x=openai:gpt-5: provider 'openai' has no key: {missing}", process.log
        assert httpx2.get(f"{process.url}/readyz").status_code == 200


@pytest.mark.slow
async def test_an_address_that_is_taken_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = await Command(folder).run("serve", "--port", str(taken.getsockname()[1]))
        assert (refused.code, "cannot be listened on" in refused.err) == (2, True), refused.err


def test_settings_of_files_count_where_nothing_was_typed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GODWIT_CONFIG", str(config))
    config.write_text(
        '[server]\nkeys = true\nport = 1\nmax_runs = 9\n[server.models]\n"*" = "a:b"\n"c" = "d:e"\n'
        "[server.tenant]\nburst = 7\n"
        '[server.jwt]\njwks_url = "https://issuer.example/keys"\nissuer = "i"\naudience = "a"\n'
    )
    settings = settings_of(ServeFlags(port=2, models=("c=f:g",), max_runs=5))
    assert (settings.keys, settings.port, settings.max_runs, settings.tenant.burst) == (True, 2, 5, 7)
    assert settings.models == {"*": "a:b", "c": "f:g"}
    assert settings.jwt is not None
    for text, told in (
        ("[server]\nkeys = true\nhots = 1\n", "config.toml:3: there is no setting 'hots'"),
        ("[server]\nport = 1\n[server.tenant]\nruns = 0\n", "runs 0 is not greater than 0"),
        ("[server]\nheartbeat_s = 0\n", "config.toml:2: .*heartbeat_s 0.0 is not greater than 0"),
        ("[server]\norigins = ['*']\n", "config.toml:2: .*origin"),
        ("[server.jwt]\nissuer = 'i'\n", "config.toml:1: .*jwks_url"),
    ):
        config.write_text(text)
        with pytest.raises(ConfigurationError, match=told):
            settings_of(ServeFlags())
    config.write_text("")
    (folder / ".godwit").mkdir()
    (folder / ".godwit" / "config.toml").write_text("[server]\nhost = '0.0.0.0'\n")
    assert settings_of(ServeFlags()).host == "127.0.0.1"
    assert "[server] is not used: this folder may not say how a server is run" in capsys.readouterr().err


AGENTS = """
    import godwit
    from godwit.models.script import ScriptedModel

    def runtime():
        bird = godwit.Agent("bird", model="scripted:any", sandbox=None)
        return {"models": {"scripted:any": ScriptedModel(["It rains."], "scripted:any")}, "agents": [bird]}
"""


def test_agents_of_a_setup_are_served(folder: Path) -> None:
    asked = {"threadId": "t", "runId": "r", "messages": [{"id": "u", "role": "user", "content": "Hello."}]}
    own = setup(folder, AGENTS)
    with serving(folder, "--setup", own) as process:
        assert '"delta":"rains."' in httpx2.post(f"{process.url}/agui/bird", json=asked).text
        process.end(signal.SIGKILL)
    with serving(folder, "--setup", own) as process:
        assert '"content":"It rains."' in httpx2.post(f"{process.url}/agui", json=asked).text


async def test_an_agent_of_a_setup_that_cannot_work_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "wrong_agent.py").write_text(textwrap.dedent(AGENTS.replace("sandbox=None", 'tools=["none_such"]')))
    monkeypatch.syspath_prepend(str(folder))
    own = await setup_of("wrong_agent:runtime")
    async with await godwit.Runtime.open(":memory:", **own.options) as runtime:
        with pytest.raises(CliError, match="none_such"):
            await own.register(runtime)
