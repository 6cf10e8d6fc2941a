"""The commands of projects: a folder of the user's is deployed, synchronised and run on the machine."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import ansible.module_utils

from slipway import adopt, arguments, killed, lab, new, pause, plays, render, runs, standing, values
from slipway.model import PROJECT, Exit, RefusalError, Result
from slipway.render import Progress
from slipway.words import shown

# One reader of slipway.yml, here and in the role.
ansible.module_utils.__path__.append(str(PROJECT / "roles" / "project" / "module_utils"))
from ansible.module_utils.project_seeds import look as look_at_seeds  # noqa: E402 (found by the path above)
from ansible.module_utils.project_settings import FILE, SettingsError, read  # noqa: E402


def deploy(options: argparse.Namespace, **more: Any) -> Exit:
    """Bring up a project's services, on machines that are made where they are missing."""
    folder, settings = project(options)
    check, progress = "dry_run" in options, Progress(check="dry_run" in options)
    if "scale" in options and "worker" not in settings["services"]:
        text = f"--scale: cannot be used. Allowed: for a project with worker among its services; it has {', '.join(settings['services'])}."
        raise RefusalError(f"{text} Nothing was changed.", Exit.BAD_INPUT)
    if not_run := _not_run(folder, settings):
        progress.say(f"PostgreSQL runs *.sql, *.sql.gz, *.sql.xz, *.sql.zst and *.sh of docker/postgres. Not run: {', '.join(not_run)}")
    if options.target == "lab" and not check:
        lab.start(progress)
    lab.need(options)
    variables = variables_of(options, folder) | more
    if "scale" in options:
        variables["slipway_scale"] = options.scale

    def play(playbook: str, **given: Any) -> Result:
        return plays.play("deploy", f"playbooks/project/{playbook}.yml", options, variables | given, progress, check)

    stores = [_store_machine(options, key) for key in settings["machines"]]
    with plays.locked_beside(options, f"orchestrate.py {options.command}", stores):
        result = _deployed(options, settings, play)
    if result.failure:
        return plays.failed(options, result, result.failure)
    document = _document(options, settings, result) | pause.found(result) | {"changed": result.changed, "seconds": result.seconds}
    if options.json:
        print(render.as_json(document))
    elif check:
        print(f"{result.changed} changes would be made.")
    else:
        print(render.project_text(document, partial(plays.command, options), folder))
        print(f"changed={result.changed} in {result.seconds:.0f} s")
    return Exit.DONE


def _deployed(options: argparse.Namespace, settings: Mapping[str, Any], play: Callable[..., Result]) -> Result:
    """The project's stores on machines of their own first, whose groups let in the main machine alone; then the rest."""
    hosts: dict[str, dict[str, str]] = {}
    changed = 0
    if settings["machines"]:
        result = play("provision")
        main = (result.published.get("instance") or {}).get("private_ip")
        if result.failure or not main:
            return result
        changed += result.changed
        for key, wanted in settings["machines"].items():
            name = _store_machine(options, key)
            result = play("deploy", slipway_name=name, slipway_store=key, slipway_store_callers=[f"{main}/32"])
            address = (result.published.get("instance") or {}).get("private_ip")
            if result.failure or not address:
                return result
            changed += result.changed
            hosts |= {store: {"address": address, "machine": name} for store in wanted["services"]}
    result = with_room(options, partial(play, "deploy", slipway_store_hosts=hosts))
    return Result(result.failure, changed + result.changed, result.seconds, result.published, result.log)


def _store_machine(options: argparse.Namespace, key: str) -> str:
    """The name of the machine that a project's `machines` has under this key."""
    return f"{plays.name(options)}-{key}"


