"""One walk with the official Python client of OpenAI's Agents API, of whatever version is on the path, against a server.

    PYTHONPATH=.clients/openai-3.57.0 python tests/clients/walk_openai.py URL

Prints one JSON object: the version, and what the client saw. The model behind the server follows the script of
`test_openai_agents.py`: one call of a function that we answer, then a text, twice.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


def main(url: str) -> dict[str, Any]:
    given: Any = {"base_url": f"{url}/v1", "api_key": "any", "max_retries": 0, "_strict_response_validation": True}
    asked: list[Any] = []

    def weather(arguments: dict[str, Any]) -> str:
        asked.append(arguments)
        return "Rain."

    with openai.OpenAI(**given) as client:
        agents, sessions = client.beta.agents, client.beta.agents.sessions
        agent = agents.update(agents.create(model="gpt-test", tools=[WEATHER]).id, name="walker")
        session = sessions.create(agent_id=agent.id, environment={"type": "none"}, metadata={"walk": "python"})
        assert [one.id for one in sessions.list(metadata={"walk": "python"})] == [session.id]
        with sessions.stream(session.id, input="How is it in Oslo?", tool_handlers={"weather": weather}) as events:
            seen = list(events.with_result_collection())
            said = [events.get_final_result().output_text]
        said.append(asyncio.run(again(given, session.id, weather)))
        items = list(sessions.items.list(session.id, limit=2, order="asc"))
        turns = list(sessions.turns.list(session.id))
        status = sessions.retrieve(session.id).status
        servers = with_servers(client)
        sessions.delete(session.id)
        agents.delete(agent.id)
        gone = False
        try:
            sessions.retrieve(session.id)
        except openai.NotFoundError:
            gone = True
    return {
        "version": openai.__version__,
        "streamed": [[event.event_id, event.type] for event in seen],
        "items": [item.type for item in items],
        "turns": [turn.status for turn in turns],
        "said": said,
        "asked": asked,
        "status": status,
        "gone": gone,
        **servers,
    }


def with_servers(client: openai.OpenAI) -> dict[str, Any]:
    """An agent with an MCP server, and a session of it with a vault and with a token of its own."""
    agents = client.beta.agents
    vault = agents.vaults.create(name="Keys")
    auth: Any = {"type": "static_bearer", "token": "hidden-token", "mcp_server_url": "https://mcp.example.com/"}
    made = agents.vaults.credentials.create(vault.id, name="docs", auth=auth)
    transport: Any = {"type": "http", "server_url": "https://mcp.example.com/"}
    tool: Any = {"type": "mcp", "server_label": "docs", "transport": transport, "credential_id": made.id}
    agent = agents.create(model="gpt-test", tools=[tool])
    ours: Any = {"tools": [{**tool, "transport": {**transport, "authorization": "hidden-token"}}]}
    session = agents.sessions.create(agent_id=agent.id, agent=ours, environment={"type": "none"}, vault_ids=[vault.id])
    told = [vault, made, agent, session, *agents.vaults.list(), *agents.vaults.credentials.list(vault.id)]
    return {
        "hidden": all("hidden-token" not in one.to_json() for one in told),
        "servers": [one.to_dict() for one in session.agent.tools],
        "vaults": session.vault_ids == [vault.id],
    }


async def again(given: Any, session: str, weather: Any) -> str:
    async with openai.AsyncOpenAI(**given) as client:
        stream = client.beta.agents.sessions.stream(session, input="And now?", tool_handlers={"weather": weather})
        async with stream as events:
            return (await events.get_final_result()).output_text


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
