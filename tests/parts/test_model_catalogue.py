"""Hints, entries and the catalogue: which model a name means, and what is known of it; all of it without a network."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.loopback import Loopback
from tests.parts.model_checks import ask, request
from tests.parts.test_model_live_wires import Said, anthropic, chat, google, responses
from tests.patience import PATIENCE_S

from godwit.contracts import ListsModels, Model, SupportsModelInfo
from godwit.core.agent import ModelSettings, ThinkingLevel
from godwit.core.budget import Price
from godwit.core.errors import ConfigurationError, ModelNotFound
from godwit.core.messages import Document, Image, Text, Usage, User
from godwit.core.model_info import THINKING_LEVELS, ModelInfo, left_out, nearest_level, not_taken, thinking_for
from godwit.models.catalogue import listed_model
from godwit.models.entry import ModelEntry
from godwit.models.hints import ALIASES
from godwit.models.providers import KNOWN_PROVIDERS
from godwit.models.registry import Registry
from godwit.models.script import ScriptedModel


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(environment={"ANTHROPIC_API_KEY": "k"})


# --- hints ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        ("sonnet", ALIASES["sonnet"]),
        ("Opus", ALIASES["opus"]),
        (" haiku ", ALIASES["haiku"]),
        ("anthropic:sonnet", ALIASES["sonnet"]),
        ("anthropic/sonnet", ALIASES["sonnet"]),
        ("anthropic/claude-opus-4-6", "anthropic:claude-opus-4-6"),
        ("openai:sonnet", "openai:sonnet"),  # an alias of somebody else's is a name like any other
        ("gpt-5-mini", "openai:gpt-5-mini"),
        ("gpt-9-of-tomorrow", "openai:gpt-9-of-tomorrow"),
        ("o3", "openai:o3"),
        ("o4-mini", "openai:o4-mini"),
        ("codex", ALIASES["codex"]),
        ("claude-of-tomorrow", "anthropic:claude-of-tomorrow"),
        ("gemini-2.5-pro", "google:gemini-2.5-pro"),
        ("devstral-2512", "mistral:devstral-2512"),
        ("deepseek-reasoner", "deepseek:deepseek-reasoner"),
        ("grok-4", "xai:grok-4"),
        ("openrouter/anthropic/claude-opus-4.6", "openrouter:anthropic/claude-opus-4.6"),
        ("openrouter/qwen/qwen3:free", "openrouter:qwen/qwen3:free"),
        ("openrouter:z-ai/glm-5", "openrouter:z-ai/glm-5"),
        ("ollama:llama3:8b", "ollama:llama3:8b"),
        ("groq/openai/gpt-oss-20b", "groq:openai/gpt-oss-20b"),
    ],
)
def test_a_hint_means_one_model(registry: Registry, hint: str, name: str) -> None:
    assert registry.canonical(hint) == name
    assert registry.canonical(name) == name
    assert isinstance(registry, SupportsModelInfo)
    assert isinstance(registry, ListsModels)


@pytest.mark.parametrize(
    "hint", ["", "llama-3", "o", "sonet", "acme/large", "acme:large", "anthropic:", "anthropic/ ", ":x"]
)
def test_what_says_too_little_is_told(registry: Registry, hint: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        registry.find(hint)
    assert ("did you mean 'sonnet'" in str(raised.value)) == (hint == "sonet")
    with pytest.raises(ModelNotFound):
        registry.resolve(hint)


def test_an_alias_is_one_that_the_list_has(registry: Registry) -> None:
    providers = {provider.name: provider for provider in KNOWN_PROVIDERS}
    for alias, name in ALIASES.items():
        head, _, model = name.partition(":")
        assert listed_model(providers[head], model) is not None, alias
        info = registry.find(alias)
        assert info.origin == "listed"
        assert alias in info.aliases
        assert not info.deprecated
        assert info.price is not None


def test_a_hint_is_resolved_like_the_name_it_means(registry: Registry) -> None:
    model = registry.resolve("sonnet")
    assert model.name == ALIASES["sonnet"]
    assert registry.resolve("anthropic/sonnet") is model
    assert registry.cost_usd("sonnet", Usage(1_000_000)) == registry.cost_usd(ALIASES["sonnet"], Usage(1_000_000))


# --- what is known ----------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_model(registry: Registry) -> None:
    known = registry.find("anthropic:claude-sonnet-4-5-20250929")
    assert (known.provider, known.title, known.origin, known.ready) == ("anthropic", "Claude Sonnet 4.5", "listed", True)
    assert (known.context_window, known.max_output) == (200_000, 64_000)
    assert (known.images, known.documents, known.tools, known.parallel_tools, known.structured_output) == (True,) * 5
    assert known.price == Price(3, 15, 0.3, 3.75)
    assert known.tiered
    mini = registry.find("gpt-5-mini")
    assert (mini.ready, mini.missing) == (False, ("OPENAI_API_KEY",))
    assert (mini.context_window, mini.max_output) == (400_000, 128_000)
    assert mini.thinking == ("minimal", "low", "medium", "high")
    assert registry.find("openai:gpt-5-pro").max_output == 272_000
    assert registry.find("openai:gpt-4o-2024-05-13").max_output == 4_096
    assert registry.find("openai:gpt-5.1-chat-latest").max_output is None, "pages differ"
    assert registry.find("deepseek:deepseek-v4-pro").max_output == 384_000
    assert (registry.find("deepseek:deepseek-v4-flash").images, registry.find("deepseek:deepseek-flash").images) == (
        False,
        None,
    )
    assert registry.find("mistral:ministral-8b-latest").images is None
    assert registry.find("o3-mini").images is False
    assert registry.find("groq:openai/gpt-oss-120b").images is False
    assert registry.find("gpt-4o").thinking == ("off",)
    assert registry.find("anthropic:claude-3-5-haiku-latest").thinking == ("off",)


def test_an_unknown_id_gets_what_its_beginning_tells_and_no_more(registry: Registry) -> None:
    claude = registry.find("claude-sonnet-5-of-tomorrow")
    assert (claude.name, claude.origin) == ("anthropic:claude-sonnet-5-of-tomorrow", "guessed")
    assert (claude.price, claude.images) == (None, True)
    assert "high" in (claude.thinking or ())
    own = registry.find("ollama:something")
    assert (own.context_window, own.max_output, own.price, own.images, own.tools) == (None,) * 5
    assert registry.find("vllm:gpt-oss-20b").images is False


def test_the_list_has_what_can_hold_a_conversation(registry: Registry) -> None:
    ready = registry.list(ready=True)
    assert {info.provider for info in ready} == {"anthropic"}
    assert [info.name for info in ready] == sorted(info.name for info in ready)
    assert ALIASES["sonnet"] in {info.name for info in ready}
    everything = registry.list(deprecated=True)
    assert len({info.name for info in everything}) == len(everything)
    assert {"openai", "google", "mistral", "openrouter"} <= {info.provider for info in everything}
    for word in ("embed", "whisper", "tts", "dall-e"):
        assert not [info.name for info in everything if word in info.name]
    assert {info.provider for info in registry.list("openai-chat")} == {"openai-chat"}
    assert any(i.deprecated for i in registry.list("google", deprecated=True))
    assert not any(i.deprecated for i in registry.list("google"))
    with pytest.raises(ModelNotFound, match="no provider 'acme'"):
        registry.list("acme")


def test_looking_needs_no_key_and_importing_loads_nothing() -> None:
    code = (
        "import sys, godwit, godwit.models.registry as r; made = r.Registry(environment={}); made.canonical('sonnet');"
        "print([m for m in sys.modules if m.split('.')[0] in ('pydantic_ai', 'openai', 'anthropic', 'genai_prices')]);"
        "print(made.find('sonnet').name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.splitlines() == ["[]", ALIASES["sonnet"]]


# --- entries ----------------------------------------------------------------------------------------------------------


def test_an_entry_names_a_model_and_says_more_of_it() -> None:
    made = Registry(
        environment={"OPENAI_API_KEY": "k"},
        entries={
            "fast": ModelEntry("gpt-5-mini", aliases=("f", "cheap"), context_window=50_000, price=Price(1, 2)),
            "openai:gpt-5-mini": ModelEntry(title="Ours", images=False),
            "sonnet": ModelEntry("openai:gpt-5"),  # a name of a user's counts before a hint
            "ours": ModelEntry("test:own", images=False),
        },
    )
    made.register("test:own", ScriptedModel(["hi"], "test:own"))
    for name in ("fast", "f", "cheap", "openai:gpt-5-mini"):
        info = made.find(name)
        assert (info.name, info.origin, info.title, info.images) == ("openai:gpt-5-mini", "configured", "Ours", False)
        assert (info.context_window, info.max_output, info.price, info.tiered) == (50_000, 128_000, Price(1, 2), False)
        assert info.aliases == ("fast", "f", "cheap")
    assert made.cost_usd("fast", Usage(1_000_000, 1_000_000)) == 3
    assert made.canonical("sonnet") == "openai:gpt-5"
    assert (made.find("ours").name, made.find("ours").images, made.find("test:own").images) == ("test:own", False, False)
    names = [info.name for info in made.list()]
    assert names.count("openai:gpt-5-mini") == 1
    assert "test:own" in names


def test_a_price_that_is_given_counts_before_that_of_an_entry() -> None:
    entries = {"openai:gpt-5": ModelEntry(price=Price(1, 1))}
    made = Registry(environment={"OPENAI_API_KEY": "k"}, entries=entries, prices={"openai:gpt-5": Price(7, 7)})
    assert made.cost_usd("gpt-5", Usage(1_000_000)) == 7
    assert made.find("gpt-5").price == Price(7, 7)
    made.set_price("gpt-5", Price(9, 9))
    assert (made.cost_usd("gpt-5", Usage(1_000_000)), made.find("gpt-5").price) == (9, Price(9, 9))


def test_entries_that_cannot_be_are_told() -> None:
    with pytest.raises(ConfigurationError, match="a -> b -> a"):
        Registry(environment={}, entries={"a": ModelEntry("b"), "b": ModelEntry("a")})
    for wrong in ({"model": " "}, {"context_window": 0}, {"max_output": -1}, {"thinking": ()}, {"aliases": ("",)}):
        with pytest.raises(ConfigurationError):
            ModelEntry(**wrong)
    assert ModelEntry(thinking=("high", "off")).thinking == ("off", "high")
    lost = Registry(environment={}, entries={"mine": ModelEntry("acme:large")})
    with pytest.raises(ModelNotFound, match="no provider 'acme'"):
        lost.find("mine")
    assert "acme:large" not in {info.name for info in lost.list("anthropic")}


class Blind(ScriptedModel):
    """A model that says of itself what it can take."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("test:blind", "test", images=False, context_window=1000, origin="configured")


