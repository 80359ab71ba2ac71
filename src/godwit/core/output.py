"""Output: the form that a run's last answer must have, how a model is told of it, and how its answer is read.

A model answers with JSON as text. That works with every provider, needs no tool of its own (a tool that comes and goes
would change the request's prefix, and with it what the provider has cached), and it streams. Leaves out whether a value
fits: who does that is in `contracts.outputs`. Rule: what is said to the model depends on the spec alone, byte for byte.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import ConfigurationError
from .messages import Assistant

MISFIT = "output_schema"
"""The code of the fault a run ends with when its answer does not fit after the last try."""
OUTPUT = "output"
"""Who sends the model what is wrong with its answer."""


class OutputSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """`schema`: the JSON Schema that the last answer of a run must fit. `retries`: how often a model whose answer does not
    is told so and asked again, from 0. ConfigurationError."""

    schema: dict[str, Any]
    retries: int = 2

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ConfigurationError(f"output retries={self.retries!r} must be 0 or more", value=self.retries)


def told(spec: OutputSpec, *, here: bool = False) -> str:
    """What a model is told of the form. `here`: with one prompt, and in place of what its instructions say."""
    schema = msgspec.json.encode(spec.schema).decode()
    first = "For this request, whatever form was asked for before: end" if here else "End"
    return (
        f"{first} your work with an answer that is JSON alone, with nothing around it, and that fits this schema:\n{schema}"
    )


def told_again(spec: OutputSpec, problem: str) -> str:
    """What a model is told of an answer that does not fit."""
    schema = msgspec.json.encode(spec.schema).decode()
    return f"Your answer does not fit: {problem}. Answer again with JSON alone, which fits this schema:\n{schema}"


def value_of(message: Assistant | None) -> tuple[Any, str | None]:
    """The answer as data, or None and why it is none."""
    if message is None or not message.text.strip():
        return None, "there is no text in it"
    bare = message.text.strip()
    if bare.startswith("```"):
        bare = bare.partition("\n")[2].rpartition("```")[0].strip()
    try:
        return msgspec.json.decode(bare), None
    except (msgspec.DecodeError, RecursionError) as error:
        cut = ", and it was cut off at the limit of an answer's length" if message.stop == "max_tokens" else ""
        return None, f"it is no JSON ({error}){cut}"


__all__ = ["MISFIT", "OUTPUT", "OutputSpec", "told", "told_again", "value_of"]
