"""The home of the notebooks' user, in a volume: what an image brings to it, and what containers of an earlier version leave to it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from tests import kernels
from tests.images.boxes import LABELS
from tests.images.project import Project, home
from tests.images.test_jupyter import get
from tests.modules import load

reader = load("stack_store_home")
fingerprints = load("stack_fingerprints")
settings = load("stack_wrong_settings")

#: Of one image and of a later one: what they bring to the home.
FIRST = "for name in kept changed gone dropped dropped-by-both; do echo one > $name; done; mkdir -p away/in; echo x > away/in/x"
LATER = "for name in kept changed gone; do echo two > $name; done; rm dropped*; echo new > new; echo y > away/in/y; ln -s kept link"


@dataclass
class Home:
    """A project's volume, and what is made for it."""

    client: docker.DockerClient
    name: str = field(default_factory=lambda: f"slipway-test-{uuid.uuid4().hex[:8]}")
    containers: list[Any] = field(default_factory=list)

    def container(self, image: str, service: str, mount: dict[str, str], script: str) -> Any:
        """A container as an earlier version of the project made it, in which a user has worked."""
        labels = {f"com.docker.compose.{key}": value for key, value in (("project", self.name), ("service", service), ("oneoff", "False"))}
        made = self.client.containers.run(
            image, ["sleep", "300"], detach=True, labels=LABELS | labels, volumes=[f"{k}:{v}" for k, v in mount.items()], entrypoint=[]
        )
        self.containers.append(made)
        code, output = made.exec_run(["bash", "-ec", script], user="root", workdir="/home/jovyan")
        assert code == 0, output
        return made

    def listed(self, *named: tuple[str, Any]) -> dict[str, Any]:
        """Containers as the engine lists them, by service."""
        by_id = {item["Id"]: item for item in home.Engine().ask("/containers/json", all="1")}
        return {name: by_id[container.id] for name, container in named}

    def shell(self, image: str, script: str) -> str:
        """What a shell prints in the volume, as root."""
        words = [
            "docker",
            "run",
            "--rm",
            "--label",
            "slipway.test=1",
            "--user",
            "0:0",
            "--volume",
            f"{home.volume(self.name)}:/home/jovyan",
        ]
        done = subprocess.run([*words, "--entrypoint", "bash", image, "-ec", script], capture_output=True, check=True)
        return done.stdout.decode(errors="surrogateescape")

    def reader(self, image: str) -> Any:
        """What takes the volume's fingerprint."""
        return reader.Home({"ImageID": image, "Labels": {"com.docker.compose.project": self.name}})

    def said(self, image: str) -> str:
        """The volume's fingerprint."""
        client = self.reader(image)
        try:
            return str(client.read("")["said"])
        finally:
            client.close()

    def remove(self) -> None:
        for container in self.containers:
            container.remove(force=True, v=True)
        # A client that was told nothing more ends by itself, and its container has the volume until then.
        deadline = time.monotonic() + 20
        while found := self.client.containers.list(all=True, filters={"volume": home.volume(self.name)}, ignore_removed=True):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        with suppress(docker.errors.NotFound):
            self.client.volumes.get(home.volume(self.name)).remove()


