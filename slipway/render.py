"""Result -> text for people, or JSON for programs. Progress goes to stderr, answers to stdout."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from slipway import disks, executed, killed, receipt, runs, standing
from slipway.model import Exit, Failure, RefusalError

_TOLD_SECONDS = 1.0


class Progress:
    """Steps with the time since the start: all at a terminal (one line, rewritten), else those that matter."""

    def __init__(self, stream: TextIO = sys.stderr, check: bool = False) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._verb = "would change" if check else "changed"
        self._start = time.monotonic()
        self._task_start = self._start

    def say(self, line: str) -> None:
        """Print a step that has happened."""
        clear = "\r\033[K" if self._live else ""
        print(f"{clear}[{time.monotonic() - self._start:5.0f} s] {line}", file=self._stream, flush=True)

    def event(self, event: Mapping[str, Any]) -> None:
        """Follow a playbook: a line for each task that changed something or took long."""
        kind, data = event["event"], event.get("event_data", {})
        if kind == "playbook_on_task_start":
            self._task_start = time.monotonic()
            if self._live:
                print(f"\r\033[K[{time.monotonic() - self._start:5.0f} s] {_step(data)} …", end="", file=self._stream, flush=True)
        elif kind == "runner_on_ok":
            self._warn(data)
            changed, words = data.get("res", {}).get("changed", False), data.get("res", {}).get("msg")
            if words and not changed and data.get("task_action") == "ansible.builtin.debug":
                self.say(words)
            elif changed:
                self.say(f"{_step(data)}: {self._verb}")
            elif time.monotonic() - self._task_start >= _TOLD_SECONDS:
                self.say(f"{_step(data)}: ok")
        elif kind == "playbook_on_stats" and self._live:
            print("\r\033[K", end="", file=self._stream, flush=True)

    def _warn(self, data: Mapping[str, Any]) -> None:
        """Repeat what the project's own modules warn of. A collection's, which has dots in its name, speaks to those who write plays."""
        if "." not in str(data.get("task_action", ".")):
            for warning in data.get("res", {}).get("warnings", []):
                self.say(f"WARNING: {warning}")


def _step(data: Mapping[str, Any]) -> str:
    role = data.get("role")
    name = str(data.get("task", "")).strip()
    return f"{role}: {name}" if role else name


def failure(why: Failure, log: Path, command: str, same: bool = True) -> str:
    """Say what failed, where, why, and what to type next: `command`, the whole line, which is the `same` as was typed, or another one."""
    if why.code in (Exit.BAD_INPUT, Exit.REFUSED):
        return why.reason
    lines = [f"Failed at: {why.task} (on {why.host})", f"Reason: {why.reason}"]
    if why.code is Exit.FAILED:
        lines.append(f"Next: mend that and run {'the same command again' if same else 'this'}: {command}")
    return "\n".join([*lines, f"Log: {log}"])


def status_document(target: str, published: Mapping[str, Any], url: str | None) -> dict[str, Any]:
    """The document of `status --json`, which docs/json.md describes."""
    keys = ("state", "reason", "memory_used_mib", "memory_peak_mib", "memory_limit_mib", "out_of_memory", "out_of_memory_kills")
    instance, services = published.get("instance"), published.get("services", {})
    if services and services.get("jupyter", {}).get("state") != "running":
        # A tunnel that is open leads to nothing then.
        url = None
    return {
        "target": target,
        "instance": instance
        and {
            **{key: instance.get(key) for key in ("id", "type", "state", "public_ip", "private_ip", "launched", "resize_to")},
            # What was brought back by this command was looked at before.
            "stopped_since": None if "compared" in published else instance.get("stopped_since"),
        },
        "engine": published.get("engine"),
        "disks": [disk | {"full": disks.is_full(disk)} for disk in published.get("disks") or []],
        "stack_state": standing.of(services, bool(published.get("at_rest"))) if published.get("engine") == "running" else None,
        "services": {
            name: {key: facts.get(key) for key in keys} | {"health": standing.health(facts), "exit_code": standing.exit_code(facts)}
            for name, facts in sorted(services.items())
        },
        "volumes": published.get("kept_volumes") or [],
        "out_of_memory": killed.of_services(services),
        "stacks": {
            name: {"running": found["running"] > 0, "at_rest": bool(found.get("at_rest")), "memory_limit_mib": found["limit_mib"]}
            for name, found in sorted((published.get("stacks") or {}).items())
        },
        "fit": {"memory_mib": published["fit_mib"], "type": published.get("fit_type"), "raise_mib": None, "commands": []}
        if published.get("fit_mib")
        else None,
        "burst": burst_document(published),
        "exposure": published.get("exposure"),
        "runs": [runs.document(run) for run in runs.waiting(runs.of(published))],
        "url": url,
        "certificate_sha256": published.get("certificate_sha256"),
    }


def burst_document(published: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is left of a burst, for `status`."""
    instance = published.get("instance") or {}
    try:
        tags = instance["burst"]
        spent = receipt.cost(tags)
    # None, or none of this project's.
    except (KeyError, TypeError, ValueError):
        return None
    return {
        **{key: tags.get(key) for key in ("from", "to", "since", "project")},
        "executed": f"runs/{tags.get('run')}",
        "runs": tags.get("project") in published["runs_in"] if "runs_in" in published else None,
        "halfway": instance.get("resize_to") is not None,
        "usd": spent["usd"],
        "price_per_hour": spent["price_per_hour"],
        "end": "resize --rollback" if instance.get("resize_to") == tags.get("to") else f"resize {tags.get('from')}",
    }


