"""How packages are named, and what their managers are given."""

from __future__ import annotations

import pytest

from godwit.core.errors import ConfigurationError
from godwit.core.narrowing import narrowed
from godwit.core.packages import MANAGERS, REGISTRIES, by_manager, package, registries
from godwit.core.sandbox import SandboxPolicy, combined, only_stricter
from godwit.host.agents import Agent


@pytest.mark.parametrize(
    ("text", "manager", "spec"),
    [
        ("pip:pandas==2.2.0", "pip", "pandas==2.2.0"),
        ("pip:requests[socks]>=2,<3", "pip", "requests[socks]>=2,<3"),
        ("npm:express@4.18.0", "npm", "express@4.18.0"),
        ("npm:@types/node@^20", "npm", "@types/node@^20"),
        ("cargo:ripgrep@14.0.0", "cargo", "ripgrep@14.0.0"),
        ("gem:rails:7.1.0", "gem", "rails:7.1.0"),
        ("go:golang.org/x/tools/cmd/goimports@latest", "go", "golang.org/x/tools/cmd/goimports@latest"),
        ("apt:ffmpeg=7:5.1", "apt", "ffmpeg=7:5.1"),
    ],
)
def test_what_a_package_is(text: str, manager: str, spec: str) -> None:
    assert package(text) == (manager, spec)
    assert SandboxPolicy(packages=(text,)).packages == (text,)


@pytest.mark.parametrize(
    "text",
    [
        "pandas", "conda:pandas", "pip:", "pip:-r/etc/passwd", "pip:--index-url=http://x", "pip:./here", "pip:/etc",
        "pip:../up",
        "pip:a @ https://evil.example/a.whl", "npm:file:../x", "npm:git+ssh://x", "npm:github:a/b", "pip:a\nb", "pip:a\0b",
        "npm:a/../../b", "go:./cmd", "pip:" + "a" * 400,
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no package of a registry|does not begin with a manager"):
        SandboxPolicy(packages=(text,))


def test_managers_run_in_their_order() -> None:
    given = ("pip:b", "npm:x", "apt:y", "pip:a", "pip:b")
    assert by_manager(given) == {"apt": ("y",), "npm": ("x",), "pip": ("b", "a")}
    assert list(by_manager(given)) == ["apt", "npm", "pip"]
    assert set(REGISTRIES) == set(MANAGERS)
    assert registries(["pip"]) == ("pypi.org", "files.pythonhosted.org")
    assert set(registries(["npm"])) < set(registries())
    SandboxPolicy(allowed_hosts=registries())


def test_who_may_ask_for_packages() -> None:
    """A folder's own file may not, a person may beside the agent, and an agent that works for another has that one's."""
    asked = SandboxPolicy(packages=("pip:a",))
    assert only_stricter(asked) == (SandboxPolicy(), ("packages",))
    assert combined(asked, SandboxPolicy(packages=("npm:b",))).packages == ("pip:a", "npm:b")
    parent = Agent("parent", model="m", sandbox=SandboxPolicy(packages=("npm:b",))).spec
    child = Agent("child", model="m", sandbox=asked).spec
    assert narrowed(child, parent, home="/home/u").sandbox.packages == ("npm:b",)
