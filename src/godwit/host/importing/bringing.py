"""Importer: sees one import through, from a file to sessions in the store.

A file is read twice, line by line: once to learn what refers to what and whether it was brought before, once to make
the log. What is made is folded, event by event, before it is stored, and stored in pages that nobody sees until all
are there (`contracts.Loading`). The id of a session follows from where it came from and from its content: so the
same file is the same session, whoever imports it how often.

Rules: nothing of a file is trusted. A session gets no right by it: neither a folder, an environment, a tenant, an
agent nor a permission; and what was under way in it does not go on here.
"""

from __future__ import annotations

import asyncio

from ...core.facts import ImportReport
from .foreign import ForeignImport
from .formats import FORMATS, format_of
from .godwit_log import NAME as GODWIT
from .lines import Source
from .own import OwnImport
from .shared import Progress, Wanted


class Importer(ForeignImport, OwnImport):
    """Imports into a store."""

    async def bring(self, source: Source, format_: str, wanted: Wanted, *, progress: Progress | None = None) -> ImportReport:
        """See `Runtime.import_session`."""
        name = await asyncio.to_thread(format_of, source, format_)
        if name == GODWIT:
            return await self.bring_own(source, wanted, progress)
        return await self.bring_foreign(source, FORMATS[name], wanted, progress)
