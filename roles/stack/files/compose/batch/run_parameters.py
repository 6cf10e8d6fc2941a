"""The values of parameters, from the words of the command. Nothing evaluates them: they are read as data."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from IPython.core.inputtransformer2 import TransformerManager
from papermill.iorw import NoDatesSafeLoader

#: Without a default to follow these are numbers: no leading zeros, no underscores.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {"True": True, "False": False, "None": None}
#: A default that is no literal, or none at all.
UNKNOWN = object()


def defaults(source: str) -> dict[str, Any]:
    """What a Python cell assigns, by name: its literal, `str` as text if the annotation says so, else UNKNOWN."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                found |= dict(_pairs(target, statement.value))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            default = _literal(statement.value)
            text = default in (None, UNKNOWN) and ast.unparse(statement.annotation).strip("'\"") == "str"
            found[statement.target.id] = "" if text else default
    return found


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Any]]:
    if isinstance(target, ast.Name):
        yield target.id, _literal(value)
    elif isinstance(target, ast.Tuple | ast.List):
        same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        for number, each in enumerate(target.elts):
            yield from _pairs(each, value.elts[number] if same else value)  # type: ignore[attr-defined]


def _literal(value: ast.expr | None) -> Any:
    if isinstance(value, ast.JoinedStr):
        return ""
    try:
        return UNKNOWN if value is None else ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return UNKNOWN


def typed(value: str, default: Any) -> Any:
    """The value as the default's type has it; what does not fit that is read as if there was no default."""
    if isinstance(default, str):
        return value
    if isinstance(default, bool) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(default, int | float) and not isinstance(default, bool):
        return _number(value, plain(value))
    if isinstance(default, list | tuple | dict):
        found = _collection(value)
        return plain(value) if found is None else found
    return plain(value)


def plain(value: str) -> Any:
    """As papermill's -p, but a number only if it comes back as it was typed."""
    if value in _WORDS:
        return _WORDS[value]
    return _number(value, value) if _DECIMAL.fullmatch(value) else value


def _number(value: str, otherwise: Any) -> Any:
    """The number that a text is. A text whose number overflows, or becomes 0 only by rounding, is not a number."""
    try:
        return int(value)
    except ValueError:
        pass
    try:
        found = float(value)
    except ValueError:
        return otherwise
    mantissa = re.split("[eE]", value)[0]
    lost = re.search("[1-9]", mantissa) if found == 0 else math.isinf(found) and re.search("[0-9]", mantissa)
    return otherwise if lost else found


def _collection(value: str) -> list[Any] | dict[Any, Any] | None:
    for parse in (ast.literal_eval, from_yaml):
        try:
            found = json.loads(json.dumps(parse(value)))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, yaml.YAMLError):
            continue
        if isinstance(found, list | dict):
            return found
    return None


def from_yaml(text: str) -> Any:
    """As papermill's -y: a date is text. Raises yaml.YAMLError, ValueError and TypeError; what JSON cannot hold is refused."""
    found = yaml.load(text, NoDatesSafeLoader)  # noqa: S506 - a SafeLoader
    json.dumps(found)
    return found


def json_value(value: Any) -> Any:
    """The value with texts for the numbers that JSON has no word for: `inf`, `-inf` and `nan`."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): json_value(each) for key, each in value.items()}
    return [json_value(each) for each in value] if isinstance(value, list) else value
