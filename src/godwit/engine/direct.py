"""Direct calls: tools run on a session by its host, with no model and no turn.

Recorded as `tool.started` and `tool.finished` of another origin, outside the transcript. The host is trusted: permission
rules and approvals do not apply; hooks, budgets, the sandbox, time limits and artifacts do. A run may be open meanwhile, in
this process or another. A rule a change must keep: what has started is recorded as ended, also when the caller is cancelled
or the handle closed; what a dead process has left is recorded as unknown by whoever opens the session next, and never run
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from ..contracts import EventStore, Memories, ServerTools, Tool, ToolOutput, Verified, Workspace
from ..core.budget import ALLOWED
from ..core.errors import KeyReused, SessionArchived, StoreError, ToolFailed
from ..core.events import EventData, HookBlocked, Labels, Origin, ToolFinished, ToolStarted, from_outside
from ..core.facts import ToolCallResult
from ..core.hooks import INTERRUPTED
from ..core.ids import CallId, Clock, RunId, Seq, SessionId, derived_id
from ..core.mcp import RESOURCE_TOOLS, server_and_tool
from ..core.messages import ResultBlock, Text, ToolStatus
from ..core.questions import QuestionAnswer, Resumption
from ..core.state import State
from .aside import Asides
from .budget import Budgets, refusal
from .cancel import WITHIN, Cancel
from .driver import Parts
from .hooks import Hooks
from .log import append_outside, load_state
from .questions import ASKS_NOBODY, MOST_ROUNDS, is_asking, let_go
from .results import as_json, cut_off, files_of, keep_files, look_at, modified, outcome, shorten, told, written_by
from .review import checked
from .shared_state import CallState, tells
from .tasks import SessionTasks
from .tool_context import Context

LOST_LOOK_S = 1.0
"""How often who waits for a call of another process looks whether that one is alive."""
ABANDON_S = 1.0
"""How long a call that was cut off may ignore it before it is left to itself."""


class HostCalls(ABC):
    """The part of a session's handle that calls tools: by name, and the built-in ones each by a method of its own.

    No model, no transcript, no approval; hooks, budgets and the sandbox apply, and each call is recorded. They work while a
    run is open. Every method raises SessionClosed and SessionArchived; all but `tool` raise ToolFailed for what `tool` would
    return as a result that is not ok.
    """

    calls: DirectCalls

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    async def tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        context: Any = None,
        timeout_s: float | None = None,
        key: str | None = None,
    ) -> ToolCallResult:
        """Run a tool. One that fails, arguments that do not fit and a name that is unknown are results: see
        `ToolCallResult.ok`. `context`: the value for function tools. `key`: an idempotency key; what was begun under it is
        not run again, and its result is told, once it has ended. KeyReused when that was another call."""
        self._check_open()
        return await self.calls.run(name, arguments or {}, context=context, timeout_s=timeout_s, key=key)

    async def read_file(self, path: str, *, offset: int | None = None, limit: int | None = None) -> str:
        """The file's text as the tool `read` shows it, with line numbers."""
        return (await self._did("read", file_path=path, offset=offset, limit=limit)).output

    async def write_file(self, path: str, content: str) -> str:
        """Replace or make the file; returns what the tool `write` says."""
        return (await self._did("write", file_path=path, content=content)).output

    async def edit_file(self, path: str, old: str, new: str, replace_all: bool = False) -> str:
        """Replace `old` by `new` where it stands once, or with `replace_all` everywhere."""
        edited = await self._did("edit", file_path=path, old_string=old, new_string=new, replace_all=replace_all)
        return edited.output

    async def patch_file(self, path: str, diff: str) -> str:
        """Apply a unified diff to the file, as a whole or not at all."""
        return (await self._did("patch", file_path=path, diff=diff)).output

    async def ls(self, path: str | None = None) -> str:
        """A folder's entries as the tool `ls` shows them."""
        return (await self._did("ls", path=path)).output

    async def glob(self, pattern: str, *, path: str | None = None) -> list[str]:
        """Paths of the files that match, newest first."""
        found = await self._did("glob", pattern=pattern, path=path)
        return found.output.splitlines()[: int(found.metadata.get("count", 0))]

    async def grep(self, pattern: str, *, path: str | None = None, glob: str | None = None) -> str:
        """The lines that match, as the tool `grep` shows them."""
        return (await self._did("grep", pattern=pattern, path=path, glob=glob)).output

    async def bash(self, command: str, *, timeout_s: float | None = None) -> str:
        """What the command printed. A command that ends with another code than 0 raises ToolFailed, which has both."""
        limit = None if timeout_s is None else max(1, round(timeout_s * 1000))
        return (await self._did("bash", command=command, timeout=limit)).output

    async def _did(self, name: str, **arguments: Any) -> ToolCallResult:
        given = {key: value for key, value in arguments.items() if value is not None}
        result = await self.tool(name, given)
        if not result.ok:
            raise ToolFailed(result.output, tool=name, status=result.status, call=result.call, exit_code=result.exit_code)
        return result