def test_a_registered_model_says_of_itself_what_it_can_take() -> None:
    made = Registry(environment={}, entries={"test:blind": ModelEntry(context_window=2000)})
    made.register("test:blind", Blind(["hi"], "test:blind"))
    made.register("test:plain", ScriptedModel(["hi"], "test:plain"))
    assert (made.find("test:blind").images, made.find("test:blind").context_window) == (False, 2000)
    assert made.find("test:plain") == ModelInfo("test:plain", "test", origin="configured")


# --- thinking levels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "offered", "sent"),
    [
        ("xhigh", ("low", "medium", "high"), "high"),
        ("minimal", ("low", "medium", "high"), "low"),
        ("medium", ("low", "high"), "low"),
        ("off", ("low", "high"), "low"),
        ("low", ("high",), "high"),
        ("high", ("off",), "off"),
        ("low", ("off", "high"), "high"),
        ("high", (), "high"),
        ("off", ("off", "low"), "off"),
    ],
)
def test_the_nearest_level(asked: ThinkingLevel, offered: tuple[ThinkingLevel, ...], sent: ThinkingLevel) -> None:
    assert nearest_level(asked, offered) == sent
    adjusted = thinking_for(ModelInfo("a:b", "a", thinking=offered), asked)
    assert adjusted[0] == sent
    assert (adjusted[1] is not None) == (sent != asked)
    assert thinking_for(ModelInfo("a:b", "a"), asked) == (asked, None)
    assert thinking_for(None, asked) == (asked, None)


