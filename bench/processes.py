"""What needs processes of its own: death, memory, imports, and the system calls of a loop."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from godwit.stores.sqlite import SqliteStore

from .child import STEPS
from .measure import Bench

_PYTHON = (sys.executable, "-X", "utf8")
_TRACED = "fsync,fdatasync,pwrite64,write"


async def kill(bench: Bench) -> None:
    """SIGKILL after 20 steps: how many are found?"""
    for durability in ("disk", "process"):
        folder = bench.folder / f"kill-{durability}"
        folder.mkdir()
        path = folder / "godwit.db"
        found = await asyncio.to_thread(_killed, path, durability)
        store = SqliteStore.open(path)
        events = await store.read(found)  # type: ignore[arg-type]
        await store.close()
        steps = sum(e.type == "tool.finished" for e in events)
        bench.add("kill", f"godwit, {durability}", f"steps found of {STEPS}", "", [float(steps)], floor=None)


def _killed(path: Path, durability: str) -> str:
    child = subprocess.Popen([*_PYTHON, "-m", "bench.child", "victim", str(path), durability], stdout=subprocess.PIPE)
    assert child.stdout is not None
    said = child.stdout.readline().strip()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert said == b"ready", f"the victim said {said!r}"
    return "victim"


async def writes(bench: Bench) -> None:
    """System calls of one persisted 20-step loop: those of two loops less those of one."""
    if shutil.which("strace") is None:
        bench.notes.append("writes: strace is not installed, so system calls were not counted")
        return
    counts = []
    for loops in (1, 2):
        folder = bench.folder / f"writes-{loops}"
        folder.mkdir()
        counts.append(await asyncio.to_thread(_traced, folder, loops))
    if not all(counts):
        bench.notes.append("writes: strace could not trace here, so system calls were not counted")
        return
    one, two = counts
    for call in ("fdatasync", "fsync", "pwrite64"):
        if one.get(call) or two.get(call):
            number = float(two.get(call, 0) - one.get(call, 0))
            bench.add("writes", "godwit scripted, disk", f"{call} per {STEPS}-step loop", "", [number], floor=None)


def _traced(folder: Path, loops: int) -> dict[str, int]:
    report = folder / "strace.txt"
    command = ["strace", "-f", "-c", "-e", f"trace={_TRACED}", "-o", str(report)]
    run = [*command, *_PYTHON, "-m", "bench.child", "loops", str(folder), str(loops)]
    subprocess.run(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    found: dict[str, int] = {}
    if report.exists():
        for line in report.read_text().splitlines():
            # % time, seconds, usecs/call, calls, [errors], syscall
            if match := re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line):
                found[match[2]] = int(match[1])
    return found


async def memory(bench: Bench) -> None:
    """Idle open sessions in one runtime: what each adds."""
    for count in bench.sizes.idle:
        folder = bench.folder / f"memory-{count}"
        folder.mkdir()
        said = await asyncio.to_thread(_output, [*_PYTHON, "-m", "bench.child", "resident", str(folder), str(count)])
        each = json.loads(said)
        if each is None:
            bench.notes.append("memory: this system does not say how much of it is in use")
            return
        who = f"{count} idle sessions"
        bench.add("memory", who, "opened, each", "KB", [each["opened"]], floor=None)
        bench.add("memory", who, "after a turn, each", "KB", [each["used"]], floor=None)
        bench.add("memory", who, "opened, together", "MB", [each["opened"] * count / 1024], floor=None)
        bench.add("memory", who, "file handles, together", "", [float(each["files"])], floor=None)


async def imports(bench: Bench) -> None:
    """Fresh processes: importing, the command line's help, and the way to the first token of a live model."""
    # Not the peak of getrusage: a child inherits its parent's.
    resident = "import os\ntry: print(open('/proc/self/statm').read().split()[1])\nexcept OSError: print(0)"
    programs = {
        "python": ["-c", f"pass\n{resident}"],
        "import godwit": ["-c", f"import godwit\n{resident}"],
        "import godwit, Runtime": ["-c", f"import godwit; godwit.Runtime, godwit.Agent\n{resident}"],
    }
    if (Path(_package()) / "__main__.py").exists():
        programs["godwit --help"] = ["-m", "godwit", "--help"]
    times: dict[str, list[float]] = {name: [] for name in programs}
    weights: dict[str, list[float]] = {name: [] for name in programs}
    tokens: list[float] = []
    folder = bench.folder / "imports"
    folder.mkdir()
    for number in range(-1, bench.sizes.imports):
        for name, arguments in programs.items():
            start = time.perf_counter()
            said = await asyncio.to_thread(_output, [*_PYTHON, *arguments])
            took = (time.perf_counter() - start) * 1000
            if number < 0:
                continue
            times[name].append(took)
            if arguments[0] == "-c":
                weights[name].append(int(said) * os.sysconf("SC_PAGE_SIZE") / 1024**2)
        run = [*_PYTHON, "-m", "bench.child", "first-token", bench.url, str(folder)]
        took = await asyncio.to_thread(_until_line, run)
        if number >= 0:
            tokens.append(took)
    bare = min(times["python"])
    for name, taken in times.items():
        bench.add("import", name, "wall", "ms", taken, floor="python")
        if name != "python":
            bench.add("import", name, "over the bare interpreter", "ms", [t - bare for t in taken], floor=None)
        if any(weights[name]):
            bench.add("import", name, "resident", "MB", weights[name], floor="python")
    bench.add("import", "first token of a live model", "wall", "ms", tokens, floor="python")


def _package() -> str:
    import godwit

    return os.path.dirname(os.path.abspath(godwit.__file__))


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return done.stdout


def _until_line(command: Sequence[str]) -> float:
    """Milliseconds from the start of the process to its first line."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    said = child.stdout.readline()
    took = (time.perf_counter() - start) * 1000
    child.stdout.close()
    if child.wait() != 0 or not said:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return took
