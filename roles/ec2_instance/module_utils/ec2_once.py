"""One machine a name: the token of its launch, whose key it is, and which command has its lock. Decisions only; ec2_lock acts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

#: What the tags of a lock begin with.
MARK = "slipway-lock-"
#: EC2 takes no longer value of a tag.
LONGEST = 256
#: How EC2 says that a permission is missing.
DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
LIVING = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True)
class Holder:
    """A command that works on a machine.

    `id` is the command's own. `computer` is a name for people; `place` is the running system that the command is on: of two computers, and
    of two starts of one, no two are the same. `lock` is the file there that the command's processes hold for as long as they live.
    """

    id: str
    computer: str
    place: str
    lock: str
    command: str
    since: str

    def tags(self) -> dict[str, str]:
        """Its tags. A path that is too long for one is left out: this command is then never taken for one that has ended."""
        found = {MARK + key: value[:LONGEST] for key, value in asdict(self).items()}
        return found if len(self.lock) <= LONGEST else found | {f"{MARK}lock": ""}

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Holder:
        """What tags say; what one of them does not say is empty."""
        return cls(**{field.name: str(tags.get(MARK + field.name, "")) for field in fields(cls)})

    def __str__(self) -> str:
        """For people."""
        command, computer = (plain(text) or "a command" for text in (self.command, self.computer))
        return f"{command} of the computer {computer}, since {plain(self.since)}" if self.id else "a command that has just begun"


def plain(text: str) -> str:
    """Without what a terminal would take for a command of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def lock_name(name: str) -> str:
    """The security group that is the lock of a machine: EC2 makes one of a name, and refuses the second. No machine's own has a dot."""
    return f"slipway-{name}.lock"


def standing(found: Holder, mine: Holder) -> str:
    """What the lock that was found is: `mine`; `ended`, left by a command that is no more; `ask`, if its own file tells; else `held`."""
    if found.id == mine.id:
        return "mine"
    if not found.lock or found.place != mine.place:
        return "held"
    # The file is this command's now, so every process of that command has ended.
    return "ended" if found.lock == mine.lock else "ask"


def refusal(name: str, holder: Holder) -> str:
    """Why a command does not begin, and what to do."""
    return (
        f"Another command works on the machine {name}: {holder}. Nothing was changed. Wait for its end. If it has ended without giving the "
        f"machine back, because its computer was switched off for one: python orchestrate.py unlock, with the options of this command."
    )


def stuck(name: str, code: str, said: str) -> str:
    """What to do about a lock that EC2 does not let this command make or remove; none if that is not why it refuses."""
    if code in DENIED:
        return (
            "A command keeps others off its machine by a security group that it makes and removes, and you may not. Needed: the IAM "
            f"actions ec2:CreateSecurityGroup, ec2:CreateTags and ec2:DeleteSecurityGroup (README, On AWS). EC2 says: {said}"
        )
    if code == "DependencyViolation":
        return (
            f"The lock of the machine {name} cannot be removed: something uses its security group {lock_name(name)}, which was attached by "
            f"hand. Detach the group, then run the same command again. EC2 says: {said}"
        )
    return ""


def token(name: str, group_id: str) -> str:
    """The client token of a machine's launch. `destroy` removes the group, and EC2 gives no id twice: each life has a token of its own."""
    return "slipway-" + hashlib.sha256(f"{name}\0{group_id}".encode()).hexdigest()[:40]


def launched(instances: Iterable[Mapping[str, Any]], wanted: str) -> Mapping[str, Any] | None:
    """Of EC2's instances the one that was launched by this token."""
    return next((item for item in instances if item.get("ClientToken") == wanted), None)


def spent(name: str, instance: Mapping[str, Any] | None) -> str | None:
    """Why a token that was used makes no machine; none if its instance lives, which then is the machine."""
    if instance and instance["State"]["Name"] in LIVING:
        return None
    again = f"To begin again: python orchestrate.py destroy {name}, then the same with up; both with the options of this command."
    if instance is None:
        # It may be shown late, or was terminated so long ago that EC2 has forgotten it.
        return (
            f"EC2 has launched an instance of the machine {name} before, and does not show it. Nothing was made in its place. Run the same "
            f"command again in a minute. If it says the same, that instance was terminated outside of this project, with its disk. {again}"
        )
    # `Client.UserInitiatedShutdown: User initiated shutdown`, or why EC2 itself ended it.
    why = instance.get("StateReason", {}).get("Message", "")
    return (
        f"The instance {instance['InstanceId']} of the machine {name} was terminated outside of this project"
        f"{f' ({plain(why)})' if why else ''}, and its disk with all data is gone. Nothing was made in its place. {again}"
    )


def key_trouble(has_instance: bool, pair: str | None, here: str | None, learned: bool = False) -> str:
    """What is wrong with the key of this computer: `missing`, `other`, or nothing.

    `pair` is the public half of the key pair in EC2, and `here` that of the key on this computer (empty if only the private half is there);
    none if there is no such key. `learned`: this folder has worked with this very instance. Its key may have been replaced on the host by
    hand, which EC2 does not know.
    """
    if here is None:
        return "missing" if has_instance or pair is not None else ""
    if not here or not pair or (has_instance and learned):
        return ""
    return "" if _key(pair) == _key(here) else "other"


#: Stands in the SSH settings that were written with a key that is not EC2's: they say nothing of whose key it is.
UNCHECKED = "# The key is not that of EC2's key pair."


def known_instance(settings: str) -> str:
    """The instance that a folder's SSH settings (templates/ssh_config.j2) know, or none."""
    found = re.search(r"(?m)^ *HostKeyAlias (\S+)", settings)
    return found[1] if found and UNCHECKED not in settings else ""


def _key(public: str) -> list[str]:
    """Of `TYPE BASE64 COMMENT` what says which key it is."""
    return public.split()[:2]


def one_of(
    name: str, living: Sequence[Mapping[str, Any]], wanted: str, ours: str = "", ended: Sequence[Mapping[str, Any]] = ()
) -> tuple[Mapping[str, Any] | None, str]:
    """Which of the living instances of a name is meant, and why it is refused to choose one. Neither, if there is nothing to remove.

    `wanted` is an instance's id, or empty; `ours` is the one that this computer's folder knows: that is to be kept, else the oldest.
    `ended`: those of the name that were terminated, or are just being so.
    """
    if any(item["InstanceId"] == wanted for item in ended):
        return None, ""
    facts = [(item["InstanceId"], item["InstanceType"], item["State"]["Name"], item["LaunchTime"]) for item in living]
    listed = ", ".join(f"{one} ({kind}, {state}, since {since})" for one, kind, state, since in facts)
    if not wanted:
        if len(living) < 2:
            return (living[0] if living else None), ""
        others = [item["InstanceId"] for item in living if item["InstanceId"] != ours]
        known = f" {ours} is the one that this computer works with." if len(others) < len(living) else ""
        return None, (
            f"{len(living)} instances have the name {name}, in the tag slipway: {listed}.{known} Each of them is billed. Nothing was "
            f"changed. Remove the one that you do not need, with its disk and its data: python orchestrate.py destroy {name} --instance "
            f"{others[-1]}, with the options of this command."
        )
    found = next((item for item in living if item["InstanceId"] == wanted), None)
    if found is None:
        return None, f"It is no instance of the machine {name}. Allowed: {listed or 'none, for there is no instance of that name'}."
    if len(living) < 2:
        return None, f"It is the only instance of the machine {name}. To remove the machine: python orchestrate.py destroy {name}"
    return found, ""
