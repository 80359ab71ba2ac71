"""What judging a call costs: rules by tool, rules by argument, and shell commands taken apart, against `fnmatch` alone.

The floor is what a rule engine without any of it would do: compare the name with each rule by `fnmatch`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from godwit.core.rules import Permissions
from godwit.engine.permissions import Layer, Policy
from godwit.tools.bash import Bash
from godwit.tools.files import Read
from godwit.workspaces.shell import Shell

from .measure import Bench, Prepare, Work, take_turns

FLOOR = "fnmatch by name"
EACH = 200
"""Calls per sample."""
RULES = Permissions(
    allow=("read", "ls", "bash(git log:*)", "bash(git status:*)", "bash(pytest:*)", "read(src/**)"),
    ask=("bash", "write"),
    deny=("bash(rm:*)", "bash(git push:*)", "read(**/.env)", "write(**/*.key)"),
)
COMMANDS = ("git status", "cd src && git log --oneline -5 | head -3", "env CI=1 pytest -q tests/{} 2>&1 | tail -20")


async def permissions(bench: Bench) -> None:
    """Verdicts of one policy, for calls of its tools; `new commands` have not been read before."""
    shell, bash, read = Shell(), Bash(), Read()
    policy = Policy([Layer("agent", RULES)], shell=shell)
    by_tool = Policy([Layer("agent", Permissions(allow=("read",), ask=("bash",)))], shell=shell)
    root, number = str(bench.folder), iter(range(1 << 40))

    def floor() -> None:
        for rule in (*RULES.deny, *RULES.allow, *RULES.ask):
            fnmatchcase("bash", rule)

    def known() -> None:
        policy.judge(bash, {"command": COMMANDS[1]}, root)

    def new() -> None:
        policy.judge(bash, {"command": COMMANDS[2].format(next(number))}, root)

    asked = {
        FLOOR: floor,
        "a rule by tool": lambda: by_tool.judge(bash, {"command": COMMANDS[0]}, root),
        "a file": lambda: policy.judge(read, {"file_path": "src/a/b.py"}, root),
        "a known command": known,
        "a new command": new,
    }

    def preparing(name: str) -> Prepare:
        judge = asked[name]

        async def work() -> None:
            for _ in range(EACH):
                judge()

        async def prepare() -> Work:
            return work

        return prepare

    prepares = {name: preparing(name) for name in asked}
    samples = await take_turns(prepares, bench.sizes.repeats, bench.sizes.warm)
    for name, taken in samples.items():
        bench.add("permissions", name, "CPU, per call", "µs", [s.cpu_ms / EACH * 1000 for s in taken], floor=FLOOR)
