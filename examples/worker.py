"""A program that knows only the official client, a worker that knows only the official worker, and `godwit serve`."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.lib.environments import EnvironmentWorker

# In place of a provider, so that this runs anywhere. With a key of one, `godwit serve` alone is enough.
SCRIPT = """
from godwit.models.script import ScriptedModel, call, say


def runtime():
    program = "print([n for n in range(2, 20) if all(n % m for m in range(2, n))])"
    script = [call("write", file_path="primes.py", content=program), call("bash", command="python3 primes.py")]
    return {"models": {"scripted:any": ScriptedModel([*script, say("It works.")])}}
"""


@contextmanager
def serve() -> Iterator[str]:
    """`godwit serve`, and the address it is reached at."""
    Path("script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "godwit", "serve", "--port", "0", "--json", "--quiet"]
    flags = ["--setup", "script:runtime", "--model", "*=scripted:any"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
        server.terminate()


def text(content: Iterable[Any] | None) -> str:
    return "".join(block.text for block in content or () if block.type == "text")


async def work(client: AsyncAnthropic, environment: str) -> None:
    """The sandbox: it may run on any machine that reaches the server."""
    Path("sandbox").mkdir()
    worker = EnvironmentWorker(client, environment_id=environment, environment_key="any", workdir="sandbox")
    await worker.run()


async def main(url: str) -> None:
    async with AsyncAnthropic(base_url=url, api_key="any") as client:
        agent = await client.beta.agents.create(
            name="Coder", model="claude-sonnet-5", tools=[{"type": "agent_toolset_20260401"}]
        )
        environment = await client.beta.environments.create(name="mine", config={"type": "self_hosted"})
        session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
        worker = asyncio.create_task(work(client, environment.id))
        async with await client.beta.sessions.events.stream(session.id) as events:
            task = "Write a program that prints primes, and run it."
            await client.beta.sessions.events.send(
                session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": task}]}]
            )
            async for event in events:
                match event.type:
                    case "agent.tool_use":
                        print(f"{event.name} is asked for")
                    case "user.tool_result":
                        print(f"the worker answers: {text(event.content)}")
                    case "agent.message":
                        print(f"{agent.name}: {text(event.content)}")
                    case "session.status_idle" if event.stop_reason.type == "end_turn":
                        break
        worker.cancel()
        await asyncio.wait([worker])
        print(f"in the sandbox lies {', '.join(path.name for path in Path('sandbox').glob('*.py'))}")


if __name__ == "__main__":
    with serve() as address:
        asyncio.run(main(address))
