"""Refuses variables that no role knows: a misspelt one would be passed over in silence, and the default used."""

from __future__ import annotations

DOCUMENTATION = r"""
name: slipway_variables
type: aggregate
short_description: Refuse a misspelt variable before anything is done
description:
  - What a role knows stands in its meta/argument_specs.yml, once.
  - Ends the run with exit code 2, naming the variable and the nearest known ones, or what a number is allowed to be.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.callback import CallbackBase
from ansible.template import is_trusted_as_template

PROJECT = Path(__file__).resolve().parents[2]
BAD_INPUT = 2
# In C where PyYAML has it, for every run reads these files: in Python that takes half a second.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What inventories give and playbooks use beside the roles' inputs.
OWN = {
    "slipway_name",
    "slipway_region",
    "slipway_state_dir",
    "slipway_machine",
    "slipway_machine_dir",
    "jupyter_exposure",
    "jupyter_public_cidrs",
    "jupyter_public_open_to_all",
    # Of projects (playbooks/vars).
    "slipway_project",
    "slipway_project_dir",
    "slipway_project_part",
    "slipway_scale",
    "slipway_run_digest",
    "slipway_fetched",
    "slipway_kept_runs",
    "slipway_ended",
    "slipway_had",
    "slipway_place",
    "slipway_begun_here",
    "slipway_stack",
    "slipway_store",
    "slipway_store_callers",
    "slipway_store_hosts",
    "slipway_store_ports",
    "slipway_store_rule",
    "slipway_store_secrets",
    "slipway_stores",
}


@cache
def _options() -> dict[str, dict[str, Any]]:
    """Every input of every role."""
    files = (PROJECT / "roles").glob("*/meta/argument_specs.yml")
    specs = [yaml.load(path.read_text(), _LOADER)["argument_specs"] for path in files]  # noqa: S506 (both are safe)
    return {name: facts for spec in specs for entry in spec.values() for name, facts in entry.get("options", {}).items()}


def known() -> set[str]:
    """Every input of every role, and the project's own variables."""
    return OWN | set(_options())


def no_numbers(given: Mapping[str, Any]) -> dict[str, str]:
    """Inputs of roles that are numbers, and are given as a text that is no number, each with what is allowed.

    Ansible's own check takes 1e3 for 1000, 1_000 too, and the digits of every script.
    """
    kinds = {"int": (r"-?[0-9]+", "a whole number"), "float": (r"-?[0-9]+(\.[0-9]+)?", "a number")}
    found = {}
    for name, options in _options().items():
        pattern, allowed = kinds.get(options.get("type", "str"), ("", ""))
        value = given.get(name)
        if pattern and isinstance(value, str) and not is_trusted_template(value) and not re.fullmatch(pattern, value):
            found[name] = f"{name}: {value!r} cannot be used. Allowed: {allowed}, in the digits 0 to 9."
    return found


def is_trusted_template(value: str) -> bool:
    """Whether Ansible will evaluate it: its result is looked at by the role."""
    return "{{" in value and is_trusted_as_template(value)


def unknown(given: set[str], extra: set[str]) -> dict[str, list[str]]:
    """Names that were meant for the project and are not known, each with the nearest known ones.

    `given` are all variables of the controller, `extra` those of the command line. One of a role's prefix is meant for it; any
    other is somebody's own, unless it is nearly a known one.
    """
    names = known()
    prefixes = ("slipway_", *(f"{path.name}_" for path in (PROJECT / "roles").iterdir()))
    strangers = (given | extra) - names
    near = {name: difflib.get_close_matches(name, names, n=2, cutoff=0.85 if name not in extra else 0.7) for name in strangers}
    return {name: near[name] for name in sorted(strangers) if name.startswith(prefixes) or near[name]}


class CallbackModule(CallbackBase):
    """Looks once, at the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway_variables"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._looked = False

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._looked:
            return
        self._looked = True
        variables = play.get_variable_manager()
        given = variables.get_vars(play=play, host=variables._inventory.get_host("localhost"), include_hostvars=False)
        wrong = unknown(set(given), set(variables.extra_vars))
        for name, near in wrong.items():
            hint = f"Did you mean {' or '.join(near)}?" if near else "The READMEs of the roles list all."
            self._display.error(f"{name}: no role knows this variable. {hint}", wrap_text=False)
        no_number = no_numbers(given)
        for line in no_number.values():
            self._display.error(line, wrap_text=False)
        if wrong or no_number:
            raise SystemExit(BAD_INPUT)
