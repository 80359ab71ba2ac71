"""What looks like a key or a password in a text. Pure.

It knows the shapes of keys that services give out, and of values that a text itself calls a password or a key. It is a net
and no proof: a secret without a shape is not seen. Rule: what is found is never repeated in a message.
"""

from __future__ import annotations

import re

LEFT_OUT = "[left out: it looks like a key]"
_KNOWN = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"\b(?:sk|rk|pk)[-_](?:live|test|ant|proj|or|svcacct)?[-_]?[A-Za-z0-9_-]{20,}",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\b(?:hf|npm|gw)_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"(?i:\bbearer\s+)(?=[A-Za-z._~+/=-]*\d)[A-Za-z0-9._~+/=-]{20,}",
)
_SHAPES = re.compile("|".join(f"(?:{one})" for one in _KNOWN))
# A value that the text calls a secret: of 6 characters or more, with a digit or a sign among them, since plain words follow
# as well.
_NAMED = re.compile(
    r"(?i)(?<![a-z])((?:pass(?:word|wd|phrase)|pwd|secret|token|credential|(?:api|access|private|secret|signing)[ _-]?key)s?"
    r"[\"']?\s*(?:=>?|:|\bis\b)\s*[\"'`]?)((?=[^\s\"'`]*[\d!@#$%^&*])[^\s\"'`,;]{6,})"
)
_IN_URL = re.compile(r"(://[^\s/:@]+:)([^\s/@]+)(@)")


def looks_like_key(text: str) -> bool:
    """Whether something in this looks like a key or a password."""
    return any(shape.search(text) for shape in (_SHAPES, _NAMED, _IN_URL))


def without_keys(text: str) -> str:
    """The text, with a note in place of what looks like a key or a password."""
    text = _SHAPES.sub(LEFT_OUT, text)
    text = _NAMED.sub(lambda found: found[1] + LEFT_OUT, text)
    return _IN_URL.sub(lambda found: found[1] + LEFT_OUT + found[3], text)


__all__ = ["LEFT_OUT", "looks_like_key", "without_keys"]
