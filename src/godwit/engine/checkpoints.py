"""Checkpoints around what changes files: kept before a turn's first effect and after its last, put back after a rewind.

Owns when they are taken, what happens when one cannot be, and the second half of a rewind (the first is `rewind.py`). A
rule a change must keep: between a `before` and its `after` only the turn's own calls run, so that what lies between an
`after` and the next `before` is somebody else's work. So a turn that waits for a person in between has several pairs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from ..contracts import Checkpoints
from ..core.agent import AgentSpec
from ..core.checkpoint import CheckpointRef, LeftAlone, shown_path
from ..core.errors import CheckpointFailed, CheckpointNotFound, GodwitError, StoreCorrupt, StoreError
from ..core.events import SessionForked, SessionRewound, WorkspaceCheckpointed, WorkspaceRestored
from ..core.state import State
from .driver import Driver

logger = logging.getLogger("godwit")

When = Literal["before", "after"]

AFTER_S = 10.0
"""How long a run that was interrupted waits for the files to be kept as its last turn has left them."""
SHOWN_LEFT = 1000
"""Paths that an event names."""


async def before_changes(driver: Driver) -> str | None:
    """Keep the files as they are, unless that is done, before a call of the turn that may change some; stages the event.

    Returns why such calls must not run: their changes could not be undone, and the agent's policy forbids that. Called with
    nothing staged, since it takes its time; look at the driver's token afterwards.
    """
    turn, policy = driver.state.turn, driver.spec.checkpoints
    checkpoints = _checkpoints(driver)
    if checkpoints is None or turn is None or turn.files == "before":
        return None
    if turn.files == "failed" and policy.on_failure == "warn":
        return None
    await _announced(driver, "before", turn.index)
    if driver.token.cancelled:
        return None
    ref, error = await _taken(driver, checkpoints)
    if ref is None and error is None:
        return None  # cut off
    await _told(driver, WorkspaceCheckpointed(ref, "before", turn.index, error))
    if error is None or policy.on_failure == "warn":
        return None
    return (
        f"Not run: the files could not be kept as they are, so what this call changes could not be undone. {error}"
        " Do not try it in another way; tell the user."
    )


def files_changed(state: State, spec: AgentSpec) -> bool:
    """Whether calls of the open turn may have changed files since these were kept. Not asked in a run that kills its
    drivers: this might be what does."""
    run, turn = state.run, state.turn
    if run is None or turn is None or run.takeovers > spec.limits.max_takeovers:
        return False
    return turn.files == "before" or (turn.files == "failed" and spec.checkpoints.on_failure == "warn")


async def after_changes(driver: Driver) -> None:
    """Keep the files as the turn's calls have left them; none is under way. Stages the event, unless it was cut off."""
    turn = driver.state.turn
    assert turn is not None
    checkpoints = _checkpoints(driver)
    if checkpoints is None:
        driver.log.stage(WorkspaceCheckpointed(None, "after", turn.index, "no checkpoints are taken here any more"))
        return
    # Results are not held back by what may take long.
    await driver.log.commit()
    await _announced(driver, "after", turn.index)
    ref, error = await _taken(driver, checkpoints, interrupted=driver.token.cancelled)
    if ref is not None or error is not None:
        await _told(driver, WorkspaceCheckpointed(ref, "after", turn.index, error))


async def _announced(driver: Driver, when: When, turn: int) -> None:
    """Let hooks know that files are about to be kept; they decide nothing."""
    await driver.ask_hooks("before_checkpoint", lambda: {"when": when, "turn": turn})


async def _told(driver: Driver, done: WorkspaceCheckpointed) -> None:
    """Stage the event, and let hooks know."""
    driver.log.stage(done)
    payload = {"when": done.when, "turn": done.turn, "ref": done.ref, "error": done.error}
    await driver.ask_hooks("after_checkpoint", lambda: payload)