def test_what_a_model_cannot_take_is_counted() -> None:
    content = (Text("see"), Image("image/png", b"1"), Document("application/pdf", b"2"), Image("image/png", url="u"))
    blind = ModelInfo("a:b", "a", images=False, documents=False)
    assert [type(b) for b in not_taken(blind, content)] == [Image, Document, Image]
    assert [(a.what, a.count) for a in left_out(blind, content)] == [("image", 2), ("document", 1)]
    for sees in (None, ModelInfo("a:b", "a"), ModelInfo("a:b", "a", images=True, documents=True)):
        assert left_out(sees, content) == []


NAMES = [
    "anthropic:claude-opus-4-5",
    "anthropic:claude-opus-4-6",
    "anthropic:claude-opus-5-5",
    "anthropic:claude-sonnet-5-5",
    "openai:gpt-4o",
    "openai:gpt-5",
    "openai:gpt-5-pro",
    "openai:gpt-5.2",
    "openai:gpt-6.1-sol",
    "openai:o3",
    "openai-chat:gpt-5",
    "openai-chat:gpt-6-sol",
    "google:gemini-2.0-flash",
    "google:gemini-2.5-flash",
    "google:gemini-2.5-pro",
    "google:gemini-3-pro-preview",
    "google:gemini-3.8-flash",
    "groq:openai/gpt-oss-120b",
    "groq:llama-3.3-70b-versatile",
    "mistral:mistral-large-4",
    "xai:grok-4.6",
    "xai:grok-3-mini",
    "deepseek:deepseek-v4-pro",
    "deepseek:deepseek-chat",
    "openrouter:anthropic/claude-opus-4.6",
    "openrouter:openai/gpt-5",
    "openrouter:meta-llama/llama-3.3-70b-instruct",
    "ollama:gpt-oss:20b",
    "ollama:llama3.1",
    "vllm:some-model",
]
_SAYS = {"anthropic": anthropic, "openai": responses, "google": google}


