"""[models] and [providers] of configuration files: what is read, what a folder may, and which models are there then."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host.test_config import Files

import godwit
from godwit.core.budget import Price
from godwit.core.errors import AuthenticationFailed, ConfigurationError, ModelNotFound
from godwit.core.messages import Usage
from godwit.host.config import load
from godwit.host.config_choices import choices
from godwit.host.configured import registry_of
from godwit.host.runtime import Runtime
from godwit.models.entry import ModelEntry, ProviderEntry
from godwit.models.registry import Registry
from godwit.models.script import ScriptedModel

OWN = """\
[models.fast]
model = "gpt-5-mini"
aliases = ["f"]
context_window = 100_000
price = { input = 1, output = 2 }

[models."ours:large"]
images = false
thinking = ["high", "off"]

[providers.ours]
base_url = "https://models.example.com/v1"
key_env = "OUR_KEY"
"""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OUR_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_sections_are_read(files: Files) -> None:
    config = files.load(OWN)
    assert config.models == {
        "fast": ModelEntry("gpt-5-mini", ("f",), context_window=100_000, price=Price(1, 2)),
        "ours:large": ModelEntry(images=False, thinking=("off", "high")),
    }
    assert config.providers == {"ours": ProviderEntry("https://models.example.com/v1", key_env="OUR_KEY")}
    registry = registry_of(config)
    assert registry.find("f").context_window == 100_000
    large = registry.find("ours:large")
    assert (large.images, large.thinking, large.ready, large.missing) == (False, ("off", "high"), False, ("OUR_KEY",))
    with pytest.raises(AuthenticationFailed, match="OUR_KEY"):
        registry.resolve("ours:large")
    assert ("ours", False) in registry.available()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("models = 3\n", 1, "has to be a table of tables"),
        ("[models.fast]\nwindow = 3\n", 2, "there is no setting 'window'"),
        ("[models.fast]\nmodel = 'gpt-5'\ncontext_window = 0\n", 3, "must be 1 token or more"),
        ("[models.fast]\nthinking = ['loud']\n", 2, "thinking: invalid enum value 'loud'"),
        ("[models.fast]\nthinking = []\n", 2, "thinking lists no level"),
        ('\n[models."a:b"]\nmodel = ""\n', 3, "model is empty"),
        ("[models.fast]\nprice = { input = -1, output = 2 }\n", 1, "price input=-1"),
        ("[models.fast]\nimages = 'yes'\n", 2, "images: expected bool"),
        ("[providers.ours]\nkind = 'openai-chat'\n", 1, "needs a base_url"),
        ("[providers.ours]\nbase_url = 'http://a'\napi_key = 'sk-secret-1234'\n", 3, "a key is never in a file"),
        ("[providers.ours]\nbase_url = 'http://a'\nkind = 'telepathy'\n", 3, "kind: invalid enum value"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(files: Files, text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        files.load(text)
    assert f"{files.user}:{line}: " in str(raised.value)
    assert said in str(raised.value)
    assert "sk-secret" not in str(raised.value)


def test_a_folder_may_not_say_who_is_asked_unless_it_is_trusted(files: Files) -> None:
    theirs = '[models.fast]\nmodel = "ours:spy"\n[providers.ours]\nbase_url = "https://elsewhere.example.com/v1"\n'
    config = files.load(OWN, theirs)
    assert config.models["fast"].model == "gpt-5-mini"
    assert config.providers["ours"].base_url == "https://models.example.com/v1"
    assert [notice.line for notice in config.notices] == [1, 3]
    assert all("is not used" in str(notice) for notice in config.notices)
    trusted = files.load(f'trusted = ["{files.workspace}"]\n{OWN}', theirs)
    assert trusted.models["fast"] == ModelEntry("ours:spy")  # an entry takes the place of one of its name, as a whole
    assert set(trusted.models) == {"fast", "ours:large"}
    assert trusted.providers["ours"].base_url == "https://elsewhere.example.com/v1"
    told = choices(files.workspace, environment=files.environment)
    holds = {(Path(c.file) == files.user, c.key): c.why is None for c in told.choices}
    assert holds[True, "models.fast.model"] is False
    assert holds[True, "models.fast.price"] is False
    assert holds[True, 'models."ours:large".images'] is True
    assert holds[False, "models.fast.model"] is True


async def test_a_runtime_knows_the_models_of_the_persons_own_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.user.write_text(OWN)
    monkeypatch.setenv("GODWIT_CONFIG", str(files.user))
    monkeypatch.setenv("OPENAI_API_KEY", "k-1234567")
    script = ScriptedModel(["hello"], "test:model")
    async with await Runtime.open(":memory:", models={"test:model": script}, config=load) as runtime:
        session = await runtime.start_session(godwit.Agent("coder", model=["fast", "test:model"]))
        assert session.model == "openai:gpt-5-mini"
        _, stored = await runtime.store.get_agent("coder")
        assert stored.models == ("openai:gpt-5-mini", "test:model")
        assert (await runtime.find_model("f")).price == Price(1, 2)
        assert "openai:gpt-5-mini" in [info.name for info in await runtime.list_models(ready=True)]
        assert isinstance(runtime.models, Registry)
        assert runtime.models.cost_usd("fast", Usage(1_000_000)) == 1
        with pytest.raises(ModelNotFound):
            await runtime.find_model("nonsense")