async def finish_restoring(driver: Driver) -> None:
    """Put the files back that a rewind has named. Raises CheckpointFailed, and is to be called again, when the disk is at
    fault; what cannot ever be put back is recorded so."""
    restoring = driver.state.restoring
    if restoring is None:
        return
    checkpoints = driver.parts.checkpoints
    root = driver.state.workspace
    if checkpoints is None or root is None:
        raise CheckpointFailed(
            "a rewind's files are to be put back, and this host keeps none: open the session where it was"
        )
    await driver.log.commit()
    driver.guard()
    left: list[LeftAlone] = []
    error: str | None = None
    result: CheckpointRef | None = None
    try:
        base = restoring.undo or await checkpoints.take(driver.session, root, driver.spec.checkpoints)
        left = await checkpoints.restore(root, base, restoring.files)
    except (CheckpointNotFound, StoreCorrupt) as failed:
        error = failed.message
    if error is None:
        try:
            result = await checkpoints.take(driver.session, root, driver.spec.checkpoints)
        except (CheckpointFailed, StoreError) as failed:
            logger.warning("session %s: the files were put back, but not kept: %s", driver.session, failed.message)
    shown = tuple(LeftAlone(shown_path(one.path), one.reason) for one in left[:SHOWN_LEFT])
    await driver.log.commit(WorkspaceRestored(restoring.files, result, shown, error))
    told = {"ref": restoring.files, "result": result, "left": [one.path for one in shown], "error": error}
    await driver.ask_hooks("after_restore", lambda: told)


async def retain(driver: Driver) -> None:
    """Let go of what the agent's policy does not keep. What fails is tried again after the next run."""
    checkpoints, policy = _checkpoints(driver), driver.spec.checkpoints
    if checkpoints is None or (policy.keep_count is None and policy.keep_age_s is None and policy.keep_bytes is None):
        return
    try:
        await checkpoints.retain(driver.session, policy, named=await _named(driver))
    except GodwitError as failed:
        logger.warning("session %s: old checkpoints were not let go of: %s", driver.session, failed.message)


async def _named(driver: Driver) -> set[CheckpointRef]:
    """The states the log speaks of; others were only looked at."""
    types = ("workspace.checkpointed", "workspace.restored", "session.rewound", "session.forked")
    found: set[CheckpointRef | None] = set()
    for event in await driver.parts.store.read(driver.session, types=types):
        match event.data:
            case WorkspaceCheckpointed(ref=ref):
                found.add(ref)
            case WorkspaceRestored(ref=ref, result=result):
                found |= {ref, result}
            case SessionRewound(files=files, undo=undo) | SessionForked(files=files, undo=undo):
                found |= {files, undo}
            case _:
                pass
    return {ref for ref in found if ref is not None}


def _checkpoints(driver: Driver) -> Checkpoints | None:
    if driver.state.workspace is None or not driver.spec.checkpoints.enabled:
        return None
    return driver.parts.checkpoints


async def _taken(
    driver: Driver, checkpoints: Checkpoints, *, interrupted: bool = False
) -> tuple[CheckpointRef | None, str | None]:
    """The checkpoint, or why there is none; neither when an interrupt cut it off.

    With `interrupted` the run is being ended already: then only the time limits it.
    """
    root = driver.state.workspace
    assert root is not None
    taking = asyncio.ensure_future(checkpoints.take(driver.session, root, driver.spec.checkpoints))
    take_back = None if interrupted else driver.token.on_cancel(lambda: _cut(taking))
    try:
        await asyncio.wait({taking}, timeout=AFTER_S if interrupted else None)
        if not taking.done():
            taking.cancel()
            await asyncio.wait({taking})
        if taking.cancelled():
            return None, "it took too long while the run was being ended" if interrupted else None
        return taking.result(), None
    except (CheckpointFailed, StoreError) as failed:
        return None, failed.message
    finally:
        if take_back is not None:
            take_back()
        if not taking.done():  # this task itself was cancelled
            taking.cancel()
            await asyncio.wait({taking})


def _cut(task: asyncio.Future[CheckpointRef]) -> None:
    task.cancel()


__all__ = ["after_changes", "before_changes", "files_changed", "finish_restoring", "retain"]
