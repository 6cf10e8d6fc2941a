"""An EC2 instance as a container: systemd as PID 1, sshd, an engine's disk, its type's memory and CPUs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

import docker
from docker.models.containers import Container
from docker.types import EndpointConfig, Mount

from lab import disks, internet
from lab.config import LABEL, REGISTRY, Lab, LabError
from lab.disks import Disks
from lab.door import FILE

INSTANCE_LABEL = "slipway.lab.instance"
_STOP_SECONDS = 90
_BOOT_SECONDS = 60
#: What EC2 keeps of a console.
_CONSOLE_BYTES = 65536
_MODULES = b"kernel/drivers/nvme/host/nvme.ko\nkernel/drivers/net/ethernet/amazon/ena/ena.ko\n"
#: What systemd and a nested engine need where `--privileged` is refused: all capabilities that can be had.
_CAPABILITIES: dict[str, Any] = {
    "CapAdd": ["ALL"],
    "CapDrop": ["SYS_RESOURCE"],
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "DeviceCgroupRules": ["a *:* rwm"],
}


@dataclass(frozen=True)
class Size:
    """What an instance type gives: memory in MiB and virtual CPUs."""

    memory_mib: int
    vcpus: int


@dataclass(frozen=True)
class Spec:
    """All that a new host is made from. `disk`: the name of its root disk, or None for one that is the engine's."""

    instance_id: str
    size: Size
    private_ip: str
    public_ip: str
    door: str
    disk: str | None = None
    #: Whether it sees the names of lab/internet.py.
    sees_internet: bool = False


