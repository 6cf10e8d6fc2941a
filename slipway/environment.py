"""The environment of what Slipway starts: the user's shell, without what would harm. docs/computers.md says which variables count.

make and orchestrate.py enter it first of all, so this file needs nothing but Python: `python3 -I slipway/environment.py COMMAND …`.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

#: How names begin that are settings of a program that Slipway starts -> those that count all the same.
GROUPS: Mapping[str, frozenset[str]] = {
    # Slipway's plays are its own. Without a password an encrypted file of variables could not be read.
    "ANSIBLE_": frozenset({"ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_IDENTITY_LIST"}),
    # Where packages come from and the way to them; where they go is Slipway's.
    "PIP_": frozenset(
        f"PIP_{name}"
        for name in (
            *("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "TRUSTED_HOST", "CERT", "CLIENT_CERT", "PROXY", "TIMEOUT"),
            *("DEFAULT_TIMEOUT", "RETRIES", "CACHE_DIR", "NO_CACHE_DIR", "KEYRING_PROVIDER", "USE_FEATURE", "NO_INPUT", "CONFIG_FILE"),
        )
    ),
    "PYTHON": frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED"}),
    "COMPOSE_": frozenset(),
    "DOCKER_": frozenset({"DOCKER_HOST", "DOCKER_CONFIG"}),
    "BUILDKIT_": frozenset(),
    "BUILDX_": frozenset(),
    "RSYNC_": frozenset(),
    "LC_": frozenset(),
    # Functions that bash has exported, which come before programs.
    "BASH_FUNC_": frozenset(),
}
#: What does not count besides: settings of shells, make and GNU's programs, and languages. LC_ALL is set below.
ALONE = frozenset(
    (
        *("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "CDPATH", "GLOBIGNORE", "POSIXLY_CORRECT", "GREP_OPTIONS", "TAR_OPTIONS"),
        *("MAKEFLAGS", "MFLAGS", "MAKEFILES", "GNUMAKEFLAGS", "LANG", "LANGUAGE", "SSH_ASKPASS_REQUIRE"),
    )
)
#: Only with an engine that is named.
_OF_HOST = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
#: pip's options that count wherever its settings files have them.
_OF_PIP = {name.removeprefix("PIP_").lower().replace("_", "-"): name for name in GROUPS["PIP_"] - {"PIP_CONFIG_FILE"}}
_LOOPBACK = ("127.0.0.1", "localhost")
#: What a checkout's folder may not have in its name, and why. PATH, ssh's settings, Python's scripts and Ansible's templates read paths.
_REFUSED = {
    ":": "separates folders in PATH",
    '"': "ends a name in settings of SSH",
    "\\": "is read as a mark in scripts and settings of SSH",
    "$": "begins a variable in scripts and settings of SSH",
    "`": "begins a command in scripts",
    **dict.fromkeys("[*?", "is a pattern of names for Ansible, which finds no module there"),
    "{{": "begins a template of Ansible",
    "{%": "begins a template of Ansible",
    "{#": "begins a template of Ansible",
}


def usable(folder: str) -> bool:
    """Whether this user can make files in the folder."""
    return Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)


def clean(shell: Mapping[str, str], usable: Callable[[str], bool] = usable) -> dict[str, str]:
    """What counts of the shell's variables, with what Slipway sets itself. Of its own result it changes nothing."""
    ours = {name: value for name, value in shell.items() if name not in ALONE and _counts(name, value)}
    temporary = shell.get("TMPDIR", "")
    if refusal(temporary) or not usable(temporary):
        # As Python does it; other programs fail.
        ours.pop("TMPDIR", None)
    if shell.get("DOCKER_HOST"):
        ours |= {name: shell[name] for name in _OF_HOST if name in shell}
    # A proxy knows nothing of this computer's loopback, where the lab and the tunnels are.
    given = f"{shell.get('no_proxy', '')},{shell.get('NO_PROXY', '')}".replace(" ", ",").split(",")
    # An asterisk means every host if it stands alone, and is no host's name in a list.
    direct = "*" if "*" in given else ",".join(dict.fromkeys([*filter(None, given), *_LOOPBACK]))
    # Ansible refuses to start without a UTF-8 locale; what programs say is read in English.
    return ours | {"NO_PROXY": direct, "no_proxy": direct, "LC_ALL": "C.UTF-8"}


