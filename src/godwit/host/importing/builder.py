"""LogBuilder: the events of a session as they would have happened, made of the entries of a foreign file, one by one.

A file's tree becomes what the log has for one: the entries come in the order in which they were written, and where one
follows another than the one before it, the conversation is rewound to there. Nothing is looked up in what was built before:
places are remembered for entries that something refers to later (`Sketch.needed`), so the memory it takes does not grow with
the file.

Rules a change must keep: what it makes passes `core.state.fold` at every event; a message of the file becomes one event that
holds it whole, or an `entry.kept`; whatever is said in another way is counted in `adapted`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ...core.agent import ThinkingLevel
from ...core.errors import Fault
from ...core.events import (
    Draft,
    EntryKept,
    EventData,
    InputDelivered,
    RunClaimed,
    RunFinished,
    RunOutcome,
    RunStarted,
    SessionCompacted,
    SessionConfigured,
    SessionCreated,
    SessionLabelled,
    SessionOpened,
    SessionRewound,
    ToolFinished,
    ToolStarted,
    UserMessage,
)
from ...core.ids import CallId, InputId, MessageId, RunId, Seq, SessionId, derived_id
from ...core.messages import Text, ToolCall, Usage, UserBlock
from ...engine.session_tree import LABEL_CHARACTERS
from .entries import Answered, Changed, Charged, Entry, Item, Labelled, Left, Ran, Returned, Said, Summed
from .turns import Child, Turn

HOST = "import"
"""Who is said to have driven the runs."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_WAITING = 1000
"""Things that wait for the end of a turn, or results for their call; more of them end the wait."""


@dataclass
class _Settings:
    model: str | None = None
    thinking: ThinkingLevel | None = None


@dataclass
class _Place:
    """Where the conversation stood behind an entry. `entered`: the seq that its message came in with. `turn`: what of a turn
    there was, if it stands within one."""

    seq: Seq
    entered: Seq
    settings: _Settings
    turn: Turn | None = None


