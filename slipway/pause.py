"""`stop` and `start`: a machine that is not paid for overnight, and what ran on it comes back. `open` starts one that is stopped too."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from slipway import arguments, lab, plays, receipt, render
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.render import Progress

#: The task that refuses while something is at work: its end is what to wait for.
AT_WORK = "Check that nothing is at work"


def stop(options: argparse.Namespace) -> Exit:
    """Bring everything on the machine down in order, and stop the instance."""
    lab.need(options)
    check = "dry_run" in options
    result = plays.play("stop", "playbooks/stop.yml", options, arguments.variables(options), Progress(check=check), check)
    if result.failure:
        code = plays.failed(options, result, result.failure)
        if words := way_out(result.failure, result.published.get("instance"), getattr(options, "region", None)):
            print(words, file=sys.stderr)
        return code
    document = stop_document(options.target, plays.name(options), result, check)
    stop_it = {each: plays.command(argparse.Namespace(**{**vars(options), "name": each}), "stop") for each in document["beside"]}
    print(render.as_json(document) if options.json else stop_text(document, check, plays.command(options, "start"), stop_it))
    return Exit.DONE


def way_out(why: Failure, instance: Mapping[str, Any] | None, region: str | None) -> str:
    """What stops a machine of which nothing can be brought down, as that of an engine that does not start, or of a full disk."""
    on_it = why.unreachable or why.host not in ("", "localhost")
    if not instance or instance["state"] != "running" or not on_it or AT_WORK in why.task:
        return ""
    words = ["aws", "ec2", "stop-instances", *(["--region", region] if region else []), "--instance-ids", instance["id"]]
    return (
        f"If that cannot be mended, and the machine must not cost more: {shlex.join(words)}. It ends what runs without order, and the next "
        "start compares nothing."
    )


def start(options: argparse.Namespace) -> Exit:
    """Start the instance, bring back what ran before, and compare."""
    lab.need(options)
    check = "dry_run" in options
    result = back(options, "start", Progress(check=check), check)
    if not result.published.get("instance") and not result.failure:
        raise RefusalError(f"There is no instance. Make one with: {plays.bring_up(options)}")
    if result.failure:
        # What was compared helps as much as the reason.
        return plays.failed(options, result, result.failure, {"fingerprints": found(result)["fingerprints"]})
    document = plays.status(options, result) | found(result) | {"changed": result.changed, "seconds": result.seconds}
    tell(options, document, result, check)
    return Exit.DONE


def tell(options: argparse.Namespace, document: dict[str, Any], result: Result, check: bool) -> None:
    """Print how a machine stands that a command has brought up."""
    if options.json:
        print(render.as_json(document))
    elif check:
        print(f"{result.changed} changes would be made.")
    else:
        print("\n".join([render.status_text(document, partial(plays.command, options)), *receipt.compared_lines(document["fingerprints"])]))
        if result.published.get("rested"):
            print(render.rested_line(result.published["rested"]))
        print(f"changed={result.changed} in {result.seconds:.0f} s")


def back(options: argparse.Namespace, verb: str, progress: Progress, check: bool = False) -> Result:
    """Start a machine that is stopped, with what ran on it."""
    # Of a project's `open` the port is for its own tunnel.
    variables = arguments.common(options) if "project" in options else arguments.variables(options)
    return plays.play(verb, "playbooks/start.yml", options, variables, progress, check)


def is_down(published: Mapping[str, Any]) -> bool:
    """Whether there is a machine that is stopped, or whose services a `stop` has brought down: only a start of the machine helps then."""
    instance = published.get("instance")
    if not instance:
        return False
    return instance["state"] != "running" or bool(instance.get("stopped_since")) or bool(published.get("paused"))


def found(result: Result) -> dict[str, Any]:
    """The fields that every command has in its answer that may start a machine; docs/json.md describes them."""
    return {"price": result.published.get("price"), "fingerprints": result.published.get("compared") or {}}


def stop_document(target: str, name: str, result: Result, check: bool) -> dict[str, Any]:
    """The document of `stop --json`, which docs/json.md describes."""
    done, instance = result.published["stop"], result.published["instance"]
    return {
        "target": target,
        "name": name,
        "instance": instance["id"],
        "was": done["was"],
        "state": done["was"] if check else "stopped",
        "changed": result.changed,
        "fingerprints": done["fingerprints"],
        "unread": done["unread"],
        "beside": done["beside"],
        "price": done["costs"],
        "cost": done["line"],
        "seconds": result.seconds,
    }


def stop_text(document: Mapping[str, Any], check: bool, start_with: str, stop_it: Mapping[str, str]) -> str:
    """Render it for people, with the commands that start it, and that stop each machine beside it."""
    name, was = document["name"], document["was"]
    if was == "stopped":
        first = f"The machine {name} ({document['instance']}) is stopped already: nothing was changed."
    elif check:
        first = f"The machine {name} ({document['instance']}) would be stopped. Nothing was changed."
    else:
        first = f"Stopped   {name} ({document['instance']}) in {document['seconds']:.0f} s"
    lines = [first, f"Price     {document['cost']}"]
    width = max([9, *map(len, document["fingerprints"])])
    lines += [f"  {store:<{width}} {said}" for store, said in sorted(document["fingerprints"].items())]
    lines += [f"Not seen  {each}" for each in document["unread"]]
    lines += [f"Runs on   {each}, and costs what it did. Stop it: {words}" for each, words in stop_it.items()]
    return "\n".join([*lines, f"Start it, with all that ran: {start_with}"])
