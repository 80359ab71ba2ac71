"""Skills: folders with a SKILL.md, which say how a kind of work is done; a model loads one when it needs it.

    .godwit/skills, .claude/skills, .agents/skills                                      of the session's folder
    ~/.config/godwit/skills, ~/.godwit/skills, ~/.claude/skills, ~/.agents/skills       the person's own

Owns where they lie, how they are read, and what is listed of them. Rules a change must keep: a skill grants nothing;
`allowed-tools` of godwit's own folders limits what its run may do, elsewhere it has no effect and that is told; what is read
of a skill does not lead out of its folder; a wrong skill hides no other one and is told with its line. Read anew each time:
a change counts from the next prompt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..core.errors import ConfigurationError, GodwitError, PathEscape, ToolFailed
from ..core.file_problem import FileProblem
from ..core.rules import Permissions
from ..workspaces.confined import Confined
from .agent_files import as_ours
from .found_files import FILE_LIMIT, Bad, entries, expanded, front_matter, text_of

FOLDERS = (
    ".godwit/skills",
    ".claude/skills",
    ".agents/skills",
    "~/.config/godwit/skills",
    "~/.godwit/skills",
    "~/.claude/skills",
    "~/.agents/skills",
)
"""Where skills are looked for: relative ones in the session's folder. The first one of a name counts."""

LIMITING = (".godwit/skills", "~/.config/godwit/skills", "~/.godwit/skills")
"""Folders in which `allowed-tools` is a limit. In those of others it grants nothing and limits nothing."""

SKILL_FILE = "SKILL.md"
SKILLS_LIMIT = 200
FILES_LIMIT = 100
"""How many files of a skill are named."""
DESCRIPTION_LIMIT = 1024

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PLAIN_KEYS = ("name", "description", "allowed-tools", "argument-hint")
_KEYS = (
    *_PLAIN_KEYS,
    "disable-model-invocation",
    "user-invocable",
    "license",
    "metadata",
    "compatibility",
    "version",
    "tags",
)
_TRUE, _FALSE = ("true", "yes"), ("false", "no")


@dataclass(frozen=True)
class Skill:
    """A skill as its file says. `folder`: where it lies; `shown`: as people know it. `limits`: the rules of its
    `allowed-tools` where they are a limit, else None. `listed`: models are told of it; `typed`: it is a slash command."""

    name: str
    description: str
    body: str
    folder: str
    shown: str
    hint: str | None = None
    limits: tuple[str, ...] | None = None
    listed: bool = True
    typed: bool = True

    def files(self) -> list[str]:
        """Its other files, by their paths below its folder."""
        found: list[str] = []
        for at, folders, names in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = os.path.relpath(at, self.folder)
            found += [os.path.normpath(os.path.join(here, name)) for name in sorted(names) if not name.startswith(".")]
            if len(found) > FILES_LIMIT:
                break
        return [name for name in found if name != SKILL_FILE][:FILES_LIMIT]

    def read(self, path: str) -> str:
        """A file of it. ToolFailed, also for one that leads out of its folder."""
        try:
            content = Confined(self.folder, self.folder).read(path)
            return text_of(content)
        except PathEscape:
            raise ToolFailed(f"{path!r} lies outside the skill {self.name!r}", path=path) from None
        except Bad as bad:
            raise ToolFailed(f"{path!r} of the skill {self.name!r} {bad.message}", path=path) from None


class SkillProblem(FileProblem):
    """What is wrong with a skill. `fatal`: it cannot be used; otherwise something of its file has no effect."""


class Skills(NamedTuple):
    """The skills by name, in the order of their names, and what is wrong with files."""

    skills: dict[str, Skill]
    problems: tuple[SkillProblem, ...]

    def chosen(self, patterns: Sequence[str]) -> dict[str, Skill]:
        """Those whose names match one of these."""
        return {name: one for name, one in self.skills.items() if any(fnmatchcase(name, p) for p in patterns)}


def load(workspace: str | None, folders: Sequence[str] = FOLDERS) -> Skills:
    """The skills for sessions in this folder. Blocking."""
    found: dict[str, Skill] = {}
    problems: list[SkillProblem] = []
    for folder in folders:
        here, wrong = _folder(folder, workspace)
        problems += wrong
        for skill in here:
            found.setdefault(skill.name, skill)
    return Skills(dict(sorted(found.items())), tuple(problems))


def _folder(folder: str, workspace: str | None) -> tuple[list[Skill], list[SkillProblem]]:
    path = expanded(folder)
    inside = not path.startswith("/")
    if inside:
        if workspace is None:
            return [], []
        workspace = os.path.realpath(workspace)
        path = os.path.join(workspace, path)
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError:
        return [], []
    problems: list[SkillProblem] = []
    if len(names) > SKILLS_LIMIT:
        problems.append(SkillProblem(folder, None, f"holds more than {SKILLS_LIMIT} skills; the others are left out"))
    skills: list[Skill] = []
    for name in names[:SKILLS_LIMIT]:
        below = os.path.realpath(os.path.join(path, name))
        shown = f"{folder}/{name}/{SKILL_FILE}"
        if not os.path.lexists(os.path.join(below, SKILL_FILE)):
            continue
        try:
            if inside and os.path.commonpath([below, workspace or ""]) != workspace:
                raise Bad(None, "is a link that leads out of the workspace")
            skill, notes = _read(name, below, shown, limits=folder in LIMITING)
        except Bad as bad:
            problems.append(SkillProblem(shown, bad.line, bad.message))
            continue
        except GodwitError as error:
            problems.append(SkillProblem(shown, None, error.message))
            continue
        skills.append(skill)
        problems += [SkillProblem(shown, line, message, fatal=False) for line, message in notes]
    return skills, problems


