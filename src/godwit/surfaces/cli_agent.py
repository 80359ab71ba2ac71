"""The agent and the models behind the flags of `run` and `chat`.

The flags describe a new session's agent; a session that goes on keeps the one it was started with, except for its model,
its thinking level and its name, which are settings of the session. The default prompt holds nothing of this machine, so a
recording made here replays elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import msgspec

from ..core.agent import AgentRef, AgentSpec, Limits, Permissions, ThinkingLevel, variant_of
from ..core.budget import Budget, budgets_of
from ..core.sandbox import Backend, SandboxPolicy
from ..core.verification import VerificationPolicy, commands_of
from .cli_agents import held
from .cli_exit import CliError

if TYPE_CHECKING:
    from ..host.agents import Agent
    from ..models.registry import Registry

DEFAULT_AGENT = "coder"
"""The name of the agent that the flags describe."""
ASKED_BY_DEFAULT = (
    "bash",
    *(f"{tool}(**/{folder}/**)" for tool in ("write", "edit", "patch") for folder in (".git", ".godwit")),
    *(f"{tool}(**/.mcp.json)" for tool in ("write", "edit", "patch")),
)
"""A person allows each command, unless `--allow bash` or `--yes` says otherwise: a sandbox does not keep the workspace. And
each change where git and godwit look for commands, of MCP servers too: what is written there may be run by the next command
that was allowed, or as the next session begins."""

DEFAULT_TOOLS = "files,bash,todo,goal"
"""Without `ask_user`: where nobody is at a terminal a question would park the run, and an agent that has it only where
somebody is could not be replayed from there."""
INSTRUCTIONS = """\
You are a software engineer who works in a folder of the user's through tools.

How to work:
- Look before you change: find the files that matter with ls, glob and grep, and read them. Do not guess what they hold.
- Change as little as the task needs, in the style of the code around it. Prefer edit; write whole files only when new.
- Paths are relative to the workspace.
- After a change, check it: run the tests or the program with bash, and read what they say. Go on until they pass, or until
  you know why they cannot.
- When a tool result says that its outcome is unknown, look at the state of things before you repeat the call.
- When a call is denied, do not try it in another form; take the reason given into account.
- Never claim that something works unless you have seen it work here.

