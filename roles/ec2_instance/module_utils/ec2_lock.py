"""The lock of a machine, which keeps out the commands of other computers too: a security group without rules.

EC2 makes one security group of a name, and refuses the second. It costs nothing, needs no host, and outlives the stop and the start of one.
A tag would be no lock: EC2 has no way to write one only if it is not there.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import Any

from ansible.module_utils.ec2_once import Holder, lock_name, standing

with suppress(ImportError):  # AnsibleAWSModule says what is missing.
    from botocore.exceptions import ClientError

#: A lock that was just given back may be there for a moment more.
PATIENCE_SECONDS = 3
DESCRIPTION = "Slipway: a command works on this machine. Its tags say which one."


def take(client: Any, name: str, mine: Holder) -> Holder | None:
    """Take the lock, and return none; or the command that has it. One that was left by a command of this computer is taken over."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            make(client, name, mine)
            return None
        except ClientError as refusal:
            if code(refusal) != "InvalidGroup.Duplicate":
                raise
        group = find(client, name)
        holder = holder_of(group)
        verdict = standing(holder, mine) if group else "held"
        if verdict == "mine":
            return None
        if group and (verdict == "ended" or (verdict == "ask" and not is_held(holder.lock))):
            # By its id: of two that find the same one, and make another, neither ends that.
            end(client, group)
        elif time.monotonic() > deadline:
            return holder
        else:
            time.sleep(0.25)


def make(client: Any, name: str, mine: Holder) -> None:
    """Make the group, which EC2 refuses if there is one."""
    tags = [{"Key": key, "Value": value} for key, value in {"Name": lock_name(name), **mine.tags()}.items()]
    specification = [{"ResourceType": "security-group", "Tags": tags}]
    client.create_security_group(GroupName=lock_name(name), Description=DESCRIPTION, TagSpecifications=specification, aws_retry=True)


def find(client: Any, name: str) -> dict[str, Any] | None:
    """The group, if there is one."""
    filters = [{"Name": "group-name", "Values": [lock_name(name)]}]
    found = client.describe_security_groups(Filters=filters, aws_retry=True)["SecurityGroups"]
    return found[0] if found else None


def holder_of(group: dict[str, Any] | None) -> Holder:
    """The command that the group's tags name."""
    return Holder.of({tag["Key"]: tag["Value"] for tag in (group or {}).get("Tags", [])})


def end(client: Any, group: dict[str, Any]) -> bool:
    """Remove this group; whether it was there."""
    try:
        client.delete_security_group(GroupId=group["GroupId"], aws_retry=True)
    except ClientError as refusal:
        if code(refusal) != "InvalidGroup.NotFound":
            raise
        return False
    return True


def code(refusal: Any) -> str:
    """EC2's word for why it refuses."""
    return str(refusal.response["Error"]["Code"])


def is_held(path: str) -> bool:
    """Whether a process of this computer holds the file, or that cannot be told."""
    try:
        # Neither a link nor a FIFO: the path comes from a tag.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
