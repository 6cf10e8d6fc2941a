"""The command `top`: what each service of the machine uses just now, of its limits."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from slipway import arguments, lab, plays, render, signals
from slipway.model import PROJECT, Exit, RefusalError

#: What is sent to the host, for its own Python: no package is needed there, and nothing is left there.
_SENT = ("stack_engine", "stack_memory", "stack_top")
_COLOURS = {"red": "\033[31m", "yellow": "\033[33m", "none": "\033[0m"}
#: The other screen of a terminal, and no cursor; and back.
_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
_BAR = 20
#: Seconds of silence that are no news on a small machine.
_PATIENCE = 5.0


def top(options: argparse.Namespace) -> Exit:
    """At a terminal until it is interrupted; elsewhere once."""
    interval = getattr(options, "interval", 2.0)
    try:
        lab.need(options)
        found = plays.play("top", "playbooks/find.yml", options, arguments.variables(options))
        if found.failure:
            return plays.failed(options, found, found.failure)
        plays.running_instance(options, found)
        head = {"target": options.target, "name": plays.name(options), "type": found.published["instance"]["type"]}
        command = ["ssh", "-F", found.published["ssh_config"], plays.name(options), "python3", "-u", "-"]
        documents = _documents(command, head, interval, plays.again(options))
        if sys.stdout.isatty() and not options.json:
            # The screen is given back, whatever ends it.
            with signals.told_by_signals():
                _draw(documents)
        first = next(filter(None, documents))
        if "error" in first:
            raise RefusalError(_silent(first["error"], plays.command(options, "up")), Exit.FAILED)
        print(render.as_json(first) if options.json else "\n".join(table(first)))
    except KeyboardInterrupt:
        pass
    return Exit.DONE


def _draw(documents: Iterator[dict[str, Any] | None]) -> NoReturn:
    """Draw each over the last one, until it is interrupted or the way is cut."""
    shown: list[str] = []
    heard = time.monotonic()
    print(_ENTER, end="", flush=True)
    try:
        while True:
            document = next(documents)
            columns, rows = os.get_terminal_size(sys.stdout.fileno())
            # A terminal that tells no size.
            rows = rows or 24
            if document is None:
                lines = [*shown, f"No answer for {time.monotonic() - heard:.0f} s."]
            else:
                heard = time.monotonic()
                lines = [_silent(document["error"], "")] if "error" in document else table(document, columns, colours=True)
                shown = lines
            if len(lines) > rows - 1:
                lines = [*lines[: rows - 3], f"… {len(lines) - rows + 2} more", lines[-1]]
            print("\033[H" + "".join(f"{line}\033[K\r\n" for line in lines) + "\033[J", end="", flush=True)
    finally:
        print(_LEAVE, end="", flush=True)


def _silent(why: str, start: str) -> str:
    return f"The Docker engine does not answer: {why}." + (f" Start it with: {start}" if start else "")


def _documents(command: list[str], head: Mapping[str, Any], interval: float, again: str) -> Iterator[dict[str, Any] | None]:
    """A document for each look but the first, and None for each interval without one. Raises RefusalError where the way is cut."""
    with tempfile.TemporaryFile() as script, tempfile.TemporaryFile() as said, contextlib.ExitStack() as stack:
        script.write(_script(interval).encode())
        script.seek(0)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        # In a session of its own: Ctrl-C ends the command, not the way to the machine.
        process = subprocess.Popen(command, stdin=script, stdout=writing, stderr=said, start_new_session=True)
        # The last one is called first.
        stack.callback(process.wait)
        stack.callback(process.kill)
        os.close(writing)
        before: dict[str, Any] | None = None
        rest = b""
        while True:
            if not select.select([reading], [], [], interval + _PATIENCE)[0]:
                yield None
                continue
            part = os.read(reading, 1 << 16)
            if not part:
                break
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                look = json.loads(line)
                if "error" in look:
                    yield look
                elif before:
                    yield document(head, before, look)
                before = None if "error" in look else look
        said.seek(0)
        words = said.read().decode(errors="replace").strip().splitlines()
    raise RefusalError(
        f"The machine does not answer any more: {words[-1] if words else 'SSH has ended'}. To look again: {again}", Exit.FAILED
    )


def _script(interval: float) -> str:
    """The role's own modules, under the names by which they know each other."""
    folder = PROJECT / "roles" / "stack" / "module_utils"
    sources = {f"ansible.module_utils.{name}": (folder / f"{name}.py").read_text() for name in _SENT}
    return (
        f"import sys, types\nfor name, text in {sources!r}.items():\n"
        "    sys.modules[name] = module = types.ModuleType(name)\n"
        "    exec(compile(text, name, 'exec'), module.__dict__)\n"
        f"module.watch({interval})\n"
    )


