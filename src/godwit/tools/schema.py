"""JSON schemas as godwit uses them: made plain for providers, and checked for tools that have no body.

`inlined` rewrites what pydantic and msgspec generate: no `$ref` but for types that contain themselves, no titles.
`Schema` checks a value against a schema. It knows the keywords that schemas of tools use (type, enum, const, properties,
required, additionalProperties, items, prefixItems, contains, the limits, pattern, anyOf, oneOf, allOf, not, if, dependent*,
propertyNames, local $ref) and passes over others, as the standard asks, or refuses those that ask for what is not checked.
Not a general validator: no remote references, no formats, no dynamic anchors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..core.errors import ConfigurationError, InvalidToolArguments

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NUMBERS: Final = (
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"),
)
"""Keywords whose value is a number."""
_TYPE_NAMES: Final[dict[type, str]] = {dict: "an object", list: "a list"}
T = TypeVar("T")
_NAMED = {"properties", "$defs", "definitions", "patternProperties"}
"""Keywords whose value maps names to schemas: a property called `title` is no title."""
_LITERAL = {"default", "enum", "const", "examples", "example"}
"""Keywords whose value is data and not a schema."""
_UNKNOWN = ("unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef")
"""Keywords that ask for something, and are passed over."""


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every definition put where it is used; definitions that contain themselves stay in `$defs`."""
    definitions: dict[str, Any] = schema.get("$defs", {})
    recursive = {name for name in definitions if _reaches(name, name, definitions)}
    kept: dict[str, Any] = {}

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(ref := node.get("$ref"), str):
            name = ref.rpartition("/")[2]
            rest = {key: value for key, value in node.items() if key != "$ref"}
            if name in recursive:
                if name not in kept:
                    kept[name] = {}  # stands there before its body is made, which refers to it again
                    kept[name] = plain(definitions[name])
                return {"$ref": f"#/$defs/{name}", **plain(rest)}
            return {**plain(definitions.get(name, {})), **plain(rest)}
        result: dict[str, Any] = {}
        for key, value in node.items():
            if key in ("title", "$defs", "discriminator"):
                continue
            if key in _LITERAL:
                result[key] = value
            elif key in _NAMED and isinstance(value, dict):
                result[key] = {name: plain(inner) for name, inner in value.items()}
            else:
                result[key] = plain(value)
        return result

    top = schema
    while isinstance(ref := top.get("$ref"), str):
        top = definitions[ref.rpartition("/")[2]]
    result: dict[str, Any] = plain(top)
    if kept:
        result["$defs"] = kept
    return result


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*(_references(item) for item in node))
    if not isinstance(node, dict):
        return set()
    found = {node["$ref"].rpartition("/")[2]} if isinstance(node.get("$ref"), str) else set()
    return found.union(*(_references(value) for key, value in node.items() if key not in _LITERAL))


def _reaches(start: str, goal: str, definitions: dict[str, Any]) -> bool:
    seen: set[str] = set()
    todo = _references(definitions.get(start, {}))
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            todo |= _references(definitions.get(name, {})) - seen
    return False


MOST_CHECKS = 50_000
"""Of one value: a schema that contains itself in several places could be asked without end."""


