"""What a user, a notebook or the host has named is data, on both sides: a file would appear if it were evaluated.

The table of what needs no machine is in tests/unit/test_values.py.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Checkout
from tests.e2e.support.machines import instance
from tests.e2e.support.projects import make, write

pytestmark = pytest.mark.xdist_group("projects")

LOOKUP = "lookup('pipe', 'touch `printenv HIT`')"
#: For Ansible, and for the shell of either side.
MARKS = {
    "expression": f"{{{{ {LOOKUP} }}}}",
    "statement": f"{{% if {LOOKUP} %}}{{% endif %}}",
    "comment": f"{{#{{{{ {LOOKUP} }}}}#}}{{{{ {LOOKUP} }}}}",
}
ALL = f"{''.join(MARKS.values())}$(touch HIT) `touch HIT`"


@dataclass(frozen=True)
class Odd(Checkout):
    """A checkout with a project on its machine, whose notebooks are called so."""

    hit: Path

    def does(self, *words: str, code: int = 0) -> str:
        """What a command prints that ends with this code, and evaluates nothing."""
        done = self.orchestrate(*words, HIT=str(self.hit))
        assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
        assert not self.hit.exists(), words
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def odd(projects: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    here = Odd(projects.path, tmp_path_factory.mktemp("values") / "HIT")
    folder = make(projects, "odd", "redis")
    for name in [*MARKS.values(), "{{ 7*7 }}", "$HOME [c]* \\d 'a' \"b\"", "-dash"]:
        write(folder / "ipynb" / f"{name}.ipynb", ["a = ''", "open('made ' + a[:40].replace('/', ''), 'w').write(a)"])
    here.does("deploy", "odd")
    yield here
    found = here.on_host("find ~ -xdev -name 'HIT*' 2> /dev/null; docker exec odd-jupyter-1 find / -xdev -name 'HIT*' 2> /dev/null || true")
    assert (found, here.hit.exists(), list(here.path.rglob("HIT"))) == ("", False, [])


#: Each mark alone is long; one of them, and what a shell or rsync might read, are not.
NAMES = ["{{ 7*7 }}", "$HOME [c]* \\d 'a' \"b\"", *(pytest.param(mark, marks=pytest.mark.long) for mark in ["-dash", *MARKS.values()])]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_of_any_name_runs_and_its_results_come_back(odd: Odd, name: str) -> None:
    answer = odd.does("run", f"odd/ipynb/{name}.ipynb", "-r", f"a={ALL}", "--json")
    document = json.loads(answer[: answer.index("\n}") + 2])
    assert document["executed"].endswith(f"-{name}.ipynb")
    executed = json.loads((odd.path / "odd" / document["executed"]).read_text())
    assert executed["metadata"]["slipway"]["parameters"] == {"a": ALL}
    assert (odd.path / "odd" / "ipynb" / f"made {ALL[:40]}").read_text() == ALL


@contextmanager
def containers(odd: Odd, **labels: str) -> Iterator[None]:
    """A container with these labels."""
    words = [word for key, value in labels.items() for word in ("--label", f"{key.replace('__', '.')}={value}")]
    image = odd.on_host("docker inspect --format '{{.Config.Image}}' odd-jupyter-1").strip()
    odd.on_host(shlex.join(["docker", "create", "--name", "stranger", *words, image]))
    try:
        yield
    finally:
        odd.on_host("docker rm --force stranger")


@pytest.mark.long
@pytest.mark.parametrize("mark", [ALL, *MARKS.values()], ids=["all", *MARKS])
def test_what_the_host_answers_is_data(odd: Odd, mark: str) -> None:
    of_compose = {f"com__docker__compose__{key}": mark for key in ("project", "service", "project__working_dir", "container-number")}
    of_run = {f"slipway__run__{key}": mark for key in ("digest", "output", "notebook", "origin", "place", "kernel")}
    parameters = {"slipway__run__parameters": json.dumps([mark])}
    looks = (
        ["status"],
        ["status", "odd"],
        ["runs"],
        ["open", "odd"],
        ["logs", "--project", "odd", "--tail", "1"],
        ["top"],
        ["ssh", "true"],
    )
    # A stranger's stack, one more service of the project's, and a run of it.
    for labels in (of_compose, of_compose | {"com__docker__compose__project": "odd"}, of_compose | of_run | parameters):
        with containers(odd, **labels):
            for words in looks:
                odd.does(*words)
    labels = of_run | parameters | {"com__docker__compose__project": "odd", "com__docker__compose__oneoff": "True"}
    with containers(odd, **labels, com__docker__compose__service="batch"):
        for words in (["runs", "odd"], ["status", "odd"]):
            odd.does(*words)
    odd.does("deploy", "odd")


@pytest.mark.long
@pytest.mark.parametrize("mark", [ALL, *MARKS.values()], ids=["all", *MARKS])
def test_what_lies_on_the_machine_is_data(odd: Odd, mark: str) -> None:
    work = f"projects/odd/work/data/{mark}"
    odd.on_host(f"mkdir -p {shlex.quote(work)} && echo x > {shlex.quote(f'{work}/{mark}.csv')}")
    odd.does("pull", "odd")
    assert (odd.path / "odd" / "data" / mark / f"{mark}.csv").read_text() == "x\n"
    (odd.path / "odd" / "data" / mark / f"{mark}.csv").write_text("y\n")
    odd.does("push", "odd")
    assert odd.on_host(f"cat {shlex.quote(f'{work}/{mark}.csv')}") == "y\n"
    (odd.path / "odd" / "data" / mark / f"{mark}.csv").unlink()
    odd.does("push", "odd", "--delete")
    package = f"/opt/conda/lib/python3.11/site-packages/{mark[:40].replace('/', '')}.dist-info"
    script = f"import os, site; p = os.path.join(site.getsitepackages()[0], {Path(package).name!r}); os.makedirs(p, exist_ok=True)\n"
    script += f"open(p + '/METADATA', 'w').write('Metadata-Version: 2.1\\nName: ' + {mark!r} + '\\nVersion: ' + {mark!r} + '\\n')"
    odd.on_host("docker exec --interactive odd-jupyter-1 python -", stdin=script)
    odd.does("diff", "odd")
    odd.does("adopt", "odd")
    assert LOOKUP not in (odd.path / "odd" / "docker" / "jupyter" / "Dockerfile").read_text()


@pytest.mark.long
@pytest.mark.parametrize("mark", [ALL, *MARKS.values()], ids=["all", *MARKS])
def test_the_tags_of_the_instance_are_data(odd: Odd, mark: str) -> None:
    tags = [{"Key": f"slipway-burst-{key}", "Value": mark} for key in ("from", "to", "project", "folder", "run", "since")]
    odd.ec2().create_tags(Resources=[instance(odd)], Tags=[*tags, {"Key": "Name", "Value": mark}])
    try:
        odd.does("status")
        assert "none of this project's" in odd.does("deploy", "odd", code=3)
    finally:
        odd.ec2().delete_tags(Resources=[instance(odd)], Tags=[{"Key": tag["Key"]} for tag in tags])
    odd.ec2().create_tags(Resources=[instance(odd)], Tags=[{"Key": "slipway-resize-to", "Value": mark}])
    try:
        odd.does("status")
        odd.does("push", "odd", code=3)
    finally:
        odd.ec2().delete_tags(Resources=[instance(odd)], Tags=[{"Key": "slipway-resize-to"}])
