"""`godwit demo`: a small project with a failing test, mended by a real run whose model is a recording.

Only the answers are recorded. The session, its log, the tools, the edit, the tests and the approval are real, so it can be
killed, followed and steered like any other. The recording (`demo/recording.jsonl`, made by scripts/record-demo) also holds
the answers for a run that was killed while a tool ran or whose commands were denied; requests are matched by what was called
and how it ended, not by what the tools printed.

Rules: nothing here may make the demo look better than the runtime is. What the recording does not cover ends the run as
failed, with a word on how to go on.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.events import ActionOpened, RunFinished, UserAnswer
from ..core.facts import PendingAction
from ..core.ids import ActionId
from ..engine.session import Session
from .cli_agent import AgentFlags
from .cli_answers import Answer, Answerer, Everything
from .cli_exit import DONE, FAILED, INTERRUPTED, PARKED, CliError
from .cli_keyboard import interactive
from .cli_place import DEFAULT_DATABASE, Place, newest_of, program
from .cli_run import Run
from .cli_view import View

if TYPE_CHECKING:
    from ..host.agents import Agent
    from ..host.runtime import Runtime

DATA = Path(__file__).parent / "demo"
RECORDING = DATA / "recording.jsonl"
PROMPT = "One test of this project fails. Find out why, mend it, and show that all tests pass."
COMMAND = "python -m pytest -q"
INSTRUCTIONS = """\
You are a software engineer who works in a small Python project through tools. Look at the files before you change them,
change as little as needed, and run the tests with `python -m pytest -q`. When the outcome of a call is unknown, find out
before you repeat it. Answer in a few plain sentences.
"""


def agent(model: str) -> Agent:
    """The demo's agent: files and commands, the latter only after a person agreed."""
    from ..host.agents import Agent

    return Agent("demo", model=model, instructions=INSTRUCTIONS, tools=["files", "bash"], permissions={"bash": "ask"})


def lay(folder: Path) -> None:
    """Write the project with its failing test into the folder; other files there are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((DATA / "project").glob("*.txt")):
        (folder / source.name.removesuffix(".txt")).write_text(source.read_text())


def environment(folder: Path) -> dict[str, str]:
    """Variables for the session's commands: `python` is the interpreter godwit runs on, and pytest leaves no traces."""
    programs = folder.resolve() / DEFAULT_DATABASE.parent / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    shim = programs / "python"
    # A script and not a link: a virtual environment is known by the path its interpreter is started with.
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    shim.chmod(0o755)
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


class DemoAnswerer:
    """Asks the person once; the same command is not asked again. Without a terminal it approves, and says so."""

    def __init__(self, view: View, person: Answerer | None) -> None:
        self._view = view
        self._person = person
        self.session: Session | None = None

    async def answer(self, action: PendingAction, folder: str | None) -> Answer | None:
        if self._person is None:
            self._view.say("  no terminal to ask at: the demo approves this call itself", "yellow")
            return Answer("approve")
        if await self._approved_before(action):
            self._view.say("  the same call was approved before: approved")
            return Answer("approve")
        return await self._person.answer(action, folder)

    async def _approved_before(self, action: PendingAction) -> bool:
        assert self.session is not None
        same: set[ActionId] = set()
        for event in await self.session.events():
            match event.data:
                case ActionOpened() as data if (data.name, data.arguments) == (action.name, action.arguments):
                    same.add(data.action)
                case UserAnswer(decision="approve", arguments=None, action=answered) if answered in same:
                    return True
                case _:
                    pass
        return False


