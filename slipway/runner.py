"""Request -> ansible-runner -> Result. The only place that starts a playbook or reads its events."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ansible.module_utils
import ansible_runner

from slipway import environment, lock
from slipway.model import PROJECT, STATE, Exit, Failure, RefusalError, Request, Result
from slipway.values import as_data

# Of the role that opens the tunnels: Ansible has it in a package of its own.
ansible.module_utils.__path__.append(str(PROJECT / "roles" / "tunnel" / "module_utils"))
from ansible.module_utils import tunnel_sockets as sockets  # noqa: E402 (found by the path above)

_RUNS_KEPT = 20
_OTHER_HOST = (
    "What answers at the machine's address is not the machine: its host key is another one. Nothing was sent. "
    "Find out why before anything else."
)
_HOST_KEY_CHANGED = re.compile("REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed")
#: How the name of a role's task file ends -> the exit code of a task that fails in it.
_CODES = {"preflight": Exit.BAD_INPUT, "refusal": Exit.REFUSED, "alarm": Exit.NEEDS_A_PERSON}
#: Ansible's words, where no password was given and where none fits.
_VAULT_CLOSED = "no vault secrets"
#: Its words where the file is not there, or is a folder.
_VAULT_MISSING = "vault password file"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]


def run(request: Request, on_event: OnEvent) -> Result:
    """Run the playbook to its end and return what it did.

    Each run has a folder of its own, 0700, with the events and the output, and no secret: those travel in files.
    """
    given = as_data(request.variables)
    folder = _new_folder(request)
    # ansible-runner reads this file where it lies. Its own way would be the command line, whose values Ansible evaluates.
    (folder / "env").mkdir()
    (folder / "env" / "extravars").write_text(given)
    events: list[Event] = []

    def keep(event: Event) -> bool:
        events.append(event)
        on_event(event)
        return True

    try:
        sockets_folder = sockets.folder()
    except OSError as failure:
        raise RefusalError(str(failure)) from failure
    ours = environment.for_play(os.environ, request.target, bool(_encrypted(request.target)))
    # ansible-runner starts from this process' own.
    for name in set(os.environ) - set(ours):
        del os.environ[name]
    started = time.monotonic()
    with _until_told() as canceled:
        runner = ansible_runner.run(
            private_data_dir=str(folder),
            project_dir=str(PROJECT),
            playbook=str(PROJECT / request.playbook),
            # The plays find their machine by its tag; the dynamic inventory beside it would ask EC2 once more.
            inventory=str(PROJECT / "inventory" / request.target / "hosts.yml"),
            cmdline=" ".join(["--check --diff"] * request.check + [f"--skip-tags {request.skip}"] * bool(request.skip)) or None,
            envvars={
                **ours,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                # ansible-runner adds its own, and this variable goes before ansible.cfg.
                "ANSIBLE_CALLBACK_PLUGINS": str(PROJECT / "slipway" / "callback"),
                # ansible-runner turns it off, and with it what each machine's SSH settings demand.
                "ANSIBLE_HOST_KEY_CHECKING": "True",
                # What the user has of plugins and collections, of other releases perhaps, is not looked at.
                "ANSIBLE_HOME": str(PROJECT / ".ansible" / "home"),
                "ANSIBLE_COLLECTIONS_PATH": sysconfig.get_path("purelib"),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets_folder,
                lock.SHARED: str(request.lock or ""),
            },
            suppress_env_files=True,
            quiet=True,
            ident="run",
            event_handler=keep,
            cancel_callback=canceled,
            status_handler=_forget_environment,
        )
    seconds = round(time.monotonic() - started, 1)
    log = folder / "artifacts" / "run" / "stdout"
    result = parse(events, request.variables, status=runner.status, seconds=seconds, log=log, code=runner.rc)
    if result.failure and _VAULT_CLOSED in result.failure.reason:
        return replace(result, failure=replace(result.failure, reason=_vault_reason(request.target), code=Exit.BAD_INPUT))
    if result.failure and _VAULT_MISSING in result.failure.reason:
        reason = f"ANSIBLE_VAULT_PASSWORD_FILE: {result.failure.reason}"
        return replace(result, failure=replace(result.failure, reason=reason, code=Exit.BAD_INPUT))
    return result


@contextmanager
def _until_told() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has come, and SIGHUP where the command has a use for it. ansible-runner's own handlers would stay."""
    told = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if callable(signal.getsignal(signal.SIGHUP)) else [])]
    before = {number: signal.signal(number, lambda *_: told.set()) for number in numbers}
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse(events: list[Event], variables: Mapping[str, Any], status: str, seconds: float, log: Path, code: int = 1) -> Result:
    """Turn a run's events into its Result.

    `variables` are the extra variables that the run was given, `status` is ansible-runner's word for how it ended, `code`
    ansible-playbook's own exit code.
    """
    stats: Mapping[str, Any] = next((event["event_data"] for event in reversed(events) if event["event"] == "playbook_on_stats"), {})
    failures = [event for event in events if event["event"] in ("runner_on_failed", "runner_on_unreachable")]
    failure = None
    if status != "successful":
        # The last one: a `rescue` adds context to what failed before it.
        failure = _failure(failures[-1], variables) if failures else _silent_failure(events, status, log, code)
    return Result(
        failure=failure,
        changed=sum(stats.get("changed", {}).values()),
        seconds=seconds,
        published=stats.get("artifact_data", {}),
        log=log,
    )


