"""One walk with the official Python client of Managed Agents, of whatever version is on the path, against a server.

    PYTHONPATH=.clients/anthropic-1.17.0 python tests/clients/walk.py URL

Prints one JSON object: the version, and what the client saw. The model behind the server follows the script of
`test_managed_agents.py`: one call of a tool that we answer, then a text.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import anthropic


def main(url: str) -> None:
    client = anthropic.Anthropic(api_key="any", base_url=url, max_retries=0)
    beta = client.beta
    weather = {
        "type": "custom",
        "name": "weather",
        "description": "The weather somewhere.",
        "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    }
    agent = beta.agents.create(name="walker", model="claude-test", system="Be brief.", tools=[weather])  # type: ignore[list-item]
    environment = beta.environments.create(name=f"walk {anthropic.__version__}")
    vault = beta.vaults.create(display_name="Keys")
    auth: Any = {"type": "static_bearer", "token": "hidden-token", "mcp_server_url": "https://mcp.example.com/"}
    beta.vaults.credentials.create(vault.id, auth=auth)
    kept = [one.to_dict(mode="json") for one in beta.vaults.credentials.list(vault.id)]
    # What web tools may look at; older clients know nothing of it and show it all the same.
    web: Any = {"allowed_domains": ["example.com"], "max_content_tokens": 1000, "url_sources": {"user_input": "none"}}
    toolset: Any = {"type": "agent_toolset_20260401", "configs": [{"name": "web_fetch", **web}]}
    limited: Any = beta.agents.create(name="reader", model="claude-test", tools=[toolset]).to_dict(mode="json")
    session: Any = beta.sessions.create(agent=agent.id, environment_id=environment.id, title="A walk", vault_ids=[vault.id])
    seen: list[Any] = []
    opened, told = threading.Event(), threading.Event()

    def follow() -> None:
        with beta.sessions.events.stream(session.id) as stream:
            opened.set()
            for event in stream:
                seen.append(event)
                if event.type == "agent.custom_tool_use":
                    beta.sessions.events.send(
                        session.id,
                        events=[
                            {
                                "type": "user.custom_tool_result",
                                "custom_tool_use_id": event.id,
                                "content": [{"type": "text", "text": "Rain."}],
                            }
                        ],
                    )
                if event.type == "session.status_idle" and event.stop_reason.type == "end_turn":
                    told.set()
                    return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    assert opened.wait(120), "the stream did not open"
    beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": "How is the weather in Oslo?"}]}]
    )
    assert told.wait(120), f"no end of the turn; seen: {[e.type for e in seen]}"
    listed = list(beta.sessions.events.list(session.id))
    after = beta.sessions.retrieve(session.id)
    beta.sessions.archive(session.id)
    beta.sessions.delete(session.id)
    try:
        beta.sessions.retrieve(session.id)
        gone = False
    except anthropic.NotFoundError:
        gone = True
    out = {
        "version": anthropic.__version__,
        "streamed": [[e.id, e.type] for e in seen],
        "listed": [[e.id, e.type] for e in listed],
        "said": ["".join(b.text for b in e.content) for e in seen if e.type == "agent.message"],
        "asked": [e.input for e in seen if e.type == "agent.custom_tool_use"],
        "status": after.status,
        "vaults": after.vault_ids == [one.id for one in beta.vaults.list()],
        "kept": kept,
        "web": limited["tools"][0]["configs"][0],
        "gone": gone,
    }
    print(json.dumps(out))


main(sys.argv[1])
