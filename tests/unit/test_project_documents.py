"""The answers of the projects' commands for programs, and the page that promises them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway import arguments, batch, lab, listing, plays, projects, watch
from slipway.model import Result
from tests.conftest import PROJECT

EXAMPLE = PROJECT / "examples" / "adult"
NOTEBOOK = next((EXAMPLE / "ipynb").glob("*.ipynb"))
SYNC = {"direction": "push", "moved": ["lib/jobs.py"], "removed": [], "left": {}, "told": [], "conflicts": [], "bytes": 0, "ignored": {}}
JUPYTER = {"state": "running", "health": "healthy", "memory_used_mib": 1.0, "memory_limit_mib": 2, "out_of_memory": False}
PUBLISHED = {
    "instance": {"id": "i-0", "type": "t2.micro", "state": "running", "public_ip": "198.18.0.57", "private_ip": "10.200.0.4"},
    "services": {"jupyter": JUPYTER},
    "ssh_config": "/dev/null",
    "sync": SYNC,
    "volumes": ["adult_redis_data"],
    "packages": {"pip": [], "apt": []},
}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The document of a command, where every playbook does what it should."""
    done = Result(failure=None, changed=1, seconds=1.0, published=PUBLISHED, log=Path("log"))
    monkeypatch.setattr(plays, "play", lambda *_given, **_more: done)
    monkeypatch.setattr(watch, "begin", lambda *_given: watch.Begun("runs/20260501T120003.481516-a.ipynb"))
    monkeypatch.setattr(watch, "follow", lambda *_given: 0)
    monkeypatch.setattr(watch, "forget", lambda *_given: None)
    monkeypatch.setattr(lab, "need", lambda _options: None)
    monkeypatch.setattr(lab, "start", lambda _progress: None)

    def ask(*words: str) -> dict[str, Any]:
        options = arguments.parse([*words, "--json"])
        command = (projects.COMMANDS | {"status": projects.show, "open": projects.show, "run": batch.run, "runs": listing.command})[
            words[0]
        ]
        assert command(options) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return ask


def fields(*titles: str) -> set[str]:
    """The names in the tables of these sections, without what is inside of them."""
    page = (PROJECT / "docs" / "json.md").read_text()
    sections = [page.partition(f"\n## {title}\n")[2].partition("\n## ")[0] for title in titles]
    assert all(sections), titles
    return {name.partition(".")[0] for name in re.findall(r"^\| `([a-z0-9_.*]+)`", "\n".join(sections), re.MULTILINE)}


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        (("status", str(EXAMPLE)), ["`status`"]),
        (("open", str(EXAMPLE)), ["`status`", "`open`"]),
        (("deploy", str(EXAMPLE)), ["`status`", "`up`"]),
        (("reseed", str(EXAMPLE), "--volume", "adult_postgres_data"), ["`status`", "`up`"]),
        (("push", str(EXAMPLE)), ["`push`, `pull`"]),
        (("pull", str(EXAMPLE)), ["`push`, `pull`"]),
        (("run", str(NOTEBOOK)), ["`run`"]),
        (("run", str(NOTEBOOK), "--detach"), ["`run`"]),
        (("runs", str(EXAMPLE)), ["`runs`"]),
        (("rest", "adult"), ["`rest`, `remove`"]),
        (("remove", str(EXAMPLE)), ["`rest`, `remove`"]),
    ],
    ids=lambda given: given[0],
)
def test_a_document_has_the_fields_that_are_documented(
    words: tuple[str, ...], titles: list[str], answer: Callable[..., dict[str, Any]]
) -> None:
    assert set(answer(*words)) == fields(*titles)


def test_the_page_tells_what_diff_finds(answer: Callable[..., dict[str, Any]]) -> None:
    assert set(answer("diff", str(EXAMPLE))) <= fields("`diff`, `adopt`")


def test_every_command_of_projects_has_a_section() -> None:
    page = (PROJECT / "docs" / "json.md").read_text()
    titles = " ".join(line for line in page.splitlines() if line.startswith("## "))
    assert [name for name in (*projects.COMMANDS, "run", "runs") if f"`{name}`" not in titles] == []


def test_the_readme_names_every_command() -> None:
    text = (PROJECT / "README.md").read_text()
    assert [name for name in (*projects.COMMANDS, "run", "runs") if not re.search(rf"^\| .*`{name}\b", text, re.MULTILINE)] == []
