"""The shell parser: which commands a text would run, with which words. Where it can be, real bash is the measure."""

from __future__ import annotations

import random
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from tests.patience import PATIENCE_S

from godwit.contracts import ShellCommand, ShellParser, ShellPart
from godwit.workspaces.shell import MAX_COMMAND, Shell

SHELL: ShellParser = Shell()
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="there is no bash here")


def texts(command: str, *, guesses: bool = False) -> list[str]:
    """The parts of a command that has to be understood."""
    parsed = SHELL.parse(command)
    assert parsed.problem is None, (command, parsed.problem)
    return [part.text for part in parsed.parts if guesses or part.text]


# --- structure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("ls", ["ls"]),
        ("a && b || c; d", ["a", "b", "c", "d"]),
        ("a\nb\n\nc", ["a", "b", "c"]),
        ("a | b |& c", ["a", "b", "c"]),
        ("a & b &", ["a", "b"]),
        ("(a; b)", ["a", "b"]),
        ("{ a; b; }", ["a", "b"]),
        ("! a", ["a"]),
        ("a # b\nc", ["a", "c"]),
        ("a $(b $(c))", ["a $(b $(c))", "b $(c)", "c"]),
        ("a `b \\`c\\``", ["a `b \\`c\\``", "b `c`", "c"]),
        ('a "x $(b) `c`"', ['a "x $(b) `c`"', "b", "c"]),
        ("a <(b) >(c)", ["a <(b) >(c)", "b", "c"]),
        ("a ${x:-$(b)}", ["a ${x:-$(b)}", "b"]),
        ('a "${x:-$(b)}"', ['a "${x:-$(b)}"', "b"]),
        ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
        ("while a; do b; done", ["a", "b"]),
        ("until a; do b; done", ["a", "b"]),
        ("for i in x $(a); do b $i; done", ["a", "b $i"]),
        ("for i\ndo b; done", ["b"]),
        ("select i in x; do b; done", ["b"]),
        ("case $(a) in x|y) b ;; (z) c ;; *) d; esac", ["a", "b", "c", "d"]),
        ("f() { a; }; f", ["a", "f"]),
        ("f () (a)", ["a"]),
        ("function f { a; }", ["a"]),
        ("function f() { a; }", ["a"]),
        ("[[ $(a) == $(b) ]] && c", ["a", "b", "c"]),
        ("[[ $x =~ ^(a|b)$ && -f y ]] && c", ["c"]),
        ("((1 + 2)) && a", ["a"]),
        ("x=(1 $(a) 2)", ["a"]),
        ("x=$(a)", ["a"]),
        ("cat <<E\n$(a) `b`\nE\nc", ["cat", "a", "b", "c"]),
        ("cat <<'E'\n$(a)\nE\nc", ["cat", "c"]),
        ("cat <<\\E\n$(a)\nE\nc", ["cat", "c"]),
        ("cat <<-E\n\ta\n\tE\nc", ["cat", "c"]),
        ("cat <<E | a\nx\nE\nb", ["cat", "a", "b"]),
        ("cat <<< $(a)", ["cat", "a"]),
        ("a \\\n  b", ["a b"]),
        ("a \\\n&& b", ["a", "b"]),
        ("a >f 2>&1 <g", ["a"]),
        ("2>f a", ["a"]),
        (">&-a b", ["a b"]),
        ("time { a; }; b", None),
        ('git commit -m "$(cat <<\'E\'\nit\'s\nE\n)"', ['git commit -m "$(cat <<\'E\'\nit\'s\nE\n)"', "cat"]),
        ("", []),
        ("# nothing", []),
    ],
)  # fmt: skip
def test_a_command_falls_into_its_simple_commands(command: str, parts: list[str] | None) -> None:
    if parts is None:  # read by one of the two readers only: it has to be asked, and nothing is lost
        parsed = SHELL.parse(command)
        assert parsed.problem
        assert {"a", "b"} <= {part.text for part in parsed.parts}
    else:
        assert texts(command) == parts


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("r''m", ["rm"]),
        ('r"m"', ["rm"]),
        ("\\r\\m", ["rm"]),
        ("$'rm'", ["rm"]),
        ("$'\\x72\\155' $'\\u0061'", ["rm", "a"]),
        ('$"rm"', ["rm"]),
        ("r\\\nm", ["rm"]),
        ("{rm,-rf,x}", None),
        ("a b\tc", ["a", "b", "c"]),
        ("a 'b c' ''", ["a", "b c", ""]),
        ('a "b\\$c\\"d\\e"', ["a", 'b$c"d\\e']),
        ("a b'c'\"d\"e", ["a", "bcde"]),
        ("a x{1,2}y", ["a", "x1y", "x2y"]),
        ("a {b,c{d,e}}f", ["a", "bf", "cdf", "cef"]),
        ("a {b} {} {,c}", ["a", "{b}", "{}", "c"]),
        ("a '{b,c}'", ["a", "{b,c}"]),
        ("a [ ] [[ ]]", ["a", "[", "]", "[[", "]]"]),
        ("a \\* '?'", ["a", "*", "?"]),
        ("a $ '$x'", ["a", "$", "$x"]),
        ("ä 'ö\u00a0'", ["ä", "ö\u00a0"]),
    ],
)
def test_words_are_what_bash_passes_on(command: str, words: list[str] | None) -> None:
    parsed = SHELL.parse(command)
    first = parsed.parts[0]
    if words is None:
        assert parsed.problem
        assert first.words == ("rm", "-rf", "x")
        return
    assert parsed.problem is None
    assert list(first.words) == words
    assert first.exact


