"""Words that bodies and answers of several subjects share."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Place = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
"""A seq to go to; which there are is the session's to say."""
Frame = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Event"})]
"""An event as `Event.frame()` gives it."""
Key = Annotated[str, Meta(min_length=1, max_length=255)]


class Shape(msgspec.Struct, frozen=True):
    """Base of all shapes."""


class Changed(Shape, frozen=True):
    """`changed`: what the method of the same name returns; False when there was nothing to do."""

    changed: bool
