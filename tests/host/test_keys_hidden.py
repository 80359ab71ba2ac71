"""A key appears nowhere: keys of every origin are planted, used, refused, and looked for in all that is left behind."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from tests.host.authorization import AuthorizationServer
from tests.loopback import Loopback, Reply, Seen
from tests.parts.test_model_live_wires import WIRES, Said

import godwit
from godwit.core.keys import ProviderKey
from godwit.host.auth_store import AuthStore
from godwit.host.oauth import Refreshed
from godwit.models.registry import Registry

EXPLICIT, STORED, VARIABLE, COMMAND, NAMED = (
    f"sk-{word}-9fQ2xV7k" for word in ("explicit", "stored", "env", "cmd", "named")
)


def provider(seen: Seen) -> Reply:
    """Answers, and refuses a second message with all that it was sent."""
    if seen.raw.count(b'"user"') < 2:
        return WIRES["chat"].say(Said(text=["Yes."]))
    said = f"wrong key {seen.headers['authorization']}"
    return Reply.json({"error": {"message": said, "code": said, "type": said}}, 401)


async def test_no_key_is_left_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    environment = {"ENV_KEY": VARIABLE, "NAMED_KEY": NAMED}
    store = AuthStore(tmp_path / "auth" / "auth.json", keyring=False, environment=environment)
    seen: list[str] = []
    async with Loopback(otherwise=provider) as server, AuthorizationServer() as issuer:
        registry = Registry(environment=environment, keys=store)
        base = f"{server.url}/v1"
        registry.register_provider("explicit", base_url=base, api_key=EXPLICIT)
        registry.register_provider("environment", base_url=base, api_key_env="ENV_KEY")
        for name in ("stored", "command", "named"):
            registry.register_provider(name, base_url=base)
        registry.register_provider("tokens", base_url=base, oauth=issuer.settings())
        seen.append(repr(await store.set("stored", STORED)))
        seen.append(repr(await store.set("command", f"!echo {COMMAND}")))
        seen.append(repr(await store.set("named", "$NAMED_KEY")))
        first = issuer.tokens()
        tokens = Refreshed(first["access_token"], first["refresh_token"], 0)
        seen.append(repr(await store.set_tokens("tokens", tokens, issuer.settings())))
        names = ["explicit", "environment", "stored", "command", "named", "tokens"]
        database = tmp_path / "g.db"
        async with await godwit.Runtime.open(database, models=registry, tracing=True) as runtime:
            for name in names:
                session = await runtime.start_session(godwit.Agent("a", model=f"{name}:gpt-4o"))
                assert (await session.send("Hello.")).text == "Yes."
                try:
                    await session.send("Again.")
                    pytest.fail("it was refused")
                except godwit.RunFailed as error:
                    seen += [*traceback.format_exception(error), repr(error), repr(error.details), repr(vars(error))]
                seen += [repr(event) for event in await session.events()]
                connection = registry.connection(name)
                seen += [repr(one) for one in (connection, connection.provider, registry.resolve(f"{name}:gpt-4o"))]
                seen += [repr(registry.key_status(name)), repr(await runtime.find_model(f"{name}:gpt-4o"))]
            seen += [repr(registry), repr(store), repr(runtime), repr(runtime.auth), repr(await store.list())]
        # A refused renewal is an error with all its tokens at hand.
        await store.set_tokens("tokens", Refreshed("access-gone-3hX8", "refresh-gone-6tR1", 0), issuer.settings())
        with pytest.raises(godwit.GodwitError) as refused:
            await store.current("tokens")
        seen += [*traceback.format_exception(refused.value), repr(refused.value), repr(refused.value.details)]
        sent = {request.headers["authorization"].removeprefix("Bearer ") for request in server.requests}
        secrets = {EXPLICIT, STORED, VARIABLE, COMMAND, NAMED, *issuer.secrets, "access-gone-3hX8", "refresh-gone-6tR1"}
        assert {EXPLICIT, STORED, VARIABLE, COMMAND, NAMED, issuer.secrets[2]} == sent, (
            "all were used, or this proves nothing"
        )
    seen += [record.getMessage() for record in caplog.records] + [caplog.text]
    everything = "\n".join(seen)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "auth"}
    assert database in kept
    for secret in secrets:
        # Neither whole nor in parts that would help somebody.
        for part in (secret, secret[:-4], secret[4:]):
            assert part not in everything, f"{part} in {everything[max(0, everything.find(part) - 200) :][:400]}"
            assert not [path for path, content in kept.items() if part.encode() in content], part
    assert repr(ProviderKey(STORED)) == "ProviderKey(...)"
