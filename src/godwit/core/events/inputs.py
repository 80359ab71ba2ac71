"""What comes from outside, and what becomes of it while it waits."""

from __future__ import annotations

from typing import Any, Literal

from ..agent import SteerMode
from ..ids import ActionId, InputId, RunId
from ..messages import ResultBlock, UserBlock
from .data import Data, Decision, Delivery, Remember


class UserMessage(Data, frozen=True, tag="user.message"):
    """A message was accepted. It enters the transcript when `input.delivered` names it. `sender`: who it is from; the
    engine's own go by `nudge`, `verification`, `output`, `hook ID` and `task ID`, and nobody else's by these. `metadata` is
    for people and followers, not for the model."""

    id: InputId
    content: tuple[UserBlock, ...]
    delivery: Delivery = "prompt"
    mode: SteerMode = "skip"
    sender: str | None = None
    metadata: dict[str, Any] = {}


class UserInterrupt(Data, frozen=True, tag="user.interrupt"):
    """A person ends the open run at once. `force` gives running tools no grace."""

    run: RunId
    force: bool = False
    reason: str | None = None


class UserAnswer(Data, frozen=True, tag="user.answer"):
    """Answers a pending action. `arguments` replace the call's whole arguments on approval.

    `remember`: the same holds from now on for every call that `rule` matches, in this session (`always`: the rule was
    saved for others as well). `metadata` of a result (exit code and the like) is for people, not for the model.
    """

    action: ActionId
    decision: Decision
    reason: str | None = None
    arguments: dict[str, Any] | None = None
    content: tuple[ResultBlock, ...] = ()
    is_error: bool = False
    sender: str | None = None
    remember: Remember | None = None
    rule: str | None = None
    metadata: dict[str, Any] = {}


class InputDelivered(Data, frozen=True, tag="input.delivered"):
    """A queued input was placed in the transcript; as `content`, where a hook has changed what was said."""

    id: InputId
    content: tuple[UserBlock, ...] | None = None


class InputWithdrawn(Data, frozen=True, tag="input.withdrawn"):
    """A queued input will not be delivered: a person took it back, a hook kept it out, or its run ended first."""

    id: InputId
    reason: Literal["user", "run_finished", "hook"] = "user"


class InputReordered(Data, frozen=True, tag="input.reordered"):
    """The follow-ups wait in this order now; every queued one is named."""

    order: tuple[InputId, ...]
