"""Packages that were installed by hand in a running container -> lines of docker/jupyter/Dockerfile."""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from slipway.model import Exit, RefusalError

DOCKERFILE = Path("docker", "jupyter", "Dockerfile")
HEAD = "ARG BASE\nFROM ${BASE}\n"
#: As roles/project allows it in slipway.yml; of another architecture with its name.
_APT = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9-]+)?")
_PIP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:/@%+=#&,! -]*")
#: The user of the Jupyter images, however it is written.
_USERS = ("${NB_UID}", "$NB_UID", "1000", "${NB_USER}", "$NB_USER", "jovyan")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*")
_COMMANDS = re.compile(r"[;&|()]+")


@dataclass(frozen=True)
class Plan:
    """What a Dockerfile is going to be: its text, what was added to it, and what was not and why."""

    text: str
    added: Sequence[Mapping[str, str]]
    left: Sequence[Mapping[str, str]]


def text(packages: Mapping[str, Any]) -> str:
    """Render what `diff` found, a line a package."""
    rows = [("", "package", "in the image", "in the container", "")]
    for kind, each in _each(packages):
        name, was, now, remark = (_plain(word or "-") for word in (each["name"], each["was"], each["now"], _remark(each) or " "))
        rows.append((kind, name, was, now, remark))
    if len(rows) == 1:
        return "Nothing was changed by hand."
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows)


def adopt(folder: Path, settings: Mapping[str, Any], packages: Mapping[str, Any]) -> dict[str, Any]:
    """Write the packages into the project's Dockerfile. Return what was `added`, and what was `left` and why. Raises RefusalError."""
    file = (folder / DOCKERFILE).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise RefusalError(f"{DOCKERFILE} is a link that leads out of the project. Allowed: a file in it. Nothing was changed.")
    try:
        found = file.read_bytes().decode("utf-8-sig") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as wrong:
        why = getattr(wrong, "strerror", None) or "it is no UTF-8"
        raise RefusalError(f"{DOCKERFILE} cannot be read: {why}. Nothing was changed.", Exit.BAD_INPUT) from wrong
    planned = plan(found, packages, settings.get("packages") or {}, datetime.now(UTC).astimezone().date())
    if planned.added:
        _write(file, planned.text)
    return {"added": list(planned.added), "left": list(planned.left)}


def told(document: Mapping[str, Any], deploy: str) -> str:
    """Render what `adopt` did. `deploy` is the command that builds the image."""
    if kept := document.get("kept"):
        return "\n".join(
            [
                f"Kept      the container as the image {kept['image']}, {kept['mib']:.0f} MiB beside its own",
                "Mind      this is temporary: the image is on the machine only, and `destroy` takes it along. The next deploy goes back to",
                f"          that of {DOCKERFILE}, where `adopt` without --keep writes the packages.",
            ]
        )
    kept = {_key(kind, each["line"]) for kind, each in _each(document["packages"]) if each["home"] and each["line"]}
    note = " (it is in the home, which is kept; the image has it from the next deploy on, also on another machine)"
    lines = [f"Added     {each['kind']}  {each['line']}{note * (each['name'] in kept)}" for each in document["added"]]
    lines += [f"Left      {each['kind']}  {each['name']}: {each['why']}" for each in document["left"]]
    if document["added"]:
        lines += [f"Changed   {DOCKERFILE}", f"Next: {deploy}"]
    elif any(document["packages"].values()):
        lines.append(f"Nothing was added to {DOCKERFILE}: what else was changed by hand came along, or is asked for already.")
    return "\n".join(lines) or "Nothing was changed by hand: there is nothing to adopt."


