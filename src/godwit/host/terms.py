"""Terms: what configuration files say of what an agent may spend, how its files are kept, and what it does with memory.

Owns how they meet: two files, a file and an agent. Leaves out how files are read and which of their keys count, and what is
set on a single session, which counts in place of all this. Rule: of a limit the lower one counts, whoever sets it, so an
agent cannot give itself more than the person's file does; of everything else what a file says counts, where it says it.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from ..core.agent import AgentSpec, ContextPolicy
from ..core.budget import Budget, Resource, Scope
from ..core.checkpoint import CheckpointPolicy
from ..core.errors import ConfigurationError
from ..core.memory import MemoryPolicy, MemoryScope, PrunePolicy
from ..core.nudges import NudgePolicy
from ..core.tool_search import ToolSearchMode, ToolSearchPolicy

S = TypeVar("S", bound=msgspec.Struct)


def given(terms: msgspec.Struct) -> dict[str, Any]:
    """What is set."""
    return {name: value for name in terms.__struct_fields__ if (value := getattr(terms, name)) is not None}


def over(terms: S, others: S) -> S:
    """Both, what these set in place of the others'."""
    return msgspec.structs.replace(others, **given(terms))


class BudgetTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is set of a budget, in the units of `Budget`; None is not set."""

    tokens: int | None = None
    usd: float | None = None
    turns: int | None = None
    tool_calls: int | None = None
    time_s: float | None = None
    soft: float | None = None
    on_limit: Literal["stop", "ask"] | None = None
    unpriced: Literal["deny", "allow"] | None = None

    @property
    def limits(self) -> dict[Resource, float]:
        return Budget(self.tokens, self.usd, self.turns, self.tool_calls, self.time_s).limits

    def held(self, own: Budget | None, scope: Scope) -> Budget | None:
        """An agent's own budget of this scope under these terms; None where neither limits anything."""
        if own is None and not self.limits:
            return None
        base = own or Budget(scope=scope)
        kept: dict[str, Any] = {
            name: min(limit, base.limits.get(name, limit)) if name in self.limits else limit
            for name, limit in given(self).items()
        }
        return msgspec.structs.replace(base, **kept)


