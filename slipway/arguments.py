"""argv -> options, and the role variables that they set."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from slipway import values, words
from slipway.model import Exit, RefusalError

_BASE_SERVICES = ("jupyter", "redis", "mongo", "postgres")
_PROJECT_SERVICES = ("redis", "mongo", "postgres", "worker", "monitor")
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
_BAKE = {"type": "ec2_instance_type", "disk": "ec2_instance_disk_gib", "remove": "machine_image_removed"}
_UP = {
    "type": "ec2_instance_type",
    "disk": "ec2_instance_disk_gib",
    "key_file": "ec2_instance_key_file",
    "machine_image": "ec2_instance_machine_image",
    "services": "stack_services",
    "settings": "stack_jupyter_settings",
}


class _Once(argparse.Action):
    """Keeps a value. Given twice, one of the two would be passed over in silence."""

    seen = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if option and self.seen:
            parser.error(f"argument {'/'.join(self.option_strings)}: it is given twice. Allowed: once.")
        self.seen = True
        setattr(namespace, self.dest, values if self.nargs != 0 else self.const)


class _Set(_Once):
    """An option without a value."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: Any = True, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, const=const, **more)


class Parser(argparse.ArgumentParser):
    """What is wrong is one line, and nothing is done."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for own in (None, "store"):
            self.register("action", own, _Once)
        self.register("action", "store_true", _Set)

    def error(self, message: str) -> NoReturn:
        """Raise RefusalError."""
        text = message.removeprefix("argument ")
        # In argparse's words, which changed with Python 3.12.
        if choice := re.fullmatch(r"(.*): invalid choice: (.*) \(choose from (.*)\)", text, re.DOTALL):
            text = f"{choice[1]}: {choice[2]} cannot be used. Allowed: {choice[3].replace(chr(39), '')}."
        elif "Allowed:" not in text:
            text = f"{text}. Allowed: what {self.prog} --help shows."
        raise RefusalError(f"{text} Nothing was changed.", Exit.BAD_INPUT)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options. One that was not given has no attribute, but for those of every command. Raises RefusalError."""
    # The defaults stand here, not in the parsers: a word before the command would be undone by the command's own.
    options = parser().parse_args(argv, argparse.Namespace(target="lab", json=False, yes=False))
    options.words = list(argv)
    if "confirm" in options and "name" not in options:
        options.name = options.confirm
    if options.command == "bake":
        options.user_name = getattr(options, "name", None)
        # A machine of its own, with a lock and a folder of its own.
        options.name = f"{options.user_name or 'slipway'}-bake"
    return options


def variables(options: argparse.Namespace) -> dict[str, Any]:
    """The role variables that the options set."""
    return _found(
        options, _COMMON | {"resize": _RESIZE, "run": _RUN, "open": _OPEN, "bake": _BAKE, "destroy": _DESTROY}.get(options.command, _UP)
    )


def common(options: argparse.Namespace) -> dict[str, Any]:
    """Those that name the machine alone."""
    return _found(options, _COMMON)


def _found(options: argparse.Namespace, names: Mapping[str, str]) -> dict[str, Any]:
    found = {variable: getattr(options, option) for option, variable in names.items() if getattr(options, option, None) is not None}
    if "ec2_resize_fallback" in found:
        found["ec2_resize_fallback"] = [each for several in found["ec2_resize_fallback"] for each in several]
    if "ec2_instance_key_file" in found:
        found["ec2_instance_key_file"] = values.path("--key-file", Path(found["ec2_instance_key_file"]).expanduser().absolute())
    return found


