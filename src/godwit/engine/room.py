"""Room: keeps a conversation within what its model reads, while it is driven.

Owns when results of tools are left out and when older messages are summed up, and what is done when a provider refuses a
request as too long. How a summary is made is told in `compaction`, how messages look afterwards in the transcript. Rules:

* Something is changed only before the model is asked, in one event; what arrives meanwhile waits in the queue as ever.
* What was said to the model and not answered yet stays word by word.
* What fails is told by an event and not tried again until the conversation has grown; the run goes on with what there is.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..core.agent import ContextPolicy
from ..core.errors import GodwitError, SessionClosed, StaleEpoch, StoreError
from ..core.events import CompactionFailed, CompactionTrigger, SessionCompacted, SessionPruned
from ..core.ids import Seq
from ..core.messages import ToolResult, User
from ..core.transcript import Entry, Transcript, pruned_note, size_of
from .aside import Asides
from .compaction import Compactions, first_kept, tokens_of
from .context import info_of, models_now
from .driver import Driver
from .estimate import CHARACTERS_PER_TOKEN
from .model_step import estimated_request
from .summary import Summaries

LONGER_THAN: Final = 500
"""Characters of a result that is left alone."""
WORTH: Final = 0.1
"""Part of the window that leaving results out has to gain: it costs the provider's cache of all that comes behind."""
GROWN: Final = 0.1
"""Part of the window by which the conversation grows before something that failed is tried again."""


class Room:
    """Makes room in one drive of a session."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._failed_at: int | None = None

    @property
    def _policy(self) -> ContextPolicy:
        return self._driver.spec.context

    @property
    def _transcript(self) -> Transcript:
        return self._driver.log.transcript

    async def before_turn(self) -> bool:
        """Make room if the next request needs some. True when something was changed, or the run was cut off meanwhile: look
        at the state again."""
        driver, policy = self._driver, self._policy
        run = driver.state.run
        if run is None or run.detached or not (policy.prune or policy.compact):
            return False
        window = await self._window()
        if window is None:
            return False
        tokens = await estimated_request(driver, ())
        if policy.prune and tokens > policy.prune_at * window and await self._prune(window):
            return True
        if not policy.compact or tokens <= policy.compact_at * window:
            return False
        if self._failed_at is not None and tokens < self._failed_at + GROWN * window:
            return False
        return await self._compact("threshold", window, tokens)

    async def after_overflow(self) -> bool:
        """Make room because a provider refused the request as too long. True when there is some now: ask again."""
        run = self._driver.state.run
        if run is None or run.detached or not self._policy.compact:
            return False
        window = await self._window()
        tokens = await estimated_request(self._driver, ())
        return await self._compact("overflow", min(window or tokens, tokens), tokens)

    # --- leaving results out ----------------------------------------------------------------------------------------

    async def _prune(self, window: int) -> bool:
        before = self._oldest_kept()
        entries = self._transcript.own_entries
        cut = [e.message for e in entries if _cuttable(e, before)]
        gain = sum(size_of(m) - len(pruned_note(m)) for m in cut if isinstance(m, ToolResult)) // CHARACTERS_PER_TOKEN
        if gain < WORTH * window:
            return False
        tokens = tokens_of(e.message for e in entries)
        pruned = SessionPruned(before, LONGER_THAN, len(cut), tokens, tokens - gain)
        await self._driver.log.commit(pruned)
        return True

    def _oldest_kept(self) -> Seq:
        """The seq of the oldest of the newest turns, which keep their results."""
        turns = sorted({e.seq for e in self._transcript.own_entries if isinstance(e.message, ToolResult)})
        keep = self._policy.prune_keep_turns
        return self._transcript.seq + 1 if keep == 0 or not turns else turns[-min(keep, len(turns))]

    # --- summing up -------------------------------------------------------------------------------------------------

    async def _compact(self, trigger: CompactionTrigger, window: int, tokens: int) -> bool:
        driver, transcript = self._driver, self._transcript
        log = driver.log
        # A stored request is what is summed up, and what it costs must not be mixed with what is staged.
        await log.commit()
        due = transcript.due
        keep = min(self._policy.keep_tokens, window // (4 if trigger == "threshold" else 8))
        kept_from = min(first_kept(transcript, keep), _unanswered(transcript))
        compactions = self._compactions()
        try:
            if due is not None:
                # One that was asked for waits for the run's end, and its summary is there: it need not wait.
                event = _at_once(due, trigger)
            else:
                composed = await compactions.compose(transcript, kept_from, focus=None, trigger=trigger, window=window)
                if composed is None:
                    self._failed_at = tokens
                    return False
                event = composed
        except (StaleEpoch, StoreError):
            raise
        except SessionClosed:
            return True
        except GodwitError as error:
            await log.sync()
            self._failed_at = tokens
            if driver.token.cancelled:
                return True
            await log.commit(CompactionFailed(trigger, error.fault()))
            return False
        await log.sync()
        if driver.token.cancelled or driver.state.run is None:
            return True
        await log.commit(event)
        self._failed_at = None
        await compactions.tell_hooks(event, log.seq)
        return True

    def _compactions(self) -> Compactions:
        driver = self._driver
        return Compactions(
            driver.parts,
            driver.session,
            summaries=Summaries(driver.session, self._asides),
            model=lambda: models_now(driver.state, driver.spec)[0],
            tools=lambda: driver.tools,
            hooks=driver.hooks,
            token=driver.token,
        )

    async def _asides(self, model: str) -> Asides:
        driver = self._driver
        run = driver.state.run
        return Asides(
            driver.parts,
            driver.session,
            driver.budget,
            driver.token,
            run=None if run is None else run.id,
            model=model,
            retries=driver.spec.limits.max_model_retries,
            tenant=driver.state.labels.tenant,
            recorded=driver.log.sync,
        )

    async def _window(self) -> int | None:
        """Tokens that the model reads; None when that is not known."""
        if self._policy.window is not None:
            return self._policy.window
        driver = self._driver
        run = driver.state.run
        name = run.retry_model if run is not None and run.retry_model else models_now(driver.state, driver.spec)[0]
        info = await info_of(driver.parts.models, name)
        return None if info is None else info.context_window


def _cuttable(entry: Entry, before: Seq) -> bool:
    message = entry.message
    return isinstance(message, ToolResult) and entry.seq < before and size_of(message) > LONGER_THAN


def _unanswered(transcript: Transcript) -> Seq:
    """The seq of the first of the messages that people have said last, and to which nothing was answered."""
    seq = transcript.seq + 1
    for entry in reversed(transcript.own_entries):
        if not isinstance(entry.message, User) or (transcript.summary is not None and entry is transcript.own_entries[0]):
            break
        seq = entry.seq
    return seq


def _at_once(due: SessionCompacted, trigger: CompactionTrigger) -> SessionCompacted:
    return msgspec.structs.replace(due, at_once=True, trigger=trigger)


__all__ = ["Room"]
