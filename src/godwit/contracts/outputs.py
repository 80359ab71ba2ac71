"""OutputTypes: what knows schemas of answers, and the Python types that some of them were made of."""

from __future__ import annotations

from typing import Any, Protocol

from ..core.output import OutputSpec


class OutputTypes(Protocol):
    """How the answers of runs are held to a form."""

    def spec(self, output: Any, retries: int | None = None) -> OutputSpec:
        """The form, given as an `OutputSpec`, a JSON Schema, or a type, which is kept in mind. ConfigurationError."""
        ...

    def problem(self, spec: OutputSpec, value: Any) -> str | None:
        """Why the value does not fit, in words for a model; None when it does. The type decides where it is known here, else
        the schema."""
        ...

    def typed(self, spec: OutputSpec, value: Any) -> Any:
        """The value as one of its type, where that is known here and takes it; else as it is."""
        ...
