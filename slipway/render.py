"""Result -> text for people, or JSON for programs. Progress goes to stderr, answers to stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

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
            changed = data.get("res", {}).get("changed", False)
            if changed:
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


def failure(why: Failure, log: Path, command: str) -> str:
    """Say what failed, where, why, and what to type next: `command`, the whole line."""
    if why.code in (Exit.BAD_INPUT, Exit.REFUSED):
        return why.reason
    lines = [f"Failed at: {why.task} (on {why.host})", f"Reason: {why.reason}"]
    if why.code is Exit.FAILED:
        lines.append(f"Next: mend that and run the same command again: {command}")
    return "\n".join([*lines, f"Log: {log}"])


def status_document(target: str, published: Mapping[str, Any], url: str | None) -> dict[str, Any]:
    """The document of `status --json`, which docs/json.md describes."""
    keys = ("state", "health", "memory_used_mib", "memory_limit_mib", "out_of_memory", "out_of_memory_kills")
    instance = published.get("instance")
    return {
        "target": target,
        "instance": instance
        and {key: instance.get(key) for key in ("id", "type", "state", "public_ip", "private_ip", "launched", "resize_to")},
        "engine": published.get("engine"),
        "services": {name: {key: facts.get(key) for key in keys} for name, facts in sorted(published.get("services", {}).items())},
        "fit": {"memory_mib": published["fit_mib"], "type": published.get("fit_type")} if published.get("fit_mib") else None,
        "exposure": published.get("exposure"),
        "url": url,
        "certificate_sha256": published.get("certificate_sha256"),
    }


def status_text(document: Mapping[str, Any], command: Callable[[str], str]) -> str:
    """Render the document of `status` for people. `command` gives the line to type for a verb."""
    instance = document["instance"]
    if instance is None:
        return f"No instance (target {document['target']}). Make one with: {command('up')}"
    lines = [
        f"Instance  {instance['id']}  {instance['type']}  {instance['state']}{_up_for(instance)}",
        f"Address   {instance['public_ip'] or 'none'} (private {instance['private_ip']})",
    ]
    if instance["resize_to"]:
        again = command(f"resize {instance['resize_to']}")
        lines.append(f"Resize    to {instance['resize_to']}, left half-way. Finish it with: {again}")
    if document["engine"] not in (None, "running"):
        lines.append(f"Engine    does not answer: {document['engine']}. Start it with: {command('up')}")
    for name, facts in document["services"].items():
        used = "-" if facts["memory_used_mib"] is None else f"{facts['memory_used_mib']:.0f}"
        memory = f"{used:>5} of {facts['memory_limit_mib']} MiB"
        kills = facts["out_of_memory_kills"]
        died = "  out of memory" + (f" ({kills} times)" if (kills or 0) > 1 else "") if facts["out_of_memory"] else ""
        lines.append(f"  {name:<9} {facts['state']:<8} {facts['health']:<9} {memory}{died}")
    if document["fit"]:
        enough = f"{document['fit']['memory_mib']} MiB or more"
        where = f"{document['fit']['type']} ({enough})" if document["fit"]["type"] else f"a machine of {enough}"
        lines.append(f"Memory    What ran out of it would have twice its limit on {where}.")
    if instance["state"] != "running":
        lines.append(f"Start it with: {command('up')}")
    elif document["url"]:
        lines.append(f"Jupyter   {document['url']}")
        lines += [certificate_line(document)] if document["certificate_sha256"] else []
    elif "jupyter" in document["services"]:
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
    """Jupyter's URL with its token, which is read here, from the user's own file, and travels nowhere else."""
    if url is None or not token_file.exists():
        return url
    token = token_file.read_text().rstrip("\n")
    return f"{url}?token={quote(token, safe='')}"
