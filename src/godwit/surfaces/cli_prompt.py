"""What goes with a prompt on the command line, read from files: the schema its answer must fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .cli_exit import CliError


def read_schema(file: Path | None) -> dict[str, Any] | None:
    """The JSON Schema in this file. CliError when it holds none."""
    if file is None:
        return None
    try:
        found = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise CliError(f"--schema {file}: {error.strerror or error}") from None
    except msgspec.DecodeError as error:
        raise CliError(f"--schema {file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CliError(f"--schema {file} holds no JSON Schema: that is an object")
    return found
