"""The elements of HTML by what they are to a reader: which hold nothing, which are blocks, which end others by beginning."""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VOID = names("area base br col embed hr img input link meta param source track wbr")
RAW = names("script style iframe noembed noframes noscript textarea title xmp")
"""Their content is text up to their end tag, whatever it looks like."""
DROPPED = names("svg math template object canvas video audio map select datalist dialog head")
TABLE_PARTS = names("td th tr tbody thead tfoot caption")
BLOCKS = TABLE_PARTS | names(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer form h1 "
    "h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol optgroup option p pre search section summary table ul"
)
HEADINGS = {f"h{n}": "#" * n for n in range(1, 7)}
FORMATTING = names("a b big code em font i nobr s small strike strong tt u")
"""Browsers open these again when a block they began in ends before they do."""
SPECIAL = BLOCKS | names("applet button marquee object select template")
SCOPE = names("td th caption table applet button marquee object template")
"""What an end tag does not reach out of."""
IMPLIED: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    # name: what its start ends, unless one of these is between
    "li": (names("li"), SPECIAL - names("li address div p")),
    "dt": (names("dt dd"), SPECIAL - names("dt dd address div p")),
    "dd": (names("dt dd"), SPECIAL - names("dt dd address div p")),
    "tr": (names("tr caption"), names("table")),
    "td": (names("td th caption"), names("tr table")),
    "th": (names("td th caption"), names("tr table")),
    "tbody": (names("tbody thead tfoot caption"), names("table")),
    "thead": (names("tbody thead tfoot caption"), names("table")),
    "tfoot": (names("tbody thead tfoot caption"), names("table")),
    "a": (names("a"), names("td th table")),
}
ENDS_P = BLOCKS - TABLE_PARTS - names("body html option optgroup legend")
HEAD_ONLY = VOID | RAW | {"head", "html", "template"}
