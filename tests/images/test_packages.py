"""Packages that are installed by hand in a project's Jupyter container: told, written into its Dockerfile, or kept as an image."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import yaml

from slipway import adopt
from tests.conftest import PROJECT
from tests.images.boxes import LABELS, Box
from tests.images.test_jupyter import get
from tests.modules import load

TOKEN, PASSWORD = "t0ken-of-the-test-0123456789", "passw0rd-of-the-test-012345"
ENVIRONMENT = PROJECT / "roles" / "stack" / "files" / "compose" / "jupyter" / "slipway_environment.py"
#: An index for pip and an archive for apt-get, in the image: no test waits for those of others.
BASE = r"""
FROM {image}
USER root
COPY repository /repository
WORKDIR /repository
RUN for name in slipway-tool slipway-library; do dpkg-deb --build --root-owner-group $name; done >/dev/null \
 && for file in *.deb; do \
      dpkg-deb --field $file; \
      echo "Filename: ./$file\nSize: $(stat -c %s $file)\nSHA256: $(sha256sum < $file | cut -d' ' -f1)\n"; \
    done > Packages \
 && rm /etc/apt/sources.list.d/* && echo 'deb [trusted=yes] file:/repository ./' > /etc/apt/sources.list
WORKDIR /home/jovyan
COPY slipway_environment.py slipway.pth /opt/conda/lib/python3.11/site-packages/
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/repository PIP_DISABLE_PIP_VERSION_CHECK=1
USER $NB_UID
RUN pip install --no-cache-dir slipway-told==1.0
"""


def wheel(name: str, version: str, needs: str = "") -> tuple[str, bytes]:
    """The name and the content of a wheel that holds a module."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        f"{module}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() for path, text in files.items()}
    record = "".join(f"{path},sha256={hashes[path]},{len(text)}\n" for path, text in files.items())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return f"{module}-{version}-py3-none-any.whl", content.getvalue()


def control(name: str, needs: str = "") -> bytes:
    fields = {"Package": name, "Version": "1.0-1", "Architecture": "all", "Maintainer": "A <a@example.invalid>", "Description": "A package"}
    return "".join(f"{key}: {value}\n" for key, value in (fields | ({"Depends": needs} if needs else {})).items()).encode()


@pytest.fixture(scope="module")
def base(client: docker.DockerClient, image: Callable[[str], str]) -> Iterator[str]:
    """The stand-in with an index and an archive of its own."""
    files = {
        "Dockerfile": BASE.format(image=image("jupyter")).encode(),
        "slipway_environment.py": ENVIRONMENT.read_bytes(),
        "slipway.pth": b"import slipway_environment\n",
        "repository/slipway-tool/DEBIAN/control": control("slipway-tool", "slipway-library"),
        "repository/slipway-library/DEBIAN/control": control("slipway-library"),
    }
    wheels = [
        ("slipway-asked", "1.2", "slipway-along"),
        ("slipway-along", "0.3", ""),
        ("slipway-file", "1.0", ""),
        ("slipway-home", "1.0", ""),
    ]
    wheels += [("slipway-told", version, "") for version in ("1.0", "1.1")]
    files |= {f"repository/{name}": content for name, content in (wheel(*each) for each in wheels)}
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    tag = f"slipway-test/packages:{uuid.uuid4().hex[:8]}"
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    yield tag
    client.images.remove(tag, force=True)


class Project:
    """A container as Compose makes it for Jupyter, and the role's entry point."""

    def __init__(self, client: docker.DockerClient, image: str, folder: Path) -> None:
        self.name = f"slipway-test-{uuid.uuid4().hex[:8]}"
        self.client, self.folder = client, folder
        secrets = folder / "secrets"
        secrets.mkdir(parents=True)
        for name, text in {"jupyter_token": TOKEN, "redis_password": PASSWORD}.items():
            (secrets / name).write_text(text)
        service = {
            f"com.docker.compose.{key}": value for key, value in (("project", self.name), ("service", "jupyter"), ("oneoff", "False"))
        }
        self.box = Box(
            client.containers.run(
                image,
                name=f"{self.name}-jupyter-1",
                labels=LABELS | service,
                detach=True,
                environment={"JUPYTER_TOKEN_FILE": "/run/secrets/jupyter_token", "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime"},  # noqa: S108 (of the container)
                volumes=[f"{secrets}:/run/secrets:ro"],
                ports={"8888/tcp": ("127.0.0.1", None)},
                cap_drop=["ALL"],
                # For apt-get by root, what a privileged exec has; not every engine can give it that.
                cap_add=["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
                mem_limit="364m",
            )
        )

    def by_root(self, *command: str) -> None:
        code, output = self.box.container.exec_run(command, user="root", environment={"DEBIAN_FRONTEND": "noninteractive"})
        assert code == 0, output.decode()

    def packages(self, name: str = "", tag: str = "") -> dict[str, Any]:
        """What the role publishes; of a failed run what it says, and the exit code that it asks for."""
        play = [
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "tasks": [{"ansible.builtin.include_role": {"name": "stack", "tasks_from": "packages"}}],
                "vars": {
                    "ansible_python_interpreter": sys.executable,
                    "stack_name": name or self.name,
                    "stack_directory": str(self.folder),
                    "stack_kept_tag": tag,
                    "stack_memory_mib": 1024,
                    "stack_state_dir": str(self.folder),
                },
            }
        ]
        (self.folder / "play.yml").write_text(yaml.safe_dump(play))
        own = {
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CALLBACK_PLUGINS": str(self.folder),
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
            "ANSIBLE_ROLES_PATH": str(PROJECT / "roles"),
        }
        ansible = [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "localhost,", self.folder / "play.yml"]
        environment = os.environ | own | {"LC_ALL": "C.UTF-8", "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
        done = subprocess.run(ansible, capture_output=True, text=True, env=environment)
        assert done.stdout, done.stderr
        document = json.loads(done.stdout)
        if done.returncode:
            task = document["plays"][-1]["tasks"][-1]["hosts"]["localhost"]
            return {"msg": task["msg"], "exit_code": task.get("exit_code")}
        return dict(document["global_custom_stats"])

    def images(self) -> list[str]:
        return [tag for image in self.client.images.list(f"slipway/{self.name}") for tag in image.tags]

    def remove(self) -> None:
        with suppress(docker.errors.NotFound):
            self.box.container.remove(force=True, v=True)
        for tag in self.images():
            self.client.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def start_project(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Project]]:
    made: list[Project] = []

    def make(image: str) -> Project:
        made.append(Project(client, image, tmp_path_factory.mktemp("stack") / "stack"))
        return made[-1]

    yield make
    for project in made:
        project.remove()


@pytest.fixture(scope="module")
def fresh(start_project: Callable[[str], Project], base: str) -> Project:
    return start_project(base)


def test_a_fresh_container_has_nothing_that_was_installed_by_hand(fresh: Project, client: docker.DockerClient) -> None:
    began = time.time()
    found = fresh.packages()
    assert found == {"packages": {"pip": [], "apt": []}, "kept": None}
    assert adopt.text(found["packages"]) == "Nothing was changed by hand."
    # The container of the image is no service, and is gone.
    filters = {"event": "create", "label": f"com.docker.compose.project={fresh.name}"}
    made = list(client.events(since=int(began), until=int(time.time()) + 1, filters=filters, decode=True))
    others = [event["Actor"] for event in made if event["Actor"]["ID"] != fresh.box.container.id]
    assert [actor["Attributes"]["com.docker.compose.oneoff"] for actor in others] == ["True"]
    mine = client.containers.list(all=True, filters={"label": filters["label"]}, ignore_removed=True)
    assert [each.id for each in mine] == [fresh.box.container.id]


@pytest.fixture(scope="module")
def used(fresh: Project) -> Project:
    """After somebody has worked in it."""
    fresh.box.container.reload()
    box = fresh.box.wait_healthy()
    box.out("pip", "install", "slipway-asked", "slipway-told==1.1")
    box.out("pip", "install", "/repository/slipway_file-1.0-py3-none-any.whl")
    box.out("pip", "install", "--user", "slipway-home")
    box.out("pip", "uninstall", "--yes", "papermill")
    # What lies in the project's folder is no package of the container.
    box.out("sh", "-c", "mkdir -p work/slipway_own.egg-info && echo 'Name: slipway-own\nVersion: 1' > work/slipway_own.egg-info/PKG-INFO")
    fresh.by_root("apt-get", "update")
    fresh.by_root("apt-get", "install", "--yes", "--no-install-recommends", "slipway-tool")
    return fresh


@pytest.fixture(scope="module")
def found(used: Project) -> dict[str, Any]:
    return dict(used.packages()["packages"])


def test_what_was_installed_by_hand_is_told(found: dict[str, Any]) -> None:
    assert found["apt"] == [
        {"name": "slipway-tool", "was": None, "now": "1.0-1", "asked": True, "home": False, "line": "slipway-tool", "why": None},
        {"name": "slipway-library", "was": None, "now": "1.0-1", "asked": False, "home": False, "line": None, "why": None},
    ]
    pip = {each["name"]: each for each in found["pip"]}
    assert set(pip) == {"slipway-asked", "slipway-along", "slipway-told", "slipway-file", "slipway-home", "papermill"}
    assert [name for name, each in pip.items() if each["home"]] == ["slipway-home"]
    assert pip["slipway-asked"] == {
        "name": "slipway-asked",
        "was": None,
        "now": "1.2",
        "asked": True,
        "home": False,
        "line": "slipway-asked==1.2",
        "why": None,
    }
    assert (pip["slipway-along"]["asked"], pip["slipway-along"]["line"]) == (False, "slipway-along==0.3")
    assert (pip["slipway-told"]["was"], pip["slipway-told"]["line"]) == ("1.0", "slipway-told==1.1")
    assert "folder or a file" in pip["slipway-file"]["why"]
    assert (pip["papermill"]["now"], pip["papermill"]["line"]) == (None, None)


def test_the_dockerfile_that_adopt_writes_brings_the_same(
    found: dict[str, Any], base: str, client: docker.DockerClient, start_project: Callable[[str], Project], tmp_path: Path
) -> None:
    settings = {"packages": {"pip": [], "apt": []}}
    document = adopt.adopt(tmp_path, settings, found)
    lines = ["slipway-tool", "slipway-asked==1.2", "slipway-home==1.0", "slipway-told==1.1", "slipway-along==0.3"]
    assert [each["line"] for each in document["added"]] == lines
    told = adopt.told(document | {"packages": found}, "deploy").splitlines()
    assert [line.split()[2] for line in told if "in the home, which is kept" in line] == ["slipway-home==1.0"]
    assert {each["name"] for each in document["left"]} == {"slipway-file", "papermill"}
    assert adopt.adopt(tmp_path, settings, found)["added"] == []
    tag = f"{base}-adopted"
    client.images.build(path=str(tmp_path / adopt.DOCKERFILE.parent), buildargs={"BASE": base}, tag=tag, rm=True)
    built = start_project(tag)
    try:
        assert built.box.out("id", "--user") == "1000"
        assert built.box.out("python", "-c", "import slipway_asked, slipway_told; print(slipway_told.version)") == "1.1"
        assert built.box.out("dpkg-query", "--show", "--showformat", "${Status}", "slipway-library") == "install ok installed"
        assert built.packages()["packages"] == {"pip": [], "apt": []}
    finally:
        built.remove()
        client.images.remove(tag, force=True)


#: Written as a user and as root, beside what is not meant to stay.
BY_HAND = r"""
mkdir -p /opt/conda/empty /opt/conda/mine/deep
touch "/opt/conda/mine/{{ 1+1 }} \"'" "$(printf '/opt/conda/mine/deep/a\nb')" "$(printf '/opt/conda/mine/\xff')"
echo a > /opt/conda/lib/python3.11/site-packages/slipway_asked_by_hand.py
python -m venv --without-pip /opt/conda/own
pip --python /opt/conda/own/bin/python install slipway-asked
touch /tmp/passing /home/jovyan/kept
"""


def test_packages_that_would_be_lost_with_the_container_are_found(used: Project) -> None:
    lost = load("stack_lost")
    (here,) = lost.here(used.name)
    packages = [("apt", "slipway-tool"), ("pip", "slipway_asked"), ("pip", "slipway_file"), ("pip", "slipway_told")]
    along = [("apt", "slipway-library"), ("pip", "slipway_along")]
    assert [(each["kind"], each["name"], each["asked"]) for each in here.losses["packages"]] == [
        *((*each, True) for each in packages),
        *((*each, False) for each in along),
    ]
    assert (here.losses["files"], here.losses["paths"]) == (0, [])
    used.box.out("sh", "-c", BY_HAND)
    used.by_root("sh", "-c", "mkdir /srv/data; for n in $(seq 3000); do echo $n > /srv/data/$n; done; echo a > /root/.bash_history")
    (here,) = lost.here(used.name)
    rows = {each["path"]: each["files"] for each in here.losses["paths"]}
    assert rows.pop("/opt/conda/own/") > 3
    assert rows == {"/opt/conda/mine/": 3, "/opt/conda/lib/python3.11/site-packages/slipway_asked_by_hand.py": 1, "/srv/data/": 3000}
    # Of another environment nothing is a package: adopt does not see it.
    assert len(here.losses["packages"]) == len(packages + along)
    used.box.out("rm", "-r", "/opt/conda/own", "/opt/conda/mine", "/opt/conda/lib/python3.11/site-packages/slipway_asked_by_hand.py")
    used.by_root("rm", "-r", "/srv/data")
    (here,) = lost.here(used.name)
    assert here.losses["files"] == 0


def test_a_container_with_a_password_in_a_file_is_not_kept(used: Project) -> None:
    used.box.out("sh", "-c", f"mkdir -p .local/x && echo 'auth: {PASSWORD}' > .local/x/pass && chmod 600 .local/x/pass")
    try:
        refused = used.packages(tag="noon")
    finally:
        used.box.out("rm", "-r", ".local/x")
    assert refused["exit_code"] == 3
    assert "in /home/jovyan/.local/x/pass." in refused["msg"]
    assert PASSWORD not in refused["msg"]
    assert used.images() == []


def test_a_container_is_kept_as_an_image_without_a_secret(used: Project, client: docker.DockerClient) -> None:
    runtime = ["sh", "-c", "cd /tmp/jupyter-runtime && stat -c '%n %a %s' * && sha256sum *"]
    before = used.box.out(*runtime)
    assert "jpserver" in before
    kept = used.packages(tag="noon")["kept"]
    assert kept["image"] == f"slipway/{used.name}:noon"
    assert used.images() == [kept["image"]]
    assert 0 < kept["mib"] < 50
    # The container goes on, with Jupyter's files where they were.
    assert used.box.out(*runtime) == before
    assert get(f"http://127.0.0.1:{used.box.port(8888)}/api/contents", TOKEN)[0] == 200
    facts = json.dumps(client.api.inspect_image(kept["image"])) + json.dumps(client.api.history(kept["image"]))
    look = f"python -c 'import slipway_asked' && grep --recursive --text -l -e {TOKEN} -e {PASSWORD} /etc /home /opt /run /tmp /var"
    with pytest.raises(docker.errors.ContainerError) as nothing:
        client.containers.run(kept["image"], ["-c", look], entrypoint="sh", user="root", remove=True, network_mode="none", labels=LABELS)
    # grep found nothing.
    assert nothing.value.exit_status == 1
    assert "ModuleNotFoundError" not in str(nothing.value)
    assert TOKEN not in facts
    assert PASSWORD not in facts
    # What somebody makes of it by hand is not taken for the project's Jupyter.
    assert client.api.inspect_image(kept["image"])["Config"]["Labels"]["com.docker.compose.oneoff"] == "True"
    again = used.packages(tag="noon")
    assert again["exit_code"] == 3
    assert "the machine has an image" in again["msg"]
    none = used.packages(tag="a b")
    assert none["exit_code"] == 2
    assert none["msg"].startswith("--keep: 'a b' cannot be used. Allowed: ")


def test_without_a_running_jupyter_it_says_why(used: Project) -> None:
    refused = used.packages(name="slipway-test-nobody")
    assert (refused["exit_code"], "has no Jupyter container" in refused["msg"]) == (3, True)
    used.box.container.stop(timeout=2)
    # What would be lost is read of one that is stopped too.
    (here,) = load("stack_lost").here(used.name)
    assert (here.running, len(here.losses["packages"])) == (False, 6)
    refused = used.packages()
    assert (refused["exit_code"], "is exited, and its packages are read while it runs" in refused["msg"]) == (3, True)
