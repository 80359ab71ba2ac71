"""RemoteSending: the part of a remote handle that gives the session work, and waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from ..core.agent import SteerMode
from ..core.errors import Fault, RunFailed
from ..core.events import Delta, Event, RunFinished, RunOutcome
from ..core.facts import CommandResult, Prompt
from ..core.ids import InputId, RunId, Seq
from ..core.messages import Message, Usage, user_content
from ..core.record import RunResult
from ..engine.commands import as_prompt, parse
from .connection import new_key, segment
from .following import Feed
from .handle import no_context
from .reading import RemoteReading
from .shapes import Accepted, Commanded, NotYet, Opened, Started

WAIT_S = 20.0
"""How long one request waits for the end of a run."""


class RemoteSending(RemoteReading):
    """Inputs of one session, and the runs they start. See `engine.sending.Sending`."""

    async def send(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        commands: bool = True,
    ) -> RunResult:
        """Send a prompt and wait for the run to end."""
        if commands and isinstance(prompt, str) and history is None:
            executed = await self.command(prompt, context=context, key=key, sender=sender, unattended=unattended)
            if executed is not None:
                return _command_result(executed) if executed.run is None else await self.wait(executed.run)
            prompt = as_prompt(prompt)
        run = await self.prompt(prompt, history=history, context=context, key=key, sender=sender, unattended=unattended)
        return await self.wait(run)

    async def prompt(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
    ) -> RunId:
        """Send a prompt and return the run's id at once."""
        started = await self._prompt(prompt, history, context, key, sender, unattended)
        return RunId(started.run)

    async def _prompt(
        self,
        prompt: Prompt,
        history: list[Message] | tuple[Message, ...] | None,
        context: Any,
        key: str | None,
        sender: str | None,
        unattended: bool,
    ) -> Started:
        self._check_open()
        no_context(context)
        own = new_key()
        body = {
            "prompt": user_content(prompt),
            "history": history,
            "sender": sender,
            "unattended": unattended,
            "key": key or own,
        }
        return await self._post("/prompt", Started, body, key=own)

    async def prompt_and_wait(self, prompt: Prompt, *, context: Any = None) -> RunResult:
        """`send` without slash commands, under the name of seed 002."""
        return await self.send(prompt, context=context, commands=False)

    async def command(
        self,
        text: str,
        *,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
    ) -> CommandResult | None:
        """Run the slash command that this text is; None when it is a prompt, and then nothing was done."""
        self._check_open()
        if parse(text) is None:
            return None
        no_context(context)
        user_content(text)
        own = new_key()
        body = {"text": text, "sender": sender, "unattended": unattended, "key": key or own}
        executed = (await self._post("/command", Commanded, body, key=own)).executed
        if executed is not None and executed.state_changed:
            self._config = (await self._get("", Opened)).config
        return executed

    async def stream(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        commands: bool = True,
    ) -> AsyncIterator[Event | Delta]:
        """Send a prompt and yield the run's events, with deltas between them, until it ends. Leaving the loop does not stop
        the run."""
        self._check_open()
        head = (await self._row()).head
        # Connected before anything is sent, so that no delta is missed.
        feed = Feed(self._connection, self.id, head, deltas=True)
        try:
            await feed.connect()
            run, after = None, head
            if commands and isinstance(prompt, str) and history is None:
                executed = await self.command(prompt, context=context, key=key, sender=sender, unattended=unattended)
                if executed is not None and executed.run is None:
                    yield Delta(self.id, "text", executed.id, text=executed.text, after=executed.seq - 1)
                    for event in (await self.events(executed.seq - 1))[:1]:
                        yield event
                    return
                if executed is not None:
                    run, after = executed.run, executed.seq - 1
                prompt = as_prompt(prompt)
            if run is None:
                started = await self._prompt(prompt, history, context, key, sender, unattended)
                run, after = RunId(started.run), started.after
            async for item in self._of_run(feed, run, after, head):
                yield item
        finally:
            await feed.close()

    async def _of_run(self, feed: Feed, run: RunId, after: Seq, head: Seq) -> AsyncIterator[Event | Delta]:
        """The run's items: those behind `after`, where the feed began at `head`."""
        for event in await self.events(after) if after < head else []:
            if event.seq <= head:
                yield event
                if _ends(event, run):
                    return
        while True:
            item = await feed.next()
            if isinstance(item, Event):
                if item.seq <= after:
                    continue
                item.labels = self.labels
            elif item.after < after:
                continue
            yield item
            if isinstance(item, Event) and _ends(item, run):
                return

    async def wait(self, run: RunId | str | None = None) -> RunResult:
        """Wait until that run, or the open one, has ended; at once when it has. NoOpenRun, RunNotFound, RunFailed."""
        while True:
            path = f"{self._path}/result" if run is None else f"{self._path}/runs/{segment(run)}/result"
            answered = await self._connection.ask("GET", path, query={"wait_s": WAIT_S}, wait_s=WAIT_S)
            if answered.status_code == 202:
                run = msgspec.json.decode(answered.content, type=NotYet).run
                continue
            result = msgspec.json.decode(answered.content, type=RunResult)
            if result.outcome == "failed":
                fault = result.error
                raise RunFailed(fault.message if fault else None, result=result, reason=fault.code if fault else "unknown")
            return result

    async def steer(
        self, message: Prompt, *, mode: SteerMode | None = None, key: str | None = None, sender: str | None = None
    ) -> InputId:
        """Put a message into the open run at its next boundary. NoOpenRun when none is open."""
        self._check_open()
        own = new_key()
        body = {"message": user_content(message), "mode": mode, "sender": sender, "key": key or own}
        return InputId((await self._post("/steer", Accepted, body, key=own)).input)

    async def follow_up(self, message: Prompt, *, key: str | None = None, sender: str | None = None) -> InputId:
        """Queue a message for when nothing else is left to do. On an idle session that is now."""
        self._check_open()
        own = new_key()
        body = {"message": user_content(message), "sender": sender, "key": key or own}
        return InputId((await self._post("/follow_up", Accepted, body, key=own)).input)

    async def resume_run(self, run: RunId | str) -> RunResult:
        """Continue a run that was interrupted, failed or met a limit, as a new run; wait for it."""
        return await self.wait(await self.continue_run(run))

    async def continue_run(self, run: RunId | str) -> RunId:
        """`resume_run` that returns the new run's id at once."""
        self._check_open()
        return RunId((await self._post(f"/runs/{segment(run)}/resume", Started)).run)


def _ends(event: Event, run: RunId) -> bool:
    return event.type == "run.finished" and isinstance(event.data, RunFinished) and event.data.run == run


def _command_result(executed: CommandResult) -> RunResult:
    """A command's answer in the shape of a run's."""
    fault = None if executed.error is None else Fault(executed.error, executed.text)
    outcome: RunOutcome = "done" if fault is None else "failed"
    return RunResult(RunId(executed.id), outcome, executed.text, None, Usage(), 0, 0, fault, executed.seq)
