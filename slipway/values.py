"""Extra variables -> a file that Ansible reads as data: nothing in it is ever evaluated, whatever command it comes from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slipway.model import Exit, RefusalError

#: Below this tag Ansible takes every text, also the keys of mappings, as it stands (`AnsibleConstructor` of ansible-core 2.19).
_AS_IT_STANDS = "!unsafe"


def path(what: str, given: str | Path) -> str:
    """A path that Ansible's modules take as it stands: in one of theirs a $ begins a variable of the shell. Raises RefusalError."""
    if "$" in str(given):
        text = f"{what}: {str(given)!r} cannot be used. Allowed: a path without $, which Ansible's modules take for a variable."
        raise RefusalError(f"{text} Nothing was changed.", Exit.BAD_INPUT)
    return str(given)


def as_data(variables: Mapping[str, Any]) -> str:
    """The variables as YAML that `ansible-playbook -e @FILE` takes as data. Raises RefusalError if one is not text of UTF-8."""
    for name, value in variables.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as wrong:
            shown = json.dumps(value)
            shown = shown if len(shown) <= 120 else f"{shown[:120]}…"
            text = f"{name}: {shown} cannot be used. Allowed: text of UTF-8, also in the names of files and folders. Nothing was changed."
            raise RefusalError(text, Exit.BAD_INPUT) from wrong
    # The plain kinds of JSON alone, each where it stands: an alias would be one object with two owners.
    plain = json.loads(json.dumps(dict(variables)))
    return f"{_AS_IT_STANDS}\n{yaml.dump(plain, Dumper=_Plain, sort_keys=False, width=math.inf)}"


class _Plain(yaml.SafeDumper):
    """Python's own: libyaml's takes a number for the width, and none is large enough."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
