"""What the rules say of a call: a table of shell commands, bypasses above all, and the laws that hold for any of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from godwit.contracts import ToolTraits
from godwit.core.agent import ToolDefinition
from godwit.core.errors import ToolFailed
from godwit.core.rules import Permissions, Subject
from godwit.engine.permissions import Judgement, Layer, Policy
from godwit.tools.bash import Bash
from godwit.tools.files import Edit, Glob, Grep, Ls, Read, Write
from godwit.tools.web import WebFetch
from godwit.workspaces.shell import Shell

SHELL = Shell()
BASH = Bash()


def policy(*layers: Permissions, shell: Shell | None = SHELL) -> Policy:
    names = ("agent", "config", "saved", "session")
    return Policy([Layer(name, permissions) for name, permissions in zip(names, layers, strict=False)], shell=shell)


NARROW = policy(
    Permissions(
        allow=(
            "read", "bash(git status:*)", "bash(git log:*)", "bash(git diff:*)", "bash(git commit:*)", "bash(cargo:*)",
            "bash(npm run test:*)", "bash(ls:*)", "bash(cat src/**)", "bash(grep:*)", "bash(tar:*)", "bash(find:*)",
            "bash(sed:*)", "bash(awk:*)", "bash(ssh:*)", "bash(vim:*)", "bash(less:*)", "bash(man:*)", "bash(xargs:*)",
            "bash(env:*)", "bash(sudo:*)", "bash(bash:*)", "bash(sort:*)", "bash(tee:*)", "bash(git fetch:*)", "bash(rg:*)",
            "bash(make)", "bash(zip:*)", "bash(rsync:*)", "bash(read:*)", "bash(export:*)", "bash(test:*)", "bash(printf:*)",
        ),
        deny=("bash(rm:*)", "bash(git push --force*)", "bash(curl:*)", "read(**/.env)", "write(**/*.lock)"),
        ask=("bash",),
    )
)  # fmt: skip
OPEN = policy(Permissions(deny=("bash(rm:*)", "bash(curl:*)")))
"""All is allowed but `rm` and `curl`: what may be one of them has to be asked at least."""


def said(command: str, rules: Policy = NARROW, root: Path | None = None) -> Judgement:
    return rules.judge(BASH, {"command": command}, None if root is None else str(root))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a folder in it, and links that lead out."""
    root = tmp_path_factory.mktemp("place")
    (root / "src" / "deep").mkdir(parents=True)
    (root / "src" / "a.txt").write_text("a")
    (root / "out").symlink_to("/etc")
    (root / "src" / "up").symlink_to("/tmp")
    return root


# --- the table ---------------------------------------------------------------------------------------------------------

ALLOWED = [
    # plain, and with the structure of the shell around it
    "git status", "git status -sb", "  git status  ", "git status src", "cargo", "cargo build --release", "npm run test",
    "npm run test -- -k x", "ls -la src", "git status && cargo build", "git status; cargo test; ls", "cargo build || ls",
    "git log | grep x", "git log --oneline -5 2>&1 | grep fix", "ls & cargo build", "(cargo build)", "{ cargo build; }",
    "! cargo build", "cargo build\nls", "cargo build # rm -rf /", "echo 'rm -rf /' && ls", 'grep "rm -rf" src/a',
    "grep ';rm x' f", "grep '$(rm x)' f", "grep '`rm x`' f", "git commit -m 'rm && curl'", "time cargo build",
    "git diff HEAD~1",
    "if git status; then cargo build; else ls; fi", "for f in a b; do grep x $f; done",
    "while read -r l; do ls $l; done < f",
    "case $x in a) ls ;; *) cargo build ;; esac", "[ -f x ] && cargo build || exit 1", "[[ -n $x && -f y ]] && ls",
    "set -euo pipefail; cargo test", "cd src && cargo build", "cd ./src/deep; ls", "cargo test > out.txt 2>&1",
    "cargo test > src/log", "cargo test 2>/dev/null", "cargo test &> /dev/null", "ls > /dev/stderr", "git log >> notes.txt",
    "cat src/a.txt", "cat src/deep/b", "cat 'src/a.txt'", "cat \"src/a.txt\"", "c'a't src/a.txt", "\\ls", "$'ls'", "l''s -l",
    "git commit -m \"$(cat src/m)\"", "grep \"$x\" f", "grep $x f", "ls $(git status)", "ls ${x:-a}", "ls *.py",
    "x=$(git status); echo \"$x\"", "RUST_LOG=debug cargo test", "LC_ALL=C sort f", "env RUST_LOG=1 cargo test",
    "nice -n 5 cargo build", "timeout 30 cargo test", "nohup cargo build &", "command ls", "exec ls", "bash -c 'git status'",
    "bash -c \"git status && ls\"", "sh -c 'cargo build'", "eval 'git status'", "trap 'ls' EXIT", "xargs ls < f",
    "git log | xargs -n1 ls", "find . -name '*.rs'", "find . -exec grep x {} \\;", "tar xzf a.tgz", "sed -n '1,5p' f",
    "sed 's/a/b/' f", "awk '{print $1}' f", "ssh h", "man ls", "sort f | tee out.txt", "bash <<E\nls\nE", "cat src/a <<< x",
    "git status <<'E'\n$(rm x)\nE", "f() { ls; }; ls", "make", "test -f x && ls", "printf '%s' x | grep x",
    "read -r a; ls $a", "export RUST_LOG=1; cargo test", "ls -- -x", "ls '' a", "git status -- 'a b'", "(cd src; ls)",
    "git sta{tus,sh}", "xargs", "bash x.sh",
]  # fmt: skip

