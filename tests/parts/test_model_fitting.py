"""What of a history has to be said otherwise to a provider: ids that fit, and what stands for what it does not take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from godwit.core.messages import Document, Image, Opaque, Text, Thinking
from godwit.core.model_info import ModelInfo
from godwit.models.fitting import fitting_id, is_foreign, told_of
from godwit.models.providers import ProviderKind

KINDS: dict[tuple[str, ProviderKind], tuple[str, int]] = {
    ("anthropic", "anthropic"): (r"[a-zA-Z0-9_-]+", 64),
    ("openai", "openai-responses"): (r"[a-zA-Z0-9_-]+", 64),
    ("google", "google"): (r"[a-zA-Z0-9_-]+", 64),
    ("openai", "openai-chat"): (r"[a-zA-Z0-9_-]+", 40),
    ("openrouter", "openrouter"): (r"[a-zA-Z0-9_-]+", 40),
    ("mistral", "openai-chat"): (r"[a-zA-Z0-9]{9}", 9),
}


@given(st.text(max_size=200), st.sampled_from(list(KINDS)))
def test_an_id_fits_and_one_that_fits_stays(call: str, at: tuple[str, ProviderKind]) -> None:
    provider, kind = at
    pattern, longest = KINDS[at]
    made = fitting_id(call, provider, kind)
    assert re.fullmatch(pattern, made)
    assert len(made) <= longest
    assert fitting_id(call, provider, kind) == made
    assert fitting_id(made, provider, kind) == made
    if re.fullmatch(pattern, call) and len(call) <= longest:
        assert made == call


@given(st.lists(st.text(st.sampled_from("ab:/.é_"), min_size=1, max_size=60), min_size=2, max_size=20, unique=True))
def test_ids_that_differ_still_differ(calls: list[str]) -> None:
    for (provider, kind), _ in KINDS.items():
        assert len({fitting_id(call, provider, kind) for call in calls}) == len(calls)


@pytest.mark.parametrize(
    ("thinking", "foreign"),
    [
        (Thinking("hm"), True),
        (Thinking("hm", "signature"), True),
        (Thinking("hm", "signature", opaque=Opaque("anthropic")), False),
        (Thinking("hm", "signature", opaque=Opaque("openai")), True),
    ],
)
def test_thinking_is_its_own_providers(thinking: Thinking, foreign: bool) -> None:
    assert is_foreign(thinking, "anthropic") == foreign


def test_what_is_not_taken_is_named_and_what_is_not_known_is_sent() -> None:
    blind = ModelInfo("a:b", "a", images=False, documents=False)
    assert told_of(Image("image/png", b""), blind) == "[An image (image/png) was here. You cannot see images.]"
    document = Document("application/pdf", b"", name="plan.pdf")
    assert told_of(document, blind) == "[A document 'plan.pdf' (application/pdf) was here. You cannot read documents.]"
    assert told_of(Text("hello"), blind) is None
    for info in (None, ModelInfo("a:b", "a"), ModelInfo("a:b", "a", images=True, documents=True)):
        assert told_of(document, info) is None
