"""What the Python of a Jupyter image is told, to bring its own home into the volume that keeps it."""

from __future__ import annotations

# Its standard input says which home the image has: that of an `image`, or of a `container` that an image was made of, by its id and when it
# started. Of an image comes what is new in it, and what the user has not changed since an earlier image brought it; what the user has
# changed or removed stays so. Of a container comes everything: also over what is there, if it is the `first`. What was brought is written
# down in the volume. What belongs to one process, and sockets, stay behind; so does what lies under a link of the user's. A file is whole
# or not there.
BRING = r"""
import hashlib, json, os, shutil, site, stat, sys

source, goal = "/home/jovyan", "/mnt/home"
state = ".local/state/slipway"
book, part = (os.path.join(goal, state, name) for name in ("home.json", "part"))
OWN = {"work", ".local/share/jupyter/runtime", ".rq-worker", ".slipway-out-of-memory.jsonl", ".slipway-out-of-memory.part"}

def facts(path):
    said = os.lstat(path)
    if stat.S_ISLNK(said.st_mode):
        return ["link", os.readlink(path)]
    if stat.S_ISDIR(said.st_mode):
        return ["folder", stat.S_IMODE(said.st_mode)]
    if not stat.S_ISREG(said.st_mode):
        return None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return ["file", stat.S_IMODE(said.st_mode), digest.hexdigest()]

def tree(top, inside=""):
    for folder, names, files in os.walk(os.path.join(top, inside)):
        above = os.path.relpath(folder, top)
        for name in sorted(names + files):
            path = os.path.normpath(os.path.join(above, name))
            if path in OWN:
                names[:] = [each for each in names if each != name]
            elif said := facts(os.path.join(folder, name)):
                yield path, said

def there(path):
    full = os.path.join(goal, path)
    return facts(full) if os.path.lexists(full) else None

def parents(path):
    while path := os.path.dirname(path):
        yield path

def plain(path):
    return all((there(above) or ["folder"])[0] == "folder" for above in parents(path))

def own(full, said):
    os.chown(full, said.st_uid, said.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(said.st_mode):
        os.chmod(full, stat.S_IMODE(said.st_mode))
        os.utime(full, ns=(said.st_atime_ns, said.st_mtime_ns))

def bring(path):
    start, full = os.path.join(source, path), os.path.join(goal, path)
    above = os.path.dirname(path)
    if not plain(path):
        return False
    if above and there(above) is None:
        bring(above)
    said = os.lstat(start)
    if stat.S_ISDIR(said.st_mode):
        if not os.path.isdir(full) or os.path.islink(full):
            if os.path.lexists(full):
                os.remove(full)
            os.mkdir(full)
        own(full, said)
        return True
    if os.path.lexists(part):
        os.remove(part)
    if stat.S_ISLNK(said.st_mode):
        os.symlink(os.readlink(start), part)
    else:
        shutil.copyfile(start, part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
    own(part, said)
    os.replace(part, full)
    return True

def made():
    # A Python that has started does not find what `pip install --user` makes later, if there is no folder for it.
    packages = os.path.relpath(site.getusersitepackages(), source)
    for path in [*reversed(list(parents(packages))), packages, ".local/state", state, "work"]:
        full = os.path.join(goal, path)
        if not os.path.isdir(full):
            os.mkdir(full)
            os.chown(full, 1000, 100)

def write(brought):
    with open(book + ".part", "w") as file:
        json.dump(brought, file)
        file.flush()
        os.fsync(file.fileno())
    os.chown(book + ".part", 1000, 100)
    os.replace(book + ".part", book)

def of_an_image(brought):
    moved, kept, old, here = [], [], brought["image"], dict(tree(source))
    for path, new in here.items():
        now = there(path)
        if now == new:
            continue
        if now is None:
            wanted = path not in old and not any(above in old and there(above) is None for above in parents(path))
        else:
            wanted = now == old.get(path) and now[0] == new[0]
            if not wanted and new != old.get(path):
                kept.append(path)
        if wanted and bring(path):
            moved.append(path)
    # What an image no longer has, and the user left as it was brought; what is left in folders keeps these.
    for path in sorted(old.keys() - here.keys(), reverse=True):
        if plain(path) and there(path) == old[path]:
            full = os.path.join(goal, path)
            if old[path][0] != "folder":
                os.remove(full)
            elif not os.listdir(full):
                os.rmdir(full)
    brought["image"] = here
    return moved, kept

def of_a_container(brought, first):
    moved, kept, old = [], [], brought["image"]
    for path, new in tree(source):
        now = there(path)
        # Of another container only what was made in it counts.
        if not first and old.get(path) == new:
            continue
        if first and now and now[0] == "folder" != new[0] and all(old.get(each) == said for each, said in tree(goal, path)):
            shutil.rmtree(os.path.join(goal, path))
            now = None
        if now is None or (first and now != new and (now[0] != "folder" or new[0] == "folder")):
            (moved if bring(path) else kept).append(path)
        elif now != new:
            kept.append(path)
    for path in sorted(old, reverse=True) if first else []:
        if old[path][0] != "folder" and plain(path) and there(path) == old[path] and not os.path.lexists(os.path.join(source, path)):
            os.remove(os.path.join(goal, path))
    return moved, kept

asked = json.load(sys.stdin)
brought = {"image": {}, "containers": []}
if os.path.exists(book):
    with open(book) as file:
        brought = json.load(file)
container = asked.get("container")
moved, kept = [], []
if container not in brought["containers"]:
    own(goal, os.lstat(source))
    made()
    moved, kept = of_a_container(brought, asked["first"]) if container else of_an_image(brought)
    brought["containers"] += [container] if container else []
    write(brought)
print(json.dumps({"moved": len(moved), "kept": kept[:20]}))
"""