def _counts(name: str, value: str) -> bool:
    # An empty one is no setting.
    return all(value and name in kept for start, kept in GROUPS.items() if name.startswith(start))


def for_pip(ours: Mapping[str, str], listed: str) -> dict[str, str]:
    """The environment of a pip whose settings files count in what `clean` lets count alone. `listed` is what `pip config list` prints."""
    found: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        # The order is that of the files; what stands in the section of the command comes after what all commands have.
        if section in ("global", "install") and option in _OF_PIP and (section == "install" or _OF_PIP[option] not in found):
            found[_OF_PIP[option]] = str(ast.literal_eval(value))
    return {**found, **ours, "PIP_CONFIG_FILE": os.devnull}


def for_play(shell: Mapping[str, str], target: str, encrypted: bool) -> dict[str, str]:
    """The environment of a play. `encrypted`: a file of variables is, by Ansible Vault.

    In the lab no setting of AWS counts: boto3 fails at a profile or a file that is wrong, whether or not it is used.
    """
    ours = clean(shell)
    if not encrypted:
        # Ansible fails where the file of a password is not there, whether or not it is used.
        ours = {name: value for name, value in ours.items() if not name.startswith("ANSIBLE_VAULT_")}
    if target == "lab":
        ours = {name: value for name, value in ours.items() if not name.startswith(("AWS_", "BOTO_", "EC2_"))}
        ours |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return ours


def refusal(folder: str) -> str | None:
    """Why Slipway cannot work in a folder of this name, in a line; None if it can."""
    # This Python may have been started in a language whose letters are others.
    folder = os.fsencode(folder).decode("utf-8", "surrogateescape")
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in folder)
    for mark, why in _REFUSED.items():
        if mark in folder:
            return f"{shown}: a path with {mark} cannot be used: it {why}."
    if shown != folder:
        return f"{shown}: a path with a line break, another control character or one that is no UTF-8 cannot be used."
    return None


def wrong(checkout: str, shell: Mapping[str, str], usable: Callable[[str], bool] = usable) -> str | None:
    """What must be mended before anything can be done, in a line; None if all is well."""
    if why := refusal(checkout):
        return f"{why} Move the checkout to another folder."
    home = shell.get("HOME")
    if home is not None:
        if why := refusal(home):
            return f"HOME: {why} Set HOME to another folder."
        if not usable(home):
            named = home or "the empty text"
            return f"HOME: {named} is no folder in which you can make files. Ansible and SSH need one. Set HOME to one that is."
    return links_refusal(checkout)


def links_refusal(folder: str) -> str | None:
    """Why the checkout's files are not as git has them; None if they are."""
    link = Path(folder, "inventory", "lab", "group_vars", "all", "common.yml")
    if link.exists() and not link.is_symlink():
        return f"{link} must be a symbolic link. Clone again with: git clone -c core.symlinks=true …"
    return None


def main(words: Sequence[str]) -> int:
    """Become the command in the environment of Slipway's own, or say in a line why the checkout cannot be used, and return 2."""
    if why := wrong(str(Path(__file__).absolute().parents[1]), os.environ):
        print(why, file=sys.stderr)
        return 2
    ours = clean(os.environ)
    if words[:1] == ["--pip"]:
        pip = [words[1], "-m", "pip"]
        words = [*pip, *words[2:]]
        listed = subprocess.run([*pip, "config", "list"], env=ours, capture_output=True, text=True, check=False).stdout
        ours = for_pip(ours, listed)
    os.execvpe(words[0], list(words), ours)  # noqa: S606 (to become that command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
