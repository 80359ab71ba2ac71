"""docs/state.md shows the tables as they are in the code."""

from __future__ import annotations

from pathlib import Path

from godwit.core.gate import RUN_TABLE
from godwit.core.state import CALL_TABLE, diagram


def test_the_page_shows_the_tables_of_the_code(root: Path) -> None:
    page = (root / "docs" / "state.md").read_text()
    blocks = [block.split("\n", 1)[1] for block in page.split("```")[1::2] if block.startswith("mermaid\n")]
    assert blocks == [diagram()], (
        "docs/state.md is out of date: put this into its mermaid block "
        "(python -c 'from godwit.core.state import diagram; print(diagram(), end=\"\")'):\n" + diagram()
    )


def test_the_diagram_draws_each_move_once() -> None:
    arrows = [line for line in diagram().splitlines() if "-->" in line and ": " in line]
    assert len(arrows) == len(set(arrows))
    assert len(arrows) == sum(map(len, RUN_TABLE.values())) + sum(map(len, CALL_TABLE.values()))
