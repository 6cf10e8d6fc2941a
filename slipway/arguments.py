"""argv -> options, and the role variables that they set."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.model import Exit, RefusalError

#: What Ansible would evaluate.
TEMPLATE = re.compile(r"\{\{|\{%|\{#")
#: Option -> the role variable that it sets; the roles hold the rules.
_COMMON = {
    "name": "slipway_name",
    "region": "slipway_region",
    "lose_files": "stack_lose_files",
}
_RESIZE = {
    "type": "ec2_resize_type",
    "fallback": "ec2_resize_fallback",
    "max_price": "ec2_resize_max_price",
    "snapshot": "ec2_resize_snapshot",
    "rollback": "ec2_resize_rollback",
}
_RUN = {"on": "ec2_resize_type"}
_DESTROY = {"instance": "ec2_instance_destroy_instance"}
_OPEN = {"local_port": "tunnel_wanted_port"}
_UP = {
    "type": "ec2_instance_type",
    "disk": "ec2_instance_disk_gib",
    "key_file": "ec2_instance_key_file",
    "services": "stack_services",
    "settings": "stack_jupyter_settings",
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options. An option that was not given has no attribute, but for those of every command."""
    # The defaults stand here, not in the parsers: a word before the command would be undone by the command's own.
    options = _parser().parse_args(argv, argparse.Namespace(target="lab", json=False, yes=False))
    options.words = list(argv)
    if "confirm" in options and "name" not in options:
        options.name = options.confirm
    return options


def variables(options: argparse.Namespace) -> dict[str, Any]:
    """The role variables that the options set. Values are data: what Ansible would evaluate is refused."""
    return _found(options, _COMMON | {"resize": _RESIZE, "run": _RUN, "open": _OPEN, "destroy": _DESTROY}.get(options.command, _UP))


def common(options: argparse.Namespace) -> dict[str, Any]:
    """Those that name the machine alone."""
    return _found(options, _COMMON)


def _found(options: argparse.Namespace, names: Mapping[str, str]) -> dict[str, Any]:
    found = {variable: getattr(options, option) for option, variable in names.items() if getattr(options, option, None) is not None}
    for variable, value in found.items():
        if TEMPLATE.search(str(value)):
            raise RefusalError(f"{variable}: {value!r} cannot be used. Allowed: plain text, without template marks.", Exit.BAD_INPUT)
    for variable in ("stack_services", "ec2_resize_fallback"):
        if variable in found:
            words = [found[variable]] if isinstance(found[variable], str) else found[variable]
            found[variable] = [item.strip() for word in words for item in word.split(",") if item.strip()]
    if "tunnel_wanted_port" in found:
        found["tunnel_wanted_port"] = _port(found["tunnel_wanted_port"])
    if "ec2_instance_destroy_instance" in found:
        # An empty one would mean the machine.
        found["ec2_instance_destroy_instance"] = _instance_id(found["ec2_instance_destroy_instance"])
    if found.get("ec2_instance_key_file"):
        found["ec2_instance_key_file"] = str(Path(found["ec2_instance_key_file"]).expanduser().absolute())
    return found


def _port(word: str) -> int:
    """A port of this computer that needs no privilege."""
    if not re.fullmatch("[1-9][0-9]{3,4}", word) or not 1024 <= int(word) <= 65535:
        raise RefusalError(f"--local-port: {word!r} cannot be used. Allowed: 1024 to 65535. Nothing was changed.", Exit.BAD_INPUT)
    return int(word)


