"""What is told of a resize, from the events of real ones (tests/unit/record.py keeps them)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from slipway import receipt
from slipway.model import Exit, Result
from slipway.runner import parse
from tests.conftest import PROJECT

RECORDED = Path(__file__).with_name("recorded")
STORES = {"mongo", "notebooks", "postgres", "redis"}


def result(name: str) -> Result:
    """A recorded run, as the newest versions wrote it."""
    kept: dict[str, Any] = json.loads(sorted(RECORDED.glob(f"*/{name}.json"))[-1].read_text())
    return parse(kept["events"], kept["variables"], kept["status"], seconds=40.0, log=Path("/log"))


def document(name: str) -> dict[str, Any]:
    """As `resize --json` prints it."""
    return dict(result(name).published["resize"]) | {"seconds": 40.0, "url": "http://127.0.0.1:8888/lab"}


@pytest.mark.parametrize(
    ("name", "outcome", "code"),
    [("resize-done", "resized", None), ("resize-restored", "restored", Exit.FAILED), ("resize-different", "resized", Exit.NEEDS_A_PERSON)],
)
def test_each_outcome_of_a_resize_has_its_exit_code(name: str, outcome: str, code: Exit | None) -> None:
    run = result(name)
    assert run.published["resize"]["outcome"] == outcome
    assert (run.failure.code if run.failure else None) == code


def test_the_document_has_the_fields_that_are_documented() -> None:
    table = (PROJECT / "docs" / "json.md").read_text().partition("## `resize`")[2].partition("\n## ")[0]
    fields = {name.partition(".")[0] for name in re.findall(r"^\| `([a-z_.*]+)` \|", table, re.MULTILINE)}
    assert set(document("resize-done")) == fields


def test_a_receipt_has_equal_fingerprints_prices_and_times() -> None:
    done = document("resize-done")
    assert set(done["fingerprints"]) == STORES
    assert all(each["equal"] and each["before"] == each["after"] for each in done["fingerprints"].values())
    assert done["price_per_hour"]["after"] > done["price_per_hour"]["before"] > 0
    text = receipt.text(done)
    for words in (
        f"Resized   {done['from']} -> {done['to']} (resized)",
        f"Down      {done['downtime_s']:.0f} s, of 40 s in all",
        f"Address   {done['public_ip']['before']} -> {done['public_ip']['after']}",
        "Jupyter   http://127.0.0.1:8888/lab",
    ):
        assert words in text
    assert text.count("  equal") == len(STORES)


def test_a_receipt_tells_what_was_lost() -> None:
    lines = receipt.text(document("resize-done")).splitlines()
    assert "Lost      4 files in slipway's jupyter: /opt/conda/mine/ (3 files), /opt/conda/share/mine.txt" in lines
    assert any(line.startswith("Keep      such packages: adopt") for line in lines)
    nothing = receipt.text(document("resize-done") | {"lost": []})
    assert "Lost      nothing: no container held files" in nothing
    assert "Keep" not in nothing
    each = {"kind": "pip", "name": "x", "version": "1", "asked": True}
    packages = [each | {"name": f"p{n}\x1b"} for n in range(7)] + [each | {"asked": False}] * 3 + [each | {"kind": "apt", "version": None}]
    many = {"stack": "a", "service": "jupyter", "files": 9, "paths": [{"path": "/a\nb", "files": 1}], "packages": packages}
    assert receipt.lost_lines([many])[:2] == [
        "Lost      9 files in a's jupyter: /a?b, and 8 more",
        f"Lost      packages in a's jupyter: {', '.join(f'p{n}? 1 (pip)' for n in range(5))}, and 3 more; 3 more came along with them",
    ]


def test_a_receipt_tells_what_costs_from_now_on() -> None:
    done = document("resize-done") | {"snapshots": ["snap-0a", "snap-0b"]}
    lines = receipt.text(done).splitlines()
    for each in ("snap-0a", "snap-0b"):
        assert f"Snapshot  {each}; it costs until you remove it" in lines


def test_a_receipt_says_that_the_old_type_is_back_and_why() -> None:
    text = receipt.text(document("resize-restored"))
    assert re.search(r"Resized   (\S+) -> \1 \(restored\)", text)
    assert "InsufficientInstanceCapacity" in text


def test_a_receipt_names_each_store_that_differs() -> None:
    run = result("resize-different")
    assert run.failure is not None
    assert "notebooks: before 20 files" in run.failure.reason
    text = receipt.text(document("resize-different"))
    assert "DIFFERENT, after: 21 files" in text
    assert text.count("  equal") == len(STORES) - 1


def test_a_plan_says_each_step_its_price_and_what_comes_back() -> None:
    plan = receipt.plan_document(result("resize-dry").published)
    text = receipt.plan_text(plan, "slipway")
    wanted, origin = plan["candidates"][0], plan["origin"]
    for words in (
        f"Resize    slipway from {origin} ({plan['memory_mib'][origin]} MiB) to {wanted} ({plan['memory_mib'][wanted]} MiB)",
        f"{plan['price_per_hour'][origin]:.4f} USD now, {plan['price_per_hour'][wanted]:.4f} USD afterwards",
        "a new public one",
        f"At last   {origin} comes back",
        "Lost      1 file in slipway's redis: /dump.txt",
        "Lost      packages in slipway's jupyter: humanize 4.17.0 (pip), tinyhtml 1.2.0 (pip)",
        "adopt",
    ):
        assert words in text
    assert "Half-way" in receipt.plan_text(plan | {"halfway": True}, "slipway")
    assert "its Elastic IP" in receipt.plan_text(plan | {"elastic_ip": True}, "slipway")
    assert "unknown now" in receipt.plan_text(plan | {"price_per_hour": dict.fromkeys(plan["price_per_hour"])}, "slipway")
    assert "nothing to do" in receipt.plan_text(plan | {"needed": False}, "slipway")