class DirectCalls:
    """Runs calls on one session for its host."""

    def __init__(
        self,
        parts: Parts,
        session: SessionId,
        *,
        tools: Callable[[], list[Tool]],
        any_tool: Callable[[str], Tool | None],
        workspace: Callable[[], Workspace | None],
        hooks: Hooks,
        budget: Callable[[Callable[[], State]], Budgets],
        model: Callable[[], str],
        retries: Callable[[], int],
        labels: Labels,
        token: Cancel,
        epoch: Callable[[], int | None] = lambda: None,
        checks: Callable[[Cancel], Awaitable[Verified]] | None = None,
        servers: Callable[[], Awaitable[ServerTools]] | None = None,
        memory: Callable[[], Memories] | None = None,
    ) -> None:
        """`epoch`: of the driver that has the calls made, if one does: once it has lost the session, it begins none.
        `checks`: what a tool that is called here gets from `ToolContext.verify`. `servers`: connects to the agent's MCP
        servers."""
        self._parts = parts
        self._session = session
        self._tools = tools
        self._any_tool = any_tool
        self._workspace = workspace
        self._hooks = hooks
        self._budget = budget
        self._model = model
        self._retries = retries
        self._labels = labels
        self._token = token
        self._epoch = epoch
        self._checks = checks
        self._servers = servers
        self._memory = memory

    @property
    def _store(self) -> EventStore:
        return self._parts.store

    async def run(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        origin: Origin = "direct",
        context: Any = None,
        timeout_s: float | None = None,
        cancel: Cancel | None = None,
        run: RunId | None = None,
        call: CallId | None = None,
        paid: bool = False,
        key: str | None = None,
    ) -> ToolCallResult:
        """Run the tool of this name, the agent's or else any that the process knows, and return what it came to, whatever
        that is: a tool that fails, or that there is none, is a result and no exception.

        `timeout_s`: in place of the tool's own limit. `cancel`: ends the call, as the closing of the handle does. `run`: the
        open run it belongs to. `call`: its id, for one that may have been begun before; the id is its idempotency key too.
        `paid`: the budget has been asked about it. `key`: see `HostCalls.tool`.
        Raises SessionArchived, SessionNotFound and the store's errors, in which case nothing was run.
        """
        if call is None:
            call = CallId(self._parts.ids.new("call") if key is None else derived_id("call", self._session, key))
        if origin == "model":
            raise ValueError("a model's calls belong to its turns")
        tools = self._tools()
        tool = next((t for t in tools if t.definition.name == name), None) or self._any_tool(name)
        of = server_and_tool(name)
        if tool is None and self._servers is not None and (of is not None or name in RESOURCE_TOOLS):
            found = await self._servers()
            tool = next((t for t in (*found.tools, *found.common) if t.definition.name == name), None)
            away = next((one.message for one in found.missing if of is not None and one.server == of[0]), None)
            if tool is None and away is not None:
                return _not_run(call, name, "error", f"{away[0].upper()}{away[1:]}")
        if tool is None or tool.traits.external:
            known = ", ".join(sorted(t.definition.name for t in tools if not t.traits.external)) or "none"
            return _not_run(call, name, "error", f"Unknown tool {name!r}. Tools that can be called: {known}")
        state = await load_state(self._store, self._session)
        if state.gate.archived:
            raise SessionArchived(session=self._session)
        refused = checked(tool, arguments)
        if refused is not None:
            return _not_run(call, name, refused.status, refused.text)
        token = self._token.child() if cancel is None else cancel.child()
        take_back = None if cancel is None else self._token.on_cancel(token.cancel)
        try:
            return await self._hooked(tool, call, arguments, origin, run, context, timeout_s, state, token, paid, key)
        finally:
            if take_back is not None:
                take_back()

    async def _hooked(
        self,
        tool: Tool,
        call: CallId,
        arguments: dict[str, Any],
        origin: Origin,
        run: RunId | None,
        context: Any,
        timeout_s: float | None,
        state: State,
        token: Cancel,
        paid: bool,
        key: str | None,
    ) -> ToolCallResult:
        name = tool.definition.name
        notes: list[str] = []
        if self._hooks.wants("before_tool"):
            payload = {
                "tool": name,
                "call": call,
                "arguments": arguments,
                "read_only": tool.traits.read_only,
                "origin": origin,
            }
            hooked = await self._hooks.fire("before_tool", payload, run=run, cancel=token)
            if hooked is INTERRUPTED:
                return _not_run(call, name, "skipped", "[interrupted]")
            if hooked.action in ("block", "escalate"):
                reason = hooked.reason or "Blocked"
                if hooked.action == "escalate":
                    reason = f"A hook wants a person to decide, and a direct call asks nobody: {reason}"
                blocked = HookBlocked(hooked.hook or "hook", "before_tool", reason, call=call, failed=hooked.failed)
                await self._append(run, blocked)
                return _not_run(call, name, "denied", f"A hook blocked this call: {reason}")
            if hooked.action == "skip":
                return _not_run(call, name, "skipped", hooked.reason or "Left out by a hook.")
            notes += [hooked.note] if hooked.note else []
            if hooked.modified is not None:
                arguments = hooked.modified
                refused = checked(tool, arguments)
                if refused is not None:
                    return _not_run(call, name, "error", f"A hook has changed the arguments so: {refused.text}")
        if tool.traits.delegates:
            return _not_run(call, name, "error", "A model hands out tasks with it; a host does with session.tasks.start().")
        latest = [state]
        budget = self._budget(lambda: latest[0])
        decision = ALLOWED if paid else await budget.before_tool(name)
        recorded = budget.recorded(decision)
        if decision.verdict in ("deny", "ask"):
            # Whoever calls directly is there to raise the limit: nobody else is asked for it.
            await self._append(run, *(e for e in recorded if from_outside(e)))
            return _not_run(call, name, "denied", refusal(decision))
        if token.cancelled:
            return _not_run(call, name, "skipped", "[interrupted]")
        started = ToolStarted(call, name, arguments, f"{self._session}/{call}", origin=origin, owner=self._parts.owner)

        async def refresh() -> None:
            latest[0] = await load_state(self._store, self._session)

        asides = Asides(
            self._parts,
            self._session,
            budget,
            token,
            run=run,
            model=self._model(),
            retries=self._retries(),
            tenant=self._labels.tenant,
            recorded=refresh,
        )

        lanes = self._parts.lanes

        async def work() -> ToolCallResult:
            ticket = lanes.ask(lanes.lane_of(tool), session=self._session, tenant=self._labels.tenant)
            if not await ticket.granted(token):
                return _not_run(call, name, "skipped", "[interrupted]")
            async with ticket:
                begun = [*(e for e in recorded if from_outside(e)), started]
                own = None if key is None else f"{key}\0tool"
                try:
                    appended = await append_outside(
                        self._store, self._session, begun, self._parts.clock, run=run, epoch=self._epoch(), key=own
                    )
                except KeyReused:  # by another process, or with something else that the budget had to record
                    return await self._before(started, state)
                if appended.duplicate:
                    return await self._before(started, state)
                return await self._effect(
                    tool, call, arguments, origin, run, context, timeout_s, state, token, notes, asides
                )

        # The start as well: a caller who is cancelled while it is being stored must not leave a call that never ends.
        effect = asyncio.ensure_future(work())
        effect.add_done_callback(look_at)
        try:
            return await asyncio.shield(effect)
        except asyncio.CancelledError:
            token.cancel()
            await asyncio.wait([effect])
            raise

    async def _effect(
        self,
        tool: Tool,
        call: CallId,
        arguments: dict[str, Any],
        origin: Origin,
        run: RunId | None,
        context: Any,
        timeout_s: float | None,
        state: State,
        token: Cancel,
        notes: list[str],
        asides: Asides,
    ) -> ToolCallResult:
        """Run it to its end and record that."""
        name, clock, grace_s = tool.definition.name, self._parts.clock, self._parts.grace_s
        inside = contextvars.copy_context()
        inside.run(WITHIN.set, self._session)
        now = state

        async def look(_: Seq) -> None:
            nonlocal now
            now = await load_state(self._store, self._session)

        asked = Context(
            self._store,
            session=self._session,
            run=run,
            call=call,
            key=f"{self._session}/{call}",
            token=token,
            workspace=self._workspace(),
            labels=self._labels,
            context=context,
            grace_s=lambda: grace_s,
            after=state.seq,
            verify=None if self._checks is None else functools.partial(self._checks, token),
            asides=asides,
            tasks=SessionTasks(self._parts, self._session),
            memory=None if self._memory is None else self._memory(),
            state=lambda: now,
            shared=CallState(
                self._store,
                self._session,
                clock,
                call,
                tell=lambda: tells(self._tools()) or now.shared_told,
                seen=look,
                epoch=self._epoch,
            ),
        )
        began = clock.monotonic()
        task = asyncio.get_running_loop().create_task(_work(tool, arguments, asked), context=inside)
        task.add_done_callback(look_at)
        limit_s = timeout_s if timeout_s is not None else tool.traits.timeout_s
        stopped = asyncio.ensure_future(token.wait())
        late = False
        try:
            await asyncio.wait([task, stopped], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                late = not token.cancelled
                token.cancel()
                await asyncio.wait([task], timeout=grace_s + ABANDON_S)
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=ABANDON_S)
        finally:
            stopped.cancel()
        took_ms = round((clock.monotonic() - began) * 1000)
        status: ToolStatus
        content: tuple[ResultBlock, ...]
        metadata: dict[str, Any]
        if not task.done():
            status, content, metadata = (
                "unknown",
                (Text("[it did not stop: its outcome is unknown]"),),
                {"interrupted": True},
            )
        elif token.cancelled and not late and (task.cancelled() or task.exception() is not None):
            status, content, metadata = "error", cut_off(task), {"interrupted": True}
        else:
            status, content, metadata = outcome(task, timed_out_s=limit_s if late else None)
        if self._hooks.wants("after_tool"):
            payload = told(name, call, arguments, status, content, metadata, took_ms, origin)
            result = await self._hooks.fire("after_tool", payload, run=run)
            content = modified(content, payload, result.modified)
            notes += [result.note] if result.note else []
        # What a report names as its evidence is there as long as the report.
        pinned = origin == "verification"
        files = files_of(task)
        kept, content = await keep_files(self._parts.blobs, self._session, call, content, files, pinned=pinned)
        artifact, content = await shorten(self._parts.blobs, self._session, call, content, pinned=pinned)
        if artifact is not None:
            metadata = {**metadata, "artifact": artifact.ref}
        if notes:
            content = (Text("\n".join(notes) + "\n"), *content)
        metadata = as_json(metadata)
        finished = ToolFinished(call, name, status, content, metadata, took_ms, origin)
        written: list[EventData] = []
        if status == "ok" and (task.result().todos is not None or task.result().goal is not None):
            # As both are now: somebody may have written them while the tool and its hooks were at work.
            written = written_by(await load_state(self._store, self._session), task.result(), None)
        seq = await self._append(run, *kept, *([artifact] if artifact is not None else []), *written, finished)
        return ToolCallResult(call, name, status, content, metadata, took_ms, seq)

    async def _before(self, again: ToolStarted, state: State) -> ToolCallResult:
        """What came of a call that was begun before, under the same key. It is waited for while somebody is at it."""
        store, session = self._store, self._session
        begun = await store.read(session, types=("tool.started",), newest_first=True)
        first = next(e for e in begun if isinstance(e.data, ToolStarted) and e.data.call == again.call)
        assert isinstance(first.data, ToolStarted)
        if (first.data.name, first.data.arguments) != (again.name, again.arguments):
            raise KeyReused(f"this idempotency key was used for another call of {first.data.name!r}: take a new one")
        seq = first.seq
        while True:
            for event in await store.read(session, seq, types=("tool.finished",)):
                done = event.data
                if isinstance(done, ToolFinished) and done.call == again.call:
                    took_ms = done.duration_ms or 0
                    return ToolCallResult(done.call, done.name, done.status, done.content, done.metadata, took_ms, event.seq)
            await close_lost_calls(store, session, state, self._parts.clock, self._parts.owner)
            seq = max(seq, state.seq)
            await store.wait(session, seq, LOST_LOOK_S)
            state = await load_state(store, session)

    async def _append(self, run: RunId | None, *data: EventData) -> Seq:
        if not data:
            return 0
        return (await append_outside(self._store, self._session, data, self._parts.clock, run=run)).last


