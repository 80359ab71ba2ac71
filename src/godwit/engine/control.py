"""Control: the part of a session's handle that stops its runs, lets them go on, and changes its settings."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import get_args

from ..core.agent import AgentRef, AgentSpec, SteerMode, ThinkingLevel
from ..core.errors import InvalidArgument, KeyReused, NoOpenRun
from ..core.events import Event
from ..core.ids import RunId, Seq
from ..core.modes import BUILD, mode_named
from ..core.rules import ApprovalPolicy, Permissions
from .handle import Handle
from .log import load_state

OWNER_LOOK_S = 1.0
"""How often a handle that waits for another process looks whether that one is alive."""
FORCE_AFTER_S = 2.0
"""How long a forced interrupt waits for a driver to answer before the session is taken from it."""


class Control(Handle):
    """What becomes of the open run, and what holds for the next."""

    async def interrupt(
        self, *, run: RunId | str | None = None, force: bool = False, reason: str | None = None, key: str | None = None
    ) -> bool:
        """End the open run at once, keeping what was streamed; returns when it has ended, and the session is usable.

        Running tools get a grace to end by themselves; `force` gives none, and takes the session from a driver that
        does not answer. `run`: only if that one is open. `key`: an idempotency key; sending again under it ends no other run
        than the first time. False when there was nothing to end. A tool that interrupts its own session does not wait for
        the end.
        """
        row = await self._store.session(self.id)
        if row.run is None or (run is not None and row.run != run):
            return False
        target, head = row.run, row.head
        try:
            await self._inbox.interrupt(target, force=force, reason=reason, key=key)
        except NoOpenRun:
            return False
        except KeyReused:
            return True  # it ended a run before this one
        self._wake()
        if self._within():
            return True
        ended = asyncio.ensure_future(self._finished(target, head))
        try:
            if not self._drives:
                await self._until_ended(ended, target, force)
            elif force:
                await asyncio.wait([ended], timeout=FORCE_AFTER_S)
                if not ended.done() and self._drives:
                    await self._home.settle(self.id, force=True)
            await ended
        finally:
            ended.cancel()
        if self._drives:
            await self._home.settle(self.id, run=target)
        return True

    async def _until_ended(self, ended: asyncio.Future[Event], run: RunId, force: bool) -> None:
        """Wait for the driver to end the run; without a living one, end it here, although this handle does not drive. So
        with `force` when the driver does not answer."""
        loop = asyncio.get_running_loop()
        force_at_s = loop.time() + FORCE_AFTER_S
        while not ended.done():
            row = await self._store.session(self.id)
            late = force and loop.time() >= force_at_s
            if row.run == run and (row.owner is None or late):
                await self._home.do_once(self.id, force=late)
            await asyncio.wait([ended], timeout=OWNER_LOOK_S)

    async def pause(self, reason: str | None = None) -> bool:
        """Stop at the next checkpoint: the step in hand ends, then nothing more is taken, by any process.

        Inputs are accepted and wait. False when it was paused already. Returns when it has come to rest here.
        """
        self._check_open()
        paused = await self._inbox.pause(reason)
        if not self._within():
            await self._home.settle(self.id)
        return paused

    async def resume(self) -> bool:
        """Go on from the checkpoint, in this process. False when it was not paused."""
        self._check_open()
        resumed = await self._inbox.resume()
        self._wake()
        return resumed

    async def set_model(self, model: str) -> None:
        """Use this model from the next prompt on: `provider:model`, or a hint such as `sonnet`, which is stored as the model
        it means. An open run keeps its own to its end, also for what is steered into it and for follow-ups that it takes in.
        ModelNotFound, AuthenticationFailed (no key): nothing has changed then."""
        await self.configure(model=model)

    async def set_mode(self, mode: str) -> None:
        """What the session may do from the next call on, beside its agent's rules: `build`, all of it; `plan`, look and
        change nothing; or a mode of the agent's own. It holds for those who work for the session as well.
        InvalidArgument."""
        await self.configure(mode=mode)

    async def mode(self) -> str:
        """The mode it is in; `build` where nothing is taken away."""
        return (await load_state(self._store, self.id)).mode or BUILD.name

    async def configure(
        self,
        *,
        model: str | None = None,
        thinking: ThinkingLevel | None = None,
        steer_mode: SteerMode | None = None,
        name: str | None = None,
        permissions: Permissions | None = None,
        approvals: ApprovalPolicy | None = None,
        metadata: Mapping[str, str] | None = None,
        agent: AgentRef | None = None,
        mode: str | None = None,
        expect: Seq | None = None,
    ) -> None:
        """Change settings for the runs that start from now on, all or none; None leaves one as it is.

        `model`: as for `set_model`. ModelNotFound, AuthenticationFailed.
        `permissions`: the session's own rules, beside the agent's; they and `approvals` hold from the next call on.
        `metadata`: all of it, in place of what there was. `agent`: who works from now on. AgentNotFound, ToolNotFound.
        `mode`: as for `set_mode`.
        `expect`: for a change that follows from how the session was at this seq; HeadMoved when it has gone on since.
        """
        self._check_open()
        spec: AgentSpec | None = None
        if model is not None and self._drives:
            model = self._home.check_model(model)
        if agent is not None:
            _, spec = await self._store.get_agent(agent.name, agent.version)
            if self._drives:
                self._home.tools_of(spec, self.workspace)
        if thinking is not None and thinking not in get_args(ThinkingLevel):
            known = ", ".join(get_args(ThinkingLevel))
            raise InvalidArgument(f"thinking level {thinking!r} is none of {known}", thinking=thinking)
        if steer_mode is not None and steer_mode not in get_args(SteerMode):
            raise InvalidArgument(f"steer mode {steer_mode!r} is neither skip nor batch", steer_mode=steer_mode)
        if mode is not None:
            mode_named(mode, (spec or self._spec).modes)
        await self._inbox.configure(
            model=model,
            mode=mode,
            thinking=thinking,
            steer_mode=steer_mode,
            name=name,
            permissions=permissions,
            approvals=approvals,
            metadata=None if metadata is None else dict(metadata),
            agent=agent,
            expect=expect,
        )
        if agent is not None and spec is not None:
            self._agent, self._spec = agent, spec
        before = self._settings
        self._settings = (model or before[0], thinking or before[1], steer_mode or before[2])
