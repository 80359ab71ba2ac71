"""Asks a store for a provider's token, when it is told to on standard input, and prints it."""

from __future__ import annotations

import asyncio
import sys

from godwit.host.auth_store import AuthStore


async def main() -> None:
    store = AuthStore(sys.argv[1], keyring=False)
    print("ready", flush=True)
    sys.stdin.readline()
    key = await store.current(sys.argv[2])
    print(key.value if key is not None else "", flush=True)


asyncio.run(main())
