"""argv -> options, and the role variables that they set."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.model import Exit, RefusalError

_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
#: Option -> the role variable that it sets; the roles hold the rules.
_COMMON = {
    "name": "slipway_name",
    "region": "slipway_region",
}
_RESIZE = {
    "type": "ec2_resize_type",
    "fallback": "ec2_resize_fallback",
    "max_price": "ec2_resize_max_price",
    "snapshot": "ec2_resize_snapshot",
    "rollback": "ec2_resize_rollback",
}
_UP = {
    "type": "ec2_instance_type",
    "disk": "ec2_instance_disk_gib",
    "key_file": "ec2_instance_key_file",
    "services": "stack_services",
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options. An option that was not given has no attribute, but for those of every command."""
    # The defaults stand here, not in the parsers: a word before the command would be undone by the command's own.
    options = _parser().parse_args(argv, argparse.Namespace(target="lab", json=False, yes=False))
    if "confirm" in options and "name" not in options:
        options.name = options.confirm
    return options


def variables(options: argparse.Namespace) -> dict[str, Any]:
    """The role variables that the options set. Values are data: what Ansible would evaluate is refused."""
    names = _COMMON | (_RESIZE if options.command == "resize" else _UP)
    found = {variable: getattr(options, option) for option, variable in names.items() if getattr(options, option, None) is not None}
    for variable, value in found.items():
        if _TEMPLATE.search(str(value)):
            raise RefusalError(f"{variable}: {value!r} cannot be used. Allowed: plain text, without template marks.", Exit.BAD_INPUT)
    for variable in ("stack_services", "ec2_resize_fallback"):
        if variable in found:
            words = [found[variable]] if isinstance(found[variable], str) else found[variable]
            found[variable] = [item.strip() for word in words for item in word.split(",") if item.strip()]
    if found.get("ec2_instance_key_file"):
        found["ec2_instance_key_file"] = str(Path(found["ec2_instance_key_file"]).expanduser().absolute())
    return found


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
    up.add_argument("--dry-run", action="store_true", help="tell what would change, and change nothing")
    resize = add("resize", "give the machine another instance type, with nothing lost")
    resize.add_argument("type", nargs="?", metavar="TYPE", help="the wanted instance type, t2.medium for one")
    resize.add_argument("--dry-run", action="store_true", help="check everything, print the plan, and change nothing")
    resize.add_argument("--snapshot", action="store_true", help="make a snapshot of the disk before the machine is stopped")
    resize.add_argument("--fallback", nargs="+", metavar="TYPE", help="types to be tried, in order, where EC2 has none of the wanted one")
    resize.add_argument("--max-price", metavar="USD", help="what a type may cost at most per hour, with disk and address")
    resize.add_argument("--rollback", action="store_true", help="undo a resize that was left half-way")
    add("status", "show the instance, each service with its health and memory, and the URL")
    add("open", "open the tunnel again and print Jupyter's URL")
    logs = add("logs", "show the services' logs")
    logs.add_argument("service", nargs="*", help="which services (default: all)")
    logs.add_argument("--tail", type=int, help="lines of each (default: 100)")
    logs.add_argument("--follow", action="store_true", help="go on until interrupted")
    ssh = add("ssh", "a shell on the machine, or one command there")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run there")
    destroy = add("destroy", "remove the machine with all its data, its security group and its key pair")
    destroy.add_argument("confirm", nargs="?", metavar="NAME", help="the machine's name, typed out to confirm")
    destroy.add_argument("--dry-run", action="store_true", help="tell what would be removed, and remove nothing")
    lab = add("lab", "the local EC2")
    lab.add_argument("action", choices=["up", "down", "status", "reset"], help="down and reset remove its instances with their data")
    return parser
