"""Differences of two texts as a unified diff, in the words of git, which `git apply` and `patch` read.

Owns the comparing of lines and the shape of the text. The time it takes is bounded: texts that differ too much are shown as
one text that goes and one that comes. Knows no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

CONTEXT = 3
"""Unchanged lines shown around a change."""
_MAX_DISTANCE = 400
"""Lines that may go and come before two texts count as two different ones; the time grows with its square."""

Step = tuple[int, int, int, int]
"""Lines `[a, b)` of the old text became `[c, d)` of the new one."""


def is_text(content: bytes) -> bool:
    """As git decides it: no NUL in the first 8000 bytes."""
    return b"\0" not in content[:8000]


def lines_of(content: bytes) -> list[str]:
    """With their ends; what is no UTF-8 is shown with replacement characters."""
    parts = content.decode("utf-8", "replace").split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def steps(old: Sequence[str], new: Sequence[str]) -> list[Step]:
    """Where the texts differ, in order."""
    start = 0
    while start < len(old) and start < len(new) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    inner_old, inner_new = old[start : len(old) - end], new[start : len(new) - end]
    if not inner_old and not inner_new:
        return []
    found = _shortest(inner_old, inner_new) if inner_old and inner_new else None
    if found is None:
        return [(start, start + len(inner_old), start, start + len(inner_new))]
    return [(a + start, b + start, c + start, d + start) for a, b, c, d in found]


def _shortest(old: Sequence[str], new: Sequence[str]) -> list[Step] | None:
    """Myers' shortest edit script; None when it is longer than `_MAX_DISTANCE`."""
    size_old, size_new = len(old), len(new)
    furthest = {1: 0}
    trail: list[dict[int, int]] = []
    for distance in range(min(size_old + size_new, _MAX_DISTANCE) + 1):
        trail.append(dict(furthest))
        for diagonal in range(-distance, distance + 1, 2):
            down = diagonal == -distance or (
                diagonal != distance and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
            )
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < size_old and y < size_new and old[x] == new[y]:
                x += 1
                y += 1
            furthest[diagonal] = x
            if x >= size_old and y >= size_new:
                return _walked_back(trail, size_old, size_new)
    return None


def _walked_back(trail: list[dict[int, int]], x: int, y: int) -> list[Step]:
    edits: list[Step] = []
    for distance in range(len(trail) - 1, 0, -1):
        furthest = trail[distance]
        diagonal = x - y
        down = diagonal == -distance or (
            diagonal != distance and furthest.get(diagonal - 1, -1) < furthest.get(diagonal + 1, -1)
        )
        before = diagonal + 1 if down else diagonal - 1
        from_x = furthest[before]
        from_y = from_x - before
        edits.append((from_x, from_x, from_y, from_y + 1) if down else (from_x, from_x + 1, from_y, from_y))
        x, y = from_x, from_y
    joined: list[Step] = []
    for a, b, c, d in reversed(edits):
        if joined and joined[-1][1] == a and joined[-1][3] == c:
            joined[-1] = (joined[-1][0], b, joined[-1][2], d)
        else:
            joined.append((a, b, c, d))
    return joined


def hunks(old: Sequence[str], new: Sequence[str], found: Sequence[Step]) -> Iterator[str]:
    """The lines of the hunks, each with its end."""
    groups: list[list[Step]] = []
    for step in found:
        if groups and step[0] - groups[-1][-1][1] <= 2 * CONTEXT:
            groups[-1].append(step)
        else:
            groups.append([step])
    for group in groups:
        before = min(group[0][0], group[0][2], CONTEXT)
        start_old, start_new = group[0][0] - before, group[0][2] - before
        after = min(len(old) - group[-1][1], CONTEXT)
        end_old, end_new = group[-1][1] + after, group[-1][3] + after
        yield f"@@ -{_span(start_old, end_old)} +{_span(start_new, end_new)} @@\n"
        at = start_old
        for a, b, c, d in group:
            yield from _marked(" ", old[at:a])
            yield from _marked("-", old[a:b])
            yield from _marked("+", new[c:d])
            at = b
        yield from _marked(" ", old[at:end_old])


def _span(start: int, end: int) -> str:
    count = end - start
    if count == 1:
        return f"{start + 1}"
    return f"{start + 1 if count else start},{count}"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if line.endswith("\n"):
            yield f"{mark}{line}"
        else:
            yield f"{mark}{line}\n"
            yield "\\ No newline at end of file\n"


def quoted(path: bytes) -> str:
    """A path as git writes it in a diff: in quotes when it has to be."""
    plain = all(32 <= byte < 127 and byte not in b'"\\' for byte in path)
    if plain:
        return path.decode()
    named = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    return '"' + "".join(named.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in path) + '"'
