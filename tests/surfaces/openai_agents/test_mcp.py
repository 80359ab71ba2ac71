"""MCP servers as tools, through the official client: a real MCP server on loopback, with and without credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from godwit.core.rules import Permissions
from godwit.models.script import ScriptedModel, call, say
from godwit.surfaces.server import ServerSettings
from tests.parts.mcp_site import McpSite, mcp_site
from tests.surfaces.server.running import running

from .conftest import NONE, Shared, Start, client_of

SECRET = "hunter2hunter2"


def settings_for(*sites: McpSite) -> ServerSettings:
    return ServerSettings(port=0, models={"*": "scripted:any"}, reach=tuple(site.here for site in sites))


def tool_of(site: McpSite, label: str = "docs", *, transport: dict[str, Any] | None = None, **fields: Any) -> Any:
    http = {"type": "http", "server_url": site.url, **(transport or {})}
    return {"type": "mcp", "server_label": label, "transport": http, **fields}


def kept(site: McpSite, **fields: Any) -> dict[str, Any]:
    """As an agent that is kept shows it."""
    transport = {"type": "http", "server_url": site.url, "headers": {}}
    return shown(site, transport=transport, **fields)


def shown(site: McpSite, **fields: Any) -> dict[str, Any]:
    """As a session shows it."""
    return {
        "type": "mcp",
        "server_label": "docs",
        "transport": {"type": "http", "server_url": site.url},
        "allowed_tools": None,
        "connection_origin": "service",
        "credential_id": None,
        "request_metadata": {},
        "required": False,
        **fields,
    }


def said(client: openai.OpenAI, session: str, text: str = "Go.") -> list[Any]:
    """Say it and wait for the end of the turn; the items of the calls that were done in it."""
    with client.beta.agents.sessions.stream(session, input=text) as events:
        turn = events.get_final_result().turn
    assert turn is not None
    items = client.beta.agents.sessions.turns.items.list(turn.id, session_id=session, order="asc")
    return [one for one in items if one.type == "mcp_call"]


def test_a_call_is_an_item_of_its_server(start: Start) -> None:
    with mcp_site() as site:
        server = start(call("mcp__docs__echo", text="hello"), say("Done."), settings=settings_for(site))
        client = client_of(server)
        agent = client.beta.agents.create(model="m", tools=[tool_of(site)])
        assert [one.to_dict() for one in agent.tools] == [kept(site)]
        session = client.beta.agents.sessions.create(agent_id=agent.id, environment=NONE)
        assert [one.to_dict() for one in session.agent.tools] == [shown(site)]
        (item,) = said(client, session.id)
        assert (item.server_label, item.name, item.arguments) == ("docs", "echo", {"text": "hello"})
        assert (item.status, item.output, item.error) == ("completed", "hello", None)
        assert site.calls == ["echo"]


def test_only_the_allowed_tools(start: Start) -> None:
    with mcp_site() as site:
        calls = call("mcp__docs__echo", text="1") + call("mcp__docs__numbers")
        client = client_of(start(calls, say("Done."), settings=settings_for(site)))
        tool = tool_of(site, allowed_tools=["echo"])
        session = client.beta.agents.sessions.create(agent={"model": "m", "tools": [tool]}, environment=NONE)
        assert [one.to_dict() for one in session.agent.tools] == [shown(site, allowed_tools=["echo"])]
        assert [(one.name, one.status) for one in said(client, session.id)] == [("echo", "completed"), ("numbers", "failed")]
        assert site.calls == ["echo"]


def test_a_sessions_own_authorization_is_sealed_and_holds_after_a_restart(tmp_path: Path) -> None:
    with mcp_site(takes=SECRET) as site:
        script = [call("mcp__docs__echo", text="1"), say("1"), call("mcp__docs__echo", text="2"), say("2")]
        options: Any = {"settings": settings_for(site)}
        with running(tmp_path / "g.db", models={"scripted:any": ScriptedModel(script)}, **options) as server:
            client = client_of(server)
            agent: Any = {"model": "m", "tools": [tool_of(site, transport={"authorization": f"Bearer {SECRET}"})]}
            session = client.beta.agents.sessions.create(agent=agent, environment=NONE)
            assert [one.to_dict() for one in session.agent.tools] == [shown(site)]
            assert session.vault_ids == []
            assert [one.output for one in said(client, session.id)] == ["1"]
            other = client.beta.agents.sessions.create(agent={"model": "m", "tools": [tool_of(site)]}, environment=NONE)
            assert [one.status for one in said(client, other.id)] == ["failed"], "it is the session's own"
        with running(tmp_path / "g.db", models={"scripted:any": ScriptedModel(script)}, **options) as server:
            client = client_of(server)
            assert [one.output for one in said(client, session.id)] == ["2"]
            assert SECRET not in client.beta.agents.sessions.retrieve(session.id).to_json()
            client.beta.agents.sessions.delete(session.id)
            assert server.call(lambda: _secrets(server)) == []
    for file in tmp_path.iterdir():
        assert SECRET.encode() not in (file.read_bytes() if file.is_file() else b"")


async def _secrets(server: Any) -> list[Any]:
    return list(await server.runtime.store.documents("secret", tenant=None))


def test_another_authorization_of_a_session(start: Start) -> None:
    with mcp_site(takes="first") as site:
        script = [call("mcp__docs__echo", text="1"), say("1"), call("mcp__docs__echo", text="2"), say("2")]
        client = client_of(start(*script, settings=settings_for(site)))
        sessions = client.beta.agents.sessions
        headers = {"headers": {"Authorization": "first"}}
        session = sessions.create(agent={"model": "m", "tools": [tool_of(site, transport=headers)]}, environment=NONE)
        assert [one.status for one in said(client, session.id)] == ["completed"]
        site.takes = "second"
        sessions.update(session.id, agent={"tools": [tool_of(site, transport={"authorization": "second"})]})
        assert [one.status for one in said(client, session.id)] == ["completed"]
        plain = sessions.create(agent={"model": "m"}, environment=NONE)
        with pytest.raises(openai.InternalServerError, match="made without an authorization"):
            sessions.update(plain.id, agent={"tools": [tool_of(site, transport={"authorization": "second"})]})
        assert sessions.retrieve(plain.id).agent.tools == []


def test_a_credential_of_a_vault(start: Start) -> None:
    with mcp_site(takes=SECRET) as site:
        script = [call("mcp__docs__echo", text="1"), say("1")]
        client = client_of(start(*script, settings=settings_for(site)))
        vaults, sessions = client.beta.agents.vaults, client.beta.agents.sessions
        wrong, right = vaults.create(name="wrong"), vaults.create(name="right")
        for vault, token in ((wrong, "other"), (right, SECRET)):
            auth: Any = {"type": "static_bearer", "token": token, "mcp_server_url": site.url}
            made = vaults.credentials.create(vault.id, name="docs", auth=auth)
        agent = client.beta.agents.create(model="m", tools=[tool_of(site, credential_id=made.id)])
        both = sessions.create(agent_id=agent.id, environment=NONE, vault_ids=[wrong.id, right.id])
        assert sorted(both.vault_ids) == sorted([wrong.id, right.id])
        assert [one.status for one in said(client, both.id)] == ["completed"]
        plain: Any = {"model": "m", "tools": [tool_of(site)]}
        one = sessions.create(agent=plain, environment=NONE, vault_ids=[right.id])
        assert [item.status for item in said(client, one.id)] == ["completed"]
        with pytest.raises(openai.BadRequestError, match="none of the session's vaults"):
            sessions.create(agent_id=agent.id, environment=NONE, vault_ids=[wrong.id])
        with pytest.raises(openai.NotFoundError, match="vlt_none"):
            sessions.create(agent=plain, environment=NONE, vault_ids=["vlt_none"])
        with pytest.raises(openai.NotFoundError):
            sessions.create(agent=plain, environment=NONE, vault_ids=[f"own_{one.id}"])


def test_a_call_that_a_rule_asks_about(start: Start) -> None:
    """The protocol has no word for asking before a call; an agent's rules, set elsewhere, have."""
    with mcp_site() as site:
        server = start(call("mcp__docs__echo", text="1"), say("Done."), settings=settings_for(site))
        client = client_of(server)
        agent = client.beta.agents.create(model="m", tools=[tool_of(site)])

        async def ask() -> None:
            from msgspec.structs import replace

            runtime = server.runtime
            _, spec = await runtime.store.get_agent(agent.id)
            await runtime.create(replace(spec, permissions=Permissions(ask=("mcp__docs",))))

        server.call(ask)
        session = client.beta.agents.sessions.create(agent_id=agent.id, environment=NONE, input="Go.")
        sessions = client.beta.agents.sessions
        with sessions.events.stream(session.id, extra_query={"from_seq": "0"}) as events:
            for event in events:
                if event.type == "agent.session.requires_action":
                    (action,) = event.session.required_actions
                    assert action.type == "mcp_approval_request"
                    assert (action.request.server_label, action.request.name) == ("docs", "echo")
                    answer: Any = {"type": "agent.session.input.mcp_approval_request_result"}
                    answer.update(request_id=action.request_id, response={"type": "mcp_tool_call", "decision": "approve"})
                    sessions.events.create(session.id, events=[answer])
                if event.type == "agent.session.turn.completed":
                    break
        assert site.calls == ["echo"]


