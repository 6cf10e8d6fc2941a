"""A larger machine for one notebook: what is decided, in which order things are done, and what is told."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway import arguments, batch, cli, executed, lab, plays, receipt, render, unfinished, watch
from slipway.model import Exit, Failure, RefusalError, Result
from slipway.unfinished import Burst, Left
from tests.conftest import PROJECT

EXAMPLE = PROJECT / "examples" / "adult"
NOTEBOOK = next((EXAMPLE / "ipynb").glob("*.ipynb"))
RUN = "20260501T120003-train.ipynb"
TAGS = {"from": "t2.micro", "to": "t2.medium", "since": "2026-05-01T12:00:05.000Z", "project": "adult", "folder": str(EXAMPLE), "run": RUN}
PRICES = {"price-from": "0.0188", "price-to": "0.0536"}
MINE = Burst("t2.micro", "t2.medium", "adult", EXAMPLE, RUN)
RECEIPT = {
    "from": "t2.micro",
    "to": "t2.medium",
    "downtime_s": 30.0,
    "lost": [
        {
            "stack": "adult",
            "service": "jupyter",
            "files": 0,
            "paths": [],
            "packages": [{"kind": "pip", "name": "humanize", "version": "4.13.0", "asked": True}],
        }
    ],
    "fingerprints": {"adult.redis": {"before": "1 key", "after": "1 key", "equal": True}},
}


@pytest.mark.parametrize(
    ("resize_to", "results", "back"),
    [
        (None, "before", {"ec2_resize_type": "t2.micro"}),
        ("t2.medium", "none", {"ec2_resize_rollback": True}),
        ("t2.micro", "after", {"ec2_resize_type": "t2.micro"}),
        ("t2.large", "after", {"ec2_resize_type": "t2.large"}),
    ],
    ids=["the larger one runs", "half-way up", "half-way down", "half-way to a third type"],
)
def test_each_state_of_an_unfinished_burst_has_its_next_steps(resize_to: str | None, results: str, back: dict[str, Any]) -> None:
    assert unfinished.left(MINE, resize_to) == Left(results, back)


def test_an_instances_tags_name_its_burst_and_wrong_ones_are_refused() -> None:
    assert unfinished.of({"instance": {"burst": TAGS}}) == MINE
    assert MINE.output == f"runs/{RUN}"
    assert unfinished.of({"instance": {"burst": None}}) is None
    assert unfinished.of({}) is None
    for wrong in ({"from": "t2.micro"}, TAGS | {"run": "{{ lookup('file', '/etc/passwd') }}"}):
        with pytest.raises(RefusalError, match="Remove them"):
            unfinished.of({"instance": {"burst": wrong}})


def write(path: Path, source: str, **told: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "metadata": {}, "source": [source]}]
    if told:
        cells.insert(0, {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": ["size = 7"]})
    path.write_text(json.dumps({"cells": cells, "metadata": {"slipway": told} if told else {}}))
    return path


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"state": "done", "exit_code": 0}, "Executed: "),
        ({"state": "done", "exit_code": 1, "place": "cell 2 of 3"}, "Failed in cell 2 of 3: "),
        ({"state": "done", "exit_code": 143, "place": "cell 2 of 3"}, "Stopped in cell 2 of 3: "),
        ({"state": "done", "exit_code": 137, "place": "cell 2 of 3"}, "Out of memory in cell 2 of 3: "),
        ({"state": "running", "place": "cell 2 of 3"}, "was ended from outside, in cell 2 of 3. The partial result: "),
    ],
)
def test_a_result_that_no_command_waited_for_is_named(told: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = write(tmp_path / RUN, "1", **told)
    assert says + str(path) in executed.line(path)
    assert "there is no result" in executed.line(tmp_path / "none.ipynb")


def test_the_same_job_is_known_by_its_digest(tmp_path: Path) -> None:
    job = batch.Job(tmp_path, "p", Path("ipynb/a.ipynb"), ["size=7"], "20260501T130000", digest="0b1c")
    done = {"state": "done", "exit_code": 0, "notebook": "ipynb/a.ipynb", "parameters": {"size": 7}}
    path = write(tmp_path / "runs" / RUN, "print(size)", **done, digest="0b1c")
    assert executed.same(path, job)
    assert executed.same(write(path, "1", **done | {"exit_code": 1}, digest="0b1c"), job)
    # One of an earlier version has none.
    assert not executed.same(write(path, "1", **done), job)
    assert not executed.same(write(path, "1", **done, digest="0b1d"), job)
    assert not executed.same(tmp_path / "runs" / "none.ipynb", job)


def hours_ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def test_a_burst_costs_its_hours_at_the_types_price_or_an_unknown_amount() -> None:
    spent = receipt.cost(TAGS | PRICES | {"since": hours_ago(2)})
    assert spent["hours"] == pytest.approx(2, abs=0.01)
    assert spent["usd"] == pytest.approx(2 * 0.0536, abs=0.001)
    assert spent["usd_more"] == pytest.approx(2 * (0.0536 - 0.0188), abs=0.001)
    unknown = receipt.cost(TAGS | {"price-from": "0.0188", "price-to": ""})
    assert (unknown["usd"], unknown["usd_more"]) == (None, None)
    assert (
        receipt.cost_line(TAGS | {"since": hours_ago(0)}) == "The burst took 0.00 h at unknown, unknown in all; unknown more than t2.micro"
    )


def documented(title: str) -> set[str]:
    """The names in the table of a section, those of `burst` by their last part."""
    section = (PROJECT / "docs" / "json.md").read_text().partition(f"\n## `{title}`")[2].partition("\n## ")[0]
    rows = [line.partition(" | ")[0] for line in section.splitlines() if line.startswith("| `burst.")]
    return {name for row in rows for name in re.findall(r"`burst\.(\w+)`", row)}


def test_the_receipt_of_a_burst_has_its_documented_fields_and_words() -> None:
    seconds = {"up": 41.0, "run": 12.0, "down": 39.0, "total": 95.0}
    down = RECEIPT | {"from": "t2.medium", "to": "t2.micro", "downtime_s": 25.0, "lost": []}
    document = receipt.burst_document(
        TAGS | PRICES | {"since": hours_ago(1)}, {"resize": RECEIPT}, {"resize": down}, seconds, {"peak_mib": 612, "limit_mib": 3467}
    )
    assert set(document) == documented("run")
    text = receipt.burst_text(document)
    for words in (
        "Burst     t2.micro -> t2.medium -> t2.micro",
        "Time      up 41 s, run 12 s, down 39 s; 95 s in all",
        "Services  down for 30 s on the way up, 25 s on the way back",
        "Memory    peak 612 MiB, of 3467 MiB",
        "Price     1.00 h at 0.0536 USD, 0.0536 USD in all; 0.0348 USD more than t2.micro",
        "Data      equal both ways: adult.redis",
        "Lost      packages in adult's jupyter: humanize 4.13.0 (pip)",
    ):
        assert words in text
    different = {"adult.redis": RECEIPT["fingerprints"]["adult.redis"] | {"equal": False}}  # type: ignore[index]
    lost = receipt.burst_document(TAGS, {"resize": RECEIPT | {"fingerprints": different}}, {}, seconds, {})
    text = receipt.burst_text(lost)
    assert "Burst     t2.micro -> t2.medium -> not back" in text
    assert "Memory    peak unknown, of unknown" in text
    assert "Data      DIFFERENT: adult.redis" in text


@pytest.mark.parametrize(
    ("resize_to", "runs_in", "says"),
    [
        (None, {"runs_in": ["adult"]}, ["It still runs", "resize t2.micro"]),
        (None, {"runs_in": []}, ["It does not run any more", "resize t2.micro"]),
        ("t2.medium", {}, ["Whether it runs is not known", "resize --rollback"]),
        ("t2.micro", {}, ["resize t2.micro"]),
    ],
)
def test_status_tells_what_it_costs_and_what_ends_it(resize_to: str | None, runs_in: dict[str, Any], says: list[str]) -> None:
    instance = {"id": "i-0", "type": "t2.medium", "state": "running", "resize_to": resize_to}
    published = {"instance": instance | {"burst": TAGS | PRICES | {"since": hours_ago(10)}}, **runs_in}
    document = render.status_document("lab", published, None)
    assert set(document["burst"]) == documented("status")
    text = render.status_text(document, lambda verb: f"python orchestrate.py {verb} --name x")
    for words in ("0.5360 USD until now, 0.0536 USD per hour", RUN, "left half-way" if resize_to else "Burst     t2.medium", *says):
        assert words in text
    assert f"python orchestrate.py {says[-1]} --name x" in text


@pytest.mark.parametrize(("words", "said"), [(["run", str(NOTEBOOK), "--on"], "--on"), (["run", "--on", "t2.medium"], "NOTEBOOK")])
def test_wrong_words_end_with_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_files_are_lost_by_a_burst_alone_and_on_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(NOTEBOOK), "--lose-files"]) == Exit.BAD_INPUT
    assert "--lose-files: cannot be used without --on" in capsys.readouterr().err
    options = arguments.parse(["run", str(NOTEBOOK), "--on", "t2.medium", "--lose-files"])
    # The way back gets what names the machine alone.
    assert arguments.variables(options)["stack_lose_files"] is arguments.common(options)["stack_lose_files"] is True
    assert "stack_lose_files" not in arguments.variables(arguments.parse(["resize", "t2.medium"]))


def test_a_dry_run_is_one_of_a_burst(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(NOTEBOOK), "--dry-run"]) == 2
    assert "--on TYPE" in capsys.readouterr().err
    assert cli.main(["run", str(NOTEBOOK), "--on", "{{ 7*7 }}"]) == 2


PLAN = {
    "needed": True,
    "halfway": False,
    "origin": "t2.micro",
    "type": "t2.micro",
    "candidates": ["t2.medium"],
    "memory_mib": {"t2.micro": 1024, "t2.medium": 4096, "t2.nano": 512},
    "price_per_hour": {"t2.micro": 0.0188, "t2.medium": 0.0536},
    "elastic_ip": False,
    "caveats": [],
    "unknown": [],
}
SMALL = {"id": "i-0", "type": "t2.micro", "state": "running", "resize_to": None, "burst": None}
LARGE = SMALL | {"type": "t2.medium", "burst": TAGS | PRICES, "resize_to": "t2.medium"}
SAID = {"ssh_config": "/dev/null", "sync": {}, "services": {"jupyter": {"state": "running"}}, "instance": SMALL, "resize_plan": PLAN}
Play = Callable[..., Result]


class Plays:
    """Stands in for the playbooks, with what each publishes; keeps which were run."""

    def __init__(self, **answers: Result) -> None:
        self.answers, self.done = answers, []  # type: ignore[var-annotated]

    def __call__(self, verb: str, playbook: str, _options: object, variables: Mapping[str, Any], *_: object, check: bool = False) -> Result:
        step = Path(playbook).stem
        if step == "resize":
            step = "plan" if check else "up" if "ec2_resize_burst" in variables else "down"
        self.done.append(step)
        return self.answers.get(step, ok())


def ok(**published: Any) -> Result:
    return Result(None, 1, 40.0, SAID | published, Path("/log"))


def wrong(code: Exit, **published: Any) -> Result:
    return Result(Failure("a task", "localhost", "a reason", code), 0, 40.0, SAID | published, Path("/log"))


UP, DOWN = ok(instance=LARGE, resize=RECEIPT), ok(resize=RECEIPT | {"to": "t2.micro"})


@pytest.fixture
def borrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Run a burst whose playbooks and notebook end as they are told; its exit code, and the playbooks."""
    monkeypatch.setattr(lab, "need", lambda _options: None)
    monkeypatch.setattr(unfinished, "wait", lambda *_: None)
    monkeypatch.setattr(plays, "_explained", lambda _options, _result, why: why)
    monkeypatch.setattr(plays, "STATE", tmp_path)

    def burst_with(notebook: Callable[[], int], *words: str, **answers: Result) -> tuple[int, list[str]]:
        stub = Plays(**{"up": UP, "down": DOWN} | answers)
        monkeypatch.setattr(plays, "play", stub)
        monkeypatch.setattr(watch, "begin", lambda *_: watch.Begun("runs/20260501T120003-encode.ipynb"))
        monkeypatch.setattr(watch, "forget", lambda *_: None)
        monkeypatch.setattr(watch, "follow", lambda *_: notebook())
        return cli.main(["run", str(NOTEBOOK), "--on", "t2.medium", *words]), stub.done

    return burst_with


