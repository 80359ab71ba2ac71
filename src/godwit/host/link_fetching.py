"""Link fetching: what stands at the address of an attachment, got once, before the message is recorded.

Goes the way of all that is fetched for strangers (`tools/fetch.py`): a server is never made to look into its own network,
whoever names the address. Rules: nothing is fetched twice for one message; what comes says by its bytes what it is; what
does not come whole does not come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.attachments import MAX_FILE_BYTES, Link, refused
from ..core.errors import AttachmentRefused, ToolFailed
from ..core.messages import Document, Image, UserBlock
from ..engine.attaching import block_of, name_in

if TYPE_CHECKING:
    from ..tools.fetch import Fetcher

MAX_LINKS = 20
"""Of one message."""


class LinkFetcher:
    """`reach`: hosts and networks that may be reached although they are not public, see `core.addresses.place`."""

    def __init__(self, reach: Sequence[str]) -> None:
        self._reach = tuple(reach)
        self._fetcher: Fetcher | None = None

    async def content(self, content: Sequence[UserBlock | Link]) -> tuple[UserBlock, ...]:
        """The message with what stands at its links in their places. AttachmentRefused."""
        links = [block for block in content if isinstance(block, Link)]
        if len(links) > MAX_LINKS:
            raise refused(None, None, f"{len(links)} addresses are more than {MAX_LINKS}", size=len(links), limit=MAX_LINKS)
        made: list[UserBlock] = []
        index = 0
        for block in content:
            made.append(await self._fetched(block, index) if isinstance(block, Link) else block)
            index += isinstance(made[-1], Image | Document)
        return tuple(made)

    async def _fetched(self, link: Link, index: int) -> Image | Document:
        from ..tools.url import parse

        try:
            url = parse(link.url)
            answer = await self._way().get(url, accept="image/*, application/pdf, text/*;q=0.9, */*;q=0.1")
            if answer.status != 200:
                raise ToolFailed(f"{url.brief} answered with status {answer.status}")
            if answer.cut:
                raise ToolFailed(f"{url.brief} sends more than {MAX_FILE_BYTES} bytes")
        except ToolFailed as error:
            raise refused(index, link.name, f"it was not fetched: {error.message}") from None
        name = link.name or name_in(str(answer.url.shown))
        try:
            return block_of(answer.body, name=name, kind=link.kind, url=url.shown)
        except AttachmentRefused as error:
            why = error.message.partition(": ")[2]
            raise refused(index, name, f"what {url.brief} sends cannot be attached: {why}") from None

    def _way(self) -> Fetcher:
        if self._fetcher is None:
            from ..tools.address import AddressGuard
            from ..tools.fetch import Fetcher, FetchLimits

            limits = FetchLimits(timeout_s=60.0, wire_bytes=MAX_FILE_BYTES, body_bytes=MAX_FILE_BYTES)
            self._fetcher = Fetcher(
                AddressGuard(self._reach, setting="reach of [attachments] or link_reach of Runtime.open"), limits=limits
            )
        return self._fetcher


__all__ = ["LinkFetcher"]
