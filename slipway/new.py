"""The command `new`: a project folder that works as it is, from the files in template/."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import jinja2

from slipway import render
from slipway.model import Exit, RefusalError

TEMPLATE = Path(__file__).resolve().parent / "template"
#: As in roles/project, which holds the rules.
SERVICES = ("jupyter", "redis", "mongo", "postgres", "worker", "monitor")

_DEFAULT = ("jupyter", "redis")
_STORES = ("redis", "mongo", "postgres")
#: Files that only some projects have: where they lie -> the service that they are for.
_ONLY = {"docker/postgres/10-tables.sql": "postgres", "data/measurements.csv": "postgres", "lib/jobs.py": "worker"}
_GIT_SECONDS = 60


@dataclass(frozen=True)
class Made:
    """A project that was made: its folder, its services, and what else is to be told. `git` is committed, begun or none."""

    path: Path
    services: tuple[str, ...]
    git: str
    told: tuple[str, ...]


def command(options: argparse.Namespace, next_line: Callable[[str], str]) -> Exit:
    """Make the project that the options ask for, in the current folder. `next_line` gives the line to type for a verb."""
    services, told = chosen(getattr(options, "services", None))
    made = make(options.project, services, told)
    following = next_line(f"deploy {made.path.name}")
    if options.json:
        document = {"path": str(made.path), "services": list(made.services), "git": made.git, "told": list(made.told), "next": following}
        print(render.as_json(document))
    else:
        print("\n".join([f"Made {made.path} with {', '.join(made.services)}.", *made.told, f"Next: {following}"]))
    return Exit.DONE


def chosen(asked: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The services that --with asks for, in their order, and what is added to them."""
    if asked is None:
        return _DEFAULT, ()
    users = [word for word in ("worker", "monitor") if word in asked]
    told = (f"redis was added, for {' and '.join(users)}.",) if users and "redis" not in asked else ()
    wanted = {"jupyter", *asked, *(["redis"] if users else [])}
    return tuple(each for each in SERVICES if each in wanted), told


def make(name: str, services: Sequence[str], told: Sequence[str] = ()) -> Made:
    """Make the folder NAME in the current one, as a whole or not at all. Raises RefusalError."""
    begun = None
    try:
        path = Path.cwd() / name
        if os.path.lexists(path):
            raise RefusalError(f"NAME: {name!r} cannot be used: {path} exists already. Allowed: a new name.", Exit.BAD_INPUT)
        begun = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=path.parent))
        _write(begun, name, services)
        git, said = _git(begun)
        begun.rename(path)
    except OSError as refusal:
        raise RefusalError(
            f"NAME: {name!r} cannot be made here: {refusal.strerror}. Allowed: a folder of your own as the current one.", Exit.BAD_INPUT
        ) from refusal
    finally:
        if begun:
            shutil.rmtree(begun, ignore_errors=True)
    return Made(path, tuple(services), git, (*told, *said))


def notebook(cells: str) -> dict[str, Any]:
    """A notebook of a script whose cells begin with `# %%`, or `# %% [markdown]` where their lines are comments."""
    made: list[dict[str, Any]] = []
    for number, text in enumerate(re.split(r"^# %%", cells, flags=re.MULTILINE)[1:], start=1):
        kind, _, body = text.partition("\n")
        if kind.strip() == "[markdown]":
            body = re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)
            cell: dict[str, Any] = {"cell_type": "markdown"}
        else:
            body = body.strip()
            cell = {"cell_type": "code", "execution_count": None, "outputs": []}
        made.append(cell | {"id": f"cell-{number}", "metadata": {}, "source": body.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": made, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


def _write(folder: Path, name: str, services: Sequence[str]) -> None:
    """Write the template's files for these services."""
    # It makes YAML and Python, no HTML.
    environment = jinja2.Environment(  # noqa: S701
        loader=jinja2.FileSystemLoader(TEMPLATE), trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    stores = [store for store in _STORES if store in services]
    variables = {"name": name, "services": services, "stores": stores, "connectors": [f"connect_to_{store}" for store in sorted(stores)]}
    # mkdtemp's is the user's alone, and a project is as any other folder.
    os.umask(mask := os.umask(0))
    folder.chmod(0o777 & ~mask)
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        place = source.relative_to(TEMPLATE).as_posix()
        text = environment.get_template(place).render(variables) if place.endswith(".j2") else source.read_text()
        place = place.removesuffix(".j2").replace("gitignore", ".gitignore")
        if _ONLY.get(place, "jupyter") not in services or (place == "lib/stores.py" and not stores):
            continue
        if place == "ipynb/first.py":
            place, text = f"ipynb/{date.today():%Y%m%d}-first.ipynb", json.dumps(notebook(text), indent=1, ensure_ascii=False) + "\n"
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if not (folder / "data").exists():
        # git and a sync know no empty folder.
        (folder / "data").mkdir()
        (folder / "data" / ".gitkeep").touch()


def _git(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Make a repository with a first commit, and say how far that went. A project is one without it too."""
    if not shutil.which("git"):
        return "none", ("There is no git here: the folder is no repository.",)
    above = _run_git(folder.parent, "rev-parse", "--show-toplevel")
    if above.returncode == 0:
        return "none", (f"It lies in the git repository {above.stdout.strip()}: no other was made in it.",)
    begun = _run_git(folder, "init", "--quiet")
    if begun.returncode:
        return "none", (f"git made no repository: {_reason(begun)}",)
    # git would make a name up of the computer's.
    if _run_git(folder, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT").returncode:
        return "begun", ("git does not know your name (git config --global user.name, user.email): nothing was committed.",)
    for words in (("add", "--all"), ("commit", "--quiet", "--message", "A new project")):
        done = _run_git(folder, *words)
        if done.returncode:
            return "begun", (f"Nothing was committed: {_reason(done)}",)
    return "committed", ()


def _run_git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # A hook of another repository that starts this has its own in the environment.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    try:
        return subprocess.run(
            ["git", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"git {words[0]} has not ended after {_GIT_SECONDS} s")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
    return lines[-1]
