"""WebhookDelivery: turns what happens into deliveries and sends them, until each has succeeded or failed for good.

Several processes may run it on one store; one of them leads and does all of it, and when it dies another takes over within
seconds. It reads the store's feed, stores a delivery for each endpoint that wants a notice, then trims the feed: what a
crash leaves between the two is made again and comes out the same. So every notice is delivered at least once, under the
same id on every try; in which order is not promised. Why there is a feed: docs/decisions/0024.

Rules: what is not stored is not sent; a try's outcome is stored before the next one; a slow endpoint holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
from collections.abc import Iterable, Sequence

import msgspec

from ..contracts import Store
from ..core.document import Document
from ..core.errors import DocumentExists, DocumentNotFound, GodwitError, NotFound, RevisionConflict, StoreClosed
from ..core.feed import DOCUMENT, FeedEntry
from ..core.ids import Clock
from .server_settings import WebhookSettings
from .webhook_queue import DELIVERY, Attempt, Source, State, body_of, delivery_document, with_body
from .webhook_sending import Sender
from .webhooks import ENDPOINT, Endpoint, Webhooks

logger = logging.getLogger("godwit")

LEADER = "webhook.leader"
"""Kind of the one document that says who leads."""
LEASE_S = 15.0
GRACE_S = 2.0
_PAGE = 200
_LATE_S = 60.0
"""After an error of the store at most so long until the next try."""


class WebhookDelivery:
    """`start` and `stop` it with the process that serves. `lease_s`: after how long without a word a leader is replaced, if
    it cannot be seen to have died before."""

    def __init__(
        self,
        store: Store,
        webhooks: Webhooks,
        sender: Sender,
        sources: Sequence[Source],
        settings: WebhookSettings,
        clock: Clock,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._sender = sender
        self._sources = tuple(sources)
        self._settings = settings
        self._clock = clock
        self._lease_s = lease_s
        self._lanes: dict[str, _Lane] = {}
        self._seen: dict[str, tuple[bool, int]] = {}
        """Of each endpoint that has changed: whether it was enabled, and its nudges."""
        self._task: asyncio.Task[None] | None = None
        self.leads = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        """Begin no further try, wait a little for those under way, and let another process lead."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # --- who leads ---

    async def _run(self) -> None:
        pause_s = 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._lease_s / 3
            try:
                if await self._some_endpoint() and await self._lead():
                    await self._while_leading()
            except StoreClosed:
                return
            except GodwitError as error:
                logger.warning("webhooks: %s", error.message)
            except Exception:
                logger.exception("webhooks: something went wrong here; they go on")

    async def _some_endpoint(self) -> bool:
        """Wait until there is one. While there is none, nobody leads and nothing is written."""
        while True:
            position = await self._store.wait_feed(0, 0)
            if await self._is_there_one():
                return True
            await self._store.wait_feed(position)

    async def _is_there_one(self) -> bool:
        return await self._store.find_document(ENDPOINT, "all", "1") is not None

    async def _lead(self) -> bool:
        """Take the lead, or keep it."""
        owner, now = self._store.owner, self._clock.now_ms()
        try:
            document = await self._store.get_document(LEADER, "leader", tenant=None)
            data = document.data()
            if data["owner"] != owner and data["until_ms"] > now and await self._store.alive(data["owner"]):
                return False
        except DocumentNotFound:
            document = Document(LEADER, "leader", b"{}")
        body = {"owner": owner, "until_ms": now + int(self._lease_s * 1000)}
        try:
            await self._store.put_documents([document.changed(body)])
        except (RevisionConflict, DocumentExists):
            return False
        return True

    async def _while_leading(self) -> None:
        self.leads = True
        work = asyncio.create_task(self._work())
        try:
            while True:
                await asyncio.wait([work], timeout=self._lease_s / 3)
                if work.done():
                    work.result()
                    return
                if not await self._lead():
                    return
        finally:
            self.leads = False
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            lanes, self._lanes = list(self._lanes.values()), {}
            self._seen.clear()
            await asyncio.gather(*(lane.close() for lane in lanes))
            with contextlib.suppress(GodwitError):
                await self._give_up_the_lead()

    async def _give_up_the_lead(self) -> None:
        document = await self._store.get_document(LEADER, "leader", tenant=None)
        if document.data()["owner"] == self._store.owner:
            await self._store.put_documents([document.changed({**document.data(), "until_ms": 0})])

    # --- from the feed to deliveries ---

    async def _work(self) -> None:
        await self._store.set_feed_types(self._webhooks.feeds)
        await self._take_up()
        position = 0
        while True:
            # Before the feed is read: what is behind this may have been trimmed, what is beyond it is still to be seen.
            head = await self._store.wait_feed(0, 0)
            entries = await self._store.feed(position, limit=_PAGE)
            if not entries:
                if not await self._is_there_one():
                    return
                position = max(position, head)
                await self._store.wait_feed(position)
                continue
            await self._queue(entries)
            position = entries[-1].position
            await self._store.trim_feed(position)

    async def _queue(self, entries: Sequence[FeedEntry]) -> None:
        """Store the deliveries that these come to, and send them."""
        endpoints: dict[str | None, list[Endpoint]] = {}
        made: list[Document] = []
        now, keep_ms = self._clock.now_ms(), int(self._settings.keep_days * 86_400_000)
        for entry in entries:
            if entry.type == DOCUMENT + ENDPOINT:
                endpoints.pop(entry.tenant, None)
                await self._endpoint_changed(entry)
            notices = [n for source in self._sources if entry.type in source.feeds for n in source.notices(entry)]
            if not notices:
                continue
            if entry.tenant not in endpoints:
                endpoints[entry.tenant] = await self._webhooks.page(tenant=entry.tenant, limit=1000)
            for endpoint in endpoints[entry.tenant]:
                # What happened before it was there is not told to it.
                if not endpoint.enabled or entry.position <= endpoint.after:
                    continue
                made += [
                    delivery_document(notice, endpoint.id, entry.tenant, now, keep_ms)
                    for notice in notices
                    if not endpoint.types or notice.type in endpoint.types
                ]
        if made:
            self._take(await self._stored(made))

    async def _stored(self, documents: list[Document]) -> list[Document]:
        """Those that are new: a leader before may have died when it had stored some of them."""
        try:
            return await self._store.put_documents(documents)
        except DocumentExists:
            new: list[Document] = []
            for document in documents:
                with contextlib.suppress(DocumentExists):
                    new += await self._store.put_documents([document])
            return new

    async def _endpoint_changed(self, entry: FeedEntry) -> None:
        if entry.change().change == "deleted":
            self._seen.pop(entry.subject, None)
            lane = self._lanes.pop(entry.subject, None)
            if lane is not None:
                await lane.close()
            return
        try:
            endpoint = await self._webhooks.get(entry.subject, tenant=entry.tenant)
        except NotFound:
            return
        seen = (endpoint.enabled, endpoint.nudges)
        if endpoint.enabled and self._seen.get(endpoint.id) != seen:
            await self._take_up_of(endpoint.id, entry.tenant)
        self._seen[endpoint.id] = seen

    # --- from deliveries to tries ---

    async def _take_up(self) -> None:
        """Everything that is pending, of all tenants."""
        after: tuple[int, str] | None = None
        while found := await self._store.find_documents(DELIVERY, "state", "pending", limit=_PAGE, after=after):
            self._take(found)
            after = (found[-1].created_ms, found[-1].id)

    async def _take_up_of(self, endpoint: str, tenant: str | None) -> None:
        keys, after = {"endpoint": endpoint, "state": "pending"}, None
        while found := await self._store.documents(
            DELIVERY, tenant=tenant, keys=keys, limit=_PAGE, after=after, ascending=True
        ):
            self._take(found)
            after = (found[-1].created_ms, found[-1].id)

    def _take(self, documents: Iterable[Document]) -> None:
        for document in documents:
            body = body_of(document)
            lane = self._lanes.get(body.endpoint)
            if lane is None:
                lane = self._lanes[body.endpoint] = _Lane(self, body.endpoint, document.tenant)
            lane.add(body.due_ms, document.id)

    async def attempt(self, endpoint: str, delivery: str, tenant: str | None) -> int | None:
        """Try it once, if it is still pending and due, and store what came of it. When it is due again, if ever."""
        try:
            found = await self._webhooks.get(endpoint, tenant=tenant)
            document = await self._store.get_document(DELIVERY, delivery, tenant=tenant)
        except NotFound:
            return None
        body = body_of(document)
        if not found.enabled or document.keys["state"] != "pending":
            return None
        if body.due_ms > self._clock.now_ms():
            return body.due_ms
        try:
            secrets = (await self._webhooks.secrets_of(endpoint, tenant=tenant)).at(self._clock.now_ms())
        except GodwitError as error:
            attempt = Attempt(self._clock.now_ms(), 0, error=error.message)
        else:
            attempt = await self._sender.send(found.url, secrets, body.notice, body.body)
        again_ms = self._again(len(body.attempts), attempt)
        state: State = "delivered" if attempt.succeeded else "failed" if again_ms is None else "pending"
        body = msgspec.structs.replace(body, attempts=(*body.attempts, attempt), due_ms=again_ms or body.due_ms)
        try:
            await self._store.put_documents([with_body(document, body, state)])
        except (RevisionConflict, DocumentNotFound):
            return self._clock.now_ms()  # somebody else has changed it: look again
        await self._webhooks.note(endpoint, attempt, int(self._settings.disable_h * 3_600_000), tenant=tenant)
        return again_ms

    def _again(self, tried: int, attempt: Attempt) -> int | None:
        if attempt.succeeded or tried >= len(self._settings.retries_s):
            return None
        # A little apart, so that what failed together does not come back together.
        wait_s = max(self._settings.retries_s[tried] * random.uniform(0.9, 1.1), attempt.retry_after_s or 0.0)
        return self._clock.now_ms() + int(wait_s * 1000)

    def now_ms(self) -> int:
        return self._clock.now_ms()

    @property
    def at_once(self) -> int:
        return self._settings.at_once


