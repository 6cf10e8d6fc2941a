"""Carry out the faults that tests ask for (lab/faults.py has the list)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from lab import account, faults, state
from lab.volumes import LabModification
from lab.world import World


def take(body: bytes) -> None:
    """Do or note what a test asks for. Raises KeyError or ValueError for what is not in the list."""
    wanted = json.loads(body)
    if "action" in wanted:
        World.faults.ask(wanted)
    elif "volume" in wanted:
        _of_volume(wanted)
    elif "account" in wanted:
        World.faults.account = account.DEFAULTS | wanted["account"]
    else:
        _of_instance(wanted)


def _of_volume(wanted: Mapping[str, Any]) -> None:
    volumes = {key: volume for backend in ec2_backends[DEFAULT_ACCOUNT_ID].values() for key, volume in backend.volumes.items()}
    if wanted["does"] != "let hours pass":
        raise ValueError(wanted["does"])
    for change in volumes[wanted["volume"]].modifications:
        if isinstance(change, LabModification):
            change.began -= 3600 * faults.hours(wanted)


def _of_instance(wanted: Mapping[str, Any]) -> None:
    instance = next((item for item in state.everyone() if item.id == wanted["instance"]), None)
    if instance is None:
        raise KeyError(wanted["instance"])
    match wanted["does"]:
        case "hang on stop":
            World.faults.slow_stops[instance.id] = faults.seconds(wanted)
        case "refuse ssh":
            instance.suffer(faults.seconds(wanted), ("systemctl", "stop", "ssh"), ("systemctl", "start", "ssh"))
        case "hang on ssh":
            # The kernel still takes connections for a server that is stopped; none gets a banner.
            signals = [("systemctl", "kill", f"--signal={name}", "--kill-who=main", "ssh") for name in ("STOP", "CONT")]
            instance.suffer(faults.seconds(wanted), *signals)
        case "cut network":
            rule = ("PREROUTING", "-i", "eth+", "-j", "DROP")
            instance.suffer(faults.seconds(wanted), ("iptables", "-t", "mangle", "-I", *rule), ("iptables", "-t", "mangle", "-D", *rule))
        case "lose power":
            instance.lose_power()
        case "vanish":
            instance.vanish()
        case other:
            raise ValueError(other)
    state.save()
