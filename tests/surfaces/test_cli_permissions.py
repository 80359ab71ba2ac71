"""`godwit permissions`: verdicts explained part by part, rules saved for a folder and taken back."""

from __future__ import annotations

from pathlib import Path

from godwit.models.script import call
from tests.surfaces.terminal import Command, record


async def test_a_verdict_is_explained_part_by_part_and_is_the_exit_code(command: Command) -> None:
    rules = ("--allow", "bash(git log:*)", "--deny", "bash(rm:*)")
    allowed = await command.run("permissions", "check", "git log --oneline", *rules)
    assert (allowed.code, allowed.out.partition(":")[0]) == (0, "allow")
    denied = await command.run("permissions", "check", "git log && env X=1 rm -rf build", *rules)
    assert (denied.code, denied.out.partition(":")[0]) == (1, "deny")
    assert "bash(rm:*)" in denied.out
    assert "rm -rf build" in denied.out
    asked = await command.run("permissions", "check", "make", *rules, "--json")
    assert asked.code == 3
    [facts] = asked.lines
    assert facts["verdict"] == "ask"
    assert facts["offered"]
    assert not command.database.exists(), "looking leaves nothing behind"


async def test_other_tools_are_judged_by_their_own_texts(command: Command) -> None:
    rule = ("--deny", "write(secret/**)")
    denied = await command.run("permissions", "check", "docs/../secret/key", "--tool", "write", *rule)
    assert (denied.code, denied.out.partition(":")[0]) == (1, "deny")
    half = await command.run("permissions", "check", "--tool", "write", "--args", '{"file_path": "x"}')
    assert (half.code, "content" in half.err) == (2, True)
    whole = '{"file_path": "docs/../secret/key", "content": ""}'
    denied = await command.run("permissions", "check", "--tool", "write", "--args", whole, *rule)
    assert (denied.code, denied.out.partition(":")[0]) == (1, "deny")
    unknown = await command.run("permissions", "check", "x", "--tool", "nope")
    assert (unknown.code, "nope" in unknown.err) == (5, True), unknown.err


async def test_rules_are_saved_listed_and_removed_and_hold_in_runs(command: Command, tmp_path: Path) -> None:
    assert (await command.run("permissions", "deny", "bash(touch:*)")).code == 0
    assert (await command.run("permissions", "allow", "bash(seq:*)")).code == 0
    wrong = await command.run("permissions", "allow", "bash(")
    assert (wrong.code, "bash(" in wrong.err) == (2, True)
    listed = await command.run("permissions", "list", "--json")
    assert [(r["verdict"], r["rule"]) for r in listed.lines] == [("deny", "bash(touch:*)"), ("allow", "bash(seq:*)")]
    assert (await command.run("permissions", "check", "seq 3")).code == 0
    recording = await record(tmp_path / "r.jsonl", [call("bash", command="seq 2"), "Done."])
    ran = await command.run("run", "Go.", "--replay", str(recording))
    assert (ran.code, "Done." in ran.out) == (0, True), "nobody had to be asked"
    checked = await command.run("permissions", "check", "touch x", "--session", "last")
    assert (checked.code, "(saved)" in checked.out) == (1, True)
    assert (await command.run("permissions", "remove", "bash(touch:*)")).code == 0
    again = await command.run("permissions", "remove", "bash(touch:*)")
    assert again.code == 5


async def test_what_is_no_word_for_it_says_so(command: Command) -> None:
    assert (await command.run("permissions", "explain", "x")).code == 2
    assert (await command.run("permissions", "check")).code == 2
    assert (await command.run("permissions", "allow")).code == 2


async def test_files_of_a_person_and_of_a_folder_hold(command: Command, tmp_path: Path) -> None:
    own = tmp_path / "config.toml"
    own.write_text('[permissions]\nallow = ["bash(seq:*)"]\n')
    folder = command.folder / ".godwit"
    folder.mkdir()
    (folder / "config.toml").write_text('[permissions]\nallow = ["bash"]\ndeny = ["bash(touch:*)"]\n')
    env = {"GODWIT_CONFIG": str(own)}
    listed = await command.run("permissions", "list", **env)
    assert "deny  project bash(touch:*)" in listed.out
    assert "allow config  bash(seq:*)" in listed.out
    assert "config.toml:2: allow 'bash' is not used" in listed.out
    assert (await command.run("permissions", "check", "seq 3", **env)).code == 0
    assert (await command.run("permissions", "check", "touch x", **env)).code == 1
    recording = await record(tmp_path / "r.jsonl", [call("bash", command="seq 2"), "Done."])
    ran = await command.run("run", "Go.", "--replay", str(recording), **env)
    assert (ran.code, "is not used" in ran.out + ran.err) == (0, True), ran.err
    own.write_text('[permissions]\nallow = ["bash("]\n')
    wrong = await command.run("permissions", "check", "seq 3", **env)
    assert (wrong.code, "config.toml:2: " in wrong.err) == (2, True), wrong.err


async def test_a_stored_agent_can_be_asked_about(command: Command, tmp_path: Path) -> None:
    recording = await record(tmp_path / "r.jsonl", ["Done."])
    assert (await command.run("run", "Go.", "--replay", str(recording), "--deny", "bash(ls:*)")).code == 0
    assert (await command.run("permissions", "check", "ls", "--agent", "coder")).code == 1
    assert (await command.run("permissions", "check", "ls", "--agent", "nobody")).code == 5


async def test_a_rule_of_an_unknown_tool_is_doubted(command: Command) -> None:
    wrong = await command.run("permissions", "deny", "bsah(rm:*)")
    assert (wrong.code, "did you mean 'bash'?" in wrong.err) == (0, True)
    for rule in ("bash(rm:*)", "mcp__x", "*"):
        assert (await command.run("permissions", "deny", rule)).err == ""


async def test_where_commands_are_looked_for_is_asked(command: Command) -> None:
    asked = (".git/hooks/pre-commit", "sub/.git/config", ".godwit/config.toml")
    for path, code in (("src/a", 0), (".gitignore", 0), *((path, 3) for path in asked)):
        assert (await command.run("permissions", "check", path, "--tool", "write")).code == code, path
    assert (await command.run("permissions", "check", ".git/config", "--tool", "write", "--allow", "write")).code == 0
