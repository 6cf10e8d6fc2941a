"""What a word of the command line may be: its kind gives the value, or one line that names what was found and what is allowed.

Every option and every argument of `arguments.py` has a kind, also each that is to come (tests/unit/test_words.py).
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slipway import parameters
from slipway.measurements import MODELS

#: Characters of a word that are shown.
_SHOWN = 60


class WrongError(ValueError):
    """What is wrong with a word: the part of it that is meant, if not all, and why, or what may be meant."""

    def __init__(self, part: str | None = None, why: str = "", hint: str = "") -> None:
        super().__init__()
        self.part, self.why, self.hint = part, why, hint


@dataclass(frozen=True)
class Kind:
    """A kind of word: what is allowed, in words, and how it is read. `read` raises ValueError.

    A `number` has the digits 0 to 9 and no sign or exponent, a `name` keeps to some characters; a `text` is any that is not blank, as a
    path or a name of the user's own is; `free` is what another program reads.
    """

    group: Literal["number", "name", "text", "free"]
    allowed: str
    read: Callable[[str], Any]

    def __call__(self, word: str) -> Any:
        if word is argparse.SUPPRESS:
            # An argument that may be left out, and was: argparse has its mark for that read too.
            return word
        try:
            return self.read(word if self.group == "free" else _sound(word))
        except ValueError as wrong:
            said = wrong if isinstance(wrong, WrongError) else WrongError()
            found = word if said.part is None else said.part
            why = f": {said.why}" if said.why else ""
            raise argparse.ArgumentTypeError(f"{shown(found)} cannot be used{why}. Allowed: {self.allowed}.{said.hint}") from wrong

    def fits(self, word: str) -> bool:
        """Whether the word is of the kind."""
        try:
            self(word)
        except argparse.ArgumentTypeError:
            return False
        return True


def shown(word: str) -> str:
    """The value found, for a line: in quotes, cut, and without a character that would end the line."""
    return repr(word) if len(word) <= _SHOWN else f"{word[:_SHOWN]!r}…"


def _sound(word: str) -> str:
    """A word with something in it, which can be written down. Raises ValueError."""
    if not word.strip() or "\0" in word:
        raise ValueError(word)
    try:
        word.encode()
    except UnicodeEncodeError as wrong:
        raise WrongError(why="it is no UTF-8") from wrong
    return word


def whole(least: int, most: int, unit: str = "") -> Kind:
    """A whole number in this range."""

    def read(word: str) -> int:
        if not re.fullmatch("0|[1-9][0-9]{0,17}", word) or not least <= int(word) <= most:
            raise ValueError(word)
        return int(word)

    return Kind("number", f"a whole number{unit}, {least} to {most}", read)


def number(least: float, most: float, unit: str) -> Kind:
    """A number in this range, with a decimal point at most."""

    def read(word: str) -> float:
        if not re.fullmatch(r"(?=.)(0|[1-9][0-9]{0,8})?(\.[0-9]{1,9})?", word) or not least <= float(word) <= most:
            raise ValueError(word)
        return float(word)

    return Kind("number", f"a number{unit}, {least:g} to {most:g}", read)


def name(pattern: str, allowed: str) -> Kind:
    """A word that matches the pattern as a whole."""

    def read(word: str) -> str:
        if not re.fullmatch(pattern, word):
            raise ValueError(word)
        return word

    return Kind("name", allowed, read)


def one_of(*words: str) -> Kind:
    """One of these words."""
    return Kind("name", ", ".join(words), lambda word: _one_of(word, words))


def several_of(*words: str, named: Sequence[str] = ()) -> Kind:
    """Some of these words, with commas between them, each once. `named` are those to be named, if not all are."""

    def read(given: str) -> list[str]:
        found = [_one_of(each.strip(), words) for each in given.split(",")]
        if twice := next((each for each in found if found.count(each) > 1), None):
            raise WrongError(twice, why="it is given twice")
        return found

    return Kind("name", f"{', '.join(named or words)}; each once, with commas between them", read)


def _one_of(word: str, words: Sequence[str]) -> str:
    if word not in words:
        near = difflib.get_close_matches(word.lower(), [each.lower() for each in words], n=1)
        meant = next((each for each in words if near and each.lower() == near[0]), None)
        raise WrongError(word, hint=f" Did you mean {meant}?" if meant else "")
    return word


def _types(word: str) -> list[str]:
    return [TYPE.read(each.strip()) for each in word.split(",")]


def _scale(word: str) -> dict[str, int]:
    service, _, count = word.partition("=")
    if service != "worker":
        raise ValueError(word)
    return {service: int(whole(1, 16).read(count))}


def _yaml(word: str) -> str:
    try:
        return parameters.as_yaml(word)
    except ValueError as wrong:
        raise WrongError(why=str(wrong)) from wrong


def _project_name(word: str) -> str:
    if not re.fullmatch("[a-z]([a-z0-9-]{0,28}[a-z0-9])?", word) or word == "slipway":
        raise ValueError(word)
    return word


_LIKE_TYPES = r"[A-Za-z0-9][A-Za-z0-9-]{0,30}\.[A-Za-z0-9-]{1,30}"
TYPE = name(_LIKE_TYPES, "an instance type, t2.medium for one")
TYPE_OR_AUTO = name(f"auto|{_LIKE_TYPES}", "auto, or an instance type, t2.medium for one")
TYPES = Kind("name", "instance types, t3.medium for one, with spaces or commas between them", _types)
#: As the role ec2_instance has it.
MACHINE = name(
    "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", "1 to 40 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
)
#: As the role project has it.
PROJECT_NAME = Kind(
    "name",
    "1 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last; slipway is the base stack's own",
    _project_name,
)
INSTANCE = name("i-[0-9a-f]{8}([0-9a-f]{9})?", "an instance's id, i-0a1b2c3d4e5f60718 for one")
IMAGE = name("ami-[0-9a-f]{8}([0-9a-f]{9})?", "a machine image's id, ami-0a1b2c3d4e5f60718 for one")
REGION = name("[a-z0-9]{1,20}(-[a-z0-9]{1,20}){1,4}", "an AWS region, us-east-1 for one")
SERVICE = name("[a-z][a-z0-9-]{0,29}", "a service's name, which `status` shows")
#: As Docker has them.
VOLUME = name("[A-Za-z0-9][A-Za-z0-9_.-]{1,200}", "a volume's name, which `remove` shows")
TAG = name("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "an image's tag: 1 to 128 letters, digits, _, . and -; the first is neither . nor -")
RUN = name("[A-Za-z0-9][A-Za-z0-9_.-]{1,200}", "a run's name, which `runs` shows")
#: As Jupyter has them.
KERNEL = name("[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "a kernel's name, python3 for one")
MODEL = one_of(*MODELS)
SCALE = Kind("number", "worker=1 to worker=16", _scale)
PARAMETER = Kind("name", parameters.ALLOWED, parameters.with_name)
YAML = Kind("name", "YAML of NAME: VALUE, where NAME is a name of Python", _yaml)
FOLDER = Kind("text", "the path of a project's folder", str)
FILE = Kind("text", "the path of a file", str)
PLAIN_FILE = name(r"(?!\.{1,2}$)[^/]+", "the name of a file, without a folder")
STACK = Kind("text", "a project's folder, or its name on the machine", str)
WORDS = Kind("free", "any words", str)