def burst_lines(burst: Mapping[str, Any], command: Callable[[str], str]) -> list[str]:
    """That the machine is still the larger one, for what, and how that ends."""
    price = burst["price_per_hour"]["after"]
    costs = "costs nobody knows what" if price is None else f"{burst['usd']:.4f} USD until now, {price:.4f} USD per hour"
    goes = {True: "It still runs", False: "It does not run any more", None: "Whether it runs is not known"}[burst["runs"]]
    return [
        f"Burst     {burst['to']} instead of {burst['from']} since {burst['since']}: {costs}",
        f"          For {burst['executed']} of {burst['project']}. {goes}." + " A resize was left half-way." * burst["halfway"],
        f"          End it, and have its results: {command(burst['end'])} (or the next up, deploy, push, pull, run, rest or remove)",
    ]


def status_text(document: Mapping[str, Any], command: Callable[[str], str], folder: Path | None = None) -> str:
    """Render the document of `status` for people. `command` gives the line to type for a verb, `folder` is the project's."""
    instance = document["instance"]
    if instance is None:
        return f"No instance (target {document['target']}). Make one with: {command('up')}"
    lines = [
        f"Instance  {instance['id']}  {instance['type']}  {instance['state']}{_up_for(instance)}",
        f"Address   {instance['public_ip'] or 'none'} (private {instance['private_ip']})",
    ]
    if document["burst"]:
        lines += burst_lines(document["burst"], command)
    elif instance["resize_to"]:
        again = command(f"resize {instance['resize_to']}")
        lines.append(f"Resize    to {instance['resize_to']}, left half-way. Finish it with: {again}")
    start = f"{command('deploy')} {shlex.quote(str(folder))}" if folder else command("up")
    lines += [disks.line(disk, start) for disk in document["disks"]]
    if document["engine"] not in (None, "running"):
        lines.append(f"Engine    does not answer: {document['engine']}. Start it with: {command('up')}")
    for name, facts in document["services"].items():
        used = "-" if facts["memory_used_mib"] is None else f"{facts['memory_used_mib']:.0f}"
        memory = f"{used:>5} of {facts['memory_limit_mib']} MiB"
        kills = facts["out_of_memory_kills"]
        died = "  out of memory" + (f" ({kills} times)" if (kills or 0) > 1 else "") if facts["out_of_memory"] else ""
        lines.append(f"  {name:<9} {standing.word(facts, document['stack_state'])} {memory}{died}")
        if facts.get("reason"):
            lines.append(f"            {killed.plain(facts['reason'])}")
    if document["volumes"]:
        lines.append(f"Volumes   {', '.join(document['volumes'])}")
    lines += killed.lines(document)
    lines += runs.lines(document["runs"], command, folder)
    # One that is left half-way has been named with the command that ends it: another one would be refused.
    if document["stack_state"] and not instance["resize_to"]:
        lines += standing.lines(document, start, command("logs") + (f" --project {shlex.quote(str(folder))}" if folder else ""))
    lines += [standing.beside(name, found) for name, found in document["stacks"].items()]
    if instance.get("stopped_since"):
        since = instance["stopped_since"][:16].replace("T", " ")
        lines.append(f"Stopped   by `stop`, {since} UTC. Start it, with all that ran: {command('start')}")
    elif instance["state"] != "running":
        lines.append(f"Start it with: {command('up')}")
    if instance["state"] != "running":
        return "\n".join(lines)
    if document["url"]:
        lines.append(f"Jupyter   {document['url']}")
        lines += [certificate_line(document)] if document["certificate_sha256"] else []
    elif document["services"].get("jupyter", {}).get("state") == "running":
        lines.append(f"The tunnel is closed. Open it with: {command('open')}")
    return "\n".join(lines)


def certificate_line(document: Mapping[str, Any]) -> str:
    """What a user compares with the certificate that the browser shows."""
    return f"Its certificate has the SHA-256 fingerprint {document['certificate_sha256']}"


def _up_for(instance: Mapping[str, Any]) -> str:
    if instance["state"] != "running" or not instance.get("launched"):
        return ""
    launched = datetime.fromisoformat(instance["launched"])
    hours = (datetime.now(UTC) - launched).total_seconds() / 3600
    return f" for {hours:.1f} h"


