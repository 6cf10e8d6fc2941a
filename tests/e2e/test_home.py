"""Two thousand files in two homes outside of `work/`, on a machine of a lab of its own: through everything that makes containers again."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT, Checkout, own_lab
from tests.e2e.support.projects import make, run, write

pytestmark = pytest.mark.long

NUMBER = 2000
#: By stack, the words of the command that brings it up. The base stack would take all the memory that there is: it comes last.
STACKS = {"survey": ("deploy", "survey"), "slipway": ("up", "--services", "jupyter")}
SETTINGS = {"theme": "JupyterLab Dark", "adaptive-theme": False}
#: Odd names, of any bytes; links of each kind; permissions that keep their owner out; what is no file; times; and settings.
FILL = r"""
import json, os, socket
os.umask(0o022)
os.chdir(os.path.expanduser("~"))
names = [b"an accent \xc3\xa9", b"no utf-8 \xff\xfe", b"two\nlines", b" spaces ", b"-dash", b"$(id) `id`", b"{{ 7*7 }}", b"quotes ' \"",
         b"back\\slash", b"*?[a]", b".hidden", b"\xf0\x9f\x93\x93.ipynb", b"n" * 246,
         b"%2 %n", b"CON.", b"tab\there",
         b"e\xcc\x81 decomposed"]