def _failure(event: Event, variables: Mapping[str, Any]) -> Failure:
    data = event.get("event_data", {})
    result = data.get("res", {})
    host = data.get("host", "localhost")
    task = data.get("task", "")
    file = Path(data.get("task_path", "").rpartition(":")[0]).stem
    code = _CODES.get(file.rpartition("_")[2], Exit.FAILED)
    unreachable = event["event"] == "runner_on_unreachable"
    # Ansible's connection is unreachable then; rsync's own fails.
    if _HOST_KEY_CHANGED.search(_reason(result)):
        return Failure(task, host, f"{_OTHER_HOST}\n{_reason(result)}", Exit.NEEDS_A_PERSON, unreachable)
    if data.get("task_action", "").endswith("validate_argument_spec"):
        code = Exit.BAD_INPUT
    if result.get("argument_errors"):
        return Failure(task, host, _wrong_arguments(result, variables), code)
    return Failure(task, host, _reason(result), Exit(result.get("exit_code", code)), unreachable)


def _wrong_arguments(result: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    """Say of each field that a role's argument_specs refuse: its name, the value found and what is allowed."""
    lines = []
    for error in result["argument_errors"]:
        field = next((name for name in result.get("argument_spec_data", {}) if f"'{name}'" in error or f" {name} " in f" {error} "), None)
        if field is None or field not in variables:
            lines.append(str(error))
            continue
        spec = result["argument_spec_data"][field]
        allowed = f"one of {', '.join(map(str, spec['choices']))}" if "choices" in spec else f"type {spec.get('type', 'str')}"
        about = spec.get("description", "")
        about = about if isinstance(about, str) else " ".join(about)
        found = "its value (not shown)" if spec.get("no_log") else repr(variables[field])
        lines.append(f"{field}: {found} cannot be used. Allowed: {allowed}. {about}".strip())
    return "\n".join(dict.fromkeys(lines))


def _vault_reason(target: str) -> str:
    """Name the variables files that nobody can read. Ansible names none where a whole file is encrypted."""
    named = ", ".join(_encrypted(target)) or "A variables file"
    # Of these Ansible tries all passwords.
    variables = ("ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST")
    given = " or ".join(f"{name}={os.environ[name]}" for name in variables if os.environ.get(name))
    password = f"the password of {given} does not fit" if given else "no password was given"
    allowed = f"{' or '.join(variables)} names a file with its password"
    return f"{named}: encrypted by Ansible Vault, and {password}. Allowed: {allowed}."


def _encrypted(target: str) -> list[str]:
    """The variables files that are encrypted by Ansible Vault, wholly or in part."""
    files = sorted(path for path in (PROJECT / "inventory" / target).rglob("*") if path.is_file() and os.access(path, os.R_OK))
    return [str(path.relative_to(PROJECT)) for path in files if b"$ANSIBLE_VAULT;" in path.read_bytes()]


def _reason(result: Mapping[str, Any]) -> str:
    """The message of a failed task; of a loop, the messages of the items that failed."""
    failed = [item for item in result.get("results", []) if isinstance(item, Mapping) and item.get("failed")]
    if failed:
        return "\n".join(dict.fromkeys(_reason(item) for item in failed))
    parts = [str(result.get("msg") or "no message").strip()]
    parts += [str(result[key]).strip() for key in ("module_stderr", "stderr") if result.get(key)]
    return "\n".join(dict.fromkeys(parts))


def _silent_failure(events: list[Event], status: str, log: Path, code: int) -> Failure:
    """A run that ended without a failed task: canceled, or Ansible itself gave up."""
    said = [_COLOUR.sub("", event.get("stdout", "")).strip() for event in events if "ERROR" in event.get("stdout", "")]
    # Before the first task only the project's own callbacks end with these.
    exit_code = Exit(code) if code in (Exit.BAD_INPUT, Exit.REFUSED) and said else Exit.FAILED
    if status == "canceled":
        reason = "It was interrupted. What was done stays, and the same command again does the rest."
    elif said:
        reason = "\n".join(line.removeprefix("[ERROR]: ") for line in dict.fromkeys(said))
    else:
        reason = f"ansible-playbook ended as {status!r} without a word; its output is in {log}"
    return Failure("run the playbook", "localhost", reason, exit_code)


def _new_folder(request: Request) -> Path:
    """Make this run's folder and remove the oldest beyond those kept."""
    runs = STATE / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(runs.iterdir())[: -_RUNS_KEPT + 1]:
        # Its name ends with the process of its command, which may still write there while others come and go.
        if not Path("/proc", old.name.rpartition("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    # Of one command two plays may begin in the same second.
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    folder = runs / f"{stamp}-{request.verb}-{os.getpid()}"
    folder.mkdir(mode=0o700)
    return folder


def _forget_environment(status: Mapping[str, Any], runner_config: Any) -> None:
    """Take the environment, and with it AWS credentials, out of the record that ansible-runner 2.4.3 keeps."""
    record = Path(runner_config.artifact_dir) / "command"
    if status["status"] == "running" and record.exists():
        kept = json.loads(record.read_text())
        kept.pop("env", None)
        record.write_text(json.dumps(kept))
