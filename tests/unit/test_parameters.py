"""A notebook's parameters: the options as words, what is refused, and whether a run had them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import arguments, parameters
from slipway.model import Exit, RefusalError


def words(*options: str) -> list[str]:
    return parameters.words(arguments.parse(["run", "a.ipynb", *options]))


def test_the_options_are_words_of_data() -> None:
    odd = "-x = {{ y }} $(z) 'é\""
    assert words("-p", f"a={odd}", "-r", "b=007", "-y", "{c: 1, d: [2]}") == [f"a={odd}", "--text=b=007", "--yaml={c: 1, d: [2]}"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-p", "a"], "-p: 'a' cannot be used. Allowed: NAME=VALUE"),
        (["-p", "class=1"], "-p: 'class=1' cannot be used."),
        (["-r", "1a=1"], "-r: '1a=1' cannot be used."),
        (["-y", "- 1"], "-y: '- 1' cannot be used. Allowed: YAML of NAME: VALUE"),
        (["-y", "1: 2"], "-y: '1: 2' cannot be used."),
        (["-y", "a: ["], "-y: 'a: [' cannot be used: while parsing"),
        (["-y", "a: !!binary eA=="], "-y: "),
        (["-y", "a: !!python/object/apply:os.getcwd []"], "-y: "),
        (["-p", "a=1", "-p", "a=2"], "a is given twice. Allowed: each parameter once"),
        (["-p", "a=1", "-r", "a=1"], "a is given twice."),
        (["-y", "a: 1", "-r", "a=1"], "a is given twice."),
        (["-y", "a: 1", "-y", "a: 2"], "a is given twice."),
    ],
)
def test_what_is_no_parameter_is_refused(options: list[str], says: str) -> None:
    with pytest.raises(RefusalError) as refused:
        words(*options)
    assert says in str(refused.value)
    assert refused.value.code == Exit.BAD_INPUT


@pytest.mark.parametrize(
    ("typed", "given", "equal"),
    [
        ({"a": 7}, ["a=7"], True),
        ({"a": "007"}, ["a=007"], True),
        ({"a": 0.001}, ["a=1e-3"], True),
        ({"a": "1.10"}, ["a=1.1"], False),
        ({"a": "inf"}, ["a=inf"], True),
        ({"a": False}, ["a=false"], True),
        ({"a": True}, ["a=1"], False),
        ({"a": None}, ["a=None"], True),
        ({"a": [1, "b"]}, ["a=[1, b]"], True),
        ({"a": 7}, ["--text=a=7"], False),
        ({"a": "7"}, ["--text=a=7"], True),
        ({"a": 7}, ["--yaml=a: 7"], True),
        ({"a": "7"}, ["--yaml=a: 7"], False),
        ({"a": 1}, ["--yaml=a: true"], False),
        ({"a": "2026-01-02"}, ["--yaml=a: 2026-01-02"], True),
        ({"a": "inf"}, ["--yaml=a: .inf"], True),
        ({"a": 7, "b": 1}, ["a=7"], False),
        ({}, ["a=7"], False),
    ],
)
def test_a_runs_parameters_are_compared_by_their_values(typed: dict[str, Any], given: list[str], equal: bool) -> None:
    assert parameters.are(typed, given) is equal


def test_the_values_of_a_run_give_a_line_that_gives_them_again() -> None:
    values = {"a": "007", "b": 7, "c": ["x y"], "d": None}
    again = parameters.of_values(values)
    assert parameters.are(values, again)
    assert parameters.shell(again) == """ -r a=007 -p b=7 -y '{"c": ["x y"]}' -p d=None"""