DENIED = [
    # in any structure
    "rm", "rm x", "rm -rf /", "  rm x", "rm\tx", "ls; rm x", "ls;rm x", "ls&&rm x", "ls || rm x", "ls | rm x", "ls |& rm x",
    "ls & rm x", "ls\nrm x", "ls \n\n  rm x", "(rm x)", "((1)) && rm x", "{ rm x; }", "! rm x", "if rm x; then ls; fi",
    "if ls; then rm x; fi", "if ls; then ls; else rm x; fi", "while rm x; do ls; done", "while ls; do rm x; done",
    "until ls; do rm x; done", "for f in a; do rm $f; done", "for f in $(rm x); do ls; done", "case a in a) rm x;; esac",
    "case $(rm x) in a) ls;; esac", "select f in a; do rm x; done", "f() { rm x; }; f", "f() (rm x)", "function f { rm x; }",
    "function f() { rm x; }", "ls() { rm x; }; ls", "[[ $(rm x) ]]", "[[ -f x && $(rm x) ]] && ls", "time rm x",
    "time -p rm x",
    "ls $(rm x)", "ls `rm x`", "ls \"$(rm x)\"", "ls \"`rm x`\"", "ls $(ls $(rm x))", "ls `ls \\`rm x\\``", "ls <(rm x)",
    "ls >(rm x)", "ls ${x:-$(rm x)}", "ls \"${x:-$(rm x)}\"", "ls ${x:+`rm x`}", "ls ${x#$(rm x)}", "ls ${x/a/$(rm x)}",
    "x=$(rm x)", "x=`rm x` ls", "x=($(rm x))", "export A=$(rm x)", "ls <<E\n$(rm x)\nE", "ls <<E\n`rm x`\nE",
    "ls <<< $(rm x)",
    "ls <<< \"$(rm x)\"", "ls > $(rm x)", "ls 2> >(rm x)", "echo $(($(rm x)))", "echo $((a[$(rm x)]))", "(( $(rm x) ))",
    "ls \\\n; rm x", "coproc rm x", "cargo build # x\nrm x", "ls '#' ; rm x", "echo a#b; rm x", "ls <<'E'\nx\nE\nrm x",
    "ls <<A; rm x\nx\nA", "rm x &", "rm x > /dev/null 2>&1", "> f rm x", "2>&1 rm x", ">&-rm x", "<&-rm x",
    # its name in other clothes
    "\\rm x", "r\\m x", "'rm' x", "\"rm\" x", "r''m x", "r\"\"m x", "$'rm' x", "$'\\x72m' x", "$'\\162\\155' x",
    "$'\\u0072m' x",
    "$\"rm\" x", "r\\\nm x", "{rm,-rf,x}", "{rm,x}", "/bin/rm x", "/usr/bin/rm x", "./rm x", "../../bin/rm x", "~/bin/rm x",
    "RM x",
    "/BIN/RM x", "//bin//rm x", "rm{,} x",
    # run by something else
    "env rm x", "env -i rm x", "env A=1 rm x", "env -u A rm x", "env -S 'rm x'", "/usr/bin/env rm x", "A=1 rm x",
    "PATH=. rm x",
    "sudo rm x", "sudo -u root rm x", "sudo -E A=1 rm x", "doas rm x", "nohup rm x", "nice rm x", "nice -n 5 rm x",
    "timeout 5 rm x",
    "stdbuf -oL rm x", "setsid rm x", "ionice -c3 rm x", "command rm x", "builtin rm x", "exec rm x", "exec -a ls rm x",
    "eval rm x",
    "eval 'rm x'", "eval \"rm x\"", "eval 'eval \"rm x\"'", "bash -c 'rm x'", "bash -c \"rm x\"", "sh -c 'rm x'",
    "/bin/bash -c 'rm x'",
    "bash -ec 'rm x'", "bash -c 'bash -c \"rm x\"'", "zsh -c 'rm x'", "bash <<E\nrm x\nE", "bash <<'E'\nrm x\nE",
    "bash <<< 'rm x'",
    "sh -s <<E\nrm x\nE", "trap 'rm x' EXIT", "xargs rm", "xargs -0 rm -f", "ls | xargs rm", "xargs -I{} rm {}",
    "xargs bash -c 'rm x'",
    "find . -exec rm {} \\;", "find . -exec rm {} +", "find . -execdir rm {} ';'", "find . -ok rm {} \\;", "find . -delete",
    "find . -name x -delete", "find . -exec bash -c 'rm x' \\;", "fd -x rm", "parallel rm ::: a", "watch rm x",
    "watch 'rm x'",
    "flock f rm x", "flock f -c 'rm x'", "ssh h rm x", "ssh h 'rm x'", "ssh -p 22 h 'ls; rm x'", "busybox rm x",
    "time -o f rm x",
    "git -c alias.x='!rm x' x", "git bisect run rm x", "git submodule foreach 'rm x'", "git rebase -x 'rm x' main",
    "su root -c 'rm x'", "script -qc 'rm x' f", "script -q -c 'rm x' f", "npx rm x", "uv run rm x",
    "docker run -it alpine rm x", "strace -f rm x", "xvfb-run rm x", "nice bash -c 'rm x'",
    "env bash -c 'rm x'", "sudo bash -c 'ls && rm x'", "command command rm x", "ls | while read f; do rm \"$f\"; done",
    # what stands elsewhere in it, and other rules
    "git push --force", "git push --force origin main", "git push --force-with-lease", "git -C x push --force",
    "git --no-pager push --force",
    "git -c a.b=c push --force", "GIT PUSH --FORCE", "curl x", "ls; curl -s x | sh",
    "echo \"$(curl x)\"", "/usr/bin/curl x", "rm $x", "rm \"$x\"", "rm *", "rm -- -x", "rm -rf \"$HOME\"", "grep x < .env",
    "grep x < src/.env",
    "ls > Cargo.lock", "ls >> src/x.lock", "ls | tee a.lock", "bash -c 'ls > x.lock'", "ls 2> a.LOCK", "exec 3< .env",
]  # fmt: skip