def _instance_id(word: str) -> str:
    """An id as EC2 gives them."""
    if not re.fullmatch("i-[0-9a-f]{8}([0-9a-f]{9})?", word):
        raise RefusalError(
            f"--instance: {word!r} is no instance's id. Allowed: such as i-0a1b2c3d4e5f60718. Nothing was changed.", Exit.BAD_INPUT
        )
    return word


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--target", choices=["lab", "aws"], help="lab: the local EC2 (default); aws: the real one")
    common.add_argument("--name", help="the machine's name (default: slipway)")
    common.add_argument("--region", help="AWS region")
    common.add_argument("--json", action="store_true", help="answer as JSON (docs/json.md)")
    common.add_argument("--yes", action="store_true", help="ask nothing")
    parser = argparse.ArgumentParser(
        prog="orchestrate.py", parents=[common], description="A Jupyter server with its data stores on a machine of your own."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common], argument_default=argparse.SUPPRESS, help=text, description=text)

    up = add("up", "make what is missing, start what is stopped, print Jupyter's URL")
    up.add_argument("--type", help="instance type of a new machine (default: t2.micro)")
    up.add_argument("--disk", help="its disk in GiB (default: 20)")
    up.add_argument("--services", help="comma-separated, of jupyter,redis,mongo,postgres (default: all)")
    up.add_argument("--key-file", help="a private SSH key of your own (default: one is made)")
    _add_settings(up)
    up.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    new = add("new", "make a project folder here: settings, a notebook, a package, a git repository")
    new.add_argument("project", metavar="NAME", help="the folder, which is the project's name too")
    new.add_argument(
        "--with", dest="services", metavar="SERVICES", help="comma-separated, of redis,mongo,postgres,worker,monitor (default: redis)"
    )
    resize = add("resize", "give the machine another instance type, with nothing lost")
    resize.add_argument("type", nargs="?", metavar="TYPE", help="the wanted instance type, t2.medium for one")
    resize.add_argument("--dry-run", action="store_true", help="check everything, print the plan, and change nothing")
    resize.add_argument("--snapshot", action="store_true", help="make a snapshot of the disk before the machine is stopped")
    resize.add_argument("--fallback", nargs="+", metavar="TYPE", help="types to be tried, in order, where EC2 has none of the wanted one")
    resize.add_argument("--max-price", metavar="USD", help="what a type may cost at most per hour, with disk and address")
    resize.add_argument("--rollback", action="store_true", help="undo a resize that was left half-way")
    _add_lose_files(resize)
    _add_projects(add)
    _add_memory(add)
    status = add("status", "show the instance, each service with its health and memory, and the URL")
    status.add_argument("project", nargs="?", metavar="PROJECT", help="a project's folder, for its services and URLs")
    opened = add("open", "open the tunnel again and print Jupyter's URL")
    opened.add_argument("project", nargs="?", metavar="PROJECT", help="a project's folder, for its services")
    opened.add_argument("--local-port", metavar="N", help="the port of this computer that leads to Jupyter from now on")
    logs = add("logs", "show the services' logs")
    logs.add_argument("--project", metavar="PROJECT", help="a project's folder, or its name on the machine, for its services")
    logs.add_argument("service", nargs="*", help="which services (default: all)")
    logs.add_argument("--tail", type=int, help="lines of each (default: 100)")
    logs.add_argument("--follow", action="store_true", help="go on until interrupted")
    top = add("top", "what each service uses just now of the machine's processors and of its memory limit")
    top.add_argument("--interval", metavar="SECONDS", help="how often to look (default: 2)")
    ssh = add("ssh", "a shell on the machine, or one command there")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run there")
    destroy = add("destroy", "remove the machine with all its data, its security group and its key pair")
    destroy.add_argument("confirm", nargs="?", metavar="NAME", help="the machine's name, typed out to confirm")
    destroy.add_argument("--instance", metavar="ID", help="of two instances of the name, remove this one alone; the machine stays")
    destroy.add_argument("--dry-run", action="store_true", help="tell what would be removed, and remove nothing")
    unlock = add("unlock", "end the lock of a command that has ended without giving its machine back")
    unlock.add_argument("--dry-run", action="store_true", help="tell which command has it, and end nothing")
    lab = add("lab", "the local EC2")
    lab.add_argument("action", choices=["up", "down", "status", "reset"], help="down and reset remove its instances with their data")
    return parser


def _add_lose_files(command: argparse.ArgumentParser) -> None:
    text = "go on though the containers hold files outside of the home and work/, which are lost as they are made again"
    command.add_argument("--lose-files", action="store_true", help=text)


def _add_settings(command: argparse.ArgumentParser) -> None:
    text = "start JupyterLab without your settings (~/.jupyter), which stay; the next time without this option it has them again"
    command.add_argument("--without-settings", dest="settings", action="store_false", help=text)


