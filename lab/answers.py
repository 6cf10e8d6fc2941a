"""Answers in the form of EC2's query API, and two that moto 5.2.5 gives otherwise than EC2."""

from __future__ import annotations

import base64
import contextlib
import http
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from moto.ec2.models import EC2Backend

from lab.config import LabError
from lab.rules import Params, RefusalError
from lab.world import World

BEHAVIOUR = "InstanceInitiatedShutdownBehavior.Value"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whole."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def json(cls, document: Any, status: str = "200 OK") -> Answer:
        return cls(status, (("Content-Type", "application/json"),), json.dumps(document).encode())

    @classmethod
    def xml(cls, text: str, status: str = "200 OK") -> Answer:
        return cls(status, (("Content-Type", "text/xml;charset=UTF-8"),), ('<?xml version="1.0" encoding="UTF-8"?>\n' + text).encode())

    @classmethod
    def response(cls, action: str, fields: str) -> Answer:
        """The answer to an action that moto does not carry out, or not as EC2 does."""
        name = f"{action}Response"
        request = f"<requestId>{uuid.uuid4()}</requestId>"
        return cls.xml(f'<{name} xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{request}{fields}</{name}>')

    @classmethod
    def error(cls, refusal: RefusalError) -> Answer:
        """An error in the form of EC2's query API."""
        words = f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(str(refusal))}</Message></Error>"
        text = f"<Response><Errors>{words}</Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
        return cls.xml(text, f"{refusal.status} {http.HTTPStatus(refusal.status).phrase}")


def console_output(params: Params, backend: EC2Backend) -> Answer:
    """GetConsoleOutput: what the host wrote to its console; of a host that is gone, what was read last."""
    instance: Any = backend.get_instance(params.get("InstanceId", ""))
    with contextlib.suppress(LabError):
        instance.console = World.hosts.console(instance.id)
    output = base64.b64encode(getattr(instance, "console", "").encode()).decode()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    fields = f"<instanceId>{instance.id}</instanceId><timestamp>{now}</timestamp><output>{output}</output>"
    return Answer.response("GetConsoleOutput", fields)


def set_behaviour(params: Params, backend: EC2Backend) -> Answer:
    """ModifyInstanceAttribute of the shutdown behaviour: moto 5.2.5 does not know this form, and takes the security groups away instead."""
    backend.modify_instance_attribute(params.get("InstanceId", ""), "instance_initiated_shutdown_behavior", params[BEHAVIOUR])
    return Answer.response("ModifyInstanceAttribute", "<return>true</return>")