@pytest.mark.parametrize(
    ("command", "loose"),
    [
        ("$X a", (0,)),
        ("${X}m a", (0,)),
        ("a $X 'b' \"$Y\" c$Z", (1, 3, 4)),
        ("a *.py b? [cd]", (1, 2, 3)),
        ("a {1..3}", (1,)),
        ("a $((1+1)) `b` $(c) <(d)", (1, 2, 3, 4)),
        ("a ~/x", ()),
    ],
)
def test_what_is_not_known_is_said_to_be(command: str, loose: tuple[int, ...]) -> None:
    part = SHELL.parse(command).parts[0]
    assert part.loose == loose
    assert part.exact is (not loose)


def test_a_text_of_words_tells_them_apart() -> None:
    assert texts("git 'commit -m' x") == ["git 'commit -m' x"]
    assert texts("git commit '-m x'") == ["git commit '-m x'"]
    assert texts("a '' b") == ["a '' b"]
    assert texts('a "it\'s"') == ["a 'it'\\''s'"]


def test_redirections_are_named() -> None:
    def files(command: str) -> list[tuple[tuple[str | None, ...], tuple[str | None, ...]]]:
        return [(part.writes, part.reads) for part in SHELL.parse(command).parts if part.writes or part.reads]

    assert files("a > x >> 'y z' 2>e <i &>>p >|q") == [(("x", "y z", "e", "p", "q"), ("i",))]
    assert files("a &>o") == [(("o",), ())]
    assert files("a > $X < $(b)") == [((None,), (None,))]
    assert files("a > *.c") == [((None,), ())]
    assert files("a 2>&1 >&2 <&- 3>&4-") == []
    assert files("a >& x") == [(("x",), ())]
    assert files("> x") == [(("x",), ())]
    assert files("{ a; b; } > x") == [(("x",), ())]
    assert files("while read l; do a; done < i") == [((), ("i",))]
    assert files("a | tee -a x") == [(("x",), ())]
    assert files("exec 3> x") == [(("x",), ())]