class BudgetSection(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[budget]`, of each session, and `[budget.tree]`, of a session with all that work for it."""

    session: BudgetTerms = BudgetTerms()
    tree: BudgetTerms = BudgetTerms()


class CheckpointTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[checkpoints]`: what is set of `CheckpointPolicy`, in its units; None is not set. ConfigurationError for a limit of 0
    or less."""

    enabled: bool | None = None
    ignored: Literal["never", "small", "always"] | None = None
    on_failure: Literal["block", "warn"] | None = None
    max_file_bytes: int | None = None
    max_files: int | None = None
    max_bytes: int | None = None
    max_ignored_files: int | None = None
    max_ignored_bytes: int | None = None
    keep_count: int | None = None
    keep_age_s: float | None = None
    keep_bytes: int | None = None

    def __post_init__(self) -> None:
        CheckpointPolicy(**given(self))


class ContextTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[context]`: what sessions are told of files (`files`: AGENTS.md and the like, `skills`), and what is set of
    `ContextPolicy`, in its units; None is not set. ConfigurationError for what that refuses."""

    files: bool | None = None
    skills: bool | None = None
    compact: bool | None = None
    compact_at: float | None = None
    keep_tokens: int | None = None
    prune: bool | None = None
    prune_at: float | None = None
    prune_keep_turns: int | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        for key, value in self.policy.items():
            try:
                ContextPolicy(**{key: value})
            except ConfigurationError as error:
                raise ConfigurationError(error.message, field=key) from None

    @property
    def policy(self) -> dict[str, Any]:
        """What is set of the policy."""
        return {key: value for key, value in given(self).items() if key in ContextPolicy.__struct_fields__}


class NudgeTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[nudges]`: what is set of `NudgePolicy`; None is not set. ConfigurationError for what that refuses."""

    max_nudges: int | None = None
    todos: bool | None = None
    goal: bool | None = None
    answers: bool | None = None

    def __post_init__(self) -> None:
        try:
            NudgePolicy(**given(self))
        except ConfigurationError as error:
            raise ConfigurationError(error.message, field="max_nudges") from None


class ToolSearchTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[tool_search]`: what is set of `ToolSearchPolicy`; None is not set. ConfigurationError for what that refuses."""

    mode: ToolSearchMode | None = None
    tools: int | None = None
    tokens: int | None = None
    share: float | None = None
    also: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        ToolSearchPolicy(**given(self))


class MemoryTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[memory]`: what is set of `MemoryPolicy`, in its units; None is not set. ConfigurationError for what that refuses.

    `enabled`: false for no memory at all: nothing is recalled or recorded, and the memory's tools are nobody's. `file`: the
    SQLite file that has the memories of a process in place of the sessions' own. `embedder`: the `provider:model` that makes
    vectors of memories in a process.
    """

    enabled: bool | None = None
    recall: bool | None = None
    max_items: int | None = None
    max_tokens: int | None = None
    scopes: tuple[MemoryScope, ...] | None = None
    writes: tuple[MemoryScope, ...] | None = None
    scope: MemoryScope | None = None
    record: tuple[Literal["success", "failure"], ...] | None = None
    prune: PrunePolicy | None = None
    file: str | None = None
    embedder: str | None = None

    def __post_init__(self) -> None:
        for key, value in self.policy.items():
            # `scope` is one of `writes`, which may be said elsewhere.
            beside = {"scope": value} if key == "scope" else {"scope": (value or ("user",))[0]} if key == "writes" else {}
            try:
                MemoryPolicy(**{"writes": (value,)} if key == "scope" else {key: value}, **beside)
            except ConfigurationError as error:
                raise ConfigurationError(error.message, field=key) from None
        if self.writes and self.scope is not None and self.scope not in self.writes:
            what = f"memory scope={self.scope!r} is none of those it writes to: {', '.join(self.writes)}"
            raise ConfigurationError(what, field="scope")
        if self.embedder is not None and not all(self.embedder.partition(":")):
            raise ConfigurationError(
                f"embedder {self.embedder!r} has to be provider:model, as in openai:text-embedding-3-small", field="embedder"
            )
        if self.file is not None and not self.file.startswith(("/", "~")):
            raise ConfigurationError(f"file {self.file!r} is not absolute: begin it with / or ~", field="file")

    @property
    def policy(self) -> dict[str, Any]:
        """What is set of the policy."""
        return {key: value for key, value in given(self).items() if key in MemoryPolicy.__struct_fields__}

    def held(self, spec: AgentSpec) -> AgentSpec:
        """The agent under these terms."""
        if self.enabled is False:
            tools = tuple(name for name in spec.tools if name not in MEMORY_TOOLS)
            return msgspec.structs.replace(spec, memory=None, tools=tools)
        if not self.policy:
            return spec
        # What an agent says nothing of is not done for it, unless the files ask for it.
        policy = {**msgspec.structs.asdict(spec.memory or MemoryPolicy(recall=False)), **self.policy}
        if policy["writes"] and policy["scope"] not in policy["writes"]:
            policy |= {"scope": policy["writes"][0]} if self.scope is None else {"writes": (*policy["writes"], self.scope)}
        return msgspec.structs.replace(spec, memory=MemoryPolicy(**policy))


MEMORY_TOOLS = ("memory", "remember", "recall", "forget")
"""The toolset and what is in it."""


class Terms(msgspec.Struct, frozen=True):
    """What holds for the agents of a folder."""

    budget: BudgetSection = BudgetSection()
    checkpoints: CheckpointTerms = CheckpointTerms()
    context: ContextTerms = ContextTerms()
    memory: MemoryTerms = MemoryTerms()
    nudges: NudgeTerms = NudgeTerms()
    tool_search: ToolSearchTerms = ToolSearchTerms()

    def held(self, spec: AgentSpec) -> AgentSpec:
        """The agent as it is held to these terms."""
        if self == Terms():
            return spec
        scopes: tuple[tuple[Scope, BudgetTerms], ...] = (("session", self.budget.session), ("tree", self.budget.tree))
        own: dict[str, Budget] = {budget.scope: budget for budget in spec.budgets}
        budgets = [budget for scope, terms in scopes if (budget := terms.held(own.get(scope), scope)) is not None]
        checkpoints = msgspec.structs.replace(spec.checkpoints, **given(self.checkpoints))
        context = msgspec.structs.replace(spec.context, **self.context.policy)
        nudges = msgspec.structs.replace(spec.nudges, **given(self.nudges))
        tool_search = msgspec.structs.replace(spec.tool_search, **given(self.tool_search))
        held = msgspec.structs.replace(
            spec,
            budgets=tuple(budgets),
            checkpoints=checkpoints,
            context=context,
            nudges=nudges,
            tool_search=tool_search,
        )
        return self.memory.held(held)


__all__ = [
    "BudgetSection",
    "BudgetTerms",
    "CheckpointTerms",
    "ContextTerms",
    "MemoryTerms",
    "NudgeTerms",
    "Terms",
    "ToolSearchTerms",
    "given",
    "over",
]