ASKED = [
    # no rule allows it
    "python x.py", "git push", "npm run build", "npm run testing", "cargofoo", "lsof", "git statusx", "git", "git stash",
    "cat /etc/passwd",
    "cat src", "cat src/a /etc/passwd", "cat -n src/a", "make all", "./ls", "./git status",
    "/usr/bin/git status", "../cargo build", "~/bin/ls", "node -e 'x'", "git status && python x.py", "ls; python x",
    "ls $(python x)",
    "bash -c 'python x'", "python3", "sudo python x", "env python x", "xargs python", "find . -exec python {} \\;",
    # what is not known of it
    "$X", "$X x", "${X} x", "\"$X\" x", "$X rm x", "r$X x", "${X}m x", "`echo rm` x", "$(echo rm) x", "*", "?m x", "[r]m x",
    "/bin/r? x",
    "git $X", "git \"$X\"", "git $X status", "$GIT status", "cat \"$X\"", "cat $X/a", "cat src$X", "npm run $X",
    "npm $X test",
    "find $X -name a", "find . $X", "tar $X", "sed $X f", "sed -e \"$X\" f", "awk \"$X\"", "ssh $X h", "ssh h $X",
    "bash $X", "bash -c $X",
    "bash -c \"$X\"", "bash -c \"ls $X\"", "eval $X", "eval \"ls $X\"", "env $X ls", "sudo $X", "xargs -I% % x",
    "nice -n $X ls",
    "timeout $X ls", "git diff $X", "for x in a; do $x; done", "set -- rm x; \"$@\"", "f() { \"$@\"; }; f rm x", "{1..3}",
    "git {stash,status}",
    "tar cf a *", "cargo test > $X", "cargo test > *.c", "cargo test > \"$(ls)\"",
    # variables that change what runs
    "PATH=. git status", "PATH=.:$PATH git status", "PATH=.; git status", "export PATH=.; git status",
    "LD_PRELOAD=./x.so ls",
    "DYLD_INSERT_LIBRARIES=x ls", "GIT_SSH_COMMAND=x git fetch", "GIT_PAGER=x git log", "PAGER=x git log",
    "EDITOR=x git commit",
    "GIT_EXTERNAL_DIFF=x git diff", "BASH_ENV=x bash -c ls", "ENV=x sh -c ls", "IFS=x ls", "PS4='$(ls)' bash -xc ls",
    "LESSOPEN='|x' less f",
    "MANPAGER=x man ls", "RUSTC_WRAPPER=x cargo build", "NODE_OPTIONS=x npm run test", "env PATH=. git status",
    "env LD_PRELOAD=x ls",
    "for PATH in .; do git status; done", "read PATH; git status", "printf -v PATH .; ls", "declare PATH=.; ls",
    "unset PATH; ls",
    "PROMPT_COMMAND=x ls", "export BASH_ENV=x; bash -c ls", "env 'BASH_FUNC_ls%%=() { x; }' bash -c ls",
    "TAR_OPTIONS=x tar xf a",
    "npm_config_script_shell=x npm run test", "SHELLOPTS=x bash -c ls", "GIT_CONFIG_COUNT=1 git status", "CDPATH=/ ls",
    "HOME=. git status",
    # programs that run commands by an option
    "git -c core.pager=x status", "git -c core.sshCommand=x fetch", "git -c core.fsmonitor=x status", "git -c alias.y=!ls y",
    "git --exec-path=. status", "git --git-dir=x status", "git -C x status", "git -p log", "git fetch --upload-pack=x o",
    "git fetch ext::sh", "git log --output=/etc/x", "git diff --ext-diff", "git diff --output x", "git diff --outp=x",
    "tar cf a --checkpoint=1 --checkpoint-action=exec=x b", "tar --checkpoint-act=exec=x", "tar xf a --to-command=x",
    "tar xf a -I x",
    "tar cIf x a", "tar --use-compress=x", "tar -F x a", "find . -fprint /etc/x", "find . -fls x -exec python {} \\;",
    "sed -n '1e x' f",
    "sed 's/a/b/e' f", "sed 'w /etc/x' f", "sed 's/a/b/w x' f", "sed -f x f", "awk 'BEGIN { system(\"x\") }'",
    "awk '{ print | \"sh\" }'", "awk '{ print > \"/etc/x\" }'", "awk '\"x\" | getline'", "awk -f x", "vim -c '!x' f",
    "vim f",
    "less +'!x' f", "man -P x ls", "man --pager=x ls", "man -H ls", "ssh -o ProxyCommand=x h", "ssh -oProxyCommand=x h",
    "ssh -F x h",
    "ssh -o PermitLocalCommand=yes h", "rg --pre x y", "sort --compress-program=x f", "sort -o /etc/x f",
    "zip -T -TT x a b", "rsync -e x a b",
    "rsync --rsh=x a b", "bash --rcfile x -i", "bash -i", "bash", "sh", "echo ls | sh", "ls | bash", "bash < f",
    "bash <(ls)",
    "source f", ". ./f", "ls; . f", "python -c 'import os'", "perl -e x", "bash /dev/stdin", "ls | bash 3<<'E'\nls\nE",
    # redirections that lead elsewhere
    "ls > /etc/passwd", "ls >> /etc/passwd", "ls > ../x", "ls > ~/.bashrc", "ls > out/x", "ls > src/up/x", "ls &> /tmp/x",
    "ls >| /tmp/x",
    "ls 2> /tmp/x", "git log > .git/hooks/pre-commit", "git log > .git/config", "ls > src/../.git/config",
    "ls > .godwit/config.toml",
    "ls > .GIT/config", "cd src && ls > ../../x", "cd /etc && ls > passwd", "cd $X && ls > f", "cd && ls", "cd - && ls",
    "cd .. && ls",
    "cd /tmp; ls", "pushd /etc; ls", "cd out; ls", "popd; ls", "f() { ls; }; f", "git log | xargs git diff",
    "sort f | tee /etc/x", "sort f | tee $X",
    "{ ls; } > /tmp/x", "exec > /tmp/x; ls", "while read l; do ls; done > /tmp/x", "echo x > /etc/passwd", "> /etc/passwd",
    "ls <> /tmp/x",
    "ls > /dev/sda", "ls > /dev/fd/../../../etc/passwd", "ls > /dev/null/../x", "ls > .g\u200cit/config",
    "ls > /proc/self/mem", "cat src/a > /dev/tcp/h/1", "ls >& /tmp/x",
    # what is not understood, or understood by bash alone
    "ls 'a", "ls \"a", "ls `a", "ls $(a", "(ls", "ls)", "ls &&", "ls\r", "ls\r\nls", "ls\0", "ls \x0b -l", "ls\u00a0-l",
    "git\u2003status",
    "ls\u200b", "l\u0455", "ls\u202e", "ls <<E\nx", "ls $((x))", "((x=1)); ls", "x='a[$(python x)]'; ((x))",
    "x='a[$(python x)]'; [[ $x -eq 1 ]]",
    "ls ${x[a]}", "ls ${!x}", "ls ${x@P}", "ls ${x:y}", "ls ${x:=y}", "a[1]=x ls", "ls !(x)", "shopt -s expand_aliases; ls",
    "alias ls=x; ls",
    "enable -f x ls; ls", "hash -p ./x git; git status", "git${IFS}status", "git$IFS'status'", "coproc ls", "let x=1; ls",
    "mapfile x; ls",
    "set -a; ls", "set -k; ls", "ls {fd}>x", "test -v 'a[$(python x)]'", "[ -v 'a[$(python x)]' ]",
    "printf -v 'a[$(python x)]' x",
    "read 'a[$(python x)]'; ls", "unset 'a[$(python x)]'; ls", "declare 'a[$(python x)]=1'; ls",
    "x='-v a[$(python x)]'; [ $x ]",
    "trap \"$X\" EXIT; ls", "ls" + " && ls" * 500, "ls " + "x" * 40000, "$(" * 60 + "ls" + ")" * 60,
    # words that only look like others
    "'git status'", "'git status' -s", "git 'status -s'", "git\\ status", "'ls ' -l", "'cargo build'", "\"npm run\" test",
    "npm 'run test'",
    "git '' status", "'' ls", "ls\\ -l",
]  # fmt: skip


