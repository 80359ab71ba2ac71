"""godwit's own export (JSONL): a line that says what it is, then the events of a session and of those that worked for it as
`Event.frame` writes them, their artifacts, and a line at its end.

Events come in byte for byte but for the names of sessions in them, and for what would give the log rights here: whose it is,
its agent, its folder, its environment, its vaults.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...core.agent import AgentRef
from ...core.errors import InvalidArgument
from ...core.events import (
    EVENT_TYPES,
    AgentMessage,
    Draft,
    Event,
    EventData,
    Labels,
    SessionConfigured,
    SessionCreated,
    SessionForked,
    SubagentAsked,
    SubagentFinished,
    SubagentStarted,
    Unknown,
    encode,
)
from ...core.ids import SessionId, derived_id
from .content import number, text
from .lines import Lines, Source, parsed

NAME = "godwit"
MARK = "godwit"
"""The key that tells a line of the export's own from an event."""
VERSION = 1
_DEEP = {
    "session.created",
    "session.forked",
    "session.configured",
    "subagent.started",
    "subagent.finished",
    "subagent.asked",
}


def is_export(first: dict[str, Any]) -> bool:
    return first.get(MARK) == "session" and isinstance(first.get("session"), str)


@dataclass
class Outline:
    """What an export has, as one look through it tells. `own`: digest and number of the first session's
    events. `ended`: its last line is there."""

    origin: SessionId
    digest: str = ""
    own_digest: str = ""
    own_head: int = 0
    ended: bool = False
    depth: int = 0
    cwd: str | None = None
    model: str | None = None
    sessions: list[SessionId] = field(default_factory=list)


@dataclass(frozen=True)
class Artifact:
    session: SessionId
    content: bytes
    media_type: str


def outline(source: Source) -> Outline:
    """InvalidArgument when it is of a newer version."""
    found: Outline | None = None
    digest, own = hashlib.sha256(), hashlib.sha256()
    for line in Lines(source):
        if found is None:
            first = parsed(line) or {}
            if number(first.get("version")) > VERSION:
                raise InvalidArgument(f"this export is of version {first['version']}; this godwit reads up to {VERSION}")
            found = Outline(SessionId(text(first.get("session"))))
            continue
        event = _event(line)
        if event is None:
            found.ended = found.ended or (parsed(line) or {}).get(MARK) == "end"
            continue
        digest.update(line + b"\n")
        if event.session not in found.sessions:
            found.sessions.append(event.session)
        if event.session != found.origin:
            continue
        own.update(line + b"\n")
        found.own_head = event.seq
        if event.type == "session.created" and isinstance(created := event.data, SessionCreated):
            found.cwd, found.depth = created.workspace, created.depth
        elif event.type == "agent.message" and isinstance(answered := event.data, AgentMessage):
            found.model = answered.message.model or found.model
    if found is None or not found.sessions or found.sessions[0] != found.origin:
        raise InvalidArgument("this export has no events of the session that it names", source=source.name)
    found.digest, found.own_digest = digest.hexdigest(), own.hexdigest()
    return found


def _event(line: bytes) -> Event | None:
    if line.startswith(b'{"godwit"'):
        return None
    try:
        return Event.of_frame(line)
    except (ValueError, msgspec.DecodeError):
        return None


class LogReader:
    """Reads an export's events and artifacts, as they are to stand here.

    `names`: the sessions' names here by those they have in the file. `agent`, `labels`, `workspace`: those of the import.
    """

    def __init__(
        self,
        lines: Lines,
        outline: Outline,
        names: dict[SessionId, SessionId],
        agent: AgentRef,
        labels: Labels,
        workspace: str | None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._lines = lines
        self._outline = outline
        self._names = names
        self._agent = agent
        self._labels = labels
        self._workspace = workspace
        self._heads: dict[SessionId, int] = {}

    def __iter__(self) -> Iterator[tuple[SessionId, Draft] | Artifact]:
        for line in self._lines:
            if line.startswith(b'{"godwit"'):
                artifact = self._artifact(parsed(line) or {})
                if artifact is not None:
                    yield artifact
                continue
            event = _event(line)
            if event is None:
                self._lines.junk += 1
                continue
            expected = self._heads.get(event.session, 0) + 1
            if event.seq != expected:
                raise InvalidArgument(
                    f"event {event.seq} of {event.session} follows {expected - 1}: the file has lost what lies between",
                    session=event.session,
                    seq=event.seq,
                )
            self._heads[event.session] = event.seq
            self.counts["events"] += 1
            yield self._names[event.session], self._draft(event)

    def _artifact(self, found: dict[str, Any]) -> Artifact | None:
        session = self._names.get(SessionId(text(found.get("session"))))
        if found.get(MARK) != "artifact" or session is None:
            return None
        try:
            content = base64.b64decode(text(found.get("data")), validate=True)
        except (binascii.Error, ValueError):
            self._lines.junk += 1
            return None
        self.counts["artifacts"] += 1
        return Artifact(session, content, text(found.get("media_type")) or "application/octet-stream")

    def _draft(self, event: Event) -> Draft:
        data = event.data
        if isinstance(data, Unknown) and event.type in EVENT_TYPES:
            # What cannot be looked into cannot be kept from giving rights, here or in a later version.
            raise InvalidArgument(f"event {event.seq} ({event.type}) has a shape that cannot be read", seq=event.seq)
        if event.type not in _DEEP:
            draft = Draft.__new__(Draft)
            # The very bytes: an encoder of another version might write them in another way.
            draft.data, draft.type, draft.body = data, event.type, bytes(event.body)
            draft.at_ms, draft.run = event.at_ms, event.run
            return draft
        named = self._named(data)
        draft = Draft(named, at_ms=event.at_ms, run=event.run)
        draft.body = encode(named)
        return draft

    def _named(self, data: EventData) -> EventData:
        replace = msgspec.structs.replace
        match data:
            case SessionCreated():
                told = data.labels
                parent = None if data.parent is None else self._names.get(data.parent)
                return replace(
                    data,
                    agent=self._agent,
                    workspace=self._workspace,
                    environment={},
                    labels=replace(self._labels, agent_template=told.agent_template, correlation=told.correlation),
                    parent=parent,
                    root=None if parent is None else self._names[self._outline.origin],
                    depth=max(0, data.depth - self._outline.depth),
                    vaults=(),
                )
            case SessionForked():
                parent = None if data.parent is None else self._names.get(data.parent)
                return replace(
                    data,
                    origin=self._name(data.origin),
                    parent=parent,
                    root=None if parent is None else self._names[self._outline.origin],
                    depth=max(0, data.depth - self._outline.depth),
                    agent=self._agent,
                    workspace=self._workspace,
                    environment={},
                    labels=replace(
                        self._labels, agent_template=data.labels.agent_template, correlation=data.labels.correlation
                    ),
                    vaults=(),
                )
            case SessionConfigured():
                return replace(data, agent=None if data.agent is None else self._agent)
            case SubagentStarted() | SubagentFinished():
                return replace(data, child=self._name(data.child))
            case SubagentAsked():
                return replace(data, asked_by=self._name(data.asked_by))
            case _:
                return data

    def _name(self, session: SessionId) -> SessionId:
        """One that did not come along keeps its name, but never means a session here."""
        return self._names.get(session) or SessionId(derived_id("ses", self._names[self._outline.origin], session))
