"""Starts the worker, and says why if a package in the home keeps it from that: `python -P -m slipway_begin slipway_worker`.

Jobs have what `pip install --user` has installed, so the worker, whose children they are, has it too: redis or rq of another version, for
example, in the place of those that the image brings. The worker's own reasons are slipway_rq's to tell, which imports both.
"""

import importlib
import importlib.metadata
import os
import site
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

#: The worker's own folder, which no other container sees. The health check reads it.
FOLDER = Path("/tmp/slipway-worker")  # noqa: S108 (of this container alone)
#: Why it cannot work just now.
TROUBLE = FOLDER / "trouble"
#: Seconds until the next try: what is removed meanwhile needs no other command.
PAUSE = 15


def chain(problem: BaseException | None) -> Iterator[BaseException]:
    """The exception, and those that it came from."""
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


def at_fault(problem: BaseException, place: Path) -> list[str]:
    """Names of the modules of that folder which the exception comes from: those that it came through, else all that are loaded."""
    files = [frame.filename for each in chain(problem) for frame in traceback.extract_tb(each.__traceback__)]
    # `from redis import X` fails in the module that has asked.
    files += [each.path for each in chain(problem) if isinstance(each, ImportError) and each.path]
    loaded = [file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
    for found in (files, loaded):
        inside = [Path(file).relative_to(place).parts[0] for file in found if Path(file).is_relative_to(place)]
        if names := sorted({name.removesuffix(".py") for name in inside}):
            return names
    return []


def packages(place: Path) -> dict[str, tuple[str, str]]:
    """By module, the name and the version of the package that brought it to the folder, as far as pip knows."""
    found = {}
    for each in importlib.metadata.distributions(path=[str(place)]):
        for file in each.files or []:
            found.setdefault(file.parts[0].removesuffix(".py"), (each.metadata["Name"], each.version))
    return found


def words(problem: BaseException, place: Path) -> str:
    """Why the worker does not start, for `status`."""
    said = f"The worker does not start: {type(problem).__name__}: {problem}".rstrip(".") + "."
    modules = at_fault(problem, place)
    if not modules:
        return said
    shown = f"~/{place.relative_to(Path.home())}" if place.is_relative_to(Path.home()) else str(place)
    known = packages(place)
    by_pip = sorted({known[name] for name in modules if name in known})
    by_hand = [name for name in modules if name not in known]
    named = ", ".join([*map(" ".join, by_pip), *by_hand])
    how = [f"`pip uninstall {' '.join(name for name, _ in by_pip)}`"] * bool(by_pip) + [
        f"`rm -r {shown}/{_file(place, name)}`" for name in by_hand
    ]
    fix = f"In a terminal of JupyterLab {' and '.join(how)} removes it; the worker then starts by itself."
    return f"{said} It comes from {named} in {shown}, which the worker takes in the place of what the image brings. {fix}"


def _file(place: Path, name: str) -> str:
    return name if (place / name).is_dir() else f"{name}.py"


def main() -> None:
    """Start the module that is named; if that fails, say why, and try again with a new Python."""
    FOLDER.mkdir(exist_ok=True)
    try:
        importlib.import_module(sys.argv[1]).main()
    except Exception as problem:
        traceback.print_exc()
        said = " ".join(words(problem, Path(site.getusersitepackages())).split())
        TROUBLE.write_text(said)
        print(said, file=sys.stderr, flush=True)
        time.sleep(PAUSE)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 (itself)


if __name__ == "__main__":
    main()
