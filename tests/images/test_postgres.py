"""The postgres stand-in keeps the contract of the official image."""

import gzip
import lzma

import pytest

PASSWORD = """it's "secret" $x"""
# A program of its own, which notes that the server listens on no address.
SCRIPT = """#!/bin/sh
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --command "INSERT INTO marks VALUES ('[' || current_setting('listen_addresses') || ']')"
"""
FILES = {
    "/run/password": (PASSWORD + "\n", 0o400),  # root's alone, as secrets often are
    "/docker-entrypoint-initdb.d/01.sql": ("CREATE TABLE marks (who text); INSERT INTO marks VALUES ('sql');", 0o644),
    "/docker-entrypoint-initdb.d/02.sql.gz": (gzip.compress(b"INSERT INTO marks VALUES ('gz');"), 0o644),
    "/docker-entrypoint-initdb.d/02.sql.xz": (lzma.compress(b"INSERT INTO marks VALUES ('xz');"), 0o644),
    "/docker-entrypoint-initdb.d/03.sh": ("docker_process_sql <<< \"INSERT INTO marks VALUES ('sourced')\"", 0o644),
    "/docker-entrypoint-initdb.d/04.sh": (SCRIPT, 0o755),
    "/docker-entrypoint-initdb.d/05.txt": ("ignored", 0o644),
}
ENVIRONMENT = {"POSTGRES_PASSWORD_FILE": "/run/password", "POSTGRES_USER": "app", "POSTGRES_DB": 'the "shop"'}
DATA = "/var/lib/postgresql/data"
MARKS = "SELECT string_agg(who, ',') FROM marks"


def psql(box, query, host="/var/run/postgresql", **options):
    return box.run(
        *("psql", "-XAtw", "-U", options.get("user", "app"), "-d", options.get("database", 'the "shop"')),
        *("-h", host, "-c", query),
        PGPASSWORD=options.get("password", ""),
    )


def address(box):
    return box.container.attrs["NetworkSettings"]["IPAddress"]


def started(box):
    """The server of the init phase listens on no address, so this answers only when the last one does."""
    return box.wait("pg_isready", "-h", "127.0.0.1")


@pytest.fixture(scope="module")
def server(start, volume):
    return started(start("postgres", files=FILES, environment=ENVIRONMENT, volumes=[f"{volume}:{DATA}"]))


def test_server_is_pid_1_as_postgres_without_the_secret(server):
    assert server.command_line()[0] == "postgres"
    assert server.status("Uid")[0] == server.status("Gid")[0] == "999"
    assert "secret" not in server.out("cat", "/proc/1/environ", user="postgres")
    assert server.container.image.attrs["Config"]["StopSignal"] == "SIGINT"
    assert server.out("stat", "-c", "%a %U", DATA) == "700 postgres"


def test_settings_are_the_official_ones(server):
    settings = {"listen_addresses": "*", "password_encryption": "scram-sha-256", "server_encoding": "UTF8"}
    settings |= {"unix_socket_directories": "/var/run/postgresql", "lc_collate": "en_US.utf8"}
    for name, value in settings.items():
        assert psql(server, f"SHOW {name}") == (0, value)
    assert psql(server, "SHOW server_version_num")[1].startswith("15")
    assert "CREATE TABLE" in server.out("pg_dump", "-U", "app", "-d", 'the "shop"')


def test_password_is_required_over_tcp(server, notebook):
    assert psql(server, "SELECT 1", host=address(server), password=PASSWORD) == (0, "1")
    for wrong in ("", "wrong"):
        code, output = psql(server, "SELECT 1", host=address(server), password=wrong)
        assert code != 0 and "password" in output
    code = """if True:
        import os, sqlalchemy
        url = sqlalchemy.URL.create("postgresql+psycopg2", "app", os.environ["PASSWORD"], os.environ["HOST"], None, 'the "shop"')
        print(sqlalchemy.create_engine(url).connect().exec_driver_sql("SELECT count(*) FROM marks").scalar())
        """
    assert notebook.out("python", "-c", code, HOST=address(server), PASSWORD=PASSWORD) == "5"


def test_init_ran_once_against_a_server_on_its_socket(server, start, volume):
    assert psql(server, MARKS) == (0, "sql,gz,xz,sourced,[]")
    assert server.stop() == 0
    again = started(start("postgres", files=FILES, environment=ENVIRONMENT, volumes=[f"{volume}:{DATA}"]))
    assert "was not properly shut down" not in again.logs()
    assert psql(again, MARKS) == (0, "sql,gz,xz,sourced,[]")


def test_no_password_and_failing_init_exit_non_zero(start):
    bad = {"/docker-entrypoint-initdb.d/01.sql": ("SELECT 1/0;", 0o644)}
    failing = start("postgres", files=bad, environment={"POSTGRES_PASSWORD": "x"})
    without = start("postgres")
    assert without.exit_code() != 0 and "POSTGRES_PASSWORD" in without.logs()
    assert failing.exit_code() != 0 and "division by zero" in failing.logs()


def test_trust_initdb_arguments_and_options_are_obeyed(start):
    environment = {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_INITDB_ARGS": "--data-checksums"}
    box = started(start("postgres", "-c", "max_connections=17", environment=environment))
    for query, answer in {"SHOW data_checksums": "on", "SHOW max_connections": "17"}.items():
        assert psql(box, query, host=address(box), user="postgres", database="postgres") == (0, answer)
