"""Each row of the table of faults, injected into a machine that serves."""

from __future__ import annotations

import pytest

from tests.conftest import Checkout
from tests.e2e.faults import Fault, docker, ec2, stack

pytestmark = pytest.mark.xdist_group("faults")

ROWS: list[Fault] = [*ec2.ROWS, *docker.ROWS, *stack.ROWS]


@pytest.mark.parametrize("fault", [pytest.param(row, id=row.row, marks=[pytest.mark.long] * row.long) for row in ROWS])
def test_fault(machine: Checkout, fault: Fault) -> None:
    with fault.inject(machine):
        done = machine.orchestrate(*fault.words)
    assert done.returncode == fault.code, done.stdout + done.stderr
    printed = done.stdout + done.stderr
    assert [words for words in fault.says if words not in printed] == [], printed
    fault.after(machine)
