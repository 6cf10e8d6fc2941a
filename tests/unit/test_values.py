"""Values are data: nothing that a user, a file or a host has named is ever evaluated. A file would appear if it were.

What needs a machine is in tests/e2e/test_values.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import cli, runner, unfinished
from slipway.model import Exit, RefusalError, Request, Result
from slipway.values import as_data
from slipway.words import Kind
from tests.conftest import PROJECT
from tests.unit.test_words import NO_NAME, actions, given, named

#: Each would make the file. None has a slash, so that it may be a file's name, nor a dollar sign, which modules replace in paths.
LOOKUP = "lookup('pipe', 'touch `printenv HIT`')"
MARKS = {
    "expression": f"{{{{ {LOOKUP} }}}}",
    "statement": f"{{% if {LOOKUP} %}}{{% endif %}}",
    "comment": f"{{#{{{{ {LOOKUP} }}}}#}}{{{{ {LOOKUP} }}}}",
}
#: All at once; each for itself in the long rows.
ALL = "".join(MARKS.values())
EACH = [pytest.param(mark, id=name, marks=[pytest.mark.long] * (mark is not ALL)) for name, mark in (("all", ALL), *MARKS.items())]


@pytest.fixture
def hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that would appear. There are no credentials of AWS, so that each command ends when it first asks EC2."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ANSIBLE_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "HIT"
    monkeypatch.setenv("HIT", str(file))
    return file


#: What roles and playbooks do with values. `value` is one with marks, `named` a mapping with one as its key, `truth` is an expression.
PLAY = """
- hosts: localhost
  vars:
    again: "{{ value }}"
    key: "{{ named | dict2items | map(attribute='key') | first }}"
    made: "{{ dict([value] | zip([[value]])) }}"
    asked: "{{ lookup('ansible.builtin.env', 'ODD') }}"
  tasks:
    - name: Of {{ value }}
      ansible.builtin.set_fact:
        fact: "{{ value }}"
        facts: "{{ named | combine({'a': [key, again], value: {'b': key}}) }}"
        joined: "{{ (['a'] | product([value]) | map('join') | list) + [value ~ key, value | replace('x', 'y') | upper | lower] }}"
        parsed: "{{ value | to_json | from_json }}"
        read: "{{ named | to_yaml | from_yaml }}"
        replaced: "{{ [value] | map('regex_replace', '^', 'a') | list }}"
    - ansible.builtin.command: {argv: [cat, "{{ value }}", "{{ file }}"]}
      register: said
      failed_when: false
      environment: {ODD: "{{ key }}"}
    - ansible.builtin.slurp: {src: "{{ file }}"}
      register: slurped
    - ansible.builtin.set_fact:
        answer: "{{ said.stdout }}"
        answers: "{{ said.stdout_lines }}"
        decoded: "{{ slurped.content | b64decode }}"
        looked: "{{ lookup('ansible.builtin.file', file) }}"
        lines: "{{ lookup('ansible.builtin.file', file) | regex_findall('(?m)^.*$') }}"
        of_json: "{{ (['[', lookup('ansible.builtin.file', file) | to_json, ']'] | join | from_json) }}"
    - ansible.builtin.debug: {msg: "{{ item }}"}
      loop:
        - "{{ again }}"
        - "{{ key }}"
        - "{{ made }}"
        - "{{ asked }}"
        - "{{ fact }}"
        - "{{ facts }}"
        - "{{ joined }}"
        - "{{ parsed }}"
        - "{{ read }}"
        - "{{ replaced }}"
        - "{{ answer }}"
        - "{{ answers }}"
        - "{{ decoded }}"
        - "{{ looked }}"
        - "{{ lines }}"
        - "{{ of_json }}"
        - "{{ query('ansible.builtin.vars', 'key') }}"
    - ansible.builtin.add_host: {name: "host {{ key }}", groups: [odd], heard: "{{ answer }}", ansible_connection: local}
    - ansible.builtin.debug: {msg: "{{ hostvars[groups.odd[0]].heard }} {{ hostvars[groups.odd[0]] | length }}"}
    - ansible.builtin.include_tasks: {file: tasks.yml}
      loop: "{{ named | list + [answer] }}"
      loop_control: {label: "{{ key }}"}
    - ansible.builtin.assert: {that: ["value | length > 0", "key in named"], fail_msg: "{{ value }}"}
    - ansible.builtin.debug: {msg: a text is no condition}
      when: truth
      # Ansible refuses a text as a condition. That it does not evaluate it first is what is looked at, here and below.
      ignore_errors: true
    - ansible.builtin.set_stats:
        data: {value: "{{ value }}", key: "{{ key }}", named: "{{ named }}", answer: "{{ answer }}", truth: "{{ truth }}", odd: "{{ odd }}"}
    - ansible.builtin.fail: {msg: "{{ value }} {{ answer }}"}
