"""Which rules are offered to be remembered with an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.core.rules import Permissions
from godwit.tools.files import Grep, Ls, Read, Write
from godwit.tools.web import WebFetch
from tests.engine.permission_words import (
    BASH,
    Odd,
    Pay,
    a_place,  # noqa: F401 - a fixture
    policy,
)


@pytest.mark.parametrize(
    ("command", "rules"),
    [
        ("git commit -m x", ("bash(git commit:*)", "bash(git commit -m x)")),
        ("cargo build --release", ("bash(cargo build:*)", "bash(cargo build --release)")),
        ("ls -la", ("bash(ls:*)", "bash(ls -la)")),
        ("npm run test -- -k x", ("bash(npm run test:*)", "bash(npm run test -- -k x)")),
        ("grep -rn 'a b' src", ("bash(grep:*)", "bash(grep -rn 'a b' src)")),
        ("cd src && cargo build", ("bash(cargo build:*)", "bash(cd src && cargo build)")),
        ("git add a && git commit -m x", ("bash(git add a && git commit -m x)",)),
        ("ls $x", ("bash(ls:*)",)),
        ("ls *.py", ("bash(ls:*)",)),
        ("git push origin main", ("bash(git push origin main)",)),
        ("npm install x", ("bash(npm install x)",)),
        ("./run.sh a", ("bash(./run.sh a)",)),
        ("make test", ("bash(make test)",)),
        ("git log --oneline | grep x", ("bash(git log --oneline | grep x)",)),
        ("echo [a] \\*", ()),
        ("ls > /tmp/x", ("bash(ls > /tmp/x)",)),
        *(
            (c, ())
            for c in (
                "rm x", "rm -rf /", "/bin/rm x", "sudo ls", "python x.py", "python3.11 -c x", "node x",
                "bash -c 'ls'; rm x", "sh x.sh",
                "perl -e x", "curl x", "ssh h", "xargs ls", "bash -c ls", "eval ls", "find . -delete", "find . -name x",
                "chmod +x f", "mv a b", "docker run x",
                "$X a", "git -c core.pager=x log", "PATH=. ls", "ls 'x", "eval ls; id; x", "source f", "ls && rm x",
                "kubectl delete x",
                "sed -i s/a/b/ f", "env FOO=1 ls", "tar xf a -I x", "awk 1 f", "tee f", "time rm x", "nice python x",
            )
        ),
    ],
)  # fmt: skip
def test_which_rules_are_offered(command: str, rules: tuple[str, ...], place: Path) -> None:
    asking = policy(Permissions(ask=("*",)))
    assert asking.suggest(BASH, {"command": command}, str(place)) == rules


def test_nothing_is_offered_that_would_not_suffice(place: Path) -> None:
    denying = policy(Permissions(ask=("bash",), deny=("bash(git commit -m x:*)",)))
    assert denying.suggest(BASH, {"command": "git commit -m x"}, str(place)) == ()
    assert policy(Permissions()).suggest(BASH, {"command": "ls"}, str(place)) == ()  # it runs anyway


def test_which_rules_are_offered_for_other_tools(place: Path) -> None:
    asking = policy(Permissions(ask=("*",)))
    assert asking.suggest(Write(), {"file_path": "src/[x].py", "content": ""}, str(place)) == (
        "write(src/\\[x].py)",
        "write(src/**)",
    )
    assert asking.suggest(Read(), {"file_path": "top"}, str(place)) == ("read(top)",)
    assert asking.suggest(Read(), {"file_path": "/etc/passwd"}, str(place)) == ()
    assert asking.suggest(Read(), {"file_path": "out/passwd"}, str(place)) == ()
    assert asking.suggest(Grep(), {"pattern": "x", "path": "src"}, str(place)) == ("grep(src/**)",)
    assert asking.suggest(Ls(), {}, str(place)) == ("ls(**)",)
    secret = "https://h.example/a?token=abcdef"
    assert asking.suggest(WebFetch(), {"url": secret}) == ("web_fetch(https://h.example/**)",)
    assert asking.suggest(Pay(), {"to": "Ada"}) == ('pay({"to":"Ada"})', "pay")
    assert asking.suggest(Odd(ValueError()), {}) == ()