@pytest.fixture
def kept(client: docker.DockerClient) -> Iterator[Home]:
    made = Home(client)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def images(client: docker.DockerClient, image: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """An image that brings something to the home, and a later one."""
    tags = [f"slipway-test/home:{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for tag, base, script in ((tags[0], image("jupyter"), FIRST), (tags[1], tags[0], LATER)):
        client.images.build(fileobj=io.BytesIO(f"FROM {base}\nRUN {script}\n".encode()), tag=tag, rm=True)
    yield tags[0], tags[1]
    for tag in reversed(tags):
        client.images.remove(tag, force=True)


def test_a_newer_images_files_come_and_the_users_stay(kept: Home, images: tuple[str, str]) -> None:
    first, later = images
    assert home.bring(kept.name, first)["kept"] == []
    facts = kept.client.volumes.get(home.volume(kept.name)).attrs["Labels"]
    assert facts == {"com.docker.compose.project": kept.name, "com.docker.compose.volume": "jupyter_home"}
    before = kept.shell(first, "stat -c '%U %a' . kept; cat kept")
    assert before == "jovyan 2775\njovyan 644\none\n"
    kept.shell(first, "echo mine > changed; echo mine > dropped-by-both; rm -r gone away; mkdir mine; echo mine > mine/a; ln -s /etc new")
    found = home.bring(kept.name, later)
    assert sorted(found["kept"]) == ["changed", "new"]
    shown = kept.shell(
        later, "head -v kept changed dropped-by-both mine/a link; readlink new; ls -d dropped gone away 2>/dev/null || echo none"
    )
    texts = "==> kept <== two ==> changed <== mine ==> dropped-by-both <== mine ==> mine/a <== mine ==> link <== two /etc none"
    assert " ".join(shown.split()) == texts
    # Nothing comes twice, and what the user removes later stays away.
    kept.shell(later, "rm link")
    said = kept.said(later)
    assert home.bring(kept.name, later)["moved"] == 0
    assert kept.said(later) == said


#: What users have in a home, a folder among it that they may not read, and how it is shown again; `work` is another mount.
USED = r"""
mkdir -p .local/share/jupyter/runtime project/.git/objects .local/lib/python3.11/site-packages/mine
echo token > .local/share/jupyter/runtime/jpserver-1.json; echo beat > .rq-worker
echo 'print(1)' > "notebook é 'n\" \$(id) {{ 7*7 }}.ipynb"; printf 'a\n' > $'two\nlines'; touch -- "-dash" ' space '; printf x > $'\xff\xfe'
ln -s nowhere broken; ln -s project link; ln kept hard; echo two > kept; rm gone; rm -r away; ln -s project away
echo ref > project/.git/HEAD; echo 'v = 1' > .local/lib/python3.11/site-packages/mine/__init__.py
mkdir secret empty; echo s > secret/s; chmod 000 secret; chmod 600 -- -dash; mkfifo fifo; touch -d 2001-02-03 old
chown -R --no-dereference jovyan:users -- [!w]* .[!.]*; echo root > of-root; head -c 3000000 /dev/urandom > big
"""
SHOW = (
    "find . -path ./work -prune -o -path ./.local/state -prune -o -printf '%P|%y|%m|%u|%l|%TY\n' | sort; "
    "find . -type f -not -path './.local/s*' -not -path './work/*' -exec sha256sum {} + | sort"
)


def test_what_containers_of_an_earlier_version_hold_is_copied(kept: Home, images: tuple[str, str], tmp_path: Path) -> None:
    first, later = images
    work = tmp_path / "work"
    work.mkdir()
    (work / "of-the-project").write_text("x")
    old = kept.container(first, "jupyter", {str(work): "/home/jovyan/work"}, USED)
    beside = kept.container(
        first, "worker", {str(work): "/home/jovyan/work"}, "echo of-a-worker > model; echo other > kept; echo beat > .rq-worker"
    )
    before = old.exec_run(["bash", "-ec", SHOW], user="root", workdir="/home/jovyan").output.decode(errors="surrogateescape")
    own = (".rq-worker|", ".local/share/jupyter/runtime", "fifo|")
    expected = [line for line in before.splitlines() if not line.startswith(own) and not line.endswith("/.rq-worker")]
    assert any("notebook é" in line for line in expected)
    found = kept.listed(("jupyter", old), ("worker", beside))
    assert home.unkept(found) == ["jupyter", "worker"]
    assert home.take(kept.name, found) == ["jupyter", "worker"]
    shown = kept.shell(first, SHOW).splitlines()
    assert [line for line in shown if line.partition("|")[0] != "model" and not line.endswith("/model")] == expected
    assert kept.shell(first, "cat model; cat kept; ls work") == "of-a-worker\ntwo\n"
    # The containers stay, stopped, and no image of them is left.
    assert {old.attrs["State"]["Status"] for old in kept.containers if not old.reload()} == {"exited"}
    assert kept.client.images.list(f"slipway/{kept.name}") == []
    # Once taken, they are not copied over what is newer; the newer image's files come.
    kept.shell(first, "echo newer > hard")
    home.take(kept.name, kept.listed(("jupyter", old)))
    home.bring(kept.name, later)
    assert kept.shell(first, "cat hard kept new") == "newer\ntwo\nnew\n"


def test_a_home_is_compared_before_its_container_is_made_again(kept: Home, images: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    old = kept.container(images[0], "jupyter", {}, "echo mine > mine")
    found = kept.listed(("jupyter", old))
    home.take(kept.name, found)
    stacks = [{"name": kept.name, "directory": str(tmp_path), "prefix": "p."}]
    # As after the stop of the machine: the container is the old one still, whose own home does not count.
    with fingerprints.Readers.of(stacks, {kept.name: found}, 20, known={"p.home", "p.notebooks"}) as readers:
        assert readers.take()["p.home"]["said"] == kept.said(images[0])
    with fingerprints.Readers.of(stacks, {kept.name: found}, 20) as readers:
        assert readers.take().keys() == {"p.notebooks"}


def test_what_a_user_goes_on_to_make_in_a_container_that_runs_again_is_copied(kept: Home, images: tuple[str, str]) -> None:
    old = kept.container(images[0], "jupyter", {}, "echo first > changed; echo mine > mine")
    home.take(kept.name, kept.listed(("jupyter", old)))
    # A later step failed, so it runs again, as before.
    old.start()
    code, output = old.exec_run(["bash", "-ec", "echo second > changed; echo more > more"], user="root", workdir="/home/jovyan")
    assert code == 0, output
    home.take(kept.name, kept.listed(("jupyter", old)))
    assert kept.shell(images[0], "cat changed mine more") == "second\nmine\nmore\n"


def test_a_copy_that_was_ended_in_the_middle_is_made_whole(kept: Home, images: tuple[str, str]) -> None:
    old = kept.container(images[0], "jupyter", {}, "echo mine > changed; echo later > later")
    # As it is left by a kill: the image's home is there, and a part of the container's, and the user went on in the container.
    home.bring(kept.name, images[0])
    kept.shell(images[0], "echo half > changed; printf half > .local/state/slipway/part")
    home.take(kept.name, kept.listed(("jupyter", old)))
    assert kept.shell(images[0], "cat changed later; ls .local/state/slipway") == "mine\nlater\nhome.json\n"


def test_without_room_nothing_is_stopped(kept: Home, images: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    old = kept.container(images[0], "jupyter", {}, "echo mine > mine")
    monkeypatch.setattr(home, "SPARE_MIB", 10**9)
    with pytest.raises(home.DockerError, match="MiB have to stay free") as refused:
        home.take(kept.name, kept.listed(("jupyter", old)))
    assert refused.value.code == 3
    old.reload()
    assert old.status == "running"


def test_a_copy_that_fails_starts_what_ran(kept: Home, images: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    old = kept.container(images[0], "jupyter", {}, "echo mine > mine")
    monkeypatch.setattr(home, "BRING", "raise SystemExit('the disk is full')")
    with pytest.raises(home.DockerError, match="the disk is full"):
        home.take(kept.name, kept.listed(("jupyter", old)))
    old.reload()
    assert old.status == "running"
    assert old.exec_run(["cat", "/home/jovyan/mine"]).output == b"mine\n"
    assert kept.client.images.list(f"slipway/{kept.name}") == []


@pytest.mark.parametrize("files", ["compose.jupyter.yml", "compose.jupyter.yml:compose.batch.yml:compose.worker.yml"])
def test_compose_files_of_an_earlier_version_get_the_volume_once(tmp_path: Path, files: str) -> None:
    for name in files.split(":"):
        (tmp_path / name).write_text("services: {}\n")
    (tmp_path / ".env").write_text(f"# a\nCOMPOSE_FILE={files}\nREDIS_MEMORY=1m\n")
    for _ in range(2):
        home.add(str(tmp_path), ["jupyter", "worker", "worker-2"])
    assert (tmp_path / ".env").read_text() == f"# a\nCOMPOSE_FILE={files}:compose.home.yml\nREDIS_MEMORY=1m\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    added = json.loads((tmp_path / "compose.home.yml").read_text())
    assert added["services"] == {name: {"volumes": ["jupyter_home:/home/jovyan"]} for name in ("batch", "jupyter", "worker")}
    assert added["volumes"] == {"jupyter_home": {}}


def test_each_change_of_the_home_is_another_fingerprint(kept: Home, images: tuple[str, str]) -> None:
    home.bring(kept.name, images[0])
    kept.shell(images[0], "mkdir -m 000 secret; mkdir empty; touch -d @1 kept")
    changes = ["echo x > 'ne w'", "rm kept", "echo x >> changed", "chmod 600 changed", "ln -sf changed link"]
    changes += ["mv gone $'\\xff'", "touch secret/inside", "rmdir empty", "mkdir -p new/in", "chmod 711 new/in", "rmdir new/in"]
    client = kept.reader(images[0])
    try:
        said = [client.read("")]
        assert client.read(said[0]["mark"]) == {"mark": said[0]["mark"]}
        # Not compared: caches, what is written down of images, the project's folder, and what the server makes.
        kept.shell(images[0], "mkdir -p .cache work; echo x > .cache/x; echo >> .local/state/slipway/home.json; echo > work/x")
        kept.shell(images[0], "mkdir -p .jupyter .ipython .local/share/jupyter; chmod 700 .local/share/jupyter; echo > .jupyter/migrated")
        assert client.read("")["said"] == said[0]["said"]
        for change in changes:
            kept.shell(images[0], change)
            said.append(client.read(said[-1]["mark"]))
        assert len({each["said"] for each in said}) == len(changes) + 1
    finally:
        client.close()


#: Python runs it at its start, wherever it reads the home's packages.
SEEN = "import sys; open('/tmp/read-the-home', 'a').write(' '.join(sys.orig_argv) + chr(10))"


def test_a_package_of_the_users_is_for_kernels_runs_and_workers_and_not_for_the_server(project: Project) -> None:
    packages = "$(python -c 'import site; print(site.getusersitepackages())')"
    made = f'mkdir -p {packages} && cd {packages} && echo "def answer(): return 42" > by_hand.py && echo "{SEEN}" > usercustomize.py'
    project.shell.out("bash", "-ec", made)
    assert project.tried(project.notebook("by-hand", "import by_hand; print(by_hand.answer())"), "runs/by-hand.ipynb")[0] == 0
    assert project.printed("runs/by-hand.ipynb") == "42\n"
    job = project.python("print(queue.enqueue('by_hand.answer').id)")
    project.until(lambda: project.job(job)[0] in ("finished", "failed"))
    assert project.job(job) == ("finished", 42)
    assert project.compose("up", "--detach", "jupyter").returncode == 0
    (box,) = project.boxes("jupyter")
    box.wait_healthy()
    assert json.loads(box.out(*kernels.words(("work/ipynb/any.ipynb", "notebook", "import by_hand")))) == ["ok"]
    seen = box.out("cat", "/tmp/read-the-home").splitlines()  # noqa: S108 (of the container)
    assert any("ipykernel_launcher" in line for line in seen)
    assert not [line for line in seen if "jupyter-lab" in line]
    # It opens in the project's folder, and what is of this process alone lies outside of the home.
    url, token = f"http://127.0.0.1:{box.port(8888)}/lab", "t" * 20
    assert '"preferredPath": "work"' in get(url, token)[1]
    assert "jpserver" in box.out("ls", "/tmp/jupyter-runtime")  # noqa: S108 (of the container)
    found = box.out("find", "/home/jovyan", "-name", "jpserver*", "-o", "-name", ".rq-worker", "-o", "-name", "jupyter_cookie_secret")
    assert found == ""


#: Files in the settings' folder, how each is made there, and what is said of it.
WRONG = {
    "jupyter_config.py": ("echo 'raise SystemExit(3)' > {}", "line 1: it ends Python (exit 3)"),
    "jupyter_config.json": ("echo '[]' > {}", "it holds a list, where JSON of the form {...} is read"),
    "jupyter_server_config.py": ("printf 'x = 1\nc.ServerApp.port = 9999\n' > {}", "ServerApp.port is 9999; the way to Jupyter here needs"),
    "jupyter_server_config.json": ("mkdir {}", "it is a folder, not a file"),
    "jupyter_server_config.d/a.json": ("echo '{{' > {}", "it is not JSON: "),
    "jupyter_server_config.d/b.json": (
        'echo \'{{"ServerApp": {{"port": "x"}}}}\' > {}',
        "The 'port' trait of a ServerApp instance expected an int",
    ),
    "jupyter_server_config.d/c.json": ('echo \'{{"ServerApp": {{"open_browser": false}}}}\' > {}', None),
    "jupyter_server_config.d/d.json": ("ln -s nowhere {}", "it is a link to nowhere, which is not there"),
    "jupyter_lab_config.py": ("printf 'x = \"\\xff\"\n' > {}", "it is not UTF-8: the byte 0xff at 5"),
    "jupyter_lab_config.json": ("echo '{{}}' > {} && chmod 0 {}", "Permission denied (mode 0000, owner 1000, read as 1000)"),
    "jupyter_notebook_config.py": ("printf '\nimport nothing_of_that_name\n' > {}", "line 2: ModuleNotFoundError: No module named"),
}


def test_of_the_users_settings_each_file_with_a_fault_is_named(project: Project) -> None:
    folder = "/home/jovyan/.jupyter"
    made = [how.format(*[f"{folder}/{name}"] * 2) for name, (how, _) in WRONG.items()]
    try:
        project.shell.out("bash", "-ec", "\n".join([f"mkdir -p {folder}/jupyter_server_config.d", *made]))
        *wrong, read = map(json.loads, project.shell.out("python", "-s", "-c", settings.WRONG).splitlines())
        assert set(read["read"]) == {f"{folder}/{name}" for name in WRONG}
        found = {each["path"].removeprefix(f"{folder}/"): each["why"] for each in wrong}
        assert set(found) == {name for name, (_, said) in WRONG.items() if said}
        for name, why in found.items():
            assert why.startswith(WRONG[name][1] or ""), (name, why)
        # Of the folder itself.
        project.shell.out("chmod", "0", folder)
        alone = settings.told(project.shell.out("python", "-s", "-c", settings.WRONG), "up --without-settings")
        assert alone[1] == "  ~/.jupyter: Permission denied (mode 0000, owner 1000, read as 1000)"
    finally:
        project.shell.out("bash", "-ec", f"chmod 700 {folder} && rm -r {folder}")


def test_settings_that_keep_the_server_from_starting_may_be_left_out(project: Project) -> None:
    project.shell.out("bash", "-ec", "mkdir -p ~/.jupyter && echo 'raise RuntimeError(1)' > ~/.jupyter/jupyter_server_config.py")
    try:
        assert project.compose("up", "--detach", "--force-recreate", "jupyter").returncode == 0
        (box,) = project.boxes("jupyter")
        project.until(lambda: "/home/jovyan/.jupyter/jupyter_server_config.py" in box.logs())
        compose = [str(Path(sys.prefix) / "bin" / "docker-compose")]
        named = settings.wrong_settings(str(project.folder), tls=False, start="up", compose=compose)
        assert named[1] == "  ~/.jupyter/jupyter_server_config.py: line 1: RuntimeError: 1"
        plain = os.environ | {"JUPYTER_CONFIG_DIR": "/tmp/jupyter-config"}  # noqa: S108 (of the container)
        assert project.compose("up", "--detach", "jupyter", env=plain).returncode == 0
        (box,) = project.boxes("jupyter")
        box.wait_healthy()
    finally:
        project.shell.out("rm", "/home/jovyan/.jupyter/jupyter_server_config.py")
        assert project.compose("rm", "--stop", "--force", "jupyter").returncode == 0
