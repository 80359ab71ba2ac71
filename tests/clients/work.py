"""An official worker of self-hosted environments, until it is ended.  work.py URL ENVIRONMENT FOLDER"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anthropic
from anthropic.lib.environments import EnvironmentWorker


async def main(url: str, environment: str, folder: str) -> None:
    print(anthropic.__version__, flush=True)
    async with anthropic.AsyncAnthropic(base_url=url, api_key="any") as client:
        options: dict[str, Any] = {"environment_id": environment, "environment_key": "any", "workdir": folder}
        await EnvironmentWorker(client, max_idle=0.05, **options).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
