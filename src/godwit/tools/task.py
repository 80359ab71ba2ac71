"""The tools of an agent that has subagents: hand tasks to them, and see to those in the background.

Leaves out how a task is done: `task` only says what is asked of whom, and the engine hands it over (`GivesTasks`). Rule: the
definitions follow from the agent's subagents alone, so that the prompt's prefix stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..contracts import Tool, ToolContext, ToolOutput, ToolTraits
from ..core.agent import ToolDefinition
from ..core.errors import InvalidToolArguments
from ..core.ids import TaskId
from ..core.rules import Subject
from ..core.tasks import MOST_TASKS, TaskRecord, TaskRequest
from .schema import inlined
from .typed import Arguments, TypedTool, told

WAIT_S = 600.0
"""How long `task_wait` waits at most."""

Agent = Annotated[str, Meta(description="The subagent that is to do it.")]
Prompt = Annotated[str, Meta(description="What it is to do: all that it needs to know, since it knows nothing of this.")]
Description = Annotated[str, Meta(description="The task in a few words.")]
Turns = Annotated[int, Meta(ge=1, description="How many turns it may take at most.")]
OutputSchema = Annotated[dict[str, Any], Meta(description="A JSON schema: the answer is to be data that fits it.")]
Continued = Annotated[
    str,
    Meta(
        description="The id of an ended task: the same subagent goes on with all that it knows from it. Without max_turns."
    ),
]


class One(Arguments, frozen=True):
    """One of several tasks."""

    agent: Agent
    prompt: Prompt
    description: Description = ""
    max_turns: Turns | None = None
    output_schema: OutputSchema | None = None
    continue_task: Continued | None = None


class TaskArguments(Arguments, frozen=True):
    """One task, or several in `tasks`."""

    agent: Agent | None = None
    prompt: Prompt | None = None
    description: Description = ""
    max_turns: Turns | None = None
    output_schema: OutputSchema | None = None
    continue_task: Continued | None = None
    tasks: Annotated[list[One], Meta(max_length=MOST_TASKS, description="Several tasks, done side by side.")] = (
        msgspec.field(default_factory=list)
    )
    background: Annotated[bool, Meta(description="Go on at once; a message tells of its end.")] = False


class Task(TypedTool[TaskArguments]):
    """Hands tasks to subagents. `agents`: what each is for, by name."""

    name = "task"
    traits = ToolTraits(delegates=True)
    arguments = TaskArguments

    def __init__(self, agents: Mapping[str, str]) -> None:
        self._agents = dict(agents)

    @cached_property
    def definition(self) -> ToolDefinition:
        names = "\n".join(f"- {name}: {what}" for name, what in self._agents.items())
        text = (
            "Hand a task to a subagent, which works on its own, in the same folder, and answers once. Use it for work that"
            " can be done apart, and for several such things side by side (`tasks`): answers come in the order of the tasks."
            " To ask the same one again, name its ended task (`continue_task`): its id stands in brackets with each answer."
            f"\n\nSubagents:\n{names}"
        )
        schema = inlined(msgspec.json.schema(TaskArguments))
        for place in (schema["properties"], schema["properties"]["tasks"]["items"]["properties"]):
            place["agent"] = {"type": "string", "enum": list(self._agents), "description": "The subagent that is to do it."}
        return ToolDefinition(self.name, text, schema)

    def validate(self, arguments: dict[str, Any]) -> None:
        given = self.checked(arguments)
        single = given.agent is not None or given.prompt is not None
        if single == bool(given.tasks):
            self._refuse("tasks" if single else "agent", "give either agent and prompt, or tasks")
        if single and (given.agent is None or given.prompt is None):
            missing = "agent" if given.agent is None else "prompt"
            self._refuse(missing, f"parameter {missing!r} is missing")
        for one in self._ones(given):
            if one.agent not in self._agents:
                self._refuse("agent", f"there is no subagent {one.agent!r}; there are {', '.join(self._agents)}")
            if not one.prompt.strip():
                self._refuse("prompt", "the prompt is empty: what is the subagent to do?")
            if one.continue_task is not None and one.max_turns is not None:
                self._refuse("max_turns", "the subagent of continue_task keeps the turns that it began with")

    def _refuse(self, parameter: str, problem: str) -> None:
        raise InvalidToolArguments(
            f"invalid arguments for tool {self.name!r}: {problem}", tool=self.name, parameter=parameter
        )

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """Rules name subagents: `task(explore)`. Several are one text, so that a rule for one does not let others pass."""
        return Subject("text", " ".join(sorted({one.agent for one in self._ones(self.checked(arguments))})))

    def requests(self, arguments: dict[str, Any]) -> tuple[Sequence[TaskRequest], bool]:
        given = self.checked(arguments)
        asked = [
            TaskRequest(
                one.agent,
                one.prompt,
                one.description,
                one.max_turns,
                one.output_schema,
                None if one.continue_task is None else TaskId(one.continue_task),
            )
            for one in self._ones(given)
        ]
        return asked, given.background

    def _ones(self, given: TaskArguments) -> list[One]:
        if given.tasks:
            return given.tasks
        return [
            One(
                given.agent or "",
                given.prompt or "",
                given.description,
                given.max_turns,
                given.output_schema,
                given.continue_task,
            )
        ]


class NoArguments(Arguments, frozen=True):
    """It takes none."""


class TaskList(TypedTool[NoArguments]):
    name = "task_list"
    description = "List the tasks that were handed to subagents, with what has become of each."
    traits = ToolTraits(bound=True, read_only=True, repeatable=True)
    arguments = NoArguments

    async def work(self, arguments: NoArguments, context: ToolContext) -> ToolOutput:
        found = await context.tasks.all()
        lines = [_line(record) for record in found]
        return told("\n".join(lines) or "There are no tasks.", {"tasks": [record.id for record in found]})


class WaitArguments(Arguments, frozen=True):
    tasks: Annotated[list[str], Meta(min_length=1, description="Ids of tasks.")]
    timeout_s: Annotated[float, Meta(gt=0, le=WAIT_S, description="Seconds to wait at most.")] = 60.0


class TaskWait(TypedTool[WaitArguments]):
    name = "task_wait"
    description = "Wait for tasks in the background, and return their answers."
    traits = ToolTraits(bound=True, read_only=True, repeatable=True, timeout_s=WAIT_S + 30)
    arguments = WaitArguments

    async def work(self, arguments: WaitArguments, context: ToolContext) -> ToolOutput:
        found = await context.tasks.wait(arguments.tasks, arguments.timeout_s)
        await context.tasks.read([record.id for record in found if not record.pending])
        texts = [f"{_line(record)}\n{record.output or ''}".rstrip() for record in found]
        facts = {"tasks": [{"task": record.id, "status": record.status} for record in found]}
        return told("\n\n".join(texts), facts)


class OneTask(Arguments, frozen=True):
    task: Annotated[str, Meta(description="The task's id.")]


class TaskOutput(TypedTool[OneTask]):
    name = "task_output"
    description = "Read what a subagent has answered, or said last if it still works."
    traits = ToolTraits(bound=True, read_only=True, repeatable=True)
    arguments = OneTask

    async def work(self, arguments: OneTask, context: ToolContext) -> ToolOutput:
        text = await context.tasks.output(arguments.task)
        return told(text or "(nothing yet)", {"task": arguments.task, "characters": len(text)})


class TaskCancel(TypedTool[OneTask]):
    name = "task_cancel"
    description = "End a task, with all that works for it."
    traits = ToolTraits(bound=True, repeatable=True)
    arguments = OneTask

    async def work(self, arguments: OneTask, context: ToolContext) -> ToolOutput:
        if await context.tasks.cancel(arguments.task, "the agent that gave it has cancelled it"):
            return told(f"Task {arguments.task} is cancelled.", {"cancelled": True})
        return told(f"Task {arguments.task} had ended already, or there is none.", {"cancelled": False})


def task_tools(agents: Mapping[str, str]) -> list[Tool]:
    """The tools of an agent with these subagents: what each is for, by name."""
    return [Task(agents), TaskList(), TaskWait(), TaskOutput(), TaskCancel()]


def _line(record: TaskRecord) -> str:
    what = f" ({record.description})" if record.description else ""
    return f"{record.id} {record.agent}{what}: {record.status}"


__all__ = ["Task", "TaskArguments", "task_tools"]
