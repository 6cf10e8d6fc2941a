"""The EC2 API of the lab: moto's, behind EC2's own rules.

moto answers the requests. What it lets through and EC2 refuses is in rules.py, the faults that tests ask for in faults.py, and
the instances with their hosts in instances.py.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

# moto reads these when it is imported.
os.environ["MOTO_AMIS_PATH"] = str(Path(__file__).with_name("amis.json"))
os.environ["MOTO_ENABLE_AMI_VALIDATION"] = "true"

import docker
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from lab import (
    account,
    answers,
    asked_faults,
    disk_rules,
    disks,
    image_sets,
    instances,
    internet,
    machine_images,
    moto_changes,
    power,
    root_volumes,
    rules,
    shared_images,
    state,
    volumes,
)
from lab.answers import Answer
from lab.config import FAULTS, HOSTS, IDENTITY, Lab
from lab.disks import Disks
from lab.faults import LostReplyError
from lab.hosts import Hosts
from lab.rules import Params
from lab.world import World

log = logging.getLogger("lab.api")
requests_log = logging.getLogger("lab.requests")


#: What moto does not carry out as EC2 does. It refuses a dry run of these, and of all others, in EC2's words.
_OWN: Mapping[str, Callable[[Params, EC2Backend], str]] = {
    "CreateImage": lambda params, backend: f"<imageId>{machine_images.create(params, backend)}</imageId>",
    "RegisterImage": lambda params, backend: f"<imageId>{machine_images.register(params, backend)}</imageId>",
    "CreateReplaceRootVolumeTask": root_volumes.create,
    "DescribeReplaceRootVolumeTasks": root_volumes.describe,
}
#: What EC2 makes once of a name, however many ask for it at the same moment.
_ONCE = ("CreateKeyPair", "CreateSecurityGroup", "ImportKeyPair")
#: Of these moto 5.2.5 leaves the answer's `return` out.
_SILENT = ("UpdateSecurityGroupRuleDescriptionsEgress", "UpdateSecurityGroupRuleDescriptionsIngress")
#: How far the clock that an answer tells is ahead, by thread, which is by request.
_clock = threading.local()


class RequestHandler(MotoRequestHandler):
    """moto's, with the clock that a test asked for."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + getattr(_clock, "ahead", 0))

    def do_CONNECT(self) -> None:  # noqa: N802 (http.server's own name)
        internet.relay(self, World.lab)


class Application:
    """moto's WSGI application behind EC2's rules and the faults that tests ask for; changes are saved before they are answered."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._launching = threading.Lock()
        self._naming = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        params = {key: values[0] for key, values in parse_qs(body.decode(errors="replace"), keep_blank_values=True).items()}
        if rules.of_a_page(environ):
            answer = Answer.error(rules.RefusalError("AccessDenied", "A web page may not use the lab.", 403))
        elif environ["PATH_INFO"] == IDENTITY:
            answer = Answer.json(identity())
        elif environ["PATH_INFO"] == HOSTS:
            state.believe_hosts()
            answer = Answer.json(identity())
        elif environ["PATH_INFO"] == FAULTS:
            answer = _fault(body)
        elif said := account.answer(target := environ.get("HTTP_X_AMZ_TARGET", ""), body, World.faults.account):
            answer = Answer.json(said)
            _log_request(target.rpartition(".")[2], environ, json.loads(body), answer)
        elif "Action" not in params:
            return list(self._moto(environ, start_response))
        else:
            try:
                answer = self._ec2(params, environ)
            except LostReplyError:
                # werkzeug takes it for a client that left, and would keep the connection for its next request.
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise
        start_response(answer.status, list(answer.headers))
        return [answer.body]

    def _ec2(self, params: Params, environ: dict[str, Any]) -> Answer:
        _clock.ahead = 0
        action, logged = params["Action"], params
        region = _region(environ)
        try:
            if region not in ec2_backends[DEFAULT_ACCOUNT_ID]:
                raise rules.RefusalError("AuthFailure", "Credential should be scoped to a valid region.", 401)
            logged = _named(params, region)
            World.faults.before(action, params.get("DryRun") == "true")
            backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
            rules.check(action, params, backend)
            disk_rules.check(action, params, backend, World.lacking)
            if action == "DescribeImages" and shared_images.exchange(backend, World.images):
                state.save()
            if action == "RunInstances" and params.get("ClientToken"):
                answer = self._launch_once(params, environ)
            elif answers.BEHAVIOUR in params and action == "ModifyInstanceAttribute" and params.get("DryRun") != "true":
                answer = answers.set_behaviour(params, backend)
            elif action == "GetConsoleOutput":
                answer = answers.console_output(params, backend)
            elif action in _OWN and params.get("DryRun") != "true":
                answer = Answer.response(action, _OWN[action](params, backend))
            elif action in _ONCE:
                # moto looks and then makes, in as many threads as there are requests.
                with self._naming:
                    answer = self._through_moto(environ)
            else:
                answer = self._through_moto(environ)
                if action == "CreateTags":
                    shared_images.exchange(backend, World.images)
                if action in _SILENT and answer.status.startswith("200"):
                    answer = Answer.response(action, "<return>true</return>")
        except rules.RefusalError as refusal:
            _clock.ahead = getattr(refusal, "clock", 0)
            answer = Answer.error(refusal)
        except EC2ClientError as refusal:
            answer = Answer.error(rules.RefusalError(refusal.code, refusal.message))
        _log_request(action, environ, logged, answer)
        if not action.startswith(("Describe", "Get")):
            instances.follow_groups()
            instances.follow_metadata()
            state.save()
        # What was refused, as a dry run is, was not carried out.
        if answer.status.startswith("200"):
            World.faults.after(action)
        return answer

    def _launch_once(self, params: Params, environ: dict[str, Any]) -> Answer:
        """RunInstances with a client token: the same request again gets the first one's answer, and makes nothing.

        "Ensuring idempotency in Amazon EC2 API requests": a token counts in its region, or in the zone that the request names; the zone
        is no parameter that must be the same. IdempotentInstanceTerminated is of the API's list of error codes.
        """
        token, region = params["ClientToken"], _region(environ)
        backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
        key = (token, region, rules.zone(params, backend))
        asked = {name: value for name, value in params.items() if name not in ("Action", "Version", "Placement.AvailabilityZone")}
        with self._launching:
            known = World.launched.get(key)
            if known is None:
                answer = self._through_moto(environ)
                if answer.status.startswith("200"):
                    World.launched[key] = (asked, answer)
                return answer
        if known[0] != asked:
            raise rules.RefusalError("IdempotentParameterMismatch", f"The client token '{token}' was used with other parameters.")
        first: Answer = known[1]
        made = set(re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", first.body.decode()))
        if not any(item.id in made and item._state.name not in ("shutting-down", "terminated") for item in state.everyone()):
            raise rules.RefusalError("IdempotentInstanceTerminated", f"The instance of the client token '{token}' was terminated.")
        return first

    def _through_moto(self, environ: dict[str, Any]) -> Answer:
        said: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            said.extend((status, tuple(headers)))

        body = b"".join(self._moto(environ, start_response))
        return Answer(said[0], said[1], body)


def _region(environ: Mapping[str, Any]) -> str:
    """The region of the request's signature."""
    return _scope(environ)[0]