# --- what cannot be understood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "a 'b", 'a "b', "a `b", "a $(b", "a ${b", "(a", "{ a;", "a)", "if a; then b", "a && ", "a | | b", "a; ; b", "a\\",
        "a\0b", "a\rb", "a\r\nb", "a\x0bb", "a\x0cb", "a\x1bb", "a\x7fb", "a\ud800b",
        "a\u00a0b", "a\u2003b", "a\u200bb", "a\u202eb", "a\u0085b", "a\ufeffb", "voilà",
        "a <<E\nx", "a <<E", "a <<$E\nx\n$E", "a <<`E`\n`E`", "a <<E\nx\\\nE\n", "$(a <<E)\nE",
        "a !(b)", "a @(b|c)", "a b(c)", "a[1]=2", "a[$(b)]=2", "x=([1]=2)", "{fd}>x a", "a {fd}>x",
        "coproc a", "((x=1))", "echo $((x))", "echo $[1+1]", "for ((i=0;i<3;i++)); do a; done", "echo ${x[y]}",
        "echo ${x:y}", "echo ${!x}", "echo ${x@P}", "echo ${x:=y}", "[[ $x -eq 1 ]]", "[[ 1 -lt y ]]", "[[ -v a[1] ]]",
        "rm${IFS}x", "rm$IFS-rf", "a > /dev/tcp/h/80", "cat < /dev/udp/h/1",
        "a $\\\n(b)", "a &\\\n& b", "a <\\\n(b)", "PA\\\nTH=. a", "X=1 if a", "> x if a", "a \"${x#'}'}\"",
        "a $'\\cA'", "a $'\\x{41}'", "a $'\\xff'", "a $'b\\0c'", "]]", "}", "then", "$((a) | b)",
        "$(" * 60 + "a" + ")" * 60, "(" * 60 + "a" + ")" * 60, "a;" * 500, "x" * (MAX_COMMAND + 1),
    ],
)  # fmt: skip
def test_what_is_not_understood_for_sure_is_a_problem(command: str) -> None:
    assert SHELL.parse(command).problem


def test_what_was_found_before_a_problem_is_kept() -> None:
    for command in (
        "rm x; a\\",
        "a\\\n(rm x)",
        "((x=1)); rm x",
        "rm x; a !(b)",
        "coproc rm x",
        "for ((;;i)); do rm x; done",
    ):
        parsed = SHELL.parse(command)
        assert parsed.problem, command
        assert "rm x" in [part.text for part in parsed.parts], command


# --- programs that run others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "env rm x", "env -i rm x", "env -u A rm x", "env A=1 rm x", "env - rm x", "/usr/bin/env rm x", "env -S 'rm x'",
        "env --split-string='rm x'", "sudo rm x", "sudo -u root rm x", "sudo -E A=1 rm x", "doas rm x", "nohup rm x",
        "setsid -w rm x", "time rm x", "time -p rm x", "command time rm x", "nice rm x", "nice -n 5 rm x", "nice -5 rm x",
        "ionice -c 3 rm x", "timeout 5 rm x", "timeout -s KILL 5s rm x", "timeout -k 1 --foreground 5 rm x",
        "stdbuf -oL rm x",
        "command rm x", "command -p rm x", "builtin rm x", "exec rm x", "exec -a b rm x", "eval rm x", "eval 'rm x'",
        "eval -- 'rm x'", "bash -c 'rm x'", "sh -c 'rm x'", "/bin/sh -c 'rm x'", "bash -ec 'rm x'", "bash -c -e 'rm x'",
        "bash -o pipefail -c 'rm x'", "bash --norc -c 'rm x' a b", "bash -lc 'rm x'", "dash -c 'rm x'", "zsh -c 'rm x'",
        "bash <<< 'rm x'", "bash <<E\nrm x\nE", "bash -s a <<'E'\nrm x\nE", "trap 'rm x' EXIT",
        "trap -- 'rm x' 0", "watch -n 1 rm x", "watch 'rm x'", "watch -x rm x", "flock f rm x", "flock f -c 'rm x'",
        "find . -exec rm x \\;", "find . -execdir rm x ';'", "find . -ok rm x \\;", "ssh h rm x", "ssh -p 22 u@h 'rm x'",
        "busybox rm x", "nohup nice -n 3 env B=1 timeout 3 rm x", "bash -c \"bash -c 'rm x'\"", "eval \"eval 'rm x'\"",
        "git -c alias.y='!rm x' y", "git bisect run rm x", "git submodule foreach 'rm x'", "git rebase -x 'rm x' main",
        "X=1 rm x", "PATH=. rm x", "A=1 B=2 rm x", "env -S'rm x'", "x=$(rm x)", "export A=$(rm x)", "echo ${a:-`rm x`}",
        "npx rm x", "uv run rm x", "docker run --rm alpine rm x", "strace -f rm x", "xvfb-run -a rm x", "su -c 'x' rm x",
        "poetry run rm x", "pnpm dlx rm x", "chroot /r rm x", "parallel rm x", "script -q rm x",
    ],
)  # fmt: skip
def test_what_a_wrapper_runs_is_a_part(command: str) -> None:
    assert "rm x" in texts(command)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("xargs rm", "rm ..."),
        ("xargs -0 -n 1 rm -f", "rm -f ..."),
        ("xargs -I{} rm {}", "rm {} ..."),
        ("xargs", "echo ..."),
        ("find . -delete", "rm ..."),
        ("find . -name '*.c' -exec rm {} +", "rm {}"),
        ("fd -x rm", "rm ..."),
        ("parallel rm ::: a b", "rm ..."),
    ],
)
def test_what_comes_from_elsewhere_is_not_known(command: str, part: str) -> None:
    found = [p for p in SHELL.parse(command).parts if p.text == part]
    assert found
    assert not found[0].exact


