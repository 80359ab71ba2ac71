"""`python -m bench`: measure, and print a table with the goals beside. See docs/performance.md."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from . import agui, checkpoints, commands, conversation, lanes, mcp, permissions, processes, scenarios, server
from .goals import Standing, standings
from .measure import FULL, QUICK, TINY, Bench, Measurement
from .provider import provider

SCENARIOS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "answer": scenarios.answer,
    "loop": scenarios.loop,
    "sessions": scenarios.sessions,
    "streams": scenarios.streams,
    "history": scenarios.history,
    "stall": scenarios.stall,
    "followers": scenarios.followers,
    "long-run": scenarios.long_run,
    "commands": commands.commands,
    "checkpoints": checkpoints.checkpoints,
    "permissions": permissions.permissions,
    "lanes": lanes.lanes,
    "mcp": mcp.mcp,
    "conversation": conversation.conversation,
    "agui": agui.agui,
    "writes": processes.writes,
    "kill": processes.kill,
    "memory": processes.memory,
    "import": processes.imports,
    "server": server.requests,
    "server-followers": server.followers,
    "server-streams": server.streams,
    "server-memory": server.memory,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure godwit against a bare loop.")
    parser.add_argument("--only", action="append", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, says little")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: shows only that it runs")
    parser.add_argument("--full", action="store_true", help="10,000 idle sessions as well")
    parser.add_argument("--repeats", type=int, metavar="N", help="samples per contender")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--folder", type=Path, help="where the databases are made (a real disk); by default a temporary one")
    given = parser.parse_args(arguments)
    sizes = TINY if given.tiny else QUICK if given.quick else FULL
    if given.full:
        sizes = dataclasses.replace(sizes, idle=(*sizes.idle, 10_000))
    if given.repeats is not None:
        sizes = dataclasses.replace(sizes, repeats=given.repeats, history_repeats=given.repeats, imports=given.repeats)
    names = given.only or list(SCENARIOS)
    # Contenders log their requests; nobody reads it here.
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="godwit-bench-", dir=given.folder) as folder, provider() as url:
        bench = Bench(url, Path(folder), sizes, _say)
        load = _load()
        for name in names:
            start = time.perf_counter()
            shown = len(bench.measurements)
            asyncio.run(_scenario(bench, name))
            _say(f"{name}: {time.perf_counter() - start:.0f} s")
            print(table(bench.measurements[shown:]))
    found = standings(bench)
    # With a choice of scenarios, goals of the others would only hide those that were measured.
    print(goal_table([s for s in found if s.value is not None or not given.only]))
    for note in bench.notes:
        print(f"note: {note}")
    machine = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": load,
        "load_after": _load(),
    }
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine.items()))
    if given.json is not None:
        report = {
            "machine": machine,
            "sizes": dataclasses.asdict(sizes),
            "measurements": [dataclasses.asdict(m) for m in bench.measurements],
            "goals": [_goal(s) for s in found],
            "notes": bench.notes,
        }
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


async def _scenario(bench: Bench, name: str) -> None:
    await SCENARIOS[name](bench)


def _goal(standing: Standing) -> dict[str, Any]:
    goal = standing.goal
    return {
        "name": goal.name,
        "target": goal.target,
        "unit": goal.unit,
        "most": goal.most,
        "native_client": goal.native,
        "value": standing.value,
        "met": standing.met,
    }


def table(measurements: Sequence[Measurement]) -> str:
    """One table per scenario: a row for each subject, a column for each metric, its ratio to the floor beside it."""
    blocks: list[str] = []
    for scenario in dict.fromkeys(m.scenario for m in measurements):
        mine = [m for m in measurements if m.scenario == scenario]
        metrics = list(dict.fromkeys(m.metric for m in mine))
        cells = {(m.subject, m.metric): m for m in mine}
        rated = {m.metric for m in mine if m.ratio is not None}
        units = {m.metric: m.unit for m in mine}
        head = [scenario]
        for metric in metrics:
            head.append(f"{metric} {units[metric]}".strip())
            if metric in rated:
                head.append("x floor")
        rows = [head]
        for subject in dict.fromkeys(m.subject for m in mine):
            row = [subject]
            for metric in metrics:
                cell = cells.get((subject, metric))
                row.append("" if cell is None else _number(cell.median))
                if metric in rated:
                    row.append("" if cell is None or cell.ratio is None else _number(cell.ratio))
            rows.append(row)
        blocks.append(_aligned(rows))
    return "\n".join(blocks)


def goal_table(found: Sequence[Standing]) -> str:
    rows = [["goal", "aimed at", "measured", ""]]
    for one in found:
        goal = one.goal
        sign = "<=" if goal.most else ">="
        verdict = {True: "met", False: "missed", None: "not measured"}[one.met]
        if one.met is False and goal.native:
            verdict += " (waits for native clients)"
        value = "" if one.value is None else f"{_number(one.value)} {goal.unit}"
        rows.append([goal.name, f"{sign} {_number(goal.target)} {goal.unit}", value, verdict])
    return _aligned(rows, left=(0, 3))


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
