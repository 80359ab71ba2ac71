"""Small files of the kinds that are attached, made by hand: as large in pixels or pages as a test wants them."""

from __future__ import annotations

import zlib


def png(width: int, height: int, *, size: int = 0) -> bytes:
    """`size`: bytes of the whole file, at least."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    pixels = zlib.compress(bytes((width + 1) * height)) if width * height <= 10_000 else zlib.compress(b"")
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    room = size - len(start) - len(end) - 12
    return start + (chunk(b"teXt", bytes(room)) if room > 0 else b"") + end


def jpeg(width: int, height: int, *, before: bytes = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0") -> bytes:
    """`before`: the segments in front of the one that tells the size."""
    frame = b"\xff\xc0\0\x0b\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\1\1\x11\0"
    return b"\xff\xd8" + before + frame + b"\xff\xd9"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0\0\0;"


def webp(width: int, height: int, form: str = "VP8X") -> bytes:
    match form:
        case "VP8X":
            body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        case "VP8L":
            body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(5)
        case _:
            body = b"\0\0\0\x9d\x01\x2a" + width.to_bytes(2, "little") + height.to_bytes(2, "little")
    chunk = form.encode() + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk


def pdf(pages: int, *, size: int = 0) -> bytes:
    """`size`: bytes of the whole file, at least."""
    kids = " ".join(f"{n + 3} 0 R" for n in range(pages))
    objects = [
        "1 0 obj\n<</Type /Catalog /Pages 2 0 R>>\nendobj",
        f"2 0 obj\n<</Type /Pages /Kids [{kids}] /Count {pages}>>\nendobj",
    ]
    objects += [f"{n + 3} 0 obj\n<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>\nendobj" for n in range(pages)]
    body = ("%PDF-1.7\n" + "\n".join(objects) + "\ntrailer <</Root 1 0 R>>\n").encode()
    return body + b"%" * max(0, size - len(body) - 6) + b"\n%%EOF"


def packed_pdf(pages: int) -> bytes:
    """A PDF whose pages stand in a compressed object stream."""
    objects = [b"<</Type/Page/Parent 2 0 R>>" for _ in range(pages)]
    places, at = [], 0
    for one in objects:
        places.append(at)
        at += len(one) + 1
    header = " ".join(f"{n + 3} {place}" for n, place in enumerate(places)).encode() + b"\n"
    packed = zlib.compress(header + b"\n".join(objects))
    first = len(header)
    head = f"1 0 obj\n<</Type/ObjStm /N {pages} /First {first} /Filter/FlateDecode /Length {len(packed)}>>\nstream\n"
    return b"%PDF-1.7\n" + head.encode() + packed + b"\nendstream\nendobj\n%%EOF"
