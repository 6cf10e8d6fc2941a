"""What is done about a store that cannot be read: at this moment, while users write, or at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.readers import fingerprints
from tests.modules import load

StoreError, PassingError = load("stack_store").StoreError, load("stack_store").PassingError
LOCKED, DENIED, GONE = PassingError("lock timeout"), StoreError("permission denied"), ConnectionResetError("server closed the connection")
HELD = {"mark": "1", "said": "1 key"}


class Reader:
    """Says this, the last for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def close(self) -> None: ...

    def read(self, _: str) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where each wait takes ten seconds, and none of ours."""
    now = [0.0]
    monkeypatch.setattr(fingerprints.time, "sleep", lambda _: now.__setitem__(0, now[0] + 10))
    monkeypatch.setattr(fingerprints.time, "monotonic", lambda: now[0])
    yield


@pytest.mark.parametrize(
    ("answers", "options", "wanted"),
    [
        ([HELD], {}, {"redis": HELD}),
        ([LOCKED, HELD], {}, {"redis": HELD}),
        ([LOCKED], {"busy": True}, {}),
        ([LOCKED], {}, "redis could not be read: lock timeout"),
        ([DENIED], {"busy": True}, "redis could not be read: permission denied"),
        ([DENIED], {"perhaps": {"redis"}}, {}),
        ([DENIED], {"without": {"redis"}}, {}),
        ([OSError("connection refused"), OSError("connection refused"), HELD], {}, {"redis": HELD}),
        ([OSError("connection refused")], {}, "redis does not answer after 60 s: connection refused"),
        # It may be reading that ends it: it is not done again and again.
        ([GONE, HELD], {}, {"redis": HELD}),
        ([GONE], {"busy": True}, "redis could not be read: server closed the connection"),
    ],
)
def test_a_store_is_read_left_out_or_refused(tmp_path: Path, answers: list[Any], options: dict[str, Any], wanted: Any) -> None:
    readers = fingerprints.Readers({}, str(tmp_path), 60)
    readers._readers = {"redis": Reader(*answers)}
    if isinstance(wanted, str):
        with pytest.raises(StoreError, match=wanted):
            readers.take(**options)
    else:
        assert readers.take(**options) == wanted


@pytest.mark.parametrize("lost", ["", "databases 1\n", "databases 1\nslipway end\n["])
def test_an_answer_of_psql_that_was_cut_off_is_asked_for_again(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = load("stack_store_postgres")
    monkeypatch.setattr(postgres, "client", lambda *_: lost)
    with pytest.raises(PassingError, match="cut off"):
        postgres.Postgres({"Id": "1"}, "").read("")
