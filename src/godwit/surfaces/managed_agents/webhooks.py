"""What this protocol tells webhooks: its own names for what happens, and the bodies its clients unwrap.

The client's types know 49 names; those here are the ones godwit has something for. A session's run that waits for an answer
is both `requires_action` and idle, as its status says. Threads, outcomes, deployments and memory stores are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ...core.feed import DELETED, DOCUMENT, FeedEntry
from ...host.agent_registry import KIND as AGENT
from ...host.credentials import CREDENTIAL
from ...host.token_renewal import REFRESH_FAILED
from ...host.vaults import VAULT
from ...host.webhook_queue import Notice, Source, notice_id

ENVIRONMENT = "managed_agents.environment"
"""`environments.KIND`, which cannot be had without loading a web framework."""
ORGANIZATION = "godwit"
WORKSPACE = "default"
"""What stands for a tenant that is none."""

SESSIONS: Mapping[str, tuple[str, ...]] = {
    "session.created": ("session.created",),
    "session.forked": ("session.created",),
    "session.configured": ("session.updated",),
    "session.archived": ("session.archived", "session.status_terminated"),
    DELETED: ("session.deleted",),
    "run.started": ("session.pending",),
    "run.claimed": ("session.running", "session.status_run_started"),
    "run.parked": ("session.requires_action", "session.status_idled"),
    "run.retrying": ("session.status_rescheduled",),
    "run.finished": ("session.idled", "session.status_idled"),
    "budget.exceeded": ("session.budget_reached",),
}
"""Events of sessions, and what they are called here."""

DOCUMENTS: Mapping[str, Mapping[str, str]] = {
    DOCUMENT + AGENT: {"created": "agent.created", "changed": "agent.updated", "archived": "agent.archived"},
    DOCUMENT + ENVIRONMENT: {
        "created": "environment.created",
        "changed": "environment.updated",
        "archived": "environment.archived",
        "deleted": "environment.deleted",
    },
    DOCUMENT + VAULT: {"created": "vault.created", "archived": "vault.archived", "deleted": "vault.deleted"},
    DOCUMENT + CREDENTIAL: {
        "created": "vault_credential.created",
        "archived": "vault_credential.archived",
        "deleted": "vault_credential.deleted",
    },
}
REFRESH = "vault_credential.refresh_failed"


def notices(entry: FeedEntry) -> Iterator[Notice]:
    """What this entry comes to."""
    more: dict[str, str] = {}
    names: tuple[str, ...]
    if entry.type in SESSIONS:
        names = SESSIONS[entry.type]
    else:
        change = entry.change()
        name = DOCUMENTS[entry.type].get(change.change)
        if entry.type == DOCUMENT + CREDENTIAL:
            more["vault_id"] = change.keys.get("vault", "")
            if change.change == "changed" and change.keys.get("refresh") == REFRESH_FAILED:
                name = REFRESH
        names = () if name is None else (name,)
    for one in names:
        yield _notice(entry, one, more)


def _notice(entry: FeedEntry, name: str, more: Mapping[str, str]) -> Notice:
    from .query import moment

    own = notice_id(entry, name)
    data = {"type": name, "id": entry.subject, "organization_id": ORGANIZATION, "workspace_id": entry.tenant or WORKSPACE}
    body: dict[str, Any] = {"type": "event", "id": own, "created_at": moment(entry.at_ms), "data": {**data, **more}}
    return Notice(own, name, msgspec.json.encode(body).decode())


SOURCE = Source(
    frozenset(
        [name for names in SESSIONS.values() for name in names]
        + [name for names in DOCUMENTS.values() for name in names.values()]
        + [REFRESH]
    ),
    frozenset([*SESSIONS, *DOCUMENTS]),
    notices,
)
