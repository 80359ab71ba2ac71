"""Permissions: what the rules of all layers together say of one call, and why.

Owns the verdict. Leaves out how a rule is read and matched (`core.rules`), what the text of a call is (each tool's
`subject`), how a shell command falls into parts (`contracts.ShellParser`), and which rules to offer (`offers`). Looks at the
file system only to see where links lead; decides without waiting.

Rules a change must keep: deny beats allow beats ask beats the default, over the rules of all layers; what may be denied is
never run unasked; a shell command runs unasked only when each of its parts may; what is not known of a part is what a rule
would have to allow; whatever goes wrong while judging asks, and never allows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ..contracts import HasRuleNames, HasSubject, SavedRule, ShellCommand, ShellParser, ShellPart, Tool
from ..core.errors import ConfigurationError, GodwitError
from ..core.modes import Mode
from ..core.rules import Permissions, Rule, Subject, Verdict, covers, open_ended, parse, total
from ..core.tool_search import TOOL_SEARCH
from .offers import offered
from .subjects import Case, Place, harmless_file, part_case, path_case, url_case


class Layer(msgspec.Struct, frozen=True):
    """Rules from one place: `agent`, `config`, `saved`, `session`."""

    name: str
    permissions: Permissions


class PartJudgement(msgspec.Struct, frozen=True):
    """What was said of one part of a shell command. `neutral`: nothing was, and nothing has to be."""

    text: str
    verdict: Verdict
    reason: str
    rule: str | None = None
    layer: str | None = None
    neutral: bool = False
    doubted: bool = False


class Judgement(msgspec.Struct, frozen=True):
    """The verdict on a call. `rule` and its `layer`: what decided it, if a rule did. `parts`: of a shell command. `doubted`:
    it is asked because a rule that denies may be about it, so only a person may let it run, and nothing in their stead.
    """

    verdict: Verdict
    reason: str
    rule: str | None = None
    layer: str | None = None
    parts: tuple[PartJudgement, ...] = ()
    doubted: bool = False

    @property
    def told(self) -> str:
        """The reason for people and models; empty where a rule just asks before every call."""
        if self.verdict == "ask" and self.reason.endswith(_USUAL):
            return ""
        if self.verdict != "deny" or self.reason.endswith("is not permitted"):
            return f"{self.reason[:1].upper()}{self.reason[1:]}."
        return f"This call is not permitted: {self.reason}."


class Standing(NamedTuple):
    """Rules that hold for all sessions of a folder, and what holds where no rule matches if that is stricter than what the
    agent says."""

    layers: tuple[Layer, ...] = ()
    default: Verdict | None = None


class Policy:
    """All layers together. Immutable: when rules change, make a new one.

    `default`: what holds where no rule matches; None takes the first layer's. `shell`: without one, a rule with a pattern
    allows no shell command.
    """

    def __init__(self, layers: Sequence[Layer], *, shell: ShellParser | None = None, default: Verdict | None = None) -> None:
        self.layers = tuple(layers)
        self.shell = shell
        first = self.layers[0].permissions.default if self.layers else "allow"
        self.default: Verdict = first if default is None else default
        self._known: dict[str, _Rules] = {}

    def judge(self, tool: Tool, arguments: dict[str, Any], workspace_root: str | None = None) -> Judgement:
        """The verdict on a call whose arguments fit the tool. Never raises."""
        name = tool.definition.name
        try:
            also = rule_names(tool, arguments)
            if (decided := self._by_name(name, also)) is not None:
                return decided
            subject = subject_of(tool, arguments)
        except Exception as error:
            return _inapplicable(error)
        return self.judge_subject(name, subject, workspace_root, also=also)

    def judge_subject(
        self, name: str, subject: Subject, workspace_root: str | None = None, *, also: tuple[str, ...] = ()
    ) -> Judgement:
        """The verdict on a call of the tool `name` with this text. `also`: further names that rules may call it by. Never
        raises."""
        if (decided := self._by_name(name, also)) is not None:
            return decided
        rules = self._about(name, also)
        try:
            match subject.kind:
                case "command":
                    return self._command(rules, subject.text, workspace_root)
                case "path":
                    return self._single(rules, path_case(subject, workspace_root))
                case "url":
                    return self._single(rules, url_case(subject.text))
                case "text":
                    return self._single(rules, Case("text", (subject.text,), (subject.text,)))
        except Exception as error:
            return _inapplicable(error)

    def suggest(self, tool: Tool, arguments: dict[str, Any], workspace_root: str | None = None) -> tuple[str, ...]:
        """Rules of which each would let this call, and others like it, run from now on; the one to take first comes first.
        Empty where none should be offered. Never raises."""
        name = tool.definition.name
        judged = self.judge(tool, arguments, workspace_root)
        if judged.verdict != "ask":
            return ()
        try:
            subject = subject_of(tool, arguments)
            also = rule_names(tool, arguments)
            parts, needing = self._needing(name, subject, workspace_root)
            # By the narrower name, where it has one.
            candidates = offered(also[0] if also else name, subject, parts, needing, workspace_root)
        except Exception:
            return ()
        found = []
        for text in candidates:
            with contextlib.suppress(ConfigurationError):
                wider = Policy(
                    [*self.layers, Layer("offered", Permissions(allow=(text,)))], shell=self.shell, default=self.default
                )
                if wider.judge_subject(name, subject, workspace_root, also=also).verdict == "allow":
                    found.append(text)
        return tuple(dict.fromkeys(found))

    def hidden(self, name: str, also: tuple[str, ...] = ()) -> bool:
        """Whether no call of this tool could ever run, so that the model need not know of it. `also`: further names, of
        which each call has one."""
        if also and not self._hides(name):
            return all(self._hides(name, one) for one in also)
        return self._hides(name, *also)

    def _hides(self, *names: str) -> bool:
        rules = self._about(names[0], names[1:])
        if any(total(placed.rule) for placed in rules.deny):
            return True
        return self.default == "deny" and not rules.allow and not rules.ask

    # --- rules about one tool -------------------------------------------------------------------------------------------

    def _about(self, name: str, also: tuple[str, ...] = ()) -> _Rules:
        key = "\0".join((name, *also))
        known = self._known.get(key)
        if known is None:
            kinds = []
            for kind in ("deny", "allow", "ask"):
                found = []
                for layer in self.layers:
                    rules = map(parse, getattr(layer.permissions, kind))
                    found += [
                        _Placed(rule, layer.name)
                        for rule in rules
                        if any(covers(rule, one) for one in (name, *also)) and _names(rule, name)
                    ]
                # Those that need no look at the arguments first.
                kinds.append(tuple(sorted(found, key=lambda placed: not total(placed.rule))))
            if name == TOOL_SEARCH and not any(kinds):
                kinds[1] = (_Placed(parse(TOOL_SEARCH), "built-in"),)
            known = self._known[key] = _Rules(*kinds)
        return known

    def _by_name(self, name: str, also: tuple[str, ...] = ()) -> Judgement | None:
        """The verdict where it does not depend on the arguments."""
        rules = self._about(name, also)
        if rules.deny and total(rules.deny[0].rule):
            return _because("deny", rules.deny[0], f"the tool {name!r} is not permitted")
        if rules.patterned or self._files.deny:
            return None
        return self._unmatched(rules, ())

    @property
    def _files(self) -> _Rules:
        """Rules that close single files to the file tools, which hold for a shell command's redirections as well."""
        known = self._known.get(_FILES)
        if known is None:
            closed = [p for name in (*_WRITERS, *_READERS) for p in self._about(name).deny if not total(p.rule)]
            known = self._known[_FILES] = _Rules(tuple(dict.fromkeys(closed)))
        return known

    def _unmatched(self, rules: _Rules, cases: Iterable[Case]) -> Judgement:
        """What holds where nothing denies."""
        cases = tuple(cases)
        for placed in rules.allow:
            if total(placed.rule):
                return _because("allow", placed, f"{placed.rule.text!r} allows every call")
            if cases and all(case.allowed(placed.rule) for case in cases):
                return _because("allow", placed, f"{placed.rule.text!r} allows it")
        for placed in rules.ask:
            if total(placed.rule) or any(case.named_by(placed.rule) for case in cases):
                return _because("ask", placed, f"{placed.rule.text!r} asks before it")
            if any(case.maybe(placed.rule) for case in cases):
                return _because("ask", placed, f"{placed.rule.text!r} may be about it")
        return Judgement(self.default, f"no rule is about it, and the default is to {self.default}")

    def _single(self, rules: _Rules, case: Case) -> Judgement:
        """The verdict on what is one thing: everything but a shell command."""
        for placed in rules.deny:
            if case.named_by(placed.rule):
                return _because("deny", placed, f"{placed.rule.text!r} denies it")
        said = self._unmatched(rules, (case,))
        if doubt := next((placed for placed in rules.deny if case.maybe(placed.rule)), None):
            return _doubted(said, doubt, f"{doubt.rule.text!r} denies some of what it may reach")
        return said

    # --- shell commands -------------------------------------------------------------------------------------------------

    def _command(self, rules: _Rules, text: str, root: str | None) -> Judgement:
        plain = self._unmatched(rules, ())
        all_allowed = plain.verdict == "allow" and plain.rule is not None
        doubtful = not _only_total(rules.deny) or not (all_allowed or _only_total(rules.ask))
        if not doubtful and not self._files.deny and plain.verdict != "ask" and (all_allowed or not rules.allow):
            return plain  # whatever the command is
        # Only what the shell takes for blanks is left out: with other invisible characters it is another command.
        whole = Case("command", (text.strip(" \t\n"),), (text, text.strip()))
        command = self._parsed(text)
        said = self._parts(rules, command, root)
        parts = tuple(one.judged for one in said)
        for part in parts:
            if part.verdict == "deny" and part.rule is not None:
                return Judgement("deny", f"{_short(part.text)}: {part.reason}", part.rule, part.layer, parts)
        for placed in rules.deny:
            if whole.named_by(placed.rule):
                reason = f"{placed.rule.text!r} denies it as a whole"
                return msgspec.structs.replace(_because("deny", placed, reason), parts=parts)
        for placed in rules.allow:
            if not open_ended(placed.rule) and whole.allowed(placed.rule):
                reason = f"{placed.rule.text!r} allows just this command"
                return msgspec.structs.replace(_because("allow", placed, reason), parts=parts)
        if all_allowed and not doubtful:
            return msgspec.structs.replace(plain, parts=parts)
        needed = [part for part in parts if not part.neutral]
        if denied := next((part for part in needed if part.verdict == "deny"), None):
            return Judgement("deny", f"{_short(denied.text)}: {denied.reason}", parts=parts)
        doubted = any(part.doubted for part in parts)
        if command.problem is not None:
            doubted = doubted or bool(rules.deny)
            return Judgement("ask", f"it is not understood for sure: {command.problem}", parts=parts, doubted=doubted)
        asked = sorted((part for part in needed if part.verdict == "ask"), key=lambda part: part.reason.endswith(_USUAL))
        if asked:
            why = f"{_short(asked[0].text)}: {asked[0].reason}"
            return Judgement("ask", why, asked[0].rule, asked[0].layer, parts, doubted)
        allowed = [one.judged for one in said if one.allowed]
        if not allowed:
            return msgspec.structs.replace(self._unmatched(rules, (whole,)), parts=parts)
        reason = allowed[0].reason if len(parts) == 1 else "each part that needs it is allowed"
        return Judgement("allow", reason, allowed[0].rule, allowed[0].layer, parts)

    def _parsed(self, text: str) -> ShellCommand:
        return self.shell.parse(text) if self.shell else ShellCommand((), "there is no parser for shell commands")

    def _parts(self, rules: _Rules, command: ShellCommand, root: str | None) -> list[_Said]:
        place = Place.after(command, root)
        return [self._part(rules, part, place, at in place.moves) for at, part in enumerate(command.parts)]

    def _needing(self, name: str, subject: Subject, root: str | None) -> tuple[tuple[ShellPart, ...], list[ShellPart]]:
        """The parts of a shell command, and those that no rule allows yet: none when it is not understood."""
        if subject.kind != "command":
            return (), []
        command = self._parsed(subject.text)
        if command.problem is not None:
            return (), []
        said = self._parts(self._about(name), command, root)
        needing = [p for p, one in zip(command.parts, said, strict=True) if not one.judged.neutral and not one.allowed]
        # A command of which no part needs a rule is asked as a whole.
        return command.parts, needing or [part for part in command.parts if part.words and not part.depth]

    def _part(self, rules: _Rules, part: ShellPart, place: Place, moves: bool) -> _Said:
        """What is said of one part. `moves`: all it does is to change to a folder of the workspace."""
        case = part_case(part)
        shown = part.text or " ".join(f"> {name or '...'}" for name in part.writes) or "(redirection)"

        def say(said: Judgement, *, neutral: bool = False, allowed: bool = False) -> _Said:
            part = PartJudgement(shown, said.verdict, said.reason, said.rule, said.layer, neutral, said.doubted)
            return _Said(part, allowed)

        for placed in rules.deny:
            if case.named_by(placed.rule):
                return say(_because("deny", placed, f"{placed.rule.text!r} denies it"))
        if closed := self._closed(part, place):
            return say(closed)
        said = self._unmatched(rules, (case,))
        if doubt := next((placed for placed in rules.deny if case.maybe(placed.rule)), None):
            why = part.caution or "not all of it is known"
            said = _doubted(said, doubt, f"{doubt.rule.text!r} may deny it: {why}")
            if said.verdict == "ask":
                return say(said)
        rule = None if said.rule is None else parse(said.rule)
        if (rule is None or not total(rule)) and (unwritten := self._unwritten(part, place)):
            return say(unwritten)
        astray = place.astray(part)
        if said.verdict == "allow" and rule is not None:
            if astray is not None and not total(rule):
                return say(Judgement("ask", astray))
            if place.strays(part) and not total(rule):
                return say(Judgement("ask", f"which {_short(part.words[0])} it is depends on the folder it is run in"))
            return say(said, allowed=True)
        if rule is not None and not total(rule):
            return say(said)  # a rule that asks, of this very part
        if astray is not None and said.verdict != "allow":
            return say(msgspec.structs.replace(said, reason=astray))
        if part.neutral or moves:
            return say(said, neutral=True)
        if said.verdict == "ask" and (nearly := _nearly(rules, case, part)):
            return say(msgspec.structs.replace(said, reason=nearly))
        return say(said)

    def _unwritten(self, part: ShellPart, place: Place) -> Judgement | None:
        """Where the default is to deny, a redirection writes only what a rule lets a file tool write: `cat a > b` is what
        `write` would do, whatever rule is about `cat`."""
        if self.default != "deny":
            return None
        for name in part.writes:
            if not harmless_file(name) and not self._may_write(name, place):
                return Judgement("deny", f"writing {name or 'a file'} is not permitted")
        return None

    def _may_write(self, name: str | None, place: Place) -> bool:
        """Whether a rule lets one of the tools that write do so, wherever the name may lead."""
        cases = tuple(case for _, case in place.files((name,)))
        return any(self._unmatched(self._about(tool), cases).verdict != "deny" for tool in _WRITERS)

    def _closed(self, part: ShellPart, place: Place) -> Judgement | None:
        """A rule that closes a file which one of its redirections writes or reads."""
        if not self._files.deny:
            return None
        for names, tools, what in ((part.writes, _WRITERS, "writing"), (part.reads, _READERS, "reading")):
            for name, case in place.files(names):
                for placed in self._files.deny:
                    if any(covers(placed.rule, tool) for tool in tools) and case.named_by(placed.rule):
                        return _because("deny", placed, f"{placed.rule.text!r} denies {what} {name}")
        return None


