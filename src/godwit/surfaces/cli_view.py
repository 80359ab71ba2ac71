"""How a session looks on a terminal, in a pipe, and as JSON lines: three views over the same events and deltas.

A view only shows. It keeps what is under way (the model thinking, calls running) and draws it as a moving region at the
bottom, which is gone before anything lasting is written above it. Rules: nothing lasting is drawn from a delta that the
stored event would say again; a terminal killed in mid-draw keeps its cursor.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import IO, Any, Protocol

import msgspec

from ..core.events import (
    ActionOpened,
    AgentMessage,
    BudgetWarned,
    Delta,
    Event,
    GoalUpdated,
    InputDelivered,
    ModelStarted,
    RunClaimed,
    RunFinished,
    RunNudged,
    RunParked,
    RunRetrying,
    RunStarted,
    RunYielded,
    SessionPaused,
    SessionResumed,
    StateUpdated,
    SubagentAsked,
    SubagentFinished,
    SubagentStarted,
    TodosUpdated,
    ToolAsked,
    ToolFinished,
    ToolStarted,
    UserAnswer,
    UserInterrupt,
    UserMessage,
    VerificationReported,
)
from ..core.ids import InputId
from ..core.messages import Text, Thinking, text_of
from ..core.model_info import Adjustment
from ..core.nudges import NUDGE, NudgeReason
from ..core.senders import VERIFICATION
from ..core.shared_state import state_change
from ..core.todos import todos_text
from ..core.verification import VerificationStatus
from .cli_words import (
    DECIDED,
    asker,
    call_text,
    clean,
    counted_as,
    diff_of,
    event_text,
    one_line,
    ran_text,
    result_text,
    seconds,
    usage_text,
    verified_text,
)

TAIL_LINES = 6
"""Lines of a running command's output that move along in the region."""
KEPT_LINES = 12
"""Lines of its output that stay when it has ended."""
DIFF_LINES = 80
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_NUDGED: dict[NudgeReason, str] = {
    "todos": "there is more to do",
    "goal": "the goal is not met",
    "empty": "the answer was empty",
    "cut_off": "the answer was cut off at the limit of its length",
    "no_call": "a call was about to come, and did not",
}
REPORTED: dict[VerificationStatus, tuple[str, str]] = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "needs_review": ("?", "yellow"),
    "skipped": ("↷", "yellow"),
}
_MARKS = {"ok": ("✓", "green"), "error": ("✗", "red"), "denied": ("⊘", "yellow"), "skipped": ("↷", "yellow")}


class View(Protocol):
    """What a command shows a session with."""

    def show(self, item: Event | Delta) -> None: ...
    def say(self, text: str, style: str = "dim") -> None:
        """A remark of the command line's own."""
        ...

    def settle(self) -> None:
        """Put nothing more in motion: a person is asked something now, or the command ends."""
        ...


class JsonView:
    """One JSON object per line on stdout; remarks are left out."""

    def show(self, item: Event | Delta) -> None:
        write_json(item.frame() if isinstance(item, Event) else msgspec.json.encode(item))

    def say(self, text: str, style: str = "dim") -> None:
        pass

    def settle(self) -> None:
        pass


def write_json(value: Any) -> None:
    """One line of JSON on stdout, at once. Bytes are JSON already."""
    line = value if isinstance(value, bytes) else msgspec.json.encode(value, enc_hook=str)
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


