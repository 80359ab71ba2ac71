"""What a server costs, beside the floor of one (`floor_server.py`). Each is a process of its own, this one the client.

Both are up during a scenario and take turns; the one that is not asked does nothing. CPU is that of the server's process
alone, all threads.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .measure import Bench, percentile, settle_garbage
from .pace import END, Pace
from .served import PacedModel
from .wire import Followers, Line, ask_all, asking

FLOOR, GODWIT = "floor", "godwit"
QUEUED = 32
"""Messages that are sent to one session while its run stands still."""
PAGE = 50
WARM = 20
"""Followers of each kind that are there before those that are weighed."""
TEXT = "The quick brown fox jumps over the lazy dog and then sits down to think about what it has done. "


class Process:
    """A server, from its start on; `wait` until it answers. `kind`: the subject that it is in the tables."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        folder.mkdir()
        self._log = open(folder / "log", "wb")  # noqa: SIM115 - it stays open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-m", "bench.served", kind, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._folder = folder
        self._names = itertools.count()
        self.url = self._agent = self._environment = ""

    def wait(self) -> None:
        self.url = self.answer()["url"]
        if self.kind == GODWIT:
            self._agent = self._made("/v1/agents", name="bench", model=PacedModel.name)
            self._environment = self._made("/v1/environments", name="bench")

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.kind} server ended: {(self._folder / 'log').read_text()[-2000:]}")
        return json.loads(line)

    def begin(self, do: str, **command: Any) -> None:
        """Have it do something (`served.py`); `answer` waits until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
        self._process.stdin.flush()

    def tell(self, do: str, **command: Any) -> Any:
        self.begin(do, **command)
        return self.answer()

    def cpu_s(self) -> float:
        found: float = self.tell("weigh", memory=False)["cpu_s"]
        return found

    def kb(self) -> float | None:
        found: float | None = self.tell("weigh", memory=True)["kb"]
        return found

    def sessions(self, count: int) -> list[str]:
        if self.kind == FLOOR:
            return [f"ses_{next(self._names)}" for _ in range(count)]
        one = asking("/v1/sessions", {"agent": self._agent, "environment_id": self._environment})
        _, answers = ask_all(self.url, [one] * count, 4)
        return [json.loads(answer)["id"] for answer in answers]

    def say(self, sessions: Sequence[str], text: str) -> None:
        ask_all(self.url, [saying(session, text) for session in sessions], 16)

    def _made(self, path: str, **fields: Any) -> str:
        line = Line(self.url)
        found: str = json.loads(line.ask(asking(path, fields)))["id"]
        line.close()
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()


@contextmanager
def _both(bench: Bench, scenario: str) -> Iterator[list[Process]]:
    folder = bench.folder / scenario
    folder.mkdir()
    with ExitStack() as stack:
        servers = []
        for kind in (FLOOR, GODWIT):
            servers.append(Process(kind, folder / kind))
            stack.callback(servers[-1].end)
        for server in servers:
            server.wait()
        settle_garbage()
        yield servers


def saying(session: str, text: str) -> bytes:
    message = {"type": "user.message", "content": [{"type": "text", "text": text}]}
    return asking(f"/v1/sessions/{session}/events", {"events": [message]})


def stream_of(session: str) -> str:
    return f"/v1/sessions/{session}/events/stream?event_deltas[]=agent.message"


def _turns(bench: Bench, servers: list[Process], measure: Callable[[Process, bool], None]) -> None:
    """Measure each, forwards and backwards; the first round is thrown away (`counts` is False) unless sizes are the
    smallest."""
    for number in range(-min(bench.sizes.warm, 1), max(bench.sizes.repeats // 3, 1)):
        for server in servers if number % 2 == 0 else reversed(servers):
            measure(server, number >= 0)


class _Samples:
    """Samples by scenario, subject and metric; the floor's are told first, since all others are compared with them."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str, str, str], list[float]] = {}

    def add(self, scenario: str, subject: str, metric: str, unit: str, value: float) -> None:
        self._taken.setdefault((scenario, subject, metric, unit), []).append(value)

    def ages(self, scenario: str, subject: str, what: str, ages: Sequence[float]) -> None:
        if not ages:
            raise RuntimeError(f"{scenario}: nothing arrived from {subject}")
        for part in (50, 99):
            self.add(scenario, subject, f"{what}p{part}", "ms", percentile(ages, part))

    def tell(self, bench: Bench) -> None:
        for key, values in sorted(self._taken.items(), key=lambda one: one[0][1] != FLOOR):
            scenario, subject, metric, unit = key
            bench.add(scenario, subject, metric, unit, values, floor=None if unit == "%" else FLOOR)


