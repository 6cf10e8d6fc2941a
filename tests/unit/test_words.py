"""Every option and argument of every command, as the parser has them, with every word that none may take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from slipway import arguments, words
from slipway.model import Exit, RefusalError
from slipway.words import Kind
from tests.conftest import PROJECT

#: What no option takes, by what it is.
NONE_TAKES = {"empty": "", "blank": "   ", "tab and newline": "\t\n", "NUL": "a\0b", "not UTF-8": "a\udcff"}
#: What no name takes: all but letters, digits and some marks.
NO_NAME = NONE_TAKES | {
    "above": "../..",
    "parent": "..",
    "here": ".",
    "device": "/dev/null",
    "root": "/",
    "home": "~",
    "space": "a b",
    "dash": "-x",
    "option": "--yes",
    "shell": "$(touch x)",
    "backticks": "`touch x`",
    "variable": "$HOME",
    "expression": "{{ 7*7 }}",
    "statement": "{% raw %}",
    "comment": "{# x #}",
    "newline at the end": "a\n",
    "newline": "a\nb",
    "carriage return": "a\r",
    "escape": "\033[2J",
    "quote": "'",
    "double quote": '"',
    "semicolon": "a;b",
    "asterisk": "*",
    "backslash": "a\\b",
    "accent": "é",
    "letter of another width": "\uff41",
    "huge": "a" * 300,
}
#: What no number takes.
NO_NUMBER = NO_NAME | {
    "exponent": "1e3",
    "negative": "-1",
    "negative option": "--1",
    "sign": "+1",
    "hexadecimal": "0x10",
    "underscore": "1_000",
    "Arabic-Indic digits": "١٢",
    "digits of another width": "\uff11\uff12",
    "superscript": "²",
    "zeros first": "007",
    "huge number": "9" * 30,
    "not a number": "nan",
    "infinite": "inf",
    "space before": " 5",
    "newline after": "5000\n",
    "comma": "1,000",
    "word": "ten",
    "truth": "true",
    "fraction without an end": "1.",
}
REFUSED = {"number": NO_NUMBER, "name": NO_NAME, "text": NONE_TAKES, "free": {}}
#: One of these is legal for each kind.
LEGAL = ["lab", "slipway", "us-east-1", "t2.micro", "redis", "1", "5000", "SVC", "worker=2", "a=1", "a: 1", "i-0a1b2c3d", "ami-0a1b2c3d"]
#: Those that may be given several times, as README.md says ("once for each").
REPEATED = {("run", "-p"), ("run", "-r"), ("run", "-y"), ("remove", "--volume")}


def commands() -> dict[str, argparse.ArgumentParser]:
    whole = arguments.parser()
    nested = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    return {"": whole, **nested.choices}


def actions() -> Iterator[tuple[str, argparse.Action]]:
    """Those of every command once: `status` stands for all that share it."""
    seen: set[int] = set()
    for command, parser in commands().items():
        for action in parser._actions:
            shared = id(action) in seen
            seen.add(id(action))
            if not shared and not isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
                yield command, action


def given(command: str, action: argparse.Action, word: str) -> list[str]:
    """The words of a command line with this one."""
    if not action.option_strings:
        return [command, "--", word]
    option = action.option_strings[0]
    return [*filter(None, [command]), *([f"{option}={word}"] if option.startswith("--") else [option + word] if word else [option, ""])]


def sample(action: argparse.Action) -> str:
    """A word that is legal."""
    if action.choices:
        return str(next(iter(action.choices)))
    assert isinstance(action.type, Kind)
    return next(word for word in LEGAL if action.type.fits(word))


def whole(command: str, *more: str) -> list[str]:
    """A command line with all that the command must have."""
    needed = [action for action in commands()[command]._actions if action.required and not action.option_strings and command]
    return [*filter(None, [command]), *more, *map(sample, needed), *(["status"] if not command else [])]


def named(action: argparse.Action) -> str:
    return "/".join(action.option_strings) or str(action.metavar or action.dest)


def group(action: argparse.Action) -> str:
    assert isinstance(action.type, Kind) or action.choices, f"{named(action)} has no kind: give it a type of slipway/words.py"
    return action.type.group if isinstance(action.type, Kind) else "name"


ROWS = [(command, named(action)) for command, action in actions() if action.nargs != 0]


@pytest.mark.parametrize(("command", "dest"), ROWS, ids=[f"{command or 'all'} {dest}" for command, dest in ROWS])
def test_what_an_option_does_not_take_is_refused_in_one_line(command: str, dest: str) -> None:
    action = next(action for action in commands()[command]._actions if named(action) == dest)
    for name, word in REFUSED[group(action)].items():
        with pytest.raises(RefusalError) as refused:
            print(name, arguments.parse(given(command, action, word)))
        said = str(refused.value)
        assert refused.value.code is Exit.BAD_INPUT
        # One line, with the field, the value found (or the part of it that is meant) and what is allowed.
        assert said.isprintable(), said
        assert len(said) < 500, said
        assert said.startswith(f"{dest}: ")
        assert any(repr(each) in said for each in (word, word.strip(), word[:60])), said
        assert ". Allowed: " in said
        assert said.endswith("Nothing was changed.")


def test_the_table_has_every_command() -> None:
    # But for those that share all of their words with others.
    assert {command for command, _ in ROWS} >= commands().keys() - {"push", "pull", "diff", "unlock", "stop", "start"}
    assert len(ROWS) >= 45


@pytest.mark.parametrize("command", commands())
def test_an_option_is_given_once(command: str) -> None:
    repeated = set()
    for action in (action for action in commands()[command]._actions if action.option_strings and "--help" not in action.option_strings):
        option = action.option_strings[0]
        once = [option] if action.nargs == 0 else [option, sample(action)]
        # One with several values would take the command's too.
        once = once if action.nargs != "+" else [f"{option}={sample(action)}"]
        assert arguments.parse(whole(command, *once)).command == (command or "status")
        try:
            arguments.parse(whole(command, *once, *once))
            repeated.add((command, option))
        except RefusalError as refused:
            assert str(refused) == f"{'/'.join(action.option_strings)}: it is given twice. Allowed: once. Nothing was changed."
    assert repeated == {each for each in REPEATED if each[0] == command}


@pytest.mark.parametrize("line", [["--name", "a", "status", "--name", "b"], ["--json", "status", "--json"]])
def test_an_option_before_and_after_the_command_is_given_twice(line: list[str]) -> None:
    with pytest.raises(RefusalError, match="it is given twice"):
        arguments.parse(line)


def test_what_may_be_given_several_times_is_documented() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert "`-p NAME=VALUE`, once for each" in readme
    assert "`--volume NAME`, once for each" in readme


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (words.whole(1, 16384), "20", 20),
        (words.whole(0, 9), "0", 0),
        (words.number(0.5, 3600, ""), "0.5", 0.5),
        (words.number(0.5, 3600, ""), ".5", 0.5),
        (words.number(0, 10_000, ""), "0.0116", 0.0116),
        (words.TYPE, "T2.MICRO", "T2.MICRO"),
        (words.TYPE, "u-6tb1.metal", "u-6tb1.metal"),
        (words.TYPE_OR_AUTO, "auto", "auto"),
        (words.TYPES, "t3.medium, t2.small", ["t3.medium", "t2.small"]),
        (words.several_of("redis", "mongo"), "mongo, redis", ["mongo", "redis"]),
        (words.SCALE, "worker=16", {"worker": 16}),
        (words.VOLUME, "left_postgres_data", "left_postgres_data"),
        (words.RUN, "left-run-0123456789ab-20260501T120003.481516", "left-run-0123456789ab-20260501T120003.481516"),
        (words.KERNEL, "python3.11_x-y", "python3.11_x-y"),
        (words.PARAMETER, "a={{ 7*7 }}\n", "a={{ 7*7 }}\n"),
        (words.PARAMETER, "a=", "a="),
        (words.FOLDER, "../{{ 7*7 }} $(id)\n", "../{{ 7*7 }} $(id)\n"),
        (words.WORDS, "", ""),
    ],
)
def test_each_kind_of_word_has_its_value(kind: Kind, word: str, value: object) -> None:
    assert kind(word) == value


@pytest.mark.parametrize(
    ("kind", "word", "said"),
    [
        (words.whole(1, 16384, " of GiB"), "1e3", "'1e3' cannot be used. Allowed: a whole number of GiB, 1 to 16384."),
        (words.whole(1, 9), "10", "'10' cannot be used. Allowed: a whole number, 1 to 9."),
        (words.SCALE, "worker=17", "'worker=17' cannot be used. Allowed: worker=1 to worker=16."),
        (words.SCALE, "worker=٢", "'worker=٢' cannot be used."),
        (words.SCALE, "redis=2", "'redis=2' cannot be used."),
        (words.TYPES, "t3.medium,", "'t3.medium,' cannot be used."),
        (words.several_of("redis", "mongo"), "redis,redsi", "'redsi' cannot be used. Allowed: redis, mongo; each once, with commas"),
        (words.several_of("redis", "mongo"), "redis,redsi", "Did you mean redis?"),
        (words.several_of("redis", "mongo"), "redis,redis", "'redis' cannot be used: it is given twice."),
        (words.MODEL, "svc", "Did you mean SVC?"),
        (words.YAML, "- 1", "'- 1' cannot be used. Allowed: YAML of NAME: VALUE"),
        (words.FILE, "a\udcff", "cannot be used: it is no UTF-8."),
        (words.MACHINE, "a" * 300, f"'{'a' * 60}'… cannot be used."),
        (words.PLAIN_FILE, "../x", "'../x' cannot be used."),
        (words.PLAIN_FILE, "..", "'..' cannot be used."),
    ],
)
def test_a_wrong_word_is_refused_with_what_is_allowed(kind: Kind, word: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        kind(word)
    assert said in str(refused.value)
