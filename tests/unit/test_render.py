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
    assert list(status) == ["target", "instance", "engine", "services", "url"]
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


def test_the_token_is_read_from_its_file_only(tmp_path: Path) -> None:
    token = tmp_path / "jupyter_token"
    assert render.url_with_token("http://127.0.0.1:1/lab", token) == "http://127.0.0.1:1/lab"
    token.write_text("secret\n")
    assert render.url_with_token("http://127.0.0.1:1/lab", token) == "http://127.0.0.1:1/lab?token=secret"
    assert render.url_with_token(None, token) is None