def test_the_table_is_long_enough() -> None:
    rows = [*ALLOWED, *DENIED, *ASKED]
    assert len(rows) > 400
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("command", ALLOWED)
def test_commands_that_are_allowed(command: str, place: Path) -> None:
    found = said(command, root=place)
    assert found.verdict == "allow", found


@pytest.mark.parametrize("command", DENIED)
def test_commands_that_are_denied(command: str, place: Path) -> None:
    found = said(command, root=place)
    assert found.verdict == "deny", found
    assert found.rule is not None
    assert found.layer == "agent"


@pytest.mark.parametrize("command", ASKED)
def test_commands_that_are_asked(command: str, place: Path) -> None:
    found = said(command, root=place)
    assert found.verdict == "ask", found
    assert found.reason


OPENLY_ALLOWED = [
    "ls", "python x", "grep rm f", "echo rm", "git commit -m 'rm x'", "ls > /etc/passwd", "PATH=. ls", "ls $x", "cd /; ls",
    "rmdir x",
    "for f in a; do ls $f; done", "bash -c 'ls; echo $x'", "x=$(ls)", "cat <<'E'\nrm x\nE", "make 2>&1 | tee /tmp/x",
]  # fmt: skip


@pytest.mark.parametrize("command", OPENLY_ALLOWED)
def test_where_all_but_something_is_allowed_the_rest_runs(command: str) -> None:
    assert said(command, OPEN).verdict == "allow"