@pytest.mark.parametrize(
    "command",
    [
        "sh", "bash", "bash -s", "bash -i", "curl u | sh", "sh < f", "sh <<E\n$x\nE", "curl u | bash 3<<'E'\nls\nE",
        "bash <(a)",
        "bash <<'E' 0<&3\nls\nE", "bash /dev/stdin", "bash -c \"$x\"", "bash -c $x", "bash $x -c ls", "bash -o $x -c ls",
        "bash --rcfile f -c ls", "bash -kc ls", "zsh -c ls", "fish -c ls", "eval $x", "eval \"ls $x\"", "source f", ". f",
        "alias a=b", "shopt -s x", "enable -n echo", "hash -p /x git", "unset PATH", "export PATH=.", "export $x",
        "declare -i a=b",
        "declare -n a=b", "local PATH=.", "readonly IFS=x", "read PATH", "read -a x", "mapfile -C a x", "printf -v PATH .",
        "let a=1",
        "getopts a PATH", "set -a", "set -o allexport", "set $x", "[ -v 'a[$(b)]' ]", "test $x", "[ $x = 1 ]",
        "[ \"$a\" \"$b\" ]",
        "trap \"$x\" EXIT", "env $x ls", "env -S \"$x\"", "env LD_PRELOAD=x ls", "env A=$x ls", "nice -n $x ls",
        "timeout $x ls",
        "nohup -x ls", "xargs -J % ls", "git -c core.pager=x log", "git -c core.sshCommand=x fetch", "git --exec-path=. x",
        "git -c alias.a='!b' a", "git -C $x log", "git --git-dir=x log", "git $x", "git config core.pager x",
        "git clone -u x y",
        "git clone -c a=b y", "git clone 'ext::sh -c x'", "git fetch --upload-pack=x o", "git fetch --upload-p x o",
        "git push --receive-pack=x o", "git grep -O x", "git grep --open x", "git diff --ext-diff", "git log --output=x",
        "git difftool", "git rebase -i", "git archive --remote=x", "git bisect run a", "git filter-branch x", "git diff $x",
        "tar --checkpoint-action=exec=x", "tar --checkpoint-act=exec=x", "tar -cIx f", "tar cIf x", "tar --to-command=x",
        "tar -F x",
        "tar cf a.tar *", "tar $x", "sed e", "sed 's/[/x/;s/i/]/;s/e#/z/p;p' f", "sed '/[/x/;/i]/s/e#/z/p' f",
        "sed \"s/a/b/;w x\" f",
        "make SHELL=x", "make -f x", "make --eval=x", "tar cf a -T l", "bash -ic ls", "cargo tree --config x=y",
        "hg --config a=b st",
        "pandoc -F x f", "dc -e '!x'", "gpg --exec-path=x", "cpio --rsh-command=x", "sed 's/a/b/e'", "sed 'w f'",
        "sed 's/a/b/w f'", "sed -f f", "sed -n \"$x\"",
        "sed --expression=e", "awk 'BEGIN{system(\"a\")}'", "awk '{print | \"a\"}'", "awk '{print > \"f\"}'",
        "awk '\"a\" | getline'",
        "awk -f f", "awk \"$x\"", "awk '@load \"a\"'", "vim -c '!a'", "vi f", "ex f", "less +'!a' f", "less -k f",
        "man -P x y",
        "man --pager=x y", "more +'!a' f", "ssh -o ProxyCommand=x h", "ssh -oProxyCommand=x h", "ssh -F f h",
        "ssh -vo A=b h",
        "scp -S x a h:b", "scp -o A=b a h:b", "rsync -e x a b", "rsync -ave x a b", "rsync --rsh=x a b", "rsync --rs x a b",
        "rg --pre x y", "rg --pre=x y", "sort --compress-program=x f", "sort --compress x f", "sort -o f g",
        "file -C -m f", "file --comp f",
        "split --filter=x f",
        "zip -T a b", "zip -TT x a b", "find . $x", "find $x -name a", "find . -exec", "fd -x$y", "m4 'syscmd(a)'",
        "gdb -ex a",
        "sqlite3 d '.shell a'", "psql -c '\\! a'", "mail -s x y", "wget -e a=b u", "wget --use-askpass=x u", "curl -K f",
        "go vet -vettool=x", "go build -toolexec x", "go test -exec=x", "nc -e x h 1", "socat a b", "parallel a", "git -c x",
        "date -s x", "ctags --options=f", "man \"$x\"", "rg $x", "wait -p x", "xargs sh", "xargs -I% sh -c %", "env -u $x a",
    ],
)  # fmt: skip
def test_what_does_more_than_its_words_say_is_marked(command: str) -> None:
    parsed = SHELL.parse(command)
    assert parsed.problem or any(part.caution and not part.neutral for part in parsed.parts), parsed


