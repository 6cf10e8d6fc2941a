"""What one lab is called and where it lives. Every checkout of the project has a lab of its own."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path

from lab.networks import PUBLIC

PROJECT = Path(__file__).resolve().parent.parent
REGISTRY = "registry.lab:5000"
#: The label that every container, volume and network of a lab carries; its value is the lab's id.
LABEL = "slipway.lab"
#: Path of the API that says which lab answers.
IDENTITY = "/slipway-lab"
FAULTS = f"{IDENTITY}/faults"
HOSTS = f"{IDENTITY}/hosts"
_FIRST_VPC, _FIRST_PUBLIC = IPv4Network("10.200.0.0/16"), IPv4Network("198.18.0.0/24")


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what to type next."""


class BadInputError(LabError):
    """What was asked for cannot be; nothing was changed."""


@dataclass(frozen=True)
class Lab:
    """A lab's identity: its folder, the port of its API and its networks.

    `vpc_cidr` has the private addresses (the default VPC), `public_cidr` those that change with every start, `inside_cidr` what the
    engines of hosts give their containers, or None for their own choice. `registry_port` is the loopback port at which this machine's
    engine gives images to the registry; each start has another one.
    """

    root: Path
    port: int = 0
    vpc_cidr: IPv4Network = _FIRST_VPC
    public_cidr: IPv4Network = _FIRST_PUBLIC
    inside_cidr: IPv4Network | None = None
    registry_port: int = 0

    @property
    def id(self) -> str:
        """A short name, unique on this machine, that prefixes the lab's containers and networks."""
        return "slipway-" + hashlib.sha256(bytes(self.root)).hexdigest()[:8]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def registry_ip(self) -> str:
        return str(self.vpc_cidr[-6])

    @property
    def metadata_ip(self) -> str:
        return str(self.vpc_cidr[-7])

    @property
    def internet_ip(self) -> str:
        return str(self.vpc_cidr[-8])

    @property
    def log_file(self) -> Path:
        return self.root / "api.log"

    @property
    def state_file(self) -> Path:
        return self.root / "ec2.pickle"

    def save(self) -> None:
        """Remember port and networks, so that the endpoint stays the same from one `up` to the next."""
        private_dir(self.root)
        values = {key: str(value) if isinstance(value, IPv4Network) else value for key, value in asdict(self).items() if key != "root"}
        # From where this computer reaches the hosts.
        values["controller_cidr"] = str(PUBLIC if self.public_cidr.subnet_of(PUBLIC) else self.public_cidr)
        write_private(self.root / "lab.json", json.dumps(values).encode())


def default_root() -> Path:
    """Return the folder of this checkout's lab."""
    return PROJECT / ".slipway" / "lab"


def load(root: Path | None = None) -> Lab | None:
    """The lab of this checkout, or None where it was never started."""
    root = root or default_root()
    try:
        values = json.loads((root / "lab.json").read_text())
    except FileNotFoundError:
        return None
    if "number" in values:
        # Of a release before 0.17: the first networks, and the next ones for each further lab.
        number = int(values["number"])
        values |= {"vpc_cidr": f"10.{200 + number}.0.0/16", "public_cidr": f"198.18.{number}.0/24"}
    networks = {key: IPv4Network(values[key]) for key in ("vpc_cidr", "public_cidr", "inside_cidr") if values.get(key)}
    return Lab(root=root, port=int(values["port"]), registry_port=int(values.get("registry_port", 0)), **networks)


def private_dir(path: Path) -> Path:
    """Make a folder that its owner alone can enter, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner only."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