class LogBuilder:
    """Takes entries with `take`, and has the events that they come to in `drafts`, which whoever stores them empties.

    `find_child`: the session that did a call, if one is known.
    """

    def __init__(
        self,
        session: SessionId,
        created: SessionCreated,
        at_ms: int,
        *,
        needed: set[str],
        loose: bool,
        find_child: Callable[[ToolCall, Returned], Child | None] | None = None,
    ) -> None:
        self.session = session
        self.seq: Seq = 0
        self.drafts: list[Draft] = []
        self.pending_bytes = 0
        self.counts: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.adapted: Counter[str] = Counter()
        self.usage = Usage()
        self.turns = 0
        self.model: str | None = None
        self._depth = created.depth
        self._needed = needed
        self._loose = loose
        self._find_child = find_child
        self._clock_ms = at_ms
        self._head: str | None = None
        self._places: dict[str, _Place] = {}
        self._pending: list[tuple[str, tuple[int, int], Turn]] = []
        self._settings = _Settings()
        self._turn: Turn | None = None
        self._held: list[tuple[Item, Entry]] = []
        self._early: dict[str, tuple[Returned, int]] = {}
        self._run: RunId | None = None
        self._runs = 0
        self._answered = False
        self._run_usage, self._run_turns, self._run_calls = Usage(), 0, 0
        self._names = 0
        self._labels: dict[str, Seq] = {}
        self._emit(created, at_ms)
        self._emit(SessionOpened(HOST), at_ms)
        self._begin = _Place(self.seq, self.seq, _Settings())

    # --- entries ----------------------------------------------------------------------------------------------------

    def take(self, entry: Entry) -> None:
        """The next entry of the file."""
        at_ms = entry.at_ms if entry.at_ms is not None else self._clock_ms
        if entry.id is not None:
            self._go_to(entry)
        for item in entry.items:
            self._take(item, entry, at_ms)
        if entry.id is not None:
            self._head = entry.id
            if entry.id in self._needed:
                self._remember(entry.id)

    def end(self) -> None:
        """No entry follows: what is open ends."""
        self._end_run("done")
        for call in list(self._early):
            self._never_asked(call)

    def settle_model(self, model: str) -> None:
        """Runs from here on ask this model."""
        if model != self._settings.model:
            self._change(Changed(model=model), self._clock_ms)

    def name_it(self, name: str) -> None:
        self._change(Changed(name=name), self._clock_ms)

    def emit(self, data: EventData) -> None:
        """An event of the import's own, behind all else."""
        self._emit(data, self._clock_ms)

    def _go_to(self, entry: Entry) -> None:
        parent = entry.parent
        if parent == self._head:
            return
        turn = self._turn
        if turn is not None and parent in turn.members and (self._loose or self._belongs(entry, turn)):
            return
        if parent is None:
            if self._head is None:
                return
            self.counts["roots"] += 1
            place = self._begin
        else:
            self._close_turn()
            found = self._places.get(parent)
            if found is None and self._head is not None:
                self.adapted["entries whose parent is missing"] += 1
            place = found or self._begin
        if place is self._begin and self._head is None:
            return
        self._branch(place)

    @staticmethod
    def _belongs(entry: Entry, turn: Turn) -> bool:
        """Whether this can only be a part of the open turn: the result of a call that has none yet."""
        return all(isinstance(one, Returned) and one.call in turn.calls for one in entry.items) and bool(entry.items)

    def _branch(self, place: _Place) -> None:
        self._end_run("done")
        self.counts["branches"] += 1
        self._emit(SessionRewound(place.seq), self._clock_ms)
        self._configure(place.settings)
        if place.turn is not None:
            self.adapted["turns repeated, since a branch left them halfway"] += 1
            self._turn = place.turn.copy(MessageId(self._name("msg")))

    def _remember(self, id_: str) -> None:
        turn = self._turn
        if turn is None:
            self._places[id_] = _Place(self.seq, self.seq, _Settings(self._settings.model, self._settings.thinking))
        else:
            turn.members.add(id_)
            self._pending.append((id_, turn.extent, turn.copy(turn.message)))

    def _take(self, item: Item, entry: Entry, at_ms: int) -> None:
        match item:
            case Answered():
                self._take_answer(item, entry, at_ms)
            case Returned():
                self._take_result(item, entry, at_ms)
            case Charged():
                if self._turn is not None and self._turn.answer.usage.cost_usd is None:
                    usage = msgspec.structs.replace(self._turn.answer.usage, cost_usd=item.cost_usd)
                    self._turn.answer.usage = usage
            case Left():
                if self._turn is not None and not self._turn.missing and not self._loose:
                    self._close_turn()
                self.kept[item.kind] += 1
                self._emit(EntryKept(item.kind, item.data, entry.id), at_ms)
            case Labelled():
                self._label(item, entry, at_ms)
            case Said() | Summed() | Changed() | Ran():
                if self._turn is not None and self._turn.missing and len(self._held) < _WAITING:
                    self._held.append((item, entry))
                    if entry.id is not None:
                        self._turn.members.add(entry.id)
                    return
                self._close_turn()
                self._now(item, entry, at_ms)

    def _now(self, item: Item, entry: Entry, at_ms: int) -> None:
        match item:
            case Said() if not any(not isinstance(b, Text) or b.text.strip() for b in item.content):
                # No provider takes it, and there is nothing to be answered.
                self._take(Left("empty message", msgspec.to_builtins(item.content)), entry, at_ms)
            case Said():
                self.counts["user"] += 1
                self._say(item.content, entry, at_ms, item.sender)
            case Summed():
                self._sum_up(item, entry, at_ms)
            case Changed():
                self._change(item, at_ms)
            case Ran():
                self._ran(item, entry, at_ms)
            case _:
                raise AssertionError(item)

    # --- the conversation -------------------------------------------------------------------------------------------

    def _say(self, content: tuple[UserBlock, ...], entry: Entry, at_ms: int, sender: str | None) -> None:
        if self._answered:
            self._end_run("done")
        id_ = InputId(self._name("in", entry.id))
        if self._run is None:
            self._emit(UserMessage(id_, content, sender=sender), at_ms)
            self._start_run(at_ms, id_)
        else:
            self._emit(UserMessage(id_, content, "steer", "batch", sender), at_ms)
        self._emit(InputDelivered(id_), at_ms)

    def _start_run(self, at_ms: int, input_id: InputId | None = None) -> None:
        before = self._run_name() if self._runs and input_id is None else None
        self._runs += 1
        self._run = self._run_name()
        self._run_usage, self._run_turns, self._run_calls = Usage(), 0, 0
        self._emit(RunStarted(self._run, input_id, resumes=before), at_ms)
        self._emit(RunClaimed(self._run, 1, HOST), at_ms)

    def _run_name(self) -> RunId:
        return RunId(derived_id("run", self.session, str(self._runs)))

    def _end_run(self, outcome: RunOutcome, error: Fault | None = None) -> None:
        self._close_turn()
        if self._run is None:
            return
        usage, turns, calls = self._run_usage, self._run_turns, self._run_calls
        self._emit(RunFinished(self._run, outcome, error, usage, turns, calls), self._clock_ms)
        self._run, self._answered = None, False

    def _take_answer(self, item: Answered, entry: Entry, at_ms: int) -> None:
        turn = self._turn
        if turn is None or item.group is None or item.group != turn.group:
            self._close_turn()
            self.counts["agent"] += 1
            began = min(item.began_ms or at_ms, at_ms)
            turn = self._turn = Turn(MessageId(self._name("msg", entry.id)), item.group, began, at_ms, item)
        elif turn.answer.usage.cost_usd is not None and item.usage.cost_usd is None:
            item.usage = msgspec.structs.replace(item.usage, cost_usd=turn.answer.usage.cost_usd)
        repeated = turn.extend(item, at_ms)
        if repeated:
            self.adapted["parts of an answer that stood there twice"] += repeated
        if entry.id is not None:
            turn.members.add(entry.id)
        for call in [call for call in turn.calls if call in self._early]:
            self._result(turn, call, *self._early.pop(call))

    def _take_result(self, item: Returned, entry: Entry, at_ms: int) -> None:
        turn = self._turn
        if turn is not None and item.call in turn.calls and turn.calls[item.call].id not in turn.results:
            self._result(turn, item.call, item, at_ms)
            if entry.id is not None:
                turn.members.add(entry.id)
            return
        if item.call in self._early or len(self._early) >= _WAITING:
            self._never_asked(next(iter(self._early)) if item.call not in self._early else item.call)
        self._early[item.call] = (item, at_ms)

    def _result(self, turn: Turn, call: str, item: Returned, at_ms: int) -> None:
        self.counts["results"] += 1
        asked = turn.calls[call]
        turn.results[asked.id] = (item, at_ms)
        child = None if self._find_child is None else self._find_child(asked, item)
        if child is not None:
            turn.children[asked.id] = child

    def _never_asked(self, call: str) -> None:
        item, at_ms = self._early.pop(call)
        self._close_turn()
        self.kept["result without a call"] += 1
        data = {"call": item.call, "name": item.name, "content": item.content, "is_error": item.is_error}
        self._emit(EntryKept("result without a call", msgspec.to_builtins(data)), at_ms)

    def _close_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        at_ms = turn.began_ms
        if self._run is None:
            self._start_run(at_ms)
        before = self.seq
        if turn.complete and turn.missing:
            self.adapted["calls without a result"] += len(turn.missing)
        self.turns += 1
        for data, when in turn.events(self.turns, self.session, self._depth):
            self._emit(data, when)
        answer = turn.answer
        self._run_usage += answer.usage
        self.usage += answer.usage
        self._run_turns += 1
        self._run_calls += len(turn.calls)
        self.model = answer.model or self.model
        self._answered = not turn.calls
        self._placed(turn, before)
        if answer.error is not None or not answer.complete:
            self._end_as(answer)
        held, self._held = self._held, []
        for item, entry in held:
            self._now(item, entry, entry.at_ms if entry.at_ms is not None else self._clock_ms)
            if entry.id in self._needed:
                self._remember(entry.id)

    def _end_as(self, answer: Answered) -> None:
        message = answer.error or "The run was interrupted."
        if answer.stop == "interrupted":
            self._end_run("interrupted", Fault("interrupted", message))
        else:
            self._end_run("failed", Fault("model", message))

    def _placed(self, turn: Turn, before: Seq) -> None:
        """Say where the entries of the turn are now that it has ended at `self.seq`."""
        settings = _Settings(self._settings.model, self._settings.thinking)
        pending, self._pending = self._pending, []
        for id_, extent, then in pending:
            whole = self._loose or extent == turn.extent
            self._places[id_] = _Place(self.seq if whole else before, self.seq, settings, None if whole else then)

    # --- beside it --------------------------------------------------------------------------------------------------

    def _sum_up(self, item: Summed, entry: Entry, at_ms: int) -> None:
        self._end_run("done")
        if not item.summary.strip():
            self._take(Left("empty summary", {"kept": item.kept}), entry, at_ms)
            return
        self.counts["compactions"] += 1
        place = None if item.kept is None else self._places.get(item.kept)
        if item.kept is not None and place is None:
            self.adapted["compactions whose first kept message is missing"] += 1
        compacted = SessionCompacted(
            item.summary,
            self.seq + 1 if place is None else max(1, place.entered),
            model=self._settings.model or "",
            files_read=item.files_read,
            files_changed=item.files_changed,
            tokens_before=item.tokens_before,
            tokens_after=item.tokens_after,
        )
        self._emit(compacted, at_ms)

    def _label(self, item: Labelled, entry: Entry, at_ms: int) -> None:
        if self._turn is not None and not self._turn.missing:
            self._close_turn()
        place = self._places.get(item.target)
        label = None if item.label is None else item.label.strip()
        # As `Session.label` takes them: each is the name of one place.
        plain = label is None or (0 < len(label) <= LABEL_CHARACTERS and label.isprintable())
        if place is None or not plain or (label is not None and self._labels.get(label, place.entered) != place.entered):
            self._take(Left("label", item.data), entry, at_ms)
            return
        self._labels = {name: seq for name, seq in self._labels.items() if seq != place.entered}
        if label is not None:
            self._labels[label] = place.entered
        self.counts["labels"] += 1
        self._emit(SessionLabelled(place.entered, label), at_ms)

    def _change(self, item: Changed, at_ms: int) -> None:
        if item.model is not None:
            self._settings.model = item.model
        if item.thinking is not None:
            self._settings.thinking = item.thinking
        self._emit(SessionConfigured(item.model, item.thinking, name=item.name), at_ms)

    def _configure(self, wanted: _Settings) -> None:
        """What a branch was set to is no part of its conversation here: say it again."""
        now, self._settings = self._settings, _Settings(wanted.model, wanted.thinking)
        model = wanted.model if wanted.model != now.model else None
        thinking = (wanted.thinking or "default") if wanted.thinking != now.thinking else None
        if model is not None or thinking is not None:
            self._emit(SessionConfigured(model, thinking), self._clock_ms)

    def _ran(self, item: Ran, entry: Entry, at_ms: int) -> None:
        self.counts["direct calls"] += 1
        call = CallId(self._name("call", entry.id))
        self._emit(ToolStarted(call, item.name, item.arguments, str(call), origin="direct", owner=HOST), at_ms)
        status = "error" if item.is_error else "ok"
        finished = ToolFinished(call, item.name, status, item.content, item.metadata, origin="direct")  # type: ignore[arg-type]
        self._emit(finished, at_ms)
        if item.shown:
            self._say(item.shown, entry, at_ms, item.name)

    def _name(self, kind: str, id_: str | None = None) -> str:
        """Named after the entry, so that it is found again in the file, where its id can be one here."""
        self._names += 1
        if id_ is not None and _PLAIN.fullmatch(id_):
            return f"{kind}_{id_}"
        return derived_id(kind, self.session, id_ or "", str(self._names))

    def _emit(self, data: EventData, at_ms: int) -> None:
        self._clock_ms = max(self._clock_ms, at_ms)
        draft = Draft(data, at_ms=self._clock_ms, run=self._run)
        self.drafts.append(draft)
        self.pending_bytes += len(draft.body)
        self.seq += 1