"""
TASKS = """
- ansible.builtin.debug: {msg: "{{ item }}"}
- ansible.builtin.command: "true {{ item | quote }}"
"""
#: Of text what has a meaning to YAML or to JSON, or in one of their encodings.
ODD = [
    "\u0085\u2028\ufeff\x7f\x01",
    "é🚢",
    "- a: b # c",
    "'\"\\\n\t",
    " x ",
    "",
    "yes",
    "1e3",
    "0x10",
    "2026-01-01",
    "<<",
    "=",
    "~",
    "!unsafe x",
    "&a *a",
]
CONSTANTS: list[Any] = [True, None, 7, -1.5, 10**30, {"a": {}, "": []}]


def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **variables: Any) -> Result:
    """Run the playbook above by the real runner."""
    monkeypatch.setattr(runner, "STATE", tmp_path / "state")
    # By the name of one that only reads, and so takes no lock.
    (tmp_path / "find.yml").write_text(PLAY)
    (tmp_path / "tasks.yml").write_text(TASKS)
    return runner.run(Request("look", str(tmp_path / "find.yml"), "aws", variables), lambda _event: None)


def test_what_roles_do_with_a_value_evaluates_nothing(tmp_path: Path, hit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", ALL)
    (tmp_path / "file").write_text(f"{ALL}\n{ALL}")
    given = {
        "value": ALL,
        "named": {ALL: ALL, "deep": [{ALL: [ALL] * 2}]},
        "truth": f"{LOOKUP} == ''",
        "file": str(tmp_path / "file"),
        "odd": [*ODD, *CONSTANTS, "long " * 100_000, {word: word for word in ODD}],
        # As Ansible's own JSON marks what is a template, or a secret.
        "mine": {"__ansible_vault": ALL, "__ansible_unsafe": ALL, "__ansible_type": "TrustedAsTemplate", "value": ALL},
    }
    result = play(tmp_path, monkeypatch, **given)
    assert result.failure
    assert result.failure.reason.startswith(f"Action failed: {ALL}") or result.failure.reason.startswith(ALL), result.failure
    assert result.published == {key: given[key] for key in ("value", "named", "truth", "odd")} | {"key": ALL, "answer": f"{ALL}\n{ALL}"}
    assert not hit.exists()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0 or (tmp_path / "state" / "runs").stat().st_mode & 0o077 == 0


def test_the_same_text_that_a_user_types_for_ansible_is_evaluated(tmp_path: Path, hit: Path) -> None:
    """What shows that the file would appear."""
    (tmp_path / "play.yml").write_text('- hosts: localhost\n  gather_facts: false\n  tasks: [{debug: {msg: "{{ value }}"}}]\n')
    words = ["-i", "localhost,", "-c", "local", str(tmp_path / "play.yml"), "-e", json.dumps({"value": ALL})]
    subprocess.run([Path(sys.executable).parent / "ansible-playbook", *words], check=True, capture_output=True)
    assert hit.exists()


def test_what_is_not_utf8_is_refused_before_anything() -> None:
    with pytest.raises(RefusalError, match=r"project_path: .*udcff.* cannot be used. Allowed: text of UTF-8") as refused:
        as_data({"stack_name": "a", "project_path": "/a\udcff"})
    assert refused.value.code is Exit.BAD_INPUT
    assert str(refused.value).isprintable()


@pytest.fixture
def odd(tmp_path: Path, mark: str) -> Path:
    """A project whose folder, notebooks, files and seeds are called so."""
    folder = tmp_path / f"a {mark}"
    shutil.copytree(PROJECT / "examples" / "jupyter-redis", folder)
    notebook = next((folder / "ipynb").glob("*.ipynb"))
    for place in ("ipynb", "data", "lib"):
        (folder / place / mark).mkdir()
        shutil.copy(notebook, folder / place / mark / f"b {mark}.ipynb")
    (folder / "data" / f"{mark}.csv").write_text(mark)
    settings = {"name": "odd", "services": ["jupyter", "redis", "postgres"], "seeds": [f"data/{mark}.csv"]}
    (folder / "slipway.yml").write_text(yaml.safe_dump(settings))
    return folder


#: Commands with a text of the user's own -> the words of a command line.
TEXTS: dict[str, Callable[[Path, str], list[str]]] = {
    "up --key-file": lambda _, mark: ["up", "--key-file", mark],
    "status PROJECT": lambda odd, _: ["status", str(odd)],
    "open PROJECT": lambda odd, _: ["open", str(odd)],
    "deploy PROJECT": lambda odd, _: ["deploy", str(odd)],
    "push PROJECT": lambda odd, _: ["push", str(odd)],
    "pull PROJECT": lambda odd, _: ["pull", str(odd)],
    "run NOTEBOOK": lambda odd, mark: ["run", str(odd / "ipynb" / mark / f"b {mark}.ipynb"), "-p", f"a={mark}", "-r", f"b={mark}"],
    "runs PROJECT": lambda odd, _: ["runs", str(odd)],
    "reseed PROJECT": lambda odd, _: ["reseed", str(odd), "--volume", "odd_postgres_data"],
    "rest PROJECT": lambda odd, _: ["rest", str(odd)],
    "remove PROJECT": lambda odd, _: ["remove", str(odd)],
    "diff PROJECT": lambda odd, _: ["diff", str(odd)],
    "adopt PROJECT": lambda odd, _: ["adopt", str(odd)],
    "measure PROJECT": lambda odd, _: ["measure", str(odd)],
    "advise NOTEBOOK": lambda odd, mark: ["advise", str(odd / "ipynb" / mark / f"b {mark}.ipynb")],
    "advise --project": lambda odd, _: ["advise", "--peak", "1", "--project", str(odd)],
    "logs --project": lambda odd, _: ["logs", "--project", str(odd)],
    "ssh COMMAND": lambda _, mark: ["ssh", mark],
}
#: Each has another playbook or another variable; of the others each is like one of them.
SHORT = ("up --key-file", "deploy PROJECT", "push PROJECT", "run NOTEBOOK", "logs --project")


@pytest.mark.parametrize("mark", EACH)
@pytest.mark.parametrize("place", [pytest.param(each, marks=[pytest.mark.long] * (each not in SHORT)) for each in TEXTS])
def test_a_text_is_passed_on_as_it_stands(
    place: str, mark: str, odd: Path, hit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(runner, "STATE", tmp_path / "state")
    code = cli.main(["--name", "values", "--target", "aws", *TEXTS[place](odd, mark)])
    said = capsys.readouterr().err
    # The playbook has come so far as to ask EC2, or a check of the role has named the value.
    wanted = {"up --key-file": mark, "advise NOTEBOOK": "has been measured"}.get(place, "AWS credentials: none found")
    assert wanted in said, said
    assert code == (Exit.REFUSED if place == "advise NOTEBOOK" else Exit.BAD_INPUT), said
    assert not hit.exists()


def test_each_text_of_each_command_is_in_the_table() -> None:
    texts = {
        f"{command} {named(action)}"
        for command, action in actions()
        if isinstance(action.type, Kind) and action.type.group in ("text", "free")
    }
    assert texts == set(TEXTS)


#: Names and numbers: which the parser refuses, each with all marks.
NAMES = [(command, named(action)) for command, action in actions() if action.nargs != 0 and f"{command} {named(action)}" not in TEXTS]


@pytest.mark.parametrize("mark", [ALL, *MARKS.values()], ids=["all", *MARKS])
def test_a_name_with_marks_is_refused_before_anything(mark: str, hit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, dest in NAMES:
        action = next(each for of, each in actions() if (of, named(each)) == (command, dest))
        assert cli.main(given(command, action, mark)) == Exit.BAD_INPUT
        assert capsys.readouterr().err.count("\n") == 1
    assert len(NAMES) + len(TEXTS) > 40
    assert not hit.exists()


#: slipway.yml with marks in it, by the key.
SETTINGS: dict[str, Callable[[str], dict[Any, Any]]] = {
    "name": lambda mark: {"name": mark},
    "services": lambda mark: {"services": ["jupyter", mark]},
    "scale": lambda mark: {"services": ["jupyter", "redis", "worker"], "scale": {"worker": mark}},
    "scale's key": lambda mark: {"services": ["jupyter", "redis", "worker"], "scale": {mark: 1}},
    "packages.pip": lambda mark: {"packages": {"pip": [mark]}},
    "packages.apt": lambda mark: {"packages": {"apt": [mark]}},
    "packages' key": lambda mark: {"packages": {mark: []}},
    "instance_type": lambda mark: {"instance_type": mark},
    "memory_mib": lambda mark: {"memory_mib": mark},
    "job_seconds": lambda mark: {"job_seconds": mark},
    "seeds": lambda mark: {"services": ["jupyter", "postgres"], "seeds": [mark]},
    "machines' key": lambda mark: {"machines": {mark: {"services": ["redis"]}}},
    "machines.services": lambda mark: {"machines": {"db": {"services": [mark]}}},
    "machines.instance_type": lambda mark: {"machines": {"db": {"services": ["redis"], "instance_type": mark}}},
    "a key": lambda mark: {mark: mark},
}


@pytest.mark.parametrize("mark", [ALL, *MARKS.values()], ids=["all", *MARKS])
def test_slipway_yml_is_data(mark: str, odd: Path, hit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for settings in SETTINGS.values():
        (odd / "slipway.yml").write_text(yaml.safe_dump({"name": "odd", "services": ["jupyter"]} | settings(mark)))
        assert cli.main(["deploy", str(odd), "--target", "aws"]) == Exit.BAD_INPUT
        assert "Allowed: " in capsys.readouterr().err
    assert not hit.exists()


@pytest.mark.parametrize("mark", [ALL])
@pytest.mark.parametrize("legal", [True, pytest.param(False, marks=pytest.mark.long)])
def test_slipway_yml_is_data_to_ansible_alone(mark: str, legal: bool, odd: Path, hit: Path, tmp_path: Path) -> None:
    """The variable is the user's own, and what the file says is not: legal as it is (seeds), and with all that is not."""
    if not legal:
        (odd / "slipway.yml").write_text(yaml.safe_dump({key: value for each in SETTINGS.values() for key, value in each(mark).items()}))
    shutil.move(odd, tmp_path / "plain")
    words = [
        "-i",
        "inventory/aws/hosts.yml",
        "playbooks/project/provision.yml",
        "-e",
        json.dumps({"project_path": str(tmp_path / "plain")}),
    ]
    run = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", *words, "-e", "slipway_name=values", "--check"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert ("AWS credentials: none found" if legal else "there is no such key") in run.stdout + run.stderr
    assert not hit.exists()


