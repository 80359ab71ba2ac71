"""Visible: texts of strangers as a person is shown them before they approve something."""

from __future__ import annotations

import unicodedata

_UNSEEN = {0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
"""Fillers and variation selectors: letters and marks by their class, and nothing on the screen."""


def visible(text: str) -> str:
    """The text with everything in it that would not be seen, or would move what is seen, made visible; tabs and line feeds
    stay. What is approved must not hide behind a control character, an empty letter or a change of the writing direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\t " or 0x20 < code < 0x7F:
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code in _UNSEEN or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"):
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return character
