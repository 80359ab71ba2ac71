"""Returns: what a worker says that a call came to, as the call's result."""

from __future__ import annotations

from typing import Any

from ..core.events import ActionOpened, EventData, UserAnswer
from ..core.messages import ResultBlock, Text, ToolStatus
from ..core.senders import POLICY
from .driver import Driver
from .results import as_json, modified, shorten, told


async def received(
    driver: Driver, opened: ActionOpened, answer: UserAnswer
) -> tuple[ToolStatus, tuple[ResultBlock, ...], dict[str, Any], tuple[EventData, ...]]:
    """A worker's answer as the call's result, after the hooks of `after_tool`: status, content, metadata, and what is stored
    before it. A large text becomes an artifact, as if the call had been done here."""
    assert opened.call is not None
    late = answer.sender == POLICY or bool(answer.metadata.get("timed_out"))
    driver.parts.lanes.came_back(
        opened.action,
        "timed_out" if late else "failed" if answer.is_error else "completed",
        retried=_retried(answer),
        dead=late or "dead_letter" in answer.metadata,
    )
    status: ToolStatus = "error" if answer.is_error else "ok"
    content, metadata, notes = answer.content, dict(answer.metadata), ""
    if driver.hooks.wants("after_tool"):
        payload = told(opened.name, opened.call, opened.arguments, status, content, metadata, 0, "model")
        result = await driver.ask_hooks("after_tool", lambda: payload)
        content = modified(content, payload, result.modified)
        notes = result.note or ""
    artifact, content = await shorten(driver.parts.blobs, driver.session, opened.call, content)
    if artifact is not None:
        metadata["artifact"] = artifact.ref
    if notes:
        content = (Text(f"{notes}\n"), *content)
    if answer.sender not in (None, POLICY):
        metadata["worker"] = answer.sender
    return status, content, as_json(metadata), () if artifact is None else (artifact,)


def _retried(answer: UserAnswer) -> int:
    """How often the call was tried again; what a worker says of it is not trusted to be a number."""
    attempts = answer.metadata.get("attempts")
    return attempts - 1 if isinstance(attempts, int) and attempts > 1 else 0