TAGS = {"from": "t2.micro", "to": "t2.medium", "project": "adult", "folder": "/p", "run": "1-a.ipynb"}


@pytest.mark.parametrize("tag", ["from", "to", "project", "run"])
def test_a_tag_of_the_instance_is_data(tag: str) -> None:
    """What it names is looked up in a folder, and typed for a shell."""
    assert unfinished.of({"instance": {"burst": TAGS}}) is not None
    for name in ("{{ 7*7 }}.ipynb", "a $(id) '.ipynb"):
        assert unfinished.of({"instance": {"burst": TAGS | {"run": name}}}) is not None
    refused = {key: word for key, word in NO_NAME.items() if tag != "run" or "/" in word or word in ("", "..", ".")}
    for word in refused.values():
        with pytest.raises(RefusalError, match="none of this project's"):
            unfinished.of({"instance": {"burst": TAGS | {tag: word}}})


@pytest.mark.parametrize("mark", [ALL, "a $HOME"])
def test_a_checkout_in_a_folder_that_ansible_would_evaluate_is_refused(mark: str, tmp_path: Path, hit: Path) -> None:
    """Ansible takes its own `roles_path` for a template."""
    folder = tmp_path / mark
    for name in ("slipway", "lab"):
        shutil.copytree(PROJECT / name, folder / name)
    (folder / "roles" / "project").mkdir(parents=True)
    (folder / "roles" / "project" / "module_utils").symlink_to(PROJECT / "roles" / "project" / "module_utils")
    shutil.copy(PROJECT / "orchestrate.py", folder)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    done = subprocess.run([sys.executable, "orchestrate.py", "status", "--target", "aws"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == Exit.BAD_INPUT
    assert "cannot be used" in done.stderr
    assert "Move the checkout" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not hit.exists()


@pytest.mark.parametrize(
    "words", [["up", "--key-file", "a$HOME"], ["status", "a$HOME"], ["deploy", "a$HOME"], ["run", "a$HOME/ipynb/a.ipynb"]]
)
def test_a_path_that_a_modules_own_reader_would_change_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PROJECT / "examples" / "jupyter-redis", tmp_path / "a$HOME")
    (tmp_path / "a$HOME" / "ipynb" / "a.ipynb").touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, "--target", "aws"]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert "a$HOME' cannot be used. Allowed: a path without $" in said
    assert said.count("\n") == 1


def test_the_shells_variables_are_data(hit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STATE", tmp_path / "state")
    for name in ("AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "USER"):
        monkeypatch.setenv(name, ALL)
    assert cli.main(["status", "--name", "values", "--target", "aws"]) in (Exit.BAD_INPUT, Exit.FAILED)
    assert not hit.exists()
