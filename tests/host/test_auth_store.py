"""Keys of providers: which one counts, what is stored and how, and tokens that are renewed in time."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest
from tests.host.authorization import AuthorizationServer
from tests.loopback import Loopback, Reply
from tests.parts.model_checks import ask, request
from tests.parts.test_model_live_wires import WIRES, Said, Wire

import godwit
from godwit.core.errors import AuthenticationFailed, ConfigurationError, InvalidArgument, ModelUnavailable
from godwit.core.messages import Text, User
from godwit.host.auth_store import AuthStore
from godwit.host.oauth import Refreshed
from godwit.models.key_value import forget_outputs, read_key
from godwit.models.registry import Registry

KEY = "sk-stored-4Hq9Zt"
SCRIPT = Path(__file__).with_name("renewing_script.py")


@pytest.fixture
def store(tmp_path: Path) -> AuthStore:
    return AuthStore(tmp_path / "auth" / "auth.json", keyring=False, environment={"HELD": "sk-held"})


async def sent(registry: Registry, server: Loopback, wire: Wire) -> dict[str, str]:
    server.add(wire.say(Said(text=["Yes."])))
    await ask(registry.resolve(wire.model), request([godwit_user()]))
    return server.requests[-1].headers


def godwit_user() -> User:
    return User((Text("Go."),))


# --- which key counts -----------------------------------------------------------------------------------------------


async def test_an_explicit_key_counts_before_a_stored_one_and_that_before_the_environment(store: AuthStore) -> None:
    wire = WIRES["chat"]
    async with Loopback() as server:
        registry = Registry(environment={"OUR_KEY": "sk-environment"}, keys=store)
        wire = Wire("ours:gpt-4o", wire.say, wire.path, wire.base)
        registry.register_provider("ours", base_url=f"{server.url}/v1", api_key_env="OUR_KEY")
        assert (await sent(registry, server, wire))["authorization"] == "Bearer sk-environment"
        await store.set("ours", KEY)
        assert (await sent(registry, server, wire))["authorization"] == f"Bearer {KEY}", "from the next request on"
        assert registry.key_status("ours").origin == "stored"
        await store.set("ours", "$HELD")
        assert (await sent(registry, server, wire))["authorization"] == "Bearer sk-held"
        await store.remove("ours")
        assert (await sent(registry, server, wire))["authorization"] == "Bearer sk-environment"
        await store.set("ours", KEY)
        registry.register_provider("ours", base_url=f"{server.url}/v1", api_key="sk-explicit")
        assert (await sent(registry, server, wire))["authorization"] == "Bearer sk-explicit"
        await registry.close()


@pytest.mark.parametrize("name", list(WIRES))
async def test_each_provider_gets_a_key_in_its_own_header_and_a_token_as_bearer(store: AuthStore, name: str) -> None:
    wire = WIRES[name]
    header = {"anthropic": "x-api-key", "google": "x-goog-api-key"}.get(name, "authorization")
    async with Loopback() as server, AuthorizationServer() as issuer:
        registry = Registry(environment={}, keys=store)
        registry.register_provider(wire.provider, base_url=server.url + wire.base)
        await store.set(wire.provider, KEY)
        headers = await sent(registry, server, wire)
        assert headers[header].removeprefix("Bearer ") == KEY
        tokens = Refreshed("access-token", "refresh-token", 3600)
        await store.set_tokens(wire.provider, tokens, issuer.settings())
        headers = await sent(registry, server, wire)
        assert headers["authorization"] == "Bearer access-token"
        assert KEY not in json.dumps(headers)
        await registry.close()


async def test_a_redirect_to_elsewhere_takes_no_key_along(store: AuthStore) -> None:
    """No SDK follows one by itself; a setting of the HTTP client's could make it."""
    for kind, header in (("openai-chat", "authorization"), ("anthropic", "x-api-key")):
        async with Loopback() as server, Loopback(otherwise=lambda _: Reply.json({})) as elsewhere:
            registry = Registry(environment={}, keys=store)
            registry.register_provider("ours", kind=kind, base_url=server.url, api_key=KEY)  # type: ignore[arg-type]
            connection = registry.connection("ours")
            await connection.authorize()
            server.add(Reply.json({}, 307, location="/here"), Reply.json({}, 307, location=f"{elsewhere.url}/there"))
            marked = {header: "Bearer no-key" if header == "authorization" else "no-key"}
            await connection._client().get(f"{server.url}/", headers=marked, follow_redirects=True)
            assert [KEY in seen.headers.get(header, "") for seen in server.requests] == [True, True]
            assert [seen.path for seen in elsewhere.requests] == ["/there"]
            assert header not in elsewhere.requests[0].headers
            await registry.close()


