"""Sending: the part of a session's handle that gives it work, by prompts, slash commands and messages, and waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.agent import SteerMode
from ..core.attachments import Attachments
from ..core.errors import KeyReused, NoOpenRun
from ..core.events import Delta, Event, RunFinished
from ..core.facts import CommandResult, Prompt, SlashCommand
from ..core.ids import InputId, RunId, Seq, TaskId
from ..core.json_values import input_metadata
from ..core.messages import Message, Text, UserBlock
from ..core.output import OutputSpec
from ..core.record import RunResult
from ..core.senders import check_sender
from .attaching import with_attachments
from .commands import Command, CommandRegistry, as_prompt
from .handles import AnyHandle, ended
from .log import load_state, load_transcript
from .reading import Reading
from .typed_commands import TypedCommands

OWN_RUNS = 16
"""Runs whose beginning a handle keeps in mind, so that waiting for them needs no search."""


class Sending(AnyHandle, Reading):
    """Inputs of one session, and the runs they start."""

    _typed: TypedCommands

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
        """Send a prompt and return the run's id at once; the work goes on beside. Errors as for `send`.

        What begins with a slash is a prompt here like any other.
        """
        self._check_open()
        given = None if history is None else tuple(history)
        form = self._form(output)
        content = await self._content(prompt, attachments, history=given)
        run, appended = await self._inbox.prompt(
            content, history=given, key=key, sender=sender, unattended=unattended, output=form, metadata=metadata
        )
        self._started(run, appended.first - 1, context)
        return run

    async def prompt_for_task(
        self, task: TaskId, prompt: str, *, unattended: bool = False, output: OutputSpec | None = None
    ) -> RunId:
        """What a subagent is asked, by the task that it is asked for; said again nothing changes. Errors as for `send`."""
        self._check_open()
        content = await self._content(prompt)
        run, appended = await self._inbox.prompt(content, key=task, unattended=unattended, output=output, task=task)
        self._started(run, appended.first - 1, None)
        return run

    async def _content(
        self,
        prompt: Prompt,
        attachments: Attachments = (),
        *,
        open_run: bool = False,
        history: Sequence[Message] | None = None,
    ) -> tuple[UserBlock, ...]:
        """A message as it will be recorded: its files are read and fetched, and its model takes them."""
        content = await self._home.fetched(await with_attachments(prompt, attachments))
        await self._check_content(content, open_run=open_run, history=history)
        return content

    async def _check_content(
        self, content: Sequence[UserBlock], *, open_run: bool = False, history: Sequence[Message] | None = None
    ) -> None:
        """AttachmentRefused for what the model of the next run, or that of the open one, is known not to take: what was said
        to another model is told of in words, but what is said to this one was meant to be seen."""
        if not self._drives or all(isinstance(block, Text) for block in content):
            return
        state = await load_state(self._store, self.id)
        chosen = state.run.model if open_run and state.run is not None else state.model
        before = (await load_transcript(self._store, self.id)).messages if history is None else history
        await self._home.check_content(chosen or self._spec.models[0], content, before)

    def _form(self, output: Any) -> OutputSpec | None:
        """What was given as the form of an answer, with the agent's number of tries where it says none."""
        if output is None:
            return None
        own = self._spec.output
        retries = None if own is None or isinstance(output, OutputSpec) else own.retries
        return self._home.parts.outputs.spec(output, retries)

    def _started(self, run: RunId, after: Seq, context: Any) -> None:
        """A run was started here, by events behind `after`."""
        self._own_runs[run] = after
        while len(self._own_runs) > OWN_RUNS:
            del self._own_runs[next(iter(self._own_runs))]
        self._home.guards.begin(self.id, run)
        self._home.started(self.id, run, context)
        if self._token.cancelled:
            # The token was fired while the prompt was being stored: nobody could know of this run then.
            self._home.cut(self.id, run)
        self._wake()

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
        """Run the slash command that this text is; None when it is a prompt, and then nothing was done.

        The model is never asked, also not for an unknown name, which is answered with help. A command that turns into a
        prompt (one from a Markdown file, say) has started a run when this returns. What it answered is recorded as
        `command.executed` and stays out of the transcript. `key`: under a key that was used, the first answer comes again.
        `metadata`: of the message, where the command turns into a prompt.
        SessionBusy while a run is open, unless the command is safe then; SessionClosed, SessionArchived, InvalidArgument.
        """
        self._check_open()
        check_sender(sender)  # before anything is carried out
        told = input_metadata(metadata)
        form = self._form(output)
        done = await self._typed.run(text, key=key, sender=sender, unattended=unattended, form=form, metadata=told)
        if done is not None and done.run is not None:
            self._started(done.run, done.seq - 1, context)
        return done

    def command_registry(self) -> CommandRegistry:
        """The session's slash commands, as a copy: changing it changes nothing here (seed 001). Its `refresh` reads command
        files again."""
        return self._typed.registry.copy()

    async def slash_commands(self) -> list[SlashCommand]:
        """The session's slash commands by name, those of files as they are now."""
        registry = await self._typed.registry.copy().refreshed()
        return [SlashCommand(c.name, c.description, c.usage, c.safe, c.source) for c in registry.commands()]

    def register_command(self, command: Command) -> None:
        """Add a slash command to this handle; one of the same name is replaced. SessionClosed."""
        self._check_open()
        self._typed.registry.register(command)

    def unregister_command(self, name: str) -> Command | None:
        """Take a registered command out and return it, None when there is none. SessionClosed."""
        self._check_open()
        return self._typed.registry.unregister(name)

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
        """Send a prompt and yield the run's events, with deltas between them, until it ends.

        Leaving the loop does not stop the run. A failed run ends with its `run.finished`; nothing is raised for it.
        A slash command, see `send`, yields one delta with the whole of its text and then its event.
        """
        run: RunId | None = None
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
                for event in self._labelled(await self._store.read(self.id, executed.seq - 1, to_seq=executed.seq)):
                    yield event
                return
            run = None if executed is None else executed.run
            prompt = as_prompt(prompt)
        if run is None:
            run = await self.prompt(
                prompt,
                history=history,
                context=context,
                key=key,
                sender=sender,
                unattended=unattended,
                output=output,
                attachments=attachments,
                metadata=metadata,
            )
        async for item in self.watch(self._own_runs.pop(run)):
            yield item
            if isinstance(item, Event) and isinstance(item.data, RunFinished) and item.data.run == run:
                return

    async def wait(self, run: RunId | str | None = None) -> RunResult:
        """Wait until that run, or the open one, has ended; at once when it has. NoOpenRun when there never was any,
        RunNotFound for an id the session does not know.

        Raises RunFailed for a failed run, and whatever stopped this process from driving it (a full disk, say); waiting
        again tries again.
        """
        if self._drives and self._home.failure(self.id) is not None:
            self._wake()
        if run is None:
            run = (await self._store.session(self.id)).run or (await load_state(self._store, self.id)).last_run
        if run is None:
            raise NoOpenRun("this session has not run yet")
        start = self._own_runs.pop(RunId(run), None)
        if start is None:
            start = await self._runs.start_of(RunId(run))
        result = await self._runs.result(await self._finished(RunId(run), start), start)
        if result.output is not None:
            form = await self._runs.form_of(start) or self._spec.output
            if form is not None:
                result = replace(result, output=self._home.parts.outputs.typed(form, result.output))
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
        """Put a message into the open run at its next boundary. NoOpenRun when none is open.

        `mode`: `skip` skips the turn's calls that have not started, `batch` lets them all run first; by default as
        configured (`skip` unless changed).
        """
        self._check_open()
        content = await self._content(message, attachments, open_run=True)
        chosen = mode or (await load_state(self._store, self.id)).steer_mode
        try:
            input_id, _ = await self._inbox.steer(content, chosen, key=key, sender=sender, metadata=metadata)
        except KeyReused:
            if mode is not None:
                raise
            # The same call under the same key stays the same, also when the default has changed in between.
            other: SteerMode = "batch" if chosen == "skip" else "skip"
            input_id, _ = await self._inbox.steer(content, other, key=key, sender=sender, metadata=metadata)
        self._wake()
        return input_id

    async def follow_up(
        self,
        message: Prompt,
        *,
        key: str | None = None,
        sender: str | None = None,
        attachments: Attachments = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> InputId:
        """Queue a message for when nothing else is left to do. On an idle session that is now."""
        self._check_open()
        content = await self._content(message, attachments, open_run=True)
        input_id, _ = await self._inbox.follow_up(content, key=key, sender=sender, metadata=metadata)
        self._wake()
        return input_id

    async def continue_run(self, run: RunId | str) -> RunId:
        """`resume_run` that returns the new run's id at once; the work goes on beside. Errors as there."""
        self._check_open()
        new = await self._runs.resume(RunId(run), self._inbox, self._home.ids)
        self._home.started(self.id, new, None)
        self._wake()
        return new