def left() -> int:
    raise watch.LeftError("The connection to the machine is lost.")


WAY = ["plan", "run", "up", "back", "down"]


@pytest.mark.parametrize(
    ("notebook", "answers", "code", "done"),
    [
        (lambda: 0, {}, 0, WAY),
        (lambda: 1, {}, 4, WAY),
        (lambda: 137, {}, 4, WAY),
        (lambda: 143, {}, 4, WAY),
        # It goes on, on the larger machine: the next command ends that.
        (left, {}, 4, WAY[:3]),
        # A fetch that brought nothing is tried again, when the machine is the small one.
        (lambda: 0, {"back": wrong(Exit.FAILED)}, 4, [*WAY, "back"]),
        (lambda: 0, {"down": wrong(Exit.NEEDS_A_PERSON)}, 5, WAY),
        (lambda: 0, {"down": wrong(Exit.FAILED)}, 4, WAY),
        (lambda: 0, {"plan": wrong(Exit.BAD_INPUT)}, 2, ["plan"]),
        (lambda: 0, {"plan": wrong(Exit.REFUSED)}, 3, ["plan"]),
        (lambda: 0, {"plan": ok(resize_plan=PLAN | {"candidates": ["t2.nano"]})}, 2, ["plan"]),
        (lambda: 0, {"run": wrong(Exit.REFUSED)}, 3, ["plan", "run"]),
        # No capacity: the resize has put the old type back, and its marks are gone.
        (lambda: 0, {"up": wrong(Exit.FAILED, resize=RECEIPT)}, 4, ["plan", "run", "up", "find"]),
        # Interrupted half-way up: rolled back, and there is nothing to bring.
        (lambda: 0, {"up": wrong(Exit.FAILED), "find": ok(instance=LARGE)}, 4, ["plan", "run", "up", "find", "down"]),
        # Stores differ: nothing more is done.
        (lambda: 0, {"up": wrong(Exit.NEEDS_A_PERSON), "find": ok(instance=LARGE)}, 5, ["plan", "run", "up", "find"]),
    ],
    ids=[
        "all goes well",
        "a cell fails",
        "out of memory",
        "stopped",
        "left",
        "no fetch",
        "stores differ",
        "no way back",
        "bad type",
        "refused",
        "a smaller type",
        "the project does not run",
        "no capacity",
        "interrupted half-way up",
        "stores differ on the way up",
    ],
)
def test_whatever_happens_the_machine_comes_back(
    notebook: Callable[[], int],
    answers: dict[str, Result],
    code: int,
    done: list[str],
    borrow: Callable[..., tuple[int, list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert borrow(notebook, "--json", **answers) == (code, done)
    printed = capsys.readouterr()
    # One document, whatever came of it.
    json.loads(printed.out)
    if notebook is left:
        assert "Until then the machine is the t2.medium: 0.0536 USD per hour. The next command that changes something" in printed.err
    if "up" in done and answers.get("up"):
        assert "Nothing was run." in printed.err
    if answers.get("down"):
        assert "orchestrate.py resize t2.micro" in printed.err


def test_that_type_already_is_a_plain_run(borrow: Callable[..., tuple[int, list[str]]], capsys: pytest.CaptureFixture[str]) -> None:
    there = ok(resize_plan=PLAN | {"needed": False, "type": "t2.medium"})
    assert borrow(lambda: 0, plan=there) == (0, ["plan", "run", "back"])
    assert "a plain run" in capsys.readouterr().err


def test_detach_leaves_no_larger_machine(borrow: Callable[..., tuple[int, list[str]]], capsys: pytest.CaptureFixture[str]) -> None:
    assert borrow(lambda: 0, "--detach") == (2, [])
    assert "--detach: cannot be used with --on" in capsys.readouterr().err


def test_the_same_again_is_not_run_twice(
    borrow: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    had = ok(instance=LARGE | {"resize_to": None})
    monkeypatch.setattr(executed, "same", lambda *_: True)
    monkeypatch.setattr(executed, "facts", lambda _path: {"state": "done", "exit_code": 0})
    code, done = borrow(lambda: 1, "--json", plan=had, find=had)
    assert (code, done) == (0, ["plan", "find", "back", "down"])
    printed = capsys.readouterr()
    assert "it is not run again" in printed.err
    assert json.loads(printed.out)["exit_code"] == 0


def test_a_dry_run_changes_nothing(borrow: Callable[..., tuple[int, list[str]]], capsys: pytest.CaptureFixture[str]) -> None:
    assert borrow(lambda: 0, "--dry-run") == (0, ["plan"])
    out = capsys.readouterr().out
    assert "0.0188 USD now, 0.0536 USD afterwards, per hour" in out
    assert "the machine is a t2.micro again, whatever happens" in out


@pytest.mark.parametrize(("ends", "asked"), [(Exit.DONE, 2), (Exit.NEEDS_A_PERSON, 1)])
def test_a_burst_that_was_left_is_finished_first(ends: Exit, asked: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str] = []

    def command(_options: argparse.Namespace) -> Exit:
        done.append("command")
        if "finish" not in done:
            raise plays.BurstLeftError
        return Exit.DONE

    def finish(options: argparse.Namespace) -> tuple[Exit, Burst]:
        assert options.locked
        assert list(tmp_path.glob("locks/lab-*.lock"))
        done.append("finish")
        return ends, MINE

    monkeypatch.setattr(unfinished, "finish", finish)
    monkeypatch.setattr(plays, "STATE", tmp_path)
    assert unfinished.first(arguments.parse(["run", "a.ipynb"]), command) is ends
    assert done == ["command", "finish", "command"][: asked + 1]


def test_a_play_that_was_refused_for_a_burst_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = wrong(Exit.REFUSED, burst_left=TAGS)
    monkeypatch.setattr("slipway.runner.run", lambda *_: refused)
    with pytest.raises(plays.BurstLeftError):
        plays.play("push", "playbooks/project/push.yml", arguments.parse(["push"]), {})