@pytest.mark.parametrize(
    "command",
    [
        "git status", "git commit -m x", "git push -u origin main", "git -C sub log", "git -c user.name=x commit",
        "git log -p f",
        "git config --get user.name", "git config user.name", "git fetch origin", "git clone https://h/x", "git diff --stat",
        "git commit -m \"$(cat f)\"", "git add *.py", "git --no-pager diff", "tar -xzf a.tgz -C d", "tar cf a.tar d",
        "sed -n 1,5p f",
        "sed -i 's/a/b/g' f", "sed 's|/a|/b|; 5d' f", "sed -e p -e d f", "awk '{print $1}' f", "awk -F : '{print $2}' f",
        "find . -name '*.py' -type f", "find src tests -newer x", "rsync -av a b", "ssh h", "less f", "rg -n 'a b' src",
        "sort -u f", "file -b f",
        "env", "grep -rn x .", "bash s.sh", "python -c 'x'", "make -j4", "cargo build", "xargs -0 ls", "fd x", "zip a b",
        "[ \"$a\" = b ]", "[ $? -eq 0 ]", "[ -n \"$x\" ]", "test -f x", "[ \"$x\" ]", "printf '%s\\n' \"$x\"", "read -r a b",
        "set -euo pipefail", "set +e", "export RUST_LOG=1", "unset x", "trap - EXIT", "command -v git", "cd x",
        "LC_ALL=C sort f",
        "IFS= read -r l", "x=$(a)", "for i in 1 2; do a; done", "curl -sS u", "wget -q u", "man ls", "rg -v x",
    ],
)  # fmt: skip
def test_what_does_what_it_says_is_not_marked(command: str) -> None:
    parsed = SHELL.parse(command)
    assert parsed.problem is None
    assert [part for part in parsed.parts if part.caution] == []


