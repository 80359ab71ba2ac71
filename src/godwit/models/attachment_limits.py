"""What providers take of images and documents, as they document it.

Leaves out what is checked against it (`core/attachments.py`). Rules: an entry is what a provider's own pages or error
messages say; what they do not say is left to the provider, which refuses by itself; the limits for all others are those
that keep a request within reason.

Looked up in November 2026, on the pages that are named or copies of them; from general knowledge are Anthropic's 600 pages,
OpenAI's 50 MB of one PDF, and Google's 3600 images and 100 MB.

    Anthropic   5 MB of base64 per image, 8000 px, 2000 px beyond 20 images; 100 images and 100 pages with 200,000 tokens
                of context, 600 with more; 32 MB per request. https://platform.claude.com/docs/en/build-with-claude/vision
    OpenAI      50 MB of files and 500 images per request. https://platform.openai.com/docs/guides/images-vision
    Google      100 MB per request, 50 MB and 1000 pages per PDF, 3600 images. It fetches no addresses.
                https://ai.google.dev/gemini-api/docs/file-input-methods
"""

from __future__ import annotations

import msgspec

from ..core.attachments import MIB, AttachmentLimits
from ..core.model_info import ModelInfo

_ANTHROPIC = AttachmentLimits(
    "Anthropic",
    image_bytes=5 * MIB,
    document_bytes=32 * MIB,
    side=8000,
    crowd=20,
    crowd_side=2000,
    images=100,
    pages=100,
    request_bytes=32 * MIB,
    by_url=("image", "pdf"),
)
_LONG = 200_000
"""Tokens of a context up to which Anthropic's lower numbers of images and pages hold."""
_OPENAI = AttachmentLimits(
    "OpenAI",
    image_bytes=50 * MIB,
    document_bytes=50 * MIB,
    images=500,
    request_bytes=50 * MIB,
    by_url=("image", "pdf"),
)
_GOOGLE = AttachmentLimits(
    "Google",
    image_bytes=100 * MIB,
    document_bytes=50 * MIB,
    images=3600,
    pages=1000,
    request_bytes=100 * MIB,
)
_LIMITS = {
    "anthropic": _ANTHROPIC,
    "openai": _OPENAI,
    "openai-responses": _OPENAI,
    # In chat completions a document has to be in the request.
    "openai-chat": msgspec.structs.replace(_OPENAI, by_url=("image",)),
    "google": _GOOGLE,
}
OTHERS = AttachmentLimits(
    "the provider",
    image_bytes=50 * MIB,
    document_bytes=50 * MIB,
    request_bytes=100 * MIB,
    by_url=("image", "pdf"),
)
"""Where nothing is known of the provider: it decides."""


def limits_for(info: ModelInfo | None) -> AttachmentLimits:
    """What the provider of this model takes."""
    if info is None:
        return OTHERS
    found = _LIMITS.get(info.provider, OTHERS)
    if found is _ANTHROPIC and info.context_window is not None and info.context_window > _LONG:
        return msgspec.structs.replace(found, images=600, pages=600)
    return found


__all__ = ["OTHERS", "limits_for"]