def ask(question: str, instead: str) -> str:
    """Ask at a terminal. Without one, refuse and name the command that needs no question."""
    if not sys.stdin.isatty():
        raise RefusalError(f"This needs a confirmation. Type: {instead}")
    return input(question).strip()


def as_json(document: Mapping[str, Any]) -> str:
    """Render any document for programs."""
    return json.dumps(document, indent=2)


def url_with_token(url: str | None, token_file: Path) -> str | None:
    """A page's URL with its token, which is read here, from the user's own file, and travels nowhere else."""
    if url is None or not token_file.exists():
        return url
    token = token_file.read_text().rstrip("\n")
    return f"{url}?token={quote(token, safe='')}"


def project_text(document: Mapping[str, Any], command: Callable[[str], str], folder: Path) -> str:
    """Render the document of `status PROJECT` for people."""
    lines = [status_text(document, command, folder)]
    place = shlex.quote(str(folder))
    if document["monitor_url"]:
        lines.append(f"Monitor   {document['monitor_url']}")
    lines += sync_lines(document["sync"] or {})
    if document["rested"]:
        lines.append(rested_line(document["rested"]))
    if document["seeds_not_used"]:
        lines.append(f"Seeds     {document['seeds_not_used']} was made from other files than there are now, which were not run.")
        lines.append(f"          To make it anew, without its data: {command('reseed')} {place}")
    return "\n".join(lines)


def rested_line(names: Sequence[str]) -> str:
    """Which stacks made room."""
    return f"At rest   {', '.join(names)}: the machine has no memory for it beside this. Its data stay"


def sync_lines(sync: Mapping[str, Any]) -> list[str]:
    """What a synchronisation moved, and what it left and why."""
    lines = []
    if sync.get("moved"):
        much = f", {sync['bytes'] / 10**6:,.0f} MB" if sync.get("bytes", 0) >= 10**6 else ""
        done = "sent" if sync["direction"] == "push" else "fetched"
        lines.append(f"Files     {len(sync['moved']):,} {done}{much}: {_few(sync['moved'])}")
    if sync.get("removed"):
        lines.append(f"Removed   {_few(sync['removed'])}")
    return lines + list(sync.get("told") or [])


def sync_text(document: Mapping[str, Any], check: bool) -> str:
    """Render what `push` or `pull` did, or would do."""
    lines = sync_lines(document)
    if not lines:
        return "Nothing to do: both sides have the same files."
    return "\n".join((["Nothing was changed. This would be done:"] if check else []) + lines)


def run_text(document: Mapping[str, Any], folder: Path) -> str:
    """Render what came of a batch run."""
    code = document["exit_code"]
    how = "Executed" if code == 0 else "Out of memory" if document["out_of_memory"] else "Stopped" if code in executed.STOPPED else "Failed"
    lines = [f"{how}: {folder / document['executed']}" if document["executed"] else f"{how}: nothing was executed"]
    if document["fetched"]:
        lines.append(f"Files     {len(document['fetched'])} fetched: {_few(document['fetched'])}")
    if waiting := document["waiting"]:
        much = f"{waiting['files']:,} file{'s' * (waiting['files'] != 1)}, {waiting['bytes'] / 10**6:,.0f} MB, stay on the machine"
        lines += [f"Left      {much}: more than a run fetches unasked.", f"          Fetch them with: {waiting['command']}"]
    lines += killed.lines(document["memory"]) if document["memory"] else []
    return "\n".join(lines)


#: What a command did to a stack, where it had something to do and where it had not.
_BY_NAME = {"rest": ("rests", "rested already"), "remove": ("is removed", "had nothing to be removed")}


def by_name_text(document: Mapping[str, Any], verb: str, command: Callable[[str], str]) -> str:
    """Render what `rest` or `remove` did."""
    lines = [f"{document['stack']} {_BY_NAME[verb][not document['changed']]}."]
    if document["volumes"]:
        lines.append(f"Its volumes stay: {', '.join(document['volumes'])}")
        if verb == "remove":
            lines.append(f"To remove one with its data: {command('remove')} {document['stack']} --volume NAME")
    return "\n".join(lines)


def _few(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def holder_words(holder: Mapping[str, Any]) -> str:
    """The command that has a machine's lock in EC2; a tag may hold anything."""
    command, computer, since = (killed.plain(str(holder[key])) for key in ("command", "computer", "since"))
    return f"{command or 'a command'} of the computer {computer or '?'}, since {since or '?'}"


def unlock_text(document: Mapping[str, Any]) -> str:
    """What became of a machine's lock."""
    name, holder = document["name"], document["holder"]
    if not holder:
        return f"Nothing to end: no command has the lock of the machine {name}."
    if document["ended"]:
        return f"Ended the lock of the machine {name} that this command had: {holder_words(holder)}."
    return f"The machine {name} is locked by this command: {holder_words(holder)}."
