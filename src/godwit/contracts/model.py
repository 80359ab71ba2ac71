"""What answers: a model, what it is asked, what it streams, and the registry that finds it by its name.

Leaves out when a request is sent again: that is the engine's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from ..core.agent import ModelSettings, ToolDefinition
from ..core.ids import MessageId, SessionId
from ..core.messages import AgentBlock, StopReason, Usage
from ..core.model_info import ModelInfo
from ..core.transcript import Entry


class ModelRequest(msgspec.Struct, frozen=True):
    """One question to a model. `entries` end with a user message or tool results; see `core.transcript.Entry.encoded`."""

    entries: Sequence[Entry]
    instructions: str
    tools: tuple[ToolDefinition, ...]
    settings: ModelSettings
    session: SessionId
    message: MessageId
    turn: int = 1


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """`block` numbers the content blocks of the answer from 0."""

    block: int
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag="thinking"):
    block: int
    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call"):
    """`text`: the next piece of the arguments' JSON. `id` and `name` stand in the first delta of a block."""

    block: int
    text: str = ""
    id: str | None = None
    name: str | None = None


class ModelAnswer(msgspec.Struct, frozen=True, tag="answer"):
    """The last chunk of every stream that ended properly: the whole answer."""

    content: tuple[AgentBlock, ...]
    stop: StopReason
    usage: Usage
    model: str
    response_id: str | None = None


ModelChunk = TextDelta | ThinkingDelta | ToolCallDelta | ModelAnswer


class Model(Protocol):
    """One model of one provider.

    `stream` yields deltas and last of all one `ModelAnswer`. It raises a `ModelError`: a stream that ends without its end
    is `StreamBroken`. It does not retry; the engine does. When the caller closes the iterator or is cancelled, the
    connection is closed at once. It must not change the request, but may keep encodings in `Entry.encoded[self.wire]`.
    """

    @property
    def name(self) -> str:
        """`provider:model`, as `ModelRegistry.resolve` takes it."""
        ...

    @property
    def wire(self) -> str:
        """The key of this adapter's encodings: models of equal `wire` read each other's."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]: ...


@runtime_checkable
class SupportsClose(Protocol):
    """A model with something to close, such as connections; its registry closes it."""

    def close(self) -> Awaitable[None]: ...


@runtime_checkable
class SupportsPrice(Protocol):
    """A model that knows what it costs, so that a budget in money can be kept."""

    def cost_usd(self, usage: Usage) -> float | None:
        """What this usage costs in USD; None when the price is not known. May take a while: called off the event loop."""
        ...


@runtime_checkable
class SupportsInfo(Protocol):
    """A model that says of itself what it can take."""

    @property
    def info(self) -> ModelInfo: ...


class ModelRegistry(Protocol):
    def resolve(self, name: str) -> Model:
        """The model for `provider:model` or a registered name. ModelNotFound, AuthenticationFailed (no key)."""
        ...


@runtime_checkable
class SupportsModelInfo(Protocol):
    """A registry that takes hints and knows what its models can do. With one that does not, a name is taken as it is, and
    nothing is known of a model."""

    def canonical(self, hint: str) -> str:
        """The name that is stored for a hint; a name gives itself. ModelNotFound."""
        ...

    def find(self, hint: str) -> ModelInfo:
        """What is known of a model, whether or not it can be asked. It may take a while the first time: called off the event
        loop. ModelNotFound."""
        ...

    def known(self, name: str) -> ModelInfo | None:
        """What `find` would give, if it can be said at once."""
        ...


@runtime_checkable
class ListsModels(Protocol):
    """A registry that can say which models there are."""

    def list(self, provider: str | None = None, *, ready: bool = False, deprecated: bool = False) -> Sequence[ModelInfo]:
        """The models it knows, of all providers or of one; `ready`: those that can be asked here. Called off the event loop.
        ModelNotFound for an unknown provider."""
        ...


@runtime_checkable
class SupportsPrices(Protocol):
    """A registry that knows what its models cost. With one that does not, no price is known."""

    def cost_usd(self, name: str, usage: Usage) -> float | None:
        """As for `SupportsPrice`, of the model of this name. Raises what `resolve` does."""
        ...
