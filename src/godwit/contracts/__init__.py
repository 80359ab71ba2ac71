"""Layer 1: every part that can be swapped, as a Protocol. Reading these modules tells what godwit asks of each.

Parts (`stores/ models/ tools/ workspaces/`) implement these and know nothing else; the engine uses them and knows no part.
`godwit.testing` holds a conformance suite per contract, which users' own parts run as well. Each contract has a module;
names are taken from here (`from godwit.contracts import Tool`), so that a name may move from one to another.
"""

from ..core.ids import ActionId
from ..core.rules import Subject
from .blobs import UNLIMITED, BlobStore, StoredArtifact
from .budget import BudgetCheck, BudgetGuard
from .cancel import CancelToken
from .checkpoints import Checkpoints
from .dispatcher import Dispatcher
from .documents import DocumentStore
from .event_store import Appended, EventStore, Lease, SavedRule, SessionRow, Snapshot
from .feed import Feed
from .folder_context import ContextSource, FolderContext
from .hooks import HookCall, HookHandler, HookKit
from .keys import KeySource
from .loading import Loading, LogLoader
from .mcp import ServedSession, ServerContents, ServerTools, ToldOfResource, ToolServers
from .memory import Embedder, Memories, MemoryStore, Vector
from .model import (
    ListsModels,
    Model,
    ModelAnswer,
    ModelChunk,
    ModelRegistry,
    ModelRequest,
    SupportsClose,
    SupportsInfo,
    SupportsModelInfo,
    SupportsPrice,
    SupportsPrices,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from .outputs import OutputTypes
from .sandbox import Access, Confinement, Enclosure, Sandbox
from .search import FoundText, Search
from .secrets import SecretStore
from .session import Events, HeldArtifacts, InputQueue, OneRun, PendingActions, SessionHandle, TreeEvents
from .shell import ShellCommand, ShellParser, ShellPart
from .store import Store
from .subagents import GivesTasks, Subagents, Tasks
from .tasks import TaskQueue
from .tool import (
    HasRuleNames,
    HasSubject,
    HasWebPolicy,
    KeptFile,
    Tool,
    Toolbox,
    ToolContext,
    ToolOutput,
    ToolTraits,
    Verified,
)
from .tracing import BeginTrace, Traces
from .workspace import Execution, FileInfo, HasLinks, Workspace

__all__ = [
    "Access",
    "ActionId",
    "Appended",
    "BeginTrace",
    "BlobStore",
    "BudgetCheck",
    "BudgetGuard",
    "CancelToken",
    "Checkpoints",
    "ContextSource",
    "Confinement",
    "Dispatcher",
    "DocumentStore",
    "Enclosure",
    "EventStore",
    "Events",
    "Execution",
    "Feed",
    "FolderContext",
    "FileInfo",
    "GivesTasks",
    "HasLinks",
    "HasRuleNames",
    "HasSubject",
    "HasWebPolicy",
    "HeldArtifacts",
    "HookCall",
    "HookHandler",
    "HookKit",
    "InputQueue",
    "KeptFile",
    "KeySource",
    "Lease",
    "ListsModels",
    "FoundText",
    "Loading",
    "Search",
    "LogLoader",
    "Model",
    "ModelAnswer",
    "ModelChunk",
    "ModelRegistry",
    "ModelRequest",
    "OneRun",
    "OutputTypes",
    "PendingActions",
    "Sandbox",
    "SavedRule",
    "SecretStore",
    "ServedSession",
    "ServerContents",
    "ServerTools",
    "SessionHandle",
    "SessionRow",
    "ShellCommand",
    "ShellParser",
    "ShellPart",
    "Snapshot",
    "Store",
    "Subagents",
    "StoredArtifact",
    "Subject",
    "SupportsClose",
    "SupportsPrice",
    "SupportsInfo",
    "SupportsModelInfo",
    "SupportsPrices",
    "TaskQueue",
    "TextDelta",
    "ThinkingDelta",
    "Tasks",
    "Tool",
    "ToolCallDelta",
    "ToolContext",
    "ToolOutput",
    "ToldOfResource",
    "ToolServers",
    "ToolTraits",
    "TreeEvents",
    "Toolbox",
    "UNLIMITED",
    "Verified",
    "Traces",
    "Workspace",
    "Embedder",
    "Memories",
    "MemoryStore",
    "Vector",
]
