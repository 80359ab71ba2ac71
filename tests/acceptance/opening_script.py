"""A server that makes one session of Managed Agents and all that it needs, under idempotency keys. See `deaths`.

Each process asks for the same again. It can also die behind the putting of documents, `file:1` for instance.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import httpx2

import godwit
from godwit.core.document import Document
from godwit.models.script import ScriptedModel
from godwit.surfaces.server import ServerSettings, serving
from tests.patience import PATIENCE_S

from .deaths import DyingStore, Point

MODEL = "scripted:test"


class DyingDocuments(DyingStore):
    async def put_documents(self, documents: Sequence[Document], **more: Any) -> list[Document]:
        stored = await super().put_documents(documents, **more)
        for document in documents:
            self.point.here(document.kind)
        return stored


async def main(database: str, point: str) -> None:
    DyingStore.point = Point(point)
    store = DyingDocuments.open(database)
    async with (
        await godwit.Runtime.open(store=store, models={MODEL: ScriptedModel([], MODEL)}) as runtime,
        serving(runtime, ServerSettings(port=0, models={"*": MODEL})) as server,
        httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as client,
    ):

        async def post(path: str, key: str, **what: object) -> str:
            done = await client.post(path, headers={"idempotency-key": key}, **what)  # type: ignore[arg-type]
            assert done.status_code == 200, done.text
            return str(done.json()["id"])

        agent = await post("/v1/agents", "a", json={"name": "bird", "model": "any"})
        environment = await post("/v1/environments", "e", json={"name": "nest"})
        file = await post("/v1/files", "f", files={"file": ("egg.txt", b"blue")})
        vault = await post("/v1/vaults", "v", json={"display_name": "keys"})
        auth = {"type": "static_bearer", "token": "t", "mcp_server_url": "https://mcp.example.com/"}
        await post(f"/v1/vaults/{vault}/credentials", "c", json={"auth": auth})
        resources = [{"type": "file", "file_id": file, "mount_path": "egg.txt"}]
        asked = {"agent": agent, "environment_id": environment, "resources": resources, "title": "Egg", "vault_ids": [vault]}
        session = await post("/v1/sessions", "s", json=asked)
        more = {"type": "file", "file_id": file, "mount_path": "more.txt"}
        await post(f"/v1/sessions/{session}/resources", "r", json=more)
        print(f"session {session}")
    DyingStore.point.survived()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