async def test_what_is_missing_is_told(store: AuthStore) -> None:
    registry = Registry(environment={"ANTHROPIC_API_KEY": "  \n"}, keys=store)
    with pytest.raises(AuthenticationFailed, match="set ANTHROPIC_API_KEY, or store one with godwit login anthropic"):
        registry.resolve("anthropic:claude-opus-4-6")
    await store.set("anthropic", "$NOT_SET")
    assert registry.key_status("anthropic").missing == ("NOT_SET",)
    assert registry.find("anthropic:claude-opus-4-6").missing == ("NOT_SET",)
    await store.set("anthropic", KEY)
    assert registry.find("anthropic:claude-opus-4-6").ready, "also when it was looked at before"
    assert registry.key_status("openai-chat").missing == ("OPENAI_API_KEY",)
    await store.set("openai", KEY)
    assert registry.key_status("openai-chat").origin == "stored", "one account in either format"
    await registry.close()


async def test_a_runtime_has_the_store_of_its_models(store: AuthStore) -> None:
    async with await godwit.Runtime.open(":memory:", auth=store) as runtime:
        assert runtime.auth is store
        assert not (await runtime.find_model("anthropic:claude-opus-4-6")).ready
        await runtime.auth.set("anthropic", KEY)
        told = await runtime.auth.get("anthropic")
        assert told is not None
        assert (told.origin, told.kind, told.form, told.place) == ("stored", "api_key", "literal", "file")
        assert (await runtime.find_model("anthropic:claude-opus-4-6")).ready
        assert [one.provider for one in await runtime.auth.list()] == ["anthropic"]
        assert await runtime.auth.remove("anthropic")
        assert not await runtime.auth.remove("anthropic")
        assert await runtime.auth.list() == ()
    async with await godwit.Runtime.open(":memory:", models=Registry(environment={})) as runtime:
        assert runtime.auth.path is None, "an environment without a home has no place for keys"
        with pytest.raises(ConfigurationError, match="GODWIT_AUTH"):
            await runtime.auth.set("anthropic", KEY)


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_command_is_run_once_and_its_output_trimmed(tmp_path: Path) -> None:
    forget_outputs()
    ran = tmp_path / "ran"
    value = f"!echo x >> {ran}; printf ' sk-from-command \\n\\n'"
    assert [read_key(value, "ours") for _ in range(3)] == ["sk-from-command"] * 3
    assert ran.read_text() == "x\n"
    forget_outputs()
    assert read_key(value, "ours") == "sk-from-command"
    assert ran.read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("!echo sk-secret >&2; echo sk-secret; exit 3", "ended with code 3"),
        ("!true sk-secret", "the key is empty"),
        ("!echo sk-secret and more", "has blanks"),
        ("!echo sk-secret; exec cat /dev/zero | head -c 100000", "printed more than a key"),
    ],
)
def test_a_command_that_gives_no_key_is_told_without_what_it_said(command: str, says: str) -> None:
    with pytest.raises(AuthenticationFailed, match=says) as raised:
        read_key(command, "ours")
    assert "sk-secret" not in f"{raised.value!r}{raised.value}{raised.value.details}{raised.value.__cause__!r}"


def test_a_command_has_a_time_limit_and_what_it_started_ends_with_it(tmp_path: Path) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(AuthenticationFailed, match=r"more than 0\.3 seconds"):
        read_key(f"!(exec 3> {pipe}; sleep 600) & wait", "ours", limit_s=0.3)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"", "nobody holds the other end any more"
    os.close(reader)