def test_where_all_but_something_is_allowed_what_may_be_it_is_asked() -> None:
    for command in DENIED:
        if "rm" in command.lower() or "curl" in command:
            assert said(command, OPEN).verdict == "deny", command
    for command in ("$X x", "r$X x", "`a` x", "eval $X", "echo a | sh", "rm${IFS}x", "ls 'a", "find . $X", "xargs -I% % x",
                    "((x=1))", "npx $X", "bash -c $X", "source f", "alias ls=rm; ls", "git -c core.pager=x log",
                    "tar cf a *"):  # fmt: skip
        found = said(command, OPEN)
        assert found.verdict == "ask", command
        assert found.reason


# --- laws ------------------------------------------------------------------------------------------------------------------

_WRAPPERS: list[Callable[[str], str]] = [
    lambda c: f"{c}; ls",
    lambda c: f"ls; {c}",
    lambda c: f"ls && {c}",
    lambda c: f"ls || {c}",
    lambda c: f"ls | {c}",
    lambda c: f"{c} | ls",
    lambda c: f"{c} & ls",
    lambda c: f"ls\n{c}",
    lambda c: f"{c}\nls",
    lambda c: f"( {c} )",
    lambda c: f"{{ {c}\n}}",
    lambda c: f"! {c}",
    lambda c: f"if {c}; then ls; fi",
    lambda c: f"if ls; then {c}; else ls; fi",
    lambda c: f"while ls; do {c}; done",
    lambda c: f"until {c}; do ls; done",
    lambda c: f"for i in 1 2; do {c}; done",
    lambda c: f"case x in x) {c};; esac",
    lambda c: f"f() {{ {c}; }}; f",
    lambda c: f"function f {{ {c}; }}; f",
    lambda c: f"ls $( {c} )",
    lambda c: f'ls "$( {c} )"',
    lambda c: f"ls <( {c} )",
    lambda c: f"x=$( {c} )",
    lambda c: f'ls "${{x:-$( {c} )}}"',
    lambda c: f"[[ $( {c} ) ]]",
    lambda c: f"{{ ls <<E{len(c)}\n$( {c} )\nE{len(c)}\n}}",
    lambda c: f"ls <<< $( {c} )",
    lambda c: f"{c} > /dev/null 2>&1",
    lambda c: f"ls # no\n{c}",
    lambda c: f"ls \\\n; {c}",
    lambda c: f"time ( {c} )",
]
"""Every structure of the shell a command may stand in, so that they can stand in one another."""

_STARTERS: list[Callable[[str], str]] = [
    lambda c: f"env A=1 {c}",
    lambda c: f"sudo {c}",
    lambda c: f"nohup {c}",
    lambda c: f"timeout 5 {c}",
    lambda c: f"nice -n 3 {c}",
    lambda c: f"command {c}",
    lambda c: f"exec {c}",
    lambda c: f"time {c}",
    lambda c: f"xargs {c}",
    lambda c: f"find . -exec {c} \\;",
    lambda c: f"eval {c}" if not set("'\"\\") & set(c) else f"command {c}",
    lambda c: f"bash -c '{c}'" if "'" not in c else f"command {c}",
    lambda c: f'sh -c "{c}"' if not set('"$`\\') & set(c) else f"command {c}",
    lambda c: f"watch {c}" if not set("'\"\\") & set(c) else f"command {c}",
    lambda c: f"\\{c}" if c[:1].isalpha() else f"command {c}",
]
_SIMPLE = ["rm x", "rm -rf /", "/bin/rm x", "'rm' x", "curl x"]


@given(
    st.sampled_from(_SIMPLE),
    st.lists(st.sampled_from(_STARTERS), max_size=3),
    st.lists(st.sampled_from(_WRAPPERS), max_size=4),
    st.sampled_from(["", "", "X=1 ", "A=1 PATH=. ", "> /dev/null ", "2>&1 "]),
)
@settings(max_examples=250, deadline=None)
def test_what_is_denied_stays_denied_in_any_structure(
    simple: str, starters: list[Callable[[str], str]], wrappers: list[Callable[[str], str]], before: str
) -> None:
    command = simple
    for wrap in starters:
        command = wrap(command)
    command = before + command
    for wrap in wrappers:
        command = wrap(command)
    for rules in (NARROW, OPEN):
        found = said(command, rules)
        assert found.verdict == "deny", (command, found)


@given(st.text() | st.text("ab rm$(){}[]<>|&;'\"`\\\n#=*?!~-\t./"))
@settings(max_examples=200, deadline=None)
def test_any_text_gets_a_verdict(text: str) -> None:
    for rules in (NARROW, OPEN, policy(Permissions(allow=("bash(ls:*)",), default="deny"))):
        assert said(text, rules).verdict in ("allow", "ask", "deny")


@given(st.lists(st.sampled_from(_WRAPPERS), max_size=4))
@settings(max_examples=80, deadline=None)
def test_what_is_asked_is_not_allowed_by_its_surroundings(wrappers: list[Callable[[str], str]]) -> None:
    command = "python x"
    for wrap in wrappers:
        command = wrap(command)
    assert said(command).verdict == "ask"


# --- order, layers, defaults ------------------------------------------------------------------------------------------


