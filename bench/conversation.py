"""What it costs to live with a long conversation: open it, show its tree, fork it, sum it up, go on with it; and with many:
list them, find something in them. Against a plain reader of JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import godwit
from godwit.core.agent import AgentRef
from godwit.core.ids import AgentName, SessionId
from godwit.core.messages import Text, User
from godwit.engine.log import forget_state
from godwit.models.script import ScriptedModel
from godwit.stores.sqlite import SqliteStore

from .history import make_session, messages_of
from .measure import Bench, sample

READER = "JSONL reader"
OURS = "godwit"
_MODEL = "scripted:bench"
_MESSAGES_PER_EVENT = 4 / 16
"""Four messages make about 16 events."""


def _model() -> ScriptedModel:
    return ScriptedModel(["A short answer."], _MODEL, select=lambda _: 0)


async def conversation(bench: Bench) -> None:
    """At each size of the log; then the lists."""
    for count in bench.sizes.log_events:
        await _one(bench, count)
    await _many(bench, bench.sizes.listed)


async def _one(bench: Bench, count: int) -> None:
    scenario = f"conversation {count}"
    folder = bench.folder / scenario.replace(" ", "-")
    folder.mkdir()
    messages = messages_of(max(4, int(count * _MESSAGES_PER_EVENT) // 4 * 4))
    agent = godwit.Agent("bench", model=_MODEL)
    walls: dict[tuple[str, str], list[float]] = {}
    async with await godwit.Runtime.open(folder / "g.db", models={_MODEL: _model()}) as runtime:
        ref = await runtime.create(agent)
        store = runtime.store
        assert isinstance(store, SqliteStore)
        for number in range(bench.sizes.history_repeats):
            name = f"ses_{number}"
            events = await make_session(store, name, messages, AgentRef(AgentName(ref.name), ref.version))
            lines = folder / f"{name}.jsonl"
            lines.write_bytes(b"\n".join(event.frame() for event in await store.read(SessionId(name))) + b"\n")

            async def take(subject: str, metric: str, work: Callable[[], Awaitable[Any]]) -> Any:
                one = await sample(work)
                walls.setdefault((subject, metric), []).append(one.wall_ms)
                return one.result

            async def read(lines: Path = lines) -> list[Any]:
                return [json.loads(line) for line in lines.open("rb")]

            async def copy(lines: Path = lines) -> None:
                lines.with_suffix(".fork").write_bytes(lines.read_bytes())

            async def reopened(name: str = name) -> Any:
                forget_state(store, SessionId(name))
                session = await runtime.open_session(name)
                await session.history()
                return session

            await take(READER, "open", read)
            await take(READER, "fork", copy)
            await take(READER, "tree", read)
            session = await take(OURS, "open", reopened)
            await take(OURS, "tree", session.tree)
            fork = await take(OURS, "fork", session.fork)
            await take(OURS, "next turn", lambda: session.send("And now?"))  # noqa: B023 - asked at once
            await take(OURS, "compact", lambda: session.compact(keep_tokens=100))  # noqa: B023
            await fork.close()
            await session.close()
    bench.notes.append(f"{scenario}: {events} events, {len(messages)} messages")
    for (subject, metric), taken in walls.items():
        bench.add(scenario, subject, metric, "ms", taken, floor=READER)


async def _many(bench: Bench, count: int) -> None:
    scenario = f"{count} sessions"
    folder = bench.folder / "many"
    folder.mkdir()
    agent = godwit.Agent("bench", model=_MODEL)
    messages = messages_of(8)
    walls: dict[tuple[str, str], list[float]] = {}

    async def take(subject: str, metric: str, work: Callable[[], Awaitable[Any]]) -> None:
        one = await sample(work)
        walls.setdefault((subject, metric), []).append(one.wall_ms)

    async def files(word: bytes) -> int:
        return sum(word in path.read_bytes() for path in folder.glob("*.jsonl"))

    async def heads() -> int:
        found = 0
        for path in folder.glob("*.jsonl"):
            with path.open("rb") as lines:
                found += len(json.loads(lines.readline()))
        return found

    async with await godwit.Runtime.open(folder / "g.db", models={_MODEL: _model()}) as runtime:
        ref = await runtime.create(agent)
        store = runtime.store
        assert isinstance(store, SqliteStore)
        for number in range(count):
            name = f"ses_{number}"
            if number == count // 2:
                messages = [User((Text("something rare"),)), *messages[1:]]
            await make_session(store, name, messages, AgentRef(AgentName(ref.name), ref.version))
            frames = [event.frame() for event in await store.read(SessionId(name))]
            (folder / f"{name}.jsonl").write_bytes(b"\n".join(frames) + b"\n")
        await take(OURS, "first search", lambda: runtime.search("dog"))
        for _ in range(bench.sizes.history_repeats):
            await take(READER, "list", heads)
            await take(OURS, "list", lambda: runtime.sessions(limit=count))
            await take(OURS, "list the newest 50", lambda: runtime.sessions(limit=50))
            await take(READER, "search", lambda: files(b"jumps"))
            await take(OURS, "search", lambda: runtime.search("jumps dog"))
            await take(OURS, "search for what is rare", lambda: runtime.search("rare"))
    for (subject, metric), taken in walls.items():
        bench.add(scenario, subject, metric, "ms", taken, floor=READER)
