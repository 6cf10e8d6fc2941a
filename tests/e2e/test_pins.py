"""What is pinned is checked: a package of another hash is not installed, and every pin has a hash."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.conftest import PROJECT

#: Of the Python lock: small, with no dependency, and the same file on every platform.
PACKAGE = "jmespath"


def install(lock: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As the Makefile installs the lock, into a folder of its own."""
    pip = [str(PROJECT / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command = [*pip, "--require-hashes", "--no-deps", "--target", str(target), "--requirement", str(lock)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def locked(package: str) -> str:
    """A package's lines of the lock."""
    found = re.search(rf"^{package}==.*(?:\n    --hash=.*)+", (PROJECT / "requirements.lock").read_text(), re.M)
    assert found
    return found[0] + "\n"


def test_a_package_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.lock", tmp_path / "wrong.lock"
    right.write_text(locked(PACKAGE))
    # One digit of each: the package may come as a wheel or as a source archive.
    wrong.write_text(re.sub(r"sha256:(.)", lambda found: "sha256:" + ("0" if found[1] != "0" else "1"), locked(PACKAGE)))
    done = install(right, tmp_path / "right")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "right" / PACKAGE).is_dir()
    refused = install(wrong, tmp_path / "wrong")
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "wrong" / PACKAGE).exists()


def test_every_pin_of_a_lock_has_a_hash() -> None:
    locks = [*PROJECT.glob("requirements*.lock"), *(PROJECT / "lab" / "images").glob("*/requirements.txt")]
    locks.append(PROJECT / "roles" / "stack" / "files" / "compose" / "jupyter" / "requirements.txt")
    assert len(locks) == 6
    for lock in locks:
        for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text().replace("\\\n", " ")):
            if entry and not entry.startswith("#"):
                assert re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), f"{lock}: {entry}"
    npm = json.loads((PROJECT / "lab" / "images" / "mongo" / "package-lock.json").read_text())["packages"]
    assert [name for name, facts in npm.items() if name and not facts.get("link") and not facts.get("integrity")] == []