@pytest.mark.parametrize("value", ["", "  \n", "!", "! ", "two words", "line\nbreak", "kéy", "x" * 20_000])
async def test_what_is_no_key_is_not_stored(store: AuthStore, value: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await store.set("ours", value)
    assert not value.strip() or value.strip() == "!" or value.strip() not in str(raised.value)
    assert await store.list() == ()


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_the_file_is_its_owners_alone(store: AuthStore) -> None:
    await store.set("ours", KEY)
    assert store.path is not None
    path = Path(store.path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for mode, where in ((0o640, path), (0o604, path), (0o770, path.parent)):
        before = stat.S_IMODE(where.stat().st_mode)
        where.chmod(mode)
        for work in (store.get("ours"), store.set("ours", "sk-other"), store.remove("ours"), store.current("ours")):
            with pytest.raises(ConfigurationError, match=f"chmod {before:o} {where}"):
                await work
        where.chmod(before)
    key = await store.current("ours")
    assert key is not None
    assert key.value == KEY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "providers": {"ours": {"kind": "api_key"',
        b'{"version": 2, "providers": {}}',
        b'{"version": 1, "providers": {}, "sk-secret": 1}',
        b'{"version": 1, "providers": {"ours": {"kind": "sk-secret", "revision": "1"}}}',
        b'["sk-secret"]',
        b"\xff\xfe",
    ],
)
async def test_a_malformed_file_is_an_error_and_is_left_as_it_is(store: AuthStore, content: bytes) -> None:
    await store.set("ours", KEY)
    assert store.path is not None
    path = Path(store.path)
    path.write_bytes(content)
    for work in (store.get("ours"), store.set("ours", "sk-other"), store.remove("ours"), store.current("ours")):
        with pytest.raises(ConfigurationError) as raised:
            await work
        assert store.path in str(raised.value)
        assert "sk-secret" not in f"{raised.value}{raised.value!r}{raised.value.__cause__!r}"
    assert path.read_bytes() == content
    registry = Registry(environment={"OUR_KEY": "sk-environment"}, keys=store)
    registry.register_provider("ours", base_url="http://127.0.0.1:9/v1", api_key_env="OUR_KEY")
    with pytest.raises(ConfigurationError):
        registry.resolve("ours:model")


async def test_a_key_of_blanks_is_none(store: AuthStore) -> None:
    await store.set("ours", KEY)
    assert store.path is not None
    path = Path(store.path)
    path.write_text(path.read_text().replace(KEY, "   "))
    assert await store.get("ours") is None
    assert await store.current("ours") is None


async def test_many_who_store_at_once_lose_nothing_and_nobody_sees_half(store: AuthStore) -> None:
    assert store.path is not None
    others = [AuthStore(store.path, keyring=False) for _ in range(4)]
    seen = 0

    async def looks() -> None:
        nonlocal seen
        reader = AuthStore(store.path, keyring=False)
        while True:
            seen = max(seen, len(await reader.list()))
            await asyncio.sleep(0)

    looking = asyncio.create_task(looks())
    await asyncio.gather(*(other.set(f"p{n}-{m}", KEY) for n, other in enumerate(others) for m in range(10)))
    looking.cancel()
    assert len(await store.list()) == 40
    assert seen > 0
    assert sorted(path.name for path in Path(store.path).parent.iterdir()) == ["auth.json", "auth.json.lock"]


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_is_renewed_before_it_ends_once_for_all_who_want_it(store: AuthStore) -> None:
    async with AuthorizationServer(expires_s=30) as server:
        first = server.tokens()
        await store.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 30), server.settings())
        server.expires_s = 3600
        keys = await asyncio.gather(*(store.current("ours") for _ in range(8)))
        assert {key.value for key in keys if key is not None} == {server.secrets[2]}
        assert all(key is not None and key.bearer for key in keys)
        assert (server.refreshes, server.thefts) == (1, 0)
        again = await AuthStore(store.path, keyring=False).current("ours")
        assert again is not None
        assert again.value == server.secrets[2], "what was renewed is stored"
        assert server.refreshes == 1, "a token that holds is not renewed"


async def test_a_token_is_renewed_once_by_many_processes(store: AuthStore) -> None:
    async with AuthorizationServer(expires_s=3600) as server:
        first = server.tokens()
        await store.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 0), server.settings())
        assert store.path is not None
        pipe = asyncio.subprocess.PIPE
        processes = [
            await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), store.path, "ours", stdin=pipe, stdout=pipe)
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        said = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert {out.decode().strip() for out, _ in said} == {server.secrets[2]}
        assert (server.refreshes, server.thefts) == (1, 0)


async def test_who_stops_waiting_does_not_lose_the_new_token(store: AuthStore) -> None:
    async with AuthorizationServer() as server:
        first = server.tokens()
        await store.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 0), server.settings())
        impatient = asyncio.create_task(store.current("ours"))
        await server.http.wait_requests(1)
        impatient.cancel()
        await store.close()
        key = await AuthStore(store.path, keyring=False).current("ours")
        assert key is not None
        assert key.value == server.secrets[2]
        assert server.refreshes == 1


