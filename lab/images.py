"""The images of the lab: hosts, and the registry with the stand-ins that the stacks name.

An image's tag is a hash of all that goes into it, so an image that exists is never stale.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import docker
from docker.models.containers import Container

from lab.config import PROJECT, LabError
from lab.engine import Report, apt_install

FOLDER = Path(__file__).resolve().parent / "images"
#: What the role stack adds to the stand-in for Jupyter. The role builds it by itself, and finds each layer in the engine's cache then.
COMMON = PROJECT / "roles" / "stack" / "files" / "compose" / "jupyter"
#: Stand-in -> the repository and tag that the lab's registry serves it under.
STAND_INS: Mapping[str, str] = {
    "jupyter": "jupyter/scipy-notebook:lab",
    "redis": "redis:7.0",
    "mongo": "mongo:6.0",
    "postgres": "postgres:15",
    "common": "slipway/jupyter:lab",
}
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_PUSH_PORT = "5000/tcp"


def ensure(client: docker.DockerClient, report: Report = print) -> dict[str, str]:
    """Build what is missing and return the tag of each image, by name.

    Names: the stand-ins, `common` (the image of every stack's Jupyter), `host` (an EC2 instance), `registry` (which holds the others)
    and `metadata` (the instance metadata service).
    Raises LabError with the end of the build's output when one fails.
    """
    base = _base(client, report)
    tags = {"base": base}
    # Two at a time: most of a build waits for downloads and for one thread of pip or dpkg.
    with ThreadPoolExecutor(max_workers=2) as pool:
        jupyter = pool.submit(_build_jupyter, client, base, report)
        names = ["mongo", "host", "registry", "metadata", "postgres", "redis"]
        builds = {name: pool.submit(_build, client, name, base, FOLDER / name, report) for name in names}
    tags |= jupyter.result() | {name: build.result() for name, build in builds.items()}
    tags["registry"] = _filled_registry(client, tags, report)
    return tags


def _base(client: docker.DockerClient, report: Report) -> str:
    debian = _debian(client, report)
    with tempfile.TemporaryDirectory() as scratch:
        return _build(client, "base", debian, _base_context(Path(scratch)), report)


def internet(client: docker.DockerClient, report: Report = print) -> str:
    """Build the image of the names that AWS's inventory asks (lab/internet.py), if it is missing, and return its tag."""
    return _build(client, "internet", _base(client, report), FOLDER / "internet", report)


def _build_jupyter(client: docker.DockerClient, base: str, report: Report) -> dict[str, str]:
    stand_in = _build(client, "jupyter", base, FOLDER / "jupyter", report)
    return {"jupyter": stand_in, "common": _build(client, "common", stand_in, COMMON, report)}


def _debian(client: docker.DockerClient, report: Report) -> str:
    """Return the tag of a bare Debian 12: pulled where a registry answers, else made from Debian's packages."""
    tag = "slipway-lab/debian:bookworm"
    if _exists(client, tag):
        return tag
    report("getting Debian 12")
    try:
        client.images.pull("debian", "bookworm-slim").tag(*tag.split(":"))
        return tag
    except docker.errors.APIError as unreachable:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise LabError(
                "No image registry is reachable for debian:bookworm-slim, and making it from packages "
                f"needs root on Debian or Ubuntu. The engine said: {unreachable.explanation}"
            ) from unreachable
    if shutil.which("mmdebstrap") is None:
        apt_install("mmdebstrap", "debian-archive-keyring")
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "debian.tar"
        sources = [str(path) for path in _debian_sources()]
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", str(archive), *sources]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise LabError(f"mmdebstrap could not make Debian 12: {result.stderr.strip().splitlines()[-1]}")
        client.api.import_image_from_file(str(archive), repository="slipway-lab/debian", tag="bookworm")
    return tag


def _debian_sources() -> list[Path]:
    """This machine's own apt sources of Debian 12, which name the mirror that it can reach."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    suite = re.compile(r"^[^#]*(?<![\w-])bookworm(-updates|-security)?(?![\w-])", re.MULTILINE)
    return [path for path in files if path.is_file() and suite.search(path.read_text())]


def _base_context(scratch: Path) -> Path:
    """Copy images/base and add the settings that reach package registries from this machine."""
    context = scratch / "base"
    shutil.copytree(FOLDER / "base", context)
    settings = context / "settings"
    authorities = settings / "etc/ssl/certs/ca-certificates.crt"
    authorities.parent.mkdir(parents=True, exist_ok=True)
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, authorities)
    sources = _debian_sources()
    # A machine that is no Debian 12 has none; then those of the image, as it was pulled, stay.
    if sources:
        target = settings / "etc/apt/sources.list.d"
        target.mkdir(parents=True, exist_ok=True)
        (settings / "etc/apt/sources.list").touch()
        for path in sources:
            name = path.name if path.suffix != ".list" or path.parent.name == "sources.list.d" else "debian.list"
            shutil.copy(path, target / name)
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    ).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL", index)
    if index:
        (settings / "etc/pip.conf").write_text(f"[global]\nindex-url = {index}\n")
    return context


def _build(client: docker.DockerClient, name: str, parent: str, context: Path, report: Report) -> str:
    tag = f"slipway-lab/{name}:{_digest(context, parent)}"
    if _exists(client, tag):
        return tag
    started = time.monotonic()
    report(f"building image {name}")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            sent = _readable(context, Path(scratch) / "context")
            client.images.build(path=str(sent), tag=tag, buildargs={"BASE": parent}, rm=True, forcerm=True)
    except docker.errors.BuildError as failure:
        lines = [entry["stream"].rstrip() for entry in failure.build_log if entry.get("stream", "").strip()]
        raise LabError("\n".join([f"The image {name} could not be built: {failure.msg}", *lines[-15:]])) from failure
    report(f"built image {name} in {time.monotonic() - started:.0f} s")
    return tag


def _readable(context: Path, copy: Path) -> Path:
    """Copy a build's context, so that all can read it in the image whatever the checkout's umask was, and return the copy."""
    shutil.copytree(context, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o111 else 0o644)
    return copy


def _filled_registry(client: docker.DockerClient, tags: Mapping[str, str], report: Report) -> str:
    """Return a registry image that holds the stand-ins: starting the lab then pushes nothing."""
    parts = [tags["registry"], *(f"{STAND_INS[name]}={tags[name]}" for name in sorted(STAND_INS))]
    tag = "slipway-lab/registry-filled:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    if _exists(client, tag):
        return tag
    report("filling the registry")
    started = time.monotonic()
    container = client.containers.run(tags["registry"], detach=True, ports={_PUSH_PORT: ("127.0.0.1", 0)})
    try:
        address = _pushable(container)
        # First what the others are built on; the engine compresses each layer on one core.
        for names in (["redis"], ["jupyter", "mongo", "postgres"], ["common"]):
            with ThreadPoolExecutor(max_workers=2) as pool:
                list(pool.map(lambda name: _push(client, tags[name], f"{address}/{STAND_INS[name]}"), names))
        container.stop(timeout=10)
        repository, version = tag.split(":")
        container.commit(repository, version)
    finally:
        container.remove(force=True, v=True)
    report(f"filled the registry in {time.monotonic() - started:.0f} s")
    return tag


def introduce(client: docker.DockerClient, common: str, registry: Container) -> None:
    """Let the engine find out that the registry has the layers of the common image: it pushes images on top of it without them then."""
    _push(client, common, f"{_pushable(registry)}/{STAND_INS['common']}")


def _pushable(container: Container, seconds: float = 20) -> str:
    """Wait until the registry listens; return its loopback address, which the engine pushes to without TLS."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        container.reload()
        # What it said in an earlier run does not count. It may say so before the engine has noted that this one began.
        ended = datetime.fromisoformat(container.attrs["State"]["FinishedAt"]).timestamp()
        bindings = container.ports.get(_PUSH_PORT)
        if bindings and b"listening on" in container.logs(since=max(ended, 1.0)):
            return f"127.0.0.1:{bindings[0]['HostPort']}"
        if container.status == "exited":
            break
        time.sleep(0.2)
    raise LabError(f"The lab's registry does not start: {container.logs(tail=5).decode(errors='replace')}")


def _push(client: docker.DockerClient, tag: str, target: str) -> None:
    client.images.get(tag).tag(target)
    try:
        for event in client.images.push(target, stream=True, decode=True):
            if "error" in event:
                raise LabError(f"Pushing {target} failed: {event['error']}")
    finally:
        client.images.remove(target)


def _exists(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def _digest(context: Path, parent: str) -> str:
    """Hash a build context (names, modes, contents) and the parent's tag."""
    total = hashlib.sha256(parent.encode())
    for path in sorted(item for item in context.rglob("*") if item.is_file()):
        executable = path.stat().st_mode & 0o111 != 0
        total.update(f"\0{path.relative_to(context)}\0{executable}\0".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:12]
