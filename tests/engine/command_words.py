"""What the tests of slash commands are written in: a command, texts of any kind, and a session that is asked."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from godwit.engine.builtin_commands import builtin_commands
from godwit.engine.commands import (
    Command,
)
from godwit.engine.session import Session

from .conftest import within

PING = Command("ping", "Answer pong.", lambda _arguments, _context: "pong")


async def said(session: Session, text: str, **options: Any) -> str:
    return (await within(session.send(text, **options))).text


TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=30),
    st.builds(
        "".join, st.lists(st.sampled_from(["/", "a", "help", ":", " ", "\n", "é", "\ud800", "1", "-", "\0"]), max_size=8)
    ),
    st.sampled_from([f"/{c.name}" for c in builtin_commands()]).flatmap(
        lambda name: st.text(max_size=20).map(lambda arguments: f"{name} {arguments}")
    ),
)