class Hosts:
    """The hosts of one lab. Every method names the instance by its EC2 id."""

    def __init__(self, lab: Lab, client: docker.DockerClient, image: str, real: Disks | None) -> None:
        self._lab = lab
        self._disks = real
        self._client = client
        self._image = image
        self._privileges: dict[str, Any] | None = None

    def create(self, spec: Spec) -> None:
        """Make the host and start it. Leaves nothing behind when that fails."""
        labels = {LABEL: self._lab.id, INSTANCE_LABEL: spec.instance_id}
        public = self._client.networks.get(public_network(self._lab))
        try:
            if self._disks and spec.disk:
                mount = Mount("/disk", str(self._disks.mount(spec.disk, spec.instance_id)), type="bind")
            else:
                volume = self._client.volumes.create(self._volume(spec.instance_id), labels=labels)
                mount = Mount("/var/lib/docker", volume.name, no_copy=True)
            # The low-level API: docker-py's create() does not know MaskedPaths and ReadonlyPaths.
            host_config = self._client.api.create_host_config(
                mounts=[mount],
                tmpfs={"/run": "", "/run/lock": ""},
                # As on EC2: Docker's own default for a container is 0.
                sysctls={"net.ipv4.ip_unprivileged_port_start": "1024"},
                network_mode=public.name,
                extra_hosts=dict.fromkeys(internet.NAMES, internet.address(self._lab)) if spec.sees_internet else None,
            )
            created = self._client.api.create_container(
                self._image,
                name=self._name(spec.instance_id),
                hostname="ip-" + spec.private_ip.replace(".", "-"),
                labels=labels,
                # Its terminal is the host's console, which the engine keeps.
                tty=True,
                environment={"TERM": "dumb"},
                host_config=host_config | {"CgroupnsMode": "private"} | self._limits(spec.size) | self._granted(),
                networking_config={"EndpointsConfig": {public.name: self._endpoint(spec.public_ip)}},
            )
            container = self._client.containers.get(created["Id"])
            self._client.networks.get(vpc_network(self._lab)).connect(container, ipv4_address=spec.private_ip)
            container.put_archive("/", _first_boot_files(spec, self._authority(), self._lab.inside_cidr))
            self._boot(container)
            if spec.sees_internet:
                self.run(spec.instance_id, "sh", "-c", f"cat {internet.AUTHORITY} >> {internet.AUTHORITIES}")
        except Exception:
            self.remove(spec.instance_id)
            raise

    def start(self, instance_id: str, size: Size, public_ip: str, door: str, disk: str | None) -> None:
        """Start a stopped host under a new public address, with the limits of its (perhaps new) type and with this root disk."""
        container = self._get(instance_id)
        if self._disks and disk:
            self._disks.mount(disk, instance_id)
        public = self._client.networks.get(public_network(self._lab))
        if public.name in container.attrs["NetworkSettings"]["Networks"]:
            public.disconnect(container, force=True)
        public.connect(container, ipv4_address=public_ip)
        # docker-py's update() knows no --cpus; the engine's API, of which its client is a session, does.
        api = self._client.api
        api.post(f"{api.base_url}/v{api.api_version}/containers/{container.id}/update", json=self._limits(size)).raise_for_status()
        container.put_archive("/", _tar([(FILE, door.encode(), 0o644, 0)]))
        self._boot(container)

    def close_door(self, instance_id: str, door: str) -> None:
        """Let a running host take other security groups' rules, in one step."""
        # For its next boot, which reads it before the host's own root is there; and at once.
        self._get(instance_id).put_archive("/", _tar([(FILE, door.encode(), 0o644, 0)]))
        self.run(instance_id, "sh", "-c", 'printf %s "$1" | iptables-restore', "sh", door)

    def stop(self, instance_id: str) -> None:
        """Halt the host in order: systemd stops its services, the engine its containers."""
        self._get(instance_id).stop(timeout=_STOP_SECONDS)
        self.unmount(instance_id)

    def reboot(self, instance_id: str) -> None:
        self._get(instance_id).restart(timeout=_STOP_SECONDS)

    def kill(self, instance_id: str) -> None:
        """End the host at once, as a power cut does: nothing in it is asked, and what was not written to its disk is lost."""
        if self._disks:
            self._disks.lose_power(instance_id)
        container = self._get(instance_id)
        container.kill()
        container.wait(timeout=_STOP_SECONDS)
        self.unmount(instance_id)

    def plug(self, instance_id: str, disk: str, node: str) -> None:
        """Show a disk to a running host as a block device of this name."""
        number = Path(self._real().attach(disk)).stat().st_rdev
        self.run(instance_id, "mknod", "-m", "660", node, "b", str(os.major(number)), str(os.minor(number)))

    def unplug(self, instance_id: str, disk: str, node: str) -> bool:
        """Take a disk from a running host; False, and nothing done, if a filesystem on it is mounted there."""
        number = Path(self._real().attach(disk)).stat().st_rdev
        if f" {os.major(number)}:{os.minor(number)} " in self.run(instance_id, "cat", "/proc/1/mountinfo"):
            return False
        self.run(instance_id, "rm", "-f", node)
        self._real().detach(disk)
        return True

    def run(self, instance_id: str, *command: str) -> str:
        """Run a command in the host as root and return what it prints."""
        code, output = self._get(instance_id).exec_run(list(command))
        said = cast(bytes, output).decode(errors="replace")
        if code:
            raise LabError(f"{' '.join(command)} failed in {instance_id}: {said.strip()}")
        return said

    def console(self, instance_id: str) -> str:
        """The end of what the host wrote to its console."""
        return self._get(instance_id).logs()[-_CONSOLE_BYTES:].decode(errors="replace")

    def remove(self, instance_id: str) -> None:
        """Remove the host, and its disk if that is the engine's; nothing to do if they are gone already."""
        for find, name in ((self._client.containers, self._name(instance_id)), (self._client.volumes, self._volume(instance_id))):
            try:
                find.get(name).remove(force=True)
            except docker.errors.NotFound:
                continue
        self.unmount(instance_id)

    def unmount(self, instance_id: str) -> None:
        """Let go of the root of a host that has ended, if that is a real disk."""
        if self._disks:
            self._disks.unmount(instance_id)

    def ended(self, instance_id: str) -> int | None:
        """How the host's first process ended; none if it runs, or is gone."""
        with contextlib.suppress(LabError):
            state = self._get(instance_id).attrs["State"]
            return None if state["Running"] else int(state["ExitCode"])
        return None

    def running(self) -> dict[str, bool]:
        """Every host of this lab by instance id, and whether it runs."""
        found = self._client.containers.list(all=True, filters={"label": f"{LABEL}={self._lab.id}"}, ignore_removed=True)
        return {item.labels[INSTANCE_LABEL]: item.status == "running" for item in found if INSTANCE_LABEL in item.labels}

    def _boot(self, container: Container) -> None:
        """Start the host, and wait for systemd: before it listens, a stop would not be heard."""
        container.start()
        wait = f"for _ in $(seq {_BOOT_SECONDS}0); do [ -S /run/systemd/private ] && exit; sleep 0.1; done; exit 1"
        if container.exec_run(["sh", "-c", wait]).exit_code:
            raise LabError(f"systemd did not start within {_BOOT_SECONDS} s: {container.logs(tail=5).decode(errors='replace')}")

    def _get(self, instance_id: str) -> Container:
        try:
            return self._client.containers.get(self._name(instance_id))
        except docker.errors.NotFound as gone:
            raise LabError(f"The host of {instance_id} is gone: its container was removed outside the lab.") from gone

    def _name(self, instance_id: str) -> str:
        return f"{self._lab.id}-{instance_id}"

    def _real(self) -> Disks:
        if self._disks is None:
            raise LabError(f"The lab has no real disks: {disks.lacking()}.")
        return self._disks

    def _volume(self, instance_id: str) -> str:
        return f"{self._lab.id}-{instance_id}-docker"

    def _endpoint(self, address: str) -> EndpointConfig:
        return EndpointConfig(self._client.api.api_version, ipv4_address=address)

    def _limits(self, size: Size) -> dict[str, int]:
        """Memory without swap, as on EC2. The engine refuses more CPUs than this machine has."""
        memory = size.memory_mib * 1024 * 1024
        vcpus = min(size.vcpus, self._client.info()["NCPU"])
        return {"Memory": memory, "MemorySwap": memory, "NanoCpus": vcpus * 1_000_000_000}

    def _authority(self) -> bytes:
        return (self._lab.root / "tls" / "ca.crt").read_bytes()

    def _granted(self) -> dict[str, Any]:
        """`--privileged`, as kind and minikube do, or the capabilities that this machine lets a container have."""
        if self._privileges is None:
            probe = self._client.containers.create(self._image, entrypoint=["/bin/true"], privileged=True, labels={LABEL: self._lab.id})
            try:
                probe.start()
                self._privileges = {"Privileged": True}
            except docker.errors.APIError:
                self._privileges = _CAPABILITIES
            finally:
                probe.remove(force=True)
        return self._privileges


