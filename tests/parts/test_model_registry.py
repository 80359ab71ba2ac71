"""Names to models: what is known, what is missing, what users add; all of it without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.loopback import Loopback
from tests.parts.model_checks import ask, request
from tests.parts.test_model_live_wires import WIRES, Said, anthropic, chat, google, responses

from godwit.contracts import Model, ModelAnswer, ModelChunk, ModelRegistry, ModelRequest, SupportsPrices
from godwit.core.budget import Price
from godwit.core.errors import AuthenticationFailed, ConfigurationError, InvalidArgument, ModelNotFound
from godwit.core.messages import Text, Usage, User
from godwit.models.live import LiveModel
from godwit.models.registry import Registry


class Own:
    """A user's model."""

    name = "own"
    wire = "own"

    def __init__(self) -> None:
        self.closed = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        yield ModelAnswer((Text("hello"),), "end_turn", Usage(requests=1), "own")

    async def close(self) -> None:
        self.closed = True


def test_it_is_a_model_registry() -> None:
    registry: ModelRegistry = Registry(environment={"OPENAI_API_KEY": "k"})
    model: Model = registry.resolve("openai:gpt-5")
    assert model.name == "openai:gpt-5"
    assert model.wire == "pydantic-ai/openai"


def test_a_model_is_made_once() -> None:
    registry = Registry(environment={"ANTHROPIC_API_KEY": "k"})
    assert registry.resolve("anthropic:claude-opus-4-6") is registry.resolve("anthropic:claude-opus-4-6")


# --- prices ---------------------------------------------------------------------------------------------------------


class Priced(Own):
    def cost_usd(self, usage: Usage) -> float | None:
        return usage.input_tokens * 0.5


def test_prices_are_those_given_else_those_a_model_knows_else_those_listed() -> None:
    registry = Registry(environment={"ANTHROPIC_API_KEY": "k"}, prices={"own": Price(1, 2), "anthropic:mine": Price(3, 4)})
    for name, model in (("own", Own()), ("priced", Priced()), ("unpriced", Own())):
        registry.register(name, model)
    million = Usage(1_000_000, 1_000_000)
    assert isinstance(registry, SupportsPrices)
    assert registry.cost_usd("own", million) == 3
    assert registry.cost_usd("priced", Usage(4)) == 2
    assert registry.cost_usd("unpriced", million) is None
    assert registry.cost_usd("anthropic:mine", million) == 7
    assert registry.cost_usd("anthropic:of-tomorrow", million) is None
    listed = registry.cost_usd("anthropic:claude-sonnet-4-5", Usage(1000, 100))
    assert listed is not None
    assert listed > 0
    registry.set_price("anthropic:claude-sonnet-4-5", Price(0, 0))
    assert registry.cost_usd("anthropic:claude-sonnet-4-5", million) == 0
    with pytest.raises(ModelNotFound):
        registry.cost_usd("nonsense", million)


def test_prices_from_the_environment() -> None:
    registry = Registry(environment={"GODWIT_PRICES": "ours:a=3/15, own=1/2/0.5 ,x:y=z=0/0,"}, prices={"own": Price(9, 9)})
    registry.register("ours:a", Own())
    registry.register("own", Own())
    registry.register("x:y=z", Own())
    million = Usage(1_000_000, 1_000_000)
    assert [registry.cost_usd(n, million) for n in ("ours:a", "own", "x:y=z")] == [18, 18, 0]
    for wrong in ("ours:a", "=1/2", "a=1", "a=1/2/3/4/5", "a=one/two", "a=-1/2", "a=nan/1"):
        with pytest.raises(ConfigurationError):
            Registry(environment={"GODWIT_PRICES": wrong})


def test_what_runs_on_the_own_machine_is_free_and_elsewhere_unknown() -> None:
    here = Registry(environment={})
    assert [here.cost_usd(f"{name}:llama", Usage(1, 1)) for name in ("ollama", "vllm", "llama.cpp")] == [0.0] * 3
    there = Registry(environment={"OLLAMA_BASE_URL": "https://models.example.com/v1"})
    assert there.cost_usd("ollama:llama", Usage(1, 1)) is None
    # Only those that run models: another provider behind a local address is a proxy, and may well cost something.
    proxy = Registry(environment={})
    proxy.register_provider("ours", base_url="http://127.0.0.1:9/v1")
    assert proxy.cost_usd("ours:large", Usage(1, 1)) is None


