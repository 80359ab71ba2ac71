"""Compaction: a summary takes the place of older messages, so that a conversation can go on for longer than a model reads.

Owns what is kept, and the event. Who writes the summary is said in `summary`, and how the messages look afterwards is the
transcript's business. Rules a change must keep:

* Nothing is lost: the log stays as it is, and going back to before a compaction brings its messages back.
* Nothing is changed before the whole summary is there. What is said meanwhile is kept; where the conversation went back
  meanwhile, the summary is of another one, and is refused.
* A call and its result stay together: they have one seq, and what is kept begins at a seq.
* A summary builds on the one before it. What files were read and changed is not left to the model: it is read off the calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from ..contracts import EventStore, Tool
from ..core.errors import BlockedByHook, Conflict, HeadMoved, InvalidArgument
from ..core.events import CompactionTrigger, HookBlocked, SessionCompacted
from ..core.facts import KEEP_TOKENS, Compaction
from ..core.goal import Goal
from ..core.ids import Seq, SessionId
from ..core.messages import Assistant, Message, ToolResult
from ..core.todos import Todo, open_todos, todos_text
from ..core.transcript import Entry, Transcript, summary_message
from .cancel import Cancel
from .driver import Parts
from .estimate import CHARACTERS_PER_TOKEN, characters_of
from .hooks import Hooks
from .log import append_outside, load_state, load_transcript
from .summary import Summaries

ATTEMPTS: Final = 50
"""How often the event is offered again because the log went on meanwhile."""
_FILE_ARGUMENTS: Final = ("file_path", "path")


class HostCompaction(ABC):
    """The part of a session's handle that makes room in what the model sees."""

    _compactions: Compactions

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    async def compact(self, focus: str | None = None, *, keep_tokens: int = KEEP_TOKENS) -> Compaction:
        """Have the session's model write a summary that stands for the older messages from here on.

        `focus`: what matters above all. `keep_tokens`: about how much of the newest messages stays as it is, estimated; 0
        keeps none. The log loses nothing: `rewind` to before it brings the messages back. What is said meanwhile is kept.
        While a run is open, the summary is made at once and takes effect where the run ends.

        The tokens count for the session's budget. Conflict (`nothing_to_compact`) when all messages are
        kept, and when the conversation went back or was compacted meanwhile; BlockedByHook by a hook of
        before_compaction; BudgetExhausted; InvalidArgument; ModelError's leaves. Nothing is changed then.
        """
        self._check_open()
        return await self._compactions.compact(focus, keep_tokens=keep_tokens)