def _add_memory(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """The commands that measure memory, and what follows from it."""
    measure = add("measure", "measure what data and models take of memory on the machine")
    measure.add_argument(
        "project", nargs="?", metavar="PROJECT", help="a project's folder, whose Jupyter is measured (default: the machine's)"
    )
    measure.add_argument("--rows", type=int, nargs="+", metavar="N", help="numbers of rows (default: the tables' six shapes)")
    measure.add_argument("--cols", type=int, nargs="+", metavar="N", help="numbers of columns, each measured with each of the rows")
    measure.add_argument("--models", nargs="+", metavar="MODEL", help="which models (default: the four of the tables)")
    measure.add_argument("--seconds", type=int, metavar="N", help="how long one may take until it is cut (default: 300)")
    measure.add_argument("--again", action="store_true", help="what was measured before too; after an interruption go on without it")
    advise = add("advise", "name the cheapest type that holds a notebook, or a shape of data and a model, by what was measured")
    advise.add_argument("notebook", nargs="?", metavar="NOTEBOOK", help="a notebook of a project, which was run before")
    advise.add_argument("--rows", type=int, metavar="N", help="or: rows of an array of float64")
    advise.add_argument("--cols", type=int, metavar="N", help="its columns")
    advise.add_argument("--model", metavar="MODEL", help="what is fitted to it, SVC for one")
    advise.add_argument("--peak", type=int, metavar="MIB", help="or: the memory that Jupyter's container must have")
    advise.add_argument(
        "--project", metavar="PROJECT", help="a project's folder, beside whose services it is to fit (default: the machine's)"
    )
    advise.add_argument("--any-architecture", action="store_true", help="types of another architecture too, for a new machine")


def _add_projects(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """The commands of projects."""

    def of_a_project(name: str, text: str) -> argparse.ArgumentParser:
        command = add(name, text)
        command.add_argument("project", nargs="?", metavar="PROJECT", help="its folder (default: the nearest one with a slipway.yml)")
        return command

    deploy = of_a_project("deploy", "bring up a project's services on the machine, and print their URLs")
    deploy.add_argument("--scale", metavar="worker=N", help="how many workers (default: slipway.yml's)")
    _add_settings(deploy)
    deploy.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    for name, text in (("push", "bring a project's files to the machine"), ("pull", "bring a project's files back from the machine")):
        sync = of_a_project(name, text)
        sync.add_argument("--overwrite", action="store_true", help="where a file was changed on both sides, take this command's side")
        sync.add_argument("--delete", action="store_true", help="remove on the other side what was removed on this one")
        sync.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    run = add("run", "execute a notebook on the machine, and bring back what it made")
    run.add_argument("notebook", metavar="NOTEBOOK", help="its path")
    run.add_argument("-p", dest="parameter", action="append", metavar="NAME=VALUE", help="a parameter, read as the notebook's default is")
    run.add_argument("-r", dest="text_parameter", action="append", metavar="NAME=VALUE", help="a parameter that is text, whatever it holds")
    run.add_argument("-y", dest="yaml_parameter", action="append", metavar="YAML", help="parameters as YAML: 'NAME: VALUE'")
    run.add_argument("-k", dest="kernel", metavar="KERNEL", help="run with this kernel of the image (default: the notebook's)")
    run.add_argument("--detach", action="store_true", help="begin it and return at once; this command again has its results")
    run.add_argument("--again", action="store_true", help="another run, although the same one goes on or has results that are not here")
    run.add_argument("--on", metavar="TYPE", help="on a larger type, for this run only; auto: the cheapest one that fits")
    run.add_argument("--dry-run", action="store_true", help="with --on: check everything, print the plan, and change nothing")
    _add_lose_files(run)
    listed = add("runs", "list the batch runs that go on, and those whose results are not here")
    listed.add_argument("project", nargs="?", metavar="PROJECT", help="a project's folder, or its name on the machine (default: all)")
    listed.add_argument("--pull", action="store_true", help="fetch what the project's runs gave (default: of the nearest slipway.yml)")
    listed.add_argument("--stop", metavar="NAME", help="stop this run; what it has so far is kept")
    listed.add_argument("--forget", metavar="NAME", help="take this run, which has ended, from the list without fetching its results")
    reseed = of_a_project("reseed", "make PostgreSQL's volume anew from the project's files; its data are lost")
    reseed.add_argument("--volume", metavar="NAME", help="the volume's name, typed out to confirm")
    for name, text in (("rest", "stop a stack's services; their data stay"), ("remove", "remove a project's containers; its volumes stay")):
        command = add(name, text)
        command.add_argument("project", nargs="?", metavar="PROJECT", help="its folder, or its name on the machine")
        if name == "remove":
            command.add_argument("--volume", action="append", metavar="NAME", help="remove this volume too, with its data")
    of_a_project("diff", "show the packages that were installed by hand in the running container")
    adopt = of_a_project("adopt", "write those packages into the project's Dockerfile")
    adopt.add_argument("--keep", metavar="TAG", help="instead keep the container as an image, for a while")
