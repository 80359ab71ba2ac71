"""`godwit login`, `logout` and `auth status`: as a process, and on a terminal."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from godwit.host.auth_store import AuthStore
from godwit.host.oauth import Refreshed
from tests.host.authorization import AuthorizationServer
from tests.host.openrouter import OpenRouter
from tests.loopback import Loopback, Reply, Seen
from tests.patience import PATIENCE_S
from tests.surfaces.terminal import Command, Terminal

KEY = "sk-typed-7Wm3Xe"


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    return tmp_path / "auth" / "auth.json"


def configured(
    folder: Path, server: AuthorizationServer, base: str = "http://127.0.0.1:9/v1", **only: bool
) -> dict[str, str]:
    """A configuration with a provider that is logged in to there."""
    oauth = server.settings(**only)
    said = [f'client_id = "{oauth.client_id}"', f'token_url = "{oauth.token_url}"', 'scopes = ["models"]']
    said += [f'{name} = "{url}"' for name in ("device_url", "authorize_url") if (url := getattr(oauth, name)) is not None]
    path = folder / "config.toml"
    path.write_text(f'[providers.ours]\nbase_url = "{base}"\noauth = {{ {", ".join(said)} }}\n')
    return {"GODWIT_CONFIG": str(path)}


def visit(url: str) -> str:
    """What a browser sees in the end."""
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


async def test_a_key_is_stored_shown_as_there_and_forgotten(command: Command, auth: Path) -> None:
    env = {"GODWIT_AUTH": str(auth)}
    nothing = await command.run("auth", "status", **env)
    assert nothing.code == 0, nothing.err
    assert "without a key: " in nothing.err
    assert not auth.exists(), "who only looks leaves nothing behind"
    stored = await command.run("login", "anthropic", "--key-stdin", text=f"{KEY}\n", **env)
    assert (stored.code, stored.out) == (0, ""), stored.err
    (told,) = (await command.run("auth", "status", "anthropic", "--json", **env)).lines
    assert told == {
        "provider": "anthropic",
        "origin": "stored",
        "kind": "api_key",
        "form": "literal",
        "place": "file",
        "ready": True,
    }
    status = await command.run("auth", "status", MISTRAL_API_KEY=KEY, **env)
    assert [line.split("  ")[:2] for line in status.out.splitlines() if "needs no key" not in line] == [
        ["anthropic", "key stored in the file"],
        ["mistral", "key in MISTRAL_API_KEY"],
    ]
    doctor = await command.run("doctor", **env)
    assert "key stored in the file (godwit auth status)" in doctor.out
    gone = await command.run("logout", "anthropic", ANTHROPIC_API_KEY=KEY, **env)
    assert gone.code == 0
    assert "note: the key in ANTHROPIC_API_KEY counts now" in gone.err
    assert (await command.run("logout", "anthropic", **env)).code == 5
    missing = await command.run("auth", "status", "anthropic", **env)
    assert (missing.code, missing.out) == (1, "anthropic  no key: set ANTHROPIC_API_KEY\n")
    for one in (stored, status, doctor, gone):
        assert KEY[4:] not in one.out + one.err


async def test_what_cannot_be_stored_is_told(command: Command, auth: Path) -> None:
    env = {"GODWIT_AUTH": str(auth)}
    for words, text, code, says in (
        (("login", "nobody", "--key-stdin"), KEY, 2, "there is no provider 'nobody'"),
        (("login", "anthropic", "--key-stdin"), f"{KEY} {KEY}", 2, "the key has blanks"),
        (("login", "anthropic", "--key-stdin"), " \n", 2, "the key is empty"),
        (("login", "anthropic"), KEY, 2, "--key-stdin reads it from standard input"),
        (("login",), KEY, 2, "login needs the name of a provider"),
        (("login", "anthropic", "--device"), KEY, 2, "has no oauth in your configuration"),
        (("login", "anthropic", "--file", "--keyring"), KEY, 2, "say one of them"),
        (("auth", "everything"), KEY, 2, "there is status"),
        (("auth", "status", "nobody"), KEY, 2, "there is no provider 'nobody'"),
    ):
        ended = await command.run(*words, text=text, **env)
        assert ended.code == code, (words, ended.err)
        assert says in ended.err
        assert KEY not in ended.out + ended.err
    assert not auth.exists()
    nowhere = await command.run("login", "anthropic", "--key-stdin", text=KEY)
    assert nowhere.code == 2
    assert "set GODWIT_AUTH to a file" in nowhere.err


async def test_a_key_that_is_typed_is_not_shown(command: Command, auth: Path) -> None:
    async with Terminal(command, "login", "anthropic", "--file", GODWIT_AUTH=str(auth)) as terminal:
        await terminal.shows("Key of anthropic (not shown): ")
        terminal.type(f"{KEY}\n")
        await terminal.shows("stored for anthropic in ")
        assert await terminal.code() == 0
        assert KEY not in terminal.text
    assert json.loads(auth.read_text())["providers"]["anthropic"]["secret"] == {"key": KEY}


async def test_a_login_with_a_code_that_is_typed_elsewhere(command: Command, auth: Path, tmp_path: Path) -> None:
    async with AuthorizationServer(pending=2) as server:
        env = {"GODWIT_AUTH": str(auth), **configured(tmp_path, server, browser=False)}
        before = await command.run("auth", "status", "ours", **env)
        assert (before.code, before.out) == (1, "ours  no key: godwit login ours\n")
        ended = await command.run("login", "ours", **env)
        assert ended.code == 0, ended.err
        assert "activate and type WDJB-MJHT" in ended.err
        (told,) = (await command.run("auth", "status", "ours", "--json", **env)).lines
        assert (told["kind"], told["renewable"], told["ready"]) == ("oauth", True, True)
        assert told["expires_ms"] > 0
        words = await command.run("auth", "status", "ours", **env)
        assert words.out.startswith("ours  token stored in the file, ends ")
        seen = ended.out + ended.err + json.dumps(told) + words.out
        assert not [secret for secret in server.secrets if secret in seen]
        assert [seen.path for seen in server.http.requests] == ["/device", "/token", "/token", "/token"]


async def test_a_login_in_a_browser(command: Command, auth: Path, tmp_path: Path) -> None:
    async with AuthorizationServer() as server:
        env = {"GODWIT_AUTH": str(auth), **configured(tmp_path, server)}
        process = await command.start("login", "ours", stdin=None, **env)
        assert process.stderr is not None
        address = (await process.stderr.readline()).decode().removeprefix("Log in at ").strip()
        back = (
            f"http://127.0.0.1:{address.partition('redirect_uri=http%3A%2F%2F127.0.0.1%3A')[2].partition('%2F')[0]}/callback"
        )
        for stray in (f"{back}?code=evil&state=guessed", f"{back}?code=evil", back.replace("callback", "other")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                await asyncio.to_thread(visit, stray)
            refused.value.close()
        page = await asyncio.to_thread(visit, address)
        assert "You can close this window" in page
        out, err = await process.communicate()
        assert process.returncode == 0, err
        stored = json.loads(auth.read_text())["providers"]["ours"]
        assert stored["secret"] == {"access": server.secrets[1], "refresh": server.secrets[2]}
        assert not [secret for secret in server.secrets if secret in (out + err).decode() + page]


async def test_only_check_asks_the_provider(command: Command, auth: Path) -> None:
    def answer(seen: Seen) -> Reply:
        good = f"Bearer {KEY}" == seen.headers["authorization"]
        return Reply.json({"data": []}) if good else Reply.json({"error": {"message": seen.headers["authorization"]}}, 401)

    async with Loopback(otherwise=answer) as provider:
        env = {"GODWIT_AUTH": str(auth), "MISTRAL_BASE_URL": f"{provider.url}/v1"}
        await command.run("login", "mistral", "--key-stdin", text=KEY, **env)
        await command.run("auth", "status", "mistral", **env)
        assert provider.requests == []
        good = await command.run("auth", "status", "mistral", "--check", **env)
        assert (good.code, good.out) == (0, "mistral  key stored in the file  the provider accepts the key\n")
        assert [seen.path for seen in provider.requests] == ["/v1/models"]
        wrong = await command.run("login", "mistral", "--key-stdin", "--check", "--json", text=f"{KEY}x", **env)
        assert wrong.code == 1
        assert (wrong.lines[0]["check"], wrong.lines[0]["said"]) == (
            "refused",
            "the provider does not accept the key (HTTP 401)",
        )
        assert KEY not in wrong.out + wrong.err


async def test_the_command_line_shows_no_key(command: Command, auth: Path, tmp_path: Path) -> None:
    command_key, held = "sk-printed-2Lp5Ys", "sk-held-8Bn1Ud"
    store = AuthStore(auth, keyring=False)
    await store.set("anthropic", KEY)
    await store.set("openai", f"!echo {command_key}")
    async with AuthorizationServer() as issuer:
        first = issuer.tokens()
        tokens = Refreshed(first["access_token"], first["refresh_token"], 3600)
        await store.set_tokens("groq", tokens, issuer.settings())
        secrets = [KEY, command_key, held, *issuer.secrets]

    def refuse(seen: Seen) -> Reply:
        return Reply.json({"error": {"message": f"wrong: {seen.headers['authorization']}"}}, 401)

    async with Loopback(otherwise=refuse) as provider:
        config = tmp_path / "config.toml"
        config.write_text(f'[providers.ours]\nbase_url = "{provider.url}/v1"\nkey_env = "OUR_API_KEY"\n')
        env = {
            "GODWIT_AUTH": str(auth),
            "GODWIT_CONFIG": str(config),
            "OUR_API_KEY": held,
            "MISTRAL_API_KEY": held,
            "GODWIT_DEBUG": "1",
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        }
        runs = [
            ("doctor",),
            ("doctor", "--json"),
            ("auth", "status"),
            ("auth", "status", "--json"),
            ("models", "--all", "--json"),
            ("config", "show", "--origin"),
            ("config", "show", "--json"),
            ("-v", "run", "Hello.", "-m", "ours:gpt-4o"),
            ("login", "openai", "--key-stdin"),
        ]
        for words in runs:
            ended = await command.run(*words, text=f"{KEY} {KEY}", **env)
            for secret in secrets:
                assert secret not in ended.out + ended.err, words
                assert secret[4:] not in ended.out + ended.err, words
        assert held in provider.requests[0].headers["authorization"], "it was asked, or this proves nothing"


async def begun(command: Command, *words: str, **env: str) -> tuple[asyncio.subprocess.Process, str]:
    """A login that waits for its browser, and where that is to go."""
    process = await command.start("login", *words, stdin=asyncio.subprocess.PIPE, **env)
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    return process, line.removeprefix("Log in at ").strip()


async def test_openrouter_gives_a_key_in_a_browser(command: Command, auth: Path) -> None:
    async with OpenRouter() as service:
        env = {"GODWIT_AUTH": str(auth), "OPENROUTER_BASE_URL": service.base_url}
        process, address = await begun(command, "openrouter", "--check", **env)
        assert address.startswith(f"{service.http.url}/auth?callback_url=http%3A%2F%2Flocalhost%3A")
        back = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["callback_url"][0]
        for stray in (f"{back[:-1]}?code=evil", back.rpartition("/")[0] + "?code=evil"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                await asyncio.to_thread(visit, stray)
            refused.value.close()
        page = await asyncio.to_thread(visit, address)
        assert "You can close this window" in page
        out, err = await process.communicate()
        assert process.returncode == 0, err
        assert out.decode() == "openrouter  key stored in the file  the provider accepts the key\n"
        assert json.loads(auth.read_text())["providers"]["openrouter"]["secret"] == {"key": service.keys[0]}
        assert service.keys[0] not in (out + err).decode() + page
        # A model of it is asked with that key.
        asked = await command.run("auth", "status", "openrouter", "--check", **env)
        assert asked.code == 0, asked.err


@pytest.mark.parametrize("whole", [True, False])
async def test_openrouter_gives_a_key_to_who_has_no_browser_here(command: Command, auth: Path, whole: bool) -> None:
    async with OpenRouter() as service:
        env = {"GODWIT_AUTH": str(auth), "OPENROUTER_BASE_URL": service.base_url}
        process, address = await begun(command, "openrouter", "--no-browser", **env)

        class Stays(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: object) -> None:
                return None

        def elsewhere() -> str:
            try:
                urllib.request.build_opener(Stays).open(address)
            except urllib.error.HTTPError as error:
                error.close()
                return str(error.headers["location"])
            raise AssertionError("it is sent back")

        sent = await asyncio.to_thread(elsewhere)
        code = sent.partition("code=")[2]
        _, err = await process.communicate(f"\n{sent if whole else code}\n".encode())
        assert process.returncode == 0, err
        assert json.loads(auth.read_text())["providers"]["openrouter"]["secret"] == {"key": service.keys[0]}
        for wrong, what in (
            (code, "the code is wrong, was used, or is too old"),
            (sent, "it was refused (address_of_another_login)"),
        ):
            process, _ = await begun(command, "openrouter", "--no-browser", **env)
            _, err = await process.communicate(f"{wrong}\n".encode())
            assert process.returncode != 0
            assert what in err.decode()
        assert len(service.keys) == 1


async def test_who_says_no_at_openrouter_has_no_key(command: Command, auth: Path) -> None:
    async with OpenRouter(refuses=True) as service:
        env = {"GODWIT_AUTH": str(auth), "OPENROUTER_BASE_URL": service.base_url}
        process, address = await begun(command, "openrouter", **env)
        await asyncio.to_thread(visit, address)
        _, err = await process.communicate()
        assert process.returncode == 2
        assert "it was refused (access_denied)" in err.decode()
        assert not auth.exists()
        # Nor does a service make a command or a variable of a key.
        service.refuses, service.gives = False, "!touch stolen"
        process, address = await begun(command, "openrouter", **env)
        await asyncio.to_thread(visit, address)
        _, err = await process.communicate()
        assert "answers without a key" in err.decode()
        assert not auth.exists()
        typed = await command.run("login", "openrouter", "--key-stdin", text=KEY, **env)
        assert typed.code == 0, typed.err


async def test_an_oauth_of_the_configuration_without_a_browser_here(command: Command, auth: Path, tmp_path: Path) -> None:
    async with AuthorizationServer() as server:
        env = {"GODWIT_AUTH": str(auth), **configured(tmp_path, server)}
        process, address = await begun(command, "ours", "--no-browser", **env)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(urllib.parse.urlsplit(address).query).items()}
        sent = dict(server._authorized(query).headers)["location"]
        _, err = await process.communicate(f"{sent}\n".encode())
        assert process.returncode == 0, err
        stored = json.loads(auth.read_text())["providers"]["ours"]
        assert stored["secret"] == {"access": server.secrets[1], "refresh": server.secrets[2]}