def saved_permissions(saved: Iterable[SavedRule]) -> Permissions:
    """Saved rules as permissions."""
    kept = list(saved)
    allow, ask, deny = (tuple(one.rule for one in kept if one.verdict == verdict) for verdict in ("allow", "ask", "deny"))
    return Permissions(allow, ask, deny)


class Narrowed(Policy):
    """The policy of a session that works for others: theirs hold as well, each with what was answered here, and of several
    verdicts the strictest counts."""

    def __init__(self, own: Policy, above: Sequence[Policy], modes: Sequence[Policy] = ()) -> None:
        """`modes`: those of the session and of those above. They hold as well, but hide nothing from the model: what it is
        told of its tools stays the same from mode to mode, and with it what providers keep of a request."""
        super().__init__(own.layers, shell=own.shell, default=own.default)
        self._hiding = tuple(above)
        self.above = (*above, *modes)

    def judge(self, tool: Tool, arguments: dict[str, Any], workspace_root: str | None = None) -> Judgement:
        judged = [super().judge(tool, arguments, workspace_root)]
        judged += [policy.judge(tool, arguments, workspace_root) for policy in self.above]
        return _strictest(judged)

    def judge_subject(
        self, name: str, subject: Subject, workspace_root: str | None = None, *, also: tuple[str, ...] = ()
    ) -> Judgement:
        judged = [super().judge_subject(name, subject, workspace_root, also=also)]
        judged += [policy.judge_subject(name, subject, workspace_root, also=also) for policy in self.above]
        return _strictest(judged)

    def suggest(self, tool: Tool, arguments: dict[str, Any], workspace_root: str | None = None) -> tuple[str, ...]:
        """Rules that would let it run as far as every policy that asks is concerned."""
        offers = [
            offered
            for policy in (Policy(self.layers, shell=self.shell, default=self.default), *self.above)
            if policy.judge(tool, arguments, workspace_root).verdict == "ask"
            for offered in [policy.suggest(tool, arguments, workspace_root)]
        ]
        if not offers:
            return ()
        return tuple(rule for rule in offers[0] if all(rule in others for others in offers[1:]))

    def hidden(self, name: str, also: tuple[str, ...] = ()) -> bool:
        return super().hidden(name, also) or any(policy.hidden(name, also) for policy in self._hiding)


