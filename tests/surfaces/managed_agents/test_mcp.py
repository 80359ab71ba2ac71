"""MCP servers of agents, through the official client: a real MCP server on loopback, with and without credentials."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from godwit.core.mcp import tool_name
from godwit.models.script import call, say
from godwit.surfaces.server import ServerSettings
from tests.parts.mcp_site import McpSite, listed, mcp_site

from .conftest import Start, client_of
from .talk import Talk, kinds

OPEN: Any = {"default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}}}


def settings_for(*sites: McpSite) -> ServerSettings:
    return ServerSettings(port=0, models={"*": "scripted:any"}, reach=tuple(site.here for site in sites))


def server_of(site: McpSite, name: str = "docs") -> Any:
    return {"type": "url", "name": name, "url": site.url}


def toolset(name: str = "docs", **fields: Any) -> Any:
    return {"type": "mcp_toolset", "mcp_server_name": name, **fields}


def test_a_call_is_asked_about_and_its_events_are_those_of_mcp(start: Start) -> None:
    with mcp_site() as site:
        server = start(call("mcp__docs__echo", text="hello"), say("Done."), settings=settings_for(site))
        with Talk(server, toolset(), mcp_servers=[server_of(site)]) as talk, talk.listen() as listener:
            talk.say()
            idle = listener.idle()
            (use,) = [e for e in listener.heard if e.type == "agent.mcp_tool_use"]
            assert (use.mcp_server_name, use.name, use.input) == ("docs", "echo", {"text": "hello"})
            assert (use.evaluated_permission, use.evaluation.type) == ("ask", "always_ask")
            assert (idle.stop_reason.type, idle.stop_reason.event_ids) == ("requires_action", [use.id])
            assert site.calls == []
            talk.send({"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "allow"})
            listener.idle(2)
            (result,) = [e for e in listener.heard if e.type == "agent.mcp_tool_result"]
            assert (result.mcp_tool_use_id, result.is_error, result.content[0].text) == (use.id, False, "hello")
            assert site.calls == ["echo"]
            assert [e.id for e in talk.list(types=["agent.mcp_tool_use"])] == [use.id]


def test_servers_and_tools_are_shown_by_the_names_they_have(start: Start) -> None:
    tools = [listed("says.token"), listed("a b (c)"), listed("x__y")]
    with mcp_site(tools) as site:
        names = [tool_name("My docs__", tool.name) for tool in tools]
        server = start(*(call(name) for name in names), say("Done."), settings=settings_for(site))
        configs = [{"name": "a b (c)", "permission_policy": {"type": "always_ask"}}]
        given = toolset("My docs__", configs=configs, default_config=OPEN["default_config"])
        with Talk(server, given, mcp_servers=[server_of(site, "My docs__")]) as talk, talk.listen() as listener:
            talk.say()
            listener.idle()
            (_, asked) = listener.until(lambda heard: [e for e in heard if e.type == "agent.mcp_tool_use"])
            talk.send({"type": "user.tool_confirmation", "tool_use_id": asked.id, "result": "allow"})
            listener.idle(2)
            uses = [e for e in listener.heard if e.type == "agent.mcp_tool_use"]
            assert [(e.mcp_server_name, e.name) for e in uses] == [("My docs__", tool.name) for tool in tools]
            assert [e.evaluated_permission for e in uses] == ["allow", "ask", "allow"]
        assert site.calls == [tool.name for tool in tools]


def test_policies_and_single_tools(start: Start) -> None:
    with mcp_site() as site:
        server = start(
            call("mcp__docs__echo", text="1"), call("mcp__docs__numbers"), call("mcp__docs__picture"), say("Done."),
            settings=settings_for(site),
        )  # fmt: skip
        configs = [
            {"name": "echo", "permission_policy": {"type": "always_allow"}},
            {"name": "numbers", "enabled": False},
            {"name": "picture", "permission_policy": {"type": "always_ask"}},
        ]
        for default in ("always_ask", "always_allow"):
            given: Any = {"default_config": {"permission_policy": {"type": default}}, "configs": configs}
            with Talk(server, toolset(**given), mcp_servers=[server_of(site)]) as talk, talk.listen() as listener:
                talk.say()
                listener.idle()
                shown = {e.name: e.evaluated_permission for e in listener.heard if e.type == "agent.mcp_tool_use"}
                assert shown == {"echo": "allow", "numbers": "deny", "picture": "ask"}
                results = [e for e in listener.heard if e.type == "agent.mcp_tool_result"]
                assert [r.is_error for r in results] == [False, True]
        assert site.calls == ["echo", "echo"]


def test_tools_may_be_off_but_for_those_that_are_on(start: Start) -> None:
    with mcp_site() as site:
        script = [call("mcp__docs__echo", text="1"), call("mcp__docs__numbers"), say("Done.")]
        server = start(*script, settings=settings_for(site))
        given: Any = {"default_config": {"enabled": False, "permission_policy": {"type": "always_allow"}}}
        one = toolset(**given, configs=[{"name": "echo", "enabled": True}])
        with Talk(server, one, mcp_servers=[server_of(site)]) as talk, talk.listen() as listener:
            talk.say()
            listener.idle()
        assert site.calls == ["echo"]


def test_a_credential_of_the_sessions_vaults_goes_to_just_its_address(start: Start) -> None:
    with mcp_site(takes="t-secret-1") as site, mcp_site() as other:
        script = [call("mcp__docs__echo", text="1"), call("mcp__more__echo", text="2"), say("Done.")]
        server = start(*script, settings=settings_for(site, other))
        with client_of(server) as client:
            vault = client.beta.vaults.create(display_name="v")
            auth: Any = {"type": "static_bearer", "token": "t-secret-1", "mcp_server_url": site.url}
            client.beta.vaults.credentials.create(vault.id, auth=auth)
        servers = [server_of(site), server_of(other, "more")]
        tools = [toolset(**OPEN), toolset("more", **OPEN)]
        with (
            Talk(server, *tools, mcp_servers=servers, session={"vault_ids": [vault.id]}) as talk,
            talk.listen() as listener,
        ):
            talk.say()
            listener.idle()
            assert [e.is_error for e in listener.heard if e.type == "agent.mcp_tool_result"] == [False, False]
            assert "t-secret-1" not in json.dumps([e.to_dict() for e in listener.heard], default=str)
        assert set(site.tokens) == {"t-secret-1"}
        assert set(other.tokens) == {None}


@pytest.mark.parametrize("known", [False, True])
def test_a_server_that_takes_no_credential_of_ours_is_an_error_and_the_run_goes_on(start: Start, known: bool) -> None:
    with mcp_site(takes="t-right") as site:
        server = start(say("Done."), settings=settings_for(site))
        session: dict[str, Any] = {}
        if known:
            with client_of(server) as client:
                vault = client.beta.vaults.create(display_name="v")
                auth: Any = {"type": "static_bearer", "token": "t-wrong", "mcp_server_url": site.url}
                client.beta.vaults.credentials.create(vault.id, auth=auth)
            session = {"vault_ids": [vault.id]}
        with Talk(server, toolset(), mcp_servers=[server_of(site)], session=session) as talk, talk.listen() as listener:
            talk.say()
            idle = listener.idle()
            (error,) = [e.error for e in listener.heard if e.type == "session.error"]
            assert (error.type, error.mcp_server_name) == ("mcp_authentication_failed_error", "docs")
            assert error.retry_status.type == "exhausted"
            assert "t-wrong" not in error.message
            assert ("refuses the credential" if known else "the session has none") in error.message
            assert idle.stop_reason.type == "end_turn"
            heard = kinds(listener.heard)
            assert heard.index("session.status_running") < heard.index("session.error") < heard.index("agent.message")


def test_a_server_that_is_not_there_is_an_error_and_the_run_goes_on(start: Start) -> None:
    with mcp_site() as site:
        site.stop()
        server = start(say("Done."), settings=settings_for(site))
        with Talk(server, toolset(), mcp_servers=[server_of(site)]) as talk, talk.listen() as listener:
            talk.say()
            assert listener.idle().stop_reason.type == "end_turn"
            (error,) = [e.error for e in listener.heard if e.type == "session.error"]
            assert (error.type, error.mcp_server_name) == ("mcp_connection_failed_error", "docs")


def test_what_is_not_public_is_reached_only_when_the_settings_say_so(start: Start) -> None:
    with mcp_site() as site:
        server = start(say("Done."), settings=settings_for())
        with Talk(server, toolset(), mcp_servers=[server_of(site)]) as talk, talk.listen() as listener:
            talk.say()
            listener.idle()
            (error,) = [e.error for e in listener.heard if e.type == "session.error"]
            assert "reach of [server]" in error.message
        assert site.tokens == []


def test_a_session_is_given_a_server_while_it_is_idle(start: Start) -> None:
    with mcp_site() as site:
        script = [say("Nothing there."), call("mcp__docs__echo", text="1"), say("Done.")]
        server = start(*script, settings=settings_for(site))
        with Talk(server) as talk, talk.listen() as listener:
            talk.say()
            listener.idle()
            agent: Any = {"tools": [toolset(**OPEN)], "mcp_servers": [server_of(site)]}
            changed = talk.client.beta.sessions.update(talk.id, agent=agent)
            assert [one.url for one in changed.agent.mcp_servers] == [site.url]
            talk.say()
            listener.idle(2)
            assert [e.is_error for e in listener.heard if e.type == "agent.mcp_tool_result"] == [False]
        assert site.calls == ["echo"]


def test_a_token_that_has_ended_is_renewed_before_it_is_sent(start: Start) -> None:
    with mcp_site(takes="t-new") as site:
        site.renews = {"access_token": "t-new", "expires_in": 3600}
        server = start(call("mcp__docs__echo", text="1"), say("Done."), settings=settings_for(site))
        with client_of(server) as client:
            vault = client.beta.vaults.create(display_name="v")
            auth: Any = {
                "type": "mcp_oauth",
                "access_token": "t-old",
                "mcp_server_url": site.url,
                "expires_at": (datetime.now(UTC) + timedelta(seconds=30)).isoformat(),
                "refresh": {
                    "client_id": "c",
                    "refresh_token": "r-1",
                    "token_endpoint": f"http://{site.here}/token",
                    "token_endpoint_auth": {"type": "none"},
                },
            }
            client.beta.vaults.credentials.create(vault.id, auth=auth)
        with (
            Talk(server, toolset(**OPEN), mcp_servers=[server_of(site)], session={"vault_ids": [vault.id]}) as talk,
            talk.listen() as listener,
        ):
            talk.say()
            listener.idle()
            assert [e.is_error for e in listener.heard if e.type == "agent.mcp_tool_result"] == [False]
        assert set(site.tokens) == {"t-new"}