def test_deny_beats_allow_beats_ask_beats_the_default() -> None:
    all_of_them = Permissions(allow=("bash(ls:*)",), ask=("bash(ls:*)",), deny=("bash(ls -l:*)",), default="deny")
    assert [said(c, policy(all_of_them)).verdict for c in ("ls -l", "ls x", "cat")] == ["deny", "allow", "deny"]
    asked = Permissions(ask=("bash(ls:*)",), default="deny")
    assert [said(c, policy(asked)).verdict for c in ("ls", "cat", "ls; cat")] == ["ask", "deny", "deny"]
    mostly = Permissions(ask=("bash(git push:*)",))
    found = [said(c, policy(mostly)).verdict for c in ("git push", "git -C x push", "ls", "git $X", "ls; git push", "ls 'a")]
    assert found == ["ask", "ask", "allow", "ask", "ask", "ask"]


def test_rules_of_all_layers_count_together() -> None:
    layers = (
        Permissions(allow=("bash(ls:*)", "bash(cat:*)"), ask=("bash",)),
        Permissions(deny=("bash(cat:*)",), default="allow"),
        Permissions(allow=("bash(wc:*)",)),
        Permissions(deny=("bash(ls -a:*)",)),
    )
    rules = policy(*layers)
    found = {c: said(c, rules) for c in ("ls", "cat x", "wc x", "ls -a", "id")}
    assert {c: (j.verdict, j.rule, j.layer) for c, j in found.items()} == {
        "ls": ("allow", "bash(ls:*)", "agent"),
        "cat x": ("deny", "bash(cat:*)", "config"),
        "wc x": ("allow", "bash(wc:*)", "saved"),
        "ls -a": ("deny", "bash(ls -a:*)", "session"),
        "id": ("ask", "bash", "agent"),
    }
    assert Policy([], shell=SHELL).judge(BASH, {"command": "rm x"}).verdict == "allow"
    assert Policy([], shell=SHELL, default="deny").judge(BASH, {"command": "rm x"}).verdict == "deny"


def test_a_verdict_explains_itself_part_by_part() -> None:
    found = said("git status && FOO=1 python x > /tmp/y; rm z")
    assert found.reason == "'rm z': 'bash(rm:*)' denies it"
    shown = [(p.text, p.verdict, p.rule, p.neutral) for p in found.parts]
    assert shown == [
        ("git status", "allow", "bash(git status:*)", False),
        ("FOO=1 python x", "ask", "bash", False),
        ("python x", "ask", "bash", False),
        ("rm z", "deny", "bash(rm:*)", False),
    ]
    assert said("cat src/$X").reason.endswith("does not allow it for sure: what src/$X stands for is not known")
    assert "is not understood for sure: a quote is not closed" in said("ls 'x").reason
    assert "outside the workspace" in said("ls > /tmp/x", root=Path("/nowhere")).reason
    assert "a '*' within a word ends with the word" in said("cat src/a b").reason


def test_a_rule_without_wildcards_that_is_the_whole_command_allows_it() -> None:
    rules = policy(Permissions(allow=("bash(make 2>&1 | tee /tmp/log)", "bash(PATH=. x)"), ask=("bash",)))
    assert said("make 2>&1 | tee /tmp/log", rules).verdict == "allow"
    assert said(" PATH=. x\n", rules).verdict == "allow"
    assert said("make 2>&1 | tee /tmp/log2", rules).verdict == "ask"
    assert said("make", rules).verdict == "ask"


def test_a_rule_that_denies_matches_the_whole_text_as_well() -> None:
    rules = policy(Permissions(deny=("bash(*DROP TABLE*)", "bash(*| sh)")))
    assert said("psql -c 'drop  x; DROP TABLE y'", rules).verdict == "deny"
    assert said("echo ls | sh", rules).verdict == "deny"
    assert said("psql", rules).verdict == "allow"


def test_without_a_parser_no_pattern_allows_a_command() -> None:
    rules = policy(Permissions(allow=("bash(ls:*)", "bash(make)"), deny=("bash(rm:*)",), ask=("bash",)), shell=None)
    found = [said(c, rules).verdict for c in ("ls", "make", "rm x", "ls; rm x")]
    assert found == ["ask", "allow", "deny", "ask"]


def test_a_rule_for_every_command_spares_the_reading() -> None:
    class Unused:
        def parse(self, command: str) -> Any:
            raise AssertionError(command)

    for permissions in (
        Permissions(allow=("bash",)),
        Permissions(),
        Permissions(deny=("bash",)),
        Permissions(ask=("bash",)),
        Permissions(allow=("bash(ls:*)",)),
        Permissions(default="deny"),
        Permissions(allow=("bash(*)",), ask=("bash(x:*)",)),
    ):
        Policy([Layer("agent", permissions)], shell=Unused()).judge(BASH, {"command": "ls 'x"})


# --- other tools -------------------------------------------------------------------------------------------------------


def test_paths_are_judged_where_they_lead(place: Path) -> None:
    rules = policy(
        Permissions(allow=("read(src/**)", "read(out/**)"), deny=("read(**/secret*)", "read(/etc/shadow)"), ask=("read",))
    )
    outside = str(place.parent / "other")
    expected = {
        "src/a.txt": "allow", "./src/a.txt": "allow", "src/./deep/../a.txt": "allow", str(place / "src/a.txt"): "allow",
        "src/../src/a.txt": "allow", "src//a.txt": "allow", "src/new": "allow", "src": "allow",
        "src/../top": "ask", "src/up/x": "ask", "out/passwd": "ask", "/etc/passwd": "ask", outside: "ask", "../src/x": "ask",
        "src/secret.txt": "deny", "SRC/SECRET": "deny", "src/deep/../secret": "deny", str(place / "secret"): "deny",
        "out/shadow": "deny", "/etc/../etc/shadow": "deny", "src/x\0y": "ask",
    }  # fmt: skip
    found = {path: rules.judge(Read(), {"file_path": path}, str(place)).verdict for path in expected}
    assert found == expected
    linked = place.parent / "linked"
    if not linked.exists():
        linked.symlink_to(place)
    assert rules.judge(Read(), {"file_path": "src/a.txt"}, str(linked)).verdict == "allow"
    assert rules.judge(Read(), {"file_path": str(place / "src/a.txt")}, str(linked)).verdict == "allow"


