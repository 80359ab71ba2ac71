"""Logging in to MCP servers by OAuth, against a real authorization server on loopback: what is asked for, what is kept and
renewed, and who gets nothing."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.engine.conftest import MODEL, Bench
from tests.parts.login_site import LoginSite, browse, login_site, sent_back_to
from tests.patience import PATIENCE_S

from godwit import Agent, Labels, McpOAuth, McpServer, McpSettings, Runtime
from godwit.contracts import ServedSession
from godwit.core.errors import GodwitError, McpLoginFailed, McpServerFailed, NotFound, NotSupported
from godwit.core.ids import ManualClock, SessionId
from godwit.engine.session import Session
from godwit.host.auth_store import AuthStore
from godwit.host.mcp.owner import Owner

OF = ServedSession(SessionId("ses_x"))
OWN = Owner()


@pytest.fixture
async def site() -> AsyncIterator[LoginSite]:
    with login_site() as made:
        yield made


async def opened(bench: Bench, site: LoginSite, *others: LoginSite, **options: Any) -> Runtime:
    """On this machine, whose logins stand beside the test's database."""
    reach = tuple(one.here for one in (site, *others))
    auth = AuthStore(bench.path.parent / "auth" / "auth.json", keyring=False)
    return await bench.runtime(mcp=McpSettings(reach=reach, **options.pop("mcp", {})), auth=auth, **options)


def docs(site: LoginSite, **more: Any) -> McpServer:
    return McpServer("docs", site.url, **more)


def kept_at(bench: Bench) -> Path:
    return bench.path.parent / "auth" / "auth.mcp.json"


async def session_of(runtime: Runtime, bench: Bench, site: LoginSite, **more: Any) -> Session:
    return await runtime.start_session(Agent("a", model=MODEL, mcp_servers=[docs(site)]), workspace=bench.workspace, **more)


# --- a login ------------------------------------------------------------------------------------------------------------