async def demo(folder: Path, *, model: str | None, live: bool, pace_s: float, fresh: bool, yes: bool, as_json: bool) -> int:
    """Run it, or go on with the run that was cut off, and check by hand that the tests pass in the end."""
    if importlib.util.find_spec("pytest") is None:
        raise CliError(
            f"the demo runs real tests and {sys.executable} has no pytest",
            hint=f"{sys.executable} -m pip install pytest",
            code="configuration",
        )
    if live and model is None:
        raise CliError("--live asks a real model, and none is chosen", hint="use -m provider:model or set GODWIT_MODEL")
    place = Place(folder / DEFAULT_DATABASE, named=True, folder_files=False)
    if folder.is_dir() and any(folder.iterdir()) and not place.exists():
        raise CliError(
            f"{folder} holds something else; the demo does not write there", hint="choose another folder with --dir"
        )
    command = Run(place, AgentFlags(), folder, yes=yes, as_json=as_json, replay=RECORDING, pace_s=pace_s)
    person = command.answerer if interactive() and not as_json and not yes else None
    answerer = DemoAnswerer(command.view, person)
    command.files = False  # which were not there when it was recorded
    command.hints = False  # the session's model is a recording: other commands could not go on with it
    command.answerer = Everything() if yes else answerer
    folder.mkdir(parents=True, exist_ok=True)
    async with place.open(make=True, models=command.models.registry) as runtime:
        found = await newest_of(runtime, folder)
        unfinished = found is not None and found.run is not None
        if found is not None and unfinished and fresh:
            await runtime.archive(found.id)
        environment(folder)
        if found is not None and unfinished and not fresh:
            handle = answerer.session = await runtime.open_session(found.id, drive=False)
            if handle.model != command.models.replayed:
                command.models.replayed = None  # it was begun with --live, and goes on with the same model
            _welcome(command.view, place, handle, folder)
            code = await command.go_on(runtime, found)
        else:
            lay(folder)
            handle = answerer.session = await _new(runtime, command, folder, model if live else None)
            _welcome(command.view, place, handle, folder)
            head = await runtime.head(handle.id)
            code = await command.foreground(handle, await handle.prompt(PROMPT, sender="demo"), head)
        if code == PARKED:
            command.view.say("parked: it waits for your answer; run the same command again to give it", "yellow")
        if code == INTERRUPTED:
            command.view.say("interrupted: run the same command again to start over", "yellow")
        if code == FAILED:
            await _explain(command.view, handle)
        if code != DONE:
            return code
        return await _farewell(command.view, place, handle, folder)


async def _new(runtime: Runtime, command: Run, folder: Path, model: str | None) -> Session:
    name = model or command.models.replayed
    assert name is not None
    command.models.registry.resolve(name)  # a missing key is told before anything is stored
    return await runtime.start_session(
        agent(name), workspace=folder, environment=environment(folder), name="demo: mend the failing test"
    )


def _welcome(view: View, place: Place, handle: Session, folder: Path) -> None:
    view.say(
        f"godwit demo in {folder}: the model's answers are recorded; files, commands, tests and the log are real.", "bold"
    )
    view.say(f"  kill it any time:  kill -9 {os.getpid()}    then run the same command again: it goes on from where it was")
    view.say(f"  watch it elsewhere:  {place.command('log', handle.id, '--follow')}")
    view.say(f"> {PROMPT}", "bold")


async def _explain(view: View, handle: Session) -> None:
    """The recording cannot answer everything a person may do."""
    last = [e.data for e in await handle.events() if isinstance(e.data, RunFinished)][-1]
    if last.error is not None and last.error.code == "replay_mismatch":
        view.say(
            f"The recording has no answer to what happened here. Start over with {program()} demo --fresh, or let a real",
            "yellow",
        )
        view.say(f"model answer: {program()} demo --live -m provider:model", "yellow")


async def _farewell(view: View, place: Place, handle: Session, folder: Path) -> int:
    """Run the tests once more, outside the session, and say what can be done next."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q"),
        cwd=folder,
        env={**os.environ, **environment(folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    last = (output.decode(errors="replace").strip().splitlines() or [""])[-1]
    if process.returncode != 0:
        raise CliError(f"the tests do not pass in {folder}: {last}", code="demo_failed", exit_code=FAILED)
    view.say(f"checked outside the session: {last}", "green")
    again = "" if folder == Path("godwit-demo") else f" --dir {shlex.quote(os.fspath(folder))}"
    for line in (
        "next:",
        f"  the whole log       {place.command('log', handle.id)}",
        f"  follow one live     {place.command('log', 'last', '--follow')}",
        f"  kill one and go on  {program()} demo{again} --pace 1, then kill -9 its process, then the same command again",
        f"  with a live model   {program()} demo{again} --live -m anthropic:claude-sonnet-4-5",
    ):
        view.say(line)
    return DONE
