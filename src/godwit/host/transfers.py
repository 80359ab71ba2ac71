"""What a runtime does with sessions of elsewhere: brings them in, and gives its own out.

Leaves out how (`importing`, `exporting`).
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from ..core.agent import AgentRef, AgentSpec
from ..core.events import Labels
from ..core.facts import ExportFormat, ImportReport
from ..core.ids import SessionId
from .home import RuntimeHome
from .workspaces import existing_folder

if TYPE_CHECKING:
    from .agents import Agent


class Transfers(RuntimeHome):
    """Imports and exports of a runtime."""

    @abstractmethod
    async def _stored(self, agent: Agent | AgentSpec | AgentRef | str, folder: str | None) -> tuple[AgentRef, AgentSpec]:
        """The stored agent; one that is given whole is created first."""

    async def import_session(
        self,
        file: str | os.PathLike[str] | bytes,
        *,
        format: str = "auto",  # noqa: A002 - what a person calls it
        agent: Agent | AgentSpec | AgentRef | str | None = None,
        workspace: str | os.PathLike[str] | None = None,
        labels: Labels | None = None,
        name: str | None = None,
        model: str | None = None,
        file_name: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> ImportReport:
        """Make a session of a session file of another tool, or of an export of godwit's; all of it or nothing.

        `file`: its path, or its content, then with its `file_name`. `format`: `pi`, `imp`, `claude-code` or `godwit`; `auto`
        looks at what is in it. `agent`: whose session it becomes; by default one that can read files and change none, with
        the model that answered last. `workspace`: an existing folder; by default the one it worked in, if it is here.
        `model`: asked from now on. `progress`: told how many bytes were read, from time to time.

        A file that was brought before, for the same tenant and to the byte, is the session from then (`new` is False).
        InvalidArgument: it is no such file, or says what cannot have happened. AgentNotFound, and StoreError's leaves.
        """
        from .importing.bringing import Importer
        from .importing.lines import BytesSource, FileSource
        from .importing.shared import Wanted

        source = BytesSource(file, file_name) if isinstance(file, bytes) else FileSource(file)
        folder = existing_folder(workspace)
        ref = None if agent is None else (await self._stored(agent, folder))[0]
        wanted = Wanted(ref, folder, not isinstance(file, bytes), labels or Labels(), name, model)
        return await Importer(self.store, self.models, self.clock).bring(source, format, wanted, progress=progress)

    def export_session(
        self,
        session: str,
        format: ExportFormat = "html",  # noqa: A002 - what a person calls it
        *,
        children: bool = True,
    ) -> AsyncIterator[bytes]:
        """The session as it stands now, in pieces; however long it is, little of it is held.

        `html`: one page with everything in it, which fetches and runs nothing. `md`: Markdown. `jsonl`: the log itself, for
        `import_session`. `pi`: a session file of pi. `children`: with the sessions that work for it (but for `pi`).
        It holds what the log holds, secrets too. SessionNotFound and InvalidArgument with the first piece.
        """
        from .exporting.exporting import export

        return export(self.store, SessionId(session), format, children=children)
