"""Real disks: sparse files in a pool whose copies share their blocks. Each is a block device, and the root of a host lies on one.

The pool is one for all labs of this computer, as the engine's images are. It is a file with XFS, which shares blocks (FICLONE) and grows
while it is mounted without CAP_SYS_RESOURCE. A copy of any size takes milliseconds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import docker

from lab.config import Lab, LabError
from lab.engine import Report, apt_install

#: Of root's, and none of a checkout: it outlives one, and takes as much room as all hosts have written.
STORE = Path("/var/lib/slipway-lab")
_POOL, _POOL_FILE, _BASES, _FILLING = STORE / "pool", STORE / "pool.img", STORE / "pool" / "bases", STORE / "filling"
_GIB = 1024**3
#: What an AMI's root has at least, as Debian's and Canonical's do.
BASE_GIB = 8
#: A file that shares blocks is read and written, past the cache, in whole blocks of XFS: its device has sectors of that size.
_SECTOR = 4096
_GONE_SECONDS = 10
#: Not every PATH has root's programs.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
#: linux/fs.h: FICLONE. xfs_fs.h: XFS_IOC_GOINGDOWN, and its flag for a filesystem that ends without even its log.
_FICLONE, _GOINGDOWN, _NOLOGFLUSH = 0x40049409, 0x8004587D, 2


def clear(lab: Lab, report: Report) -> None:
    """Remove all disks of a lab, whose hosts are gone. After a restart of this computer the pool is opened for it."""
    if os.geteuid() != 0 or not _POOL_FILE.exists():
        return
    try:
        _open_pool()
    except LabError as failure:
        report(f"The lab's disks stay in {_POOL_FILE}: {failure}")
    else:
        Disks(lab).clear()


def lacking() -> str:
    """What keeps the lab from having real disks, in a line; empty if it has them."""
    if os.geteuid() != 0:
        return "this needs root: loop devices and mounts are root's"
    if not _mounted(_POOL):
        return f"no pool is mounted at {_POOL}: `losetup --find` and `mount -t xfs` have to work here"
    return ""


def prepare(client: docker.DockerClient, host_image: str, report: Report) -> None:
    """Open the pool, and make in it the disk that new hosts begin with. The caller is `alone`.

    On a computer that cannot have one this does nothing: `lacking` says why.
    """
    if os.geteuid() != 0:
        return
    if shutil.which("mkfs.xfs", path=_PATH) is None:
        if shutil.which("apt-get") is None:
            return
        apt_install("xfsprogs")
    try:
        _open_pool()
    except LabError as failure:
        report(f"The lab's disks are recorded only: {failure}")
        return
    _make_base(client, host_image, report)


def base(host_image: str) -> Path:
    """The disk that a host of this image begins with."""
    return _BASES / f"{host_image.rpartition(':')[2]}.img"


def clone(source: Path, target: Path, gib: int = 0) -> None:
    """Copy a file of the pool within it, made at least so large."""
    with source.open("rb") as read, target.open("wb") as written:
        fcntl.ioctl(written, _FICLONE, read.fileno())
        written.truncate(max(gib * _GIB, os.fstat(read.fileno()).st_size))


def _open_pool() -> None:
    if _mounted(_POOL):
        return
    for folder in (STORE, _POOL):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not _POOL_FILE.exists():
        scratch = _POOL_FILE.with_suffix(".part")
        # As large as what it lies on: it fills no sooner.
        with scratch.open("wb") as stream:
            stream.truncate(shutil.disk_usage(STORE).total)
        _make_xfs(scratch)
        scratch.rename(_POOL_FILE)
    device = _attached(_POOL_FILE) or _attach(_POOL_FILE)
    try:
        _run("mount", "-t", "xfs", "-o", "noatime,discard", device, str(_POOL))
    except LabError:
        _let_go(device)
        raise


def _make_base(client: docker.DockerClient, host_image: str, report: Report) -> None:
    target = base(host_image)
    if target.exists():
        return
    report("making the disk that hosts begin with")
    _BASES.mkdir(exist_ok=True)
    scratch = target.with_suffix(".part")
    _forget_half(scratch)
    with scratch.open("wb") as stream:
        stream.truncate(BASE_GIB * _GIB)
    _make_xfs(scratch)
    container = client.containers.create(host_image)
    try:
        with _filled(scratch) as root:
            unpack = ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--directory", str(root)]
            with subprocess.Popen(unpack, stdin=subprocess.PIPE) as tar:
                for part in container.export():
                    cast(IO[Any], tar.stdin).write(part)
            if tar.returncode:
                raise LabError(f"The disk that hosts begin with could not be written: tar ended with {tar.returncode}.")
            # What the engine puts into every container.
            (root / ".dockerenv").unlink(missing_ok=True)
    finally:
        container.remove(force=True)
    scratch.rename(target)


def _forget_half(scratch: Path) -> None:
    """Let go of a disk whose filling was killed: it would be mounted still, under the new one."""
    while _mounted(_FILLING):
        _run("umount", str(_FILLING))
    while device := _attached(scratch):
        _run("losetup", "--detach", device)
    scratch.unlink(missing_ok=True)


@contextmanager
def _filled(file: Path) -> Iterator[Path]:
    """Mount a disk for as long as it is filled; all that was written is on it afterwards."""
    _FILLING.mkdir(mode=0o700, exist_ok=True)
    device = _attach(file)
    try:
        _run("mount", "-t", "xfs", "-o", "noatime", device, str(_FILLING))
        try:
            yield _FILLING
        finally:
            _run("umount", str(_FILLING))
    finally:
        _let_go(device)


class Disks:
    """The disks of one lab. A disk's name is the id of its volume or snapshot."""

    def __init__(self, lab: Lab) -> None:
        self._folder = _POOL / lab.id
        self._mounts = STORE / "mounts" / lab.id
        for folder in (self._folder, self._mounts):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, name: str) -> Path:
        return self._folder / f"{name}.img"

    def blank(self, name: str, gib: int) -> None:
        """Make an empty disk."""
        with self.file(name).open("wb") as stream:
            stream.truncate(gib * _GIB)

    def copy(self, source: Path, name: str, gib: int) -> None:
        """Copy a disk as it is at this moment, and make the copy as large as asked: what a power cut would leave, as an EBS snapshot is."""
        clone(source, self.file(name), gib)

    def grow(self, name: str, gib: int) -> None:
        """Make a disk larger. What is on it, a filesystem say, stays as large as it was."""
        os.truncate(self.file(name), gib * _GIB)
        if device := _attached(self.file(name)):
            _run("losetup", "--set-capacity", device)

    def remove(self, name: str) -> None:
        """Remove a disk that no host has; nothing to do if it is gone."""
        self.detach(name)
        self.file(name).unlink(missing_ok=True)

    def attach(self, name: str) -> str:
        """Return the block device of a disk, made if it is missing."""
        return _attached(self.file(name)) or _attach(self.file(name))

    def detach(self, name: str) -> None:
        """Take a disk's block device away."""
        if device := _attached(self.file(name)):
            _let_go(device)

    def mount(self, name: str, instance_id: str) -> Path:
        """Mount a disk as the root of a host that does not run, and return where. Its filesystem takes all of the disk, as by cloud-init's
        module resizefs at each boot."""
        root = self.root(instance_id)
        device = self.attach(name)
        if mounted := _mounted(root):
            if mounted == device:
                return root
            self.unmount(instance_id)
        root.mkdir(mode=0o700, exist_ok=True)
        # A copy has the same UUID as its original.
        _run("mount", "-t", "xfs", "-o", "noatime,nouuid,discard", device, str(root))
        _run("xfs_growfs", str(root))
        return root

    def unmount(self, instance_id: str) -> None:
        """Let go of the root of a host that has ended; all that was written is on the disk then."""
        root = self.root(instance_id)
        if device := _mounted(root):
            _run("umount", str(root))
            _let_go(device)
        if root.exists():
            root.rmdir()

    def lose_power(self, instance_id: str) -> None:
        """End a host's filesystem at once, if it has one of these: what was not written to the disk is lost."""
        if _mounted(self.root(instance_id)) is None:
            return
        descriptor = os.open(self.root(instance_id), os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _GOINGDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def root(self, instance_id: str) -> Path:
        return self._mounts / instance_id

    def clear(self) -> None:
        """Remove all disks of this lab. Its hosts are gone."""
        for mounted in self._mounts.iterdir():
            self.unmount(mounted.name)
        for file in self._folder.glob("*.img"):
            self.remove(file.stem)
        shutil.rmtree(self._folder)
        shutil.rmtree(self._mounts)


def _attached(file: Path) -> str | None:
    """The block device of a file, if it has one."""
    return _run("losetup", "--associated", str(file), "--noheadings", "--output", "NAME").split("\n")[0].strip() or None


def _attach(file: Path) -> str:
    words = ["losetup", "--find", "--show", "--sector-size", str(_SECTOR)]
    try:
        # Past this computer's cache, where all would lie twice: more than twice as fast.
        return _run(*words, "--direct-io=on", str(file)).strip()
    except LabError:
        return _run(*words, str(file)).strip()


def _make_xfs(file: Path) -> None:
    _run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", "-s", f"size={_SECTOR}", str(file))


def _let_go(device: str) -> None:
    """Take a block device away, and wait until it is: the namespace of a host that has just ended may hold its filesystem for a moment."""
    subprocess.run(["losetup", "--detach", device], env={**os.environ, "PATH": _PATH}, capture_output=True)
    deadline = time.monotonic() + _GONE_SECONDS
    while Path("/sys/block", Path(device).name, "loop").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _mounted(place: Path) -> str | None:
    """The block device that is mounted there, from the kernel's list: a filesystem that has ended answers nothing itself."""
    words = ["findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint", str(place)]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip() or None


def _run(*command: str) -> str:
    done = subprocess.run(command, env={**os.environ, "PATH": _PATH}, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip().partition(chr(10))[0]}")
    return done.stdout
