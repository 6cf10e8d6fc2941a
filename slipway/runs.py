"""Batch runs as the machine tells of them, and what a command makes of that: join one, fetch one, or begin another.

A run is a container with a name of its own. Its labels say what it runs, and it stays on the machine until its results were fetched.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import secrets
import shlex
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway import executed, killed, parameters
from slipway.model import STATE

#: What the labels of a run begin with (roles/stack/module_utils/stack_runs.py reads them).
LABEL = "slipway.run."
#: In `lib`, what no run imports: caches, hidden files, and what editors leave.
_NO_SOURCE = re.compile(r"\..*|__pycache__|.*(\.py[co]|\.log|\.tmp|~)|#.*#")


@dataclass(frozen=True)
class Run:
    """A batch run on the machine.

    `state` is created, running or ended, `exit_code` that of one that has ended, `said` what one that ended badly said last. `output` is
    the executed notebook, in the project's folder; `origin` names the user, the computer and the folder that it was begun from, for people,
    and `place` is the same for programs.
    """

    name: str
    project: str
    state: str
    exit_code: int | None
    out_of_memory: bool
    begun: str | None
    ended: str | None
    said: str | None
    notebook: str
    parameters: tuple[str, ...]
    kernel: str | None
    digest: str
    origin: str
    place: str
    output: str

    @property
    def code(self) -> int:
        """With what it ended: 137 only if its memory ran out. What else ends a run by force, as with its machine, is 143."""
        forced = (self.exit_code == executed.KILLED and not self.out_of_memory) or (self.exit_code or 0) >= _NO_WORD
        return ENDED_FROM_OUTSIDE if forced else self.exit_code or 0

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended yet."""
        return self.state != "ended"


#: For a run that was killed, as with its machine: the code of one that was asked to end.
ENDED_FROM_OUTSIDE = 143
#: From here on Docker has no word of how it ended.
_NO_WORD = 253


@dataclass(frozen=True)
class Choice:
    """What the same command does: join (or fetch) a run that there is, or begin one of this name."""

    run: Run | None
    name: str
    #: Whether it was there before: this is known for sure when it has begun.
    joined: bool = False


def of(published: Mapping[str, Any], project: str | None = None) -> list[Run]:
    """What a look at the machine has published, of one project or of all. One whose labels are not a run's is left out."""
    found = []
    for facts in published.get("batch_runs") or []:
        if all(facts.get(key) for key in ("notebook", "output", "digest")) and project in (None, facts["project"]):
            known = {key: facts.get(key) for key in Run.__dataclass_fields__}
            words = {"parameters": tuple(facts["parameters"]), **{key: facts.get(key) or "" for key in ("origin", "place")}}
            found.append(Run(**known | words))
    return found


def place(folder: Path) -> str:
    """What tells a project's folder on this computer from others, whatever the computer's network and the way to the folder are."""
    state = STATE / "id"
    if not state.exists():
        STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError), state.open("x") as file:
            file.write(secrets.token_hex(16))
    return hashlib.sha256(f"{state.read_text()}:{os.fsencode(folder.resolve()).hex()}".encode()).hexdigest()[:16]


def origin(folder: Path) -> str:
    """The user, the computer and the folder, for people."""
    user = str(os.getuid())
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}:{folder.resolve()}"


def here(run: Run, folder: Path) -> bool:
    """Whether the results are in this folder.

    The folder that a run was begun from has them when the machine has forgotten it; any other one with the executed notebook.
    """
    return not run.goes_on and run.place != place(folder) and (folder / run.output).exists()


def waiting(runs: Iterable[Run], folder: Path | None = None) -> list[Run]:
    """Those that go on, and those whose results are not in the folder, or without one, in that from which each was begun."""
    return [run for run in runs if not here(run, folder or Path(run.origin.partition(":")[2]))]


def choose(found: Sequence[Run], project: str, digest: str, folder: Path, again: str = "") -> Choice:
    """Join the run of this digest that goes on; or the one that has ended and is not here; or begin another one.

    Two commands that see the same choose the same name, of which the engine has only one: so one of them begins, and the other joins.
    With `again`, a word of its own, another one begins in any case.
    """
    name = f"{project}-run-{digest[:12]}"
    if again:
        return Choice(None, f"{name}-{again}")
    mine = [run for run in found if run.digest == digest]
    for candidates in ([run for run in mine if run.goes_on], [run for run in mine if not here(run, folder)]):
        if candidates:
            return Choice(candidates[-1], candidates[-1].name, joined=True)
    taken = {run.name for run in mine}
    return Choice(None, next(each for number in range(len(taken) + 1) if (each := f"{name}-{number}" if number else name) not in taken))