@pytest.mark.parametrize("name", ["five", "", "openai:", "openai: ", "llama-3"])
def test_a_name_without_both_halves(name: str) -> None:
    with pytest.raises(ModelNotFound, match="provider:model") as raised:
        Registry(environment={"OPENAI_API_KEY": "k"}).resolve(name)
    assert "anthropic" in str(raised.value)


def test_an_unknown_provider_names_the_known_ones() -> None:
    with pytest.raises(ModelNotFound) as raised:
        Registry(environment={}).resolve("opnai:gpt-5")
    for word in ("opnai", "openai", "anthropic", "google", "ollama"):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("openai:gpt-5", ["OPENAI_API_KEY"]),
        ("openai-chat:gpt-4o", ["OPENAI_API_KEY"]),
        ("anthropic:claude-opus-4-6", ["ANTHROPIC_API_KEY"]),
        ("google:gemini-2.5-pro", ["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
        ("openrouter:a/b", ["OPENROUTER_API_KEY"]),
        ("groq:x", ["GROQ_API_KEY"]),
        ("deepseek:deepseek-chat", ["DEEPSEEK_API_KEY"]),
    ],
)
def test_a_missing_key_is_told_at_once(name: str, variables: list[str]) -> None:
    with pytest.raises(AuthenticationFailed) as raised:
        Registry(environment={}).resolve(name)
    assert raised.value.details["variables"] == variables
    for variable in variables:
        assert variable in str(raised.value)
        assert isinstance(Registry(environment={variable: "k"}).resolve(name), LiveModel)
    with pytest.raises(AuthenticationFailed):
        Registry(environment=dict.fromkeys(variables, "")).resolve(name)


@pytest.mark.parametrize("name", ["ollama:qwen3", "vllm:m", "llama.cpp:m"])
def test_local_servers_need_no_key(name: str) -> None:
    assert Registry(environment={}).resolve(name).name == name


def test_available_says_what_can_be_asked() -> None:
    known = dict(Registry(environment={"ANTHROPIC_API_KEY": "k"}).available())
    assert known["anthropic"]
    assert known["ollama"]
    assert not known["openai"]
    assert not known["google"]
    assert list(known) == sorted(known)
    assert dict(Registry(environment={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}).available())["openai"]


@pytest.mark.parametrize(
    ("model", "variable", "wire"),
    [
        ("openai:gpt-5", "OPENAI_BASE_URL", "responses"),
        ("openai-responses:gpt-5", "OPENAI_BASE_URL", "responses"),
        ("openai-chat:gpt-4o", "OPENAI_BASE_URL", "chat"),
        ("anthropic:claude-opus-4-6", "ANTHROPIC_BASE_URL", "anthropic"),
        ("google:gemini-2.5-pro", "GOOGLE_GEMINI_BASE_URL", "google"),
        ("ollama:qwen3", "OLLAMA_BASE_URL", "chat"),
        ("openrouter:anthropic/claude-opus-4.6", "OPENROUTER_BASE_URL", "chat"),
        ("deepseek:deepseek-chat", "DEEPSEEK_BASE_URL", "chat"),
        ("groq:llama", "GROQ_BASE_URL", "chat"),
        ("vllm:qwen", "VLLM_BASE_URL", "chat"),
    ],
)
async def test_addresses_and_keys_come_from_the_environment(model: str, variable: str, wire: str) -> None:
    say = {"responses": responses, "chat": chat, "anthropic": anthropic, "google": google}[wire]
    async with Loopback([say(Said(text=["hello"]))]) as server:
        keys = {
            f"{w}_API_KEY": "the-test-key-1" for w in ("OPENAI", "ANTHROPIC", "GEMINI", "OPENROUTER", "DEEPSEEK", "GROQ")
        }
        registry = Registry(environment={**keys, variable: server.url + WIRES[wire].base})
        _, answer = await ask(registry.resolve(model), request([User((Text("go"),))]))
        assert isinstance(answer.content[0], Text)
        assert answer.content[0].text == "hello"
        (seen,) = server.requests
        needs_key = model.partition(":")[0] not in ("ollama", "vllm")
        assert ("the-test-key-1" in str(seen.headers)) == needs_key
        assert seen.path.endswith(WIRES[wire].path.removeprefix(WIRES[wire].base))
        await registry.close()


