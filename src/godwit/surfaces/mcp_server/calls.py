"""Calls: what each tool does. Errors that a model can do something about are results, see `results.refused`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from mcp.server.context import ServerRequestContext
from mcp_types import CallToolRequestParams, CallToolResult, InputRequiredResult

from ...contracts import SessionRow
from ...core.agent import base_of
from ...core.errors import GodwitError, InvalidArgument, NoOpenRun, SessionExists, SessionNotFound, ToolNotFound
from ...core.ids import SessionId, derived_id
from ...core.messages import Assistant, text_of
from ...engine.session import Session
from ..server.caller import Caller
from ..server.roster import Offered, Roster, agent_named, by_tool
from . import shapes
from .cancelled import Call, Calls
from .results import action_words, open_result, refused, result
from .tools import SESSION_TOOLS
from .working import Resumed, Work, resumed, to_its_end

Context = ServerRequestContext[Any, Any]
Answer = CallToolResult | InputRequiredResult
T = TypeVar("T", bound=shapes.Takes)
_WAITING = 500
"""Sessions that are looked at for those that wait."""
_WAIT_S = 60.0
"""How long `session_wait` waits by default for what its client cannot ask a person."""


class Tools:
    """The tools of one server."""

    def __init__(self, roster: Roster, calls: Calls) -> None:
        self._roster = roster
        self._calls = calls
        self._does: dict[str, Callable[[Context, Caller, dict[str, Any]], Awaitable[Answer]]] = {
            "session_start": self._start,
            "session_send": self._send,
            "session_status": self._status,
            "session_list": self._list,
            "session_transcript": self._transcript,
            "session_events": self._events,
            "session_interrupt": self._interrupt,
            "session_actions": self._actions,
            "session_answer": self._answer,
        }

    async def agents(self, caller: Caller) -> dict[str, Offered]:
        """By the names of their tools."""
        return by_tool(await self._roster.offered(caller), SESSION_TOOLS)

    async def call(self, ctx: Context, caller: Caller, params: CallToolRequestParams) -> Answer:
        """ToolNotFound; everything else that is refused is a result."""
        name, arguments = params.name, params.arguments or {}
        agent: Offered | None = None
        if name not in SESSION_TOOLS:
            agent = (await self.agents(caller)).get(name)
            if agent is None:
                raise ToolNotFound(f"there is no tool {name!r}", tool=name)
        try:
            if agent is not None:
                return await self._ask(ctx, caller, agent, arguments, params)
            if name == "session_wait":
                return await self._wait(ctx, caller, arguments, params)
            return await self._does[name](ctx, caller, arguments)
        except GodwitError as error:
            return refused(error)

    # --- agents ------------------------------------------------------------------------------------------------

    async def _ask(
        self, ctx: Context, caller: Caller, agent: Offered, arguments: dict[str, Any], params: CallToolRequestParams
    ) -> Answer:
        given = _read(shapes.AskAgent, arguments)
        with self._calls.of(ctx, caller, given.when_cancelled) as call:
            if params.request_state is not None:
                # Its client has asked a person meanwhile: the run is there.
                found = await _resumed(caller, params.request_state)
                if found is None:
                    raise SessionNotFound("the session that this call waited for is not there any more")
            else:
                begun = await self._begun(caller, agent, given.prompt, given.session, given.key or _key_of(ctx))
                found = Resumed(*begun)
            return await self._to_its_end(ctx, caller, call, found, given.wait_s, params)

    async def _to_its_end(
        self,
        ctx: Context,
        caller: Caller,
        call: Call,
        found: Resumed,
        wait_s: float | None,
        params: CallToolRequestParams,
        *,
        patient: bool = False,
    ) -> Answer:
        call.waits_for(found.session, found.run)
        work = Work(found.session, found.run, wait_s, patient, found.told)
        return await to_its_end(ctx, caller, work, dict(params.input_responses or {}))

    async def _begun(
        self, caller: Caller, agent: Offered, prompt: str, session: str | None, key: str | None
    ) -> tuple[str, str]:
        """A run of the agent with this prompt: a new one, or that which the same call has begun before."""
        await caller.changes()
        service = caller.service
        if session is None:
            await service.tenants.room(caller.principal, "runs")
            handle = await self._new(caller, agent, key)
        else:
            handle = await service.session(caller.principal, session)
            if not await handle.is_running():
                await service.tenants.room(caller.principal, "runs")
        run = await handle.prompt(prompt, key=key, sender=caller.principal.id)
        return str(handle.id), str(run)

    async def _new(self, caller: Caller, agent: Offered, key: str | None) -> Session:
        service = caller.service
        if key is None:
            handle = await agent.start(caller, service.new_id("ses"))
            service.runtime.desk.keep(handle)
            return handle
        session = derived_id("ses", "mcp", caller.principal.tenant or "", caller.principal.id, key)
        try:
            return await service.session(caller.principal, session)
        except SessionNotFound:
            pass
        try:
            handle = await agent.start(caller, session)
        except SessionExists:
            return await service.session(caller.principal, session)
        service.runtime.desk.keep(handle)
        return handle

    # --- sessions ----------------------------------------------------------------------------------------------

    async def _start(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.StartSession, arguments)
        agent = await agent_named(self._roster, caller, given.agent, SESSION_TOOLS)
        session, run = await self._begun(caller, agent, given.prompt, None, given.key or _key_of(ctx))
        return open_result(await caller.row(session), run, [])

    async def _send(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.SendToSession, arguments)
        await caller.changes()
        principal, key = caller.principal, given.key or _key_of(ctx)
        handle = await caller.service.session(principal, given.session)
        how, running = given.how, await handle.is_running()
        if not running:
            await caller.service.tenants.room(principal, "runs")
        if how in ("auto", "steer") and (running or how == "steer"):
            try:
                said = str(await handle.steer(given.text, key=key, sender=principal.id))
            except NoOpenRun:
                if how == "steer":
                    raise
            else:
                run = (await caller.row(given.session)).run
                return _sent(given.session, "steer", None if run is None else str(run), said)
        if how == "follow_up":
            said = str(await handle.follow_up(given.text, key=key, sender=principal.id))
            run = (await caller.row(given.session)).run
            return _sent(given.session, "follow_up", None if run is None else str(run), said)
        return _sent(given.session, "prompt", str(await handle.prompt(given.text, key=key, sender=principal.id)), None)

    async def _wait(self, ctx: Context, caller: Caller, arguments: dict[str, Any], params: CallToolRequestParams) -> Answer:
        given = _read(shapes.WaitForSession, arguments)
        row = await caller.row(given.session)
        work = None if params.request_state is None else await _resumed(caller, params.request_state)
        if work is None:
            handle = await caller.watched(given.session)
            run = row.run or (await handle.state()).last_run
            if run is None:
                raise NoOpenRun(f"session {given.session} has nothing to do yet: give it work with session_send")
            work = Resumed(given.session, str(run))
        # Who knows that it waits for an answer waits for whoever gives it; who does not is told as soon as it does.
        waiting, wait_s = row.status == "waiting", given.wait_s
        if wait_s is None and waiting:
            wait_s = _WAIT_S
        with self._calls.of(ctx, caller, "continue") as call:
            return await self._to_its_end(ctx, caller, call, work, wait_s, params, patient=waiting)

    async def _status(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.OneSession, arguments)
        handle = await caller.watched(given.session)
        row = await caller.row(given.session)
        actions = [shapes.action_view(given.session, one) for one in await handle.approvals.pending()]
        answers = [one for one in await handle.history() if isinstance(one, Assistant)]
        last = text_of(answers[-1].content) if answers else ""
        spent = shapes.SpentView.of(await handle.spent())
        todos = [f"[{todo.status}] {todo.content}" for todo in await handle.todos()]
        view = shapes.SessionStatus(await _view(caller, row), actions, last, spent, todos)
        lines = [f"Session {given.session} is {row.status}.", *todos]
        lines += [f"It waits for: {action_words(one)}" for one in actions]
        if last:
            lines.append(f"Its last answer: {last}")
        return result("\n".join(lines), view)

    async def _list(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.ListSessions, arguments)
        caller.principal.require("read")
        rows = await caller.service.store.sessions(
            limit=given.limit,
            tenant=caller.principal.tenant,
            statuses=("waiting",) if given.waiting else None,
            top_level=True,
        )
        rows = [row for row in rows if row.labels.tenant == caller.principal.tenant]
        views = [await _view(caller, row) for row in rows]
        lines = [f"- {one.session} {one.status}: {one.agent}, {_short(one.name or one.prompt)}" for one in views]
        return result("\n".join(lines) or "There are none.", shapes.SessionList(views))

    async def _transcript(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.SessionTranscript, arguments)
        text = await transcript(caller, given.session)
        whole = len(text) <= given.characters
        shown = text if whole else text[-given.characters :]
        return result(shown, shapes.TranscriptView(given.session, whole, shown))

    async def _events(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.SessionEvents, arguments)
        page = await events(caller, given.session, given.after, given.limit)
        lines = [f"{one.seq} {one.type}" for one in page.events]
        return result("\n".join(lines) or "There are none behind that.", page)

    async def _interrupt(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.InterruptSession, arguments)
        await caller.changes()
        row = await caller.row(given.session)
        done = await caller.service.runtime.interrupt(row.id, reason=given.reason)
        text = f"Session {row.id} is told to end what it does." if done else f"Session {row.id} did nothing."
        return result(text, shapes.Changed(given.session, done))

    async def _actions(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.ListActions, arguments)
        tenant = caller.principal.tenant
        if given.session is not None:
            rows = [await caller.row(given.session)]
        else:
            rows = await caller.service.store.sessions(
                limit=_WAITING, tenant=tenant, statuses=("waiting", "running", "retrying"), top_level=True
            )
        found: list[shapes.ActionView] = []
        for row in rows:
            if row.labels.tenant == tenant:
                pending = await (await caller.watched(row.id)).approvals.pending()
                found += [shapes.action_view(str(row.id), one) for one in pending]
        lines = [f"- session {one.session}: {action_words(one)}" for one in found]
        return result("\n".join(lines) or "Nothing waits for an answer.", shapes.ActionList(found))

    async def _answer(self, ctx: Context, caller: Caller, arguments: dict[str, Any]) -> Answer:
        given = _read(shapes.AnswerAction, arguments)
        await caller.changes("answer")
        handle, sender = await self._answering(caller, given.session), caller.principal.id
        if given.decision == "approve":
            done = await handle.approvals.approve(
                given.action, arguments=given.arguments, remember=given.remember, sender=sender
            )
        elif given.decision == "deny":
            done = await handle.approvals.deny(given.action, given.reason, remember=given.remember, sender=sender)
        elif given.result is None:
            raise InvalidArgument("decision 'result' needs a result")
        else:
            done = await handle.approvals.answer(given.action, given.result, is_error=given.is_error, sender=sender)
        text = "That is its answer; session_wait waits for what comes of it." if done else "It had been answered before."
        return result(text, shapes.Changed(given.session, done))

    async def _answering(self, caller: Caller, session: str) -> Session:
        """Whoever may answer has the session go on with the answer, as over every protocol."""
        try:
            return await caller.service.session(caller.principal, session)
        except ToolNotFound:
            return await caller.watched(session)


def _read(shape: type[T], arguments: dict[str, Any]) -> T:
    """InvalidArgument."""
    try:
        return msgspec.convert(arguments, shape)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"these arguments do not fit: {error}") from None


async def _resumed(caller: Caller, state: str) -> Resumed | None:
    """What the call waited for when its client was asked; None when that is not there any more."""
    found = resumed(state)
    try:
        await caller.row(found.session)
    except SessionNotFound:
        return None
    return found


def _key_of(ctx: Context) -> str | None:
    """What says that a request is the same as one before: the header of other protocols is heeded here as well."""
    headers = getattr(ctx.request, "headers", None)
    key = None if headers is None else headers.get("idempotency-key")
    return key if key and len(key) <= 200 else None


async def _view(caller: Caller, row: SessionRow) -> shapes.SessionView:
    _, spec = await caller.service.store.get_agent(row.agent.name, row.agent.version)
    return shapes.session_view(row, spec.title or str(base_of(row.agent).name))


def _sent(session: str, how: str, run: str | None, said: str | None) -> CallToolResult:
    return result(f"Said to session {session} ({how}); session_wait waits for it.", shapes.Sent(session, how, run, said))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else flat[:79] + "…"


async def transcript(caller: Caller, session: str) -> str:
    """As Markdown. SessionNotFound."""
    caller.principal.require("read")
    handle = await caller.watched(session)
    return (await handle.export("md", children=False)).decode()


async def events(caller: Caller, session: str, after: int, limit: int) -> shapes.EventPage:
    """SessionNotFound."""
    caller.principal.require("read")
    row = await caller.row(session)
    found = await caller.service.store.read(SessionId(session), after, limit=limit)
    views = [shapes.EventView(one.seq, one.type, one.at_ms, msgspec.json.decode(one.body)) for one in found]
    return shapes.EventPage(session, row.head, views)