@pytest.mark.parametrize(
    ("command", "needing"),
    [
        ("echo a; printf b; true; false; :; pwd; exit 1", []),
        ("[ -f x ] && cargo test || exit 1", ["cargo test"]),
        ("set -e; cargo test; echo $?", ["cargo test"]),
        ("env RUST_LOG=1 nice timeout 5 cargo test", ["cargo test"]),
        ("RUST_BACKTRACE=1 cargo test", ["cargo test"]),
        ("time cargo test", ["cargo test"]),
        ("bash -c 'cargo test && echo done'", ["cargo test"]),
        ("for i in 1 2; do cargo test; done", ["cargo test"]),
        ("while read -r l; do cargo test $l; done < f", ["cargo test $l"]),
        ('out=$(cargo test); echo "$out"', ["cargo test"]),
        ("FOO=1 cargo test", ["FOO=1 cargo test"]),
        ("PATH=. git status", ["PATH=. git status"]),
        ("PATH=.; git status", ["PATH=.", "git status"]),
        ("for PATH in .; do git status; done", ["PATH=...", "git status"]),
        ("env FOO=1 cargo test", ["env FOO=1 cargo test", "cargo test"]),
        ("sudo ls", ["sudo ls", "ls"]),
        ("/bin/echo a", ["/bin/echo a"]),
        ("./env ls", ["./env ls", "ls"]),
        ("./bash -c ls", ["./bash -c ls", "ls"]),
        ("cat f | xargs -n1 cargo test", ["cat f", "cargo test ..."]),
        ("npx rm x", ["npx rm x"]),
        ("echo x > f", []),
    ],
)
def test_what_needs_a_rule(command: str, needing: list[str]) -> None:
    assert [part.text for part in SHELL.parse(command).parts if not part.neutral] == needing


# --- against the real one -----------------------------------------------------------------------------------------------

_TOKENS = [
    "a", "b", "rm x", "git status", "echo ", " ", " ", " ", ";", ";", "&&", "||", "|", "&", "\n", "\\\n", "'", '"', "$(",
    ")", "`", "(", "{ ", "; }", "{", "}", "$", "#", "\t", "<<E", "\nE\n", "<<<", ">f", "<f", "2>&1", "if ", "; then ",
    "; fi", "for i in ", "; do ", "; done", "case x in ", "x)", ";;", " esac", "[[ ", " ]]", "((", "))", "$((", "${x:-",
    "X=1 ", "! ", "time ", "f() ", "function f ", "*", "?", "\\", "$'", "\\n", "{a,b}", "coproc ", "eval ", "while ", "<(",
    ">(", "&>", "|&", "<<-E", "<<'E'", '"$(rm x)"', "`rm y`", "x=", "1", "-x", "==", "$x", "${x}", "$1", '$"', '\\"', "\\'",
    "\\`", "else ", "in ", "+=", "[", "]", "@", ">|", ">&", "<&", "-", ",", "..", "${x#", "\\$", "env A=1 ", "bash -c '",
    "command ", "exec ",
]  # fmt: skip
_LOGGING = (
    'command_not_found_handle() { local z n; printf -v z "%s\\1" "$@"; n="$LOGS/$BASHPID.$SRANDOM$RANDOM"; '
    'printf "%s" "$z" > "$n"; printf . > "$n.ok"; return 1; }\n'
)


