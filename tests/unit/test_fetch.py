"""What a run made is fetched by its name, whatever that is: rsync's patterns and the shell's variables are not meant."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import PROJECT

NAMES = [
    "{{ 7*7 }}.ipynb",
    "{% raw %} {# x #}.ipynb",
    "$HOME ${HOME} $(touch x) `touch x`.ipynb",
    "[c]* a? \\d \\\\ [.ipynb",
    "b\\.ipynb",
    "**.ipynb",
    "-dash --delete.ipynb",
    " 'é\" .ipynb",
    "!x.ipynb",
]


def test_each_name_alone_is_fetched(tmp_path: Path) -> None:
    task = next(
        task for task in yaml.safe_load((PROJECT / "roles/project/tasks/fetch.yml").read_text()) if "ansible.posix.synchronize" in task
    )
    there = tmp_path / "there"
    (there / "runs").mkdir(parents=True)
    others = ["[c]* aX d.ipynb", "c* a.ipynb", "x.ipynb", "a"]
    for name in [*NAMES, *others]:
        (there / "runs" / name).write_text(name)
    options = task["ansible.posix.synchronize"]["rsync_opts"]
    show = {"ansible.builtin.copy": {"dest": str(tmp_path / "shown"), "content": "{{ shown | to_json }}"}}
    play = {"hosts": "localhost", "gather_facts": False, "vars": task["vars"], "tasks": [show | {"vars": {"shown": options}}]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    given = json.dumps({"project_fetched": [f"runs/{name}" for name in NAMES]})
    (tmp_path / "given.yml").write_text(f"!unsafe\n{yaml.safe_dump(json.loads(given))}")
    words = ["-i", "localhost,", "-c", "local", str(tmp_path / "play.yml"), "-e", f"@{tmp_path / 'given.yml'}"]
    words += ["-e", f"ansible_python_interpreter={sys.executable}"]
    subprocess.run([Path(sys.executable).parent / "ansible-playbook", *words], check=True, capture_output=True)
    # As the module's run_command makes words of them.
    given_to_rsync = [os.path.expandvars(word) for word in shlex.split(" ".join(json.loads((tmp_path / "shown").read_text())))]
    done = subprocess.run(["rsync", "--recursive", *given_to_rsync, f"{there}/", f"{tmp_path / 'here'}/"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "here" / "runs").iterdir()) == sorted(NAMES)
