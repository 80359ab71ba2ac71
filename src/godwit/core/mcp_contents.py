"""What MCP servers have beside tools, as data: resources, prompts, what they log, what they complete; and by which slash
commands their prompts go.

Leaves out asking servers (`host/mcp/`) and what becomes of it in a session (`engine/live_contents.py`). Rules: everything
here was said by a stranger, and is bounded where it comes in; a URI is a name that only its server understands, and nobody
here fetches it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from .errors import InvalidArgument
from .ids import ArtifactRef
from .mcp import PREFIX, LogLevel
from .messages import UserBlock

RefType = Literal["ref/prompt", "ref/resource"]

COMMAND_LIMIT = 64
"""Characters of a command's name, as `engine.commands.NAME_LIMIT`."""
_DIGEST = 6


class McpResource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a server lets others read. `server`: its name in the session. `size`: in bytes, as the server says."""

    server: str
    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    media_type: str | None = None
    size: int | None = None


class McpResourceTemplate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A family of resources: `uri_template` is a URI with `{names}` of what has to be put in (RFC 6570)."""

    server: str
    uri_template: str
    name: str
    title: str | None = None
    description: str | None = None
    media_type: str | None = None


class McpResourceContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was read of a resource, or of a part of it with a `uri` of its own. One of `text`, `data` and `artifact` is set:
    what is large is an artifact of the session. `size`: in bytes. `media_type`: that of images and PDFs as they are, else
    as the server says."""

    uri: str
    size: int
    media_type: str | None = None
    text: str | None = None
    data: bytes | None = None
    artifact: ArtifactRef | None = None


class McpPromptArgument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a prompt is given."""

    name: str
    description: str | None = None
    required: bool = False


class McpPrompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prompt that a server makes. `command`: the slash command that runs it, without its slash."""

    server: str
    name: str
    command: str
    title: str | None = None
    description: str | None = None
    arguments: tuple[McpPromptArgument, ...] = ()

    @property
    def usage(self) -> str | None:
        """Its arguments as a command shows them."""
        shown = [one.name if one.required else f"[{one.name}]" for one in self.arguments]
        return " ".join(shown) or None


class McpPromptMessage(msgspec.Struct, frozen=True):
    """A message of a prompt, by who is to have said it."""

    role: Literal["user", "assistant"]
    content: tuple[UserBlock, ...]


class McpPromptResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server makes of a prompt and its arguments."""

    messages: tuple[McpPromptMessage, ...]
    description: str | None = None


class McpLogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a server has logged. `at_ms`: when it came. `logger`: which of its parts says so."""

    at_ms: int
    level: LogLevel
    text: str
    logger: str | None = None


class McpRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a value is completed for: a prompt by its `name` (`ref/prompt`), or a resource template by its `uri`
    (`ref/resource`)."""

    type: RefType
    name: str | None = None
    uri: str | None = None


Ref = McpRef | McpPrompt | McpResourceTemplate | Mapping[str, Any]
"""What a value is completed for, in any of its accepted forms; a mapping as the protocol writes it."""


def ref_of(given: Ref) -> McpRef:
    """InvalidArgument."""
    if isinstance(given, McpPrompt):
        return McpRef("ref/prompt", name=given.name)
    if isinstance(given, McpResourceTemplate):
        return McpRef("ref/resource", uri=given.uri_template)
    if isinstance(given, McpRef):
        made = given
    else:
        try:
            made = msgspec.convert(dict(given), McpRef)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise InvalidArgument(f"ref: {error}") from None
    if not (made.name if made.type == "ref/prompt" else made.uri):
        what = "the `name` of a prompt" if made.type == "ref/prompt" else "the `uri` of a resource template"
        raise InvalidArgument(f"ref: {made.type} needs {what}")
    return made


class McpCompletion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Values that a server proposes. `total`: how many there are, where it says so; `has_more`: more than these."""

    values: tuple[str, ...]
    total: int | None = None
    has_more: bool = False


def command_names(prompts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The slash command of each prompt, given as the names of its server and its own: `mcp__server__prompt`, without what a
    command cannot have in its name. One that had to be changed so far that it is another one's ends with a hash of what it
    was: whatever else there is, a prompt that is written as its command keeps it."""
    plain: dict[str, list[tuple[str, str]]] = {}
    for server, name in dict.fromkeys(prompts):
        plain.setdefault(_command(server, name), []).append((server, name))
    made: dict[tuple[str, str], str] = {}
    for command, those in plain.items():
        exact = [one for one in those if f"{PREFIX}{one[0]}__{one[1]}" == command]
        alone = those[0] if len(those) == 1 else exact[0] if len(exact) == 1 else None
        for one in those:
            made[one] = command if one == alone and len(command) <= COMMAND_LIMIT else _hashed(command, one)
    return made


def _command(server: str, name: str) -> str:
    return f"{PREFIX}{_word(server)}__{_word(name)}"


def _word(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "_"


def _hashed(command: str, whole: tuple[str, str]) -> str:
    digest = hashlib.sha256("\0".join(whole).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{command[: COMMAND_LIMIT - _DIGEST - 1]}-{digest}"
