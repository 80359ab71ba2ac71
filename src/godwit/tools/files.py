"""The file tools: read, write, edit, patch, ls, glob, grep. On the Workspace contract only, so any workspace will do.

Owns what the model is told. Rules: results are short and say how to go on; nothing is changed unless the whole change fits;
text is UTF-8, and what is not is refused where it would be damaged; line endings and a byte order mark survive every change.
Lines are what ends in LF, numbered from 1 for the reader, so read, grep, patch and the errors agree.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from msgspec import Meta

from ..contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.errors import ToolFailed
from ..core.media import PDF, image_type, is_pdf, pages_of, pixels_of
from ..core.messages import Document, Image, Text
from ..core.rules import Subject
from . import unified_diff
from .typed import Arguments, TypedTool, clean, lock_of, told

MAX_LINES = 2000
MAX_LINE = 2000
MAX_SHOWN_BYTES = 96 * 1024
"""Beyond this a read stops and says where to go on: longer results are cut by the engine, which cannot say that."""
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_IMAGE_BYTES = 5 * 1024 * 1024 * 3 // 4
"""What providers take least of: five megabytes in base64. A file they refuse would be refused with each request after it."""
MAX_IMAGE_SIDE = 8000
MAX_PDF_BYTES = 20 * 1024 * 1024
MAX_PDF_PAGES = 100
MAX_DIFF = 16 * 1024
MAX_ENTRIES = 1000
MAX_HIT = 500

_READING = ToolTraits(repeatable=True, read_only=True)
_BOM = "\ufeff"

Path = Annotated[str, Meta(min_length=1, description="Path of the file, relative to the workspace or absolute within it.")]
Folder = Annotated[str, Meta(min_length=1, description="Folder to look in. Default: the workspace.")]


class ReadArguments(Arguments, frozen=True):
    file_path: Path
    offset: Annotated[int, Meta(ge=0, description="How many lines to skip. Default 0.")] = 0
    limit: Annotated[int, Meta(ge=1, description=f"How many lines to read. Default and most: {MAX_LINES}.")] = MAX_LINES


class Read(TypedTool[ReadArguments]):
    name = "read"
    description = (
        "Read a text file. Lines come numbered from 1, each as its number, a tab and its text. For a long file go on with "
        "offset. Images (png, jpeg, gif, webp) are shown as images."
    )
    traits = _READING
    arguments = ReadArguments

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("path", self.checked(arguments).file_path)

    async def work(self, arguments: ReadArguments, context: ToolContext) -> ToolOutput:
        path = arguments.file_path
        content = await _content(context.workspace, path)
        if media_type := image_type(content):
            return _image(path, content, media_type)
        if is_pdf(content):
            return _pdf(path, content)
        if b"\0" in content:
            raise ToolFailed(
                f"{path!r} is a binary file of {len(content)} bytes: look at it with bash (file, strings, xxd, iconv)"
            )
        text = content.decode("utf-8", "replace").removeprefix(_BOM)
        lines = text.removesuffix("\n").split("\n") if text else []
        offset, total = arguments.offset, len(lines)
        if offset > total:
            raise ToolFailed(f"Offset {offset} exceeds file length ({total} lines)", offset=offset, lines=total)
        facts = {"file_path": path, "offset": offset, "total_lines": total, "size": len(content)}
        if offset == total:
            return told(f"(end of file: {path} has {total} lines)" if total else "(end of file: the file is empty)", facts)
        shown: list[str] = []
        size = 0
        for number, line in enumerate(lines[offset : offset + min(arguments.limit, MAX_LINES)], offset + 1):
            row = f"{number:6}\t{_shortened(line.removesuffix(chr(13)), MAX_LINE)}"
            size += len(row.encode("utf-8", "replace")) + 1
            if shown and size > MAX_SHOWN_BYTES:
                break
            shown.append(row)
        end = offset + len(shown)
        if end < total:
            shown.append(f"({total - end} more lines, continue with offset={end})")
        if "\ufffd" in text and not _is_utf8(content):
            shown.append("(not all of the file is UTF-8: what is not is shown as \ufffd)")
        return told("\n".join(shown), facts)


def _image(path: str, content: bytes, media_type: str) -> ToolOutput:
    pixels = pixels_of(content)
    if len(content) > MAX_IMAGE_BYTES or (pixels is not None and max(pixels) > MAX_IMAGE_SIDE):
        large = f"{len(content)} bytes" + ("" if pixels is None else f" and {pixels[0]} x {pixels[1]} pixels")
        raise ToolFailed(f"{path!r} is an image of {large}, too large to show: make a smaller one with bash")
    facts = {"file_path": path, "media_type": media_type, "size": len(content)}
    return ToolOutput((Text(clean(f"{path}: {media_type}, {len(content)} bytes")), Image(media_type, content)), False, facts)


def _pdf(path: str, content: bytes) -> ToolOutput:
    pages = pages_of(content)
    if len(content) > MAX_PDF_BYTES or pages > MAX_PDF_PAGES:
        large = f"{len(content)} bytes" + (f" and {pages} pages" if pages else "")
        raise ToolFailed(f"{path!r} is a PDF of {large}, too large to show: take a part of it with bash (pdftotext, qpdf)")
    facts = {"file_path": path, "media_type": PDF, "size": len(content)}
    told_as = clean(f"{path}: {PDF}, {len(content)} bytes")
    return ToolOutput((Text(told_as), Document(PDF, content, name=path.rpartition("/")[2])), False, facts)


class WriteArguments(Arguments, frozen=True):
    file_path: Path
    content: Annotated[str, Meta(description="The whole new content.")]


class Write(TypedTool[WriteArguments]):
    name = "write"
    description = "Write a whole file, replacing what was there and making folders as needed. To change a part, use edit."
    traits = ToolTraits(repeatable=True)
    arguments = WriteArguments

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return lock_of(str(arguments.get("file_path", "")), workspace)

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("path", self.checked(arguments).file_path)

    async def work(self, arguments: WriteArguments, context: ToolContext) -> ToolOutput:
        path, workspace = arguments.file_path, context.workspace
        content = _encoded(arguments.content)
        info = await workspace.info(path)
        known = info is not None and info.kind == "file" and info.size <= MAX_FILE_BYTES
        before = await workspace.read(path) if known else None
        await workspace.write(path, content)
        lines = arguments.content.count("\n") + (not arguments.content.endswith("\n") and bool(arguments.content))
        done = "Wrote" if info is not None else "Created: wrote"
        facts = _change(path, before, content)
        return told(f"{done} {len(content)} bytes ({lines} line{'s' * (lines != 1)}) to {path}", facts)


class EditArguments(Arguments, frozen=True):
    file_path: Path
    old_string: Annotated[str, Meta(description="The exact text to replace, without line numbers.")]
    new_string: Annotated[str, Meta(description="The text to put in its place.")]
    replace_all: Annotated[bool, Meta(description="Replace every occurrence. Default: there must be exactly one.")] = False


class Edit(TypedTool[EditArguments]):
    name = "edit"
    description = "Replace text in a file. old_string must stand in the file exactly once, or replace_all be true."
    arguments = EditArguments

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return lock_of(str(arguments.get("file_path", "")), workspace)

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("path", self.checked(arguments).file_path)

    async def work(self, arguments: EditArguments, context: ToolContext) -> ToolOutput:
        path, workspace = arguments.file_path, context.workspace
        if not arguments.old_string:
            raise ToolFailed("old_string must not be empty; to write a whole file use write")
        if arguments.old_string == arguments.new_string:
            raise ToolFailed("old_string and new_string are equal: there is nothing to change")
        before = await _content(workspace, path)
        text = _decoded(before, path)
        changed, count = replaced(text, arguments.old_string, arguments.new_string, path, all_of_them=arguments.replace_all)
        after = _encoded(changed)
        await workspace.write(path, after)
        return told(f"Replaced {count} occurrence(s) in {path}", {**_change(path, before, after), "replacements": count})


def replaced(text: str, old: str, new: str, path: str, *, all_of_them: bool) -> tuple[str, int]:
    """The text after the edit, and how often `old` was in it. A text of CRLF lines is matched, and kept, as one of LF
    lines."""
    crlf = "\r\n" in text and text.count("\r\n") == text.count("\n")
    if crlf:
        text, old, new = (part.replace("\r\n", "\n") for part in (text, old, new))
        if old == new:
            raise ToolFailed("old_string and new_string differ only in line endings, and those of the file are kept")
    count = text.count(old)
    if count == 0:
        raise ToolFailed(f"old_string not found in {path}{_hint(text, old)}")
    if count > 1 and not all_of_them:
        raise ToolFailed(
            f"old_string found {count} times in {path}. Use replace_all=true to replace them all, or add lines around it to "
            "make it unique",
            occurrences=count,
        )
    result = text.replace(old, new)
    return (result.replace("\n", "\r\n") if crlf else result), count


class PatchArguments(Arguments, frozen=True):
    file_path: Path
    diff: Annotated[str, Meta(description="A unified diff of this one file, with @@ -start,count +start,count @@ headers.")]


class Patch(TypedTool[PatchArguments]):
    name = "patch"
    description = (
        "Apply a unified diff to one file. Line numbers, counts and context must fit the file exactly, or nothing is "
        "changed. For small changes edit is easier."
    )
    arguments = PatchArguments

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return lock_of(str(arguments.get("file_path", "")), workspace)

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("path", self.checked(arguments).file_path)

    async def work(self, arguments: PatchArguments, context: ToolContext) -> ToolOutput:
        path, workspace = arguments.file_path, context.workspace
        before = await _content(workspace, path)
        after = _encoded(unified_diff.apply(arguments.diff, _decoded(before, path)))
        await workspace.write(path, after)
        hunks = len(unified_diff.parse(arguments.diff, crlf=b"\r\n" in before))
        return told(f"Applied {hunks} hunk(s) to {path}", {**_change(path, before, after), "hunks": hunks})


class LsArguments(Arguments, frozen=True):
    path: Folder = "."


class Ls(TypedTool[LsArguments]):
    name = "ls"
    description = "List a folder: subfolders end in /, links in @, files are followed by their size in bytes."
    traits = _READING
    arguments = LsArguments

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("path", self.checked(arguments).path)

    async def work(self, arguments: LsArguments, context: ToolContext) -> ToolOutput:
        entries = await context.workspace.listdir(arguments.path)
        rows = []
        for entry in entries[:MAX_ENTRIES]:
            name = entry.path.rpartition("/")[2]
            ending = {"directory": "/", "symlink": "@", "other": "?"}.get(entry.kind, f"\t{entry.size}")
            rows.append(name + ending)
        if len(entries) > MAX_ENTRIES:
            rows.append(f"({len(entries) - MAX_ENTRIES} more: use glob or bash)")
        return told("\n".join(rows) or "(the folder is empty)", {"path": arguments.path, "count": len(entries)})


class GlobArguments(Arguments, frozen=True):
    pattern: Annotated[
        str, Meta(min_length=1, description="Such as **/*.py or src/*.{ts,tsx}. ** crosses folders, * does not.")
    ]
    path: Folder = "."


class Glob(TypedTool[GlobArguments]):
    name = "glob"
    description = "Find files by their path, newest first. What .gitignore names is left out."
    traits = _READING
    arguments = GlobArguments

    def subject(self, arguments: dict[str, Any]) -> Subject:
        """The folder it looks in, with as much of the pattern as names one folder."""
        checked = self.checked(arguments)
        parts = [part for part in checked.pattern.split("/") if part]
        plain = next((at for at, part in enumerate(parts) if any(c in part for c in "*?[{\\")), len(parts))
        return Subject("path", "/".join([checked.path, *parts[:plain]]), tree=True)

    async def work(self, arguments: GlobArguments, context: ToolContext) -> ToolOutput:
        found = await context.workspace.glob(arguments.pattern, arguments.path, limit=MAX_ENTRIES + 1)
        rows = [info.path for info in found[:MAX_ENTRIES]]
        more = len(found) > MAX_ENTRIES
        if more:
            rows.append(f"(there are more than {MAX_ENTRIES}: narrow the pattern)")
        facts = {"pattern": arguments.pattern, "count": min(len(found), MAX_ENTRIES), "more": more}
        return told("\n".join(rows) or f"(no file matches {arguments.pattern})", facts)


class GrepArguments(Arguments, frozen=True):
    pattern: Annotated[str, Meta(min_length=1, description="A regular expression, matched line by line.")]
    path: Annotated[str, Meta(min_length=1, description="Folder or file to search. Default: the workspace.")] = "."
    glob: (
        Annotated[str, Meta(min_length=1, description="Only files whose name (or path, with a /) matches, such as *.py.")]
        | None
    ) = None
    ignore_case: Annotated[bool, Meta(description="Default false.")] = False
    limit: Annotated[
        int, Meta(ge=1, le=MAX_ENTRIES, description=f"Most lines to return. Default 200, at most {MAX_ENTRIES}.")
    ] = 200


class Grep(TypedTool[GrepArguments]):
    name = "grep"
    description = "Search file contents. Returns path:line:text, by path and line. What .gitignore names is left out."
    traits = _READING
    arguments = GrepArguments

    def subject(self, arguments: dict[str, Any]) -> Subject:
        return Subject("path", self.checked(arguments).path, tree=True)

    async def work(self, arguments: GrepArguments, context: ToolContext) -> ToolOutput:
        hits = await context.workspace.grep(
            arguments.pattern,
            arguments.path,
            glob=arguments.glob,
            ignore_case=arguments.ignore_case,
            limit=arguments.limit + 1,
        )
        rows = [f"{path}:{number}:{_shortened(line, MAX_HIT)}" for path, number, line in hits[: arguments.limit]]
        more = len(hits) > arguments.limit
        if more:
            rows.append(f"(there are more than {arguments.limit}: narrow the pattern or the path)")
        facts = {"pattern": arguments.pattern, "count": min(len(hits), arguments.limit), "more": more}
        return told("\n".join(rows) or f"(no line matches {arguments.pattern})", facts)


async def _content(workspace: Workspace, path: str) -> bytes:
    info = await workspace.info(path)
    if info is None:
        raise ToolFailed(f"there is no file {path!r}", path=path)
    if info.kind == "directory":
        raise ToolFailed(f"{path!r} is a folder: use ls", path=path)
    if info.size > MAX_FILE_BYTES:
        raise ToolFailed(f"{path!r} has {info.size} bytes, too many to load: use bash (head, tail, sed)", path=path)
    return await workspace.read(path)


def _decoded(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ToolFailed(
            f"{path!r} is not UTF-8 text (byte {error.start}), changing it here would damage it: use bash", path=path
        ) from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolFailed(f"the text holds half a character (a lone surrogate) at position {error.start}") from None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shortened(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[:most]} [line cut: it has {len(line)} characters]"


def _hint(text: str, old: str) -> str:
    """Where `old` would be found but for the white space around and in it: the usual mistake."""
    wanted = [line.strip() for line in old.strip().split("\n")]
    lines = [line.strip() for line in text.split("\n")]
    if wanted == [""]:
        return ""
    first = wanted[0]
    for number, line in enumerate(lines):
        if line == first and lines[number : number + len(wanted)] == wanted:
            return f". Line {number + 1} differs from it only in white space: copy the text exactly"
    return ""


def _change(path: str, before: bytes | None, after: bytes) -> dict[str, Any]:
    """What people and followers are told of a change; `diff` is for display and may be cut."""
    return {
        "file_path": path,
        "before": None if before is None else f"sha256:{hashlib.sha256(before).hexdigest()}",
        "after": f"sha256:{hashlib.sha256(after).hexdigest()}",
        "size": len(after),
        "diff": _diff(path, before or b"", after),
    }


def _diff(path: str, before: bytes, after: bytes) -> str:
    old, new = before.decode("utf-8", "replace"), after.decode("utf-8", "replace")
    made = unified_diff.make(path, old, new, limit=MAX_LINES)
    if made is None:
        return "(the diff is too long)"
    return clean(made if len(made) <= MAX_DIFF else made[:MAX_DIFF] + "\n(diff cut)")
