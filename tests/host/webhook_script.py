"""A process that makes notices and delivers them: `python webhook_script.py <database> <reach> <sessions>`.

It says each session's name when its notice is stored, and goes on delivering until it is killed.
"""

from __future__ import annotations

import asyncio
import sys

from godwit.core.events import SessionArchived
from godwit.core.ids import RandomIds, SessionId, SystemClock
from godwit.host.secret_keys import keys_for
from godwit.host.secrets import Secrets
from godwit.host.server_settings import WebhookSettings
from godwit.host.webhook_delivery import WebhookDelivery
from godwit.host.webhook_queue import Notice, Source, notice_id
from godwit.host.webhook_sending import Sender
from godwit.host.webhooks import Webhooks
from godwit.stores.sqlite import SqliteStore
from godwit.testing import drafts, new_session

SETTINGS = WebhookSettings(timeout_s=30, retries_s=(0.05,) * 20)
TYPES = frozenset(["session.archived"])
SOURCE = Source(
    TYPES, TYPES, lambda entry: [Notice(notice_id(entry, entry.type), entry.type, f'{{"id": "{entry.subject}"}}')]
)


def parts(store: SqliteStore, reach: str) -> tuple[Webhooks, WebhookDelivery]:
    clock = SystemClock()
    sender = Sender([reach], SETTINGS, clock)
    webhooks = Webhooks(store, Secrets(store, keys_for(store.file)), sender, [SOURCE], RandomIds(), clock)
    return webhooks, WebhookDelivery(store, webhooks, sender, [SOURCE], SETTINGS, clock, lease_s=1.0)


async def main(database: str, reach: str, names: list[str]) -> None:
    async with SqliteStore.open(database) as store:
        _, delivery = parts(store, reach)
        delivery.start()
        for name in names:
            session = SessionId(name)
            await new_session(store, session)
            await store.append(session, drafts(SessionArchived()))
            print(name, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], [one for one in sys.argv[3].split(",") if one]))
