"""HTML as Markdown: what people see, and time that grows with the page and nothing else."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, strategies as st

from godwit.tools.html_elements import BLOCKS, DROPPED, RAW, VOID
from godwit.tools.html_tokens import tokens
from godwit.tools.markdown import markdown_of

BASE = "https://e.com/a/b?token=REDACTED"


def md(source: str, base: str = BASE) -> str:
    return markdown_of(source, base)[0]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("", ""),
        ("  a \n\t b  ", "a b"),
        ("<p>a<p>b", "a\n\nb"),
        ("<div>a<div>b</div>c</div>", "a\n\nb\n\nc"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<h1>A</h1><h2> B <br> c</h2><h6>D</h6>x", "# A\n\n## B c\n\n###### D\n\nx"),
        ("a <b> b </b>c <em>d</em>", "a **b** c *d*"),
        ("<b><strong>a</strong></b> <b></b><b> </b>b", "**a** b"),
        ("<b>a<p>b</b>c", "**a**\n\n**b**c"),
        ("a <code>b*c</code> <code>d`e</code>", "a `b*c` `` d`e ``"),
        ("<del>a</del> <q>b</q>", "~~a~~ \u201cb\u201d"),
        ("<hr>a<hr>", "---\n\na\n\n---"),
        ("<blockquote>a<p>b</blockquote>c", "> a\n\n> b\n\nc"),
        ("&lt;b&gt; &amp;amp; &eacute; &#233; &#xE9; &nope;", "<b> &amp; é é é &nope;"),
        ("&#99999999999999999999;&#0;x", "\ufffd\ufffdx"),
        ("1 < 2 <3 a<b", "1 < 2 <3 a"),
        # links and images
        ("<a href=c>x</a>", "[x](https://e.com/a/c)"),
        ("<a href='//f.com/'> x </a>y", "[x](https://f.com/) y"),
        ("<a href='/q?a=1&amp;b=2#f'>x</a>", "[x](https://e.com/q?a=1&b=2#f)"),
        ("<a href='?p=2'>x</a>", "[x](https://e.com/a/b?p=2)"),
        ("<a href='#top'>x</a> <a href=''>y</a> <a>z</a>", "x y z"),
        ("<a href='javascript:x'>x</a> <a href='data:,y'>y</a> <a href=' java\nscript:z'>z</a>", "x y z"),
        ("<a href='mailto:a@b'>x</a>", "[x](mailto:a@b)"),
        ("<a href='https://f.com/'>https://f.com/</a>", "https://f.com/"),
        ("<a href='x y(z)'>x</a>", "[x](https://e.com/a/x%20y%28z%29)"),
        ("<a href='http://[::1'>x</a>", "x"),
        ("<a href=c><h3>T</h3><p>d</a>e", "### [T](https://e.com/a/c)\n\n[d](https://e.com/a/c)e"),
        ("<a href=c>x<a href=d>y</a>", "[x](https://e.com/a/c)[y](https://e.com/a/d)"),
        ("<img src=p.png alt='a  b'><img src=q.png><img alt=z src='data:,x'>", "![a b](https://e.com/a/p.png)[image: z]"),
        ("<base href='https://f.com/x/'><a href=y>z</a>", "[z](https://f.com/x/y)"),
        ("<head><base href='/x/'></head><a href=y>z</a>", "[z](https://e.com/x/y)"),
        ("<base href='javascript:x'><base href='https://late.com/'><a href=y>z</a>", "[z](https://e.com/a/y)"),
        # lists
        ("<ul><li>a<li>b</ul>c", "- a\n- b\n\nc"),
        ("a<ul><li>b</ul>", "a\n\n- b"),
        ("<ol start=9><li>a</li><li>b</li></ol>", "9. a\n10. b"),
        ("<ul><li>a<ul><li>b<ol><li>c</ol></ul><li>d</ul>", "- a\n  - b\n    1. c\n- d"),
        ("<ul><li><p>a<p>b<li>c</ul>", "- a\n\n  b\n- c"),
        ("<ul><li>a<br>b<pre>c\nd</pre></ul>", "- a\n  b\n\n  ```\n  c\n  d\n  ```"),
        ("<dl><dt>a<dd>b<dd>c</dl>", "a\n: b\n: c"),
        ("<li>a", "- a"),
        # code
        ("<pre>  a\n\n b &lt;</pre>x", "```\n  a\n\n b <\n```\n\nx"),
        ("<pre><code class='hljs language-python'>\nx = 1\n</code></pre>", "```python\nx = 1\n```"),
        ("<pre>```\n````</pre>", "`````\n```\n````\n`````"),
        ("<pre>a<b>b</b><span>c</span><br>d</pre>", "```\nabc\nd\n```"),
        ("<xmp><b>a</b></xmp>", "```\n<b>a</b>\n```"),
        # tables
        ("<table><tr><th>a<th>b<tr><td>1<td>2|3</table>", "| a | b |\n| --- | --- |\n| 1 | 2\\|3 |"),
        ("<table><tr><td>1<td>2<tr><td colspan=2>3</table>", "|  |  |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |"),
        (
            "<table><caption>c</caption><thead><tr><th>a<th>b</thead><tbody><tr><td><p>1<p>2<td><b>3</table>x",
            "c\n\n| a | b |\n| --- | --- |\n| 1 2 | **3** |\n\nx",
        ),
        ("<table><tr><td><ul><li>a</ul><td>b</table>", "- a\n\nb"),
        ("<table><tr><td>x<table><tr><td>a<td>b</table><td>y</table>", "x\n\n|  |  |\n| --- | --- |\n| a | b |\n\ny"),
        ("<table><tr><td>only</table>", "only"),
        # what is not seen
        ("a<script>b<p></script>c<style>d</style><!-- e --><noscript>f</noscript><template>g</template>h", "ach"),
        ("<p hidden>a</p><p style='color:red; DISPLAY : none'>b</p><p aria-hidden=true>c</p>d", "d"),
        ("<i style='visibility:hidden'>a</i><i style='font-size:0px'>b</i><i style='opacity: 0'>c</i>d", "d"),
        ("<i style='font-size:0.9em;opacity:0.5'>a</i>", "*a*"),
        ("<div hidden>a<div>b</div>c</div>d", "d"),
        ("<ul><li hidden>a<li>b</ul>", "- b"),
        ("<div hidden><p>a</div>b", "b"),
        ("<p hidden=until-found>a", "a"),
        ("<svg><title>t</title><text>a</text></svg><svg/>b<math alttext='x^2'><mi>x</mi></math>", "bx^2"),
        ("<select><option>a</select><video>b</video><textarea>c</textarea><dialog>d</dialog><dialog open>e</dialog>", "e"),
        ("a\u200bb\u202ec\U000e0041d\ufeff\x07e", "abcde"),
        ("a<!-->b<!--->c<!-- -- -->d<!--", "abcd"),
        ("a<![CDATA[x]]>b<?php x ?>c<!DOCTYPE html>d</ x>e", "abcde"),
        # what browsers keep hidden although a tag seems to end it
        ("<b><div hidden>a</b>b</div>c", "**c**"),
        ("<span><div hidden>a</span>b</div>c", "c"),
        ("<p><b hidden>a</p>b</b>c", "c"),
        ("<div><i hidden>a</div>b", ""),
        ("<table><tr><td><b hidden>a<td>b</table>", "|  |  |\n| --- | --- |\n|  | b |"),
        ("<div hidden><marquee></div>a</marquee></div>b", "b"),
        ("<li hidden><ul></li>a</ul></li>b", "b"),
        ("<li hidden><section><li>a</li></section></li>b", "b"),
        ("<p hidden><button><div>a</div></button></p>b", "b"),
        ("<div hidden></body></html>a</div>b", "b"),
        ("<html hidden><p>a", ""),
        ("<body hidden>a", ""),
        ("<i style='display:/* x */none'>a</i>b", "b"),
        ("<div hidden></span></b></p>a</div>b", "b"),
        # what is broken
        ("</p></div></b>a</p>", "a"),
        ("<p>a</b>b", "ab"),
        ("<b>a<i>b</b>c</i>d", "**a*b***cd"),
        ("<b>a<div>b</b>c</div>d", "**a**\n\n**b**c\n\nd"),
        ("a<p", "a"),
        ("a<p x='", "a"),
        ("a<script>b", "a"),
        ("<p =x =='y' / z>a", "a"),
        ("<p title='<b>'>a", "a"),
        ("<P CLASS=x>a</P >b", "a\n\nb"),
        ("<td>a</td>", "a"),
        ("<html><body>a</body></html>b", "ab"),
    ],
)
def test_a_page_reads_as_people_see_it(source: str, shown: str) -> None:
    assert md(source) == shown


def test_the_title() -> None:
    assert markdown_of("<head><title> A &amp;\n<b> </title></head><title>late</title>x", BASE)[1] == "A & <b>"
    assert markdown_of("<svg><title>no</title></svg>x", BASE)[1] == ""


TAGS = sorted({*BLOCKS, *DROPPED, *RAW, *VOID, "a", "b", "i", "code", "span", "q"})
PIECES = st.one_of(
    st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS]),
    st.sampled_from(
        [
            "<",
            ">",
            "</",
            "<!--",
            "-->",
            "&#",
            "&amp",
            "<a href=x>",
            "<a href='",
            "<p hidden>",
            "<td colspan=3>",
            "=",
            '"',
            "\n",
            "`",
            "|",
        ]
    ),
    st.text(max_size=5),
)


@given(st.lists(PIECES, max_size=60))
def test_any_page_is_read(pieces: list[str]) -> None:
    source = "".join(pieces)
    shown, title, cut = markdown_of(source, BASE)
    assert not cut
    assert len(shown) < 50 * len(source) + 1000
    assert shown == shown.strip("\n")
    assert "\n\n\n\n" not in re.sub(r"```.*?```", "", shown, flags=re.DOTALL)
    assert len(title) <= len(source)


WORDS = st.text(alphabet="abcdefgh", min_size=1, max_size=6)
SEEN = st.sampled_from(["div", "p", "span", "b", "li", "section", "blockquote", "td", "h2", "ul"])
AROUND = {"li": "<ul>{}</ul>", "td": "<table><tr>{}</tr></table>"}
HIDES = st.sampled_from(["hidden", "style='display:none'", "aria-hidden=true", 'STYLE="x:y;visibility: hidden"'])


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> tuple[str, list[str]]:
    """A well-formed page, in which hidden words are written large, and the words a person sees."""
    source, seen = "", []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["word", "hidden", "element"] if depth else ["word"]))
        if kind == "word":
            word = draw(WORDS)
            source += f" {word} "
            seen.append(word)
            continue
        tag = draw(SEEN)
        inner, words = draw(trees(depth - 1))
        if kind == "hidden":
            source += f"<div {draw(HIDES)}>{inner.upper()}</div>"
        else:
            # What is around it keeps it from ending by itself where another of its kind begins, as in browsers.
            source += AROUND.get(tag, "<div>{}</div>").format(f"<{tag}>{inner}</{tag}>")
            seen += words
    return source, seen


@given(trees())
def test_all_that_is_seen_is_shown_and_nothing_else(tree: tuple[str, list[str]]) -> None:
    source, seen = tree
    assert re.findall(r"[A-Za-z]+", md(source)) == seen


HOSTILE = {
    "deep": "<div>", "lists": "<ol><li>a", "items": "<li>a", "open tags": "<a ", "quotes": '<a x="', "bars": "|",
    "mixed quotes": "<a x='\"", "comments": "<!--", "empty comments": "<!-->", "bold": "<b>x", "overlap": "</b><b>",
    "tables": "<table><td>", "rows": "<tr><td>x", "pre": "<pre>", "fences": "<pre>```\n</pre>", "less": "<", "names": "<x",
    "scripts": "<script>", "script ends": "<script></script>", "titles": "<title>", "quotations": "<blockquote>x",
    "mixture": "<p><table><b>", "scopes": "<li><ul><b>", "hidden": "<div hidden>", "entities": "&#9", "ends": "</p",
    "links": "<a href=x>y", "equals": "<a =", "bogus": "<!", "divs and paragraphs": "<p><b><div>",
    "images": "<img alt=x src=y>",
    "definitions": "<dd>x<br>", "spaces": "<p \n", "styles": "<i style='display :", "numbers": "&#99999999999",
    "cells": "<td colspan=40>", "heads": "<head><p>", "remarks": "<i style='/*", "again": "<p><b hidden></p>",
    "inline across": "<b><div></b>",
}  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("end", ["", ">"])
def test_a_hostile_page_costs_no_more_than_others(piece: str, end: str) -> None:
    """Were any of this quadratic, a page of this size would take minutes."""
    source = piece * (25_000 // len(piece)) + end
    began = time.process_time()
    shown, _, _ = markdown_of(source, "https://e.com/" + "x" * 500)
    assert time.process_time() - began < 3
    assert len(shown) < 4_200_000


def test_text_that_grows_is_cut() -> None:
    base = "https://e.com/" + "x" * 7000 + "/"
    shown, _, cut = markdown_of("<a href=y>z</a>" * 10_000, base)
    assert cut
    assert len(shown) < 4_100_000


def test_tokens_give_back_all_text() -> None:
    assert [t for t in tokens("a<b>c</b>d<e f=g>h") if isinstance(t, str)] == ["a", "c", "d", "h"]
