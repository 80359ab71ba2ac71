"""Built-in agents: what any agent may hand tasks to by name, without writing an agent of its own.

Owns their instructions and what they are allowed. Each works with the models of the agent that gives the task, in its
folder, under its rules as well. Rules: none hands tasks on; those that are to look only cannot write, since their tools are
limited and not just their instructions.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.agent import AgentSpec, Limits
from ..core.ids import AgentName
from ..core.narrowing import INHERIT
from ..core.rules import Permissions
from ..core.worker_agents import CHECKS_ONLY, LOOK, LOOKS_ONLY

_COMMON = (
    "You work on one task for another agent. Nobody reads along, and you cannot ask back. Your last message is all that it"
    " gets: say there what it needs, with file names, lines and numbers, and what you are not sure of."
)


def _agent(
    name: str, description: str, instructions: str, tools: tuple[str, ...], permissions: Permissions, turns: int
) -> AgentSpec:
    return AgentSpec(
        AgentName(name),
        (INHERIT,),
        f"{instructions} {_COMMON}",
        description,
        tools,
        permissions=permissions,
        limits=Limits(max_turns=turns),
    )


_AGENTS = (
    _agent(
        "explore",
        "Finds things out in files: where something is, how it works. Changes nothing.",
        "You find things out. You look and read, and change nothing.",
        (*LOOK, "bash"),
        LOOKS_ONLY,
        20,
    ),
    _agent(
        "general",
        "Does a piece of work with files and commands, of any kind.",
        "You do the work that you are asked for, fully and no more.",
        ("files", "bash"),
        Permissions(),
        50,
    ),
    _agent(
        "plan",
        "Works out how something could be done, step by step. Changes nothing.",
        "You work out a plan: read what matters, weigh the ways, and write the steps of the best in order, with the files"
        " each touches and how to see that it is done. You change nothing.",
        (*LOOK, "bash"),
        LOOKS_ONLY,
        30,
    ),
    _agent(
        "review",
        "Reads a change and tells what is wrong with it. Changes nothing.",
        "You review a change. Look for what is wrong: mistakes, cases left out, holes, things that will hurt later. Give"
        " each with its place and why, the worst first. Do not praise, and do not mend anything.",
        (*LOOK, "bash"),
        LOOKS_ONLY,
        25,
    ),
    _agent(
        "verify",
        "Runs tests and checks and tells what they came to. Writes no files itself.",
        "You find out whether something holds: run the tests and checks that show it, and tell what they printed. You mend"
        " nothing.",
        (*LOOK, "bash", "verify"),
        CHECKS_ONLY,
        30,
    ),
)
BUILTIN_AGENTS: Mapping[str, AgentSpec] = {agent.name: agent for agent in _AGENTS}
"""By name."""
ALIASES: Mapping[str, str] = {
    "general-purpose": "general",
    "verification": "verify",
    "verifier": "verify",
    "reviewer": "review",
    "code-review": "review",
    "planner": "plan",
}
"""Other names for them (seed 001)."""
