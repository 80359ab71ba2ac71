"""Webhooks: who is told what, on which try, with which signature, and when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import WebhookVerificationError
from tests.host.webhook_site import Inbox, verified
from tests.parts.web_site import Site, page, redirect, site

from godwit.core.errors import Conflict, InvalidArgument, NotFound
from godwit.core.events import Labels, RunFinished, RunStarted, SessionArchived
from godwit.core.feed import DELETED, FeedEntry
from godwit.core.ids import RandomIds, RunId, SessionId, SystemClock
from godwit.host.secret_keys import keys_for
from godwit.host.secrets import Secrets
from godwit.host.server_settings import WebhookSettings
from godwit.host.webhook_delivery import WebhookDelivery
from godwit.host.webhook_queue import Notice, Source, notice_id
from godwit.host.webhook_sending import MOST_WAIT_S, Sender
from godwit.host.webhooks import MOST, Webhooks
from godwit.stores.sqlite import SqliteStore
from godwit.testing import drafts, eventually, new_session

FAST = WebhookSettings(timeout_s=5, retries_s=(0.01, 0.02, 0.03))
TYPES = ("run.started", "run.finished", "session.archived", DELETED)
FAILS = page("no", status="500 Broken")


def told(entry: FeedEntry) -> list[Notice]:
    own = notice_id(entry, entry.type)
    body = {"id": own, "data": {"type": entry.type, "id": entry.subject}}
    return [Notice(own, entry.type, msgspec.json.encode(body).decode())]


SOURCE = Source(frozenset(TYPES), frozenset(TYPES), told)


class Host:
    """A store, the endpoints in it, and who delivers."""

    def __init__(self, store: SqliteStore, reach: list[str], settings: WebhookSettings) -> None:
        self.store = store
        clock = SystemClock()
        self.secrets = Secrets(store, keys_for(store.file))
        sender = Sender(reach, settings, clock)
        self.webhooks = Webhooks(store, self.secrets, sender, [SOURCE], RandomIds(), clock)
        self.delivery = WebhookDelivery(store, self.webhooks, sender, [SOURCE], settings, clock, lease_s=1.0)

    async def archive(self, name: str, tenant: str | None = None) -> SessionId:
        """A session that was made and archived: one notice."""
        session = SessionId(name)
        await new_session(self.store, session, labels=Labels(tenant=tenant))
        await self.store.append(session, drafts(SessionArchived()))
        return session

    async def states(self, endpoint: str, tenant: str | None = None) -> list[tuple[str, int]]:
        found = await self.webhooks.deliveries(endpoint, tenant=tenant)
        return [(one.state, len(one.attempts)) for one in reversed(found)]

    async def settled(self, endpoint: str, *states: str) -> bool:
        return [state for state, _ in await self.states(endpoint)] == list(states)


@asynccontextmanager
async def hosted(
    path: Path | str, *sites: Site, settings: WebhookSettings = FAST, deliver: bool = True
) -> AsyncIterator[Host]:
    async with SqliteStore.open(path) as store:
        host = Host(store, [one.here for one in sites], settings)
        if deliver:
            host.delivery.start()
        try:
            yield host
        finally:
            await host.delivery.stop()


async def test_what_happens_is_delivered_signed_and_once() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        await host.archive("before")
        endpoint, secret = await host.webhooks.add(inbox.url, tenant=None)
        assert (secret[:6], endpoint.status) == ("whsec_", "enabled")
        await host.archive("one")
        await host.store.delete(SessionId("one"))
        requests = await inbox.until(lambda came: len(came) == 2)
        bodies = [verified(one, secret) for one in requests]
        assert sorted(body["data"]["type"] for body in bodies) == ["session.archived", DELETED]
        assert [body["data"]["id"] for body in bodies] == ["one", "one"]
        assert inbox.ids() == [body["id"] for body in bodies]
        assert requests[0].headers["content-type"] == "application/json"
        await eventually(lambda: host.settled(endpoint.id, "delivered", "delivered"))
        assert await host.store.feed() == []
        assert len(inbox.requests) == 2
        with pytest.raises(WebhookVerificationError):
            verified(requests[0], "whsec_" + "A" * 43 + "=")


async def test_an_endpoint_is_told_of_its_types_and_its_tenant_alone() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        mine, other, all_of_mine = Inbox(here, "/mine"), Inbox(here, "/other"), Inbox(here, "/all")
        await host.webhooks.add(mine.url, ["run.finished"], tenant="t")
        await host.webhooks.add(other.url, tenant="other")
        await host.webhooks.add(all_of_mine.url, tenant="t")
        session = await host.archive("theirs", "other")
        await new_session(host.store, SessionId("s"), labels=Labels(tenant="t"))
        run = RunId("r")
        lease = await host.store.claim(SessionId("s"), "driver", 60)
        assert lease is not None
        await host.store.append(
            SessionId("s"), drafts(RunStarted(run), RunFinished(run, "done"), run=run), epoch=lease.epoch
        )
        await mine.until(lambda came: len(came) == 1)
        await other.until(lambda came: len(came) == 1)
        await all_of_mine.until(lambda came: len(came) == 2)
        assert (mine.types(), other.types()) == (["run.finished"], ["session.archived"])
        assert sorted(all_of_mine.types()) == ["run.finished", "run.started"]
        assert session == "theirs"


async def test_a_failure_is_tried_again_under_the_same_id() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        inbox.answers = [FAILS, redirect("/elsewhere"), page("", status="429 Slow")]
        endpoint, secret = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")
        requests = await inbox.until(lambda came: len(came) == 4)
        assert len(set(inbox.ids())) == 1
        assert len({one.body for one in requests}) == 1
        for one in requests:
            verified(one, secret)
        await eventually(lambda: host.settled(endpoint.id, "delivered"))
        (delivery,) = await host.webhooks.deliveries(endpoint.id, tenant=None)
        assert [one.status for one in delivery.attempts] == [500, 302, 429, 204]
        assert "/elsewhere" not in [one.target for one in here.requests]
        assert (await host.webhooks.get(endpoint.id, tenant=None)).status == "enabled"


async def test_what_fails_to_the_end_has_failed_and_can_be_sent_again() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        inbox.always = FAILS
        endpoint, _ = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")
        await eventually(lambda: host.settled(endpoint.id, "failed"))
        assert await host.states(endpoint.id) == [("failed", 4)]
        assert (await host.webhooks.get(endpoint.id, tenant=None)).status == "failing"
        inbox.always = None
        (delivery,) = await host.webhooks.deliveries(endpoint.id, tenant=None, state="failed")
        again = await host.webhooks.send_again(endpoint.id, delivery.id, tenant=None)
        assert again.state == "pending"
        await eventually(lambda: host.settled(endpoint.id, "delivered"))
        assert len(set(inbox.ids())) == 1
        assert len(inbox.requests) == 5
        with pytest.raises(NotFound):
            await host.webhooks.send_again(endpoint.id, "whd_none", tenant=None)


async def test_the_other_side_may_ask_to_wait() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        inbox.answers = [page("", status="503 Later", Retry_After="3600")]
        endpoint, _ = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")
        await eventually(lambda: _tried(host, endpoint.id, 1))
        (delivery,) = await host.webhooks.deliveries(endpoint.id, tenant=None)
        assert delivery.due_ms is not None
        assert 3590_000 < delivery.due_ms - delivery.attempts[0].at_ms < 3610_000
        # By hand it does not have to wait.
        await host.webhooks.send_again(endpoint.id, delivery.id, tenant=None)
        await eventually(lambda: host.settled(endpoint.id, "delivered"))


async def _tried(host: Host, endpoint: str, times: int) -> bool:
    return [attempts for _, attempts in await host.states(endpoint)] == [times]


@pytest.mark.parametrize("gone", [True, False])
async def test_what_fails_for_long_is_disabled_and_goes_on_when_enabled(gone: bool) -> None:
    settings = WebhookSettings(timeout_s=5, retries_s=(0.01,) * 50, disable_h=1e-5)  # 36 ms
    async with site() as here, hosted(":memory:", here, settings=settings) as host:
        inbox = Inbox(here)
        inbox.always = page("", status="410 Gone") if gone else FAILS
        endpoint, _ = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")

        async def disabled() -> bool:
            return (await host.webhooks.get(endpoint.id, tenant=None)).status == "disabled"

        await eventually(disabled)
        found = await host.webhooks.get(endpoint.id, tenant=None)
        assert ("410" in found.why) == gone
        assert gone or "500" in found.why
        await host.archive("while disabled")
        inbox.always = None
        tries = len(inbox.requests)
        await host.webhooks.update(endpoint.id, tenant=None, enabled=True)
        await eventually(lambda: host.settled(endpoint.id, "delivered"))
        await host.archive("after")
        await eventually(lambda: host.settled(endpoint.id, "delivered", "delivered"))
        assert len(inbox.requests) == tries + 2
        assert (await host.webhooks.get(endpoint.id, tenant=None)).why == ""


async def test_a_slow_endpoint_holds_up_no_other() -> None:
    settings = WebhookSettings(timeout_s=0.2, retries_s=(3600,), at_once=2)
    async with site() as here, hosted(":memory:", here, settings=settings) as host:
        slow, quick = Inbox(here, "/slow"), Inbox(here, "/quick")
        slow.hold = True
        endpoint, _ = await host.webhooks.add(slow.url, tenant=None)
        await host.webhooks.add(quick.url, tenant=None)
        for number in range(6):
            await host.archive(str(number))
        await quick.until(lambda came: len(came) == 6, 10)

        async def all_tried() -> bool:
            return await host.states(endpoint.id) == [("pending", 1)] * 6

        await eventually(all_tried)
        (delivery, *_) = await host.webhooks.deliveries(endpoint.id, tenant=None)
        assert delivery.attempts[0].status is None
        assert "took longer than 0.2 s" in (delivery.attempts[0].error or "")


async def test_for_a_while_two_secrets_sign() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        endpoint, first = await host.webhooks.add(inbox.url, tenant=None)
        second = await host.webhooks.rotate(endpoint.id, tenant=None)
        await host.archive("one")
        (request,) = await inbox.until(lambda came: len(came) == 1)
        assert len(request.headers["webhook-signature"].split(" ")) == 2
        assert verified(request, first) == verified(request, second)
        third = await host.webhooks.rotate(endpoint.id, tenant=None, keep_s=0)
        await host.archive("two")
        (_, request) = await inbox.until(lambda came: len(came) == 2)
        verified(request, third)
        with pytest.raises(WebhookVerificationError):
            verified(request, second)


async def test_a_test_is_sent_at_once_and_says_what_came() -> None:
    async with site() as here, hosted(":memory:", here, deliver=False) as host:
        inbox = Inbox(here)
        endpoint, secret = await host.webhooks.add(inbox.url, tenant=None)
        attempt = await host.webhooks.test(endpoint.id, tenant=None)
        assert (attempt.succeeded, attempt.status, attempt.error) == (True, 204, None)
        assert verified(inbox.requests[0], secret)["type"] == "webhook.test"
        inbox.always = FAILS
        assert (await host.webhooks.test(endpoint.id, tenant=None)).status == 500


async def test_private_addresses_are_not_reached() -> None:
    async with site() as here, hosted(":memory:", settings=FAST) as host:
        inbox = Inbox(here)
        with pytest.raises(InvalidArgument, match=r"not reached from here; .* allow it with reach of \[server\]"):
            await host.webhooks.add(inbox.url, tenant=None)
        with pytest.raises(InvalidArgument, match="https"):
            await host.webhooks.add("http://example.com/", tenant=None)
        for url in ("https://127.0.0.1/hook", "https://169.254.169.254/latest", "https://10.0.0.1/", "https://[::1]/"):
            with pytest.raises(InvalidArgument, match="not reached"):
                await host.webhooks.add(url, tenant=None)
        endpoint, _ = await host.webhooks.add(f"https://localhost:{here.port}/hook", tenant=None)
        assert "an address of this machine" in ((await host.webhooks.test(endpoint.id, tenant=None)).error or "")
        assert here.connections == 0


@pytest.mark.parametrize(
    "url", ["", "nowhere", "ftp://example.com/", "https://user:pass@example.com/", "https://1/", "http://a.b"]
)
async def test_what_is_no_address_is_refused(url: str) -> None:
    async with hosted(":memory:", deliver=False) as host:
        with pytest.raises(InvalidArgument, match="url"):
            await host.webhooks.add(url, tenant=None)


async def test_endpoints_are_a_tenants_own() -> None:
    async with hosted(":memory:", deliver=False) as host:
        endpoint, _ = await host.webhooks.add("https://example.com/hook", ["run.finished"], tenant="t", description="d")
        hooks = host.webhooks
        asks: list[Any] = [
            hooks.get(endpoint.id, tenant="other"),
            hooks.update(endpoint.id, tenant=None, enabled=False),
            hooks.rotate(endpoint.id, tenant="other"),
            hooks.test(endpoint.id, tenant="other"),
            hooks.deliveries(endpoint.id, tenant="other"),
            hooks.remove(endpoint.id, tenant="other"),
        ]
        for ask in asks:
            with pytest.raises(NotFound):
                await ask
        assert await hooks.page(tenant="other") == []
        changed = await hooks.update(endpoint.id, tenant="t", types=[], description="", url="https://example.org/")
        assert (changed.types, changed.description, changed.url) == ((), "", "https://example.org/")
        with pytest.raises(InvalidArgument, match="exploded"):
            await hooks.update(endpoint.id, tenant="t", types=["run.exploded"])
        for _ in range(MOST - 1):
            await hooks.add("https://example.com/hook", tenant="t")
        with pytest.raises(Conflict):
            await hooks.add("https://example.com/hook", tenant="t")


async def test_many_who_add_at_once_do_not_pass_the_limit(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "g.db") as store:
        webhooks = Host(store, [], FAST).webhooks
        for number in range(MOST - 2):
            await webhooks.add(f"https://s{number}.example", tenant="t")
        adds = (webhooks.add(f"https://late{number}.example", tenant="t", key=str(number)) for number in range(6))
        ended = await asyncio.gather(*adds, return_exceptions=True)
        assert sum(isinstance(one, Conflict) for one in ended) == 4
        assert len(await webhooks.page(tenant="t", limit=99)) == MOST
        made = next(number for number, one in enumerate(ended) if not isinstance(one, BaseException))
        again, _ = await webhooks.add(f"https://late{made}.example", tenant="t", key=str(made))  # asked again, none is added
        assert again.url == f"https://late{made}.example/"
        await webhooks.remove(again.id, tenant="t")
        await webhooks.add("https://one.more.example", tenant="t")


async def test_what_is_removed_leaves_nothing() -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        inbox.always = FAILS
        endpoint, _ = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")
        await inbox.until(lambda came: len(came) >= 1)
        await host.webhooks.remove(endpoint.id, tenant=None)

        async def left() -> bool:
            kinds = ("webhook", "webhook.delivery", "secret")
            found = [await host.store.documents(kind, tenant=None) for kind in kinds]
            return not any(found) and not host.delivery.leads

        await eventually(left)
        # Nothing is fed when nobody is told.
        await host.archive("two")
        assert [one.type for one in await host.store.feed()] == []


async def test_its_secret_is_nowhere_in_clear(tmp_path: Path) -> None:
    async with hosted(tmp_path / "g.db", deliver=False) as host:
        endpoint, secret = await host.webhooks.add("https://example.com/hook", tenant=None)
        files = b"".join(path.read_bytes() for path in tmp_path.glob("g.db*") if path.is_file())
        assert secret.encode() not in files
        assert secret.removeprefix("whsec_").encode() not in files
        assert secret not in repr(endpoint) + repr(await host.webhooks.secrets_of(endpoint.id, tenant=None))


async def test_another_process_takes_over_and_sends_what_waits(tmp_path: Path) -> None:
    """Two on one database: one leads, the other does when it stops, and what only a third writes is told as well."""
    async with site() as here, hosted(tmp_path / "g.db", here) as first, hosted(tmp_path / "g.db", here) as second:
        async with hosted(tmp_path / "g.db", deliver=False) as writer:
            inbox = Inbox(here)
            endpoint, _ = await first.webhooks.add(inbox.url, tenant=None)
            await writer.archive("one")
            await inbox.until(lambda came: len(came) == 1)
            assert first.delivery.leads != second.delivery.leads
            leader, other = (first, second) if first.delivery.leads else (second, first)
            await leader.delivery.stop()
            await writer.archive("two")
            await inbox.until(lambda came: len(came) == 2)
            assert other.delivery.leads
            await eventually(lambda: other.settled(endpoint.id, "delivered", "delivered"))
            assert len(set(inbox.ids())) == 2


async def test_a_leader_that_begins_behind_a_trimmed_feed_waits(tmp_path: Path) -> None:
    async with site() as here:
        inbox = Inbox(here)
        async with hosted(tmp_path / "g.db", here) as host:
            await host.webhooks.add(inbox.url, tenant=None)
            await host.archive("one")
            await inbox.until(lambda came: len(came) == 1)
            await eventually(lambda: _all_is_trimmed(host))
        async with hosted(tmp_path / "g.db", here) as host:
            await eventually(lambda: _leads(host))
            await host.archive("two")
            await inbox.until(lambda came: len(came) == 2)
            await eventually(lambda: _all_is_trimmed(host))


async def _all_is_trimmed(host: Host) -> bool:
    return await host.store.feed() == []


async def _leads(host: Host) -> bool:
    return host.delivery.leads


async def test_what_a_crash_leaves_between_storing_and_trimming_is_sent_once(tmp_path: Path) -> None:
    async with site() as here, hosted(tmp_path / "g.db", here, deliver=False) as host:
        inbox = Inbox(here)
        endpoint, _ = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")
        await host.archive("two")
        # One that dies here has stored the deliveries of the first entries, and trimmed nothing.
        await host.delivery._queue((await host.store.feed())[:2])
        await host.delivery.stop()
        assert len(await host.store.feed()) == 3
        host.delivery.start()
        await eventually(lambda: host.settled(endpoint.id, "delivered", "delivered"))
        assert len(inbox.requests) == len(set(inbox.ids())) == 2


@pytest.mark.parametrize("wait", ["\u00b2", "-1", "1e9", "9" * 400, "soon", ""])
async def test_a_wait_that_is_no_number_is_passed_over(wait: str) -> None:
    async with site() as here, hosted(":memory:", here) as host:
        inbox = Inbox(here)
        inbox.answers = [b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\nRetry-After: %s\r\n\r\n" % wait.encode("latin-1")]
        endpoint, _ = await host.webhooks.add(inbox.url, tenant=None)
        await host.archive("one")
        await eventually(lambda: _tried_at_all(host, endpoint.id))
        (delivery,) = await host.webhooks.deliveries(endpoint.id, tenant=None)
        assert (delivery.attempts[0].status, delivery.attempts[0].error) == (503, None)
        assert delivery.attempts[0].retry_after_s in (None, MOST_WAIT_S)


async def _tried_at_all(host: Host, endpoint: str) -> bool:
    return any(attempts for _, attempts in await host.states(endpoint))
