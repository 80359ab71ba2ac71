"""Tools: which there are, and what clients are told of them. One for each agent, and those that work on sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from mcp_types import Tool, ToolAnnotations

from ..server.roster import Offered
from . import shapes
from .shapes import arguments_schema, schema_of


@dataclass(frozen=True)
class SessionTool:
    """`reads`: it changes nothing. `destroys`: what it does cannot be taken back. `idempotent`: again does nothing more."""

    title: str
    description: str
    takes: type[shapes.Takes]
    gives: type[msgspec.Struct]
    reads: bool = False
    destroys: bool = False
    idempotent: bool = False


SESSION_TOOLS: Mapping[str, SessionTool] = {
    "session_start": SessionTool(
        "Start a session",
        "Give an agent work to do in the background, in a new session, and return at once with the session's id. Wait for it"
        " with session_wait. To wait right away call the agent's own tool.",
        shapes.StartSession,
        shapes.RunView,
        destroys=True,
    ),
    "session_send": SessionTool(
        "Send to a session",
        "Say something to a session: a correction while it works (steer), something for afterwards (follow_up), or the next"
        " thing to do (prompt). Returns at once.",
        shapes.SendToSession,
        shapes.Sent,
        destroys=True,
    ),
    "session_wait": SessionTool(
        "Wait for a session",
        "Wait until a session's work is done, and return its last answer. While it waits for an approval, the person is"
        " asked where the client can do that.",
        shapes.WaitForSession,
        shapes.RunView,
        reads=True,
    ),
    "session_status": SessionTool(
        "Status of a session",
        "How a session stands now: its status, what it waits for, its last answer, what it has used.",
        shapes.OneSession,
        shapes.SessionStatus,
        reads=True,
    ),
    "session_list": SessionTool(
        "List sessions",
        "The sessions there are, newest activity first.",
        shapes.ListSessions,
        shapes.SessionList,
        reads=True,
    ),
    "session_transcript": SessionTool(
        "Transcript of a session",
        "What was said and done in a session, as Markdown; the end of it, if it is long.",
        shapes.SessionTranscript,
        shapes.TranscriptView,
        reads=True,
    ),
    "session_events": SessionTool(
        "Events of a session",
        "The log of a session, event by event. Go on with after = the seq of the last one.",
        shapes.SessionEvents,
        shapes.EventPage,
        reads=True,
    ),
    "session_interrupt": SessionTool(
        "Interrupt a session",
        "End what a session is doing now. It keeps what it has done, and can be given other work.",
        shapes.InterruptSession,
        shapes.Changed,
        destroys=True,
        idempotent=True,
    ),
    "session_actions": SessionTool(
        "What waits for an answer",
        "The approvals, questions and external calls that sessions wait for.",
        shapes.ListActions,
        shapes.ActionList,
        reads=True,
    ),
    "session_answer": SessionTool(
        "Answer a session",
        "Answer what a session waits for. Approve only what the person you work for has agreed to: the call is run then. The"
        " first answer counts.",
        shapes.AnswerAction,
        shapes.Changed,
        destroys=True,
        idempotent=True,
    ),
}
_TAKES = {name: arguments_schema(tool.takes) for name, tool in SESSION_TOOLS.items()}
_GIVES = {name: schema_of(tool.gives) for name, tool in SESSION_TOOLS.items()}
_ASK = arguments_schema(shapes.AskAgent)
_RUN = schema_of(shapes.RunView)


def session_tools() -> list[Tool]:
    return [
        Tool(
            name=name,
            title=tool.title,
            description=tool.description,
            input_schema=_TAKES[name],
            output_schema=_GIVES[name],
            annotations=ToolAnnotations(
                title=tool.title,
                read_only_hint=tool.reads,
                destructive_hint=tool.destroys,
                idempotent_hint=tool.idempotent or tool.reads,
                # What an agent does with what it is told may lead anywhere.
                open_world_hint=not (tool.reads or name == "session_interrupt"),
            ),
        )
        for name, tool in SESSION_TOOLS.items()
    ]


def agent_tool(name: str, agent: Offered) -> Tool:
    about = agent.description.strip() or f"The agent {agent.title}."
    how = "It works in a session of its own, knows only what the prompt says, and answers when it is done."
    return Tool(
        name=name,
        title=agent.title,
        description=f"{about}\n\n{how}",
        input_schema=_ASK,
        output_schema=_RUN,
        annotations=ToolAnnotations(
            title=agent.title, read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
        ),
    )
