"""Hooks of a host: matchers compiled, commands found for them.

Owns the patterns of matchers. They are matched by RE2, which takes time linear in the text: a hook's pattern meets what a
model wrote, and no text may make it explode. Leaves out running a command (`hook_commands.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..contracts import HookHandler
from ..core.errors import ConfigurationError
from ..core.hooks import CLAUDE_TOOLS, HookSpec

Search = Callable[[str], bool]


class LocalHookKit:
    """Implements `godwit.contracts.HookKit` on this machine."""

    def matcher(self, spec: HookSpec) -> Callable[[str | None, str | None, str | None], bool]:
        given = spec.matcher
        tools: list[Search] = []
        if given.tool is not None:
            alternatives = [part.strip() for part in given.tool.split("|")]
            if not all(alternatives):
                raise ConfigurationError(f"hook {spec.id!r}: tool={given.tool!r} has an empty alternative", hook=spec.id)
            glob = "|".join(_name_glob(part) for part in alternatives)
            tools.append(_compiled(spec, "tool", rf"(?i)^(?:{glob})$", given.tool))
        if given.tool_regex is not None:
            found = _compiled(spec, "tool_regex", given.tool_regex, given.tool_regex)
            # Written for Claude Code, as a rule, which knows bash as Bash.
            tools.append(lambda name: found(name) or found(CLAUDE_TOOLS.get(name, name)))
        path = None if given.path is None else _compiled(spec, "path", _path_glob(spec, given.path), given.path)
        command = None if given.command is None else _compiled(spec, "command", given.command, given.command)

        def matches(tool: str | None, file: str | None, text: str | None) -> bool:
            if tools and (tool is None or not all(search(tool) for search in tools)):
                return False
            if path is not None and (file is None or not path(file)):
                return False
            return command is None or (text is not None and command(text))

        return matches

    def command(self, spec: HookSpec) -> HookHandler:
        from .hook_commands import command_handler

        if spec.command is None:
            raise ConfigurationError(f"hook {spec.id!r} has no command", hook=spec.id)
        return command_handler(spec)


HOOK_KIT = LocalHookKit()


def _compiled(spec: HookSpec, field: str, regex: str, shown: str) -> Search:
    """What tells whether the expression is found in a text. ConfigurationError naming hook, pattern and why."""
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(regex, options)
    except re2.error as error:
        said = error.args[0] if error.args else str(error)
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ConfigurationError(
            f"hook {spec.id!r}: {field}={shown!r} cannot be used: {why} (RE2 syntax, without lookaround and backreferences)",
            hook=spec.id,
            pattern=shown,
        ) from None
    return lambda text: found.search(text) is not None


def _name_glob(glob: str) -> str:
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in glob)


def _path_glob(spec: HookSpec, glob: str) -> str:
    """The glob as a regular expression over a whole path. Without a `/` it holds in every folder."""
    text = glob.removeprefix("./")
    if not text.strip("/"):
        raise ConfigurationError(f"hook {spec.id!r}: path={glob!r} names no file", hook=spec.id, pattern=glob)
    if "/" not in text.strip("/"):
        text = f"**/{text.strip('/')}"
    out = ["(?s)^"]
    at, depth = 0, 0
    while at < len(text):
        char = text[at]
        if text.startswith("**/", at) and (at == 0 or text[at - 1] in "/{,"):
            out.append("(?:.*/)?")
            at += 3
            continue
        if text.startswith("**", at):
            out.append(".*")
            at += 2
            continue
        if char == "[" and (end := text.find("]", at + 2 + (text[at + 1 : at + 2] in ("!", "^")))) > 0:
            inner = text[at + 1 : end]
            negated = inner[:1] in ("!", "^")
            body = re.sub(r"([\\\[\]^&~])", r"\\\1", inner[negated:])
            out.append(f"[^/{body}]" if negated else f"[{body}]")
            at = end + 1
            continue
        if char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
            out.append(")")
            at += 1
            continue
        out.append(
            "[^/]*" if char == "*" else "[^/]" if char == "?" else "(?:" if char == "{"
            else "|" if char == "," and depth else re.escape(char)
        )  # fmt: skip
        at += 1
    if depth:
        raise ConfigurationError(
            f"hook {spec.id!r}: path={glob!r} has a '{{' that is not closed", hook=spec.id, pattern=glob
        )
    return "".join(out) + "$"
