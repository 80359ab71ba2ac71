"""Finders: programs that put what they find or read into a command that they run (`find`, `xargs`)."""

from __future__ import annotations

import re
from itertools import pairwise

from ..commands import Word, literal_word, unknown_word
from .meaning import Meaning, Program
from .options import operand, starts


def _xargs(words: list[Word]) -> Meaning:
    at = operand(
        words,
        1,
        "InLPsdEa",
        "0rtxpo",
        "replace max-lines max-args max-procs max-chars delimiter eof arg-file process-slot-var",
        "null no-run-if-empty verbose exit interactive open-tty show-limits",
    )
    if at < 0:
        return starts(words, at)
    if at >= len(words):
        return Meaning(neutral=True, inner=[[literal_word("echo"), unknown_word()]])
    made = starts(words, at)
    marks = {"{}"}
    for before, word in pairwise(words[1 : at + 1]):
        if before.exact and (mark := re.fullmatch(r"-[0rtxpo]*I(.*)", before.text, re.DOTALL)):
            marks.add(mark[1] or word.text)
        elif before.exact and before.text.startswith("--replace"):
            marks.add(before.text.partition("=")[2] or word.text)
    inner = [_replaced(word, marks) for word in words[at:]]
    made.inner = [[*inner, unknown_word()]]
    return made


def _replaced(word: Word, marks: set[str]) -> Word:
    """A word in which another program puts something."""
    first = min((word.text.find(mark) for mark in marks if mark and mark in word.text), default=-1)
    if first < 0:
        return word
    head = word.head[: min(first, len(word.head))]
    return Word(word.text, exact=False, head=head, splits=word.splits, quoted=word.quoted, raw=word.raw)


def _parallel(words: list[Word]) -> Meaning:
    made = Meaning().careful("it puts commands together from its input")
    at = next((i for i, w in enumerate(words) if i and not w.option), len(words))
    end = next((i for i, w in enumerate(words) if w.text.startswith(":::")), len(words))
    made.hint.append([*words[at:end], unknown_word()])
    made.hint += [words[i:end] for i in range(1, min(end, 10))]
    return made


def _find(words: list[Word]) -> Meaning:
    made = Meaning()
    at = 1
    while at < len(words):
        word = words[at]
        at += 1
        if not word.exact:
            if word.option:
                made.careful("a word that is not known may be an action")
            continue
        text = word.text
        if text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = at
            while end < len(words) and not (
                words[end].exact and (words[end].text == ";" or (words[end].text == "+" and words[end - 1].text == "{}"))
            ):
                end += 1
            inner = [_replaced(w, {"{}"}) for w in words[at:end]]
            if inner:
                made.inner.append(inner)
            else:
                made.careful("what it runs is not known")
            at = end + 1
        elif text == "-delete":
            made.inner.append([literal_word("rm"), unknown_word()])
        elif text in ("-fprint", "-fprint0", "-fprintf", "-fls"):
            target = words[at] if at < len(words) else unknown_word()
            made.writes.append(target.text if target.exact else None)
        elif text.startswith(("-files0-from",)):
            made.careful("its paths come from a file")
    return made


def _fd(words: list[Word]) -> Meaning:
    made = Meaning()
    for at, word in enumerate(words[1:], 1):
        if not word.exact and word.option:
            made.careful("a word that is not known may be an action")
        elif word.exact and re.match(r"-[a-zA-Z0-9]*[xX]|--exec", word.text):
            inner = [_replaced(w, {"{}", "{/}", "{//}", "{.}", "{/.}"}) for w in words[at + 1 :]]
            attached = word.text.partition("=")[2]
            if attached:
                inner = [literal_word(attached), *inner]
            if inner:
                made.inner.append([*inner, unknown_word()])
            if not attached and not re.fullmatch(r"-[xX]|--exec(?:-batch)?", word.text):
                made.careful("what it runs is not known")
            break
    return made


FINDERS: dict[str, Program] = {
    "xargs": _xargs,
    "gxargs": _xargs,
    "parallel": _parallel,
    "find": _find,
    "gfind": _find,
    "fd": _fd,
    "fdfind": _fd,
}