async def close_lost_calls(store: EventStore, session: SessionId, state: State, clock: Clock, own: str) -> None:
    """Record as unknown what other processes had begun on this session and cannot end any more."""
    lost = [c for c in state.own_calls if c.owner != own and not await store.alive(c.owner)]
    if not lost:
        return
    text = "The process died while this call was under way. Its outcome is unknown."
    ended = [ToolFinished(c.id, c.name, "unknown", (Text(text),), origin=c.origin) for c in lost]
    # Whoever opens the session next does it again.
    with contextlib.suppress(StoreError, SessionArchived):
        await append_outside(store, session, ended, clock)


async def _work(tool: Tool, arguments: dict[str, Any], context: Context) -> ToolOutput:
    """The call's effect; whatever the tool raises, and whenever, is raised within its own task. One that asks is told that
    nobody can be asked here."""
    output = await tool.run(arguments, context)
    for _ in range(MOST_ROUNDS):
        if not is_asking(output):
            return output
        unanswered = tuple(QuestionAnswer(one.key, "cancel", reason=ASKS_NOBODY) for one in output.questions)
        context.resumed = Resumption(output.state, unanswered)
        output = await tool.run(arguments, context)
    await let_go(tool, output.state)
    raise ToolFailed(f"the tool asks and asks, and {ASKS_NOBODY}")


def _not_run(call: CallId, name: str, status: ToolStatus, text: str) -> ToolCallResult:
    return ToolCallResult(call, name, status, (Text(text),))
