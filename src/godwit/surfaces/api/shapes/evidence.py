"""Shapes of checks, tools called by a host, and artifacts."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ....core.artifact import HeldArtifact
from ....core.verification import VerificationCommand, VerificationPreset, VerificationReport, VerificationSummary
from .common import Shape


class VerifyBody(Shape, frozen=True):
    """`commands`: a text is a command that is its own id."""

    subject: str
    commands: list[str | VerificationCommand]


class ReportsBody(Shape, frozen=True):
    reports: list[VerificationReport]


class VerificationView(Shape, frozen=True):
    """`text`: the summary in one line."""

    reports: list[VerificationReport]
    summary: VerificationSummary
    text: str


class PresetList(Shape, frozen=True):
    data: list[VerificationPreset]


class ToolBody(Shape, frozen=True):
    arguments: dict[str, Any] = {}
    timeout_s: Annotated[float, Meta(gt=0)] | None = None


class ArtifactList(Shape, frozen=True):
    data: list[HeldArtifact]


class FoundArtifact(Shape, frozen=True):
    ref: str