def plan(dockerfile: str, packages: Mapping[str, Any], named: Mapping[str, Sequence[str]], day: date) -> Plan:
    """Add the packages to a Dockerfile; an empty one is begun. `named` is what slipway.yml has. Raises RefusalError."""
    lines = list(_instructions(dockerfile))
    if lines and not any(line.upper().startswith("FROM") for line in lines):
        raise RefusalError(f"{DOCKERFILE} has no FROM. Allowed: ARG BASE, FROM ${{BASE}} and more. Nothing was changed.", Exit.BAD_INPUT)
    escape = _escape(dockerfile)
    if _code(dockerfile)[-1:] and _code(dockerfile)[-1].rstrip().endswith(escape):
        raise RefusalError(f"{DOCKERFILE} ends within a line that {escape} continues. End it. Nothing was changed.", Exit.BAD_INPUT)
    stage = _last_stage(lines)
    has = _asked_for(stage)
    added: list[dict[str, str]] = []
    left: list[dict[str, str]] = []
    for kind, each in _each(packages):
        why = _why_not(kind, each, has, named)
        if why is None:
            added.append({"kind": kind, "name": _key(kind, each["line"]), "line": each["line"]})
        elif why:
            left.append({"kind": kind, "name": _plain(each["name"]), "why": why})
    blocks = _blocks(added, packages, _user(stage), escape, day)
    start = dockerfile if lines else dockerfile + "\n" * bool(dockerfile and not dockerfile.endswith("\n")) + HEAD
    return Plan("".join([start, "\n" * (not start.endswith("\n")), *blocks]) if blocks else dockerfile, added, left)


