"""The SSH host key that a new machine answers the first connection with, and no other. Decisions only; the module ec2_first_key acts.

It is made on the controller and travels in the user data: cloud-init's module ssh takes `ssh_keys` for the host's, and prints them to the
console unless `ssh.emit_keys_to_console` is false
(https://docs.cloud-init.io/en/latest/reference/yaml_examples/ssh_keys.html, https://docs.cloud-init.io/en/latest/reference/modules.html#mod-cc-ssh).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

#: The instance's tag with the fingerprint of the key that it was launched with.
TAG = "slipway-first-key"
#: By this line files/own_host_keys.sh knows the user data in cloud-init's copies.
MARK = "# slipway: the host key of the first connection"
_KEY = re.compile(r"((?:ssh|ecdsa)-[a-z0-9-]+) ([A-Za-z0-9+/]+={0,2})(?: .*)?")
#: How ssh says that the host which answers is another one.
_STRANGER = re.compile("REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed")


class WrongAnswerError(Exception):
    """What answered is not what the host's own script says."""


def user_data(private: str, public: str) -> str:
    """The user data of RunInstances, the same for the same key: a client token is good for equal parameters only."""
    lines = "".join(f"    {line}\n" for line in private.splitlines())
    return (
        f"#cloud-config\n{MARK}\nssh_deletekeys: true\nssh: {{emit_keys_to_console: false}}\n"
        f"ssh_keys:\n  ed25519_private: |\n{lines}  ed25519_public: {plain(public)}\n"
    )


def plain(public: str) -> str:
    """Type and key, without a comment. Raises WrongAnswerError if it is no public key."""
    found = _KEY.fullmatch(public.strip())
    if not found:
        raise WrongAnswerError(f"{public.strip()[:80]!r} is not a public key of SSH.")
    return f"{found[1]} {found[2]}"


def fingerprint(public: str) -> str:
    """As `ssh-keygen -l` prints it."""
    digest = hashlib.sha256(base64.b64decode(plain(public).split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def own_keys(said: Iterable[str], once: str) -> list[str]:
    """The keys that the host made for itself, by its script. Raises WrongAnswerError if there is none, or the first one is among them."""
    found = sorted({plain(line) for line in said if line.strip()})
    if not found:
        raise WrongAnswerError("The host named no keys of its own.")
    if plain(once) in found:
        raise WrongAnswerError("The host named the key of the first connection as its own.")
    return found


def known(lines: Iterable[str], instance_id: str) -> list[str]:
    """The keys that a known_hosts file has for this instance."""
    return sorted(" ".join(line.split()[1:3]) for line in lines if line.split()[:1] == [instance_id])


def is_stranger(said: str) -> bool:
    """Whether ssh ended because of the host's key."""
    return bool(_STRANGER.search(said))
