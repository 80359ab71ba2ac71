"""HTML from anybody as Markdown, for a model to read.

Owns the renderer. Leaves out reading tokens (`html_tokens`), and charsets and limits of what is read (`page`). Rules: time
and memory grow with the length of the page and nothing else, whatever stands in it: no recursion, no backtracking, no search
that begins again where one has failed. What a person would not see (scripts, comments, hidden elements, invisible
characters) is left out, since it is where instructions are put for models alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin

from .html_elements import (
    BLOCKS,
    DROPPED,
    ENDS_P,
    FORMATTING,
    HEAD_ONLY,
    HEADINGS,
    IMPLIED,
    SCOPE,
    SPECIAL,
    TABLE_PARTS,
    VOID,
    names,
)
from .html_tokens import Attributes, End, RawText, Start, Token, tokens, unescaped

MAX_TEXT = 4_000_000
"""Characters of Markdown after which rendering stops: links made absolute can be longer than the page they stand in."""
MAX_LISTS = 12
MAX_INLINE = 6
MAX_COLUMNS = 40
MAX_LOOK = 64
"""Open elements that are looked through for one that ends by itself."""
_SPACE = re.compile(r"[ \t\r\n\f]+")


# Of no width or turning the direction of what follows, tags, and controls: nobody sees them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


_HIDING = re.compile(
    r"display\s*+:\s*+none|visibility\s*+:\s*+(?:hidden|collapse)"
    r"|(?:opacity|font-size)\s*+:\s*+0(?:\.0*+)?(?:px|em|rem|pt|%)?\s*+(?:;|!|$)",
    re.IGNORECASE,
)
_REMARK = re.compile(r"/\*(?>.*?\*/)", re.DOTALL)
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang|highlight-source|brush:)-?\s*+([\w+#.-]{1,30})")


def markdown_of(source: str, base: str) -> tuple[str, str, bool]:
    """The text, the page's title, and whether the text was cut. Links are made absolute against `base`."""
    page = _Renderer(base)
    for token in tokens(source):
        page.take(token)
        if page.full:
            break
    return page.text(), page.title, page.full


def without_unseen(text: str) -> str:
    """The text without characters that nobody sees, but for line ends and tabs."""
    return _UNSEEN.sub("", text)


@dataclass(slots=True)
class _Frame:
    """An inline element that puts something around its text. `start`: where that begins in the current run. `href`: where
    it leads, when it is a link."""

    element: int
    before: str
    after: str
    start: int
    href: str = ""


@dataclass(slots=True)
class _List:
    element: int
    number: int | None


@dataclass(slots=True)
class _Item:
    """A list item or a quote: what stands before its first line, and before the others."""

    element: int
    first: str
    rest: str
    begun: bool = False


@dataclass(slots=True)
class _Table:
    """A table as its cells come. `layout`: it holds blocks, and its cells are rendered as such."""

    element: int
    rows: list[list[str]] = field(default_factory=list)
    row: list[str] = field(default_factory=list)
    headed: bool = False
    layout: bool = False
    span: int = 1


