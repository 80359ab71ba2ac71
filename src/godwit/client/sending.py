"""RemoteSending: the part of a remote handle that gives the session work, and waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from ..core.agent import SteerMode
from ..core.attachments import Attachments
from ..core.events import Delta, Event, RunFinished
from ..core.facts import CommandResult, Prompt
from ..core.ids import InputId, RunId, Seq
from ..core.json_values import input_metadata
from ..core.messages import Message, user_content
from ..core.output import OutputSpec
from ..core.record import RunResult
from ..engine.attaching import with_attachments
from ..engine.commands import as_prompt, parse
from ..engine.handles import AnyHandle, ended
from ..engine.sending import OWN_RUNS
from .connection import new_key, segment
from .following import Feed
from .handle import no_context
from .reading import RemoteReading
from .shapes import Accepted, Commanded, NotYet, Opened, Started

WAIT_S = 20.0
"""How long one request waits for the end of a run."""


class RemoteSending(AnyHandle, RemoteReading):
    """Inputs of one session, and the runs they start. See `engine.sending.Sending`."""

    async def prompt(
        self,
        prompt: Prompt,
        *,
        history: list[Message] | tuple[Message, ...] | None = None,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        output: Any = None,
        attachments: Attachments = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> RunId:
        """See `engine.sending.Sending.prompt`."""
        started = await self._prompt(prompt, history, context, key, sender, unattended, output, attachments, metadata)
        return RunId(started.run)

    async def _prompt(
        self,
        prompt: Prompt,
        history: list[Message] | tuple[Message, ...] | None,
        context: Any,
        key: str | None,
        sender: str | None,
        unattended: bool,
        output: Any,
        attachments: Attachments,
        metadata: Mapping[str, Any] | None,
    ) -> Started:
        self._check_open()
        no_context(context)
        own = new_key()
        body = {
            **await _content("prompt", prompt, attachments),
            "history": history,
            "sender": sender,
            "unattended": unattended,
            "output": self._form(output),
            "key": key or own,
            "metadata": input_metadata(metadata),
        }
        started = await self._post("/prompt", Started, body, key=own)
        self._asked_for(RunId(started.run), output)
        return started

    def _form(self, output: Any) -> OutputSpec | None:
        if output is None:
            return None
        own = self._config.spec.output
        return self._outputs.spec(output, None if own is None or isinstance(output, OutputSpec) else own.retries)

    def _asked_for(self, run: RunId, output: Any) -> None:
        """Keep in mind which type the answer of this run is to be of."""
        form = self._form(output)
        if form is not None:
            self._forms[run] = form
            while len(self._forms) > OWN_RUNS:
                del self._forms[next(iter(self._forms))]

    async def command(
        self,
        text: str,
        *,
        context: Any = None,
        key: str | None = None,
        sender: str | None = None,
        unattended: bool = False,
        output: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> CommandResult | None:
        """See `engine.sending.Sending.command`."""
        self._check_open()
        if parse(text) is None:
            return None
        no_context(context)
        user_content(text)
        own = new_key()
        body = {
            "text": text,
            "sender": sender,
            "unattended": unattended,
            "output": self._form(output),
            "key": key or own,
            "metadata": input_metadata(metadata),
        }
        executed = (await self._post("/command", Commanded, body, key=own)).executed
        if executed is not None and executed.run is not None:
            self._asked_for(executed.run, output)
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
        output: Any = None,
        commands: bool = True,
        attachments: Attachments = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Event | Delta]:
        """See `engine.sending.Sending.stream`."""
        self._check_open()
        head = (await self._row()).head
        # Connected before anything is sent, so that no delta is missed.
        feed = Feed(self._connection, self.id, head, deltas=True)
        try:
            await feed.connect()
            run, after = None, head
            if commands and isinstance(prompt, str) and history is None and not attachments:
                executed = await self.command(
                    prompt,
                    context=context,
                    key=key,
                    sender=sender,
                    unattended=unattended,
                    output=output,
                    metadata=metadata,
                )
                if executed is not None and executed.run is None:
                    yield Delta(self.id, "text", executed.id, text=executed.text, after=executed.seq - 1)
                    for event in (await self.events(executed.seq - 1))[:1]:
                        yield event
                    return
                if executed is not None:
                    run, after = executed.run, executed.seq - 1
                prompt = as_prompt(prompt)
            if run is None:
                started = await self._prompt(
                    prompt, history, context, key, sender, unattended, output, attachments, metadata
                )
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
        """See `engine.sending.Sending.wait`."""
        while True:
            path = f"{self._path}/result" if run is None else f"{self._path}/runs/{segment(run)}/result"
            answered = await self._connection.ask("GET", path, query={"wait_s": WAIT_S}, wait_s=WAIT_S)
            if answered.status_code == 202:
                run = msgspec.json.decode(answered.content, type=NotYet).run
                continue
            result = msgspec.json.decode(answered.content, type=RunResult)
            form = self._forms.get(result.run) or self._config.spec.output
            if form is not None and result.output is not None:
                result = replace(result, output=self._outputs.typed(form, result.output))
            return ended(result)

    async def steer(
        self,
        message: Prompt,
        *,
        mode: SteerMode | None = None,
        key: str | None = None,
        sender: str | None = None,
        attachments: Attachments = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> InputId:
        """See `engine.sending.Sending.steer`."""
        self._check_open()
        own = new_key()
        content = await _content("message", message, attachments)
        body = {**content, "mode": mode, "sender": sender, "key": key or own, "metadata": input_metadata(metadata)}
        return InputId((await self._post("/steer", Accepted, body, key=own)).input)

    async def follow_up(
        self,
        message: Prompt,
        *,
        key: str | None = None,
        sender: str | None = None,
        attachments: Attachments = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> InputId:
        """See `engine.sending.Sending.follow_up`."""
        self._check_open()
        own = new_key()
        content = await _content("message", message, attachments)
        body = {**content, "sender": sender, "key": key or own, "metadata": input_metadata(metadata)}
        return InputId((await self._post("/follow_up", Accepted, body, key=own)).input)

    async def continue_run(self, run: RunId | str) -> RunId:
        """See `engine.sending.Sending.continue_run`."""
        self._check_open()
        return RunId((await self._post(f"/runs/{segment(run)}/resume", Started)).run)


async def _content(field: str, prompt: Prompt, attachments: Attachments) -> dict[str, Any]:
    """The fields of a body that say the message. Paths are read here: the server never hears of one."""
    content = await with_attachments(prompt, attachments)
    if not attachments:
        return {field: content}
    files, words = content[: len(attachments)], content[len(attachments) :]
    return {field: words or "", "attachments": files}


def _ends(event: Event, run: RunId) -> bool:
    return event.type == "run.finished" and isinstance(event.data, RunFinished) and event.data.run == run
