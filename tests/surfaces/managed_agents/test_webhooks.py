"""Webhooks as this protocol's official client unwraps them: a real server sends, a real socket takes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import anthropic
import pydantic
import pytest
from anthropic.types.beta import BetaWebhookEvent
from anthropic.types.beta.beta_webhook_event_data import BetaWebhookEventData
from standardwebhooks.webhooks import WebhookVerificationError

from godwit.models.script import call, say
from godwit.surfaces.managed_agents.webhooks import SOURCE
from godwit.surfaces.server import ServerSettings
from tests.host.webhook_site import Inbox
from tests.parts.web_site import Site, page, site
from tests.surfaces.managed_agents.conftest import Start

ASK: Any = [{"type": "agent_toolset_20260401", "default_config": {"permission_policy": {"type": "always_ask"}}}]


class Told:
    """A client, and where its server tells what happens."""

    def __init__(self, client: anthropic.AsyncAnthropic, inbox: Inbox, secret: str, here: Site) -> None:
        self.client = client
        self.here = here
        self.inbox = inbox
        self.secret = secret

    async def until(self, *types: str) -> list[BetaWebhookEvent]:
        """What came, once all of these have, each unwrapped by the client and checked against its types."""
        await self.inbox.until(lambda _: set(types) <= set(self.inbox.types()))
        return [self.unwrapped(number) for number in range(len(self.inbox.requests))]

    def unwrapped(self, number: int, key: str | None = None) -> BetaWebhookEvent:
        request = self.inbox.requests[number]
        body = request.body.decode()
        pydantic.TypeAdapter(BetaWebhookEvent).validate_python(json.loads(body))
        event = self.client.beta.webhooks.unwrap(body, headers=request.headers, key=key or self.secret)
        assert event.id == request.headers["webhook-id"]
        return event


@asynccontextmanager
async def told(start: Start, *script: Any, types: tuple[str, ...] = ()) -> AsyncIterator[Told]:
    async with site() as here:
        here.answers["/token"] = page("", status="400 Bad Request")
        inbox = Inbox(here)
        server = start(*script, settings=ServerSettings(port=0, models={"*": "scripted:any"}, reach=(here.here,)))
        endpoint, secret = server.call(lambda: server.app.service.webhooks.add(inbox.url, types, tenant=None))
        assert endpoint.status == "enabled"
        async with anthropic.AsyncAnthropic(
            base_url=server.url, api_key="any", max_retries=0, _strict_response_validation=True
        ) as client:
            yield Told(client, inbox, secret, here)


async def a_session(client: anthropic.AsyncAnthropic, tools: Any = ()) -> Any:
    agent = await client.beta.agents.create(name="a", model="claude-test", tools=list(tools))
    environment = await client.beta.environments.create(name="e")
    return await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)


async def say_hello(client: anthropic.AsyncAnthropic, session: str) -> None:
    message: Any = {"type": "user.message", "content": [{"type": "text", "text": "Hello."}]}
    await client.beta.sessions.events.send(session, events=[message])


def test_each_type_is_one_that_the_client_knows() -> None:
    (union, *_) = get_args(BetaWebhookEventData)
    known = {get_args(one.model_fields["type"].annotation)[0] for one in get_args(union)}
    assert len(known) == 49
    assert known >= SOURCE.types


async def test_a_session_tells_how_it_goes(start: Start) -> None:
    async with told(start, say("Hello.")) as hook:
        session = await a_session(hook.client)
        await say_hello(hook.client, session.id)
        await hook.until("session.status_idled")
        await hook.client.beta.sessions.archive(session.id)
        await hook.client.beta.sessions.delete(session.id)
        events = await hook.until("session.deleted", "session.archived", "session.idled", "environment.created")
        found = {event.data.type for event in events if event.data.id == session.id}
        assert found >= {
            "session.created",
            "session.pending",
            "session.running",
            "session.status_run_started",
            "session.idled",
            "session.status_idled",
            "session.archived",
            "session.status_terminated",
            "session.deleted",
        }
        assert len({event.id for event in events}) == len(events)
        assert {event.data.to_dict()["workspace_id"] for event in events} == {"default"}
        with pytest.raises(WebhookVerificationError):
            hook.unwrapped(0, key="whsec_" + "A" * 43 + "=")


async def test_what_waits_for_an_answer_says_so(start: Start) -> None:
    types = ("session.requires_action", "session.status_idled")
    async with told(start, call("bash", command="ls"), types=types) as hook:
        session = await a_session(hook.client, ASK)
        await say_hello(hook.client, session.id)
        events = await hook.until(*types)
        assert {(event.data.type, event.data.id) for event in events} == {(one, session.id) for one in types}


async def test_vaults_and_agents_tell_what_becomes_of_them(start: Start) -> None:
    async with told(start) as hook:
        beta = hook.client.beta
        vault = await beta.vaults.create(display_name="v")
        bearer: Any = {"type": "static_bearer", "token": "t", "mcp_server_url": "https://m.example/"}
        credential = await beta.vaults.credentials.create(vault.id, auth=bearer)
        await beta.vaults.credentials.update(credential.id, vault_id=vault.id, display_name="x")
        await beta.vaults.credentials.archive(credential.id, vault_id=vault.id)
        await beta.vaults.delete(vault.id)
        agent = await beta.agents.create(name="a", model="claude-test")
        await beta.agents.update(agent.id, version=1, system="s")
        await beta.agents.archive(agent.id)
        events = await hook.until("vault.deleted", "agent.created", "agent.updated", "agent.archived")
        kinds = {event.data.type for event in events}
        assert kinds == {
            "vault.created",
            "vault.deleted",
            "vault_credential.created",
            "vault_credential.archived",
            "vault_credential.deleted",
            "agent.created",
            "agent.updated",
            "agent.archived",
        }
        (made,) = [event.data for event in events if event.data.type == "vault_credential.created"]
        assert (made.id, made.vault_id) == (credential.id, vault.id)


async def test_a_token_that_cannot_be_renewed_is_told(start: Start) -> None:
    async with told(start, types=("vault_credential.refresh_failed",)) as hook:
        credentials = hook.client.beta.vaults.credentials
        vault = await hook.client.beta.vaults.create(display_name="v")
        refresh: Any = {
            "client_id": "c",
            "refresh_token": "r",
            "token_endpoint": hook.here.url("/token"),
            "token_endpoint_auth": {"type": "none"},
        }
        hook.here.answers["/mcp"] = page("", status="401 Unauthorized")
        credential = await credentials.create(
            vault.id,
            auth={"type": "mcp_oauth", "access_token": "a", "mcp_server_url": hook.here.url("/mcp"), "refresh": refresh},
        )
        await credentials.mcp_oauth_validate(credential.id, vault_id=vault.id)
        (event,) = await hook.until("vault_credential.refresh_failed")
        assert event.data.to_dict() == {
            "type": "vault_credential.refresh_failed",
            "id": credential.id,
            "vault_id": vault.id,
            "organization_id": "godwit",
            "workspace_id": "default",
        }
