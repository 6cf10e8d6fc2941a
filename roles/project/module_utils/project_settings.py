"""slipway.yml in, a plain dictionary with every setting out, or all that is wrong with it at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from ansible.module_utils.project_dockerfile import ALLOWED, unfit
from ansible.module_utils.project_seeds import look as look_at_seeds
from ansible.module_utils.project_text import Loader, TextError, decoded, plain, shown
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

FILE = "slipway.yml"
SERVICES = ("jupyter", "redis", "mongo", "postgres", "worker", "monitor")
STORES = ("redis", "mongo", "postgres")
KEYS = ("name", "services", "scale", "packages", "instance_type", "memory_mib", "job_seconds", "seeds", "postgres", "machines")
INSTANCE_TYPE = "t2.micro"
NAME = re.compile("[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
#: Its volumes and containers are called so.
RESERVED = "slipway"
NAME_ALLOWED = f"1 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last; {RESERVED} is the base stack's own"
MOST_WORKERS = 16
MOST_MIB = 10**7
#: That a running job has when its worker is stopped.
JOB_SECONDS, MOST_JOB_SECONDS = 60, 3600

_MACHINE = re.compile("[a-z][a-z0-9-]{0,9}")
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_TYPE_ALLOWED = "an instance type, t2.micro for one"
# A word that ends with a hyphen removes the package: apt-get(8). A name has at least two characters: Debian Policy 5.6.1.
_APT = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](=[A-Za-z0-9.+:~-]+)?")
_MOST_BYTES = 65536


class SettingsError(Exception):
    """Everything that is wrong with a project, a line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def read(project: Path) -> dict[str, Any]:
    """Return the settings of the project in this folder, with every default filled in. Raises SettingsError."""
    if not project.is_dir():
        raise SettingsError([f"{project} is no folder. Allowed: a project's folder, which `new NAME` makes."])
    found = load(project / FILE)
    reader = _Reader(project)
    settings = reader.settings(found)
    reader.check_folder(settings)
    if reader.wrong:
        raise SettingsError(reader.wrong)
    return settings