class _Lane:
    """The pending deliveries of one endpoint, by when they are due. So many are tried at once and no more."""

    def __init__(self, home: WebhookDelivery, endpoint: str, tenant: str | None) -> None:
        self._home = home
        self._endpoint = endpoint
        self._tenant = tenant
        self._heap: list[tuple[int, str]] = []
        self._due: dict[str, int] = {}
        """When each is due; an entry of the heap that says otherwise is out of date."""
        self._tries: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"webhook {endpoint}")

    def add(self, due_ms: int, delivery: str) -> None:
        """It is due then, or sooner if that was known before."""
        if due_ms < self._due.get(delivery, due_ms + 1):
            self._due[delivery] = due_ms
            heapq.heappush(self._heap, (due_ms, delivery))
            self._changed.set()

    async def close(self) -> None:
        """Tries that take longer than `GRACE_S` are cut off; they are made again by who leads then."""
        self._task.cancel()
        tries = list(self._tries.values())
        if tries:
            await asyncio.wait(tries, timeout=GRACE_S)
        for task in tries:
            task.cancel()
        await asyncio.gather(self._task, *tries, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait_s: float | None = None
            while self._heap and len(self._tries) < self._home.at_once:
                due_ms, delivery = self._heap[0]
                if self._due.get(delivery) != due_ms or delivery in self._tries:
                    heapq.heappop(self._heap)  # if it is being tried, that says when it is due again
                    continue
                wait_s = (due_ms - self._home.now_ms()) / 1000
                if wait_s > 0:
                    break
                wait_s = None
                heapq.heappop(self._heap)
                del self._due[delivery]
                self._tries[delivery] = asyncio.create_task(self._try(delivery))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _try(self, delivery: str) -> None:
        again_ms: int | None = None
        try:
            again_ms = await self._home.attempt(self._endpoint, delivery, self._tenant)
        except StoreClosed:
            pass
        except Exception as error:
            # The delivery is as it was; it may have been sent, and will be again.
            logger.warning("webhook %s: %s", self._endpoint, error, exc_info=not isinstance(error, GodwitError))
            again_ms = self._home.now_ms() + int(_LATE_S * 1000)
        del self._tries[delivery]
        # What was added meanwhile was passed over.
        times = [ms for ms in (again_ms, self._due.pop(delivery, None)) if ms is not None]
        if times:
            self.add(min(times), delivery)
        self._changed.set()