def _strictest(judged: Sequence[Judgement]) -> Judgement:
    found = max(judged, key=lambda one: _STRICTNESS.index(one.verdict))
    if found.verdict == "ask" and any(one.doubted for one in judged):
        return next(one for one in judged if one.doubted)
    return found


def merged(one: Permissions | None, other: Permissions | None) -> Permissions | None:
    """The rules of both."""
    if one is None or other is None:
        return one or other
    return msgspec.structs.replace(
        one, allow=(*one.allow, *other.allow), ask=(*one.ask, *other.ask), deny=(*one.deny, *other.deny)
    )


def policy_of(
    agent: Permissions,
    standing: Standing = Standing(),  # noqa: B008 - immutable
    saved: Permissions | None = None,
    session: Permissions | None = None,
    *,
    shell: ShellParser | None = None,
) -> Policy:
    """The policy of one session: its agent's rules, those of its folder, saved answers, and its own."""
    layers = [Layer("agent", agent), *standing.layers, Layer("saved", saved or Permissions())]
    layers.append(Layer("session", session or Permissions()))
    default = agent.default if standing.default is None else max(agent.default, standing.default, key=_STRICTNESS.index)
    return Policy(layers, shell=shell, default=default)


class _ModePolicy(Policy):
    """The rules of a mode, which is named where it refuses something."""

    def __init__(self, mode: str, permissions: Permissions, shell: ShellParser | None) -> None:
        super().__init__([Layer(f"mode {mode}", permissions)], shell=shell)
        self._mode = mode

    def judge(self, tool: Tool, arguments: dict[str, Any], workspace_root: str | None = None) -> Judgement:
        return self._named(super().judge(tool, arguments, workspace_root))

    def judge_subject(
        self, name: str, subject: Subject, workspace_root: str | None = None, *, also: tuple[str, ...] = ()
    ) -> Judgement:
        return self._named(super().judge_subject(name, subject, workspace_root, also=also))

    def _named(self, judged: Judgement) -> Judgement:
        if judged.verdict != "deny":
            return judged
        reason = f"the session is in mode {self._mode}, which refuses it ({judged.reason})"
        return msgspec.structs.replace(judged, reason=reason)


