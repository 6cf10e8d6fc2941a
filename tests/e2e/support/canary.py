"""Looks for secrets wherever one could lie: in files, processes, the engine's records and the journal; here and on a machine."""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests.conftest import Checkout

#: Run as root on the machine, with the needles on its standard input: they are in no argument and no file there. It prints a
#: line a find. /proc has the environments that processes began with; those of Jupyter's container hold the passwords by
#: design. `merged` is each container's view of the folders that are looked through by themselves.
LOOK_ON_HOST = r"""
set -u
needles=$(cat)
look() { grep --text --fixed-strings --no-messages --file=<(printf '%s\n' "$needles") "$@"; }
jupyter=$(docker ps --quiet --filter label=com.docker.compose.service=jupyter)
own=$([ -z "$jupyter" ] || docker top "$jupyter" -eo pid | sed -n 's|^ *\([0-9]\+\).*|/proc/\1/environ|p')
look --files-with-matches --recursive --devices=skip --exclude-dir=merged /etc /home /opt /root /run /srv /tmp /usr/local /var
look --files-with-matches /proc/[0-9]*/cmdline
look --files-with-matches /proc/[0-9]*/environ | grep --invert-match --line-regexp --fixed-strings "${own:-none}"
docker inspect $(docker ps --all --quiet) | look --quiet && echo containers
docker image inspect $(docker image ls --all --quiet) | look --quiet && echo images
for image in $(docker image ls --all --quiet); do docker history --no-trunc "$image"; done | look --quiet && echo history
for kind in volume network; do docker $kind inspect $(docker $kind ls --quiet); done | look --quiet && echo volumes
journalctl --output=export --no-pager | look --quiet && echo journal
echo end
"""

#: Looks several times a second at every process' arguments, until its standard input ends. Prints how often it looked, then
#: the arguments in which a needle was.
WATCH = r"""
import glob, select, sys
needles = [bytes.fromhex(word) for word in sys.stdin.readline().split()]
looks, found = 0, set()
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.15)[0]:
    looks += 1
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as arguments:
                said = arguments.read()
        except OSError:
            continue
        if any(needle in said for needle in needles):
            found.add(said.replace(b"\0", b" ").decode(errors="replace"))
print(looks, *sorted(found), sep="\n")
"""


def secrets(machine: Path) -> list[bytes]:
    """What nobody else may learn: each password and token of a machine's folder, and what is private in its SSH key."""
    words = [path.read_bytes().strip() for path in sorted((machine / "stack" / "secrets").iterdir())]
    if (machine / "ssh_key").exists():
        key = serialization.load_ssh_private_key((machine / "ssh_key").read_bytes(), password=None)
        # The 32 bytes of an Ed25519 key. Its file has them in base64, on one line.
        words.append(key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()))
    assert all(len(word) >= 16 for word in words)
    return words


def forms(secret: bytes) -> set[str]:
    """How a secret can be written down: as it is, URL-encoded, in hex, and in base64, alone or within something longer."""
    found = {secret.hex(), urllib.parse.quote_from_bytes(secret, safe="")}
    if re.fullmatch(rb"[\x20-\x7e]+", secret):
        found.add(secret.decode())
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret).decode()
        # Characters that hold bits of what is before or after are left out.
        inner = whole[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        found |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return found


def needles(words: Iterable[bytes]) -> list[str]:
    return sorted({form for word in words for form in forms(word)})


def namespace(process: Path) -> str:
    """Which processes this one sees; empty where it has ended."""
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return ""


def look_here(checkout: Checkout, words: Iterable[bytes]) -> set[str]:
    """Files and processes of this machine with a secret: the checkout with the lab's logs, Ansible's and its tools' folders."""
    home, scratch = Path.home(), Path(tempfile.gettempdir())
    folders = [checkout.path, home / ".ansible", home / ".ssh", *scratch.glob("ansible*"), *scratch.glob("tmp*")]
    # Not those inside the lab's hosts, which this machine sees too: they are the hosts' own.
    own = [path for path in Path("/proc").glob("[0-9]*") if namespace(path) == namespace(Path("/proc/self"))]
    processes = [path / name for name in ("cmdline", "environ") for path in own]
    found = set()
    for places, how in ((folders, ["--recursive", "--devices=skip"]), (processes, [])):
        grep = ["grep", "--files-with-matches", "--text", "--fixed-strings", "--no-messages", "--file=-", *how, "--", *map(str, places)]
        done = subprocess.run(grep, input="\n".join(needles(words)), capture_output=True, text=True, timeout=600)
        found |= set(done.stdout.splitlines())
    return found


def look_on_host(checkout: Checkout, words: Iterable[bytes], machine: str = "slipway") -> set[str]:
    """Files, processes and records of a machine with a secret."""
    quoted = LOOK_ON_HOST.replace("'", "'\\''")
    said = checkout.on_host(f"sudo bash -c '{quoted}'", stdin="\n".join(needles(words)), machine=machine).splitlines()
    assert said[-1] == "end"
    return set(said[:-1])


class Watch:
    """Looks at the arguments of all processes for as long as it is entered: here, or on a machine by a command that leads there."""

    def __init__(self, words: Iterable[bytes], *way: str) -> None:
        self.command = [*way, "python3", "-c", WATCH if not way else "'" + WATCH.replace("'", "'\\''") + "'"]
        self.words = " ".join(form.encode().hex() for form in needles(words))
        self.looks = 0
        self.found: list[str] = []

    def __enter__(self) -> Watch:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(self.words + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "begun\n"
        return self

    def __exit__(self, *_: object) -> None:
        said, _nothing = self.process.communicate(timeout=60)
        looks, *self.found = said.splitlines()
        self.looks = int(looks)
