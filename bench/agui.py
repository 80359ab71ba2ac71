"""What a message costs in AG-UI, whose front ends send all messages there are with each: on threads of several lengths.

The floor is reading such a request. The client, plain HTTP in the same process, is counted with ours.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2

import godwit
from godwit.core.agent import AgentRef
from godwit.core.ids import AgentName
from godwit.models.script import ScriptedModel
from godwit.stores.sqlite import SqliteStore
from godwit.surfaces.agui.inputs import read
from godwit.surfaces.agui.threads import session_of
from godwit.surfaces.server import ServerSettings, serving

from .history import make_session, messages_of
from .measure import Bench, Sample, sample

READING = "reading the request"
OURS = "godwit"
_MODEL = "scripted:bench"


async def agui(bench: Bench) -> None:
    """At each length of the thread."""
    folder = bench.folder / "agui"
    folder.mkdir()
    model = ScriptedModel(["A short answer."], _MODEL, select=lambda _: 0)
    async with await godwit.Runtime.open(folder / "g.db", models={_MODEL: model}) as runtime:
        made = await runtime.create(godwit.Agent("bench", model=_MODEL))
        ref = AgentRef(AgentName(made.name), made.version)
        assert isinstance(runtime.store, SqliteStore)
        async with serving(runtime, ServerSettings(port=0)) as server, httpx2.AsyncClient(timeout=None) as client:
            for count in bench.sizes.histories:
                thread = str(count)
                await make_session(runtime.store, session_of(None, thread), messages_of(count), ref)
                await _one(bench, client, f"{server.url}/agui", thread, count)


async def _one(bench: Bench, client: httpx2.AsyncClient, url: str, thread: str, count: int) -> None:
    scenario = f"agui {count}"
    taken: dict[str, dict[str, list[Sample]]] = {"all messages": {}, "the last alone": {}}

    async def asked(path: str, messages: list[Any], run: str) -> tuple[bytes, str]:
        """The request and its answer."""
        body = json.dumps({"protocolVersion": "1.0", "threadId": thread, "runId": run, "messages": messages}).encode()
        return body, (await client.post(url + path, content=body)).text

    async def reading(body: bytes) -> None:
        read(body)

    for number in range(-bench.sizes.warm, bench.sizes.history_repeats):
        _, told = await asked("/connect", [], f"c{number}")
        events = [json.loads(line[5:]) for line in told.splitlines() if line.startswith("data:")]
        known = [event["messages"] for event in events if event["type"] == "MESSAGES_SNAPSHOT"][-1]
        for metric, before in (("all messages", known), ("the last alone", [])):
            new = {"id": f"{metric}{number}", "role": "user", "content": "And now?"}
            one = await sample(lambda: asked("", [*before, new], f"{metric}{number}"))  # noqa: B023 - asked at once
            floor = await sample(lambda: reading(one.result[0]))  # noqa: B023
            if number >= 0:
                taken[metric].setdefault(OURS, []).append(one)
                taken[metric].setdefault(READING, []).append(floor)
    for metric, subjects in taken.items():
        for subject in (READING, OURS):
            bench.add(scenario, subject, metric, "ms CPU", [s.cpu_ms for s in subjects[subject]], floor=READING)