def test_an_agent_of_another_protocol_shows_its_servers(start: Start) -> None:
    with mcp_site() as site:
        server = start(settings=settings_for(site))
        body = {"models": ["scripted:any"], "mcp_servers": [{"name": "docs", "url": site.url, "tools": ["echo"]}]}
        made = httpx.put(f"{server.url}/godwit/v1/agents/bird", json=body)
        client = client_of(server)
        agent = client.beta.agents.retrieve(made.json()["id"])
        assert [one.to_dict() for one in agent.tools] == [kept(site, allowed_tools=["echo"])]
        assert client.beta.agents.update(agent.id, tools=[]).tools == []


HTTP: Any = {"type": "http", "server_url": "https://mcp.example/"}


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"transport": {"type": "stdio", "command": "x", "cwd": "/"}}, 501, "started as a process"),
        ({"connection_origin": "environment"}, 501, "connection_origin"),
        ({"request_metadata": {"a": 1}}, 501, "request_metadata"),
        ({"required": True}, 501, "required"),
        ({"transport": {**HTTP, "headers": {"X-Key": SECRET}}}, 501, "headers.X-Key"),
        ({"transport": {**HTTP, "authorization": f"Basic {SECRET}"}}, 501, "a bearer token"),
        ({"transport": {**HTTP, "authorization": SECRET}}, 400, "keeps no credentials"),
        ({"transport": {**HTTP, "authorization": "a", "headers": {"authorization": "b"}}}, 400, "twice"),
        ({"transport": {"type": "http", "server_url": "https://u:p@mcp.example/"}}, 400, "server_url"),
        ({"transport": {"type": "http", "server_url": "ftp://mcp.example/"}}, 400, "server_url"),
        ({"server_label": " "}, 400, "server_label"),
        ({"connector_id": "connector_gmail"}, 400, "connector_id"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_said(shared: Shared, given: dict[str, Any], status: int, words: str) -> None:
    tool = {"type": "mcp", "server_label": "docs", "transport": HTTP, "connection_origin": "service", **given}
    with pytest.raises(openai.APIStatusError) as refused:
        shared.client.beta.agents.create(model="m", extra_body={"tools": [tool]})
    assert refused.value.status_code == status
    assert words in str(refused.value.body)
    assert SECRET not in str(refused.value.body)


def test_a_label_is_there_once(shared: Shared) -> None:
    tool: Any = {"type": "mcp", "server_label": "docs", "transport": HTTP}
    with pytest.raises(openai.BadRequestError, match="given twice"):
        shared.client.beta.agents.create(model="m", tools=[tool, tool])
    own: Any = [{**tool, "server_label": label, "transport": {**HTTP, "authorization": label}} for label in ("a", "b")]
    with pytest.raises(openai.BadRequestError, match="another authorization"):
        shared.client.beta.agents.sessions.create(agent={"model": "m", "tools": own}, environment=NONE)