def _read(folder_name: str, folder: str, shown: str, *, limits: bool) -> tuple[Skill, list[tuple[int, str]]]:
    """Bad, GodwitError."""
    confined = Confined(folder, folder)
    info = confined.info(SKILL_FILE)
    if info is None or info.kind != "file":
        raise Bad(None, "is no regular file")
    if info.size > FILE_LIMIT:
        raise Bad(None, f"has {info.size:,} bytes, more than the {FILE_LIMIT:,} that such a file may have")
    text = text_of(confined.read(SKILL_FILE))
    if "\0" in text:
        raise Bad(text.count("\n", 0, text.index("\0")) + 1, "holds a NUL character")
    source, body, first = front_matter(text)
    if source is None:
        raise Bad(1, "has no front matter: lines of --- with a description between them")
    values, lines, notes = _values(source)
    name = " ".join(values.get("name", [folder_name])) or folder_name
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise Bad(lines.get("name"), f"{name!r} is no name: lower-case letters, digits and single hyphens, 64 at most")
    if name != folder_name:
        notes.append((lines.get("name", 1), f"the name is {name!r}, and its folder's is {folder_name!r}"))
    description = " ".join(" ".join(values.get("description", [])).split())
    if not description:
        raise Bad(lines.get("description", 1), "has no description: it says when the skill is to be used")
    if len(description) > DESCRIPTION_LIMIT:
        notes.append((lines["description"], f"of the description {DESCRIPTION_LIMIT} characters count"))
    if not body.strip():
        raise Bad(first, "has no text below the front matter")
    rules = None
    if "allowed-tools" in values:
        rules = _rules(values["allowed-tools"], lines["allowed-tools"])
        if not limits:
            rules = None
            notes.append(
                (lines["allowed-tools"], "'allowed-tools' has no effect here: it grants nothing, and limits nothing")
            )
    skill = Skill(
        name,
        description[:DESCRIPTION_LIMIT],
        body.strip("\n"),
        folder,
        shown,
        " ".join(values.get("argument-hint", [])) or None,
        rules,
        listed=not _yes(values, lines, "disable-model-invocation", False),
        typed=_yes(values, lines, "user-invocable", True),
    )
    return skill, notes


def _values(source: str) -> tuple[dict[str, list[str]], dict[str, int], list[tuple[int, str]]]:
    """The texts of each key that has a meaning, its line, and what has none. Bad."""
    import yaml

    values: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    notes: list[tuple[int, str]] = []
    for key, line, node, plain, _ in entries(source, _PLAIN_KEYS, line=2, what="the front matter"):
        lines[key] = line
        if key not in _KEYS:
            notes.append((line, f"{key!r} has no meaning here"))
        elif key in ("metadata", "tags", "license", "compatibility", "version"):
            continue
        elif isinstance(node, yaml.ScalarNode):
            values[key] = [plain if plain is not None and not node.value else node.value]
        elif plain is not None and key != "allowed-tools":
            values[key] = [plain]  # a hint such as [FILE] is no list to who wrote it
        elif isinstance(node, yaml.SequenceNode) and all(isinstance(v, yaml.ScalarNode) for v in node.value):
            values[key] = [v.value for v in node.value]
        else:
            raise Bad(line, f"{key!r} is a text or a list of texts")
    return values, lines, notes


def _yes(values: dict[str, list[str]], lines: dict[str, int], key: str, default: bool) -> bool:
    if key not in values:
        return default
    text = " ".join(values[key]).lower()
    if text not in (*_TRUE, *_FALSE):
        raise Bad(lines[key], f"{key!r} is true or false, not {text!r}")
    return text in _TRUE


def _rules(texts: list[str], line: int) -> tuple[str, ...]:
    """`Read, Bash(gh:*)`, also with blanks or as a list. Bad."""
    rules: list[str] = []
    for text in texts:
        rules += [as_ours(rule) for rule in split_rules(text)]
    try:
        Permissions(allow=tuple(rules))
    except ConfigurationError as error:
        raise Bad(line, error.message) from None
    return tuple(rules)


def split_rules(text: str) -> list[str]:
    """At commas and blanks outside parentheses."""
    parts, depth = [""], 0
    for c in text:
        depth = max(0, depth + (c == "(") - (c == ")"))
        if (c == "," or c.isspace()) and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [part for part in parts if part]


__all__ = ["FOLDERS", "LIMITING", "Skill", "SkillProblem", "Skills", "load", "split_rules"]