def load(file: Path) -> dict[Any, Any]:
    """Return what the file says, unchecked. Raises SettingsError."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise SettingsError([f"{file.parent} has no {FILE}. Make a project with: new NAME"]) from None
    except OSError as refusal:
        raise SettingsError([f"{FILE} cannot be read: {refusal.strerror}. Allowed: a file that you may read."]) from refusal
    if len(raw) > _MOST_BYTES:
        raise SettingsError([f"{FILE} has {len(raw)} bytes. Allowed: at most {_MOST_BYTES}."])
    try:
        found = yaml.load(decoded(raw), Loader)  # noqa: S506 (a safe loader)
    except TextError as wrong:
        raise SettingsError([f"{FILE} {wrong}"]) from wrong
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError([f"{FILE}:{where}: {wrong.problem or wrong.context}. Allowed: YAML of the keys {', '.join(KEYS)}."]) from wrong
    except (yaml.YAMLError, ValueError, RecursionError) as wrong:
        why = "it is nested too deeply" if isinstance(wrong, RecursionError) else str(wrong).partition("\n")[0]
        raise SettingsError([f"{FILE}: {why}. Allowed: YAML of the keys {', '.join(KEYS)}."]) from wrong
    if found is None:
        raise SettingsError([f"{FILE} is empty. Allowed: at least `services: [jupyter]`."])
    if not isinstance(found, dict):
        raise SettingsError([f"{FILE}: {shown(found)} cannot be used. Allowed: keys with values, of {', '.join(KEYS)}."])
    return found


class _Reader:
    """The rules, and what was found wrong by them."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.wrong: list[str] = []

    def settings(self, found: Mapping[Any, Any]) -> dict[str, Any]:
        self._known(found, "", KEYS)
        name = found.get("name", self.project.resolve().name)
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == RESERVED:
            hint = "" if "name" in found else " It is the folder's; the key `name` gives another."
            self._refuse("name", name, f"{NAME_ALLOWED}.{hint}")
        services = self._services("services", found, SERVICES)
        machines = self._machines(found.get("machines", {}), services)
        elsewhere = [store for machine in machines.values() for store in machine["services"]]
        self._cross(services, elsewhere)
        return {
            "name": name,
            # Always in the same order: the settings of the same services are the same.
            "services": [each for each in SERVICES if each in services],
            "scale": self._scale(found.get("scale", {}), services),
            "packages": self._packages(found.get("packages", {})),
            "instance_type": self._type("instance_type", found.get("instance_type", INSTANCE_TYPE)),
            "memory_mib": self._whole("memory_mib", found["memory_mib"], 1, MOST_MIB, f"1 to {MOST_MIB}, in MiB")
            if "memory_mib" in found
            else 0,
            "job_seconds": self._whole(
                "job_seconds", found.get("job_seconds", JOB_SECONDS), 0, MOST_JOB_SECONDS, f"0 to {MOST_JOB_SECONDS}, in seconds"
            ),
            "seeds": self._seeds(found.get("seeds", []), [*services, *elsewhere]),
            "postgres": self._postgres(found.get("postgres", {}), [*services, *elsewhere]),
            "machines": machines,
        }

    def check_folder(self, settings: Mapping[str, Any]) -> None:
        if not any(notebooks(self.project)):
            self.wrong.append("ipynb/ has no notebook. Allowed: at least one file ipynb/….ipynb.")
        dockerfile = self.project / "docker" / "jupyter" / "Dockerfile"
        if os.path.lexists(dockerfile):
            self._dockerfile(dockerfile)
        stores = [*settings["services"], *(store for each in settings["machines"].values() for store in each["services"])]
        # Where the services are wrong anyway, one may be this store under another name.
        known = not any(line.startswith(f"{FILE}: services:") for line in self.wrong)
        seeds = look_at_seeds(self.project)
        self.wrong += seeds.wrong
        if known and "postgres" not in stores and seeds.run:
            self._refuse(
                "services", settings["services"], f"postgres among them, for docker/postgres has {seeds.run[0]}; or remove that file."
            )

    def _refuse(self, field: str, value: Any, allowed: str) -> None:
        self.wrong.append(f"{FILE}: {field}: {shown(value)} cannot be used. Allowed: {allowed}")

    def _known(self, found: Mapping[Any, Any], prefix: str, keys: Sequence[str]) -> None:
        for key in found:
            if key not in keys:
                near = difflib.get_close_matches(str(key).lower(), keys, n=1)
                hint = f"Did you mean {near[0]}? " if near else ""
                self.wrong.append(f"{FILE}: {prefix}{plain(key)}: there is no such key. {hint}Allowed: {', '.join(keys)}.")

    def _mapping(self, field: str, value: Any, allowed: str) -> Mapping[Any, Any]:
        if isinstance(value, dict):
            return value
        self._refuse(field, value, f"{allowed}.")
        return {}

    def _list(self, field: str, value: Any, what: str) -> list[str]:
        """The strings of a list, each once."""
        if not isinstance(value, list):
            self._refuse(field, value, f"a list of {what}.")
            return []
        for each in value:
            if not isinstance(each, str):
                self._refuse(field, each, f'{what}, as text ("{plain(each)}" where that is meant).')
        words = [each for each in value if isinstance(each, str)]
        for each in dict.fromkeys(word for word in words if words.count(word) > 1):
            self._refuse(field, each, "each once.")
        return list(dict.fromkeys(words))

    def _services(self, field: str, found: Mapping[Any, Any], allowed: Sequence[str]) -> list[str]:
        if "services" not in found:
            self.wrong.append(f"{FILE}: {field}: it is missing. Allowed: a list of {', '.join(allowed)}.")
            return []
        words = self._list(field, found["services"], ", ".join(allowed))
        for word in words:
            if word not in allowed:
                near = difflib.get_close_matches(word.lower(), allowed, n=1)
                self._refuse(field, word, f"{', '.join(allowed)}." + (f" Did you mean {near[0]}?" if near else ""))
        if found["services"] == []:
            self._refuse(field, [], f"at least one of {', '.join(allowed)}.")
        return [word for word in words if word in allowed]

    def _cross(self, services: Sequence[str], elsewhere: Sequence[str]) -> None:
        if services and "jupyter" not in services:
            self._refuse("services", list(services), "jupyter among them.")
        for each in ("worker", "monitor"):
            if each in services and "redis" not in [*services, *elsewhere]:
                self._refuse("services", list(services), f"redis too, which {each} takes its jobs from.")

    def _machines(self, value: Any, services: Sequence[str]) -> dict[str, dict[str, Any]]:
        machines: dict[str, dict[str, Any]] = {}
        placed = dict.fromkeys(services, "services")
        for key, facts in self._mapping("machines", value, "keys of machines, each with its services").items():
            field = f"machines.{plain(key)}"
            if not isinstance(key, str) or not _MACHINE.fullmatch(key) or key.endswith("-"):
                self._refuse("machines", key, "keys of 1 to 10 lower-case letters, digits and hyphens, a letter first, no hyphen last.")
            facts = self._mapping(field, facts, "services, and an instance_type")
            self._known(facts, f"{field}.", ("services", "instance_type"))
            stores = self._services(f"{field}.services", facts, STORES)
            for store in stores:
                if store in placed:
                    self._refuse(f"{field}.services", store, f"each store at one place; {placed[store]} has it already.")
                placed.setdefault(store, f"{field}.services")
            machines[plain(key)] = {
                "services": [each for each in STORES if each in stores],
                "instance_type": self._type(f"{field}.instance_type", facts.get("instance_type", INSTANCE_TYPE)),
            }
        return machines

    def _scale(self, value: Any, services: Sequence[str]) -> dict[str, int]:
        scale = self._mapping("scale", value, f"worker: 1 to {MOST_WORKERS}")
        self._known(scale, "scale.", ("worker",))
        if "worker" not in services:
            if "worker" in scale:
                self._refuse("scale.worker", scale["worker"], "where worker is among the services.")
            return {}
        return {"worker": self._whole("scale.worker", scale.get("worker", 1), 1, MOST_WORKERS, f"1 to {MOST_WORKERS}")}

    def _packages(self, value: Any) -> dict[str, list[str]]:
        packages = self._mapping("packages", value, "pip and apt, each a list")
        self._known(packages, "packages.", ("pip", "apt"))
        pip = self._list("packages.pip", packages.get("pip", []), "requirements")
        apt = self._list("packages.apt", packages.get("apt", []), "Debian packages")
        self._each("packages.pip", pip, requirement_flaw)
        self._each("packages.apt", apt, lambda word: "" if _APT.fullmatch(word) else "a Debian package, with =VERSION at most")
        return {"pip": pip, "apt": apt}

    def _each(self, field: str, words: Sequence[str], flaw: Callable[[str], str]) -> None:
        for word in words:
            if allowed := flaw(word):
                self._refuse(field, word, f"{allowed}.")

    def _seeds(self, value: Any, stores: Sequence[str]) -> list[str]:
        seeds = self._list("seeds", value, "files in the project")
        if seeds and "postgres" not in stores:
            self._refuse("seeds", seeds, "where postgres is among the services.")
        self._each("seeds", seeds, self._seed_flaw)
        return seeds

    def _postgres(self, value: Any, stores: Sequence[str]) -> dict[str, bool]:
        asked = self._mapping("postgres", value, "superuser, true or false")
        self._known(asked, "postgres.", ("superuser",))
        if asked and "postgres" not in stores:
            self._refuse("postgres", asked, "where postgres is among the services.")
        superuser = asked.get("superuser", False)
        if not isinstance(superuser, bool):
            self._refuse("postgres.superuser", superuser, "true or false.")
        return {"superuser": superuser is True}

    def _seed_flaw(self, word: str) -> str:
        allowed = "a file inside the project, by its path from there"
        if not word.isprintable() or word.startswith(("/", "~")) or word != os.path.normpath(word) or ".." in word.split("/"):
            return allowed
        file = self.project / word
        if not file.is_file():
            return f"{allowed}; there is none of this name"
        if not file.resolve().is_relative_to(self.project.resolve()):
            return f"{allowed}; this one is a link that leads out of it"
        return "" if file.stat().st_size else f"{allowed}, with something in it; this one is empty"

    def _type(self, field: str, value: Any) -> str:
        if not isinstance(value, str) or not _TYPE.fullmatch(value):
            self._refuse(field, value, f"{_TYPE_ALLOWED}.")
        return str(value)

    def _whole(self, field: str, value: Any, least: int, most: int, allowed: str) -> int:
        # YAML's yes and no are whole numbers to Python.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self._refuse(field, value, f"a whole number, {allowed}.")
            return least
        return value

    def _dockerfile(self, file: Path) -> None:
        name = file.relative_to(self.project)
        try:
            why = unfit(decoded(file.read_bytes()))
        except OSError as refusal:
            self.wrong.append(f"{name} cannot be read: {refusal.strerror}. Allowed: {ALLOWED}.")
        except TextError as wrong:
            self.wrong.append(f"{name} {wrong} Allowed: {ALLOWED}.")
        else:
            self.wrong += [f"{name}: {why}. Allowed: {ALLOWED}."] if why else []


def notebooks(project: Path) -> list[str]:
    """The project's notebooks, by their path from its folder."""
    found = (path for path in (project / "ipynb").rglob("*.ipynb") if path.is_file())
    inside = (path.relative_to(project) for path in found)
    return sorted(str(path) for path in inside if ".ipynb_checkpoints" not in path.parts and not path.name.startswith("."))


def requirement_flaw(line: str) -> str:
    """What would be allowed instead of this line for pip; empty where it is a requirement (PEP 508)."""
    allowed = "one requirement as in PEP 508, xgboost==2.1.1 for one, without options"
    if not line.isprintable() or line != line.strip():
        return allowed
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return allowed
    if not requirement.url:
        return "" if canonicalize_name(requirement.name) else allowed
    address = urlsplit(requirement.url)
    if address.scheme.rpartition("+")[2] != "https" or "@" in address.netloc or not address.netloc:
        return f"{allowed}; a URL by https, without a user or password in it"
    return ""