for n in range(NUMBER):
    folder = os.path.join(b"made", b"folder %d" % (n % 20), names[n % len(names)])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, b"%d " % n + names[n // 20 % len(names)][:240]), "wb") as file:
        file.write(os.urandom(n % 7) * (n % 501))
os.makedirs("odd/deep/" + "/".join(["d" * 100] * 20))
with open("odd/sparse", "wb") as file:
    file.truncate(30 << 20)
os.symlink("made", "a link to a folder"); os.symlink("/etc/passwd", "odd/out"); os.symlink("nowhere", "odd/broken")
os.symlink("loop", "odd/loop"); os.symlink(b"\xff", b"odd/to no utf-8"); os.link("odd/sparse", "odd/hard")
for mode in (0o000, 0o200, 0o400, 0o600, 0o666, 0o755, 0o4755, 0o2755, 0o1644):
    with open(f"odd/file {mode:o}", "w") as file:
        file.write(oct(mode))
    os.chmod(f"odd/file {mode:o}", mode)
for mode in (0o000, 0o300, 0o500, 0o700, 0o1777, 0o2775):
    os.mkdir(f"odd/folder {mode:o}")
    with open(f"odd/folder {mode:o}/in it", "w") as file:
        file.write(oct(mode))
    os.chmod(f"odd/folder {mode:o}", mode)
os.mkdir("odd/empty"); os.mkfifo("odd/fifo")
os.utime("odd/file 600", (1, 1)); os.utime("odd/file 755", (5e9, 5e9))
settings = ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
os.makedirs(settings, exist_ok=True)
with open(settings + "/themes.jupyterlab-settings", "w") as file:
    file.write(json.dumps(SETTINGS))
with open(".bashrc", "a") as file:
    file.write("export OF_MINE=1\n")
"""
#: What a volume holds, a line each: name, type, mode, owner, links, time and content. Not what the fingerprint leaves out by the README.
LIST = r"""
import hashlib, json, os, stat, sys
top = os.fsencode(sys.argv[1])
OWN = {b"work", b".cache", b".local/state/slipway", b".local/share/jupyter/runtime", b".jupyter/migrated"}
def content(path, said):
    if stat.S_ISLNK(said.st_mode):
        return os.readlink(path).hex()
    if stat.S_ISREG(said.st_mode):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
def fail(error):
    raise error
for folder, names, files in os.walk(top, onerror=fail):
    for name in names + files:
        path = os.path.join(folder, name)
        inside, said = os.path.relpath(path, top), os.lstat(path)
        if inside in OWN:
            names[:] = [each for each in names if each != name]
            continue
        times = [] if stat.S_ISDIR(said.st_mode) else [said.st_nlink, said.st_mtime_ns]
        facts = [stat.S_IFMT(said.st_mode), oct(said.st_mode), said.st_uid, said.st_gid, *times, content(path, said)]
        print(json.dumps([repr(inside), facts]))
"""
#: The fingerprint of a resize, by itself.
FINGERPRINT = r"""
import sys
sys.path.insert(0, "fingerprints")
from ansible.module_utils.stack_engine import services
from ansible.module_utils.stack_store_home import Home
home = Home(services(sys.argv[1])["jupyter"])
print(home.read("")["said"])
home.close()
"""


@dataclass(frozen=True)
class Kept:
    """What a home holds, by name, and its fingerprint."""

    files: dict[str, Any]
    fingerprint: str


def kept(here: Checkout, stack: str) -> Kept:
    listed = here.on_host(f"sudo python3 - /var/lib/docker/volumes/{stack}_jupyter_home/_data", stdin=LIST)
    said = here.on_host(f"python3 - {stack}", stdin=FINGERPRINT).strip()
    return Kept(dict(json.loads(line) for line in listed.splitlines()), said)


def everything(here: Checkout) -> dict[str, Kept]:
    return {stack: kept(here, stack) for stack in STACKS}


def other(now: dict[str, Kept], before: dict[str, Kept]) -> dict[str, list[Any]]:
    """By stack, what is not as it was."""
    found: dict[str, list[Any]] = {}
    for stack, was in before.items():
        names = was.files.keys() | now[stack].files.keys()
        different = [(name, was.files.get(name), now[stack].files.get(name)) for name in sorted(names)]
        found[stack] = [each for each in different if each[1] != each[2]]
        if was.fingerprint != now[stack].fingerprint:
            found[stack].append((was.fingerprint, now[stack].fingerprint))
    return found


NOTHING: dict[str, list[Any]] = {stack: [] for stack in STACKS}


def repository(folder: Path) -> str:
    """A git repository with some commits and a change that is not committed, as an archive in base64."""
    folder.mkdir()
    git = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for n in range(5):
        (folder / f"file {n}.py").write_text(f"n = {n}\n")
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", f"the {n}th"], check=True)
    (folder / "file 0.py").write_text("changed = 1\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, "a repository")
    return base64.b64encode(packed.getvalue()).decode()


def whole_repository(here: Checkout, stack: str, folder: Path) -> None:
    """The repository of a home is sound, and has its commits and the change."""
    packed = base64.b64decode(here.on_host(f"docker exec {stack}-jupyter-1 tar c -C /home/jovyan 'a repository' | base64"))
    folder.mkdir()
    subprocess.run(["tar", "x", "--no-same-owner", "-C", str(folder)], input=packed, check=True)
    git = ["git", "-C", str(folder / "a repository")]
    subprocess.run([*git, "fsck", "--full", "--strict"], check=True, capture_output=True)
    assert subprocess.check_output([*git, "log", "--format=%s"], text=True).split("\n") == [*(f"the {n}th" for n in range(4, -1, -1)), ""]
    assert subprocess.check_output([*git, "status", "--porcelain"], text=True) == ' M "file 0.py"\n'


def image(here: Checkout, stack: str) -> str:
    return here.on_host(f"docker inspect --format '{{{{.Image}}}}' {stack}-jupyter-1").strip()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A t2.micro with a base stack and a project, which run side by side, each with its home full."""
    with own_lab(tmp_path_factory.mktemp("homes")) as here:
        make(here, "survey", "redis", memory_mib=400)
        for words in STACKS.values():
            here.answer(*words)
        beside = here.on_host("docker ps --format '{{.Names}}' | sort").split()
        assert beside == ["slipway-jupyter-1", "survey-jupyter-1", "survey-redis-1"]
        modules = io.BytesIO()
        with tarfile.open(fileobj=modules, mode="w") as archive:
            for path in (PROJECT / "roles" / "stack" / "module_utils").glob("*.py"):
                archive.add(path, f"ansible/module_utils/{path.name}")
        unpack = "mkdir fingerprints && base64 -d | tar x -C fingerprints"
        here.on_host(unpack, stdin=base64.b64encode(modules.getvalue()).decode())
        packed = repository(tmp_path_factory.mktemp("git") / "repository")
        for stack in STACKS:
            there = f"docker exec --interactive {stack}-jupyter-1"
            here.on_host(f"{there} python -", stdin=FILL.replace("NUMBER", str(NUMBER)).replace("SETTINGS", repr(SETTINGS)))
            here.on_host(f"base64 -d | {there} tar x -C /home/jovyan", stdin=packed)
            here.on_host(f"{there} pip install --quiet --user tinyhtml==1.2.0 2>&1")
        yield here


def works(here: Checkout, stack: str, folder: Path) -> None:
    """A package, a repository and a setting of the home are of use."""
    found = here.on_host(f"docker exec {stack}-jupyter-1 python -c 'import tinyhtml; print(tinyhtml.__file__)'")
    assert found.startswith("/home/jovyan/.local/lib/")
    whole_repository(here, stack, folder / stack)
    page, _, token = here.answer("status", *[stack] * (stack != "slipway"))["url"].partition("/lab?token=")
    address = f"{page}/lab/api/settings/@jupyterlab/apputils-extension:themes?token={token}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert json.loads(json.load(answer)["raw"]) == SETTINGS


def test_two_thousand_files_outlive_everything_that_makes_containers_again(filled: Checkout) -> None:
    before = everything(filled)
    assert {len(each.files) > NUMBER + 500 for each in before.values()} == {True}
    print({stack: (len(each.files), each.fingerprint) for stack, each in before.items()})
    # Larger and smaller, equal by the receipts too.
    for wanted in ("t2.medium", "t2.micro"):
        done = filled.answer("resize", wanted)
        receipt = {name: (found["before"], found["after"], found["equal"]) for name, found in done["fingerprints"].items()}
        assert {found[2] for found in receipt.values()} == {True}
        assert {name: found[0] for name, found in receipt.items() if name.endswith("home")} == {
            "home": before["slipway"].fingerprint,
            "survey.home": before["survey"].fingerprint,
        }
        assert other(everything(filled), before) == NOTHING
    # At rest, and awake again.
    for words in (("rest", "slipway"), ("rest", "survey")):
        filled.answer(*words)
    assert filled.on_host("docker ps --quiet") == ""
    assert other(everything(filled), before) == NOTHING
    for words in STACKS.values():
        filled.answer(*words)
    assert other(everything(filled), before) == NOTHING
    # The base stack's newer image brings nothing to the home, the project's a file. The project's own is built on the base stack's.
    images = {stack: image(filled, stack) for stack in STACKS}
    with (filled.path / "roles/stack/files/compose/jupyter/Dockerfile").open("a") as file:
        file.write("\nUSER root\nRUN echo newer > /opt/newer\nUSER 1000\n")
    with (filled.path / "survey/docker/jupyter/Dockerfile").open("a") as file:
        file.write("\nRUN echo newer > /home/jovyan/of-the-image && echo theirs >> /home/jovyan/.bashrc\n")
    for words in STACKS.values():
        filled.answer(*words)
    assert {stack: image(filled, stack) == images[stack] for stack in STACKS} == dict.fromkeys(STACKS, False)
    now = everything(filled)
    found, files = other(now, before), int(before["survey"].fingerprint.split()[0])
    assert found["slipway"] == []
    assert [each[0] for each in found["survey"][:-1]] == ["b'of-the-image'"]
    assert [int(said.split()[0]) for said in found["survey"][-1]] == [files, files + 1]
    # Again, which changes nothing.
    assert [filled.answer(*words)["changed"] for words in STACKS.values()] == [0, 0]
    assert other(everything(filled), now) == NOTHING
    # Removed and deployed again, which keeps the volume.
    assert "survey_jupyter_home" in filled.answer("remove", "survey")["volumes"]
    filled.answer(*STACKS["survey"])
    assert other(everything(filled), now) == NOTHING


def test_what_is_in_the_home_is_of_use(filled: Checkout, tmp_path: Path) -> None:
    for stack in STACKS:
        works(filled, stack, tmp_path)
    # A batch run has the same home.
    cell = "import tinyhtml, pathlib\nprint(len(list(pathlib.Path.home().glob('made/*'))))"
    write(filled.path / "survey" / "ipynb" / "own.ipynb", [cell])
    executed = run(filled, "survey/ipynb/own.ipynb")
    assert "".join(executed["cells"][0]["outputs"][0]["text"]) == "20\n"
