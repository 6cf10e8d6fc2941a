"""What people and programs read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from slipway import render
from slipway.model import Exit, Failure
from tests.unit.test_runner_parse import RECORDED, result

UP = next(path for path in RECORDED if path.stem == "up-again")


def document() -> dict[str, Any]:
    return render.status_document("lab", result(UP).published, "http://127.0.0.1:8888/lab?token=t")


def text_of(status: dict[str, Any]) -> str:
    return render.status_text(status, lambda verb: f"python orchestrate.py {verb} --name x")


def test_the_document_has_what_its_page_promises() -> None:
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    status = json.loads(render.as_json(document()))
    assert list(status) == [
        "target",
        "instance",
        "engine",
        "disks",
        "stack_state",
        "services",
        "volumes",
        "out_of_memory",
        "stacks",
        "fit",
        "burst",
        "exposure",
        "runs",
        "url",
        "certificate_sha256",
    ]
    for fields in (status, status["instance"], status["services"]["redis"]):
        for name in fields:
            assert f"`{name}`" in page or f'"{name}"' in page, name


def test_status_names_the_instance_each_service_and_the_url() -> None:
    text = text_of(document())
    lines = text.splitlines()
    assert "t2.micro  running for" in lines[0]
    assert "(private 10." in lines[1]
    assert [line.split()[:3] for line in lines[2:6]] == [[name, "running", "healthy"] for name in ("jupyter", "mongo", "postgres", "redis")]
    assert lines[-1] == "Jupyter   http://127.0.0.1:8888/lab?token=t"


def test_by_tls_the_fingerprint_follows_the_url() -> None:
    published = dict(result(UP).published) | {"exposure": "public", "certificate_sha256": "AB:CD"}
    lines = text_of(render.status_document("lab", published, "https://198.18.0.57/lab?token=t")).splitlines()
    assert lines[-2:] == ["Jupyter   https://198.18.0.57/lab?token=t", "Its certificate has the SHA-256 fingerprint AB:CD"]


def test_status_says_what_to_type_next() -> None:
    whole = document()
    assert "orchestrate.py open" in text_of(whole | {"url": None})
    stopped = whole | {"instance": whole["instance"] | {"state": "stopped", "public_ip": None}, "services": {}}
    assert "Address   none" in text_of(stopped)
    assert text_of(stopped).endswith("python orchestrate.py up --name x")
    assert "No instance (target aws)" in text_of(render.status_document("aws", {"instance": None}, None))


def test_an_engine_that_does_not_answer_is_told() -> None:
    text = text_of(document() | {"engine": "/var/run/docker.sock: Connection refused", "services": {}, "url": None})
    assert "Engine    does not answer: /var/run/docker.sock: Connection refused. Start it with: python orchestrate.py up" in text
    assert "tunnel" not in text


def test_a_service_that_died_for_memory_is_called_so() -> None:
    whole = document()
    whole["services"]["redis"] |= {"state": "exited", "health": "none", "out_of_memory": True, "memory_used_mib": None}
    line = next(line for line in text_of(whole).splitlines() if "redis" in line)
    assert line.endswith("out of memory")
    assert "    - of 61 MiB" in line


def test_why_a_service_is_not_healthy_stands_below_it() -> None:
    whole = document()
    whole["services"]["redis"] |= {"health": "unhealthy", "reason": "no \x1b[1mroom"}
    lines = text_of(whole).splitlines()
    line = next(number for number, line in enumerate(lines) if "unhealthy" in line)
    assert lines[line + 1].strip() == "no ?[1mroom"


def test_a_type_that_would_fit_is_named_where_it_is_known() -> None:
    whole = document()
    assert "twice its limit" not in text_of(whole)
    fit = {"memory_mib": 1694, "type": "t2.small", "raise_mib": None, "commands": []}
    assert "twice its limit on t2.small (1694 MiB or more)" in text_of(whole | {"fit": fit})
    assert "twice its limit on a machine of 1694 MiB or more" in text_of(whole | {"fit": fit | {"type": None}})


def test_bad_input_is_told_alone_and_a_failure_with_its_place_and_log() -> None:
    assert render.failure(Failure("t", "h", "field: x", Exit.BAD_INPUT), Path("/log"), "python orchestrate.py up") == "field: x"
    text = render.failure(Failure("Wait", "h", "silence", Exit.FAILED), Path("/log"), "python orchestrate.py up")
    for words in ("Wait", "silence", "python orchestrate.py up", "/log"):
        assert words in text


def test_progress_tells_what_changed() -> None:
    stream = io.StringIO()
    progress = render.Progress(stream)
    kept = json.loads(next(path for path in RECORDED if path.stem == "up-new").read_text())
    for event in kept["events"]:
        progress.event(event)
    lines = stream.getvalue().splitlines()
    # The one that makes the secrets says nothing of itself, not even that it changed something.
    assert len(lines) == result(next(path for path in RECORDED if path.stem == "up-new")).changed - 1
    assert lines[-1].endswith("tunnel: Open the tunnel: changed")


def test_progress_repeats_the_warnings_of_the_projects_own_modules() -> None:
    stream = io.StringIO()
    progress = render.Progress(stream)
    for action in ("ec2_look", "amazon.aws.ec2_security_group", "ansible.builtin.command"):
        data = {"task": "t", "task_action": action, "res": {"changed": False, "warnings": [f"by {action}"]}}
        progress.event({"event": "runner_on_ok", "event_data": data})
    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == ["WARNING: by ec2_look"]


def test_progress_repeats_what_a_role_says_as_it_goes() -> None:
    stream = io.StringIO()
    data = {"task": "Say how much is sent", "task_action": "ansible.builtin.debug", "res": {"changed": False, "msg": "12 files"}}
    render.Progress(stream).event({"event": "runner_on_ok", "event_data": data})
    assert stream.getvalue().partition("] ")[2] == "12 files\n"


def test_the_token_is_read_from_its_file_only(tmp_path: Path) -> None:
    token = tmp_path / "jupyter_token"
    assert render.url_with_token("http://127.0.0.1:1/lab", token) == "http://127.0.0.1:1/lab"
    token.write_text("secret\n")
    assert render.url_with_token("http://127.0.0.1:1/lab", token) == "http://127.0.0.1:1/lab?token=secret"
    assert render.url_with_token(None, token) is None
    token.write_text("a secret&with#signs\n")
    assert render.url_with_token("http://127.0.0.1:1/lab", token) == "http://127.0.0.1:1/lab?token=a%20secret%26with%23signs"


def test_whose_lock_it_was_is_shown_without_what_a_terminal_would_obey() -> None:
    holder = {"id": "1", "computer": "lap\x1b[2Jtop", "command": "orchestrate.py up", "since": ""}
    document = {"target": "aws", "name": "x", "holder": holder, "ended": True}
    assert render.unlock_text(document).endswith("had: orchestrate.py up of the computer lap?[2Jtop, since ?.")
    assert render.unlock_text(document | {"ended": False}).startswith("The machine x is locked by")
    assert render.unlock_text(document | {"holder": None, "ended": False}) == "Nothing to end: no command has the lock of the machine x."