def mode_policy(mode: Mode, tools: Sequence[Tool], shell: ShellParser | None = None) -> Policy:
    """The rules of a mode, for a session with these tools."""
    permissions = mode.permissions
    if mode.looks:
        looking = [tool.definition.name for tool in tools if tool.traits.read_only]
        permissions = msgspec.structs.replace(permissions, allow=(*permissions.allow, *looking))
    return _ModePolicy(mode.name, permissions, shell)


def subject_of(tool: Tool, arguments: dict[str, Any]) -> Subject:
    """What the patterns of rules are matched against for this call. Raises what the tool raises."""
    if isinstance(tool, HasSubject):
        return tool.subject(arguments)
    return Subject("text", msgspec.json.encode(arguments, order="sorted").decode())


def rule_names(tool: Tool, arguments: dict[str, Any] | None) -> tuple[str, ...]:
    """Further names that rules may call this call by; without arguments those of all its calls."""
    return tool.rule_names(arguments) if isinstance(tool, HasRuleNames) else ()


# --- the inside ---------------------------------------------------------------------------------------------------------

_STRICTNESS: tuple[Verdict, ...] = ("allow", "ask", "deny")
_FILES = "\0files"
_WRITERS = ("write", "edit", "patch")
_READERS = ("read",)


class _Placed(msgspec.Struct, frozen=True):
    """A rule and the name of its layer."""

    rule: Rule
    layer: str