# --- requests ---------------------------------------------------------------------------------------------------------


async def requests(bench: Bench) -> None:
    """Messages sent to sessions, and a page of events listed, over one connection and over several."""
    await asyncio.to_thread(_requests, bench)


def _requests(bench: Bench) -> None:
    samples = _Samples()
    with _both(bench, "server") as servers:
        listings = _listings(servers)
        for connections in (1, bench.sizes.connections):
            over = f"{connections} connection" + ("s" if connections > 1 else "")

            def measure(server: Process, asked: list[bytes], scenario: str, connections: int, counts: bool) -> None:
                cpu_s = server.cpu_s()
                took, _ = ask_all(server.url, asked, connections)
                cpu_s = server.cpu_s() - cpu_s
                if counts:
                    # Of a closed loop: as many are under way as there are connections.
                    samples.add(scenario, server.kind, "per s", "", connections * len(took) * 1000 / sum(took))
                    samples.ages(scenario, server.kind, "", took)
                    samples.add(scenario, server.kind, "server CPU each", "us", cpu_s * 1e6 / len(took))

            def send(server: Process, counts: bool, over: str = over, connections: int = connections) -> None:
                sessions = server.sessions(-(-bench.sizes.requests // QUEUED))
                # A run that stands still: what is sent is stored and waits, and nothing else happens.
                server.say(sessions, "hold")
                asked = [saying(session, TEXT) for session, _ in zip(itertools.cycle(sessions), range(bench.sizes.requests))]
                measure(server, asked, f"server: send, {over}", connections, counts)

            def listed(server: Process, counts: bool, over: str = over, connections: int = connections) -> None:
                asked = [listings[server.kind]] * bench.sizes.requests
                measure(server, asked, f"server: list {PAGE} events, {over}", connections, counts)

            _turns(bench, servers, send)
            _turns(bench, servers, listed)
    samples.tell(bench)


def _listings(servers: list[Process]) -> dict[str, bytes]:
    """What to ask each for: the same page. The floor is given what the other has."""
    floor, godwit = servers
    session = _talked(godwit)
    listings = {server.kind: asking(f"/v1/sessions/{session}/events?limit={PAGE}") for server in servers}
    line = Line(godwit.url)
    page = json.loads(line.ask(listings[GODWIT]))
    line.close()
    if len(page["data"]) != PAGE:
        raise RuntimeError(f"the page has {len(page['data'])} events")
    floor.tell("seed", session=session, bodies=page["data"])
    return listings


def _talked(godwit: Process) -> str:
    """A session in which was talked until its first page is full."""
    (session,) = godwit.sessions(1)
    for _ in range(PAGE // 5):
        godwit.say([session], TEXT)
        godwit.tell("settle", sessions=[session])
    return session


# --- followers --------------------------------------------------------------------------------------------------------


async def followers(bench: Bench) -> None:
    """Followers of one session: an answer at a pace, stored events at that pace, and a burst of stored events."""
    await asyncio.to_thread(_followers, bench)


def _followers(bench: Bench) -> None:
    samples = _Samples()
    with _both(bench, "server-followers") as servers:
        for count in bench.sizes.http_followers:
            scenario = followed_by(count)

            def measure(server: Process, counts: bool, count: int = count, scenario: str = scenario) -> None:
                (session,) = server.sessions(1)
                group = Followers(server.url, [stream_of(session)] * count)
                try:
                    _followed(bench, server, session, group, count, scenario, samples if counts else _Samples())
                finally:
                    group.close()

            _turns(bench, servers, measure)
    samples.tell(bench)


def followed_by(count: int) -> str:
    """The scenario with so many followers."""
    return f"server-followers: {count}"


def _followed(
    bench: Bench, server: Process, session: str, group: Followers, count: int, scenario: str, samples: _Samples
) -> None:
    chunks = Pace(bench.sizes.chunks, 50)
    cpu_s = server.cpu_s()
    server.say([session], chunks.prompt)
    ages = group.until(lambda _, frames: END in frames)
    cpu_s = server.cpu_s() - cpu_s
    samples.ages(scenario, server.kind, "chunk ", ages)
    samples.add(scenario, server.kind, "arrived", "%", 100 * len(ages) / (count * chunks.count))
    samples.add(scenario, server.kind, "server CPU per delivery", "us", cpu_s * 1e6 / len(ages))
    stored = Pace(chunks.count // 2, 50)
    samples.ages(scenario, server.kind, "stored ", _stored(server, session, group, stored))
    burst = Pace(bench.sizes.http_burst, 0)
    cpu_s, began_s = server.cpu_s(), time.perf_counter()
    many = len(_stored(server, session, group, burst))
    took_s = time.perf_counter() - began_s
    samples.add(scenario, server.kind, "burst per s", "", many / took_s)
    samples.add(scenario, server.kind, "burst CPU per delivery", "us", (server.cpu_s() - cpu_s) * 1e6 / many)


def _stored(server: Process, session: str, group: Followers, pace: Pace) -> list[float]:
    """Have events stored, until all followers have all of them: how old each was when it arrived."""
    server.begin("store", session=session, count=pace.count, per_s=pace.per_s)
    ages = group.until(lambda seen, _: seen >= pace.count)
    server.answer()
    return ages


# --- many sessions ----------------------------------------------------------------------------------------------------


async def streams(bench: Bench) -> None:
    """Many sessions that stream an answer at the same time, each with a follower."""
    await asyncio.to_thread(_streams, bench)


def streaming(count: int) -> str:
    """The scenario with so many sessions."""
    return f"server-streams: {count} sessions"


def _streams(bench: Bench) -> None:
    samples = _Samples()
    count = bench.sizes.sessions
    chunks = Pace(bench.sizes.chunks, 20)
    scenario = streaming(count)
    with _both(bench, "server-streams") as servers:

        def measure(server: Process, counts: bool) -> None:
            sessions = server.sessions(count)
            group = Followers(server.url, [stream_of(session) for session in sessions])
            try:
                cpu_s = server.cpu_s()
                server.say(sessions, chunks.prompt)
                ages = group.until(lambda _, frames: END in frames)
                cpu_s = server.cpu_s() - cpu_s
            finally:
                group.close()
            if counts:
                samples.ages(scenario, server.kind, "chunk ", ages)
                samples.add(scenario, server.kind, "arrived", "%", 100 * len(ages) / (count * chunks.count))
                samples.add(scenario, server.kind, "server CPU per chunk", "us", cpu_s * 1e6 / len(ages))

        _turns(bench, servers, measure)
    samples.tell(bench)


# --- memory -----------------------------------------------------------------------------------------------------------


async def memory(bench: Bench) -> None:
    """What a session at rest adds to a server that it was talked with, and what a follower adds. Once: caches are full
    before it counts, and a process gives back little."""
    await asyncio.to_thread(_memory, bench)


def _memory(bench: Bench) -> None:
    count = bench.sizes.http_idle
    with _both(bench, "server-memory") as servers:
        for server in servers:
            if server.kind == GODWIT:
                _rest(server, min(100, 4 * count))
            before = server.kb()
            if before is None:
                bench.notes.append("server-memory: this system does not say how much of it is in use")
                return
            if server.kind == GODWIT:
                _rest(server, count)
                bench.add("server-memory", server.kind, f"idle session, of {count}", "KB", [(_kb(server) - before) / count])
            # All of them stay until the end: what a follower that leaves gives back would hide what the next one takes.
            with ExitStack() as stack:
                for what, sessions in (
                    (f"follower, {count} of one session", server.sessions(1) * (count + WARM)),
                    (f"follower, of {count} sessions", server.sessions(count + WARM)),
                ):
                    paths = [stream_of(session) for session in sessions]
                    stack.callback(Followers(server.url, paths[:WARM]).close)
                    before = _kb(server)
                    stack.callback(Followers(server.url, paths[WARM:]).close)
                    bench.add("server-memory", server.kind, what, "KB", [(_kb(server) - before) / count])


def _rest(server: Process, count: int) -> None:
    """So many sessions that were talked with once."""
    sessions = server.sessions(count)
    server.say(sessions, TEXT)
    server.tell("settle", sessions=sessions)


def _kb(server: Process) -> float:
    found = server.kb()
    assert found is not None
    return found
