"""Every setting there is can be set in a file, by a variable and by an option; each layer counts before the one below."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from godwit.core.errors import ConfigurationError
from godwit.host.config import Config, load
from godwit.host.config_origins import origins
from godwit.host.config_sections import SECTIONS
from godwit.host.config_settings import Setting, settings

# Two values of each setting that are not its default, as TOML writes them; where its type alone gives none.
VALUES: dict[str, tuple[str, str]] = {
    "trusted": ('["/one"]', '["/two"]'),
    "permissions.allow": ('["bash(ls)"]', '["bash(pwd)"]'),
    "permissions.ask": ('["bash(ls)"]', '["bash(pwd)"]'),
    "permissions.deny": ('["bash(ls)"]', '["bash(pwd)"]'),
    "sandbox.allowed_hosts": ('["a.example"]', '["b.example"]'),
    "sandbox.denied_hosts": ('["a.example"]', '["b.example"]'),
    "sandbox.writable": ('["/a"]', '["/b"]'),
    "sandbox.readable": ('["/a"]', '["/b"]'),
    "sandbox.hidden": ('["/a"]', '["/b"]'),
    "sandbox.environment": ('["A"]', '["B"]'),
    "sandbox.links": ('[["/a", "a"]]', '[["/b", "b"]]'),
    "sandbox.packages": ('["pip:a==1"]', '["pip:b==1"]'),
    "sandbox.require": ('["writes_confined"]', '["network_off"]'),
    "context.window": ("2000", "3000"),
    "context.keep_tokens": ("2000", "3000"),
    "tool_search.also": ('["read"]', '["g*"]'),
    "memory.scopes": ('["user"]', '["tenant"]'),
    "memory.writes": ('["user"]', '["user", "tenant"]'),
    "memory.record": ('["success"]', '["failure"]'),
    "memory.file": ('"/a"', '"/b"'),
    "memory.embedder": ('"openai:a"', '"openai:b"'),
    "memory.prune.min_importance": ("0.1", "0.2"),
    "server.agui_on_disconnect": ('"stop"', '"continue"'),
    "web_search.backend": ('"tavily"', '"brave"'),
    "web_search.key_env": ('"A_KEY"', '"B_KEY"'),
    "web_search.url": ('"http://a.example"', '"http://b.example"'),
    "models.NAME.aliases": ('["aa"]', '["bb"]'),
    "models.NAME.thinking": ('["off"]', '["off", "low"]'),
    "providers.NAME.base_url": ('"https://a.example"', '"https://b.example"'),
    "providers.NAME.key_env": ('"A_KEY"', '"B_KEY"'),
    "providers.NAME.oauth.token_url": ('"https://a.example/t"', '"https://b.example/t"'),
    "providers.NAME.oauth.device_url": ('"https://a.example/d"', '"https://b.example/d"'),
    "providers.NAME.oauth.authorize_url": ('"https://a.example/a"', '"https://b.example/a"'),
    "providers.NAME.oauth.resource": ('"https://a.example"', '"https://b.example"'),
    "providers.NAME.oauth.scopes": ('["aa"]', '["bb"]'),
    "providers.NAME.oauth.client_secret_env": ('"A_SECRET"', '"B_SECRET"'),
    "server.jwt.jwks_url": ('"https://a.example"', '"https://b.example"'),
    "server.jwt.algorithms": ('["RS256"]', '["ES256"]'),
    "server.public_url": ('"https://a.example"', '"https://b.example"'),
    "server.origins": ('["https://a.example"]', '["https://b.example"]'),
    "server.proxies": ('["10.0.0.0/8"]', '["10.0.0.1"]'),
    "server.names": ('["aa"]', '["bb"]'),
    "server.reach": ('["aa"]', '["bb"]'),
    "server.models": ('{ aa = "openai:x" }', '{ aa = "openai:y" }'),
    "server.webhooks.retries_s": ("[1]", "[2]"),
    "attachments.reach": ('["aa"]', '["bb"]'),
    "mcp.reach": ('["aa"]', '["bb"]'),
    "mcp.servers.NAME.url": ('"https://a.example"', '"https://b.example"'),
    "mcp.servers.NAME.transport": ('"http"', '"sse"'),
    "mcp.servers.NAME.always": ('["a"]', '["b"]'),
    "mcp.servers.NAME.tools": ('["aa"]', '["bb"]'),
    "mcp.servers.NAME.without": ('["aa"]', '["bb"]'),
    "mcp.servers.NAME.args": ('["aa"]', '["bb"]'),
    "mcp.servers.NAME.env": ('{ AA = "x" }', '{ AA = "y" }'),
    "mcp.servers.NAME.oauth.client_secret": ('"${A}"', '"${B}"'),
    "mcp.servers.NAME.oauth.issuer": ('"https://a.example"', '"https://b.example"'),
    "mcp.servers.NAME.oauth.client_metadata_url": ('"https://a.example/a"', '"https://b.example/b"'),
    "mcp.servers.NAME.oauth.scopes": ('["aa"]', '["bb"]'),
    "mcp.servers.NAME.oauth.grant": ('"client_credentials"', '"authorization_code"'),
    "mcp.servers.NAME.headers": ('{ aa = "x" }', '{ aa = "y" }'),
    "lanes.NAME.tools": ('["aa"]', '["bb"]'),
}
# What has to stand beside it in the file.
BESIDE = {
    "web_search.backend": {"web_search.backend": '"brave"', "web_search.key_env": '"KEY"'},
    "web_search": {"web_search.backend": '"brave"'},
    "web_search.url": {"web_search.backend": '"searxng"', "web_search.url": '"http://c.example"'},
    "server.jwt": {"server.jwt.jwks_url": '"https://e.com"', "server.jwt.issuer": '"i"', "server.jwt.audience": '"a"'},
    "server.tls_key": {"server.tls_cert": '"/c"'},
    "models.NAME.price": {"models.mine.price.input": "1", "models.mine.price.output": "2"},
    "providers.NAME": {"providers.mine.base_url": '"https://e.com"'},
    "providers.NAME.oauth": {
        "providers.mine.base_url": '"https://e.com"',
        "providers.mine.oauth.client_id": '"c"',
        "providers.mine.oauth.token_url": '"https://e.com/t"',
        "providers.mine.oauth.device_url": '"https://e.com/d"',
    },
    "mcp.servers.NAME": {"mcp.servers.mine.url": '"https://e.com"'},
    "mcp.servers.NAME.oauth": {
        "mcp.servers.mine.url": '"https://e.com"',
        "mcp.servers.mine.oauth.client_id": '"c"',
        "mcp.servers.mine.oauth.client_secret": '"${C}"',
    },
    "mcp.servers.NAME.command": {},
    "mcp.servers.NAME.args": {"mcp.servers.mine.command": '"x"'},
    "mcp.servers.NAME.env": {"mcp.servers.mine.command": '"x"'},
    "mcp.servers.NAME.cwd": {"mcp.servers.mine.command": '"x"'},
    "lanes.NAME": {"lanes.mine.tools": '["x"]'},
    "lanes.NAME.rate": {"lanes.mine.tools": '["x"]', "lanes.mine.rate.steps": "1", "lanes.mine.rate.per_s": "1"},
}
FOLDER = "/nowhere"
ALL = [one for one in settings() if one.key != "hooks"]


def values(setting: Setting) -> tuple[str, str]:
    if setting.key in VALUES:
        return VALUES[setting.key]
    kind = setting.type.partition(" or ")[0]
    choices = setting.type.split(", ")
    if setting.type.startswith('"'):
        others = [one for one in choices if one != json.dumps(setting.default)]
        return others[0], others[-1]
    if setting.type == "true or false":
        return ("true", "false") if setting.default is not True else ("false", "true")
    return {"whole number": ("11", "12"), "number": ("0.25", "0.5"), "text": ('"aa"', '"bb"')}[kind]


def beside(setting: Setting) -> dict[str, str]:
    parts = setting.key.split(".")
    return next((BESIDE[key] for n in range(len(parts), 0, -1) if (key := ".".join(parts[:n])) in BESIDE), {})


def read(config: Config) -> dict[str, Any]:
    """Everything that is said, whoever says it."""
    found = msgspec.to_builtins(
        {
            "terms": config.terms, "sandbox": config.sandbox, "web": config.web_search, "models": config.models,
            "providers": config.providers, "server": config.server, "lanes": config.lanes, "mcp": config.mcp,
            "attachments": config.attachments, "servers": config.mcp_servers,
            "default": config.default, "rules": [msgspec.to_builtins(one.permissions) for one in config.standing.layers],
        }
    )  # fmt: skip
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("setting", ALL, ids=lambda one: one.key)
def test_each_is_set_by_each_layer(setting: Setting, tmp_path: Path) -> None:
    key, (one, other) = setting.key.replace("NAME", "mine"), values(setting)
    own = tmp_path / "own.toml"
    environment = {"GODWIT_CONFIG": str(own), "GODWIT_TRUST": ""}
    around = beside(setting)

    def write(**more: str) -> None:
        own.write_text("\n".join(f"{name} = {value}" for name, value in (around | more).items()))

    if setting.key == "trusted":
        own.write_text("")
        assert not load("/one", environment=environment).trusted
        assert load("/one", environment=environment | {"GODWIT_TRUSTED": one}).trusted
        assert load("/two", environment=environment | {"GODWIT_TRUSTED": one}, options={"trusted": ["/two"]}).trusted
        return
    assert setting.variable is not None
    variable = setting.variable.replace("__NAME__", "__MINE__")

    def said(**given: Any) -> dict[str, Any]:
        return read(load(FOLDER, environment=environment | given.get("known", {}), options=given.get("options")))

    write()
    below = said()
    expected = []
    for value in (one, other):
        write(**{key: value})
        expected.append(said())
    assert expected[0] != expected[1]
    assert expected[0] != below or expected[1] != below, "it is read"
    write()

    def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
        # Rules stand in a layer of their own.
        return json.dumps(found | {"rules": sorted(map(str, found["rules"]))}) == json.dumps(
            wanted | {"rules": sorted(map(str, wanted["rules"]))}
        )

    assert same(said(known={variable: one}), expected[0]), variable
    assert same(said(known={"GODWIT_SET": f"{key} = {one}"}), expected[0])
    assert same(said(known={variable: one, "GODWIT_SET": f"{key} = {other}"}), expected[0])
    parsed = msgspec.toml.decode(f"value = {other}")["value"]
    assert same(said(known={variable: one}, options={key: parsed}), expected[1])
    found = origins(FOLDER, environment=environment | {variable: one}, options={key: parsed})
    told = [
        (one.origin, one.why) for one in found if f"{one.key}.".startswith(f"{key}.") and not one.origin.startswith(str(own))
    ]
    assert told == [(variable, f"option {key} says otherwise, and counts"), (f"option {key}", None)] or (
        SECTIONS[key.partition(".")[0]].meets == "added" and [origin for origin, _ in told] == [variable, f"option {key}"]
    ), told


WRONG = [
    ("GODWIT_BUDGET__USD", "-1", "GODWIT_BUDGET__USD: [budget]: usd=-1 must be a number"),
    ("GODWIT_BUDGET__USD", " ", "GODWIT_BUDGET__USD: it is empty: unset it, or give it a value"),
    ("GODWIT_BUDGTE__USD", "5", "GODWIT_BUDGTE__USD: there is no section 'budgte': did you mean 'budget'?"),
    ("GODWIT_BUDGET__UDS", "5", "GODWIT_BUDGET__UDS: there is no setting 'uds' in [budget]: did you mean 'usd'?"),
    ("GODWIT_BUDGET_USD", "5", "GODWIT_BUDGET_USD: nothing reads this variable: did you mean GODWIT_BUDGET__USD?"),
    ("GODWIT_SERVER__TENANT__BRUST", "5", "GODWIT_SERVER__TENANT__BRUST: [server.tenant] brust: "),
    ("GODWIT_SERVER__TENANT__BURST", "0", "GODWIT_SERVER__TENANT__BURST: [server.tenant] burst 0 is not greater"),
    ("GODWIT_SERVER__PORT", "high", "GODWIT_SERVER__PORT: [server] port: expected `int`".replace("`", "")),
    ("GODWIT_SERVER__NAMES", "a,b", "GODWIT_SERVER__NAMES: [server] names: expected array, got str"),
    ("GODWIT_MEMORY__MAX_ITEMS", "0", "GODWIT_MEMORY__MAX_ITEMS: [memory] memory max_items=0 must be at least 1"),
    ("GODWIT_MCP__TOKENS__A", "x", "GODWIT_MCP__TOKENS__A: [mcp] tokens: a token is never in a file"),
    ("GODWIT_PERMISSIONS__DENY", '["bash("]', "GODWIT_PERMISSIONS__DENY: "),
    (
        "GODWIT_SANDBOX__WRITABLE",
        '["a"]',
        "GODWIT_SANDBOX__WRITABLE: [sandbox] sandbox writable path 'a' is not absolute",
    ),
    ("GODWIT_SET", "budget.usd = -1", "GODWIT_SET: [budget]: usd=-1 must be a number"),
    ("GODWIT_SET", "budget.usd", "GODWIT_SET: this is no TOML"),
    ("GODWIT_SET", "bugdet.usd = 1", "GODWIT_SET: there is no section 'bugdet': did you mean 'budget'?"),
]


@pytest.mark.parametrize(("variable", "value", "what"), WRONG)
def test_what_is_wrong_is_told_with_its_origin(variable: str, value: str, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(FOLDER, environment={"GODWIT_CONFIG": "", variable: value})
    assert str(caught.value).startswith(what)


def test_an_option_that_is_none_is_named() -> None:
    for key in ("budget..usd", "", "budget.usd = 5\nx", "usd"):
        with pytest.raises(ConfigurationError, match=r"^option "):
            load(FOLDER, environment={"GODWIT_CONFIG": ""}, options={key: 5})


def test_a_service_of_kubernetes_is_no_misspelt_setting() -> None:
    known = {"GODWIT_SERVER_PORT": "tcp://10.0.0.1:8642", "GODWIT_SERVER_SERVICE_HOST": "10.0.0.1"}
    assert load(FOLDER, environment={"GODWIT_CONFIG": "", **known}).server is None


def test_what_lies_above_lies_over_the_file_setting_by_setting(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[server]\nport = 9\nhost = "::1"\n[server.tenant]\nburst = 3\nruns = 2\n[models."ours:a"]\nimages = true\n'
    )
    known = {"GODWIT_CONFIG": str(own), "GODWIT_SERVER__TENANT__BURST": "4", "GODWIT_SERVER__PORT": "10"}
    config = load(FOLDER, environment=known, options={'models."ours:a".title': "A"})
    assert config.server is not None
    assert (config.server.port, config.server.host, config.server.tenant.burst) == (10, "::1", 4)
    assert config.server.tenant.runs == 2
    assert (config.models["ours:a"].images, config.models["ours:a"].title) == (True, "A")
    own.write_text("[server]\nkeep_alive_s = 0\n")
    with pytest.raises(ConfigurationError, match=r"own\.toml:2: \[server\] keep_alive_s 0"):
        load(FOLDER, environment=known)


def test_a_network_that_a_file_opens_is_closed_above_it(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[sandbox]\nnetwork = true\nwritable = ["/a"]\nmemory_bytes = 5\n')
    known = {"GODWIT_CONFIG": str(own), "GODWIT_SANDBOX__NETWORK": "false", "GODWIT_SANDBOX__MEMORY_BYTES": "9"}
    policy = load(FOLDER, environment=known | {"GODWIT_SANDBOX__WRITABLE": '["/b"]'}).sandbox
    assert (policy.network, policy.memory_bytes, set(policy.writable)) == (False, 9, {"/a", "/b"})


def test_hooks_are_set_above_the_files() -> None:
    known = {"GODWIT_CONFIG": "", "GODWIT_SET": 'hooks = [{ point = "after_run", command = "true" }]'}
    (hook,) = load(FOLDER, environment=known).hooks
    assert (hook.point, hook.id) == ("after_run", "set-1")
    with pytest.raises(ConfigurationError, match=r"^GODWIT_SET: "):
        load(FOLDER, environment=known | {"GODWIT_SET": 'hooks = [{ point = "nowhere", command = "true" }]'})
