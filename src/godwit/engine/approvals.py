"""The pending actions of one session: what it waits for a person or a client to answer."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from ..contracts import EventStore
from ..core.agent import AgentRef, base_of
from ..core.errors import ActionNotFound, InvalidArgument, SessionNotFound
from ..core.events import ActionOpened, Decision, Remember, SubagentStarted, UserAnswer
from ..core.facts import PendingAction
from ..core.gate import OpenAction
from ..core.ids import AgentName, Clock, SessionId
from ..core.json_values import input_metadata
from ..core.messages import ResultBlock, Text, text_of
from ..core.questions import filled
from ..core.senders import POLICY, check_sender
from ..core.state import State
from .budget import QUESTION, check_answer
from .inbox import Inbox
from .log import load_state


def expired_actions(state: State, now_ms: int) -> tuple[OpenAction, ...]:
    """The actions that nobody has answered in their time."""
    return tuple(a for a in state.gate.actions if not a.answered and a.expires_ms is not None and a.expires_ms <= now_ms)


def next_expiry_s(state: State, now_ms: int) -> float | None:
    """Seconds until the next action expires; None when none does."""
    due = [a.expires_ms for a in state.gate.actions if not a.answered and a.expires_ms is not None]
    return max(0.0, (min(due) - now_ms) / 1000) if due else None


def policy_answer(action: OpenAction) -> UserAnswer:
    """The answer to an action that expired. What waits for a result from outside gets an error."""
    why = "nobody answered in time"
    if action.kind == "approval":
        return UserAnswer(action.id, action.on_timeout, why, sender=POLICY)
    return UserAnswer(action.id, "result", content=(Text(f"[{why}]"),), is_error=True, sender=POLICY)


def pending_action(data: ActionOpened, opened_ms: int, now_ms: int) -> PendingAction:
    age_s = max(0.0, (now_ms - opened_ms) / 1000)
    left_s = None if data.expires_ms is None else max(0.0, (data.expires_ms - now_ms) / 1000)
    return PendingAction(
        data.action,
        data.kind,
        data.call,
        data.name,
        data.arguments,
        data.message,
        opened_ms,
        age_s,
        data.rules,
        left_s,
        schema=data.schema,
        url=data.url,
        asking=data.asking,
    )


def question_answer(
    opened: ActionOpened, given: str | tuple[ResultBlock, ...] | Mapping[str, Any], *, sender: str | None = None
) -> UserAnswer:
    """The answer to a question, as it is stored. InvalidArgument, naming the field, when it does not fit the form."""
    fields = _form_of(opened, given)
    content = (Text(msgspec.json.encode(fields).decode()),)
    return UserAnswer(opened.action, "result", arguments=fields, content=content, sender=sender)


def _form_of(opened: ActionOpened, given: str | tuple[ResultBlock, ...] | Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a question as its fields. InvalidArgument."""
    if isinstance(given, Mapping):
        return filled(opened.schema, dict(given))
    if opened.schema is None:
        return {}
    text = given if isinstance(given, str) else text_of(given)
    names = list(opened.schema.get("properties") or ())
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    if isinstance(value, dict):
        return filled(opened.schema, value)
    if len(names) != 1:
        raise InvalidArgument(
            f"the question is answered with a JSON object of the fields {', '.join(names) or '(none)'}",
            action=opened.action,
        )
    about = opened.schema["properties"][names[0]]
    free = isinstance(about, dict) and about.get("type") == "string"
    return filled(opened.schema, {names[0]: text if free else value})


async def name_told(store: EventStore, agent: AgentRef) -> AgentName:
    """What people call this agent, for the path to a question of its session."""
    _, spec = await store.get_agent(agent.name, agent.version)
    return AgentName(spec.title) if spec.title else base_of(agent).name


