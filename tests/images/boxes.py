"""A container under test, and the label of all of them."""

from __future__ import annotations

import time

from docker.models.containers import Container

LABELS = {"slipway.test": "1"}


class Box:
    """A container under test."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def run(self, *command: str, user: str = "", **environment: str) -> tuple[int, str]:
        """Runs a command in the container; returns its exit code and everything that it printed."""
        code, output = self.container.exec_run(command, user=user, environment=environment)
        return code, output.decode(errors="replace").strip()

    def out(self, *command: str, user: str = "", **environment: str) -> str:
        code, output = self.run(*command, user=user, **environment)
        assert code == 0, f"{command} gave {code}: {output}"
        return output

    def wait(self, *command: str, seconds: float = 60, **environment: str) -> Box:
        """Waits until the command succeeds in the container."""
        deadline = time.monotonic() + seconds
        while True:
            self.container.reload()
            assert self.container.status == "running", self.logs()
            code, output = self.run(*command, **environment)
            if code == 0:
                return self
            assert time.monotonic() < deadline, f"{command} still gave {code}: {output}\n{self.logs()}"
            time.sleep(0.3)

    def wait_healthy(self, seconds: float = 90) -> Box:
        deadline = time.monotonic() + seconds
        while self.container.attrs["State"]["Health"]["Status"] != "healthy":
            assert self.container.status == "running" and time.monotonic() < deadline, self.logs()
            time.sleep(0.3)
            self.container.reload()
        return self

    def exit_code(self, seconds: int = 60) -> int:
        return int(self.container.wait(timeout=seconds)["StatusCode"])

    def stop(self) -> int:
        """Sends the image's stop signal; returns the exit code: 137 if the server did not hear it."""
        self.container.stop(timeout=20)
        return self.exit_code()

    def logs(self) -> str:
        return str(self.container.logs().decode(errors="replace"))

    def port(self, port: int) -> int:
        """The port of 127.0.0.1 that leads to a published port of the container."""
        self.container.reload()
        return int(self.container.ports[f"{port}/tcp"][0]["HostPort"])

    def status(self, key: str, pid: int = 1) -> list[str]:
        """A line of /proc/PID/status, such as Uid."""
        lines = self.out("cat", f"/proc/{pid}/status").splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(key + ":"))

    def command_line(self) -> list[str]:
        return self.out("cat", "/proc/1/cmdline").rstrip("\0").split("\0")
