"""Which port of this computer a tunnel takes, and what is said of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from slipway import arguments
from slipway.model import Exit, RefusalError
from tests.modules import load, read

rules, sockets = load("tunnel_port"), load("tunnel_sockets")
tunnel = read("roles", "tunnel", "library", "ssh_tunnel.py")


@pytest.mark.parametrize(
    ("remembered", "first", "promised", "begins", "count"),
    [
        # For the first time: the first one, but for those that other tunnels come back to.
        (None, 8888, set(), [8888, 8889, 8890], 100),
        (None, 8888, {8888, 8890, None}, [8889, 8891, 8892], 98),
        # Then the one that it had, whatever else is free; and, if a program has taken that, those after it.
        (8890, 8888, {8888}, [8890, 8891, 8892], 101),
        (8890, 8888, {8890, 8891}, [8890, 8892, 8893], 101),
        # One that the user chose at the end of the range, and then from the first again.
        (65535, 8888, set(), [65535, 8888, 8889], 101),
        (65534, 8888, {65535}, [65534, 8888, 8889], 101),
        (None, 65535, set(), [65535], 1),
        (None, 65535, {65535}, [], 0),
    ],
)
def test_ports_are_tried_in_this_order(remembered: int | None, first: int, promised: set[int], begins: list[int], count: int) -> None:
    found = rules.candidates(remembered, first, promised)
    assert found[: len(begins)] == begins
    assert len(found) == len(set(found)) == count


@pytest.mark.parametrize(
    ("wanted", "promised", "free", "code", "said"),
    [
        (9000, set(), True, None, ""),
        (1024, set(), True, None, ""),
        (65535, set(), True, None, ""),
        (1023, set(), True, 2, "1023 cannot be used. Allowed: 1024 to 65535"),
        (-1, set(), True, 2, "-1 cannot be used"),
        (65536, set(), False, 2, "65536 cannot be used"),
        (9000, {9000}, True, 3, "Port 9000 of this computer belongs to another tunnel"),
        (9000, {9001}, False, 3, "Port 9000 of this computer is taken by another program"),
    ],
)
def test_a_chosen_port_is_used_or_refused_by_name(wanted: int, promised: set[int], free: bool, code: int | None, said: str) -> None:
    found = rules.refusal(wanted, promised, free)
    assert (found and found[1]) == code
    assert not found or (said in found[0] and "Nothing was changed." in found[0])


@pytest.mark.parametrize(
    ("taken", "page", "said"),
    [
        ([], "Jupyter", ""),
        (
            [8888],
            "Jupyter",
            "Port 8888 of this computer is taken by another program. Jupyter is now at URL, and stays there. To choose a port: ",
        ),
        ([8888, 8890], "Jupyter", "Port 8888 of this computer (and 1 after it) is taken"),
        ([9181], "The monitor", "The monitor is now at URL, and stays there."),
    ],
)
def test_a_changed_url_is_said_in_one_line(taken: list[int], page: str, said: str) -> None:
    line = rules.told(taken, "URL", page)
    assert line.startswith(said) if taken == [] or page == "Jupyter" else line.endswith(said)
    assert "\n" not in line


@contextmanager
def listening(family: int, address: str, **options: int) -> Iterator[int]:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options.get("only", 0))
        server.bind((address, 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def just_closed() -> Iterator[int]:
    """A port in TIME_WAIT: the server's end was closed first."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = socket.create_connection(server.getsockname())
        served, _ = server.accept()
        port = server.getsockname()[1]
        served.close()
        client.close()
        server.close()
        yield port


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        (lambda: listening(socket.AF_INET, "127.0.0.1"), False),
        (lambda: listening(socket.AF_INET, "0.0.0.0"), False),  # noqa: S104 (as another program may)
        (lambda: listening(socket.AF_INET6, "::"), False),
        # The URL names 127.0.0.1: a port of the other loopback alone is no obstacle.
        (lambda: listening(socket.AF_INET6, "::1", only=1), True),
        (just_closed, True),
    ],
    ids=["127.0.0.1", "0.0.0.0", "::", "::1", "TIME_WAIT"],  # noqa: S104
)
def test_a_port_is_free_if_no_program_listens_there(taken: Callable[[], ExitStack], free: bool) -> None:
    with taken() as port:
        assert tunnel.is_free(port) is free


@pytest.mark.parametrize(
    "word", ["0", "80", "1023", "65536", "99999", "080", "8888x", "", " 8888", "8888\n", "-1", "8_888", "٨٨٨٨", "{{ 8888 }}", "x" * 300]
)
def test_a_port_is_a_number_that_needs_no_privilege(word: str) -> None:
    with pytest.raises(RefusalError) as refused:
        arguments.variables(arguments.parse(["open", f"--local-port={word}"]))
    assert refused.value.code is Exit.BAD_INPUT


def test_the_port_reaches_the_role() -> None:
    assert arguments.variables(arguments.parse(["open", "--local-port", "9000"])) == {"tunnel_wanted_port": 9000}


@pytest.mark.parametrize(
    ("home", "place"),
    [
        ("/root", "/root/.ssh"),
        ("/home/mé", "/home/mé/.ssh"),
        # ssh reads %h and the like, variables and quotes in it; and a socket's path has an end.
        *((f"/home/a{mark}b", "/tmp/slipway-7") for mark in ("%", " ", "'", "{", "$", '"')),  # noqa: S108 (not made here)
        (f"/home/{'x' * 58}", f"/home/{'x' * 58}/.ssh"),
        (f"/home/{'x' * 59}", "/tmp/slipway-7"),  # noqa: S108 (not made here)
        (f"/home/{'é' * 30}", "/tmp/slipway-7"),  # noqa: S108 (not made here)
    ],
)
def test_sockets_lie_where_ssh_can_use_them(home: str, place: str) -> None:
    assert sockets.place(home, 7) == place
