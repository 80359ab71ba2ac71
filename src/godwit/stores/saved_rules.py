"""Permission rules that answers have left behind, in SQLite. A part of `SqliteStore`."""

from __future__ import annotations

from ..contracts import SavedRule
from ..core.rules import Permissions, Verdict
from .batch import Unit
from .part import StorePart
from .requests import Call


class RulesPart(StorePart):
    """What `SqliteStore` does with saved rules."""

    async def save_rule(
        self, verdict: Verdict, rule: str, *, workspace: str | None = None, tenant: str | None = None
    ) -> None:
        """Keep a permission rule; the same again with another verdict replaces it. ConfigurationError."""
        Permissions(deny=(rule,))  # one that cannot be read is refused

        async def apply(transaction: Unit) -> None:
            await transaction.do("save_rule", (tenant or "", workspace or "", rule, verdict, self._clock.now_ms()))

        await self._writer.do(Call(apply))

    async def rules(self, *, workspace: str | None = None, tenant: str | None = None) -> list[SavedRule]:
        """The rules saved for just this folder and tenant, oldest first."""
        return [SavedRule(*found) for found in await self._select("list_rules", (tenant or "", workspace or ""))]

    async def delete_rule(self, rule: str, *, workspace: str | None = None, tenant: str | None = None) -> bool:
        """Forget the rule; False when there is none."""

        async def apply(transaction: Unit) -> bool:
            return (await transaction.do("delete_rule", (tenant or "", workspace or "", rule))) > 0

        return await self._writer.do(Call(apply))


__all__ = ["RulesPart"]
