"""What the Python of a Jupyter image is told, about its packages and for an image of the container."""

from __future__ import annotations

# Every distribution that an import finds, from the metadata that pip reads: pip itself would take five times the memory (81 MiB for 123
# packages, of which this takes 16), beside notebooks that may need it. And Debian's packages, with what apt-mark reads of them.
READ = r"""
import json, os, re, site, sysconfig
from importlib.metadata import distributions

def stanzas(path):
    try:
        with open(path, errors="replace") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    lines = [[line for line in stanza.splitlines() if ": " in line and not line.startswith(" ")] for stanza in text.split("\n\n")]
    return [dict(line.split(": ", 1) for line in each) for each in lines if each]

def pip():
    usual = [site.getusersitepackages(), *site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    usual = set(map(os.path.realpath, usual))
    home = os.path.realpath(site.getusersitepackages())
    found = {}
    for each in distributions():
        name = each.metadata["Name"]
        # What an interrupted pip leaves behind begins with a tilde.
        if not name or os.path.basename(str(getattr(each, "_path", ""))).startswith("~"):
            continue
        origin = json.loads(each.read_text("direct_url.json") or "{}")
        folder = os.path.realpath(str(each.locate_file("")))
        elsewhere = folder not in usual
        found.setdefault(re.sub("[-_.]+", "-", name).lower(), {
            "name": name,
            "version": each.version,
            "asked": each.read_text("REQUESTED") is not None,
            "installer": (each.read_text("INSTALLER") or "").strip(),
            "origin": origin,
            "editable": elsewhere or origin.get("dir_info", {}).get("editable", False),
            "home": folder == home,
        })
    return found

def apt():
    marked = [each for each in stanzas("/var/lib/apt/extended_states") if each.get("Auto-Installed") == "1"]
    marked = {(each.get("Package"), each.get("Architecture")) for each in marked}
    installed = [each for each in stanzas("/var/lib/dpkg/status") if each.get("Status", "").endswith(" installed")]
    native = next((each["Architecture"] for each in installed if each["Package"] == "dpkg"), "")
    found = {}
    for each in installed:
        name, kind = each["Package"], each["Architecture"]
        own = kind in ("all", native)
        key = name if own else name + ":" + kind
        found[key] = {"name": key, "version": each["Version"], "asked": (name, native if own else kind) not in marked}
    return found

print(json.dumps({"pip": pip(), "apt": apt()}))
"""

# Jupyter's own files of this run hold its token, and keys: they are put into memory while an image is made, and back. An interrupted
# run's are brought back by the next.
ASIDE = r"""
import os, shutil, sys
from jupyter_core.paths import jupyter_runtime_dir

here, aside = jupyter_runtime_dir(), "/dev/shm/slipway-runtime"
os.makedirs(aside, mode=0o700, exist_ok=True)
source, goal = (here, aside) if sys.argv[1] == "away" else (aside, here)
for name in os.listdir(source) if os.path.isdir(source) else []:
    if os.path.isfile(os.path.join(source, name)) and not os.path.exists(os.path.join(goal, name)):
        shutil.move(os.path.join(source, name), goal)
"""

# In which files of these paths one of the words stands. Both come on its standard input.
LOOK = r"""
import json, os, stat, sys

asked = json.load(sys.stdin)
words = [word.encode() for word in asked["words"]]
overlap = max(map(len, words))

def files(path):
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, _, names in os.walk(path):
            yield from (os.path.join(folder, name) for name in names)
    elif os.path.lexists(path):
        yield path

def has(path):
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    with open(path, "rb") as file:
        last = b""
        while part := file.read(1 << 20):
            if any(word in last + part for word in words):
                return True
            last = part[-overlap:]
    return False

print(json.dumps([file for path in asked["paths"] for file in files(path) if has(file)]))
"""