class Schema:
    """A JSON schema to check values against. ConfigurationError when it is none, or not of type object.

    `trusted`: False for one of strangers: its regular expressions are passed over, since one may take hours to run; or
    `search` matches them, which raises ConfigurationError for one that it cannot. `anything`: the schema is of any type.
    `whole`: ConfigurationError for a keyword that would be passed over though it asks for something.
    """

    def __init__(
        self,
        schema: dict[str, Any],
        *,
        trusted: bool = True,
        anything: bool = False,
        whole: bool = False,
        search: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._trusted = trusted
        self._anything = anything
        self._whole = whole
        self._search = search or _search
        self._left = 0
        if not anything and schema.get("type", "object") != "object":
            raise ConfigurationError(f"the parameters of a tool are a JSON schema of type object, not {_shown(schema)}")
        self._root = schema
        self._survey(schema, "parameters")

    def problem(self, value: Any) -> tuple[str, str] | None:
        """Where the value does not fit, as a path of names, and what was expected there; None when it fits."""
        if not self._anything and not isinstance(value, dict):
            return "", f"expected object, got {_kind(value)}"
        self._left = MOST_CHECKS
        return self._check(value, self._root, "", 0)

    def check(self, tool: str, arguments: dict[str, Any]) -> None:
        """InvalidToolArguments when the arguments of a call of this tool do not fit."""
        if problem := self.problem(arguments):
            parameter, words = problem
            where = f"parameter {parameter!r}: " if parameter else ""
            raise InvalidToolArguments(
                f"invalid arguments for tool {tool!r}: {where}{words}", tool=tool, parameter=parameter or None
            )

    def _survey(self, node: Any, where: str) -> None:
        if isinstance(node, bool):
            return
        if not isinstance(node, dict):
            raise ConfigurationError(f"{where}: a schema is an object or a boolean, not {_shown(node)}")
        kinds = node.get("type", [])
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind not in _TYPES:
                raise ConfigurationError(f"{where}: unknown type {kind!r}; there are {', '.join(_TYPES)}")
        if isinstance(ref := node.get("$ref"), str):
            self._target(ref)
        for key in _NUMBERS:
            if key in node and not isinstance(node[key], (int, float)):
                raise ConfigurationError(f"{where}: {key!r} is a number, not {_shown(node[key])}")
        _of(list, node, "enum", where)
        if self._trusted and isinstance(pattern := node.get("pattern"), str):
            try:
                self._search(pattern, "")
            except re.error as error:
                raise ConfigurationError(f"{where}: pattern {pattern!r} is no regular expression: {error}") from None
        if self._whole and (unknown := next((key for key in _UNKNOWN if key in node), None)):
            raise ConfigurationError(f"{where}: {unknown!r} is not checked here: say it without")
        for key in ("properties", "$defs", "definitions", "dependentSchemas", "patternProperties"):
            for name, inner in _of(dict, node, key, where).items():
                self._survey(inner, f"{where}.{name}")
        for key in ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"):
            if key in node:
                self._survey(node[key], f"{where}.{key}")
        for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for number, inner in enumerate(_of(list, node, key, where)):
                self._survey(inner, f"{where}.{key}[{number}]")

    def _target(self, ref: str) -> Any:
        node: Any = self._root
        if not ref.startswith("#"):
            raise ConfigurationError(f"$ref {ref!r} leads out of the schema: put the definition into $defs")
        for part in ref[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or key not in node:
                raise ConfigurationError(f"$ref {ref!r} leads to nothing")
            node = node[key]
        return node

    def _check(self, value: Any, schema: Any, at: str, depth: int) -> tuple[str, str] | None:
        if schema is True or schema == {}:
            return None
        if schema is False:
            return at, "not allowed here"
        self._left -= 1
        if depth > 200 or self._left < 0:
            return at, "nested too deeply"
        below = depth + 1
        if isinstance(ref := schema.get("$ref"), str) and (bad := self._check(value, self._target(ref), at, below)):
            return bad
        if "type" in schema:
            kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            if not any(_is(value, kind) for kind in kinds):
                return at, f"expected {' or '.join(kinds)}, got {_kind(value)} {_shown(value)}"
        if "enum" in schema and not any(_equal(value, choice) for choice in schema["enum"]):
            return at, f"expected one of {', '.join(_shown(c) for c in schema['enum'])}, got {_shown(value)}"
        if "const" in schema and not _equal(value, schema["const"]):
            return at, f"expected {_shown(schema['const'])}, got {_shown(value)}"
        words = None
        if isinstance(value, str):
            words = _string_problem(value, schema, self._search if self._trusted else None)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            words = _number_problem(value, schema)
        if words:
            return at, words
        return (
            (self._check_object(value, schema, at, below) if isinstance(value, dict) else None)
            or (self._check_array(value, schema, at, below) if isinstance(value, (list, tuple)) else None)
            or self._check_choices(value, schema, at, below)
        )

    def _check_object(self, value: dict[str, Any], schema: Any, at: str, depth: int) -> tuple[str, str] | None:
        properties = schema.get("properties") or {}
        required = schema.get("required")
        for name in required if isinstance(required, list) else ():  # some say it of a property, by true
            if name not in value:
                expected = properties.get(name)
                kind = expected.get("type") if isinstance(expected, dict) else None
                return _join(at, name), "missing" + (f", expected {kind}" if isinstance(kind, str) else "")
        patterns = schema.get("patternProperties") or {}
        others = schema.get("additionalProperties", True)
        if patterns and not self._trusted:
            patterns, others = {}, True
        for name, inner in value.items():
            matching = [s for pattern, s in patterns.items() if self._search(pattern, name)]
            if name in properties:
                matching.append(properties[name])
            elif not matching:
                if others is False:
                    known = ", ".join(properties) or "none"
                    return _join(at, name), f"unknown; known are: {known}"
                matching.append(others)
            for one in matching:
                if bad := self._check(inner, one, _join(at, name), depth):
                    return bad
        if (names := schema.get("propertyNames")) is not None:
            for name in value:
                if bad := self._check(name, names, at, depth):
                    return _join(at, name), f"no name for a property here: {bad[1]}"
        for name, needed in _dependent(schema):
            if name not in value:
                continue
            if not isinstance(needed, list):
                if bad := self._check(value, needed, at, depth):
                    return bad
            elif missing := next((other for other in needed if other not in value), None):
                return _join(at, missing), f"missing, as there is {name}"
        if len(value) < schema.get("minProperties", 0):
            return at, f"expected at least {schema['minProperties']} properties, got {len(value)}"
        if len(value) > schema.get("maxProperties", len(value)):
            return at, f"expected at most {schema['maxProperties']} properties, got {len(value)}"
        return None

    def _check_array(self, value: Any, schema: Any, at: str, depth: int) -> tuple[str, str] | None:
        if len(value) < schema.get("minItems", 0):
            return at, f"expected at least {schema['minItems']} items, got {len(value)}"
        if len(value) > schema.get("maxItems", len(value)):
            return at, f"expected at most {schema['maxItems']} items, got {len(value)}"
        if schema.get("uniqueItems") and any(_equal(a, b) for i, a in enumerate(value) for b in value[:i]):
            return at, "expected items that all differ"
        first = schema.get("prefixItems") or ()
        for number, item in enumerate(value):
            inner = first[number] if number < len(first) else schema.get("items", True)
            if bad := self._check(item, inner, f"{at}[{number}]", depth):
                return bad
        if (wanted := schema.get("contains")) is not None:
            fitting = sum(self._check(item, wanted, at, depth) is None for item in value)
            if fitting < schema.get("minContains", 1):
                return at, f"expected at least {schema.get('minContains', 1)} items that fit {_shown(wanted)}, got {fitting}"
            if fitting > schema.get("maxContains", fitting):
                return at, f"expected at most {schema['maxContains']} items that fit {_shown(wanted)}, got {fitting}"
        return None

    def _check_choices(self, value: Any, schema: Any, at: str, depth: int) -> tuple[str, str] | None:
        if "if" in schema:
            branch = "then" if self._check(value, schema["if"], at, depth) is None else "else"
            if bad := self._check(value, schema.get(branch, True), at, depth):
                return bad
        for inner in schema.get("allOf") or ():
            if bad := self._check(value, inner, at, depth):
                return bad
        if choices := schema.get("anyOf"):
            problems = [self._check(value, inner, at, depth) for inner in choices]
            if all(problems):
                return _nearest([p for p in problems if p], at)
        if choices := schema.get("oneOf"):
            problems = [self._check(value, inner, at, depth) for inner in choices]
            fitting = problems.count(None)
            if fitting == 0:
                return _nearest([p for p in problems if p], at)
            if fitting > 1:
                return at, f"expected exactly one of the forms to fit, {fitting} do"
        if "not" in schema and self._check(value, schema["not"], at, depth) is None:
            return at, f"{_shown(value)} is excluded"
        return None


def _of(kind: type[T], node: dict[str, Any], key: str, where: str) -> T:
    """What stands there, or nothing of this kind. ConfigurationError when it is of another one."""
    found = node.get(key)
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise ConfigurationError(f"{where}: {key!r} is {_TYPE_NAMES[kind]}, not {_shown(found)}")
    return found


def _dependent(schema: Any) -> list[tuple[str, Any]]:
    """What is asked for where there is a property: other properties, or a schema of the whole."""
    found: list[tuple[str, Any]] = []
    for key in ("dependentRequired", "dependentSchemas", "dependencies"):
        given = schema.get(key)
        found += given.items() if isinstance(given, dict) else ()
    return found


def _nearest(problems: list[tuple[str, str]], at: str) -> tuple[str, str]:
    """The problem deepest in the value tells most; of several at the same place, all."""
    deepest = max(len(path) for path, _ in problems)
    if deepest > len(at):
        return next(p for p in problems if len(p[0]) == deepest)
    return at, "; or ".join(dict.fromkeys(text for _, text in problems))


def _search(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def _string_problem(value: str, schema: dict[str, Any], search: Callable[[str, str], bool] | None) -> str | None:
    if len(value) < schema.get("minLength", 0):
        return f"expected at least {schema['minLength']} characters, got {len(value)}"
    if len(value) > schema.get("maxLength", len(value)):
        return f"expected at most {schema['maxLength']} characters, got {len(value)}"
    if search is not None and "pattern" in schema and not search(schema["pattern"], value):
        return f"expected a text matching {schema['pattern']}, got {_shown(value)}"
    return None


def _number_problem(value: float, schema: dict[str, Any]) -> str | None:
    if "minimum" in schema and value < schema["minimum"]:
        return f"expected at least {schema['minimum']}, got {value}"
    if "maximum" in schema and value > schema["maximum"]:
        return f"expected at most {schema['maximum']}, got {value}"
    # As true or false these two stand beside a limit, in old schemas: that alone is checked.
    if (least := schema.get("exclusiveMinimum")) is not None and not isinstance(least, bool) and value <= least:
        return f"expected more than {schema['exclusiveMinimum']}, got {value}"
    if (most := schema.get("exclusiveMaximum")) is not None and not isinstance(most, bool) and value >= most:
        return f"expected less than {schema['exclusiveMaximum']}, got {value}"
    if (step := schema.get("multipleOf")) and abs(value / step - round(value / step)) > 1e-9:
        return f"expected a multiple of {step}, got {value}"
    return None


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _kind(value: Any) -> str:
    return next((kind for kind in _TYPES if _is(value, kind)), type(value).__name__)


def _equal(one: Any, other: Any) -> bool:
    """JSON equality: true is not 1, 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