def digest(folder: Path, notebook: Path, words: Iterable[str], kernel: str | None) -> str:
    """What tells a run from others: the notebook's name and cells, the parameters, the kernel, and the files in `lib`."""
    told: list[Any] = [str(notebook), sorted(words), kernel, _cells(folder / notebook)]
    lib, seen = folder / "lib", set[str]()
    for there, folders, files in os.walk(lib, followlinks=True):
        # A link may lead to a folder above it.
        again = os.path.realpath(there) in seen
        seen.add(os.path.realpath(there))
        folders[:] = [] if again else sorted(name for name in folders if _is_source(name))
        for name in sorted(filter(_is_source, [] if again else files)):
            path = Path(there, name)
            told.append([os.fsencode(path.relative_to(lib)).hex(), _content(path)])
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _is_source(name: str) -> bool:
    return _NO_SOURCE.fullmatch(name) is None


def _cells(path: Path) -> Any:
    """The cells without what a kernel gave. Of a notebook that a run has to mend, all of its bytes."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        text = json.loads(path.read_text())
        kernel = text.get("metadata", {}).get("kernelspec", {}).get("name")
        return [kernel, [[cell["cell_type"], "".join(cell["source"]), cell.get("metadata", {}).get("tags", [])] for cell in text["cells"]]]
    return _content(path)


def _content(path: Path) -> str:
    with suppress(OSError):
        if path.is_symlink() and not path.exists():
            return f"-> {path.readlink()}"
        if not path.is_file():
            # A pipe would be waited for.
            return "no file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return "unreadable"


def labels(run_digest: str, output: str, notebook: Path, words: Sequence[str], kernel: str | None, folder: Path) -> dict[str, str]:
    """What a run's container says of it."""
    told = {"digest": run_digest, "output": output, "notebook": str(notebook), "parameters": json.dumps(list(words))}
    told |= {"origin": origin(folder), "place": place(folder)}
    return {LABEL + key: value for key, value in (told | ({"kernel": kernel} if kernel else {})).items()}


def document(run: Run) -> dict[str, Any]:
    """One run of `runs --json` and `status --json`, which docs/json.md describes."""
    otherwise = ("digest", "output", "parameters", "kernel", "exit_code", "place")
    told = {key: value for key, value in asdict(run).items() if key not in otherwise}
    options = [*shlex.split(parameters.shell(run.parameters)), *(["-k", run.kernel] if run.kernel else [])]
    return told | {"executed": run.output, "options": options, "exit_code": None if run.goes_on else run.code}


def how(run: Mapping[str, Any]) -> str:
    """How the run of a document went, in a few words."""
    if run["state"] == "created":
        return "made, and not begun"
    if run["state"] == "running":
        return f"running for {_ago(run['begun'])}"
    words = {0: "every cell ran", 1: "failed", 2: "could not begin", 130: "stopped", ENDED_FROM_OUTSIDE: "ended from outside"}
    ended = "out of memory" if run["out_of_memory"] else words.get(run["exit_code"], f"ended with {run['exit_code']}")
    return f"{ended}, {_ago(run['ended'])} ago"


def lines(documents: Iterable[Mapping[str, Any]], command: Callable[[str], str], folder: Path | None = None) -> list[str]:
    """Each run for people: what, how it goes, and what to type. `folder` is the project's, else that of the run's begin."""
    found = []
    for run in documents:
        begun_in = Path(run["origin"].partition(":")[2])
        # Begun from another computer: which folder has the project here is not known.
        there = shlex.quote(str(folder or begun_in)) if folder or run["origin"] == origin(begun_in) else "PROJECT"
        found.append(f"Run       {run['name']}: {run['notebook']} {shlex.join(run['options'])}".rstrip())
        found.append(f"          {how(run)}; begun from {run['origin']}")
        if run["exit_code"] == 2 and run["said"]:
            found.append(f"          {run['said']}")
        if run["state"] == "ended":
            found.append(f"          Its results are not here. Fetch them: {command('runs')} {there} --pull")
        else:
            found.append(f"          Stop it: {command('runs')} --stop {run['name']}")
    return [killed.plain(line) for line in found]


def ended(published: Mapping[str, Any]) -> list[Run]:
    """The runs of a project that had ended when a play looked for results."""
    return of({"batch_runs": published.get("ended_runs")})


def executed_here(folder: Path) -> set[str]:
    """The executed notebooks that a project's folder has."""
    return {f"runs/{path.name}" for path in (folder / "runs").glob("*.ipynb")}


def brought(published: Mapping[str, Any], folder: Path, had: Set[str]) -> list[Run]:
    """The runs whose results a play has brought. What another folder began, and this one `had`, waits for that one."""
    return [run for run in ended(published) if run.place == place(folder) or run.output not in had]


def arrived(runs: Iterable[Run], folder: Path) -> list[str]:
    """How each went, with where its results are."""
    return [_here_now(run, folder) for run in runs]


def _here_now(run: Run, folder: Path) -> str:
    if (folder / run.output).exists():
        return f"{run.name} has ended. {executed.line(folder / run.output)}"
    return killed.plain(f"{run.name} has ended, and left no executed notebook: {run.said or how(document(run))}")


def _ago(time: str | None) -> str:
    if not time:
        return "an unknown time"
    seconds = max((datetime.now(UTC) - datetime.fromisoformat(time[:19]).replace(tzinfo=UTC)).total_seconds(), 0)
    for most, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < most:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} days"
