"""Many followers of one session: whenever they come, each is shown all of it once, and the frames are made once for all."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from godwit.core.ids import SessionId
from godwit.models.script import call, hold, say
from tests.patience import PATIENCE_S
from tests.surfaces.server.running import RunningServer

from .conftest import HOSTED, Start, client_of, release

HEADERS = {"openai-beta": "agents=v1"}


class Follower:
    """Reads a stream in a thread until the turn is over."""

    def __init__(self, server: RunningServer, session: str, last: str | None = None) -> None:
        self.raw: list[tuple[str, str]] = []
        self._url = f"{server.url}/v1/agents/sessions/{session}/events"
        self._headers = HEADERS if last is None else {**HEADERS, "last-event-id": last}
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with httpx2.stream("GET", self._url, headers=self._headers, timeout=PATIENCE_S) as answer:
            id_ = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    id_ = value
                elif name == "data":
                    with self._news:
                        self.raw.append((id_, value))
                        self._news.notify_all()
                    if '"type":"agent.session.turn.completed"' in value:
                        return

    def saw(self, text: str) -> None:
        """Wait until this was in some frame."""
        with self._news:
            assert self._news.wait_for(lambda: any(text in data for _, data in self.raw), PATIENCE_S), self.raw

    def done(self) -> list[dict[str, Any]]:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), self.raw[-3:]
        return [json.loads(data) for _, data in self.raw]


def test_followers_that_come_at_any_time_are_shown_all_of_it_once(start: Start) -> None:
    first, second, end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    server = start(
        say("one two ")
        + hold(first)
        + say("three four ")
        + hold(second)
        + call("bash", command="echo first; while [ ! -e go ]; do sleep 0.01; done; echo second"),
        hold(end) + say("The end."),
    )
    client = client_of(server)
    session = client.beta.agents.sessions.create(agent={"model": "m"}, environment=HOSTED)
    early = [Follower(server, session.id) for _ in range(3)]
    for one in early:
        one.saw("agent.session.idle")
    client.beta.agents.sessions.events.create(
        session.id,
        events=[
            {
                "type": "agent.session.input.message",
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "Go"}]}],
            }
        ],
    )
    early[0].saw("two ")
    late = Follower(server, session.id)
    late.saw("agent.session.in_progress")
    release(server, first)
    late.saw("four ")
    again = Follower(server, session.id, "0")
    again.saw("four ")
    release(server, second)
    early[0].saw("first")
    release(server, end)

    async def go() -> None:
        folder = (await server.runtime.store.session(SessionId(session.id))).workspace
        (Path(str(folder)) / "go").write_text("")

    server.call(go)
    everyone = [*early, late, again]
    shown = [one.done() for one in everyone]
    assert early[0].raw == early[1].raw == early[2].raw
    for frames in shown:
        names = Counter(frame["event_id"] for frame in frames)
        assert max(names.values()) == 1, names.most_common(3)
        texts: dict[str, str] = {}
        for frame in frames:
            if frame["type"] == "agent.session.turn.output_text.delta":
                assert frame["item_id"] in texts
                texts[frame["item_id"]] += frame["delta"]
            elif frame["type"] == "agent.session.turn.item.added" and frame["item"]["type"] == "message":
                texts[frame["item"]["id"]] = ""
        assert [text for text in texts.values() if text] == ["one two ", "three four ", "The end."]
    outputs = [
        "".join(f["delta"] for f in frames if f["type"] == "agent.output.command_execution_output.delta")
        for frames in shown[:4]
    ]
    assert outputs == ["first\nsecond\n"] * 4