def document(head: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The document of `top --json`, of two looks: processor time is what was taken in between, of all the machine's processors."""
    whole = (now["at"] - before["at"]) * 1e9 * now["host"]["cpus"]
    taken = {(row["stack"], row["service"]): row["cpu_ns"] for row in before["services"]}

    def percent(then: int | None, ns: int | None) -> float | None:
        # Of one that has begun since, or begun anew, nothing is known yet.
        return round((ns - then) / whole * 100, 1) if ns is not None and then is not None and ns >= then and whole > 0 else None

    services = [
        {**row, "cpu_percent": percent(taken.get((row["stack"], row["service"])), row["cpu_ns"]), "cpu_ns": None} for row in now["services"]
    ]
    machine = {key: now["host"][key] for key in ("memory_used_mib", "memory_limit_mib")}
    return {
        **head,
        "cpus": now["host"]["cpus"],
        "services": [{key: value for key, value in row.items() if key != "cpu_ns"} for row in services],
        "host": {"cpu_percent": percent(before["host"]["cpu_ns"], now["host"]["cpu_ns"]), **machine},
    }


def table(document: Mapping[str, Any], columns: int = 0, colours: bool = False) -> list[str]:
    """One line a service, the machine's last. `columns` cuts them to a terminal's width, and bars go first; 0 is no terminal."""
    rows = [(f"{row['stack']}/{row['service']}", row) for row in document["services"]]
    last = (document["name"], {"state": "", "out_of_memory_kills": 0, **document["host"]})
    width = max(len(name) for name, _ in [*rows, last, ("SERVICE", {})])
    bar = _BAR if columns >= width + 50 + _BAR else 0
    cpus = f"{document['cpus']:g} CPU{'s' if document['cpus'] != 1 else ''}"
    title = f"{document['name']}  {document['type']}  CPU: 100 % is all of {cpus}; memory: of the service's limit"
    lines = [title, f"{'SERVICE':<{width}}  {'STATE':<10}  {'CPU':>7}  {'MEMORY':>18}"]
    lines += [_line(name, row, width, bar, colours) for name, row in rows]
    lines += [] if rows else ["No services. Nothing was deployed."]
    lines.append(_line(*last, width, bar, colours))
    return [_cut(line, columns) for line in lines] if columns else lines


def _line(name: str, row: Mapping[str, Any], width: int, bar: int, colours: bool) -> str:
    used, limit = row["memory_used_mib"], row["memory_limit_mib"]
    cpu = f"{row['cpu_percent']:.1f} %" if row["cpu_percent"] is not None else "-"
    memory = f"{f'{used:.0f}' if used is not None else '-':>5} of {limit or '-':>5} MiB"
    share = used / limit if used is not None and limit else 0.0
    full = min(bar, round(share * bar))
    memory += f"  {'█' * full}{'░' * (bar - full)}" if bar else ""
    tint = "red" if share >= 0.9 else "yellow" if share >= 0.75 else ""
    kills = row["out_of_memory_kills"]
    died = "  out of memory" + (f" ({kills} times)" if kills > 1 else "") if kills else ""
    text = f"{name:<{width}}  {row['state']:<10}  {cpu:>7}  {memory}"
    if not colours:
        return text + died
    return (f"{_COLOURS[tint]}{text}{_COLOURS['none']}" if tint else text) + (f"{_COLOURS['red']}{died}{_COLOURS['none']}" if died else "")


def _cut(line: str, columns: int) -> str:
    """So many letters of it; a colour is none."""
    shown, kept, index = 0, "", 0
    while index < len(line):
        if line[index] == "\033":
            end = line.index("m", index) + 1
            kept, index = kept + line[index:end], end
            continue
        if shown < columns:
            kept, shown = kept + line[index], shown + 1
        index += 1
    return kept
