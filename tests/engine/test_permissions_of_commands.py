"""What the rules say of shell commands: a table, bypasses above all, and the laws that hold for any of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from godwit.core.rules import Permissions
from tests.engine.permission_words import (
    NARROW,
    OPEN,
    a_place,  # noqa: F401 - a fixture
    policy,
    said,
)

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
