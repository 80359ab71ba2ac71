"""`[lanes]` of configuration files: what is read, that errors name file and line, and that a process has them."""

from __future__ import annotations

from pathlib import Path

import pytest

import godwit
from godwit.core.errors import ConfigurationError
from godwit.core.lanes import LaneConfig, LaneSettings, RateLimit, RetryPolicy
from godwit.host.config import Config, load
from godwit.host.config_choices import choices
from godwit.surfaces.cli_place import Place

ALL = """\
[lanes]
concurrency = 16
ageing_s = false
metrics = true
dead_letters = 5

[lanes.execute]
concurrency = 4
per_tenant = 2
pressure = 10
timeout_s = 600
mode = "both"
rate = { steps = 50, per_s = 60 }

[lanes.deploy]
tools = ["deploy"]
priority = 7
[lanes.deploy.retry]
retries = 2
delay_ms = 5000
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a folder, in which the process is; the home's file is returned."""
    (tmp_path / "work" / ".godwit").mkdir(parents=True)
    file = tmp_path / "config.toml"
    monkeypatch.setenv("GODWIT_CONFIG", str(file))
    monkeypatch.chdir(tmp_path / "work")
    file.write_text("")
    return file


def project(place: Path) -> Path:
    return place.parent / "work" / ".godwit" / "config.toml"


def test_all_of_it_is_read(place: Path) -> None:
    place.write_text(ALL)
    execute = LaneConfig(
        "execute", concurrency=4, per_tenant=2, pressure=10, timeout_s=600, mode="both", rate=RateLimit(50, 60)
    )
    retry = RetryPolicy("exponential", retries=2, delay_ms=5000)
    deploy = LaneConfig("deploy", tools=("deploy",), priority=7, retry=retry)
    assert load(None).lanes == LaneSettings((execute, deploy), 16, None, True, 5)
    assert Config().lanes is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("lanes = 3\n", 1, "[lanes] has to be a table"),
        ("[lanes]\nconcurency = 3\n", 2, "there is no setting 'concurency' in [lanes]: did you mean 'concurrency'?"),
        ("[lanes]\nconcurrency = 0\n", 2, "[lanes] concurrency=0 must be a whole number of 1 or more"),
        ("[lanes]\nageing_s = -1\n", 2, "ageing_s=-1.0 must be more than 0"),
        ("[lanes]\nexecute = 4\n", 2, "the lane 'execute' has to be a table: [lanes.execute]"),
        ("[lanes.execute]\nwidth = 4\n", 2, "there is no setting 'width' in [lanes.execute]"),
        ('[lanes.execute]\nname = "query"\n', 2, "there is no setting 'name' in [lanes.execute]"),
        ("[lanes.query]\n\n[lanes.execute]\nconcurrency = 0\n", 4, "lane execute: concurrency=0 must be"),
        ('[lanes.execute]\nper_tenant = 1\nmode = "away"\n', 3, "[lanes.execute] mode: invalid enum value"),
        ('[lanes.control]\nmode = "outside"\n', 2, "lane 'control' is worked on inside"),
        ("[lanes.execute]\nrate = { steps = 0 }\n", 2, "[lanes.execute.rate] steps=0 must be"),
        ("[lanes.execute]\nrate = { step = 1 }\n", 2, "there is no setting 'step' in [lanes.execute.rate]"),
        ("[lanes.execute]\nrate = 5\n", 2, "[lanes.execute.rate] has to be a table"),
        ("[lanes.execute.retry]\ndelay_ms = 1\njitter = 2\n", 3, "jitter=2.0 must be a part from 0 to 1"),
        ("[lanes.exekute]\nconcurrency = 1\n", 1, "[lanes.exekute] takes no calls: say which with tools"),
        ('[lanes.query]\ntools = ["ls"]\n', 2, "lane 'query' takes calls by their kind"),
    ],
)
def test_an_error_names_file_and_line(place: Path, text: str, line: int, said: str) -> None:
    place.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(None)
    assert caught.value.message.startswith(f"{place}:{line}: ")
    assert said in caught.value.message


def test_a_folder_has_a_say_when_it_is_trusted(place: Path) -> None:
    place.write_text("[lanes]\nconcurrency = 2\n")
    project(place).write_text("[lanes]\nconcurrency = 90\n")
    config = load(Path.cwd())
    assert config.lanes == LaneSettings(concurrency=2)
    (notice,) = config.notices
    assert "[lanes] is not used: this folder may not say what this process has room for, unless" in notice.text
    (refused,) = [c for c in choices(Path.cwd()).choices if c.value == "90"]
    assert (refused.key, refused.line) == ("lanes.concurrency", 2)
    assert refused.why is not None
    place.write_text(f'trusted = ["{Path.cwd()}"]\n[lanes]\nconcurrency = 2\n')
    assert load(Path.cwd()).lanes == LaneSettings(concurrency=90)


async def test_a_runtime_has_the_lanes_of_its_configuration(place: Path, tmp_path: Path) -> None:
    place.write_text("[lanes.execute]\nconcurrency = 3\n")

    async def width(**options: object) -> int | None:
        async with await godwit.Runtime.open(":memory:", **options) as runtime:  # type: ignore[arg-type]
            return runtime.lanes.stats().lanes["execute"].concurrency

    assert await width() is None
    assert await width(config=load) == 3
    assert await width(config=load(None)) == 3
    assert await width(config=load, lanes=[LaneConfig("execute", concurrency=5)]) == 5
    async with Place(tmp_path / "a.db").open(make=True) as runtime:
        assert runtime.lanes.stats().lanes["execute"].concurrency == 3
    async with Place(tmp_path / "a.db").open(options={"lanes": LaneSettings()}) as runtime:
        assert runtime.lanes.stats().lanes["execute"].concurrency is None
    place.write_text("[lanes]\nnonsense = 1\n")
    async with Place(tmp_path / "a.db").open():
        pass  # who only looks need not be told