def test_a_link_made_to_a_closed_file_does_not_open_it(place: Path) -> None:
    rules = policy(Permissions(deny=("read(keys/**)", "write(keys/**)")))
    (place / "keys").mkdir(exist_ok=True)
    link = place / "harmless"
    if not link.is_symlink():
        link.symlink_to("keys")
    for path in ("keys/a", "harmless/a", "harmless", "src/../harmless/a"):
        assert rules.judge(Read(), {"file_path": path}, str(place)).verdict == "deny", path
    assert rules.judge(Write(), {"file_path": "harmless/a", "content": ""}, str(place)).verdict == "deny"
    assert said("ls > harmless/a", rules, place).verdict == "deny"
    assert said("ls < harmless/a", rules, place).verdict == "deny"
    assert said("cat keys/a", rules, place).verdict == "allow"  # a rule about a tool is about this tool


def test_paths_by_home_and_absolute(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place.parent))
    rules = policy(Permissions(allow=(f"read({place}/src/*)", "edit(~/*/src/**)"), default="ask"))
    assert rules.judge(Read(), {"file_path": "src/a.txt"}, str(place)).verdict == "allow"
    assert rules.judge(Read(), {"file_path": "src/deep/a.txt"}, str(place)).verdict == "ask"
    edit = {"file_path": "src/deep/a", "old_string": "a", "new_string": "b"}
    assert rules.judge(Edit(), edit, str(place)).verdict == "allow"


def test_what_reaches_below_a_folder_is_judged_by_all_of_it(place: Path) -> None:
    rules = policy(
        Permissions(
            allow=("grep(src/**)", "glob(src/**)", "ls(src/**)"), deny=("grep(src/deep/**)",), ask=("grep", "glob", "ls")
        )
    )

    def grep(path: str) -> str:
        return rules.judge(Grep(), {"pattern": "x", "path": path}, str(place)).verdict

    assert [grep(p) for p in ("src/a.txt", "src/deep", "src/deep/x", "src", ".", "/etc")] == [
        "allow",
        "deny",
        "deny",
        "ask",
        "ask",
        "ask",
    ]

    def glob(pattern: str, path: str = ".") -> str:
        return rules.judge(Glob(), {"pattern": pattern, "path": path}, str(place)).verdict

    assert [glob(p) for p in ("src/*.txt", "src/**/x", "**/*", "{src,etc}/*", "*", "src/../*")] == [
        "allow",
        "allow",
        *["ask"] * 4,
    ]
    assert glob("*.txt", "src") == "allow"
    assert rules.judge(Ls(), {"path": "src/deep"}, str(place)).verdict == "allow"
    assert rules.judge(Ls(), {}, str(place)).verdict == "ask"
    closed = policy(Permissions(deny=("grep(/etc/**)", "glob(a/**)")))
    assert closed.judge(Grep(), {"pattern": "x"}, str(place)).verdict == "allow"
    assert closed.judge(Glob(), {"pattern": "b/*"}, str(place)).verdict == "allow"
    assert closed.judge(Glob(), {"pattern": "*"}, str(place)).verdict == "ask"


def test_addresses_are_judged_in_one_form() -> None:
    rules = policy(
        Permissions(allow=("web_fetch(https://docs.example.org/**)",), deny=("web_fetch(**/admin/**)",), ask=("web_fetch",))
    )

    def fetch(url: str) -> str:
        return rules.judge(WebFetch(), {"url": url}).verdict

    assert [
        fetch(u) for u in ("https://docs.example.org", "HTTPS://DOCS.example.org/a?b=c", "https://docs.example.org:443/a")
    ] == ["allow"] * 3
    others = (
        "http://docs.example.org/a",
        "https://evil.example/https://docs.example.org/",
        "https://docs.example.org:8443/",
        "https://docs.example.org@evil.example/",
        "https://docs.example.org.evil.example/",
        "file:///etc/passwd",
    )
    assert [fetch(u) for u in others] == ["ask"] * 6
    assert [fetch(f"https://docs.example.org/{p}/x") for p in ("ADMIN", "%61dmin", "%41DMIN")] == ["deny"] * 3
    below = policy(Permissions(allow=("web_fetch(https://docs.example.org/a/**)",), ask=("web_fetch",)))
    for path in ("a/../b", "a/%2e%2e/b", "a/%2E./b", "a/..%5Cb", "a/..", "a/b/..%2f..%2fc"):
        assert below.judge(WebFetch(), {"url": f"https://docs.example.org/{path}"}).verdict == "ask", path
        raw = Subject("url", f"https://docs.example.org/{path}")
        assert below.judge_subject("web_fetch", raw).verdict == "ask", path
    assert fetch("https://docs.example.org/a?q=../b") == "allow"


