"""Gives a machine's lock in EC2 back when the command that has it has ended, however it ended.

Started by the play (slipway/callback/slipway_lock.py) as a process of its own. It waits until no process of the command holds the machine's
lock on this computer, and then removes the one in EC2, if it still is that command's. Its standard input is a JSON document: `lock`, the
file; `id`, the command's own; `connection`, as the AWS modules take it. So a command that is killed keeps no other computer out; if this
computer is switched off meanwhile, `unlock` does it.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: EC2 may not show for some seconds what was just made; and a command may have given it back by itself, or taken none.
_WAITS = (0, 2, 8)
#: This computer may have no network just now. Not in the lab: one that was removed meanwhile does not answer any more.
_LATER = (30, 120, 600)


def main() -> None:
    """Wait, and give it back."""
    told = json.load(sys.stdin)
    path, connection = Path(told["lock"]), told["connection"]
    with path.with_suffix(".keeper").open("a") as marker:
        # For a wrapper that must not end before (`lock.given_back`).
        fcntl.flock(marker, fcntl.LOCK_SH)
        # A file that is gone is held by no command that counts.
        with suppress(FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        missed = 0
        for seconds in (*_WAITS, *(() if connection.get("endpoint_url") else _LATER)):
            time.sleep(seconds)
            with suppress(Exception):
                if give_back(connection, told["id"]):
                    return
                missed += 1
            if missed == len(_WAITS):
                return


def give_back(connection: Mapping[str, Any], command: str) -> bool:
    """Remove the lock that this command has in EC2; whether it was there."""
    client = _client(connection)
    filters = [{"Name": "tag:slipway-lock-id", "Values": [command]}]
    found = client.describe_security_groups(Filters=filters)["SecurityGroups"]
    for group in found:
        client.delete_security_group(GroupId=group["GroupId"])
    return bool(found)


def _client(connection: Mapping[str, Any]) -> Any:
    # Not before it is needed: they take half a second, and much memory.
    import boto3
    from botocore.config import Config

    if connection.get("profile") == "":
        # boto3 fails if the shell's profile is not one of its configuration's, whatever credentials it is given.
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
    names = {"aws_access_key_id": "access_key", "aws_secret_access_key": "secret_key", "aws_session_token": "session_token"}
    given = {name: connection.get(key) or None for name, key in names.items()}
    session = boto3.Session(profile_name=connection.get("profile") or None, region_name=connection.get("region"), **given)
    return session.client("ec2", endpoint_url=connection.get("endpoint_url"), config=Config(connect_timeout=5, read_timeout=30))


if __name__ == "__main__":
    main()