@pytest.mark.parametrize("name", NAMES)
async def test_levels_are_those_whose_requests_differ(name: str) -> None:
    """Each offered level has a request of its own, and one that is not offered would be sent as an offered one."""
    provider = name.partition(":")[0]
    says = _SAYS.get(provider, chat)
    made = Registry(environment={})
    offered = made.find(name).thinking
    assert offered
    async with Loopback(otherwise=lambda _: says(Said(text=["ok"]))) as server:
        base = "" if provider in _SAYS and provider != "openai" else "/v1"
        made.register_provider(provider, base_url=server.url + base, api_key="k-1234567")
        asked: Model = made.resolve(name)
        bodies: dict[ThinkingLevel, bytes] = {}
        for level in THINKING_LEVELS:
            settings = ModelSettings(thinking=level, max_tokens=40_000)
            _, _ = await ask(asked, request([User((Text("go"),))], settings=settings))
            bodies[level] = server.requests[-1].raw
    await made.close()
    assert len({bodies[level] for level in offered}) == len(offered), name
    for level in THINKING_LEVELS:
        # Who always thinks is asked there to think least and not to show it, which is no level of its own.
        if level not in offered and not (provider in ("google", "openrouter") and level == "off"):
            assert bodies[level] in {bodies[one] for one in offered}, level