class Compactions:
    """Compacts one session. `model`: who writes; `tools`: the agent's, by which its calls are told from one another."""

    def __init__(
        self,
        parts: Parts,
        session: SessionId,
        *,
        summaries: Summaries,
        model: Callable[[], str],
        tools: Callable[[], list[Tool]],
        hooks: Hooks,
        token: Cancel,
    ) -> None:
        self._parts = parts
        self._session = session
        self._summaries = summaries
        self._model = model
        self._tools = tools
        self._hooks = hooks
        self._token = token

    @property
    def _store(self) -> EventStore:
        return self._parts.store

    async def compact(self, focus: str | None, *, keep_tokens: int) -> Compaction:
        """See `HostCompaction.compact`."""
        if isinstance(keep_tokens, bool) or keep_tokens < 0:
            raise InvalidArgument(f"keep_tokens={keep_tokens!r} must be 0 or more", keep_tokens=keep_tokens)
        focus = (focus or "").strip() or None
        transcript = await load_transcript(self._store, self._session)
        if transcript.due is not None:
            raise Conflict("the conversation is compacted already, as soon as the open run ends: compact again after it")
        kept_from = first_kept(transcript, keep_tokens)
        seen = transcript.seq
        event = await self.compose(transcript, kept_from, focus=focus)
        if event is None:
            messages = [e.message for e in transcript.own_entries]
            tokens = tokens_of(messages)
            raise Conflict(
                f"nothing to compact: the newest {keep_tokens:,} tokens are kept, and of {len(messages)} messages (about"
                f" {tokens:,} tokens) none is older. keep_tokens says how much is kept",
                reason="nothing_to_compact",
                messages=len(messages),
                tokens=tokens,
                keep_tokens=keep_tokens,
            )
        done = await self._record(event, seen)
        await self.tell_hooks(event, done.seq)
        return done

    async def compose(
        self,
        transcript: Transcript,
        kept_from: Seq,
        *,
        focus: str | None,
        trigger: CompactionTrigger = "manual",
        window: int | None = None,
    ) -> SessionCompacted | None:
        """The event by which a summary stands for what is older than `kept_from`; None when nothing is. `window`: tokens
        that who writes it reads. Errors as for `HostCompaction.compact`; nothing is recorded but what was used."""
        entries = transcript.own_entries
        summed_up = transcript.summary is not None
        old = [e for e in entries[1 if summed_up else 0 :] if e.seq < kept_from]
        if not old:
            return None
        messages, tokens = len(entries), tokens_of(e.message for e in entries)
        focus, summary = await self._ask_hooks(focus, messages, tokens, trigger)
        todos, goal = await self._to_do()
        model = ""
        if summary is None:
            model = self._model()
            earlier = None if transcript.summary is None else transcript.summary.summary
            summary = await self._summaries.write(
                old, focus, earlier=earlier, model=model, window=window, beside=_beside(todos, goal)
            )
        read, changed = self._files(transcript, old)
        event = SessionCompacted(
            summary,
            kept_from,
            focus,
            model,
            read,
            changed,
            trigger=trigger,
            at_once=trigger != "manual",
            todos=todos,
            goal=goal,
        )
        kept = len(entries) - len(old) - (1 if summed_up else 0)
        after = [summary_message(event), *(e.message for e in entries[len(entries) - kept :])]
        return msgspec.structs.replace(
            event,
            messages_before=messages,
            messages_after=len(after),
            tokens_before=tokens,
            tokens_after=tokens_of(after),
        )

    async def _record(self, event: SessionCompacted, seen: Seq) -> Compaction:
        moves = ("session.rewound", "session.compacted")
        for _ in range(ATTEMPTS):
            row = await self._store.session(self._session)
            moved = await self._store.read(self._session, seen, types=moves, limit=1)
            if moved:
                raise Conflict(
                    f"while the summary was being written, the conversation moved ({moved[0].type} at {moved[0].seq}), so it"
                    " is of another one: nothing was changed, compact again",
                    seq=moved[0].seq,
                )
            try:
                appended = await append_outside(self._store, self._session, [event], self._parts.clock, expect=row.head)
            except HeadMoved:
                continue
            return Compaction(
                appended.last,
                event.kept_from,
                event.summary,
                event.model,
                event.messages_before,
                event.messages_after,
                event.tokens_before,
                event.tokens_after,
                event.focus,
                waits=row.run is not None,
            )
        raise HeadMoved("the session went on each time while its compaction was being recorded: try again")

    # --- the summary ------------------------------------------------------------------------------------------------

    async def _to_do(self) -> tuple[tuple[Todo, ...], Goal | None]:
        """The list, if something of it is to be done, and the goal, if it is open: they are not left to who sums up."""
        state = await load_state(self._store, self._session)
        goal = state.goal if state.goal is not None and state.goal.open else None
        return state.todos if open_todos(state.todos) else (), goal

    def _files(self, transcript: Transcript, old: Sequence[Entry]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What tools have read and what they have changed, in the order of the first time; not read what was changed."""
        reading = {tool.definition.name: tool.traits.read_only for tool in self._tools()}
        earlier = transcript.summary
        read = dict.fromkeys(() if earlier is None else earlier.files_read)
        changed = dict.fromkeys(() if earlier is None else earlier.files_changed)
        done = {e.message.call_id for e in old if isinstance(e.message, ToolResult) and e.message.status == "ok"}
        for entry in old:
            for call in entry.message.calls if isinstance(entry.message, Assistant) else ():
                path = call.arguments.get(_FILE_ARGUMENTS[0])
                if isinstance(path, str) and path and call.id in done and call.name in reading:
                    (read if reading[call.name] else changed).setdefault(path)
        return tuple(path for path in read if path not in changed), tuple(changed)

    # --- hooks ------------------------------------------------------------------------------------------------------

    async def _ask_hooks(
        self, focus: str | None, messages: int, tokens: int, trigger: CompactionTrigger
    ) -> tuple[str | None, str | None]:
        """What is to be kept above all, and the summary if a hook wrote it. BlockedByHook."""
        hooks, point = self._hooks, "before_compaction"
        if not hooks.wants("before_compaction"):
            return focus, None
        payload = {"trigger": trigger, "focus": focus or "", "summary": None, "messages": messages, "tokens": tokens}
        asked = await hooks.fire("before_compaction", payload, cancel=self._token)
        if asked.action in ("block", "escalate"):
            hook, reason = asked.hook or "hook", asked.reason or "Blocked"
            blocked = HookBlocked(hook, "before_compaction", reason, failed=asked.failed)
            await append_outside(self._store, self._session, [blocked], self._parts.clock)
            raise BlockedByHook(
                f"hook {hook!r} does not let the conversation be compacted: {reason}", hook=hook, point=point
            )
        given: dict[str, Any] = asked.modified or {}
        return given.get("focus", focus) or None, given.get("summary")

    async def tell_hooks(self, event: SessionCompacted, seq: Seq) -> None:
        """Let hooks know that it is recorded, at `seq`."""
        if not self._hooks.wants("after_compaction"):
            return
        payload = {
            "trigger": event.trigger,
            "focus": event.focus or "",
            "summary": event.summary,
            "messages_before": event.messages_before,
            "messages_after": event.messages_after,
            "tokens_before": event.tokens_before,
            "tokens_after": event.tokens_after,
            "seq": seq,
        }
        await self._hooks.fire("after_compaction", payload)


def _beside(todos: Sequence[Todo], goal: Goal | None) -> str:
    """What stands beside the summary word for word, as who writes it is told."""
    parts = [] if goal is None else [f"<goal>\n{goal.text}\n</goal>"]
    if todos:
        parts.append(f"<todos>\n{todos_text(todos)}\n</todos>")
    return "\n".join(parts)


def tokens_of(messages: Iterable[Message]) -> int:
    """About how many tokens these are: a quarter of their characters."""
    return sum(characters_of(m) for m in messages) // CHARACTERS_PER_TOKEN


def first_kept(transcript: Transcript, keep_tokens: int) -> Seq:
    """The first seq whose messages stay: as many of the newest turns and inputs as fit in `keep_tokens`, and all to come."""
    entries, first = transcript.own_entries, 1 if transcript.summary is not None else 0
    characters = keep_tokens * CHARACTERS_PER_TOKEN
    kept_from, place = transcript.seq + 1, len(entries)
    while place > first:
        seq = entries[place - 1].seq
        start = place
        while start > first and entries[start - 1].seq == seq:
            start -= 1
        characters -= sum(characters_of(e.message) for e in entries[start:place])
        if characters < 0:
            break
        kept_from, place = seq, start
    return kept_from