async def test_a_login_is_found_out_done_kept_and_used(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    before = await runtime.mcp.connect(docs(site), OF)
    assert before.health == "needs_login"
    assert before.error is not None
    assert "godwit mcp login docs logs in" in before.error
    after = await runtime.mcp_login(docs(site), browse)
    assert after.health == "connected"
    assert after.tool_count == 2
    (asked,) = site.asked
    assert asked["resource"] == site.url
    assert asked["code_challenge_method"] == "S256"
    assert asked["response_type"] == "code"
    assert asked["scope"].split() == ["docs:read", "offline_access"]
    assert asked["redirect_uri"].startswith("http://127.0.0.1:")
    assert asked["redirect_uri"].endswith("/callback")
    session = await session_of(runtime, bench, site)
    assert (await session.tool("mcp__docs__read", {})).output == "read: done"
    assert kept_at(bench).stat().st_mode & 0o077 == 0


async def test_it_is_the_same_after_a_restart_and_its_expiry_is_too(bench: Bench, site: LoginSite) -> None:
    clock = ManualClock()
    runtime = await opened(bench, site, clock=clock)
    await runtime.mcp_login(docs(site), browse)
    await bench.close()
    clock.advance(site.expires_s - 120)
    runtime = await opened(bench, site, clock=clock)
    assert (await runtime.mcp.connect(docs(site), OF)).connected
    assert site.refreshes == 0, "it holds for two minutes yet"
    await bench.close()
    clock.advance(70)
    runtime = await opened(bench, site, clock=clock)
    assert (await runtime.mcp.connect(docs(site), OF)).connected
    assert site.refreshes == 1, "ahead of its end, and once for all requests of connecting"


async def test_a_second_login_takes_the_same_client_and_logging_out_forgets_it(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    await runtime.mcp_login(docs(site), browse)
    again = await runtime.mcp_login(docs(site), browse)
    assert again.connected
    assert site.logins == 1, "where none is needed there is none"
    site.end_logins()
    session = await session_of(runtime, bench, site)
    assert (await session.tool("mcp__docs__read", {})).status == "error"
    assert (await runtime.mcp_login(docs(site), browse)).connected
    assert site.logins == 2
    assert len(site.clients) == 1
    assert await runtime.mcp_logout(docs(site)) is True
    assert await runtime.mcp_logout(docs(site)) is False
    assert "refresh" not in kept_at(bench).read_text()
    await bench.close()
    runtime = await opened(bench, site)
    assert (await runtime.mcp.connect(docs(site), OF)).health == "needs_login"


async def test_a_person_may_bring_the_address_that_the_browser_was_sent_to(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    shown: list[str] = []
    lines = ["", ""]

    async def ask() -> str | None:
        return lines.pop() if lines else await sent_back_to(shown[0])

    assert (await runtime.mcp_login(docs(site), shown.append, ask=ask)).connected
    wrong = await runtime.mcp.login(docs(site), OF, ["docs:write"])
    with pytest.raises(NotFound):
        await runtime.mcp.logged_in(docs(site), OF, "http://127.0.0.1:1/callback?code=x&state=y")
    with pytest.raises(NotFound):
        await runtime.mcp.logged_in(McpServer("o", "https://other.example/"), OF, await sent_back_to(wrong.url))


async def test_of_a_session_it_is_begun_and_finished_by_itself(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    session = await session_of(runtime, bench, site)
    login = await session.begin_mcp_login("docs")
    assert login.server == "docs"
    assert login.issuer == site.issuer
    assert "close this window" in await browse(login.url)
    while not (await session.mcp_status())["docs"].connected:
        await runtime.mcp.connect(docs(site), OF)
    assert (await session.tool("mcp__docs__read", {})).status == "ok"
    assert await session.mcp_logout("docs") is True
    with pytest.raises(NotFound):
        await session.begin_mcp_login("other")


# --- renewing -----------------------------------------------------------------------------------------------------------


async def test_many_at_once_and_two_processes_take_a_refresh_token_once(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    await runtime.mcp_login(docs(site), browse)
    text = kept_at(bench).read_text()
    site.revoke()
    # Both hold the login that has ended, by the clock of this file.
    kept_at(bench).write_text(re.sub(r'"expires_ms": \d+', '"expires_ms": 1', text))
    others = [await _renewing(bench, site) for _ in range(2)]
    for other in others:
        assert other.stdout is not None
        assert other.stdin is not None
        assert await other.stdout.readline() == b"ready\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write(b"go\n")
        await other.stdin.drain()
    said = [await asyncio.wait_for(other.communicate(), PATIENCE_S) for other in others]
    assert [out for out, _ in said] == [b"read: done\n"] * 2
    kept = await asyncio.gather(*(runtime.mcp.connect(docs(site), OF) for _ in range(5)))
    assert {one.health for one in kept} == {"connected"}
    assert (site.refreshes, site.thefts) == (1, 0)


async def _renewing(bench: Bench, site: LoginSite) -> asyncio.subprocess.Process:
    script = Path(__file__).with_name("login_script.py")
    auth = str(kept_at(bench).with_name("auth.json"))
    return await asyncio.create_subprocess_exec(
        sys.executable, str(script), auth, site.url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )


async def test_a_refused_refresh_needs_a_login_says_how_and_is_asked_once(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    await runtime.mcp_login(docs(site), browse)
    session = await session_of(runtime, bench, site)
    site.end_logins()
    result = await session.tool("mcp__docs__read", {})
    assert result.status == "error"
    assert "invalid_grant" in result.output
    status = (await session.mcp_status())["docs"]
    assert status.health == "needs_login"
    assert status.error is not None
    assert "godwit mcp login docs logs in" in status.error
    asked = len(site.asked)
    for _ in range(3):
        assert (await runtime.mcp.connect(docs(site), OF)).health == "needs_login"
    assert len(site.asked) == asked
    assert '"renewable"' not in kept_at(bench).read_text()
    assert (await runtime.mcp_login(docs(site), browse)).connected
    assert (await session.tool("mcp__docs__read", {})).status == "ok"


async def test_a_token_endpoint_that_is_away_costs_no_login(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    await runtime.mcp_login(docs(site), browse)
    site.revoke()
    site.down = True
    session = await session_of(runtime, bench, site)
    assert (await session.tool("mcp__docs__read", {})).status == "error"
    site.down = False
    await runtime.mcp.connect(docs(site), OF)
    assert (await session.tool("mcp__docs__read", {})).status == "ok"
    assert site.logins == 1


# --- more than the login allows -----------------------------------------------------------------------------------------


async def test_a_call_that_wants_more_leads_to_a_login_with_both_and_is_made_again(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    await runtime.mcp_login(docs(site), browse)
    session = await session_of(runtime, bench, site)
    refused = await session.tool("mcp__docs__write", {})
    assert refused.status == "error"
    assert "'docs:write'" in refused.output
    assert site.calls == []
    assert (await session.tool("mcp__docs__read", {})).status == "ok", "the rest goes on"
    assert (await runtime.mcp_login(docs(site), browse)).connected
    assert set(site.asked[-1]["scope"].split()) == {"docs:read", "docs:write", "offline_access"}
    assert (await session.tool("mcp__docs__write", {})).output == "write: done"


async def test_scopes_may_be_asked_for_before_they_are_wanted(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    await runtime.mcp_login(docs(site), browse, scopes=["docs:write"])
    session = await session_of(runtime, bench, site)
    assert (await session.tool("mcp__docs__write", {})).status == "ok"


# --- who we are ---------------------------------------------------------------------------------------------------------


def known(site: LoginSite, secret: str | None = "s-of-our-client", **more: Any) -> None:
    from mcp.shared.auth import OAuthClientInformationFull

    method = "none" if secret is None else "client_secret_basic"
    about = {"client_id": "ours", "client_secret": secret, "token_endpoint_auth_method": method, **more}
    about.setdefault("redirect_uris", ["http://127.0.0.1:48317/callback"])
    site.clients["ours"] = OAuthClientInformationFull.model_validate(
        {**about, "scope": "docs:read docs:write offline_access"}
    )


async def test_a_client_that_is_registered_by_hand_comes_back_to_its_port(bench: Bench, site: LoginSite) -> None:
    known(site)
    runtime = await opened(bench, site, mcp={"secrets": {"OURS": "s-of-our-client"}})
    server = docs(site, oauth=McpOAuth("ours", "${OURS}", site.issuer, callback_port=48317))
    assert (await runtime.mcp_login(server, browse)).connected
    assert site.asked[0]["client_id"] == "ours"
    assert list(site.clients) == ["ours"]


async def test_its_secret_goes_to_no_other_issuer(bench: Bench, site: LoginSite) -> None:
    with login_site() as other:
        runtime = await opened(bench, site, other, mcp={"secrets": {"OURS": "s-of-our-client"}})
        known(site)
        site.servers = [other.issuer]
        server = docs(site, oauth=McpOAuth("ours", "${OURS}", site.issuer))
        with pytest.raises(McpLoginFailed, match="belongs to"):
            await runtime.mcp_login(server, browse)
        assert other.asked == []


async def test_a_program_logs_in_by_itself_and_again_when_its_token_has_ended(bench: Bench, site: LoginSite) -> None:
    known(site)
    clock = ManualClock()
    runtime = await opened(bench, site, clock=clock, mcp={"secrets": {"OURS": "s-of-our-client"}})
    oauth = McpOAuth("ours", "${OURS}", site.issuer, scopes=("docs:read",), grant="client_credentials")
    server = docs(site, oauth=oauth)
    session = await runtime.start_session(Agent("a", model=MODEL, mcp_servers=[server]), workspace=bench.workspace)
    await runtime.mcp.connect(server, OF)
    assert (await session.tool("mcp__docs__read", {})).output == "read: done"
    assert site.program_logins == 1
    assert site.asked == []
    site.revoke()
    assert (await session.tool("mcp__docs__read", {})).status == "ok"
    clock.advance(site.expires_s)
    assert (await session.tool("mcp__docs__read", {})).status == "ok"
    assert site.program_logins == 3
    assert (await session.tool("mcp__docs__write", {})).status == "ok", "and with more scopes where they are wanted"
    with pytest.raises(NotSupported):
        await runtime.mcp_login(server, browse, scopes=["docs:write"])


async def test_a_server_that_moves_to_another_issuer_gets_another_client(bench: Bench, site: LoginSite) -> None:
    with login_site() as other:
        runtime = await opened(bench, site, other)
        await runtime.mcp_login(docs(site), browse)
        (first,) = site.clients
        site.end_logins()
        site.servers = [other.issuer]
        login = await runtime.mcp.login(docs(site), OF)
        assert login.url.startswith(f"{other.issuer}/authorize")
        assert first not in login.url
        assert len(other.clients) == 1


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"resource": "https://evil.example/mcp"}, "another server"),
        ({"metadata": {"issuer": "https://evil.example"}}, "says that it is"),
        ({"metadata": {"code_challenge_methods_supported": ["plain"]}}, "PKCE"),
        ({"servers": ["http://169.254.169.254/as"]}, "cannot be found out"),
        ({"servers": ["http://127.0.0.1:9"]}, "cannot be found out"),
        ({"metadata": {"token_endpoint": "http://10.1.2.3/token"}}, "not reached"),
        ({"issuer_said": "https://evil.example"}, "from elsewhere"),
        ({"metadata": {"authorization_response_iss_parameter_supported": True}}, "does not say that it is from there"),
        ({"refuses": True}, "access_denied"),
    ],
)
async def test_what_is_not_as_it_should_be_ends_the_login(
    bench: Bench, site: LoginSite, wrong: dict[str, Any], why: str
) -> None:
    for name, value in wrong.items():
        setattr(site, name, value)
    runtime = await opened(bench, site)
    with pytest.raises(McpLoginFailed, match=why):
        await runtime.mcp_login(docs(site), browse)
    assert site.logins == 0
    assert not kept_at(bench).exists()


async def test_an_https_server_sends_nobody_over_http() -> None:
    from godwit.host.mcp.discovery import check_safe

    check_safe("https://docs.example/mcp", "https://auth.example/token")
    check_safe("https://docs.example/mcp", "http://127.0.0.1:8080/token")
    for place in ("http://auth.example/token", "javascript:alert(1)", "file:///etc/passwd"):
        with pytest.raises(McpLoginFailed):
            check_safe("https://docs.example/mcp", place)


async def test_a_code_counts_once_and_with_its_own_state(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    login = await runtime.mcp.login(docs(site), OF)
    over = runtime.mcp.logins.over(login)
    back = await sent_back_to(login.url)
    async with httpx2.AsyncClient(trust_env=False) as browser:
        forged = back.replace("state=", "state=x")
        assert (await browser.get(forged)).status_code == 400
        assert site.logins == 0
        await asyncio.gather(browser.get(back), browser.get(back), return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(over, return_exceptions=True), PATIENCE_S)
    with pytest.raises(NotFound):
        await runtime.mcp.logged_in(docs(site), OF, back)
    assert site.logins == 1


async def test_nothing_secret_is_told(bench: Bench, site: LoginSite, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    runtime = await opened(bench, site)
    said: list[str] = []
    await runtime.mcp_login(docs(site), browse)
    session = await session_of(runtime, bench, site)
    said += [(await session.tool("mcp__docs__write", {})).output, (await session.tool("mcp__docs__read", {})).output]
    site.end_logins()
    said += [(await session.tool("mcp__docs__read", {})).output, str(await session.mcp_status())]
    site.refuses = True
    try:
        await runtime.mcp_login(docs(site), browse)
    except GodwitError as error:
        said += ["".join(traceback.format_exception(error)), repr(error.details)]
    owner = runtime.mcp.logins
    said += [repr(vars(owner)), repr(await owner._logins.kept(OWN).find(OWN, site.url))]
    said += [repr(record.__dict__) for record in caplog.records if record.name.startswith("godwit")]
    said += [repr(event) for event in await session.events()]
    assert site.secrets
    for secret in site.secrets:
        assert not any(secret in text for text in said)


# --- users of tenants ---------------------------------------------------------------------------------------------------


async def test_a_users_login_is_no_other_users_tenants_or_machines(bench: Bench, site: LoginSite) -> None:
    clock = ManualClock()
    runtime = await opened(bench, site, clock=clock)
    ada = await session_of(runtime, bench, site, labels=Labels("acme", "ada"))
    login = await ada.begin_mcp_login("docs")
    bob = await session_of(runtime, bench, site, labels=Labels("acme", "bob"))
    with pytest.raises(NotFound):
        await bob.finish_mcp_login("docs", await sent_back_to(login.url))
    await ada.finish_mcp_login("docs", await sent_back_to(login.url))
    await runtime.mcp.connect(docs(site), ada._served())
    assert (await ada.tool("mcp__docs__read", {})).status == "ok"
    for labels in (Labels("acme", "bob"), Labels("other", "ada"), Labels("acme"), Labels()):
        session = await session_of(runtime, bench, site, labels=labels)
        status = await runtime.mcp.connect(docs(site), session._served())
        assert status.health == "needs_login", labels
        assert status.error is not None
        assert ("begin_mcp_login('docs')" in status.error) == (labels.tenant is not None)
    assert not kept_at(bench).exists(), "it is sealed in the store"
    raw = b"".join(path.read_bytes() for path in bench.path.parent.glob("godwit.db*") if path.is_file())
    assert not any(secret.encode() in raw for secret in site.secrets)
    # Renewed as any other, once, also after a restart.
    await bench.close()
    clock.advance(site.expires_s)
    runtime = await opened(bench, site, clock=clock)
    ada = await runtime.open_session(ada.id)
    await runtime.mcp.connect(docs(site), ada._served())
    results = await asyncio.gather(*(ada.tool("mcp__docs__read", {}) for _ in range(4)))
    assert [one.status for one in results] == ["ok"] * 4
    assert (site.refreshes, site.thefts) == (1, 0)
    site.end_logins()
    clock.advance(site.expires_s)
    assert (await ada.tool("mcp__docs__read", {})).status == "error"
    assert (await ada.mcp_status())["docs"].health == "needs_login"


async def test_a_server_that_cannot_be_added_says_that_it_needs_a_login(bench: Bench, site: LoginSite) -> None:
    runtime = await opened(bench, site)
    session = await runtime.start_session(Agent("a", model=MODEL), workspace=bench.workspace)
    with pytest.raises(McpServerFailed, match="godwit mcp login docs") as failed:
        await session.add_mcp_server(docs(site))
    assert failed.value.details["health"] == "needs_login"
