"""What confining a command costs: `true` in each sandbox that works here, against the same without one.

What is timed is all of it: the enclosure, the start, the end, and that nothing is left.
"""

from __future__ import annotations

from godwit.core.sandbox import Backend, SandboxPolicy
from godwit.workspaces.local import LocalWorkspace
from godwit.workspaces.sandboxes.choice import backends

from .measure import Bench, Prepare, Work, take_turns

UNCONFINED = "no sandbox"
_NAMES: dict[str, Backend] = {"bubblewrap": "bubblewrap", "landlock": "landlock", "none": "none"}
EACH = 10
"""Commands per sample."""


async def commands(bench: Bench) -> None:
    """One command after the other."""
    folder = bench.folder / "commands"
    folder.mkdir()
    places = {UNCONFINED: LocalWorkspace(folder)}
    for backend in backends():
        problem = backend.problem()
        if problem is None:
            places[backend.name] = LocalWorkspace(folder, sandbox=SandboxPolicy(backend=_NAMES[backend.name]))
        else:
            bench.notes.append(f"commands, {backend.name}: {problem}")

    def preparing(place: LocalWorkspace) -> Prepare:
        async def work() -> None:
            for _ in range(EACH):
                await place.execute("true", output=lambda _: None)

        async def prepare() -> Work:
            return work

        return prepare

    prepares = {name: preparing(place) for name, place in places.items()}
    samples = await take_turns(prepares, bench.sizes.repeats, bench.sizes.warm)
    for name, taken in samples.items():
        bench.add("commands", name, "wall, per command", "ms", [s.wall_ms / EACH for s in taken], floor=UNCONFINED)
        bench.add("commands", name, "our CPU, per command", "ms", [s.cpu_ms / EACH for s in taken], floor=UNCONFINED)
    for place in places.values():
        await place.close()
