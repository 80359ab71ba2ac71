"""SIGKILL while a message with files is sent: it is there with all of them or not at all; sent again, it is there once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from godwit.core.events import UserMessage
from godwit.core.messages import Document, Image, Text

from .attaching_script import FILES, SESSION
from .deaths import Mortal, assert_continued, log_of

SCRIPT: Mortal[list[Any]] = Mortal("attaching_script", lambda database: log_of(database, SESSION))
CONTENT = (
    Image("image/png", FILES[0]),
    Document("application/pdf", FILES[1]),
    Document("text/plain", FILES[2]),
    Text("See."),
)


@pytest.mark.parametrize(
    "points", [("before:1", "after:2"), pytest.param(("after:1", "before:2", "before:3", "after:3"), marks=pytest.mark.slow)]
)
async def test_a_message_and_its_files_are_there_as_a_whole_or_not_at_all(tmp_path: Path, points: tuple[str, ...]) -> None:
    for point, found, after in await SCRIPT.deaths(tmp_path, points):
        before = [e.data.content for e in found if isinstance(e.data, UserMessage)]
        assert before in ([], [CONTENT]), point
        assert_continued(point, found, after)
        assert [e.data.content for e in after if isinstance(e.data, UserMessage)] == [CONTENT], point