class _Rules(msgspec.Struct, frozen=True):
    """The rules about one tool; in each list, those that hold whatever the arguments come first."""

    deny: tuple[_Placed, ...] = ()
    allow: tuple[_Placed, ...] = ()
    ask: tuple[_Placed, ...] = ()

    @property
    def patterned(self) -> bool:
        return not all(map(_only_total, (self.deny, self.allow, self.ask)))


@dataclass(frozen=True)
class _Said:
    """`allowed`: by a rule, not by the default."""

    judged: PartJudgement
    allowed: bool


def _short(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def _names(rule: Rule, name: str) -> bool:
    """Whether a rule that covers the tool is about it. The search for tools gives a model nothing that it may not have
    anyway, and it needs it: only a rule by its name is about it, and else it is allowed."""
    return name != TOOL_SEARCH or rule.tool == TOOL_SEARCH


def _only_total(rules: tuple[_Placed, ...]) -> bool:
    return not rules or total(rules[-1].rule)


def _nearly(rules: _Rules, case: Case, part: ShellPart) -> str | None:
    """Why a rule that one would expect to allow the part does not."""
    if part.caution is not None:
        return part.caution
    name, sets, _ = part.words[0].partition("=") if part.words else ("", "", "")
    if sets and name.isidentifier():
        return f"it sets {name}, which may change what runs"
    near = next((placed for placed in rules.allow if case.named_by(placed.rule)), None)
    if near is None:
        return None
    if part.loose:
        unknown = part.words[part.loose[0]]
        return f"{near.rule.text!r} does not allow it for sure: what {unknown[:40]} stands for is not known"
    return f"{near.rule.text!r} does not allow it: where a rule allows, a '*' within a word ends with the word"


MAX_SHOWN = 120
_USUAL = ("asks before it", "and the default is to ask")


def _doubted(said: Judgement, placed: _Placed, reason: str) -> Judgement:
    """The same, when a rule that denies may be about it: what would run is asked, and only a person may answer."""
    if said.verdict == "deny":
        return said
    return msgspec.structs.replace(_because("ask", placed, reason), doubted=True)


def _inapplicable(error: Exception) -> Judgement:
    said = error.message if isinstance(error, GodwitError) else f"{type(error).__name__}: {error}"
    return Judgement("ask", f"the rules cannot be applied to this call: {said}", doubted=True)


def _because(verdict: Verdict, placed: _Placed, reason: str) -> Judgement:
    return Judgement(verdict, reason, placed.rule.text, placed.layer)
