"""On which line each value of a JSON text begins, for errors: the reader of the standard library tells no lines.

Leaves out reading the text itself, which is known to be JSON.
"""

from __future__ import annotations

import json
import re

Lines = dict[tuple[str | int, ...], int]
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|\n')


def place_in(file: str, lines: Lines, path: tuple[str | int, ...]) -> str:
    """The file and the line of this value, or else of what it is in."""
    while path not in lines and path:
        path = path[:-1]
    return f"{file}:{lines.get(path, 1)}"


def lines_of(text: str) -> Lines:
    """The line, from 1, on which each value of a JSON text begins; the text is known to be JSON."""
    lines: Lines = {}
    path: list[str | int] = []
    inside: list[str] = []
    line, key_next = 1, False
    for token in _TOKEN.findall(text):
        if token == "\n":
            line += 1
        elif token in "}]":
            inside.pop()
            path.pop()
            key_next = False
        elif token == ",":
            if inside[-1] == "[":
                last = path[-1]
                assert isinstance(last, int)
                path[-1] = last + 1
            else:
                key_next = True
        elif token == ":":
            key_next = False
        elif key_next:
            path[-1] = json.loads(token)
            lines[tuple(path)] = line
        else:
            lines.setdefault(tuple(path), line)
            if token in "{[":
                inside.append(token)
                path.append(0 if token == "[" else "")
                key_next = token == "{"
    return lines


__all__ = ["Lines", "lines_of", "place_in"]