async def test_own_providers() -> None:
    async with Loopback(otherwise=lambda _: chat(Said(text=["hello"]))) as server:
        registry = Registry(environment={"MY_KEY": "my-key-12345678"})
        registry.register_provider("mine", kind="openai-chat", base_url=server.url + "/v1", api_key_env="MY_KEY")
        _, answer = await ask(registry.resolve("mine:some/model:free"), request([User((Text("go"),))]))
        assert registry.resolve("mine:x").wire == "pydantic-ai/mine/chat"
        assert server.requests[0].body["model"] == "some/model:free"
        assert server.requests[0].headers["authorization"] == "Bearer my-key-12345678"
        assert answer.model == "mine:gpt-4o-2024-08-06"
        assert ("mine", True) in registry.available()
        # Another address for the same name is used from now on.
        async with Loopback([chat(Said(text=["from there"]))]) as other:
            registry.register_provider("mine", base_url=other.url + "/v1")
            _, answer = await ask(registry.resolve("mine:x"), request([User((Text("go"),))]))
            assert isinstance(answer.content[0], Text)
            assert answer.content[0].text == "from there"
        await registry.close()


def test_an_own_provider_that_cannot_work() -> None:
    registry = Registry(environment={})
    with pytest.raises(InvalidArgument, match="base_url"):
        registry.register_provider("mine")
    with pytest.raises(InvalidArgument, match="colon"):
        registry.register_provider("a:b", base_url="http://127.0.0.1:1")
    with pytest.raises(InvalidArgument, match="none of"):
        registry.register_provider("mine", kind="telnet", base_url="http://127.0.0.1:1")  # type: ignore[arg-type]
    registry.register_provider("mine", base_url="http://127.0.0.1:1", api_key_env="MY_KEY")
    with pytest.raises(AuthenticationFailed, match="MY_KEY"):
        registry.resolve("mine:x")


async def test_own_models() -> None:
    registry = Registry(environment={})
    own = Own()
    made: list[Own] = []

    def make() -> Own:
        made.append(Own())
        return made[-1]

    registry.register("house", own)
    registry.register("lazy", make)
    registry.register("openai:gpt-5", own)
    assert registry.resolve("house") is own
    assert registry.resolve("openai:gpt-5") is own
    assert not made
    assert registry.resolve("lazy") is registry.resolve("lazy")
    assert len(made) == 1
    _, answer = await ask(registry.resolve("house"), request([User((Text("go"),))]))
    assert answer.content == (Text("hello"),)
    with pytest.raises(InvalidArgument):
        registry.register(" ", own)
    await registry.close()
    assert own.closed
    assert made[0].closed


async def test_models_of_a_provider_share_a_connection_until_it_is_closed() -> None:
    async with Loopback(otherwise=lambda _: chat(Said(text=["hello"]))) as server:
        registry = Registry(environment={"OPENAI_BASE_URL": server.url + "/v1"})
        for name in ("openai-chat:a", "openai-chat:b", "openai-chat:a"):
            await ask(registry.resolve(name), request([User((Text("go"),))]))
        first, second = registry.resolve("openai-chat:a"), registry.resolve("openai-chat:b")
        assert isinstance(first, LiveModel)
        assert isinstance(second, LiveModel)
        assert first._connection is second._connection
        await registry.close()
        # A closed registry can be used again; it opens anew.
        await ask(registry.resolve("openai-chat:a"), request([User((Text("go"),))]))
        await registry.close()
        assert len(server.requests) == 4