def really_run(command: str, folder: Path) -> set[tuple[str, ...]]:
    """What bash runs for this text, as words: nothing is found, and what is not found is written down."""
    logs, place = folder / "logs", folder / "place"
    for path in (logs, place):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    (place / "f").write_text("q\n")
    environment = {"PATH": "/nonexistent", "HOME": "/home/x", "LOGS": str(logs), "LC_ALL": "C.UTF-8"}
    assert BASH
    process = subprocess.Popen(
        [BASH, "-c", _LOGGING + command],
        env=environment,
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        # Ended when the last process that holds the pipe has, also one in the background.
        process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        subprocess.run(["kill", "-9", f"-{process.pid}"], check=False)
        process.communicate()
    return {
        tuple(word.decode("utf-8", "surrogateescape") for word in path.with_suffix("").read_bytes().split(b"\1")[:-1])
        for path in logs.glob("*.ok")
    }


def stands_for(part: ShellPart, words: tuple[str, ...]) -> bool:
    """Whether the part may have been run as these words; a loose word may have become any number of them."""

    @cache
    def match(i: int, j: int) -> bool:
        if i == len(part.words):
            return j == len(words)
        if i in part.loose:
            return any(match(i + 1, k) for k in range(j, len(words) + 1))
        return j < len(words) and part.words[i] == words[j] and match(i + 1, j + 1)

    return match(0, 0)


def check_against_bash(seed: int, count: int, folder: Path) -> int:
    """Nothing that bash runs may be missing among the parts of a text that is said to be understood."""
    chance = random.Random(seed)
    compared = 0
    for _ in range(count):
        command = "".join(chance.choice(_TOKENS) for _ in range(chance.randint(1, 16)))
        parsed = SHELL.parse(command)
        if parsed.problem or any(part.caution or 0 in part.loose for part in parsed.parts):
            continue  # it is asked, whatever it runs
        for words in really_run(command, folder):
            compared += 1
            assert any(stands_for(part, words) for part in parsed.parts), (command, words, parsed.parts)
    return compared


@needs_bash
def test_nothing_that_bash_runs_is_overlooked(tmp_path: Path) -> None:
    assert check_against_bash(1, 600, tmp_path) > 10


@pytest.mark.slow
@needs_bash
@pytest.mark.parametrize("seed", range(100, 104))
def test_nothing_that_bash_runs_is_overlooked_often(seed: int, tmp_path: Path) -> None:
    assert check_against_bash(seed, 8000, tmp_path) > 200


@needs_bash
@pytest.mark.parametrize("seed", range(3))
def test_words_equal_those_of_bash(seed: int) -> None:
    """Single words of every kind of quoting, as bash passes them on."""
    chance = random.Random(seed)
    pieces = [
        "a",
        "-b",
        "c d",
        "'",
        '"',
        "\\",
        "$",
        "$'",
        '$"',
        "{",
        ",",
        "}",
        "\\n",
        "#",
        "=",
        "/",
        "!",
        "%",
        "^",
        ".",
        "{x,y}",
        "ä",
        "\n",
    ]
    assert BASH
    compared = 0
    for _ in range(400):
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 7)))
        parsed = SHELL.parse(f"printf '%s\\1' x {text}")
        if parsed.problem or len(parsed.parts) != 1 or not parsed.parts[0].exact or compared > 40:
            continue
        run = subprocess.run(
            [BASH, "-c", f"printf '%s\\1' x {text}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, timeout=30
        )
        assert run.stdout.decode().split("\1")[:-1] == list(parsed.parts[0].words[2:]), text
        compared += 1
    assert compared > 20


# --- whatever comes -------------------------------------------------------------------------------------------------------


@given(st.text() | st.text("ab $(){}[]<>|&;'\"`\\\n#=*?!~-\t"))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_a_problem(text: str) -> None:
    found = SHELL.parse(text)
    assert isinstance(found, ShellCommand)
    assert found == SHELL.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 1000, "{a," * 700, "(" * 1000, "$(" * 1000, "`" * 1000, "'\"" * 1000, "\\" * 1001, "<<E " * 300,
        "${x:-" * 700, "a " * 5000, "a|" * 2000, "[[ " * 1000, "$((" * 700, "if " * 1000, "case x in " * 700, "{a,b}" * 60,
        "npx " * 1000, "env -Z " * 500, "bash -c '" * 300, "x=" * 3000, "a\\\n" * 1000, "<(" * 500,
        "sed '" + "s/a/b/;" * 500 + "' f", "find . " + "-exec a \\; " * 300, "git -c a=b " * 500,
    ],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    """Reading that tried every way would not end here."""
    SHELL.parse(text)
    SHELL.parse(f"bash -c {text!r}")
