"""The fingerprint of the home of the notebooks' user, a volume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.stack_home import project_of, volume
from ansible.module_utils.stack_store import WAY, PassingError, Session

# For each line that it is given, a mark: what the file system says of the files; if that has moved on, what they hold too. One file after
# the other, in the order of their names, so that the number and the size of files do not count for the memory. What the home has of `work`
# is another folder's. Not compared: caches, and what Jupyter's server itself makes when it starts, which may be before the comparison: a
# file, and folders (MADE) by themselves; what is in these is compared.
HOME = r"""
import hashlib, json, os, stat, sys

top = b"/mnt/home"
OWN = {b"work", b".cache", b".local/state/slipway", b".local/share/jupyter/runtime", b".jupyter/migrated"}
MADE = {b".jupyter", b".local", b".local/share", b".local/share/jupyter", b".local/state", b".ipython"}

def entries():
    for folder, names, files in os.walk(top, onerror=fail):
        names.sort()
        for name in sorted(names + files):
            full = os.path.join(folder, name)
            path = os.path.relpath(full, top)
            if path in OWN:
                names[:] = [each for each in names if each != name]
            else:
                yield path, full, os.lstat(full)

def fail(error):
    raise error

def content(full, said):
    if stat.S_ISDIR(said.st_mode):
        return "folder"
    if stat.S_ISLNK(said.st_mode):
        return os.readlink(full)
    digest = hashlib.sha256()
    if stat.S_ISREG(said.st_mode):
        with open(full, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    return digest.digest()

def read(known):
    mark, whole, count = hashlib.sha256(), hashlib.sha256(), 0
    for path, _, said in entries():
        # A folder's own time moves with what comes and goes in it, which is listed itself.
        when = () if stat.S_ISDIR(said.st_mode) else (said.st_size, said.st_mtime_ns, said.st_ctime_ns)
        mark.update(repr((path, said.st_ino, said.st_mode, said.st_uid, said.st_gid, *when)).encode())
    found = {"mark": mark.hexdigest()}
    if found["mark"] != known:
        for path, full, said in entries():
            folder = stat.S_ISDIR(said.st_mode)
            if folder and path in MADE:
                continue
            count += not folder
            whole.update(repr((path, said.st_mode, content(full, said))).encode())
        found |= {"files": count, "digest": whole.hexdigest()}
    return found

for line in sys.stdin:
    try:
        found = read(line.strip())
    except FileNotFoundError as gone:
        found = {"mark": "", "gone": ascii(gone.filename)}
    print(json.dumps(found), flush=True)
"""


class Home(Session):
    """By Python, in a container of Jupyter's image that may read everything, and change nothing: what it sees is read-only.

    The image is the project's: with DAC_READ_SEARCH it could open every file of the host by its number (open_by_handle_at).
    """

    def __init__(self, container: Mapping[str, Any]) -> None:
        project = project_of(container)
        safe = ["--cap-drop=ALL", "--cap-add=DAC_OVERRIDE", "--security-opt=no-new-privileges:true", "--user=0:0", "--network=none"]
        limits = ["--read-only", "--memory=64m", "--pids-limit=64", "--no-healthcheck", f"--volume={volume(project)}:/mnt/home:ro,nocopy"]
        # The image may have the labels of a service, and its containers would be taken for that.
        labels = [f"--label=com.docker.compose.project={project}", "--label=com.docker.compose.oneoff=True"]
        image = ["--entrypoint=python", container["ImageID"], "-E", "-S", "-B", "-c", HOME]
        super().__init__(["run", "--rm", "--interactive", *safe, *limits, *labels, *image], "{")

    def read(self, known: str) -> dict[str, Any]:
        """Raises StoreError, and PassingError if a file goes meanwhile."""
        said = json.loads(self.ask(known))
        if "gone" in said:
            raise PassingError(f"a file has changed meanwhile: {said['gone']}")
        if said["mark"] == known:
            return {"mark": known}
        return {"mark": said["mark"], "said": f"{said['files']} files {WAY}:{said['digest'][:32]}"}
