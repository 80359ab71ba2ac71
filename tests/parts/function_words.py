"""The types that functions under test take and give."""

from __future__ import annotations

import dataclasses
import enum

import msgspec
from pydantic import BaseModel


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    """A place."""

    x: int
    y: int = 0


class Tree(BaseModel):
    name: str
    branches: list[Tree] = []


@dataclasses.dataclass
class Size:
    width: float
    height: float = 1.0


class Row(msgspec.Struct):
    id: int
    name: str | None = None


def names_of(things: list[str]) -> str:
    return ", ".join(things)