def _each(packages: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("apt", "pip"):
        for each in packages.get(kind, []):
            yield kind, each


def _plain(word: str) -> str:
    """A machine's word, for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in word)


def _remark(each: Mapping[str, Any]) -> str:
    if each["now"] is None:
        return "removed"
    source = each["line"].partition(" @ ")[2] if each["line"] else ""
    words = [
        "" if each["asked"] else "came along",
        "in the home, which is kept" if each["home"] else "",
        f"from {source}" if source else "",
        f"not to be adopted: {each['why']}" if each["why"] else "",
    ]
    return "; ".join(filter(None, words))


def _why_not(kind: str, each: Mapping[str, Any], has: Mapping[str, Mapping[str, str]], named: Mapping[str, Sequence[str]]) -> str | None:
    """Why a package is not added: in words, or "" where nobody need know. None where it is."""
    line = each["line"]
    if each["now"] is None:
        return (
            "it was removed; the next deploy brings it back, unless slipway.yml or the Dockerfile says otherwise" if each["asked"] else ""
        )
    if not line:
        return each["why"] or ""
    # What a machine says is data.
    if not (_APT if kind == "apt" else _PIP).fullmatch(line) or (kind == "pip" and _requirement(line) is None):
        return "its name or version is none that may stand in a Dockerfile"
    wanted = {_key(kind, word): word for word in named.get(kind, [])}.get(_key(kind, line))
    if wanted:
        return "" if _suits(kind, wanted, each) else f"slipway.yml asks for {wanted}: write {line} there instead"
    there = has[kind].get(_key(kind, line))
    return f"{DOCKERFILE} has it already" if there and _suits(kind, there, each) else None


def _suits(kind: str, word: str, each: Mapping[str, Any]) -> bool:
    """Whether these words would bring what the container has."""
    if kind == "apt":
        return "=" not in word or word.partition("=")[2] == each["now"]
    found, wanted = _requirement(word), _requirement(each["line"])
    if found is None or wanted is None:
        return False
    if found.url or wanted.url:
        return found.url == wanted.url
    return found.specifier.contains(each["now"], prereleases=True)


def _key(kind: str, word: str) -> str:
    """The name in what pip or apt-get is asked for, as names are compared."""
    requirement = _requirement(word) if kind == "pip" else None
    return canonicalize_name(requirement.name) if requirement else re.split("[=/]", word)[0]


def _requirement(word: str) -> Requirement | None:
    with suppress(InvalidRequirement):
        return Requirement(word)
    return None


def _blocks(added: Sequence[Mapping[str, str]], packages: Mapping[str, Any], user: str, escape: str, day: date) -> list[str]:
    """The lines to be added, a block for apt and one for pip."""
    joint, blocks = f" {escape}\n", []
    words = {kind: [shlex.quote(each["line"]) for each in added if each["kind"] == kind] for kind in ("apt", "pip")}
    if words["apt"]:
        install = f" && apt-get install --yes --no-install-recommends {' '.join(words['apt'])}"
        run = joint.join(["RUN apt-get update", install, " && rm -rf /var/lib/apt/lists/*"])
        blocks.append(f"\n# {day.isoformat()}, adopted from the container: Debian packages\nUSER root\n{run}\nUSER {user}\n")
    if words["pip"]:
        asked = {_key("pip", each["name"]) for each in packages["pip"] if each["asked"]}
        along = [each["name"] for each in added if each["kind"] == "pip" and each["name"] not in asked]
        note = f"; {', '.join(along)} came along" if along else ""
        run = joint.join(["RUN pip install --no-cache-dir", *(f"      {word}" for word in words["pip"])])
        run = run if user in _USERS else f"USER ${{NB_UID}}\n{run}\nUSER {user}"
        blocks.append(f"\n# {day.isoformat()}, adopted from the container: Python packages{note}\n{run}\n")
    return blocks


def _code(dockerfile: str) -> list[str]:
    """The lines that are neither empty nor comments."""
    return [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _escape(dockerfile: str) -> str:
    r"""The character that continues a line: \, or another by a directive before anything else."""
    for line in dockerfile.splitlines():
        if found := _ESCAPE.fullmatch(line.strip()):
            return found[1]
        if not line.startswith("#"):
            break
    return "\\"


def _instructions(dockerfile: str) -> Iterator[str]:
    """The instructions, a line each."""
    pending, escape = "", _escape(dockerfile)
    for line in _code(dockerfile):
        pending += line.strip()
        if pending.endswith(escape):
            pending = pending[:-1]
            continue
        yield pending
        pending = ""
    if pending:
        yield pending


def _last_stage(lines: Sequence[str]) -> list[str]:
    """What makes the image: what stands after the last FROM."""
    starts = [index for index, line in enumerate(lines) if line.upper().startswith("FROM")]
    return list(lines[starts[-1] :]) if starts else []


def _user(stage: Sequence[str]) -> str:
    """Who the image's user is, as the Dockerfile writes it."""
    users = [line.split(None, 1)[1] for line in stage if re.match(r"(?i)USER\s+\S", line)]
    return users[-1] if users else "${NB_UID}"


def _asked_for(stage: Sequence[str]) -> dict[str, dict[str, str]]:
    """What pip and apt-get are asked for, the last word on each package; a here-document's lines count too."""
    found: dict[str, dict[str, str]] = {"apt": {}, "pip": {}}
    for command in (command for line in stage for command in _commands(line)):
        if "install" not in command:
            continue
        at = command.index("install")
        tools = {os.path.basename(word) for word in command[:at]}  # noqa: PTH119 (a word of a command, no path of this machine)
        kind = "apt" if tools & {"apt", "apt-get"} else "pip" if any(re.fullmatch(r"pip[0-9.]*", tool) for tool in tools) else ""
        for word in command[at + 1 :] if kind else []:
            if not word.startswith("-"):
                found[kind][_key(kind, word)] = word
    return found


def _commands(line: str) -> Iterator[list[str]]:
    """The commands of an instruction, as lists of words."""
    body = re.sub(r"^(?i:run)\s+(--\S+\s+)*", "", line)
    with suppress(ValueError):
        if isinstance(words := json.loads(body), list):
            yield list(map(str, words))
            return
    lexer = shlex.shlex(body, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split, lexer.commenters = True, ""
    command: list[str] = []
    # A quote that is not closed: the line is no command.
    with suppress(ValueError):
        for word in lexer:
            if _COMMANDS.fullmatch(word):
                yield command
                command = []
            else:
                command.append(word)
    yield command


def _write(file: Path, content: str) -> None:
    """Replace the file as a whole; its rights stay."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    with tempfile.NamedTemporaryFile("wb", dir=file.parent, prefix=f".{file.name}.", delete=False) as scratch:
        try:
            scratch.write(content.encode())
            scratch.flush()
            os.fsync(scratch.fileno())
            Path(scratch.name).chmod(mode)
            Path(scratch.name).replace(file)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise
