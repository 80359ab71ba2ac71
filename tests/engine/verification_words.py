"""What the tests of verification are written in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from godwit.contracts import HookCall
from godwit.core.events import ToolStarted, VerificationReported
from godwit.core.hooks import HookPoint, HookResult, HookSpec
from godwit.core.verification import VerificationReport
from godwit.engine.session import Session
from godwit.models.script import call
from tests.engine.conftest import data, until, within


async def commands_run(session: Session) -> list[str]:
    """The commands of verifications, in the order they were started."""
    return [d.arguments["command"] for d in await data(session, ToolStarted) if d.origin == "verification"]


async def reports(session: Session) -> list[VerificationReport]:
    return [d.report for d in await data(session, VerificationReported)]


def hook(session: Session, point: HookPoint, answer: Callable[[HookCall], HookResult | None]) -> None:
    session._home.hooks(session.id).register(HookSpec(f"test {point}", point), answer)


def writes(path: str, content: str) -> Any:
    return call("write", file_path=path, content=content)


WAITS = "until test -e go; do sleep 0.02; done"
"""A check that is under way until the test lets it end."""


async def begun(session: Session) -> None:
    """A check is under way."""
    await within(until(session, lambda e: isinstance(e.data, ToolStarted) and e.data.origin == "verification"))
