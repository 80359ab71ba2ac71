"""Verification on a session, as its host asks for it: `session.verify_commands` and its kin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from ..contracts import EventStore, Verified, Workspace
from ..core.errors import InvalidArgument, SessionClosed, ToolFailed
from ..core.events import EventData, SessionRewound, VerificationReported
from ..core.ids import Clock, Seq, SessionId
from ..core.verification import (
    VerificationCommand,
    VerificationPolicy,
    VerificationPreset,
    VerificationReport,
    VerificationSummary,
    check_report,
    commands_of,
    from_elsewhere,
    latest,
    summarize,
    summary_text,
)
from .cancel import Cancel
from .checks import CUT_OFF, Verifier, asked_for, commands_for, find_presets
from .direct import DirectCalls
from .hooks import Hooks
from .log import append_outside


class HostVerification(ABC):
    """The part of a session's handle that verifies: runs checks, finds them, and adds up what was reported."""

    checks: Verifications

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed when the handle is."""

    async def verify_commands(self, subject: str, commands: Sequence[VerificationCommand | str]) -> VerificationReport:
        """Run these commands one after the other, as the session's tool `bash` would, and record what came of them about
        `subject`. A text is a command that is its own id.

        Exit code 0 passes; another one, a timeout, and a command that could not run fail the check, which says why and
        names its evidence. The host is trusted: permissions do not apply; hooks, budgets and the sandbox do.
        Raises SessionClosed, SessionArchived, InvalidArgument; a command that fails is no error.
        """
        self._check_open()
        return await self.checks.verify(subject, commands)

    async def verification_presets(self) -> list[VerificationPreset]:
        """Commands that fit the workspace, by its files; none without a workspace."""
        return await self.checks.presets()

    async def verification_reports(self) -> list[VerificationReport]:
        """Every report recorded for the session, oldest first."""
        return await self.checks.all()

    async def verification_summary(self) -> VerificationSummary:
        """What holds now: of each subject the newest report counts, unless the files were taken back behind it."""
        return await self.checks.summary()

    async def verification_summary_text(self) -> str:
        """The same in one line."""
        return summary_text(await self.checks.summary())

    async def record_verification_reports(self, reports: Sequence[VerificationReport]) -> None:
        """Add reports that were made elsewhere, all of them or none. Their source is what they say, or `external`.

        Raises InvalidArgument for one that cannot be used, SessionClosed, SessionArchived.
        """
        self._check_open()
        await self.checks.record(reports)


class Verifications:
    """The reports of one session, and making more of them."""

    def __init__(
        self,
        store: EventStore,
        session: SessionId,
        clock: Clock,
        *,
        calls: DirectCalls,
        hooks: Hooks,
        workspace: Callable[[], Workspace | None],
        policy: VerificationPolicy | None,
        token: Cancel,
    ) -> None:
        self._store = store
        self._session = session
        self._clock = clock
        self._calls = calls
        self._hooks = hooks
        self._workspace = workspace
        self._policy = policy
        self._token = token

    async def verify(self, subject: str, given: Sequence[VerificationCommand | str]) -> VerificationReport:
        """See `HostVerification.verify_commands`."""
        commands = commands_of(given)
        if not subject.strip():
            raise InvalidArgument("a verification needs a subject")
        verifier = self._verifier(self._token)
        made = await verifier.report(subject, commands, source="commands", record=self._append)
        if made is None:
            raise SessionClosed(session=self._session)
        await verifier.told(made.report, await self._append([VerificationReported(made.report)]))
        return made.report

    async def for_tool(self, token: Cancel) -> Verified:
        """The session's checks, because a tool that the host called asks for them."""
        commands = await commands_for(self._policy, self._workspace())
        made = await asked_for(self._verifier(token), commands, self._append)
        if made is None:
            raise ToolFailed(CUT_OFF)
        return made

    async def presets(self) -> list[VerificationPreset]:
        workspace = self._workspace()
        return [] if workspace is None else list(await find_presets(workspace))

    async def all(self) -> list[VerificationReport]:
        events = await self._store.read(self._session, types=("verification.reported",))
        return [e.data.report for e in events if isinstance(e.data, VerificationReported)]

    async def summary(self) -> VerificationSummary:
        events = await self._store.read(self._session, types=("verification.reported", "session.rewound"))
        held: list[tuple[Seq, VerificationReport]] = []
        for event in events:
            match event.data:
                case VerificationReported(report=report):
                    held.append((event.seq, report))
                case SessionRewound(to=to, files=files) if files is not None:
                    # What was found out about files that are not there any more holds no longer.
                    held = [(seq, report) for seq, report in held if seq <= to]
                case _:
                    pass
        return summarize(latest([report for _, report in held]))

    async def record(self, reports: Sequence[VerificationReport]) -> None:
        head = (await self._store.session(self._session)).head
        now_ms = self._clock.now_ms()
        for report in reports:
            check_report(report, head)
        if reports:
            await self._append([VerificationReported(from_elsewhere(r, now_ms)) for r in reports])

    def _verifier(self, token: Cancel) -> Verifier:
        return Verifier(self._calls, self._hooks, self._clock, run=None, cancel=token)

    async def _append(self, events: Sequence[EventData]) -> Seq:
        return (await append_outside(self._store, self._session, events, self._clock)).last