How to answer: short and plain. At the end say in a few sentences what you changed, how you checked it, and what is left.
"""


@dataclass(frozen=True)
class AgentFlags:
    """What was asked for; None and empty mean "not given"."""

    model: str | None = None
    tools: str | None = None
    instructions: str | None = None
    ask: Sequence[str] = ()
    deny: Sequence[str] = ()
    allow: Sequence[str] = ()
    max_turns: int | None = None
    thinking: str | None = None
    name: str | None = None
    verify: bool = False
    verify_commands: Sequence[str] = ()
    budget: Budget | None = None
    sandbox: str | None = None
    network: bool = False
    allowed_hosts: Sequence[str] = ()
    agent_name: str | None = None
    mode: str | None = None
    goal: str | None = None
    max_nudges: int | None = None

    def fixed_at_start(self) -> list[str]:
        """Flags given that only a new session can take."""
        given = {
            "--tools": self.tools,
            "--instructions": self.instructions,
            "--ask": self.ask,
            "--deny": self.deny,
            "--allow": self.allow,
            "--max-turns": self.max_turns,
            "--max-nudges": self.max_nudges is not None,
            "--verify": self.verify,
            "--verify-command": self.verify_commands,
            "--sandbox": self.sandbox,
            "--network": self.network,
            "--allow-host": self.allowed_hosts,
            "--agent": self.agent_name,
        }
        return [flag for flag, value in given.items() if value]

    def agent(self, model: str, subagents: Sequence[AgentSpec] = ()) -> Agent:
        """The agent of a new session."""
        from ..host.agents import Agent

        return Agent(
            DEFAULT_AGENT,
            model=model,
            instructions=self._instructions(),
            tools=self._tools(),
            permissions=self.permissions(),
            verification=self._verification(),
            budget=self.budget,
            sandbox=self._sandbox(),
            limits=Limits(max_turns=self.max_turns) if self.max_turns is not None else None,
            nudges=self.max_nudges,
            thinking=thinking_level(self.thinking),
            subagents=subagents,
        )

    def named(self, spec: AgentSpec, model: str) -> AgentSpec:
        """An agent that was asked for by its name, for a new session. CliError for flags that say what it says itself."""
        said = {"--tools": self.tools, "--instructions": self.instructions}
        if wrong := [flag for flag, value in said.items() if value is not None]:
            raise CliError(f"--agent {spec.name} says what {' and '.join(wrong)} would say: leave out one of them")
        made = held(spec, self.permissions(), ASKED_BY_DEFAULT[1:])
        from ..host.agents import nudges_of

        thinking, verification = thinking_level(self.thinking), self._verification()
        limits = made.limits
        if self.max_turns is not None:
            limits = msgspec.structs.replace(limits, max_turns=self.max_turns)
        made = msgspec.structs.replace(
            made,
            models=(model,),
            limits=limits,
            settings=made.settings if thinking is None else msgspec.structs.replace(made.settings, thinking=thinking),
            verification=verification or made.verification,
            budgets=budgets_of(self.budget) if self.budget is not None else made.budgets,
            sandbox=self._sandbox(),
            nudges=made.nudges if self.max_nudges is None else nudges_of(self.max_nudges),
        )
        # Under a name of its own, so that no stored agent of this name becomes another.
        return variant_of(AgentRef(spec.name, 0), made)

    def _tools(self) -> list[str]:
        names = [name.strip() for name in (self.tools if self.tools is not None else DEFAULT_TOOLS).split(",")]
        return [name for name in names if name]

    def permissions(self) -> Permissions:
        asked = [name for name in (*ASKED_BY_DEFAULT, *self.ask) if name not in self.allow]
        return Permissions(tuple(self.allow), tuple(dict.fromkeys(asked)), tuple(self.deny))

    def _sandbox(self) -> SandboxPolicy:
        name = self.sandbox or "auto"
        if name not in get_args(Backend):
            raise CliError(f"sandbox {name!r} is none of {', '.join(get_args(Backend))}")
        if self.network and self.allowed_hosts:
            raise CliError("--network reaches every host, and --allow-host those it names: leave out one of them")
        hosts = tuple(self.allowed_hosts)
        return SandboxPolicy(backend=cast("Backend", name), network=self.network, allowed_hosts=hosts)

    def _verification(self) -> VerificationPolicy | None:
        if not self.verify and not self.verify_commands:
            return None
        return VerificationPolicy(commands_of(list(dict.fromkeys(self.verify_commands))), self.verify)

    def _instructions(self) -> str:
        given = self.instructions
        if given is None:
            return INSTRUCTIONS
        if not given.startswith("@"):
            return given
        try:
            return Path(given[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"cannot read the instructions from {given[1:]!r}: {error}") from None


def thinking_level(text: str | None) -> ThinkingLevel | None:
    if text is None:
        return None
    if text not in get_args(ThinkingLevel):
        raise CliError(f"thinking level {text!r} is none of {', '.join(get_args(ThinkingLevel))}")
    return cast("ThinkingLevel", text)


class Models:
    """The registry of one command: the providers, a recording in their place, or a recorder in front of one."""

    def __init__(
        self,
        *,
        record: Path | None = None,
        replay: Path | None = None,
        pace_s: float = 0.0,
        folder: Path | None = None,
    ) -> None:
        if record is not None and replay is not None:
            raise CliError("--record and --replay exclude each other")
        self._folder = folder
        self._registry: Registry | None = None
        self._record = record
        self._old = record if record is not None and record.exists() and record.stat().st_size > 0 else None
        self.replayed: str | None = None
        """The name of the recorded model, which takes the place of the one of that name."""
        if replay is not None:
            from ..models.replay import RecordedModel

            recorded = RecordedModel(replay, pace=1.0 if pace_s else 0.0, interval_s=pace_s)
            self.replayed = recorded.name
            self.registry.register(recorded.name, recorded)

    @property
    def registry(self) -> Registry:
        """What the configuration files for the folder and the environment say. ConfigurationError."""
        if self._registry is None:
            from ..host.configured import registry_of
            from .cli_settings import load

            self._registry = registry_of(load(os.fspath((self._folder or Path(".")).resolve())))
        return self._registry

    def choose(self, flag: str | None, known: str | None = None) -> str:
        """The model to use: the recorded one, the flag's (which holds GODWIT_MODEL), or the session's own.

        Resolves it, so that a wrong name or a missing key is told before anything is stored. CliError without any.
        """
        name = self.replayed or flag or known
        if name is None:
            raise CliError(
                "no model is chosen", hint="use -m provider:model or set GODWIT_MODEL; godwit doctor lists providers"
            )
        name = self.canonical(name)
        self.check(name)
        return name

    def canonical(self, name: str) -> str:
        """The model that a name or hint means. ModelNotFound."""
        return self.registry.canonical(name)

    def refuse_old_recording(self) -> None:
        """A new session must not add its answers to another's recording: a replay would play the other's."""
        if self._old is not None:
            raise CliError(
                f"{os.fspath(self._old)!r} holds a recording already",
                hint="name another file, or remove this one; only a session that goes on adds to its recording",
            )

    def check(self, name: str) -> None:
        """See that this model can be asked, and put the recorder in front of it. ModelNotFound, AuthenticationFailed."""
        name = self.canonical(name)
        if self.replayed not in (None, name):
            raise CliError(f"the recording is one of {self.replayed}, but {name} is to be asked")
        model = self.registry.resolve(name)
        if self._record is not None:
            from ..models.replay import Recorder

            if not self._record.parent.is_dir():
                raise CliError(f"the folder of --record {os.fspath(self._record)!r} does not exist", hint="make it first")
            # What commands print holds times and the like, so a replay here must not insist on it.
            self.registry.register(name, Recorder(model, self._record, match="results_vary"))
            self._record = None
