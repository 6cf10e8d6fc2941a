"""The files of docker/postgres, as the role runs them: to their end, or with the file and the line that failed."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.images.boxes import Box

HERE = PROJECT / "roles" / "stack" / "files" / "compose" / "postgres"
COMMAND = ("postgres", "-c", "shared_buffers=31MB", "-c", "hba_file=/slipway/pg_hba.conf")
DATA = "/var/lib/postgresql/data"
#: EX_CONFIG of sysexits.h: PostgreSQL does not start over what is half-made.
HALF = 78
TABLE = ("CREATE TABLE marks (who text);", 0o644)
#: Run in the order of their names, and each leaves its mark.
GOOD: dict[str, tuple[str | bytes, int]] = {
    "10-no-semicolon.sql": ("INSERT INTO marks VALUES ('10') -- the last", 0o644),
    "20-packed.sql.gz": (gzip.compress(b"INSERT INTO marks VALUES ('20');"), 0o644),
    "21-packed.sql.xz": (lzma.compress(b"INSERT INTO marks VALUES ('21');"), 0o644),
    "30-includes it's.sql": ("\\ir parts/a.SQL\n\\ir ../../data/b.sql\n\\i /data/b.sql\n", 0o644),
    "40-export.sh": ("export MARK=40\n(exit 0)\nif true; then return 0; fi\nno-such-command\n", 0o644),
    "41-sourced.sh": ("docker_process_sql <<< \"INSERT INTO marks VALUES ('$MARK')\"", 0o644),
    "42-executed.sh": ("#!/bin/sh\npsql -U slipway -c \"INSERT INTO marks VALUES ('42')\"\nexit 0\n", 0o755),
    "43-superuser.sh": ('#!/bin/sh\npsql -U "$POSTGRES_USER" -c "COPY marks FROM PROGRAM \'echo 43\'"\n', 0o755),
    "50-copy.sql": ("COPY marks FROM stdin;\n50\n\\.\n", 0o644),
    "60-windows.sql": ("\ufeffINSERT INTO marks VALUES ('60');\r\nCOPY marks FROM stdin;\r\n61\r\n\\.\r\n", 0o644),
    "70-transaction.sql": ("BEGIN;\nINSERT INTO marks VALUES ('70');\nCOMMIT;\n\\connect postgres\nSELECT 1", 0o644),
    "80-empty.sql": ("", 0o644),
    "90-capitals.SQL": ("SELECT nonsense;", 0o644),
    "README.md": ("x", 0o644),
}
BAD: dict[str, tuple[str, str | bytes, int, str]] = {
    "an error": ("10-x.sql", "SELECT 1;\nSELECT nonsense;\n", 0o644, 'psql:docker/postgres/10-x.sql:2: ERROR:  column "nonsense" does not'),
    "packed": ("10-x.sql.gz", gzip.compress(b"SELECT 1;\nSELECT nonsense;\n"), 0o644, "psql:docker/postgres/10-x.sql.gz:2: ERROR:"),
    "quit": ("10-x.sql", "SELECT 1;\n\\q\nSELECT 2;\n", 0o644, "docker/postgres/10-x.sql:2:\\q"),
    "copy": (
        "10-x.sql",
        "COPY marks FROM stdin;\n1\nCREATE TABLE lost (a int);\n",
        0o644,
        "docker/postgres/10-x.sql:1:COPY marks FROM stdin",
    ),
    # psql 15 ends there, with 0.
    "an empty query": ("10-x.sql", "COPY marks FROM stdin;\n1\n\\.\n;\nSELECT 2;\n", 0o644, "psql did not come to its end"),
    "cut off": ("10-x.sql.gz", gzip.compress(b"SELECT 1;\n" * 9)[:-9], 0o644, "gzip: stdin: unexpected end of file"),
    "no commit": ("10-x.sql", "BEGIN;\nINSERT INTO marks VALUES ('lost');\n", 0o644, "its last transaction was not ended"),
    "exit": ("10-x.sh", "true\nif true; then exit 0; fi\n", 0o644, 'docker/postgres/10-x.sh:2: "exit 0" cannot be used'),
    "sourced": ("10-x.sh", "true\n\nfalse\n", 0o644, "docker/postgres/10-x.sh:3: failed with exit code 1"),
    "executed": ("10-x.sh", "#!/bin/bash\nset -e\nfalse\n", 0o755, "docker/postgres/10-x.sh: failed with exit code 1"),
}


@pytest.fixture(scope="module")
def postgres(start: Callable[..., Box]) -> Callable[..., Box]:
    """A server whose docker/postgres has these files."""

    def make(scripts: dict[str, Any], **options: Any) -> Box:
        files = {f"/project/{name}": found for name, found in ({"00.sql": TABLE} | scripts).items()}
        files |= {
            "/project/parts/a.SQL": ("INSERT INTO marks VALUES ('a');", 0o644),
            "/data/b.sql": ("INSERT INTO marks VALUES ('b');", 0o644),
        }
        files |= {f"/slipway/{path.name}": (path.read_text(), 0o644) for path in HERE.iterdir() if path.is_file()}
        files |= {"/docker-entrypoint-initdb.d/project.sh": ((HERE / "init" / "project.sh").read_text(), 0o644)}
        environment = {"POSTGRES_USER": "slipway_superuser", "POSTGRES_DB": "slipway", "POSTGRES_PASSWORD": "x"}
        # As compose.postgres.yml has it.
        least = {"cap_drop": ["ALL"], "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}
        return start("postgres", *COMMAND, files=files, environment=environment, entrypoint=["sh", "/slipway/start.sh"], **least, **options)

    return make


def marks(box: Box) -> str:
    return box.out("psql", "-XAtq", "-U", "slipway", "-c", "SELECT string_agg(who, ',') FROM marks")


def test_every_file_is_run_to_its_end_and_once(postgres: Callable[..., Box], volume: str) -> None:
    box = postgres(GOOD, volumes=[f"{volume}:{DATA}"]).wait("pg_isready", "-h", "127.0.0.1")
    expected = "10,20,21,a,b,b,40,42,43,50,60,61,70"
    assert marks(box) == expected
    assert box.stop() == 0
    again = postgres(GOOD, volumes=[f"{volume}:{DATA}"]).wait("pg_isready", "-h", "127.0.0.1")
    assert marks(again) == expected
    # A volume of an earlier version has no such mark, and has served.
    again.out("rm", f"{DATA}/slipway_init_ended")
    again.container.restart(timeout=20)
    again.wait("pg_isready", "-h", "127.0.0.1")


def test_what_fails_or_ends_half_way_is_named_and_never_served(postgres: Callable[..., Box]) -> None:
    # All at once: most of the time is initdb's.
    boxes = {kind: postgres({BAD[kind][0]: BAD[kind][1:3]}) for kind in BAD}
    wrong = []
    for kind, box in boxes.items():
        codes = [box.exit_code()]
        box.container.start()
        codes.append(box.exit_code())
        said = box.logs()
        # The second start says it again, and serves nothing.
        if codes != [HALF, HALF] or said.count(BAD[kind][3]) != 2 or "Make it again with: orchestrate.py reseed" not in said:
            wrong.append(f"{kind}: {codes}, without {BAD[kind][3]!r}: {said[-1500:]}")
    assert not wrong, "\n".join(wrong)


def test_a_first_start_that_was_cut_off_is_not_taken_for_a_whole_one(postgres: Callable[..., Box]) -> None:
    """By a script that replaces the shell, and by a power cut before the first file."""
    replaced = postgres({"10-x.sh": ("exec true\n", 0o644), "20-y.sql": ("SELECT 1;", 0o644)})
    cut = postgres({"00.sql": ("SELECT pg_sleep(60);", 0o644)})
    replaced.exit_code()
    replaced.container.start()
    assert replaced.exit_code() == HALF
    assert "docker/postgres/10-x.sh did not come to its end" in replaced.logs()
    cut.wait("test", "-s", f"{DATA}/postmaster.opts")
    cut.wait("test", "-e", f"{DATA}/slipway_init_began")
    # As if it had come a moment earlier.
    cut.out("rm", f"{DATA}/slipway_init_began")
    cut.container.kill()
    cut.container.start()
    assert cut.exit_code() == HALF
    assert "cut off before the files in docker/postgres were run" in cut.logs()