async def test_a_token_that_cannot_be_renewed(store: AuthStore) -> None:
    async with AuthorizationServer() as server:
        first = server.tokens()
        await store.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 30), server.settings())
        server.down = True
        key = await store.current("ours")
        assert key is not None
        assert key.value == first["access_token"], "it still holds"
        await store.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 0), server.settings())
        with pytest.raises(ModelUnavailable) as later:
            await store.current("ours")
        assert later.value.retryable
        server.down = False
        await store.set_tokens("ours", Refreshed(first["access_token"], "refresh-stolen", 0), server.settings())
        with pytest.raises(AuthenticationFailed, match=r"\(invalid_grant\); godwit login ours gets another") as refused:
            await store.current("ours")
        assert "refresh-stolen" not in f"{refused.value!r}{refused.value.details}"


async def test_a_token_that_is_refused_before_it_ends_is_renewed_for_the_next_request(store: AuthStore) -> None:
    wire = Wire("ours:gpt-4o", WIRES["chat"].say, WIRES["chat"].path, "/v1")
    async with Loopback() as server, AuthorizationServer() as issuer:
        first = issuer.tokens()
        tokens = Refreshed(first["access_token"], first["refresh_token"], 3600)
        await store.set_tokens("ours", tokens, issuer.settings())
        registry = Registry(environment={}, keys=store)
        registry.register_provider("ours", base_url=f"{server.url}/v1")
        server.add(Reply.json({"error": {"message": "revoked"}}, 401))
        with pytest.raises(AuthenticationFailed, match="does not accept the key"):
            await ask(registry.resolve(wire.model), request([godwit_user()]))
        assert (await sent(registry, server, wire))["authorization"] == f"Bearer {issuer.secrets[2]}"
        assert (await sent(registry, server, wire))["authorization"] == f"Bearer {issuer.secrets[2]}"
        assert (issuer.refreshes, issuer.thefts) == (1, 0)
        server.add(Reply.json({"error": {"message": "revoked"}}, 401))
        issuer.tokens()  # the refresh token that is stored is no longer good
        for says in ("does not accept the key", "is refused and cannot be renewed"):
            with pytest.raises(AuthenticationFailed, match=says):
                await ask(registry.resolve(wire.model), request([godwit_user()]))
        await registry.close()


async def test_a_login_during_a_renewal_counts(store: AuthStore) -> None:
    async with AuthorizationServer() as server:
        first = server.tokens()
        await store.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 0), server.settings())
        server.http.add(Reply.json(server.tokens()).with_(path="/token", stall_after=0))
        waiting = asyncio.create_task(store.current("ours"))
        await server.http.wait_requests(1)
        await store.set("ours", KEY)
        server.http.release()
        await waiting
        key = await store.current("ours")
        assert key is not None
        assert key.value == KEY


# --- the keyring ------------------------------------------------------------------------------------------------------


async def test_a_key_in_the_keyring_is_not_in_the_file(store: AuthStore) -> None:
    keyring = pytest.importorskip("keyring")
    backend = pytest.importorskip("keyring.backend")

    class Memory(backend.KeyringBackend):  # type: ignore[misc, name-defined]
        priority = 5
        kept: dict[tuple[str, str], str] = {}  # noqa: RUF012 - one for all, as the system's is

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        assert store.path is not None
        stores = AuthStore(store.path, environment={})
        told = await stores.set("ours", KEY)
        assert told.place == "keyring"
        assert KEY not in Path(store.path).read_text()
        key = await stores.current("ours")
        assert key is not None
        assert key.value == KEY
        async with AuthorizationServer() as server:
            first = server.tokens()
            await stores.set_tokens("ours", Refreshed(first["access_token"], first["refresh_token"], 0), server.settings())
            key = await stores.current("ours")
            assert key is not None
            assert key.value == server.secrets[2]
            again = await AuthStore(store.path, environment={}).current("ours")
            assert again == key
            assert not [one for one in server.secrets if one in Path(store.path).read_text()]
        assert (await stores.set("ours", KEY, keyring=False)).place == "file"
        assert Memory.kept == {}
        await stores.set("ours", KEY)
        assert await stores.remove("ours")
        assert Memory.kept == {}
        assert (await AuthStore(store.path, environment={"GODWIT_KEYRING": "0"}).set("ours", KEY)).place == "file"
    finally:
        keyring.set_keyring(before)