class _Renderer:
    def __init__(self, base: str) -> None:
        self.title = ""
        self.full = False
        self._base = base
        self._based = False
        self._out: list[str] = []
        self._size = 0
        self._listed = False  # whether the last block stands in an item
        self._names: list[str] = []  # the open elements
        self._open: dict[str, int] = {}  # how many of each
        self._skipped_at: int | None = None  # the open element whose content is not shown
        self._run: list[str] = []
        self._frames: list[_Frame] = []
        self._lists: list[_List] = []
        self._items: list[_Item] = []
        self._tables: list[_Table] = []
        self._heading: tuple[int, str] | None = None
        self._pre: tuple[int, str, list[str]] | None = None
        self._code: int | None = None

    # tokens

    def take(self, token: Token) -> None:
        match token:
            case str():
                if token and self._skipped_at is None:
                    self._text(unescaped(token))
            case Start(name=name, attributes=attributes):
                self._start(name, attributes)
            case End(name=name):
                self._end(name)
            case RawText(name=name, text=text):
                if name == "title" and not self.title and "svg" not in self._open:
                    self.title = _SPACE.sub(" ", without_unseen(unescaped(text))).strip()[:300]
                elif name == "xmp" and self._skipped_at is None:
                    self._start("pre", {})
                    self._text(text)
                    self._end("pre")

    def text(self) -> str:
        """All of it; what is open is closed."""
        while self._names:
            self._pop()
        self._flush()
        return "".join(self._out).strip("\n")

    def _start(self, name: str, attributes: Attributes) -> None:
        if self._open.get("head") and name not in HEAD_ONLY:
            self._close(names("head"), frozenset())
        if name in IMPLIED:
            self._close(*IMPLIED[name])
        if name in ENDS_P:
            self._close(names("p"), SCOPE)
        hidden = self._skipped_at is not None
        if name == "base" and not self._based and attributes.get("href"):
            self._based, self._base = True, self._absolute(attributes["href"]) or self._base
        if name in VOID:
            if not hidden and not _is_hidden(attributes):
                self._void(name, attributes)
            return
        self._names.append(name)
        self._open[name] = self._open.get(name, 0) + 1
        if hidden:
            return
        if _is_hidden(attributes) or (name in DROPPED and not (name == "dialog" and "open" in attributes)):
            if name == "math" and (said := attributes.get("alttext")):
                self._text(said)
            self._skipped_at = len(self._names)
            return
        self._begin(name, attributes)

    def _end(self, name: str) -> None:
        if name == "br":
            self._start(name, {})
        if name in ("body", "html"):
            return  # what follows still stands in what is open
        if name == "table":
            self._close(names("table"), frozenset())
        elif name in TABLE_PARTS:
            self._close(frozenset({name}), names("table"))
        elif name in SPECIAL or name in DROPPED:
            self._close(frozenset({name}), SCOPE | names("ul ol") if name == "li" else SCOPE - {name})
        else:
            self._close_inline(name)

    def _close_inline(self, name: str) -> None:
        """A block within stays open, and what was hidden in it stays hidden."""
        across = False
        for back in range(1, min(len(self._names), MAX_LOOK) + 1):
            depth = len(self._names) - back + 1
            if self._names[-back] == name:
                if not across:
                    self._close(frozenset({name}), frozenset())
                elif self._skipped_at is None:
                    if self._frames and self._frames[-1].element == depth:
                        self._wrap(self._frames.pop())
                    self._names[-back] = ""
                    self._open[name] -= 1
                return
            if self._names[-back] in SCOPE:
                return
            across = across or self._names[-back] in SPECIAL

    def _close(self, names: frozenset[str], until: frozenset[str]) -> None:
        """End the innermost of these, with all that is open in it, unless one of `until` is between."""
        if not any(self._open.get(name) for name in names):
            return
        for back in range(1, min(len(self._names), MAX_LOOK) + 1):
            name = self._names[-back]
            if name in names:
                again = self._reopened(back, name)
                for _ in range(back):
                    self._pop()
                if again:
                    self._names.append(again)
                    self._open[again] += 1
                    self._skipped_at = len(self._names)
                return
            if name in until:
                return

    def _reopened(self, back: int, name: str) -> str:
        """The hidden element among the innermost `back` that goes on when `name` ends: its text must stay hidden."""
        if self._skipped_at is None or self._skipped_at <= len(self._names) - back + 1 or name in TABLE_PARTS | {"table"}:
            return ""
        hidden = self._names[self._skipped_at - 1]
        return hidden if hidden in FORMATTING else ""

    def _pop(self) -> str:
        depth = len(self._names)
        name = self._names.pop()
        if name:
            self._open[name] -= 1
        if self._skipped_at is not None:
            if self._skipped_at == depth:
                self._skipped_at = None
                if name in BLOCKS:
                    self._break()
            return name
        self._finish(name, depth)
        return name

    # elements

    def _begin(self, name: str, attributes: Attributes) -> None:
        depth = len(self._names)
        if self._pre is not None:
            if name == "code" and not self._pre[1]:
                self._pre = (self._pre[0], _language(attributes), self._pre[2])
            return
        if name in BLOCKS:
            self._break()
        match name:
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
                self._no_table()
                self._heading = (depth, HEADINGS[name])
            case "pre":
                self._no_table()
                self._pre = (depth, _language(attributes), [])
            case "blockquote":
                self._no_table()
                if len(self._items) < MAX_LISTS:
                    self._items.append(_Item(depth, "> ", "> "))
            case "ul" | "menu" | "dir":
                self._no_table()
                self._lists.append(_List(depth, None))
            case "ol":
                self._no_table()
                self._lists.append(_List(depth, _number(attributes.get("start"))))
            case "li":
                mark = "- "
                if self._lists and self._lists[-1].number is not None:
                    mark = f"{self._lists[-1].number}. "
                    self._lists[-1].number += 1
                if len(self._items) < MAX_LISTS:
                    self._items.append(_Item(depth, mark, " " * len(mark)))
            case "table":
                self._no_table()
                self._tables.append(_Table(depth))
            case "tr":
                self._row()
            case "td" | "th":
                if self._tables:
                    self._tables[-1].headed |= name == "th" and not self._tables[-1].rows
                    self._tables[-1].span = min(_number(attributes.get("colspan")), MAX_COLUMNS)
            case "a":
                if attributes.get("href"):
                    self._frame(depth, "[", "", attributes["href"])
            case "b" | "strong":
                self._frame(depth, "**", "**")
            case "em" | "i" | "cite" | "dfn" | "var":
                self._frame(depth, "*", "*")
            case "del" | "s" | "strike":
                self._frame(depth, "~~", "~~")
            case "q":
                self._frame(depth, "\u201c", "\u201d")
            case "code" | "kbd" | "samp" | "tt":
                if self._code is None:
                    self._frame(depth, "`", "`")
                    self._code = depth
            case "dd":
                if len(self._items) < MAX_LISTS and not self._in_cell:
                    self._items.append(_Item(depth, ": ", "  "))
            case _:
                pass

    def _void(self, name: str, attributes: Attributes) -> None:
        match name:
            case "br":
                self._text("\n", literal=True)
            case "hr":
                self._break()
                if self._pre is None and not self._in_cell:
                    self._block("---")
            case "img":
                said = _SPACE.sub(" ", without_unseen(attributes.get("alt", ""))).strip()
                if said and self._pre is None:
                    there = self._absolute(attributes.get("src", ""))
                    self._push(f"![{said}]({there})" if there else f"[image: {said}]")
            case _:
                pass

    def _finish(self, name: str, depth: int) -> None:
        """The element ends that was the `depth`-th open one."""
        if self._pre is not None:
            if self._pre[0] == depth:
                self._fence()
            return
        if name in BLOCKS:
            self._break()
        if self._heading is not None and self._heading[0] == depth:
            self._heading = None
        if self._code == depth:
            self._code = None
        if self._frames and self._frames[-1].element == depth:
            self._wrap(self._frames.pop())
        if self._items and self._items[-1].element == depth:
            self._items.pop()
        if self._lists and self._lists[-1].element == depth:
            self._lists.pop()
        if self._tables:
            table = self._tables[-1]
            if name in ("td", "th") and not table.layout:
                table.row += [_line(self._taken()), *[""] * (table.span - 1)]
                table.span = 1
            elif name == "caption" and not table.layout and (said := _line(self._taken())):
                self._block(said)
            elif name == "tr":
                self._row()
            if table.element == depth:
                self._row()
                self._tables.pop()
                self._table(table)

    # inline

    def _text(self, text: str, *, literal: bool = False) -> None:
        text = without_unseen(text)
        if self._pre is not None:
            self._pre[2].append(text)
            self._count(len(text))
        else:
            self._push(text if literal else _SPACE.sub(" ", text))

    def _push(self, text: str) -> None:
        if text:
            self._run.append(text)
            self._count(len(text))

    def _count(self, size: int) -> None:
        self._size += size
        self.full = self.full or self._size > MAX_TEXT

    def _absolute(self, href: str) -> str:
        """Where a link leads; nothing when it stays on the page or leads nowhere one can fetch from."""
        href = re.sub(r"[\t\n\r]", "", without_unseen(href)).strip()
        if not href or href.startswith("#"):
            return ""
        try:
            there = urljoin(self._base, href)
        except ValueError:
            return ""
        if not there.lower().startswith(("http://", "https://", "mailto:")):
            return ""
        return re.sub(r"[\s<>()]", lambda found: f"%{ord(found[0]):02X}" if found[0].isascii() else "", there)

    def _frame(self, depth: int, before: str, after: str, href: str = "") -> None:
        if len(self._frames) < MAX_INLINE and self._code is None and all(f.before != before for f in self._frames):
            self._frames.append(_Frame(depth, before, after, len(self._run), href))

    def _wrap(self, frame: _Frame) -> None:
        inner = "".join(self._run[frame.start :])
        del self._run[frame.start :]
        plain = inner.strip(" \n")
        if not plain:
            self._run.append(inner)
            return
        lead, tail = inner[: len(inner) - len(inner.lstrip(" \n"))], inner[len(inner.rstrip(" \n")) :]
        before, after = frame.before, frame.after
        if before == "`":
            plain = plain.replace("\n", " ")
            if "`" in plain:
                before, after = "`` ", " ``"
        elif frame.href:
            there = self._absolute(frame.href)
            before, after = ("[", f"]({there})") if there and there != plain else ("", "")
        self._push(f"{lead}{before}{plain}{after}{tail}")

    # blocks

    @property
    def _in_cell(self) -> bool:
        return bool(self._tables) and not self._tables[-1].layout

    def _break(self) -> None:
        """A block begins or ends here."""
        if self._in_cell:
            # A cell is one line.
            if self._run and self._run[-1] != " ":
                self._run.append(" ")
        else:
            self._flush()

    def _taken(self) -> str:
        """The text since the last block; what is around it goes on behind it."""
        for frame in reversed(self._frames):
            self._wrap(frame)
            frame.start = 0
        text = "".join(self._run)
        self._run.clear()
        return text

    def _flush(self) -> None:
        lines = [line for part in self._taken().split("\n") if (line := _SPACE.sub(" ", part).strip(" "))]
        if not lines:
            return
        if self._heading is not None:
            lines = [f"{self._heading[1]} {' '.join(lines)}"]
        self._block("\n".join(lines))

    def _block(self, text: str) -> None:
        """Put a block behind the others, in the items it stands in."""
        first = "".join(item.rest if item.begun else item.first for item in self._items)
        rest = "".join(item.rest for item in self._items)
        if len(rest) * text.count("\n") > MAX_TEXT:
            rest = ""
        # Items of a list follow each other closely, and a definition what it defines.
        item = self._items[-1] if self._items else None
        close = item is not None and not item.begun and (item.first == ": " or (item.first != "> " and self._listed))
        self._listed = item is not None
        for item in self._items:
            item.begun = True
        if self._out:
            self._out.append("\n" if close else "\n\n")
        block = first + text.replace("\n", f"\n{rest}")
        self._out.append(block)
        self._count(len(block) - len(text) + 2)

    def _fence(self) -> None:
        assert self._pre is not None
        text = "".join(self._pre[2])
        language = self._pre[1]
        self._pre = None
        text = text.replace("\r\n", "\n").removeprefix("\n").rstrip()
        if text:
            longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
            fence = "`" * (longest + 1)
            self._block(f"{fence}{language}\n{text}\n{fence}")

    # tables

    def _no_table(self) -> None:
        """A block begins that no cell can hold: the tables around are for layout."""
        if not self._in_cell:
            return
        table = self._tables[-1]
        for row in [*table.rows, table.row]:
            for cell in row:
                if cell:
                    self._block(cell)
        table.rows, table.row, table.layout = [], [], True
        self._flush()

    def _row(self) -> None:
        if self._tables and not self._tables[-1].layout and self._tables[-1].row:
            table = self._tables[-1]
            if len(table.row) > MAX_COLUMNS:
                self._no_table()
                return
            table.rows.append(table.row)
            table.row = []

    def _table(self, table: _Table) -> None:
        rows = [row for row in table.rows if any(row)]
        if not rows:
            return
        columns = max(map(len, rows))
        if columns == 1:
            for row in rows:
                self._block(row[0])
            return
        head, body = (rows[0], rows[1:]) if table.headed else ([""] * columns, rows)
        head = head + [""] * (columns - len(head))
        self._block("\n".join([_cells(head), _cells(["---"] * columns), *map(_cells, body)]))


def _cells(row: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _line(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and 0 < len(text) <= 6 else 1


def _language(attributes: Attributes) -> str:
    found = _LANGUAGE.search(attributes.get("class", ""))
    return found[1] if found else ""


def _is_hidden(attributes: Attributes) -> bool:
    if not attributes:
        return False
    return (
        ("hidden" in attributes and attributes["hidden"].lower() != "until-found")
        or attributes.get("aria-hidden", "").lower() == "true"
        or _HIDING.search(_REMARK.sub("", attributes.get("style", ""))) is not None
    )
