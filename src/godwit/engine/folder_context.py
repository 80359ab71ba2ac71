"""Folder context: what files say to the model is told before a prompt, and told again when it has changed.

Owns when it is told. What files say is the host's business (`ContextSource`). Rules a change must keep: what was told stays
where it stands, to the byte, so that the request only grows; a change is told behind it, before the next prompt and never
within a turn; what a summary took away is told again before the next turn.
"""

from __future__ import annotations

import hashlib

import msgspec

from ..contracts import FolderContext
from ..core.events import ContextLoaded
from ..core.rules import Subject
from .driver import Driver
from .skill_limits import LOADER

CHANGED = "The instructions from files have changed. What stands here takes the place of what they said before.\n\n"
GONE = "The files of the instructions given before are gone: these no longer hold."


async def tell_before_prompt(driver: Driver) -> None:
    """Stage what files say, if the model does not read exactly that already. Before the first message of a run."""
    run = driver.state.run
    if run is not None and run.turns == run.turns_before:
        await _tell(driver)


async def tell_before_turn(driver: Driver) -> None:
    """Stage it if a summary has taken its place since."""
    transcript = driver.log.transcript
    if driver.parts.folder_context is None or transcript.summary is None or _told(driver) is not None:
        return
    if driver.summary_seen is not transcript.summary:
        driver.summary_seen = transcript.summary
        await _tell(driver)


async def _tell(driver: Driver) -> None:
    source, transcript = driver.parts.folder_context, driver.log.transcript
    if source is None or transcript.entries is not transcript.own_entries:
        return
    workspace, policy = driver.workspace, driver.policy

    def may_read(path: str) -> bool:
        if workspace is None:
            return True
        judged = policy.judge_subject("read", Subject("path", path), workspace.root)
        return judged.verdict == "allow" or (judged.verdict == "ask" and judged.rule is None)

    spec = driver.spec
    if policy.hidden(LOADER):
        spec = msgspec.structs.replace(spec, skills=())
    found = await source.read(spec, driver.state.workspace, may_read)
    told = _told(driver)
    digest = digest_of(found)
    if digest == (digest_of(FolderContext()) if told is None else told.digest):
        return
    text = found.text or GONE
    if told is not None and found.text:
        text = CHANGED + text
    driver.log.stage(ContextLoaded(text, digest, found.files, found.skills, found.problems))


def _told(driver: Driver) -> ContextLoaded | None:
    return driver.log.staged(ContextLoaded) or driver.log.transcript.context


def digest_of(context: FolderContext) -> str:
    """Of what the files say; what is wrong with others of them changes nothing."""
    return hashlib.blake2b(context.text.encode(), digest_size=16).hexdigest()
