"""Gives a machine's lock in EC2 back when the command that has it has ended, however it ended.

Started by the play (slipway/callback/slipway_lock.py) as a process of its own. It waits until no process of the command holds the machine's
lock on this computer, and then removes the one in EC2, if it still is that command's. Its standard input is a JSON document: `lock`, the
file; `id`, the command's own; `connection`, as the AWS modules take it. So a command that is killed keeps no other computer out; if this
computer is switched off meanwhile, `unlock` does it. What it could not give back stands in `keeper.log`, beside the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

#: EC2 may not show for some seconds what was just made; and a command may have given it back by itself, or taken none.
_WAITS = (0, 2, 8)
#: This computer may have no network just now. Not in the lab: one that was removed meanwhile does not answer any more.
_LATER = (30, 120, 600)
#: Beside the lock: what could not be given back, and why.
_LOG = "keeper.log"
#: No credentials, or settings of the SDK that it cannot use.
_NO_WAY = ("ConfigParseError", "NoCredentialsError", "ProfileNotFound", "ValueError")
#: As the role ec2_instance has them (module_utils/ec2_once.py).
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


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
        if failure := _try(connection, told["id"]):
            line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} The lock of the command {told['id']} was not given back: {failure}"
            with path.with_name(_LOG).open("a") as log:
                log.write(" ".join(line.split()) + " To end it: python orchestrate.py unlock, with the options of that command.\n")


def _try(connection: Mapping[str, Any], command: str) -> str:
    """Give it back, again and again if need be; why that could not be done, if so."""
    missed, failure = 0, ""
    for seconds in (*_WAITS, *(() if connection.get("endpoint_url") else _LATER)):
        time.sleep(seconds)
        try:
            if give_back(connection, command):
                return ""
            missed, failure = missed + 1, ""
        except Exception as reason:
            if type(reason).__name__ in _NO_WAY:
                # So the command has taken none either. Each one would wait for a quarter of an hour here.
                return ""
            answer = getattr(reason, "response", None)
            # With a lab that does not answer any more its locks are gone too.
            failure = "" if connection.get("endpoint_url") and answer is None else str(reason) or repr(reason)
            if answer and answer["Error"]["Code"] in _DENIED:
                return failure
        if missed == len(_WAITS):
            return ""
    return failure


def give_back(connection: Mapping[str, Any], command: str) -> bool:
    """Remove the lock that this command has in EC2; whether it was there."""
    client = _client(connection)
    filters = [{"Name": "tag:slipway-lock-id", "Values": [command]}]
    found = client.describe_security_groups(Filters=filters)["SecurityGroups"]
    for group in found:
        client.delete_security_group(GroupId=group["GroupId"])
    return bool(found)


def _client(connection: Mapping[str, Any]) -> Any:
    # Not before they are needed: they take a second, and much memory. They read a connection as the modules do, aliases, ca bundle and all.
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
    from ansible_collections.amazon.aws.plugins.module_utils.botocore import boto3_inventory_conn, get_aws_connection_info
    from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
    from botocore.config import Config

    read = ArgumentSpecValidator(aws_argument_spec()).validate(dict(connection))
    if read.error_messages:
        raise ValueError("; ".join(read.error_messages))
    given = read.validated_parameters
    if given["profile"] == "":
        # boto3 fails if the shell's profile is not one of its configuration's, whatever credentials it is given.
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(name, None)
    region, endpoint, more = get_aws_connection_info(SimpleNamespace(params=given, fail_json=_fail))
    return boto3_inventory_conn("client", "ec2", region, endpoint, config=Config(connect_timeout=5, read_timeout=30), **more)


def _fail(msg: str, **_: Any) -> NoReturn:
    raise ValueError(msg)


if __name__ == "__main__":
    main()
