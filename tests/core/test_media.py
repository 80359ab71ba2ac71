"""What files are, from their bytes: whatever these are, it is told or not told, and nothing raises or takes long."""

from __future__ import annotations

import time
import zlib

import pytest
from hypothesis import example, given, strategies as st
from tests.files import gif, jpeg, packed_pdf, pdf, png, webp

from godwit.core.attachments import clean_name
from godwit.core.media import (
    IMAGES,
    PDF,
    PLAIN,
    image_type,
    is_text_type,
    media_type_of,
    other_type,
    pages_of,
    pixels_of,
    text_of_file,
)

HEADS = [
    png(3, 2)[:20],
    jpeg(3, 2)[:12],
    gif(3, 2)[:8],
    webp(3, 2)[:16],
    b"%PDF-1.7\n/Type /Page stream\r\n",
    b"\xff\xfe",
    b"PK\3\4",
]


@given(st.sampled_from([b"", *HEADS]), st.binary(max_size=2000))
@example(b"", b"")
@example(b"\xff\xd8\xff", b"\xff\xc0\0\0" * 3)
@example(b"%PDF-", b"1 0 obj /ObjStm stream\n\x78\x9c endstream")
def test_no_bytes_raise(head: bytes, rest: bytes) -> None:
    content = head + rest
    found = media_type_of(content)
    assert found is None or found in (*IMAGES, PDF, PLAIN)
    pixels = pixels_of(content)
    assert pixels is None or (image_type(content) is not None and min(pixels) > 0)
    assert pages_of(content) >= 0
    other_type(content)
    text = text_of_file(content)
    assert text is None or "\0" not in text


@given(st.integers(1, 16000), st.integers(1, 16000))
def test_width_and_height_are_read_from_each_kind(width: int, height: int) -> None:
    for made, media_type in ((png, "image/png"), (jpeg, "image/jpeg"), (gif, "image/gif"), (webp, "image/webp")):
        content = made(width, height)
        assert media_type_of(content) == media_type
        assert pixels_of(content) == (width, height)
        assert pixels_of(content[: len(content) // 3]) in (None, (width, height))


@pytest.mark.parametrize("form", ["VP8 ", "VP8L", "VP8X"])
def test_each_form_of_webp_tells_its_size(form: str) -> None:
    assert pixels_of(webp(801, 23, form)) == (801, 23)


def test_a_jpeg_is_read_past_its_other_segments() -> None:
    assert pixels_of(jpeg(640, 480, before=b"\xff\xe1\x10\x02" + bytes(0x1000) + b"\xff\xff\xfe\0\4ab")) == (640, 480)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_text_is_text_in_utf_8_and_marked_utf_16(text: str) -> None:
    for content in (
        text.encode(),
        b"\xef\xbb\xbf" + text.encode(),
        b"\xff\xfe" + text.encode("utf-16-le"),
        b"\xfe\xff" + text.encode("utf-16-be"),
    ):
        if image_type(content) is None and media_type_of(content) != PDF and content[2:3] != b"\xff":
            assert text_of_file(content) in (text, text.removeprefix("\ufeff"))


def test_a_name_has_no_say() -> None:
    assert media_type_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>") == PLAIN
    assert media_type_of(b"\x00\x01\x02") is None
    assert media_type_of(b"caf\xe9") is None
    assert media_type_of(b"\n" * 100 + pdf(1)) == PDF
    assert (other_type(b"PK\3\4..."), other_type(b"\0\0\0\x18ftypheic"), other_type(b"?")) == (
        "application/zip",
        "image/heic",
        None,
    )
    assert [is_text_type(t) for t in ("text/x-python; charset=utf-8", "application/json", PDF, "image/svg+xml")] == [
        True,
        True,
        False,
        False,
    ]


def test_pages_are_counted_also_those_in_packed_streams_and_each_once() -> None:
    assert pages_of(pdf(7)) == 7
    assert pages_of(pdf(7) + pdf(2)) == 7, "saved again: the same objects"
    assert pages_of(packed_pdf(120)) == 120
    assert pages_of(b"%PDF-1.7 /Type /Pages /Type/Page") == 0, "no object"


def test_a_text_that_speaks_of_pdfs_is_none() -> None:
    script = b'def is_pdf(content: bytes) -> bool:\n    return content.startswith(b"%PDF-")\n'
    assert media_type_of(script) == PLAIN
    assert media_type_of(b"\xef\xbb\xbf\n" + pdf(1)) == PDF
    assert media_type_of(b"Content-Type: application/pdf\n\n" + pdf(1) + b"\nstartxref\n0\n%%EOF") == PDF


@pytest.mark.parametrize(
    "piece",
    [b"/Type/Page\n", b"1 0 obj/Type/Page ", b"/ObjStm stream\n", b"/ObjStm stream\n" + zlib.compress(b"1 0 /Type/Page")],
)
def test_files_made_to_be_slow_are_not(piece: bytes) -> None:
    content = b"%PDF-1.7\n" + piece * (8_000_000 // len(piece)) + b"endstream"
    began = time.process_time()
    pages_of(content)
    assert time.process_time() - began < 5.0  # of a second or less; it took minutes when each piece was read to the end


def test_what_unpacks_to_very_much_does_not() -> None:
    bomb = zlib.compress(bytes(200_000_000))
    content = b"%PDF-1.7\n" + b"".join(b"%d 0 obj <</Type/ObjStm>> stream\n%b\nendstream\n" % (n, bomb) for n in range(3))
    assert pages_of(content) == 0


@given(st.text())
def test_a_name_is_one_short_line(name: str) -> None:
    cleaned = clean_name(name)
    assert len(cleaned) <= 200
    assert not set(cleaned) & set('<>"\n\r\t\0')
    assert clean_name(cleaned) == cleaned
