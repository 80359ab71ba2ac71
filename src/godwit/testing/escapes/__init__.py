"""Ways out of a sandbox, tried from within: the program that `godwit.testing.SandboxConformance` runs as a command.

    python -c "from escapes import main; main()" GROUP FACTS

It prints `{name: what came of it}` as JSON; FACTS is a file: what the outside looks like. An attempt is a function of the
facts. It returns what it got hold of when it came through, and raises when it was held back. There is a module for each kind
of thing that a sandbox promises, with a table at its end that names its attempts in the order in which they are tried, and
`means.py` has what they are made of. The package needs nothing but Python, since it runs where nothing of ours may be there.
Rules: an attempt that comes through does no harm beyond the folders and processes that the facts name.
"""

from __future__ import annotations

import json
import sys

from .files import ATTRIBUTES, KEPT, WRITES
from .hosts import LIMITED
from .means import HELD
from .network import NETWORK
from .processes import PROCESSES
from .secrets import SECRETS

GROUPS = {
    "writes_confined": WRITES,
    "kept": KEPT,
    "attributes_confined": ATTRIBUTES,
    "secrets_hidden": SECRETS,
    "network_off": NETWORK,
    "network_limited": LIMITED,
    "processes_isolated": PROCESSES,
}


def main() -> None:
    group = sys.argv[1]
    with open(sys.argv[2]) as file:
        facts = json.load(file)
    came: dict[str, str] = {}
    for name, attempt in GROUPS[group].items():
        try:
            came[name] = f"ESCAPED: {attempt(facts)!r}"
        except Exception as error:
            came[name] = f"{HELD}{error!r}"
    print(json.dumps(came))