def _not_run(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """What lies in docker/postgres, or in a folder of a similar name, and is not run by the project's PostgreSQL."""
    return list(look_at_seeds(folder).not_run) if "postgres" in _services(settings) else []


def _services(settings: Mapping[str, Any]) -> list[str]:
    """The services of a project, on all its machines."""
    return [*settings["services"], *(store for each in settings["machines"].values() for store in each["services"])]


def with_room(options: argparse.Namespace, play: Callable[..., Result]) -> Result:
    """Run a play that may have to bring other stacks to rest. At a terminal that is asked first."""
    asks = sys.stdin.isatty() and not options.yes
    result = play(stack_makes_room=not asks)
    rest = result.published.get("must_rest")
    if asks and result.failure and rest:
        print(result.failure.reason, file=sys.stderr)
        if render.ask(f"Let {', '.join(rest)} rest? [y/N] ", plays.again(options)).lower() in ("y", "yes"):
            return play(stack_makes_room=True)
    return result


def sync(options: argparse.Namespace) -> Exit:
    """`push` and `pull` (also that of `runs`): bring a project's files to the machine, or back from it."""
    verb = "push" if options.command == "push" else "pull"
    folder, settings = project(options)
    lab.need(options)
    check = "dry_run" in options
    variables = variables_of(options, folder) | {
        "project_overwrite": "overwrite" in options,
        "project_delete": "delete" in options,
        "slipway_place": runs.place(folder),
        "project_most_mb": MOST_MB if verb == "pull" and not (check or options.yes) else 0,
    }

    def play(**given: Any) -> Result:
        playbook = f"playbooks/project/{verb}.yml"
        return plays.play(verb, playbook, options, variables | given, Progress(check=check), check)

    had = runs.executed_here(folder)
    with nullcontext() if check else plays.syncing(folder):
        result = play()
        ended = runs.brought(result.published, folder, had)
        # Executed notebooks are here, even if the other files are too many.
        would = [f"{run.name} has ended: its results would be fetched." for run in ended]
        for line in would if check else runs.arrived(ended, folder):
            print(line, file=sys.stderr)
        if result.failure and waiting(result):
            if not sys.stdin.isatty():
                raise RefusalError(f"{result.failure.reason} To fetch it: {plays.again(options)} --yes")
            print(result.failure.reason, file=sys.stderr)
            if render.ask("Fetch it? [y/N] ", plays.again(options)).lower() not in ("y", "yes"):
                raise RefusalError("The files stay on the machine.")
            result = play(project_most_mb=0)
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    document = {"project": settings["name"], **result.published["sync"], "changed": result.changed}
    document["runs"] = [runs.document(run) for run in ended]
    print(render.as_json(document) if options.json else render.sync_text(document, check))
    return Exit.DONE


def waiting(result: Result) -> dict[str, int]:
    """Files and bytes that a pull has left on the machine, for they are more than it may fetch unasked."""
    return result.published.get("waiting") or {}


def show(options: argparse.Namespace) -> Exit:
    """`open PROJECT` and `status PROJECT`: the way to a project's services, and what they are."""
    folder, settings = project(options)
    lab.need(options)
    playbook, variables, back = f"playbooks/project/{options.command}.yml", variables_of(options, folder), {}
    result = plays.play(options.command, playbook, options, variables, Progress())
    if options.command == "open" and pause.is_down(result.published) and not result.failure:
        result = pause.back(options, "open", Progress())
        back = pause.found(result)
        if not result.failure:
            result = plays.play(options.command, playbook, options, variables, Progress())
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    document = _document(options, settings, result) | (back or pause.found(result) if options.command == "open" else {})
    if options.command == "open" and not standing.serves(document):
        place = shlex.quote(str(folder))
        start, logs = f"{plays.command(options, 'deploy')} {place}", f"{plays.command(options, 'logs')} --project {place}"
        raise RefusalError(standing.closed(document, settings["name"], start, logs))
    print(render.as_json(document) if options.json else render.project_text(document, partial(plays.command, options), folder))
    return Exit.DONE


def rest(options: argparse.Namespace) -> Exit:
    """Stop a stack's services in order. They keep their data, and give their memory to others."""
    return _by_name(options, "rest", {})


def remove(options: argparse.Namespace) -> Exit:
    """Remove a project's containers; of its volumes only those that are named."""
    return _by_name(options, "remove", {"stack_removed_volumes": getattr(options, "volume", [])})


def _by_name(options: argparse.Namespace, verb: str, more: Mapping[str, Any]) -> Exit:
    name = stack_name(options)
    lab.need(options)
    variables = arguments.variables(options) | {"slipway_stack": name, **more}
    result = plays.play(verb, f"playbooks/project/{verb}.yml", options, variables, Progress())
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    document = {"stack": name, "changed": result.changed, "volumes": result.published["volumes"]}
    print(render.as_json(document) if options.json else render.by_name_text(document, verb, partial(plays.command, options)))
    return Exit.DONE


def reseed(options: argparse.Namespace) -> Exit:
    """Make PostgreSQL's volume anew from the project's files: its data are lost, so its name is typed out."""
    _, settings = project(options)
    if "postgres" not in (has := _services(settings)):
        text = f"reseed: {settings['name']} has no postgres. Allowed: a project with postgres among its services; it has {', '.join(has)}."
        raise RefusalError(f"{text} Nothing was changed.", Exit.BAD_INPUT)
    wanted = f"{settings['name']}_postgres_data"
    given = getattr(options, "volume", None)
    if given is None:
        question = f"This removes the volume {wanted} with all that PostgreSQL holds. Type its name to go on: "
        given = render.ask(question, f"{plays.command(options, 'reseed')} {shlex.quote(options.project)} --volume {wanted}")
    if given != wanted:
        raise RefusalError(
            f"--volume: {given!r} cannot be used. Allowed: {wanted}, which reseed removes. Nothing was changed.", Exit.BAD_INPUT
        )
    return deploy(options, stack_emptied_volume=wanted)


def packages(options: argparse.Namespace) -> Exit:
    """`diff` and `adopt`: what was installed by hand in the running Jupyter container, and how it stays."""
    folder, settings = project(options)
    lab.need(options)
    variables = variables_of(options, folder) | {"stack_kept_tag": getattr(options, "keep", "")}
    result = plays.play(options.command, "playbooks/project/packages.yml", options, variables, Progress())
    if result.failure:
        return plays.failed(options, result, result.failure)
    plays.running_instance(options, result)
    found = result.published["packages"]
    if options.command == "diff":
        print(render.as_json({"project": settings["name"], "packages": found}) if options.json else adopt.text(found))
        return Exit.DONE
    kept = result.published.get("kept")
    with plays.syncing(folder):
        done = {"added": [], "left": []} if kept else adopt.adopt(folder, settings, found)
    document = {"project": settings["name"], "packages": found, **done, "kept": kept}
    print(
        render.as_json(document) if options.json else adopt.told(document, f"{plays.command(options, 'deploy')} {shlex.quote(str(folder))}")
    )
    return Exit.DONE


def _new(options: argparse.Namespace) -> Exit:
    return new.command(options, partial(plays.command, options))


def project(options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The project's folder and its settings. Everything that is wrong with them ends here."""
    folder = Path(options.project).absolute() if "project" in options else above(Path.cwd(), "PROJECT: this folder lies in no project")
    options.project = values.path("PROJECT", folder)
    try:
        return folder, read(folder)
    except SettingsError as wrong:
        raise RefusalError(str(wrong), Exit.BAD_INPUT) from wrong


def is_project(folder: Path, name: str) -> bool:
    """Whether the folder is the project of that name."""
    try:
        return folder.is_absolute() and bool(read(folder)["name"] == name)
    except SettingsError:
        return False


def stack_name(options: argparse.Namespace) -> str:
    """The stack that a word means: a project's folder, or the name that `status` shows."""
    word = getattr(options, "project", None)
    if word is not None and not (Path(word) / FILE).is_file():
        if not _STACK.fullmatch(word):
            text = f"PROJECT: {shown(word)} cannot be used. Allowed: a project's folder, with a {FILE}, or its name on the machine."
            raise RefusalError(f"{text} Nothing was changed.", Exit.BAD_INPUT)
        return str(word)
    return str(project(options)[1]["name"])


def above(start: Path, otherwise: str) -> Path:
    """The nearest folder with a slipway.yml, from here upwards."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise RefusalError(f"{otherwise}: no folder from {start} upwards has a {FILE}. Make one with: new NAME", Exit.BAD_INPUT)


def variables_of(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The role variables of a command on a project."""
    return arguments.variables(options) | {"project_path": str(folder), "stack_starved": killed.starved(killed.of_runs(folder))}


def _document(options: argparse.Namespace, settings: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """The document of `status PROJECT --json`, which docs/json.md describes."""
    published = result.published
    folder, most = Path(options.project), settings["memory_mib"]
    stack = f"projects/{settings['name']}"
    document = plays.status(options, result, stack, folder=folder, runs=killed.of_runs(folder), most_mib=most)
    keys = ("rested", "seeds_not_used", "sync")
    mine = runs.waiting(runs.of(published, settings["name"]), folder)
    more = {"project": settings["name"], "seeds_not_run": _not_run(folder, settings), "runs": [runs.document(run) for run in mine]}
    token_file = plays.kept_of(options, stack) / "secrets_monitor" / "monitor_token"
    more["monitor_url"] = render.url_with_token(published.get("monitor_url"), token_file)
    return document | more | {key: published.get(key) for key in keys}


#: What Compose takes as a project's name, and the role stack with it.
_STACK = re.compile("[a-z0-9][a-z0-9_-]{0,39}")
#: What a pull fetches unasked.
MOST_MB = 100
CHANGING = ("deploy", "push", "pull", "reseed", "rest", "remove", "adopt")
COMMANDS: dict[str, Callable[[argparse.Namespace], Exit]] = {
    "new": _new,
    "deploy": deploy,
    "push": sync,
    "pull": sync,
    "reseed": reseed,
    "rest": rest,
    "remove": remove,
    "diff": packages,
    "adopt": packages,
}