def _scope(environ: Mapping[str, Any]) -> tuple[str, str]:
    """The region and the service of the request's signature (Signature Version 4: Credential=KEY/DATE/REGION/SERVICE/aws4_request)."""
    found = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return (found[1], found[2]) if found else ("us-east-1", "ec2")


def _named(params: Params, region: str) -> Params:
    """The parameters with the name of the security group whose id they have: when the request is logged, it may be gone."""
    group = ec2_backends[DEFAULT_ACCOUNT_ID][region].get_security_group_by_name_or_id(params.get("GroupId", ""))
    return {**params, "GroupName": group.name} if group else params


def _log_request(action: str, environ: Mapping[str, Any], params: Params, answer: Answer) -> None:
    """A line a request, for tests and for the curious; what may be a secret or is long is left out."""
    code = re.search(rb"<Code>([^<]*)</Code>", answer.body)
    kept = {key: value for key, value in params.items() if key not in ("Action", "Version", "UserData", "PublicKeyMaterial")}
    region, service = _scope(environ)
    line = {"service": service, "action": action, "region": region, "params": kept, "error": code[1].decode() if code else None}
    requests_log.info("%s", json.dumps({"time": datetime.now(UTC).isoformat()} | line))


def _fault(body: bytes) -> Answer:
    try:
        asked_faults.take(body)
    except (KeyError, ValueError) as wrong:
        return Answer.json({"error": f"not a fault of lab/faults.py: {wrong!r}"}, "400 Bad Request")
    return Answer.json({})


def identity() -> dict[str, Any]:
    """Which lab this is, for a port may have passed to another one; and the instances whose hosts should run."""
    running = [item.id for item in state.everyone() if item._state.name == "running" and not item.halted]
    return {"lab": World.lab.id, "pid": os.getpid(), "running": running, "lacking": World.lacking}


def serve(lab: Lab, client: docker.DockerClient, host_image: str) -> None:
    """Answer on the lab's loopback port until SIGTERM. New instances are made from `host_image`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    requests_log.addHandler(logging.handlers.RotatingFileHandler(lab.root / "requests.jsonl", maxBytes=5_000_000, backupCount=1))
    requests_log.propagate = False
    World.lab = lab
    World.lacking = disks.lacking()
    World.images = image_sets.asked()
    real = None if World.lacking else Disks(lab)
    World.hosts = Hosts(lab, client, host_image, real)
    volumes.install(real, disks.base(host_image))
    moto_changes.install()
    state.restore()
    instances.follow_metadata()
    power.watch(client)
    server = make_server("127.0.0.1", lab.port, Application(), threaded=True, request_handler=RequestHandler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("EC2 API at %s", lab.endpoint)
    server.serve_forever()
    World.workers.shutdown(wait=True)
    state.save()
