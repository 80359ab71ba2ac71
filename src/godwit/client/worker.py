"""Worker: a program that does calls of sessions which are driven elsewhere: it leases tasks, runs tools in a sandbox and a
folder of its own, and says what they came to.

Leaves out who may lease what and what becomes of a task that is lost (`host.lane_tasks`). Rules a change must keep: a task
is only begun under a lease that still holds; one whose lease is lost is stopped and not reported; what came of one whose
lease holds is said until it is heard; a worker that stops takes nothing new, ends what it has, and gives back what it has
not begun. How long is left is reckoned from what the queue says: its clock may go otherwise than the one here.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..contracts import Tool, ToolOutput, Workspace
from ..core.errors import ConfigurationError, GodwitError, InvalidToolArguments, StoreError, TooMany, Unreachable, WorkLost
from ..core.events import Labels
from ..core.ids import CallId, SessionId, SystemClock
from ..core.messages import Text
from ..core.sandbox import SandboxPolicy
from ..engine.cancel import WITHIN, Cancel
from ..engine.results import as_json, look_at, outcome
from ..engine.tool_context import Context
from ..host.lane_tasks import Leased
from .tasks import DatabaseTasks, ServerTasks, TaskSource

logger = logging.getLogger("godwit")

WAIT_S = 5.0
"""How long one question for a task may wait."""
PAUSE_S = 1.0
"""How long to wait after a question that failed."""
GRACE_S = 2.0
"""Seconds a call that is stopped gets to end by itself."""
ABANDON_S = 1.0
_LATER = (Unreachable, StoreError, TooMany)
"""What may be otherwise when it is tried again."""


class Worker:
    """Does tasks from when it is entered until it is left.

        async with godwit.Worker("godwit.db", lanes=["execute"]) as worker:
            await worker.wait()

    `target`: the database that sessions are in, or the address of a server. `key`: who asks the server. `tenant`: whose
    tasks, of a database. `lanes`: which, the first first. `labels`: what this worker has. `tools`: what it can run: names of
    tools and toolsets that come with godwit, tools of your own, functions. `folder`: where they work; `per_session`: in a
    folder in it for each session. `concurrency`: how many tasks at once. `sandbox`: what confines commands. `environment`:
    variables for them. `name`: as it is shown; by default the machine and the process.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] = "godwit.db",
        *,
        lanes: Sequence[str] = ("query", "execute"),
        labels: Mapping[str, str] | None = None,
        tools: Sequence[str | Tool | Callable[..., Any]] = ("files", "bash"),
        folder: str | os.PathLike[str] = ".",
        per_session: bool = False,
        concurrency: int = 1,
        sandbox: SandboxPolicy | None = None,
        environment: Mapping[str, str] | None = None,
        key: str | None = None,
        tenant: str | None = None,
        name: str | None = None,
    ) -> None:
        """ConfigurationError, ToolNotFound."""
        from ..tools.toolbox import default_toolbox

        if concurrency < 1:
            raise ConfigurationError(f"concurrency={concurrency!r} must be 1 or more", value=concurrency)
        if not lanes:
            raise ConfigurationError("a worker works in one lane at least")
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.lanes = tuple(lanes)
        self.labels = dict(labels or {})
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise ConfigurationError(f"folder {os.fspath(folder)!r} is no folder", folder=os.fspath(folder))
        toolbox = default_toolbox()
        names = [one if isinstance(one, str) else toolbox.register(one).definition.name for one in tools]
        self._tools = {tool.definition.name: tool for tool in toolbox.select(names)}
        for tool in self._tools.values():
            if tool.traits.bound or tool.traits.external:
                raise ConfigurationError(f"tool {tool.definition.name!r} cannot be run by a worker")
        self.done = self.failed = self.lost = 0
        """How many tasks were answered, with a result that says ok or with another, and how many leases were lost."""
        self._target = os.fspath(target)
        self._key = key
        self._tenant = tenant
        self._per_session = per_session
        self._concurrency = concurrency
        self._sandbox = sandbox
        self._environment = dict(environment or {})
        self._clock = SystemClock()
        self._source: TaskSource | None = None
        self._places: Any = None
        self._stopping = asyncio.Event()
        self._busy: set[Cancel] = set()
        self._in_session: Counter[SessionId] = Counter()  # tasks under way
        self._slots: list[asyncio.Task[None]] = []

    @property
    def tools(self) -> list[str]:
        return list(self._tools)

    @property
    def active(self) -> int:
        """How many tasks are under way."""
        return len(self._busy)

    async def __aenter__(self) -> Worker:
        from ..host.workspaces import LocalWorkspaces, database_files

        if self._source is not None:
            raise ConfigurationError("a worker is entered once")
        if self._target.startswith(("http://", "https://")):
            self._source = ServerTasks(self._target, self._key)
        else:
            self._source = DatabaseTasks(self._target, tenant=self._tenant)
        self._places = LocalWorkspaces(self._sandbox, database_files(self._source.file))
        try:
            await self._places.check(SandboxPolicy(), os.fspath(self.folder))
        except BaseException:
            await self._source.close()
            raise
        self._slots = [asyncio.create_task(self._work(self._source), name=f"worker {n}") for n in range(self._concurrency)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        try:
            await asyncio.gather(*self._slots, return_exceptions=True)
        finally:
            # Who is cancelled here has cancelled them as well: they end what they have, and say so.
            await asyncio.gather(*self._slots, return_exceptions=True)
            await self._places.close()
            assert self._source is not None
            await self._source.close()

    def stop(self) -> None:
        """Take nothing new; what is under way ends as it would. Safe to repeat."""
        self._stopping.set()

    def cancel(self) -> None:
        """Stop, and end what is under way: it is failed, and another worker gets it where that is allowed."""
        self.stop()
        for token in list(self._busy):
            token.cancel()

    async def wait(self) -> None:
        """Return when it was told to stop and all it had has ended; raise what has ended it before."""
        await asyncio.gather(*self._slots)

    # --- one task after the other ---------------------------------------------------------------------------------------

    async def _work(self, source: TaskSource) -> None:
        while not self._stopping.is_set():
            try:
                leased = await source.lease(
                    self.lanes,
                    worker=self.name,
                    labels=self.labels,
                    tools=list(self._tools),
                    wait_s=WAIT_S,
                    stop=self._stopping,
                )
            except _LATER as error:
                logger.warning("worker %s: %s", self.name, error.message)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), PAUSE_S)
                continue
            if leased is None:
                continue
            if self._stopping.is_set():
                with contextlib.suppress(GodwitError):
                    await source.give_back(leased.task.id, leased.token)
                return
            try:
                await self._do(source, leased)
            except GodwitError as error:
                # Its lease runs out, and whoever keeps the queue says what follows.
                self.lost += 1
                logger.warning("worker %s has lost task %s: %s", self.name, leased.task.id, error.message)

    async def _do(self, source: TaskSource, leased: Leased) -> None:
        task, token = leased.task, Cancel()
        self._busy.add(token)
        self._in_session[task.session] += 1
        keeping: asyncio.Task[None] | None = None
        try:
            asked_s = self._clock.monotonic()
            until_ms = await source.heartbeat(task.id, leased.token)  # from here on it counts as begun
            keeping = asyncio.create_task(self._keep(source, leased, token, asked_s + leased.lease_s))
            timeout_s: float | None = None
            if task.expires_ms is not None:
                timeout_s = max(0.0, (task.expires_ms - until_ms) / 1000 + leased.lease_s)
            await self._see_through(source, leased, token, keeping, timeout_s)
        finally:
            self._busy.discard(token)
            if keeping is not None:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
            self._in_session[task.session] -= 1
            if not self._in_session[task.session]:
                del self._in_session[task.session]
                if self._per_session:
                    await self._places.leave(task.session)

    async def _see_through(
        self, source: TaskSource, leased: Leased, token: Cancel, keeping: asyncio.Task[None], timeout_s: float | None
    ) -> None:
        """Do what has begun, and say what it came to."""
        task, stopped = leased.task, "the worker was stopped while it did this call"

        async def failed(why: str) -> None:
            told = await self._say(lambda: source.fail(task.id, leased.token, why), keeping)
            self.failed += told
            self.lost += not told

        try:
            running = await self._start(source, leased, token)
        except (GodwitError, OSError) as error:
            await failed(f"The worker could not begin: {error}")
            return
        ended = asyncio.ensure_future(token.wait())
        try:
            await asyncio.wait([running, ended], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._cut_off(running, token)
            with contextlib.suppress(GodwitError):
                await source.fail(task.id, leased.token, stopped)
            raise
        finally:
            ended.cancel()
        told_to_end = token.cancelled
        cut_off = not running.done()
        if cut_off:
            await self._cut_off(running, token)
        if keeping.done():  # only a lease that is lost ends it
            self.lost += 1
            return
        if told_to_end and self._stopping.is_set():
            await failed(stopped)
            return
        if cut_off:
            await failed("nobody answered in time")
            return
        status, content, metadata = outcome(running)
        told = await self._say(
            lambda: source.complete(task.id, leased.token, content, is_error=status != "ok", metadata=as_json(metadata)),
            keeping,
        )
        self.done += told and status == "ok"
        self.failed += told and status != "ok"
        self.lost += not told

    async def _say(self, say: Callable[[], Awaitable[bool]], keeping: asyncio.Task[None]) -> bool:
        """Say it until it is heard, as long as the lease is kept."""
        while True:
            try:
                return await say()
            except _LATER as error:
                if keeping.done():
                    raise
                logger.warning("worker %s: %s", self.name, error.message)
                await asyncio.wait([keeping], timeout=PAUSE_S)

    async def _start(self, source: TaskSource, leased: Leased, token: Cancel) -> asyncio.Task[ToolOutput]:
        """The call's effect, under way in a task of its own; whatever goes wrong with it goes wrong there."""
        task = leased.task
        place = await self._place(task.session)
        context = Context(
            source,
            session=task.session,
            run=None,
            call=CallId(task.call or task.id),
            key=leased.key,
            token=token,
            workspace=place,
            labels=Labels(tenant=self._tenant),
            context=None,
            grace_s=lambda: GRACE_S,
            after=0,
            verdict=lambda _: "ask",  # the session's rules are not known here
        )
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, task.session)
        running = asyncio.create_task(self._run(task.command_type, task.payload, context), context=inside)
        running.add_done_callback(look_at)
        return running

    async def _run(self, name: str, arguments: dict[str, Any], context: Context) -> ToolOutput:
        tool = self._tools[name]
        try:
            tool.validate(arguments)
        except InvalidToolArguments as error:
            return ToolOutput((Text(error.message),), is_error=True)
        return await tool.run(arguments, context)

    async def _cut_off(self, running: asyncio.Task[ToolOutput], token: Cancel) -> None:
        token.cancel()
        await asyncio.wait([running], timeout=GRACE_S + ABANDON_S)
        if not running.done():
            running.cancel()
            await asyncio.wait([running], timeout=ABANDON_S)

    async def _keep(self, source: TaskSource, leased: Leased, token: Cancel, until_s: float) -> None:
        """Keep the lease, which lasts until `until_s`; when it is lost, stop the call and end."""
        while True:
            await asyncio.sleep(leased.lease_s / 4)
            asked_s = self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.0, until_s - asked_s)):
                    await source.heartbeat(leased.task.id, leased.token)
                until_s = asked_s + leased.lease_s
            except (WorkLost, TimeoutError):
                break
            except GodwitError as error:
                logger.warning("worker %s cannot keep task %s: %s", self.name, leased.task.id, error.message)
                if self._clock.monotonic() >= until_s:
                    break
        token.cancel()

    async def _place(self, session: SessionId) -> Workspace:
        folder = self.folder
        if self._per_session:
            folder = self.folder / session
            await asyncio.to_thread(folder.mkdir, exist_ok=True)
        place: Workspace = await asyncio.to_thread(
            self._places, session, os.fspath(folder), self._environment, SandboxPolicy()
        )
        return place


__all__ = ["Worker"]