def parser() -> Parser:
    """The parser of one command line: it remembers what it has seen. Each option and argument has a kind (slipway/words.py)."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--target", choices=["lab", "aws"], help="lab: the local EC2 (default); aws: the real one")
    common.add_argument("--name", type=words.MACHINE, help="the machine's name (default: slipway)")
    common.add_argument("--region", type=words.REGION, help="AWS region")
    common.add_argument("--json", action="store_true", help="answer as JSON (docs/json.md)")
    common.add_argument("--yes", action="store_true", help="ask nothing")
    whole = Parser(prog="orchestrate.py", parents=[common], description="A Jupyter server with its data stores on a machine of your own.")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common], argument_default=argparse.SUPPRESS, help=text, description=text)

    up = add("up", "make what is missing, start what is stopped, print Jupyter's URL")
    up.add_argument("--type", type=words.TYPE, help="instance type of a new machine (default: t2.micro)")
    up.add_argument("--disk", type=words.whole(1, 16384, " of GiB"), help="its disk in GiB (default: 20)")
    up.add_argument(
        "--services", type=words.several_of(*_BASE_SERVICES), help="comma-separated, of jupyter,redis,mongo,postgres (default: all)"
    )
    up.add_argument(
        "--machine-image",
        type=words.IMAGE,
        metavar="AMI",
        help="the image that a new machine is made from (default: one that `bake` has made for this version, else the system's own)",
    )
    up.add_argument("--key-file", type=words.FILE, help="a private SSH key of your own (default: one is made)")
    _add_settings(up)
    up.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    new = add("new", "make a project folder here: settings, a notebook, a package, a git repository")
    new.add_argument("project", type=words.PROJECT_NAME, metavar="NAME", help="the folder, which is the project's name too")
    new.add_argument(
        "--with",
        dest="services",
        type=words.several_of("jupyter", *_PROJECT_SERVICES, named=_PROJECT_SERVICES),
        metavar="SERVICES",
        help="comma-separated, of redis,mongo,postgres,worker,monitor (default: redis)",
    )
    for name, text in (
        ("stop", "bring everything down in order, and stop the instance; its data stay, and its disk costs"),
        ("start", "start the instance that was stopped, with exactly what ran on it, and print Jupyter's URL"),
    ):
        command = add(name, text)
        command.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    resize = add("resize", "give the machine another instance type, with nothing lost")
    resize.add_argument("type", nargs="?", type=words.TYPE, metavar="TYPE", help="the wanted instance type, t2.medium for one")
    resize.add_argument("--dry-run", action="store_true", help="check everything, print the plan, and change nothing")
    resize.add_argument("--snapshot", action="store_true", help="make a snapshot of the disk before the machine is stopped")
    resize.add_argument(
        "--fallback", nargs="+", type=words.TYPES, metavar="TYPE", help="types to be tried, in order, where EC2 has none of the wanted one"
    )
    resize.add_argument(
        "--max-price",
        type=words.number(0, 10_000, " of USD (0 is no limit)"),
        metavar="USD",
        help="what a type may cost at most per hour, with disk and address",
    )
    resize.add_argument("--rollback", action="store_true", help="undo a resize that was left half-way")
    _add_lose_files(resize)
    _add_bake(add)
    _add_projects(add)
    _add_memory(add)
    status = add("status", "show the instance, each service with its health and memory, and the URL")
    status.add_argument("project", nargs="?", type=words.FOLDER, metavar="PROJECT", help="a project's folder, for its services and URLs")
    opened = add("open", "open the tunnel again and print Jupyter's URL")
    opened.add_argument("project", nargs="?", type=words.FOLDER, metavar="PROJECT", help="a project's folder, for its services")
    opened.add_argument(
        "--local-port",
        # Those below need a privilege.
        type=words.whole(1024, 65535),
        metavar="N",
        help="the port of this computer that leads to Jupyter from now on",
    )
    logs = add("logs", "show the services' logs")
    logs.add_argument(
        "--project", type=words.STACK, metavar="PROJECT", help="a project's folder, or its name on the machine, for its services"
    )
    logs.add_argument("service", nargs="*", type=words.SERVICE, metavar="SERVICE", help="which services (default: all)")
    logs.add_argument("--tail", type=words.whole(0, 1_000_000), metavar="N", help="lines of each (default: 100)")
    logs.add_argument("--follow", action="store_true", help="go on until interrupted")
    top = add("top", "what each service uses just now of the machine's processors and of its memory limit")
    top.add_argument("--interval", type=words.number(0.5, 3600, " of seconds"), metavar="SECONDS", help="how often to look (default: 2)")
    ssh = add("ssh", "a shell on the machine, or one command there")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, type=words.WORDS, metavar="COMMAND", help="what to run there")
    destroy = add("destroy", "remove the machine with all its data, its security group and its key pair")
    destroy.add_argument("confirm", nargs="?", type=words.MACHINE, metavar="NAME", help="the machine's name, typed out to confirm")
    destroy.add_argument(
        "--instance", type=words.INSTANCE, metavar="ID", help="of two instances of the name, remove this one alone; the machine stays"
    )
    destroy.add_argument("--dry-run", action="store_true", help="tell what would be removed, and remove nothing")
    unlock = add("unlock", "end the lock of a command that has ended without giving its machine back")
    unlock.add_argument("--dry-run", action="store_true", help="tell which command has it, and end nothing")
    lab = add("lab", "the local EC2")
    lab.add_argument(
        "action",
        choices=["up", "down", "status", "reset", "aws"],
        metavar="up|down|status|reset|aws",
        help="down and reset remove its instances with their data; aws starts what AWS's own inventory needs to work against it",
    )
    return whole


def _add_bake(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    text = (
        "make a machine image with the engine and the services' images, from which `up` makes machines in seconds; or list or remove such"
    )
    bake = add("bake", text)
    bake.add_argument("--type", type=words.TYPE, help="instance type of the machine that it is made on (default: t2.micro)")
    bake.add_argument(
        "--disk", type=words.whole(1, 16384, " of GiB"), help="its disk in GiB, which machines then have at least (default: 20)"
    )
    bake.add_argument("--dry-run", action="store_true", help="tell what is left to do and what it costs, and change nothing")
    instead = bake.add_mutually_exclusive_group()
    instead.add_argument("--list", dest="listed", action="store_true", help="list the images of the account in this region")
    instead.add_argument("--remove", type=words.IMAGE, metavar="AMI", help="remove this image with its snapshots; machines from it stay")


def _add_lose_files(command: argparse.ArgumentParser) -> None:
    text = "go on though the containers hold files outside of the home and work/, which are lost as they are made again"
    command.add_argument("--lose-files", action="store_true", help=text)


def _add_settings(command: argparse.ArgumentParser) -> None:
    text = "start JupyterLab without your settings (~/.jupyter), which stay; the next time without this option it has them again"
    command.add_argument("--without-settings", dest="settings", action="store_true", const=False, help=text)


def _add_memory(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """The commands that measure memory, and what follows from it."""
    measure = add("measure", "measure what data and models take of memory on the machine")
    measure.add_argument(
        "project",
        nargs="?",
        type=words.FOLDER,
        metavar="PROJECT",
        help="a project's folder, whose Jupyter is measured (default: the machine's)",
    )
    measure.add_argument(
        "--rows", type=words.whole(10, 10**8), nargs="+", metavar="N", help="numbers of rows (default: the tables' six shapes)"
    )
    measure.add_argument(
        "--cols", type=words.whole(1, 10**6), nargs="+", metavar="N", help="numbers of columns, each measured with each of the rows"
    )
    measure.add_argument("--models", nargs="+", type=words.MODEL, metavar="MODEL", help="which models (default: the four of the tables)")
    measure.add_argument("--seconds", type=words.whole(1, 86_400), metavar="N", help="how long one may take until it is cut (default: 300)")
    measure.add_argument("--again", action="store_true", help="what was measured before too; after an interruption go on without it")
    advise = add("advise", "name the cheapest type that holds a notebook, or a shape of data and a model, by what was measured")
    advise.add_argument("notebook", nargs="?", type=words.FILE, metavar="NOTEBOOK", help="a notebook of a project, which was run before")
    advise.add_argument("--rows", type=words.whole(1, 10**8), metavar="N", help="or: rows of an array of float64")
    advise.add_argument("--cols", type=words.whole(1, 10**6), metavar="N", help="its columns")
    advise.add_argument("--model", type=words.MODEL, metavar="MODEL", help="what is fitted to it, SVC for one")
    advise.add_argument(
        "--peak", type=words.whole(1, 10**7, " of MiB"), metavar="MIB", help="or: the memory that Jupyter's container must have"
    )
    advise.add_argument(
        "--project",
        type=words.FOLDER,
        metavar="PROJECT",
        help="a project's folder, beside whose services it is to fit (default: the machine's)",
    )
    advise.add_argument("--any-architecture", action="store_true", help="types of another architecture too, for a new machine")


def _add_projects(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """The commands of projects."""

    def of_a_project(name: str, text: str) -> argparse.ArgumentParser:
        command = add(name, text)
        command.add_argument(
            "project", nargs="?", type=words.FOLDER, metavar="PROJECT", help="its folder (default: the nearest one with a slipway.yml)"
        )
        return command

    deploy = of_a_project("deploy", "bring up a project's services on the machine, and print their URLs")
    deploy.add_argument("--scale", type=words.SCALE, metavar="worker=N", help="how many workers (default: slipway.yml's)")
    _add_settings(deploy)
    deploy.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    for name, text in (("push", "bring a project's files to the machine"), ("pull", "bring a project's files back from the machine")):
        sync = of_a_project(name, text)
        sync.add_argument("--overwrite", action="store_true", help="where a file was changed on both sides, take this command's side")
        sync.add_argument("--delete", action="store_true", help="remove on the other side what was removed on this one")
        sync.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    run = add("run", "execute a notebook on the machine, and bring back what it made")
    run.add_argument("notebook", type=words.FILE, metavar="NOTEBOOK", help="its path")
    several: dict[str, Any] = {"action": "append", "type": words.PARAMETER, "metavar": "NAME=VALUE"}
    run.add_argument("-p", dest="parameter", **several, help="a parameter, read as the notebook's default is")
    run.add_argument("-r", dest="text_parameter", **several, help="a parameter that is text, whatever it holds")
    run.add_argument(
        "-y", dest="yaml_parameter", action="append", type=words.YAML, metavar="YAML", help="parameters as YAML: 'NAME: VALUE'"
    )
    run.add_argument(
        "-k", dest="kernel", type=words.KERNEL, metavar="KERNEL", help="run with this kernel of the image (default: the notebook's)"
    )
    run.add_argument("--detach", action="store_true", help="begin it and return at once; this command again has its results")
    run.add_argument("--again", action="store_true", help="another run, although the same one goes on or has results that are not here")
    run.add_argument(
        "--on", type=words.TYPE_OR_AUTO, metavar="TYPE", help="on a larger type, for this run only; auto: the cheapest one that fits"
    )
    run.add_argument("--dry-run", action="store_true", help="with --on: check everything, print the plan, and change nothing")
    _add_lose_files(run)
    listed = add("runs", "list the batch runs that go on, and those whose results are not here")
    listed.add_argument(
        "project", nargs="?", type=words.STACK, metavar="PROJECT", help="a project's folder, or its name on the machine (default: all)"
    )
    listed.add_argument("--pull", action="store_true", help="fetch what the project's runs gave (default: of the nearest slipway.yml)")
    listed.add_argument("--stop", type=words.RUN, metavar="NAME", help="stop this run; what it has so far is kept")
    listed.add_argument(
        "--forget", type=words.RUN, metavar="NAME", help="take this run, which has ended, from the list without fetching its results"
    )
    reseed = of_a_project("reseed", "make PostgreSQL's volume again from the project's files; its data are lost")
    reseed.add_argument("--volume", type=words.VOLUME, metavar="NAME", help="the volume's name, typed out to confirm")
    for name, text in (("rest", "stop a stack's services; their data stay"), ("remove", "remove a project's containers; its volumes stay")):
        command = add(name, text)
        command.add_argument("project", nargs="?", type=words.STACK, metavar="PROJECT", help="its folder, or its name on the machine")
        if name == "remove":
            command.add_argument(
                "--volume", action="append", type=words.VOLUME, metavar="NAME", help="remove this volume too, with its data"
            )
    of_a_project("diff", "show the packages that were installed by hand in the running container")
    adopt = of_a_project("adopt", "write those packages into the project's Dockerfile")
    adopt.add_argument("--keep", type=words.TAG, metavar="TAG", help="instead keep the container as an image, for a while")