class _Running:
    """A call under way: its line, its beginning, the end of its output."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.since = time.monotonic()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.open = ""

    def grow(self, text: str) -> None:
        *lines, self.open = (self.open + clean(text)).split("\n")
        self.tail.extend(line for line in lines if line.strip())


class ScreenView:
    """For people. `live`: a terminal, on which text streams and what is under way moves; else whole lines only.

    `prompts`: show delivered prompts too (a follower has not typed them itself).
    """

    def __init__(self, *, live: bool | None = None, prompts: bool = False, file: IO[str] | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.live = self._console.is_terminal and not self._console.is_dumb_terminal if live is None else live
        self.moving = self.live
        """Whether what is under way is shown in motion; not while somebody types on the same line."""
        self._prompts = prompts
        self._inputs: dict[InputId, UserMessage] = {}
        self._attempt = 1
        self._agents: dict[str, str] = {}
        self._shown: dict[tuple[str, str, int], int] = {}
        self._streaming: tuple[str, str, int] | None = None
        self._thinking_since: float | None = None
        self._adjusted: tuple[Adjustment, ...] = ()
        self._writing = ""
        self._model = ""
        self._calls: dict[str, _Running] = {}
        self._region: Any = None
        self._started_ms: int | None = None

    # --- lasting lines -----------------------------------------------------------------------------------------

    def say(self, text: str, style: str = "dim") -> None:
        self._line(clean(text), style)

    def settle(self) -> None:
        self._end_text()
        self._still()

    def _line(self, text: str, style: str = "") -> None:
        self._end_text()
        self._still()
        self._console.print(text, style=style or None)
        self._move()

    def _end_text(self) -> None:
        if self._streaming is not None:
            self._console.print()
            self._streaming = None

    # --- events ------------------------------------------------------------------------------------------------

    def show(self, item: Event | Delta) -> None:
        if isinstance(item, Delta):
            if self.live:
                self._delta(item)
            return
        data = item.data
        match data:
            case UserMessage():
                if data.sender == VERIFICATION:  # the commands' outputs have been shown already
                    self._line("⇢ what does not pass goes back to the model", "dim")
                    return
                if data.sender == NUDGE:
                    return  # told by `run.nudged`
                self._inputs[data.id] = data
                if data.delivery != "prompt":
                    self._line(f"⇢ {data.delivery.replace('_', '-')} accepted: {one_line(text_of(data.content))}", "dim")
            case InputDelivered(id=input_id) if input_id in self._inputs:
                message = self._inputs.pop(input_id)
                if self._prompts or message.delivery != "prompt":
                    self._line(f"❯ {clean(text_of(message.content))}", "bold")
            case RunStarted():
                self._started_ms, self._attempt = item.at_ms, 1
            case RunClaimed():
                if data.attempt > self._attempt:
                    self._attempt = data.attempt
                    self._line(f"↻ taken over, attempt {data.attempt}: the process before this one died", "yellow")
            case ModelStarted():
                if data.adjusted != self._adjusted:
                    for one in data.adjusted:
                        self._line(f"! {clean(one.text)}", "yellow")
                self._adjusted = data.adjusted
                self._thinking_since, self._writing, self._model = time.monotonic(), "", data.model
                self._move()
            case AgentMessage():
                self._message(data)
            case ToolStarted():
                text = call_text(data.name, data.arguments, 200)
                self._calls[data.call] = _Running(text)
                if not self.moving and not data.resumed:
                    self._line(f"→ {text}")
                self._move()
            case ToolAsked():
                self._calls.pop(data.call, None)
                self._still()
            case ToolFinished():
                self._finished(data)
            case SubagentStarted():
                what = one_line(data.description or data.prompt, 100)
                self._agents[data.task] = data.agent
                self._line(f"⇣ {clean(data.agent)} begins: {what}" + (" (in the background)" if data.action is None else ""))
            case SubagentAsked():
                who = clean(" > ".join(data.path))
                asked = one_line(data.message or call_text(data.name, data.arguments, 400), 400)
                self._line(f"? {who}: {data.kind} needed: {asked}", "bold yellow")
            case SubagentFinished():
                mark, style = ("✓", "green") if data.status == "completed" else ("✗", "yellow")
                why = f": {one_line(data.error.message, 200)}" if data.error is not None else ""
                spent = f" ({counted_as(data.turns, 'turn')}, {usage_text(data.usage)})" if data.turns else ""
                self._line(f"{mark} {clean(self._agents.pop(data.task, data.task))} {data.status}{why}{spent}", style)
            case ActionOpened() if data.kind == "task" or data.lane is not None:
                pass  # nobody is asked
            case ActionOpened(asking=True):
                what = "" if data.kind == "question" else " for leave"
                self._line(f"? {asker(data.name)} asks{what}: {one_line(data.message or '', 400)}", "bold yellow")
            case ActionOpened(call=None, message=str(message)):
                self._line(f"? {clean(data.name)} asks: {one_line(message, 400)}", "bold yellow")
            case BudgetWarned():
                self._line(f"! budget: {one_line(data.reason or data.resource, 400)}", "yellow")
            case ActionOpened():
                self._line(f"? {data.kind} needed: {call_text(data.name, data.arguments, 400)}", "bold yellow")
            case UserAnswer():
                edited = ", with other arguments" if data.arguments is not None and data.decision == "approve" else ""
                reason = f": {one_line(data.reason)}" if data.reason else ""
                by = f" by {clean(data.sender)}" if data.sender not in (None, "cli") else ""
                self._line(f"  {DECIDED[data.decision]}{by}{edited}{reason}", "dim")
            case VerificationReported(report=report):
                mark, style = REPORTED[report.status]
                self._line(f"{mark} {clean(verified_text(report))}", style)
            case RunNudged():
                why = ", ".join(_NUDGED[reason] for reason in data.reasons)
                self._line(f"⇢ told to go on: {why}", "dim")
            case StateUpdated():
                self._line(one_line(f"state: {state_change(data.patch, data.value)}", 120), "cyan")
            case TodosUpdated():
                self._line(todos_text(data.todos) or "no todos any more", "cyan")
            case GoalUpdated(goal=goal):
                what = one_line(goal.text if goal.open else goal.reason or goal.text, 400)
                self._line(f"◎ goal {'set' if goal.open else goal.status}: {what}", "cyan")
            case UserInterrupt():
                self._line("■ interrupt" + (", forced" if data.force else ""), "yellow")
            case SessionPaused():
                self._line("‖ paused: godwit resume lets it go on", "yellow")
            case SessionResumed():
                self._line("▶ resumed", "yellow")
            case RunRetrying():
                self._thinking_since = None
                why = f"{data.error.code}: {one_line(data.error.message, 200)}"
                self._line(f"↺ {why}; asking {data.model} again in {data.delay_ms / 1000:g} s", "yellow")
            case RunYielded() | RunParked():
                self._thinking_since = None
                self._still()
            case RunFinished():
                self._end(data, item.at_ms)
            case _:
                pass

    def _message(self, data: AgentMessage) -> None:
        self._thinking_since, self._writing = None, ""
        message = data.message
        for place, block in enumerate(message.content):
            if isinstance(block, Text | Thinking) and block.text.strip():
                kind = "text" if isinstance(block, Text) else "thinking"
                key = (message.id, kind, place)
                whole, seen = clean(block.text), self._shown.pop(key, 0)
                if seen and seen <= len(block.text):
                    rest = clean(block.text[seen:])
                    if rest:
                        self._stream(key, rest)
                elif kind == "text" or self.live:
                    self._line(whole.strip("\n"), "" if kind == "text" else "dim italic")
        self._end_text()
        self._shown = {k: v for k, v in self._shown.items() if k[0] != message.id}
        if not message.complete:
            self._line("[cut]", "yellow")
        self._move()

    def _finished(self, data: ToolFinished) -> None:
        running = self._calls.pop(data.call, None)
        text = running.text if running is not None else data.name
        mark, style = _MARKS.get(data.status, ("!", "yellow"))
        if data.status == "ok" and data.metadata.get("exit_code"):
            mark, style = _MARKS["error"]
        about = result_text(data)
        self._line(f"{mark} {text}" + (f"  ({about})" if about else ""), style)
        diff = diff_of(data)
        if diff:
            self._diff(diff)
        elif "exit_code" in data.metadata or data.status != "ok":
            lines = [line for line in clean(text_of(data.content)).splitlines() if line.strip()]
            if len(lines) > KEPT_LINES:
                self._line(f"  … {len(lines) - KEPT_LINES} more above", "dim")
            for line in lines[-KEPT_LINES:]:
                self._line(f"  {line}", "dim")

    def _diff(self, lines: list[str]) -> None:
        for line in lines[:DIFF_LINES]:
            if line.startswith(("--- ", "+++ ")):
                continue
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
            self._line(f"  {line}", style)
        if len(lines) > DIFF_LINES:
            self._line(f"  … {len(lines) - DIFF_LINES} more lines of the change", "dim")

    def _end(self, data: RunFinished, at_ms: int) -> None:
        self._thinking_since = None
        self._calls.clear()
        self._still()
        if data.error is not None:
            self._line(f"{data.outcome}: {data.error.code}: {clean(data.error.message)}", "red")
        took = f", {seconds((at_ms - self._started_ms) / 1000)}" if self._started_ms is not None else ""
        style = "green" if data.outcome == "done" else "yellow"
        self._line(f"— {data.outcome}: {ran_text(data)}{took}", style)

    # --- what moves --------------------------------------------------------------------------------------------

    def _delta(self, delta: Delta) -> None:
        match delta.kind:
            case "text" | "thinking":
                key = (delta.id, delta.kind, delta.block)
                if self._shown.get(key, 0) != delta.offset:
                    return  # something was missed: the stored message will say it
                self._shown[key] = delta.offset + len(delta.text)
                self._stream(key, clean(delta.text))
            case "tool_arguments":
                self._end_text()
                self._thinking_since = self._thinking_since or time.monotonic()
                self._writing = delta.name or self._writing
                self._move()
            case "tool_output":
                if delta.id in self._calls:
                    self._calls[delta.id].grow(delta.text)
                    self._move()
            case "progress":
                if delta.id in self._calls:
                    self._calls[delta.id].tail.append(one_line(delta.text))
                    self._move()
            case "discard":
                if any(key[0] == delta.id for key in self._shown):
                    self._line("↺ the answer above is void and asked for again", "yellow")
                self._shown = {k: v for k, v in self._shown.items() if k[0] != delta.id}

    def _stream(self, key: tuple[str, str, int], text: str) -> None:
        if self._streaming != key:
            self._end_text()
            text = text.lstrip("\n")
        if not text:
            return
        self._still()
        self._streaming = key
        self._console.print(text, end="", style="dim italic" if key[1] == "thinking" else None)

    def _still(self) -> None:
        """Take the moving region away."""
        if self._region is not None:
            self._region.stop()
            self._region = None

    def _move(self) -> None:
        """Show the moving region, if something is under way and no text is being written."""
        under_way = self._thinking_since is not None or bool(self._calls)
        if not self.moving or self._streaming is not None or not under_way:
            return
        if self._region is None:
            from rich.live import Live

            self._region = Live(
                console=self._console,
                get_renderable=self._draw,
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._region.start()
            # A process that is killed cannot show the cursor again, so it is never hidden.
            self._console.show_cursor(True)

    def _draw(self) -> Any:
        from rich.text import Text as Line

        now = time.monotonic()
        frame = _FRAMES[int(now * 8) % len(_FRAMES)]
        width = max(20, self._console.width - 1)
        lines: list[tuple[str, str]] = []
        if self._thinking_since is not None:
            doing = f"writes a call of {self._writing}" if self._writing else "thinks"
            lines.append((f"{frame} {self._model} {doing}  {seconds(now - self._thinking_since)}", "cyan"))
        for running in list(self._calls.values()):
            lines.append((f"{frame} {running.text}  {seconds(now - running.since)}", "cyan"))
            tail = [*running.tail, running.open] if running.open.strip() else [*running.tail]
            lines += [(f"  {line}", "dim") for line in tail[-TAIL_LINES:]]
        drawn = Line(no_wrap=True, overflow="ellipsis")
        for place, (text, style) in enumerate(lines):
            drawn.append(("\n" if place else "") + text[:width].replace("\t", " "), style=style)
        return drawn


def log_line(event: Event, whose: str = "") -> tuple[str, str]:
    """One line of a log for people, and its style. `whose`: whose it is, where it is one of several sessions'."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at_ms / 1000))
    style = {"user": "bold", "agent": "", "tool": "cyan", "action": "yellow", "run": "green"}.get(
        event.type.split(".")[0], "dim"
    )
    said = f"{clean(whose)}: " if whose else ""
    return f"{event.seq:>5} {at} {event.type:<18} {said}{event_text(event)}".rstrip(), style
