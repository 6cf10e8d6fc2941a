"""Where the engine's packages come from: apt's lock, and a repository whose key is not the one that is known."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import engine
from tests.conftest import PLAIN, Checkout

pytestmark = pytest.mark.long
NAME = "bare"
#: Debian's names, as the repository has them in its paths.
DISTRIBUTION, CODENAME = "debian", "bookworm"
SOURCE, KEY = "/etc/apt/sources.list.d/docker.list", "/etc/apt/keyrings/docker.asc"
#: As dpkg takes its lock, for so many seconds: a POSIX record lock.
HOLDER = "import fcntl, sys, time; lock = open(sys.argv[1], 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); time.sleep(float(sys.argv[2]))"
#: What stands for an engine: a service, its command and its group.
UNIT = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
PACKAGES = {
    "docker-ce": {"usr/bin/dockerd": "#!/bin/sh\n", "lib/systemd/system/docker.service": UNIT},
    "docker-ce-cli": {},
    "containerd.io": {},
    "docker-buildx-plugin": {},
    "docker-compose-plugin": {},
}


@dataclass(frozen=True)
class Repository:
    """An apt repository as Docker's, on an address that hosts of the lab reach."""

    folder: Path
    url: str
    fingerprint: str
    #: Of a key that signs nothing.
    other: str

    def offer(self, fingerprint: str) -> None:
        """Serve this key as the repository's."""
        shown = self.gpg("--armor", "--export", fingerprint)
        (self.folder / "linux" / DISTRIBUTION / "gpg").write_text(shown)

    def gpg(self, *words: str) -> str:
        command = ["gpg", "--batch", "--yes", "--homedir", str(self.folder.parent / "keys"), "--pinentry-mode", "loopback", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def bare(lab: Checkout) -> Iterator[Checkout]:
    """A host that has no engine, and no package of one."""
    with lab.given(PLAIN):
        made = lab.run("ansible-playbook", "playbooks/provision.yml", "--extra-vars", f"slipway_name={NAME}")
    assert made.returncode == 0, made.stdout + made.stderr
    yield lab
    gone = lab.orchestrate("destroy", NAME)
    assert gone.returncode == 0, gone.stderr


def install(bare: Checkout, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run the role docker alone, as a user does, on the bare host."""
    given = json.dumps({"slipway_name": NAME} | variables)
    return bare.run("ansible-playbook", "playbooks/deploy.yml", "--tags", "docker", "--extra-vars", given)


def hold(bare: Checkout, lock: str, seconds: int) -> int:
    """Have another process hold a lock of apt's; return its number."""
    bare.on_host(
        f"sudo mkdir -p $(dirname {lock}) && sudo systemctl reset-failed holder 2>/dev/null; "
        f'sudo systemd-run --quiet --collect --unit=holder python3 -c "{HOLDER}" {lock} {seconds}',
        machine=NAME,
    )
    return int(bare.on_host("systemctl show holder --property=MainPID --value", machine=NAME))


@pytest.fixture(scope="module")
def repository(bare: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A signed repository of packages that are called as Docker's, on the lab's gateway."""
    if shutil.which("gpg") is None:
        engine.apt_install("gpg")
    root = Path("/tmp") / f"slipway-repository-{os.getpid()}"  # noqa: S108 (a socket's path, which gpg's agent needs, may have 107 bytes)
    (root / "keys").mkdir(parents=True, mode=0o700)
    folder = root / "served"
    (folder / "linux" / DISTRIBUTION).mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer((str(bare.lab.public_cidr[1]), 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = Repository(folder, f"http://{server.server_address[0]!s}:{server.server_address[1]}/linux", "", "")
    try:
        keys = [make_key(here, name) for name in ("packages", "somebody")]
        here = Repository(folder, here.url, *keys)
        fill(here)
        yield here
    finally:
        server.shutdown()
        subprocess.run(["gpgconf", "--homedir", str(root / "keys"), "--kill", "all"], check=True)
        shutil.rmtree(root)


def make_key(repository: Repository, name: str) -> str:
    repository.gpg("--passphrase", "", "--quick-generate-key", f"{name}@slipway.example", "ed25519", "sign", "never")
    listed = repository.gpg("--with-colons", "--list-keys", f"{name}@slipway.example").splitlines()
    return next(line.split(":")[9] for line in listed if line.startswith("fpr"))


def fill(repository: Repository) -> None:
    """Build the packages, list them, and sign the list."""
    top = repository.folder / "linux" / DISTRIBUTION
    release = top / "dists" / CODENAME
    index = release / "stable" / "binary-amd64" / "Packages"
    index.parent.mkdir(parents=True)
    (top / "pool").mkdir()
    entries = []
    for name, files in PACKAGES.items():
        tree = repository.folder.parent / name
        control = f"Package: {name}\nVersion: 1.0\nArchitecture: amd64\nMaintainer: nobody\nDescription: stands for {name}\n"
        write(tree / "DEBIAN" / "control", control)
        write(tree / "DEBIAN" / "postinst", "#!/bin/sh\ngroupadd --force docker\n")
        for path, content in files.items():
            write(tree / path, content)
        package = top / "pool" / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)], check=True, capture_output=True)
        entries.append(f"{control}Filename: pool/{name}.deb\nSize: {package.stat().st_size}\nSHA256: {digest(package)}\n")
    index.write_text("\n".join(entries))
    said = f"Suite: {CODENAME}\nCodename: {CODENAME}\nComponents: stable\nArchitectures: amd64\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
    (release / "Release").write_text(f"{said}SHA256:\n {digest(index)} {index.stat().st_size} stable/binary-amd64/Packages\n")
    repository.gpg("--local-user", repository.fingerprint, "--output", str(release / "InRelease"), "--clearsign", str(release / "Release"))


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o755)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def installed(bare: Checkout) -> list[str]:
    """Which of the packages the host has."""
    listed = bare.on_host("dpkg-query --show --showformat '${Package}\\n'", machine=NAME).split()
    return sorted(set(listed) & {*PACKAGES, "docker.io"})


@pytest.mark.parametrize("lock", ["/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"])
def test_the_process_that_holds_apts_lock_is_named(bare: Checkout, lock: str) -> None:
    holder = hold(bare, lock, 120)
    try:
        done = install(bare, docker_apt_lock_seconds=2)
    finally:
        bare.on_host("sudo systemctl stop holder", machine=NAME)
    assert done.returncode == 2, done.stdout + done.stderr  # Ansible's own word for a failed task
    assert f"apt's lock {lock} is held by process {holder} (" in done.stdout + done.stderr
    assert "python3 -c import fcntl" in done.stdout + done.stderr
    assert installed(bare) == []


def test_another_key_than_the_known_one_ends_the_run(bare: Checkout, repository: Repository) -> None:
    repository.offer(repository.other)
    where = {"docker_engine_source": "docker", "docker_apt_url": repository.url, "docker_compose_source": "package"}
    done = install(bare, docker_apt_key_fingerprint=repository.fingerprint, **where)
    assert done.returncode == 2, done.stdout + done.stderr
    said = (done.stdout + done.stderr).replace("\n", " ")
    assert repository.fingerprint in said
    assert repository.other in said
    assert "Nothing of Docker was installed" in said
    assert bare.on_host(f"ls {SOURCE} {KEY} 2>/dev/null; exit 0", machine=NAME) == ""
    assert installed(bare) == []


def test_packages_of_the_known_key_are_installed_once_apts_lock_is_free(bare: Checkout, repository: Repository) -> None:
    # After the one above: a key that was refused is not kept.
    repository.offer(repository.fingerprint)
    hold(bare, "/var/lib/dpkg/lock-frontend", 12)
    where = {"docker_engine_source": "docker", "docker_apt_url": repository.url, "docker_compose_source": "package"}
    done = install(bare, docker_apt_key_fingerprint=repository.fingerprint, docker_apt_lock_seconds=60, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bare.on_host(f"cat {SOURCE}", machine=NAME).split() == [
        "deb", "[arch=amd64", f"signed-by={KEY}]", f"{repository.url}/{DISTRIBUTION}", CODENAME, "stable",
    ]  # fmt: skip
    assert installed(bare) == sorted(PACKAGES)


def test_a_list_that_the_known_key_has_not_signed_is_not_taken(bare: Checkout, repository: Repository) -> None:
    listed = repository.folder / "linux" / DISTRIBUTION / "dists" / CODENAME
    repository.gpg("--local-user", repository.other, "--output", str(listed / "InRelease"), "--clearsign", str(listed / "Release"))
    said = bare.on_host("sudo apt-get update 2>&1; exit 0", machine=NAME)
    assert "NO_PUBKEY" in said