class Approvals:
    """`session.approvals`: list and answer what is pending. Answers are durable, and repeating one changes nothing.

    An action may be named by its own id or by the id of the call it is about.
    """

    __slots__ = ("_clock", "_inbox", "_session", "_store")

    def __init__(self, store: EventStore, session: SessionId, inbox: Inbox, clock: Clock) -> None:
        self._store = store
        self._session = session
        self._inbox = inbox
        self._clock = clock

    async def pending(self) -> list[PendingAction]:
        """What waits for an answer, here and below, each level oldest first.

        What subagents ask is told with the agents that lead to it (`path`), and is answered here like anything else.
        """
        found: list[PendingAction] = []
        now = self._clock.now_ms()
        async for at, state, path in self._tree():
            waiting = {a.id for a in state.gate.actions if a.asks}
            if not waiting:
                continue
            for event in await self._store.read(at._session, types=("action.opened",)):
                data = event.data
                if isinstance(data, ActionOpened) and data.action in waiting:
                    told = pending_action(data, event.at_ms, now)
                    found.append(dataclasses.replace(told, session=at._session, path=path))
        return found

    async def _inbox_of(self, action: str) -> Inbox:
        """The inbox of the session that asks this: this one, or one that works for it. ActionNotFound."""
        return (await self._where(action))[0]._inbox

    async def _tree(self, *, ended: bool = False) -> AsyncIterator[tuple[Approvals, State, tuple[AgentName, ...]]]:
        """This session and those that work for it now, at any depth, each with the agents that lead there; with
        `ended` those that have worked for it as well."""
        waiting: list[tuple[Approvals, tuple[AgentName, ...]]] = [(self, ())]
        seen: set[SessionId] = set()
        tenant: str | None = None
        works = set() if ended else await self._works()
        while waiting:
            at, path = waiting.pop(0)
            if at._session in seen:
                continue
            seen.add(at._session)
            try:
                state = await load_state(self._store, at._session)
            except SessionNotFound:
                continue  # not made yet, or run by the host its own way
            if at is self:
                tenant = state.labels.tenant
            elif state.labels.tenant != tenant:
                continue  # named by a host as its own, and somebody else's
            if at is not self and state.agent is not None:
                path = (*path, await name_told(self._store, state.agent))
            yield at, state, path
            below = [task.session for task in state.gate.tasks]
            if ended or at._session in works:
                given = await self._store.read(at._session, types=("subagent.started",))
                children = [e.data.child for e in given if isinstance(e.data, SubagentStarted)]
                below = children if ended else [child for child in children if child in works or child in below]
            waiting += [(self._of(session), path) for session in below]

    async def _works(self) -> set[SessionId]:
        """Those below that have an open run and all above them, up to this session: an ended task may have left something in
        the background, which asks as well."""
        found: set[SessionId] = set()
        parents: dict[SessionId, SessionId | None] = {}
        for session in await self._store.descendants(self._session):
            with contextlib.suppress(SessionNotFound):  # deleted just now
                row = await self._store.session(session)
                parents[session] = row.parent
                at: SessionId | None = session if row.run is not None else None
                while at is not None and at not in found:
                    found.add(at)
                    at = parents.get(at)
        return found

    def _of(self, session: SessionId) -> Approvals:
        return Approvals(self._store, session, self._inbox.of(session), self._clock)

    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """Let the call run; `arguments` replace all of its own, and the model is told so.

        `remember`: `session` lets every call that `rule` matches run in this session from now on, `always` in every session
        of this folder and tenant. `rule`: by default the narrowest one that the action offers.
        False when the action had been answered before. ActionNotFound, InvalidArgument (nothing may be remembered),
        ConfigurationError (a rule that cannot be read).
        """
        return await self._decide(action, "approve", None, arguments, remember, rule, sender)

    async def deny(
        self,
        action: str,
        reason: str | None = None,
        *,
        remember: Remember | None = None,
        rule: str | None = None,
        sender: str | None = None,
    ) -> bool:
        """Refuse the call; the model is told the reason. `remember`, `rule`: as for `approve`, for refusing.
        False when it had been answered before. ActionNotFound."""
        return await self._decide(action, "deny", reason, None, remember, rule, sender)

    async def _decide(
        self,
        action: str,
        decision: Decision,
        reason: str | None,
        arguments: dict[str, Any] | None,
        remember: Remember | None,
        rule: str | None,
        sender: str | None,
    ) -> bool:
        check_sender(sender)  # before a rule is kept for others
        at, opened = await self._where(action)
        if arguments is not None:
            await at.check_arguments(opened.action, arguments)
        if rule is not None and remember is None:
            raise InvalidArgument("a rule is given, but not how far it is to be remembered: session or always", rule=rule)
        if remember is not None:
            if opened.call is None or opened.kind != "approval":
                raise InvalidArgument("this answer cannot be remembered: it is not about a call", action=opened.action)
            if rule is None:
                rule = next(iter(opened.rules), None)
            if rule is None:
                raise InvalidArgument(
                    f"no narrow rule is offered for this call of {opened.name!r}: give the rule to remember yourself",
                    action=opened.action,
                )
            if remember == "always":
                await at._save_rule(decision, rule)
        return await at._inbox.answer(
            opened.action, decision, reason=reason, arguments=arguments, sender=sender, remember=remember, rule=rule
        )

    async def check_arguments(self, action: str, arguments: dict[str, Any]) -> None:
        """Whether the question can be answered with these. InvalidArgument for a budget's that names no amount it can use,
        and for a form that they do not fit; what a call can take is only seen when it is looked at. ActionNotFound."""
        _, opened = await self._where(action)
        if opened.kind == "question" and opened.schema is not None:
            filled(opened.schema, arguments)
        if opened.call is None and opened.name == QUESTION:
            check_answer(opened.arguments, arguments)

    async def _save_rule(self, decision: Decision, rule: str) -> None:
        """Keep the rule for other sessions of this folder and tenant as well, before the answer is given."""
        state = await load_state(self._store, self._session)
        await self._store.save_rule(
            "allow" if decision == "approve" else "deny", rule, workspace=state.workspace, tenant=state.labels.tenant
        )

    async def answer(
        self,
        action: str,
        result: str | tuple[ResultBlock, ...] | Mapping[str, Any],
        *,
        is_error: bool = False,
        sender: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Give an external call's result, or the answer to a question.

        A form is answered with its fields, as a mapping or a JSON object; one with a single field with its value alone as
        well; an address that was opened with anything. A question is declined by `deny`. False when it had been answered
        before. `metadata`: of the result, for people and followers, 16 KiB of JSON at most. InvalidArgument, naming the
        field, when it does not fit the form; ActionNotFound."""
        told = input_metadata(metadata)
        at, opened = await self._where(action)
        arguments: dict[str, Any] | None = None
        if opened.kind == "question" and not is_error:
            arguments = _form_of(opened, result)
            result = msgspec.json.encode(arguments).decode()
        elif isinstance(result, Mapping):
            result = msgspec.json.encode(dict(result)).decode()
        content = (Text(result),) if isinstance(result, str) else result
        return await at._inbox.answer(
            opened.action,
            "result",
            arguments=arguments,
            content=content,
            is_error=is_error,
            sender=sender,
            metadata=told,
        )

    async def _where(self, name: str) -> tuple[Approvals, ActionOpened]:
        """The action of this id, or the newest one about the call of this id, and where it is asked: here, or by a session
        that works or has worked for this one. ActionNotFound."""
        for ended in (False, True):
            async for at, _, _ in self._tree(ended=ended):
                for event in await self._store.read(at._session, types=("action.opened",), newest_first=True):
                    if isinstance(event.data, ActionOpened) and name in (event.data.action, event.data.call):
                        return at, event.data
        raise ActionNotFound(f"session {self._session} has no action or call {name!r}", action=name)
