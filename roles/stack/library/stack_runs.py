#!/usr/bin/python
"""Look at the batch runs; stop some, and forget those whose results were fetched."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_runs
short_description: Read the batch runs of every project from the engine; stop or forget those that are named
description:
  - A batch run is a container with labels C(slipway.run.…). It stays when its notebook has ended, until its results were fetched.
  - Nothing is forgotten that still runs. One that was made and never began is not stopped but removed.
  - Of an engine that does not answer, or is not there, no runs are known, and I(engine) says why.
options:
  stop: {type: list, elements: str, default: [], description: Names of runs to be stopped. Each has 30 s to write what it has so far.}
  forget: {type: list, elements: str, default: [], description: Names of runs that have ended and whose containers are removed.}
"""

RETURN = r"""
runs: {type: list, returned: always, description: "Name, project, state (created, running, ended), exit code, times, notebook, parameters,
  kernel, digest, origin and output of each, in the order of their begin."}
engine: {type: str, returned: always, description: "C(running), or why it does not answer."}
"""

import http.client

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.stack_engine import SOCKET, Engine
from ansible.module_utils.stack_runs import of_all

#: Seconds that a run has to write its output.
STOP_SECONDS = 30


def main() -> None:
    """Run the module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule({"stop": names, "forget": names}, supports_check_mode=True)
    try:
        engine = Engine(timeout=STOP_SECONDS + 30)
        runs = of_all(engine.ask("/containers/json", all="1"))
    except (OSError, http.client.HTTPException) as silent:
        module.exit_json(changed=False, runs=[], engine=f"{SOCKET}: {silent}")
    stopped = [run for run in runs if run["name"] in module.params["stop"] and run["state"] == "running"]
    unwanted = {"ended": module.params["forget"], "created": module.params["stop"] + module.params["forget"]}
    gone = [run for run in runs if run["name"] in unwanted.get(run["state"], [])]
    if (stopped or gone) and not module.check_mode:
        try:
            for run in stopped:
                engine.tell(f"/containers/{run['name']}/stop", t=STOP_SECONDS)
            for run in gone:
                engine.remove(f"/containers/{run['name']}")
            runs = of_all(engine.ask("/containers/json", all="1"))
        except (OSError, http.client.HTTPException) as refused:
            module.fail_json(msg=f"The engine has not done it: {refused}. Nothing is lost: the same command again does the rest.")
    module.exit_json(changed=bool(stopped or gone), runs=runs, engine="running")


if __name__ == "__main__":
    main()
