"""The redis stand-in keeps the contract of the official image."""

import socket

import pytest

CONF = ("requirepass s3cret\nprotected-mode yes\n", 0o644)


@pytest.fixture(scope="module")
def server(start, volume):
    """An option alone means redis-server with that option."""
    box = start("redis", "--appendonly", "yes", publish=6379, volumes=[f"{volume}:/data"])
    return box.wait("redis-cli", "ping")


def test_server_is_pid_1_as_redis_in_data(server):
    assert server.command_line()[0].startswith("redis-server")
    assert server.status("Uid")[0] == server.status("Gid")[0] == "999"
    assert server.out("readlink", "/proc/1/cwd", user="redis") == "/data"
    assert server.out("redis-cli", "info", "server").count("redis_version:7.0.") == 1


def test_reachable_from_outside_without_protected_mode(server):
    with socket.create_connection(("127.0.0.1", server.port(6379)), timeout=10) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(64) == b"+PONG\r\n"


def test_data_outlives_the_container(server, start, volume):
    server.out("redis-cli", "set", "kept", "yes")
    assert server.out("stat", "-c", "%a %U", "/data/appendonlydir/appendonly.aof.1.incr.aof") == "600 redis"
    assert server.stop() == 0
    again = start("redis", "redis-server", "--appendonly", "yes", volumes=[f"{volume}:/data"])
    again.wait("redis-cli", "ping")
    assert again.out("redis-cli", "get", "kept") == "yes"


def test_config_file_alone_is_the_servers_and_its_password_is_required(start, notebook):
    box = start("redis", "/etc/redis-test.conf", files={"/etc/redis-test.conf": CONF})
    box.wait("redis-cli", "ping")
    assert "NOAUTH" in box.out("redis-cli", "get", "x")
    assert box.out("redis-cli", "config", "get", "protected-mode", REDISCLI_AUTH="s3cret").split()[1] == "yes"
    assert "s3cret" not in " ".join(box.command_line())
    address = box.container.attrs["NetworkSettings"]["IPAddress"]
    code = "import os, redis; print(redis.Redis(os.environ['HOST'], password='s3cret').ping())"
    assert notebook.out("python", "-c", code, HOST=address) == "True"


def test_other_commands_run_as_they_are(start):
    version, user = start("redis", "redis-server", "--version"), start("redis", "id", "-u")
    assert version.exit_code() == user.exit_code() == 0
    assert "v=7.0." in version.logs()
    assert user.logs().strip() == "0"