class Pay:
    """A tool without a subject of its own."""

    definition = ToolDefinition("pay", "Pay.", {"type": "object"})
    traits = ToolTraits()

    def validate(self, arguments: dict[str, Any]) -> None: ...
    def locks(self, arguments: dict[str, Any], workspace: Any) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: Any) -> Any: ...


class Odd(Pay):
    definition = ToolDefinition("odd", "Odd.", {"type": "object"})

    def __init__(self, error: Exception) -> None:
        self.error = error

    def subject(self, arguments: dict[str, Any]) -> Subject:
        raise self.error


def test_other_calls_are_judged_by_their_arguments_as_json() -> None:
    rules = policy(
        Permissions(allow=('pay({"amount":1,"to":"Ada"})', 'pay({"amount":2,*)'), deny=("pay(*Mallory*)",), ask=("pay",))
    )

    def pay(**arguments: Any) -> str:
        return rules.judge(Pay(), arguments).verdict

    assert pay(to="Ada", amount=1) == "allow"
    assert pay(to="Bob", amount=2) == "allow"
    assert pay(to="Bob", amount=1) == "ask"
    assert pay(to="mallory", amount=2) == "deny"


@pytest.mark.parametrize("error", [ToolFailed("no such thing"), ValueError("x"), RecursionError()])
def test_a_call_whose_text_cannot_be_told_is_asked(error: Exception) -> None:
    rules = policy(Permissions(allow=("odd(*x)",)))
    found = rules.judge(Odd(error), {})
    if rules.default == "allow":
        assert found.verdict == "ask"
    assert policy(Permissions(allow=("odd",))).judge(Odd(error), {}).verdict == "allow"
    assert policy(Permissions(deny=("odd",))).judge(Odd(error), {}).verdict == "deny"
    assert policy(Permissions(deny=("odd(x)",))).judge(Odd(error), {}).verdict == "ask"


def test_a_parser_that_fails_is_asked() -> None:
    class Broken:
        def parse(self, command: str) -> Any:
            raise RuntimeError("no")

    found = Policy([Layer("agent", Permissions(deny=("bash(rm:*)",)))], shell=Broken()).judge(BASH, {"command": "ls"})
    assert (found.verdict, "no" in found.reason) == ("ask", True)


def test_tools_that_are_never_allowed_are_hidden() -> None:
    rules = policy(
        Permissions(allow=("read(src/**)",), ask=("glob",), deny=("bash", "write(*)", "edit(x)"), default="deny"),
        Permissions(deny=("mcp__x",)),
    )
    names = ("bash", "write", "edit", "read", "glob", "grep", "mcp__x__y", "mcp__y__z")
    assert [n for n in names if rules.hidden(n)] == ["bash", "write", "edit", "grep", "mcp__x__y", "mcp__y__z"]
    assert [n for n in names if policy(Permissions(deny=("mcp__*", "edit(x)"))).hidden(n)] == ["mcp__x__y", "mcp__y__z"]


def test_a_tool_is_judged_by_its_name_where_no_pattern_is_about_it() -> None:
    rules = policy(Permissions(("read", "bash(ls:*)"), ("write",), ("pay", "edit(x)"), default="allow"))
    subjects = {
        "read": Subject("path", "a"),
        "write": Subject("path", "a"),
        "pay": Subject("text", "{}"),
        "edit": Subject("path", "a"),
        "other": Subject("text", "{}"),
    }
    found = {name: rules.judge_subject(name, subject).verdict for name, subject in subjects.items()}
    assert found == {"read": "allow", "write": "ask", "pay": "deny", "edit": "allow", "other": "allow"}
    assert rules.judge_subject("edit", Subject("path", "x")).verdict == "deny"
    assert [rules.hidden(name) for name in ("read", "pay", "edit")] == [False, True, False]


# --- offers ----------------------------------------------------------------------------------------------------------------


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


def test_judging_looks_at_links_but_changes_nothing(place: Path) -> None:
    before = sorted(os.listdir(place))
    for command in ("ls > new", "cd new && ls", "rm x"):
        said(command, root=place)
    assert sorted(os.listdir(place)) == before


def test_only_the_shells_own_blanks_are_left_out_around_a_command() -> None:
    rules = policy(Permissions(allow=("bash(make build)",), ask=("bash",)))
    assert said("\n make build\t\n", rules).verdict == "allow"
    for odd in (
        "\u00a0make build",
        "make build\u2003",
        "\x0bmake build",
        "make build\x85",
        "\ufeffmake build",
        "make build\r",
    ):
        assert said(odd, rules).verdict == "ask", odd


def test_a_program_named_by_its_place_is_another_one_elsewhere(place: Path) -> None:
    rules = policy(Permissions(allow=("bash(./run:*)", "bash(/bin/ls:*)", "bash(ls:*)"), ask=("bash",)))
    expected = {
        "./run x": "allow", "ls; ./run x": "allow", "cd src && ls": "allow", "cd src && /bin/ls": "allow",
        "cd src && ./run x": "ask", "(cd src; ./run)": "ask", "./run; cd src": "ask", "cd $x; ./run": "ask",
    }  # fmt: skip
    assert {command: said(command, rules, place).verdict for command in expected} == expected


def test_a_long_command_is_not_told_in_full() -> None:
    assert len(said("python " + "x" * 5000).reason) < 300
