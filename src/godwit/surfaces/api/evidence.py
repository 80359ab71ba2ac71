"""Routes of what is run for a caller without a model, tools and checks, and of what was kept: reports and large outputs.

Tools and checks that a caller names are run as a host's are: permission rules and approvals do not apply (decision 20). So
they need the scope `admin`; a caller with less has a model ask for them.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from ...core.errors import ArtifactNotFound
from ...core.facts import ToolCallResult
from ...core.verification import VerificationReport
from .calls import Controlled, Driven, KeyHeader, Watched
from .operations import PREFIX, operation
from .shapes.common import Changed
from .shapes.evidence import ArtifactList, FoundArtifact, PresetList, ReportsBody, ToolBody, VerificationView, VerifyBody
from .wire import answer, body, nothing

router = APIRouter(prefix=f"{PREFIX}/sessions/{{session}}", tags=["evidence"])
RefPath = Annotated[str, Path(alias="ref", description="The artifact's ref, or the beginning of it.")]


@router.post("/tools/{name}")
@operation(takes=ToolBody, gives=ToolCallResult, scope="admin")
async def call_tool(
    session: Driven, name: Annotated[str, Path()], sent: Annotated[ToolBody, Depends(body(ToolBody))], key: KeyHeader
) -> Response:
    """Run a tool. One that fails, arguments that do not fit and a name that is unknown are results."""
    return answer(await session.tool(name, sent.arguments, timeout_s=sent.timeout_s, key=key))


@router.get("/verification")
@operation(gives=VerificationView)
async def verification(session: Watched) -> Response:
    """Every report recorded for the session, oldest first, and what they come to."""
    reports = await session.verification_reports()
    return answer(VerificationView(reports, await session.verification_summary(), await session.verification_summary_text()))


@router.get("/verification/presets")
@operation(gives=PresetList)
async def verification_presets(session: Watched) -> Response:
    """Commands that fit the workspace, by its files."""
    return answer(PresetList(await session.verification_presets()))


@router.post("/verification")
@operation(takes=VerifyBody, gives=VerificationReport, scope="admin")
async def verify(session: Driven, sent: Annotated[VerifyBody, Depends(body(VerifyBody))]) -> Response:
    """Run these commands one after the other, as the tool `bash` would, and record what came of them."""
    return answer(await session.verify_commands(sent.subject, sent.commands))


@router.post("/verification/reports")
@operation(takes=ReportsBody)
async def record_reports(session: Controlled, sent: Annotated[ReportsBody, Depends(body(ReportsBody))]) -> Response:
    """Add reports that were made elsewhere, all of them or none."""
    await session.record_verification_reports(sent.reports)
    return nothing()


@router.get("/artifacts")
@operation(gives=ArtifactList)
async def list_artifacts(session: Watched) -> Response:
    """What the session holds, oldest first."""
    return answer(ArtifactList(await session.artifacts.list()))


@router.get("/artifacts/{ref}")
@operation(gives=FoundArtifact)
async def find_artifact(session: Watched, ref: RefPath) -> Response:
    """The whole ref for its beginning."""
    return answer(FoundArtifact(await session.artifacts.find(ref)))


@router.get("/artifacts/{ref}/content")
@operation(gives=bytes, media="application/octet-stream")
async def artifact_content(session: Watched, ref: RefPath) -> Response:
    """The content, byte for byte; only of what this session holds."""
    whole = await session.artifacts.find(ref)
    if whole not in [one.ref for one in await session.artifacts.list()]:
        # Says whether it was let go of, and changes nothing; the content itself may be another tenant's as well.
        await session.artifacts.unpin(whole)
        raise ArtifactNotFound(f"session {session.id} holds no artifact {ref!r}", ref=ref)
    return Response(await session.artifacts.get(whole), media_type="application/octet-stream")


@router.put("/artifacts/{ref}/pin")
@operation(gives=Changed)
async def pin_artifact(session: Controlled, ref: RefPath) -> Response:
    """Keep it whatever the limits are; `changed` is False when it was pinned before."""
    return answer(Changed(await session.artifacts.pin(ref)))


@router.delete("/artifacts/{ref}/pin")
@operation(gives=Changed)
async def unpin_artifact(session: Controlled, ref: RefPath) -> Response:
    """Let it go when its time comes."""
    return answer(Changed(await session.artifacts.unpin(ref)))
