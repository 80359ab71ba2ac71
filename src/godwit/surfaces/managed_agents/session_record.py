"""SessionRecord: a session as this protocol shows it, put together from its row, its log and its document.

The row says which agent it works for, the log its title, metadata, budget and usage; the document what only this protocol
knows: the environment as it was at the start, vaults and resources. A session that was made elsewhere has none and is shown
all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ...contracts import SessionRow
from ...core.budget import Spent
from ...core.document import Document, encode_body
from ...core.errors import DocumentNotFound
from ...core.ids import SessionId
from ...core.principal import Principal
from ...core.state import State
from ...engine.log import load_state
from ...host.agent_registry import StoredAgent
from ..server.money import money_limit
from ..server.service import Service
from .agent_shapes import Definition, definition_of, resolved, snapshot_of
from .query import moment, moment_or_none
from .session_shapes import dollars, shown_budget

KIND = "managed_agents.session"
Status = Literal["idle", "running", "rescheduling", "terminated"]
STATUSES: dict[Status, tuple[str, ...]] = {
    "idle": ("idle", "queued", "waiting", "paused"),
    "running": ("queued", "running", "waiting"),
    "rescheduling": ("retrying", "paused"),
    "terminated": ("archived",),
}
"""Ours that may read as each of theirs; `status_of` decides."""


def status_of(row: SessionRow) -> Status:
    """A session whose run waits for an answer reads as idle, unless nobody is asked for one: children or workers
    are at it. One that is paused in mid-run will go on some time."""
    match row.status:
        case "archived":
            return "terminated"
        case "retrying":
            return "rescheduling"
        case "paused":
            return "idle" if row.run is None else "rescheduling"
        case "running" | "queued":
            return "idle" if row.run is None else "running"
        case "waiting":
            return "idle" if row.actions else "running"
        case "idle":
            return "idle"


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the document says. `environment`: its id; `config`: its configuration when the session began."""

    environment: str = ""
    config: dict[str, Any] | None = None
    vault_ids: list[str] = []
    resources: list[dict[str, Any]] = []

    def document(self, session: str, tenant: str | None) -> Document:
        """A new one."""
        body = encode_body(msgspec.to_builtins(self))
        return Document(KIND, session, body, tenant, session=SessionId(session))


@dataclass(frozen=True)
class SessionRecord:
    """One session at one moment. `agent`: the version it works for, with what was changed of it for this session."""

    row: SessionRow
    agent: StoredAgent
    kept: Kept
    document: Document | None

    @property
    def status(self) -> Status:
        return status_of(self.row)

    @property
    def definition(self) -> Definition:
        """The resolved agent."""
        return definition_of(self.agent)

    @property
    def self_hosted(self) -> bool:
        """A worker answers the calls of built-in tools."""
        return self.kept.config is not None and self.kept.config["type"] == "self_hosted"

    @property
    def snapshot(self) -> dict[str, Any]:
        """The resolved agent, as it is shown."""
        return snapshot_of(self.agent)


async def session_of(service: Service, principal: Principal, session: str) -> SessionRecord:
    """SessionNotFound, also for one of another tenant."""
    return await record_of(service, await service.row(principal, session))


async def record_of(service: Service, row: SessionRow) -> SessionRecord:
    """The record of a row that the caller may see."""
    tenant = row.labels.tenant
    agent = await resolved(service.store, row.agent, tenant=tenant, made_ms=row.created_ms)
    try:
        document = await service.store.get_document(KIND, row.id, tenant=tenant)
    except DocumentNotFound:
        return SessionRecord(row, agent, Kept(), None)
    return SessionRecord(row, agent, msgspec.convert(document.data(), Kept), document)


async def shown(service: Service, record: SessionRecord) -> dict[str, Any]:
    """The session as it is answered."""
    row, kept = record.row, record.kept
    state = await load_state(service.store, row.id)
    terminated = record.status == "terminated"
    spent = state.spent(None if row.owner is None else service.now_ms())
    lived_ms = (row.updated_ms if terminated else service.now_ms()) - row.created_ms
    return {
        "type": "session",
        "id": row.id,
        "status": record.status,
        "agent": record.snapshot,
        "environment_id": kept.environment,
        "title": row.name or None,
        "metadata": state.metadata,
        "vault_ids": kept.vault_ids,
        "resources": kept.resources,
        "outcome_evaluations": [],
        "stats": {"active_seconds": spent.time_s, "duration_seconds": max(0, lived_ms) / 1000},
        "usage": usage_of(state, spent),
        "budget": shown_budget(money_limit(record.agent.spec, state.budgets)),
        "deployment_id": None,
        "created_at": moment(row.created_ms),
        "updated_at": moment(row.updated_ms),
        "archived_at": moment_or_none(row.updated_ms if terminated else None),
    }


def usage_of(state: State, spent: Spent) -> dict[str, Any]:
    """The session's usage up to now, as it is shown. Input that was cached counts under its own names alone; there is no
    cost where no price is known."""
    usage = state.usage
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens),
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write_tokens, "ephemeral_1h_input_tokens": 0},
        "list_cost": None if usage.requests and usage.cost_usd is None else dollars(spent.usd),
        "active_seconds": spent.time_s,
        "server_tool_use": None,
    }