def public_network(lab: Lab) -> str:
    """Return the name of the network whose addresses change with every start."""
    return f"{lab.id}-public"


def vpc_network(lab: Lab) -> str:
    """Return the name of the network whose addresses stay."""
    return f"{lab.id}-vpc"


def _first_boot_files(spec: Spec, authority: bytes, inside: IPv4Network | None) -> bytes:
    """The security groups' rules; the registry's authority; and, if it is to be another than by default, the network of the host's own
    engine. What is the instance's own is cloud-init's."""
    settings = {"bip": f"{inside[1]}/24", "default-address-pools": [{"base": str(inside), "size": 24}]} if inside else {}
    given = _tar(
        [
            *([("/etc/docker/daemon.json", json.dumps(settings).encode(), 0o644, 0)] if settings else []),
            # As Debian's kernel for clouds has them. The kernel here is the computer's own.
            (f"/lib/modules/{os.uname().release}/modules.builtin", _MODULES, 0o644, 0),
            (f"/etc/docker/certs.d/{REGISTRY}/ca.crt", authority, 0o644, 0),
            *([(internet.AUTHORITY, authority, 0o644, 0)] if spec.sees_internet else []),
        ]
    )
    # The first is of each boot. The others go to where its root will be (images/host/lab-init).
    return _tar([(FILE, spec.door.encode(), 0o644, 0), ("/first-boot.tar", given, 0o600, 0)])


def _tar(files: Iterable[tuple[str, bytes, int, int]]) -> bytes:
    """A tar of files: path, content, mode and owner."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content, mode, owner in files:
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, owner, owner
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
