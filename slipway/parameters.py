"""A notebook's parameters: the options -p, -r and -y as words for the machine, and back."""

from __future__ import annotations

import argparse
import json
import keyword
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from slipway.model import Exit, RefusalError

_TEXT, _YAML = "--text=", "--yaml="
ALLOWED = "NAME=VALUE, where NAME is a name of Python"


class _Loader(yaml.SafeLoader):
    """As papermill's: a date is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As YAML 1.2 has it: PyYAML passes over all but the last of two that have the same name."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def words(options: argparse.Namespace) -> list[str]:
    """What the options give, a word each as run_notebook.py takes it. Refuses a name that is given twice."""
    found = list(getattr(options, "parameter", []))
    found += [_TEXT + each for each in getattr(options, "text_parameter", [])]
    found += [_YAML + each for each in getattr(options, "yaml_parameter", [])]
    names = [name for each in found for name in _given(each)]
    for name in names:
        if names.count(name) > 1:
            text = f"{name} is given twice. Allowed: each parameter once, by one of -p, -r and -y. Nothing was changed."
            raise RefusalError(text, Exit.BAD_INPUT)
    return found


def are(typed: Mapping[str, Any], given: Sequence[str]) -> bool:
    """Whether a run had these parameters. A value of -p may have become text or a number, as the notebook's default was."""
    wanted = {name: (each.startswith((_TEXT, _YAML)), value) for each in given for name, value in _given(each).items()}
    return wanted.keys() == typed.keys() and all(
        _same(typed[name], value) if fixed else _may_be(typed[name], str(value)) for name, (fixed, value) in wanted.items()
    )


def of_values(values: Mapping[str, Any]) -> list[str]:
    """Words that give these values again."""
    found = []
    for name, value in values.items():
        if isinstance(value, str):
            found.append(f"{_TEXT}{name}={value}")
        elif isinstance(value, list | dict):
            found.append(_YAML + json.dumps({name: value}))
        else:
            found.append(f"{name}={value}")
    return found


def again(told: Mapping[str, Any]) -> str:
    """The options of `run` with which this run (the facts of its executed notebook) is made again."""
    return shell(of_values(told["parameters"]), told.get("kernel"))


def shell(given: Sequence[str], kernel: str | None = None) -> str:
    """The words, and a kernel that was asked for, as options of `run`, as a shell takes them, each after a space."""

    def option(word: str) -> tuple[str, str]:
        found = next(((name, kind) for name, kind in (("-r", _TEXT), ("-y", _YAML)) if word.startswith(kind)), ("-p", ""))
        return found[0], word.removeprefix(found[1])

    named = f" -k {shlex.quote(kernel)}" if isinstance(kernel, str) else ""
    return "".join(f" {name} {shlex.quote(value)}" for name, value in map(option, given)) + named


def with_name(word: str) -> str:
    """A word NAME=VALUE. Raises ValueError."""
    name, equals, _ = word.partition("=")
    if not equals or not _is_name(name):
        raise ValueError(word)
    return word


def as_yaml(text: str) -> str:
    """A word that is YAML of NAME: VALUE. Raises ValueError, which says why if PyYAML does."""
    _of_yaml(text)
    return text


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)


def _given(word: str) -> dict[str, Any]:
    """The names and values of a word."""
    if not word.startswith(_YAML):
        name, _, value = word.removeprefix(_TEXT).partition("=")
        return {name: value}
    return _of_yaml(word.removeprefix(_YAML))


def _of_yaml(text: str) -> dict[str, Any]:
    try:
        found = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
        json.dumps(found)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as wrong:
        raise ValueError(str(wrong).splitlines()[0]) from wrong
    if not isinstance(found, dict) or not all(map(_is_name, found)):
        raise ValueError
    return found


def _same(typed: Any, value: Any) -> bool:
    # Numbers that JSON has no word for are kept as text.
    if isinstance(value, float) and not math.isfinite(value):
        return bool(typed == str(value))
    return type(typed) is type(value) and bool(typed == value)


def _may_be(typed: Any, value: str) -> bool:
    """Whether -p may have made this of the value."""
    if isinstance(typed, str):
        return typed == value or (typed in ("inf", "-inf", "nan") and _float(value) is not None and str(_float(value)) == typed)
    if isinstance(typed, bool):
        return str(typed).lower() == value.lower()
    if typed is None:
        return value == "None"
    if isinstance(typed, int | float):
        return _float(value) == typed
    try:
        return bool(yaml.load(value, _Loader) == typed)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):
        return False


def _float(value: str) -> float | None:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
