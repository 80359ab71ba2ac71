"""One HTML page of a session: to be read, printed and sent, with everything in it and nothing that is fetched or run.

Rules a change must keep: whatever comes of the log is escaped where it is written (`_text`), or goes through a Markdown that
knows no HTML and fetches nothing; no script stands in the page, and a policy in its head forbids any, as it forbids every
address. It is written piece by piece, so that a log of any length takes little memory.
"""

from __future__ import annotations

import asyncio
import base64
import html
import re
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from ...contracts import EventStore
from ...core.events import EntryKept, SessionCompacted
from ...core.ids import SessionId
from ...core.messages import Document, Image, ProviderBlock, ResultBlock, Text, Thinking, ToolCall, UserBlock, text_of
from . import words
from .story import Answered, Call, Direct, Passage, Said, Story, Told

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SHOWN_IMAGES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
_LONG = 6000
"""Characters of what a person said from which on it is folded; of a result, a third of them is shown first."""
_MARKDOWN = 50_000
"""Characters up to which a text is read as Markdown: longer ones may be written to take very long."""
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the order of what follows, so that a command could be shown as another."""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


async def page(store: EventStore, session: SessionId, heads: dict[SessionId, int], title: str) -> AsyncIterator[bytes]:
    """Piece by piece; `heads`: which sessions, the first one first, and up to which event."""
    yield _head(title)
    rows: list[tuple[Said, str]] = []
    story = Story(store, session, heads[session])
    # The summary stands before what it sums up, so the log is read once for that.
    spent = await _rows(story, rows)
    yield _summary(story, title).encode()
    yield _table(rows, spent).encode()
    async for piece in _conversation(Story(store, session, heads[session]), heads, "e"):
        yield piece.encode()
    for number, child in enumerate(list(heads)[1:], 1):
        below = Story(store, child, heads[child])
        yield f'<section class=child id="s-{_text(child)}"><h2>Subagent <code>{_text(child)}</code></h2>'.encode()
        async for piece in _conversation(below, heads, f"c{number}"):
            yield piece.encode()
        facts = "".join(f"<dt>{_text(name)}<dd>{_text(value)}" for name, value in words.totals(below.total))
        yield f"<dl class=note>{facts}</dl></section>".encode()
    yield b"</body></html>\n"


# --- the page -----------------------------------------------------------------------------------------------------------


def _head(title: str) -> bytes:
    style = resources.files(__package__).joinpath("page.css").read_text()
    return (
        '<!DOCTYPE html>\n<html lang=en><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name=viewport content="width=device-width, initial-scale=1"><meta name=referrer content=no-referrer>'
        f"<title>{_text(title)}</title><style>\n{style}</style></head><body>"
    ).encode()


async def _rows(story: Story, rows: list[tuple[Said, str]]) -> dict[int, tuple[int, int, float]]:
    """What was said, and what followed each: answers, calls and cost by the seq of what was said."""
    spent: dict[int, tuple[int, int, float]] = {}
    last = 0
    async for passage in story.passages():
        match passage:
            case Said():
                last = passage.seq
                rows.append((Said(passage.seq, passage.at_ms, passage.left), words.one_line(text_of(passage.content), 90)))
            case Answered():
                answers, calls, cost = spent.get(last, (0, 0, 0.0))
                usage = passage.message.usage
                spent[last] = (answers + 1, calls + len(passage.calls), cost + (usage.cost_usd or 0.0))
            case _:
                pass
    return spent


def _summary(story: Story, title: str) -> str:
    created = story.created
    facts = [("session", str(story.session))]
    if created is not None:
        facts.append(("agent", f"{created.agent.name}, version {created.agent.version}"))
        if created.workspace is not None:
            facts.append(("folder", created.workspace))
    facts += words.totals(story.total)
    listed = "".join(f"<dt>{_text(name)}<dd>{_text(value)}" for name, value in facts)
    return f"<h1>{_text(title)}</h1><dl>{listed}</dl><p class=note>{_text(words.SECRETS)}</p>"


def _table(rows: list[tuple[Said, str]], spent: dict[int, tuple[int, int, float]]) -> str:
    if not rows:
        return ""
    lines = []
    for said, text in rows:
        answers, calls, cost = spent.get(said.seq, (0, 0, 0.0))
        kind = " class=note" if said.left else ""
        lines.append(
            f'<tr{kind}><td class=n>{_text(words.moment(said.at_ms))}<td><a href="#e-{said.seq}">{_text(text or "…")}</a>'
            f"<td class=n>{answers}<td class=n>{calls}<td class=n>{f'${cost:.4f}' if cost else ''}"
        )
    head = "<tr><th>when (UTC)<th>said<th>answers<th>calls<th>cost"
    return f"<details class=turns><summary>{len(rows)} turns</summary><table>{head}{''.join(lines)}</table></details>"


async def _conversation(story: Story, heads: dict[SessionId, int], place: str) -> AsyncIterator[str]:
    left = False
    async for passage in story.passages():
        if passage.left and not left:
            yield "<details class=left><summary>A branch that the conversation left</summary>"
        elif left and not passage.left:
            yield "</details>"
        left = passage.left
        name = f"{place}-{passage.seq}"
        # Others have their turn between two passages, and beside a long one.
        await asyncio.sleep(0)
        yield (
            await asyncio.to_thread(_passage, passage, heads, name) if _is_long(passage) else _passage(passage, heads, name)
        )
    if left:
        yield "</details>"


# --- passages -----------------------------------------------------------------------------------------------------------


def _is_long(passage: Passage) -> bool:
    return isinstance(passage, Answered) and len(passage.message.text) > _LONG


def _passage(passage: Passage, heads: dict[SessionId, int], name: str) -> str:
    anchor = f'id="{name}"'
    match passage:
        case Said():
            who = "user" if passage.sender is None else f"user, by {passage.sender}"
            body = "".join(_said(block) for block in passage.content)
            return f"<article class=user {anchor}>{_meta(passage, who, name)}{body}</article>"
        case Answered():
            return _answer(passage, name, heads)
        case Direct():
            return f"<article {anchor}>{_meta(passage, 'a tool, used directly', name)}{_call(passage.call, heads)}</article>"
        case Told():
            line, more = words.told(passage)
            if isinstance(passage.data, SessionCompacted):
                more = f"<div>{_markdown(more)}</div>"
            elif more:
                more = f"<pre>{_text(more)}</pre>"
            if isinstance(passage.data, EntryKept) or len(more) > 400:
                return f"<article class=event {anchor}><details><summary>{_text(line)}</summary>{more}</details></article>"
            return f"<article class=event {anchor}>{_text(line)}{more}</article>"
        case _:
            return ""


def _meta(passage: Passage, who: str, name: str) -> str:
    return f'<div class=meta><a href="#{name}">{_text(who)} · {_text(words.moment(passage.at_ms))}</a></div>'


def _answer(passage: Answered, name: str, heads: dict[SessionId, int]) -> str:
    message = passage.message
    calls = {call.call.id: call for call in passage.calls}
    parts = [f'<article id="{name}">', _meta(passage, message.model or "agent", name)]
    for block in message.content:
        match block:
            case Text():
                parts.append(f"<div>{_markdown(block.text)}</div>" if block.text.strip() else "")
            case Thinking() if block.redacted or not block.text:
                parts.append("<div class=thinking>(thought about it)</div>")
            case Thinking():
                parts.append(_thinking(block.text))
            case ToolCall():
                parts.append(_call(calls[block.id], heads))
            case Image() | Document():
                parts.append(_media(block))
            case ProviderBlock():
                parts.append(f"<div class=event>{_text(block.provider)}: {_text(block.kind)}</div>")
    if not message.complete:
        parts.append("<div class=event>The answer was cut here.</div>")
    if passage.open:
        parts.append("<div class=event>This turn had not ended.</div>")
    if message.usage.total_tokens:
        parts.append(f"<div class=meta>{_text(words.used(message.usage))}</div>")
    return "".join([*parts, "</article>"])


def _thinking(text: str) -> str:
    dimmed = f"<div class=thinking>{_text(text)}</div>"
    if len(text) < _LONG // 4:
        return dimmed
    return f"<details><summary class=meta>thinking, {len(text)} characters</summary>{dimmed}</details>"


def _call(call: Call, heads: dict[SessionId, int]) -> str:
    how = words.outcome(call)
    took = "" if call.result is None or call.result.duration_ms is None else f" {call.result.duration_ms / 1000:.1f} s"
    kind = "good" if how == "ok" else "bad"
    parts = [
        f"<details class=call><summary><b>{_text(call.call.name)}</b> <code>{_text(words.heading(call))}</code>"
        f" <span class={kind}>{_text(how)}</span><span class=meta>{took}</span></summary>"
    ]
    if call.answer is not None:
        said = f": {call.answer.reason}" if call.answer.reason else ""
        who = f" by {call.answer.sender}" if call.answer.sender else ""
        parts.append(f"<div class=event>{_text(f'{call.answer.decision}{who}{said}')}</div>")
    diff = words.diff_of(call)
    arguments = words.arguments_of(call)
    if diff is None:
        parts.append(_folded(arguments, "arguments") if arguments not in ("", "{}") else "")
    else:
        parts.append(_diff(diff))
        parts.append(f"<details><summary class=meta>arguments</summary><pre>{_text(arguments)}</pre></details>")
    for question in call.questions:
        asked, lines = words.put(question)
        answer = "".join(f"<div>{_text(line)}</div>" for line in lines)
        parts.append(f"<div class=event>{_text(asked)}{answer}</div>")
    if call.child is not None:
        name = _text(call.child)
        link = f'<a href="#s-{name}">{name}</a>' if call.child in heads else f"<code>{name}</code>"
        parts.append(f"<div class=event>done by subagent {link}</div>")
    for block in () if call.result is None else call.result.content:
        parts.append(_folded(block.text, "result") if isinstance(block, Text) else _media(block))
    return "".join([*parts, "</details>"])


def _said(block: UserBlock) -> str:
    if not isinstance(block, Text):
        return _media(block)
    if len(block.text) <= _LONG:
        return f"<div class=said>{_text(block.text)}</div>"
    start = _text(words.one_line(block.text, 200))
    return f"<details><summary>{start}</summary><div class=said>{_text(block.text)}</div></details>"


def _folded(text: str, what: str) -> str:
    if len(text) <= _LONG // 3 and text.count("\n") <= 40:
        return f"<pre>{_text(text)}</pre>"
    head = "\n".join(text[: _LONG // 3].split("\n")[:20])
    size = f"{what}, {text.count(chr(10)) + 1} lines, {len(text)} characters"
    rest = f"<details><summary class=meta>all of the {_text(size)}</summary><pre>{_text(text)}</pre></details>"
    return f"<pre>{_text(head)}\n…</pre>{rest}"


def _diff(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        kind = "h" if line.startswith(("@@", "+++", "---")) else "a" if line[:1] == "+" else "d" if line[:1] == "-" else ""
        lines.append(f"<span{f' class={kind}' if kind else ''}>{_text(line) or ' '}</span>")
    return f"<pre class=diff>{''.join(lines)}</pre>"


def _media(block: UserBlock | ResultBlock) -> str:
    """An image that browsers show, in the page; of anything else what it was."""
    name = _text(words.block_name(block))
    if isinstance(block, Image) and block.data is not None and block.media_type in _SHOWN_IMAGES:
        data = base64.b64encode(block.data).decode()
        return f'<p><img alt="{name}" src="data:{block.media_type};base64,{data}"></p>'
    if isinstance(block, Document) and block.data is not None and block.media_type.startswith("text/"):
        return f"<div class=event>{name}</div>{_folded(block.data.decode('utf-8', 'replace'), 'document')}"
    return f"<div class=event>{name}</div>"


# --- text ---------------------------------------------------------------------------------------------------------------


def _text(value: str) -> str:
    """As text and within quotes, whatever it is; what no page may hold is shown as U+FFFD."""
    return html.escape(_shown(value), quote=True)


def _shown(value: str) -> str:
    """Without what no page may hold, and with what turns text around made visible."""
    return _TURNING.sub(lambda found: f"⟪U+{ord(found[0]):04X}⟫", _UNWRITABLE.sub("\ufffd", value))


def _markdown(text: str) -> str:
    if len(text) > _MARKDOWN:
        return f"<div class=said>{_text(text)}</div>"
    return _renderer()(_shown(text))


@lru_cache(maxsize=1)
def _renderer() -> Callable[[str], str]:
    """CommonMark with tables and crossed out text, without HTML and without images. Links lead to web and mail addresses
    only, and are followed by hand."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"]).disable("image")

    def allowed(url: str) -> bool:
        return url.strip().lower().startswith(("http://", "https://", "mailto:", "#"))

    reader.validateLink = allowed  # type: ignore[method-assign]

    def link_open(renderer: Any, tokens: Sequence[Any], index: int, options: Any, _env: Any) -> str:
        tokens[index].attrSet("rel", "noopener noreferrer nofollow")
        return str(renderer.renderToken(tokens, index, options, _env))

    reader.add_render_rule("link_open", link_open)
    return reader.render


__all__ = ["page"]
