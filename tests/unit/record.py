"""Keep what a run's events say, without what belongs to the machine it ran on.

python -m tests.unit.record .slipway/runs/RUN NAME [VARIABLES as JSON]
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_name("recorded") / f"ansible-runner-{version('ansible-runner')}-core-{version('ansible-core')}"
#: What the parser and the progress read; a run has hundreds of others.
KINDS = ("playbook_on_task_start", "runner_on_ok", "runner_on_failed", "runner_on_unreachable", "error", "verbose", "playbook_on_stats")


def record(run: Path, name: str, variables: dict[str, Any]) -> Path:
    """Write RUN's events under NAME and return the file."""
    project = str(run.resolve().parent.parent.parent)
    events = []
    for path in sorted((run / "artifacts" / "run" / "job_events").glob("*.json"), key=lambda path: int(path.name.partition("-")[0])):
        event = json.loads(path.read_text())
        if event["event"] in KINDS:
            events.append(shorten(event))
    status = (run / "artifacts" / "run" / "status").read_text()
    target = RECORDED / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"status": status, "variables": variables, "events": events}, indent=1)
    target.write_text(text.replace(project, "/project") + "\n")
    return target


def shorten(event: dict[str, Any]) -> dict[str, Any]:
    """Keep of an event what tells how the run went; of a task that went well, no more than that it changed something."""
    kept: dict[str, Any] = {"event": event["event"]}
    if event["event"] in ("error", "verbose"):
        return kept | {"stdout": event["stdout"]}
    data, wanted = event["event_data"], ["task", "role", "host"]
    if event["event"] == "playbook_on_stats":
        wanted = ["changed", "artifact_data"]
    elif event["event"] in ("runner_on_failed", "runner_on_unreachable"):
        wanted += ["task_action", "task_path", "res"]
    kept["event_data"] = {key: data[key] for key in wanted if key in data}
    if event["event"] == "runner_on_ok":
        kept["event_data"]["res"] = {"changed": data["res"].get("changed", False)}
    return kept


if __name__ == "__main__":
    print(record(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}))
