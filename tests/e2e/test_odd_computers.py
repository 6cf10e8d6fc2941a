"""Computers that users have: a VPN, a tight umask, settings of other programs, odd folders. Each ends with a URL, or a line that helps.

The checkout of most end-to-end tests is one of them already (tests/conftest.py): its folder and its modes are odd.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Checkout, own_lab

pytestmark = pytest.mark.xdist_group("machine")

#: What other programs are told by a shell; none of it is there, and each by itself would end a command.
SHELL = {
    "ANSIBLE_ROLES_PATH": "/nonexistent",
    "ANSIBLE_LIBRARY": "/nonexistent",
    "ANSIBLE_STRATEGY": "mitogen_linear",
    "ANSIBLE_VAULT_PASSWORD_FILE": "/nonexistent",
    "ANSIBLE_SSH_ARGS": "-o ProxyJump=bastion.invalid",
    "ANSIBLE_REMOTE_USER": "deploy",
    "ANSIBLE_PYTHON_INTERPRETER": "/nonexistent",
    "ANSIBLE_BECOME_ASK_PASS": "true",
    "ANSIBLE_NO_LOG": "true",
    "AWS_PROFILE": "nonexistent",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:9",
    "DOCKER_TLS_VERIFY": "1",
    "DOCKER_CONFIG": "/nonexistent/settings",
    "DOCKER_DEFAULT_PLATFORM": "linux/arm64",
    "GIT_DIR": "/nonexistent",
    "RSYNC_OLD_ARGS": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "LC_ALL": "xx_XX.ISO-8859-1",
    "LANGUAGE": "de",
    "TMPDIR": "/nonexistent",
    "CDPATH": "/tmp",  # noqa: S108 (nothing is made there)
    "http_proxy": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


def typed() -> dict[str, str]:
    """The environment of a `make` that is typed: these tests may run below another one."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """What a command that ended with this code said: one line, beside make's own."""
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert done.returncode == code, done.stdout + done.stderr
    assert len(said) == 1, done.stderr
    return said[0]


def serves(done: subprocess.CompletedProcess[str]) -> None:
    """It ended with Jupyter's URL, and Jupyter answers there."""
    assert done.returncode == 0, done.stdout + done.stderr
    url = json.loads(done.stdout)["url"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as page:
        assert page.status == 200


def test_up_changes_nothing_in_a_shell_full_of_settings_of_other_programs(machine: Checkout) -> None:
    done = machine.orchestrate("up", "--json", **SHELL)
    serves(done)
    assert json.loads(done.stdout)["changed"] == 0


@pytest.mark.long
@pytest.mark.parametrize("name", SHELL)
def test_status_works_with_each_setting_of_other_programs(machine: Checkout, name: str) -> None:
    done = machine.orchestrate("status", **{name: SHELL[name]})
    assert done.returncode == 0, done.stderr
    assert "/lab?token=" in done.stdout


def test_networks_of_the_users_choice_are_refused_in_a_line(lab: Checkout) -> None:
    has = f"{lab.lab.vpc_cidr},{lab.lab.public_cidr}"
    for wanted, said in (("10.66.0.0", "1 networks"), ("10.66.0.0/16,198.18.66.0/24", f"the lab has {has}")):
        assert said in one_line(lab.orchestrate("lab", "up", SLIPWAY_LAB_NETWORKS=wanted), 2)
    assert lab.orchestrate("lab", "up", SLIPWAY_LAB_NETWORKS=has).returncode == 0


#: What keeps `make up` from beginning.
@pytest.mark.parametrize("name", ["a:b", 'say "hi"', "a\\b", "US$", "[1]", "{{ month }}", "two\nlines"])
def test_make_refuses_in_its_first_second(tmp_path: Path, name: str) -> None:
    here = tmp_path / name
    for file in ("Makefile", "requirements.lock", "tools/python-with-venv", "slipway/environment.py"):
        (here / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / file, here / file)
    began = time.monotonic()
    done = subprocess.run(["make", "up"], cwd=here, env=typed(), capture_output=True, text=True)
    assert "cannot be used" in one_line(done, 2)
    assert time.monotonic() - began < 5
    assert not (here / ".venv").exists()


def test_a_clone_with_windows_line_ends_has_the_projects_own(tmp_path: Path) -> None:
    here = tmp_path / "here"
    # Of what is committed, which may be a step behind: the attributes are those that hold here.
    subprocess.run(["git", "-c", "core.autocrlf=true", "clone", "-q", "--no-checkout", f"file://{PROJECT}", str(here)], check=True)
    shutil.copy(PROJECT / ".gitattributes", here)
    subprocess.run(["git", "-C", str(here), "-c", "core.autocrlf=true", "checkout", "-q", "-f", "HEAD", "--", "."], check=True)
    files = [path for path in here.rglob("*") if path.is_file() and ".git" not in path.relative_to(here).parts]
    assert len(files) > 300
    assert [path.name for path in files if b"\r\n" in path.read_bytes() and path.suffix not in (".png", ".gz", ".csv")] == []
    done = subprocess.run([here / "tools" / "python-with-venv", "python3", "--version"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


#: Docker's settings that end a build, as an image is built.
SETTINGS = ['{"credsStore": "desktop"}', '{"credHelpers": {"127.0.0.1:5000": "gone"}}', '{"auths": {', "[]", None]


def test_the_lab_reads_no_credentials(lab: Checkout, tmp_path: Path) -> None:
    # One image that was not built yet, built as all are.
    code = (
        "import pathlib, sys, tempfile; from lab import engine, images\n"
        "client = engine.client()\n"
        "with tempfile.TemporaryDirectory() as scratch:\n"
        "    context = pathlib.Path(scratch); (context / 'Dockerfile').write_text('FROM scratch\\nCOPY file /' + sys.argv[1])\n"
        "    (context / 'file').write_text(sys.argv[1]); (context / 'file').chmod(0o600)\n"
        "    client.images.remove(images._build(client, 'odd', 'none', context, print))\n"
    )
    for number, text in enumerate(SETTINGS):
        config = tmp_path / str(number)
        config.mkdir()
        (config / "config.json").mkdir() if text is None else (config / "config.json").write_text(text)
        done = lab.run(str(lab.path / ".venv" / "bin" / "python"), "-c", code, str(number), DOCKER_CONFIG=str(config))
        assert done.returncode == 0, f"{text}: {done.stderr}"


def test_an_image_of_files_that_only_their_owner_can_read_starts(lab: Checkout) -> None:
    # The engine has the steps before the files already.
    code = (
        "import pathlib, shutil, sys, tempfile; from lab import engine, images\n"
        "client = engine.client()\n"
        "base = next(tag for image in client.images.list('slipway-lab/base') for tag in image.tags)\n"
        "with tempfile.TemporaryDirectory() as scratch:\n"
        "    context = pathlib.Path(shutil.copytree(images.FOLDER / 'redis', pathlib.Path(scratch) / 'redis'))\n"
        "    for path in (context, *context.rglob('*')): path.chmod(path.stat().st_mode & 0o700)\n"
        "    tag = images._build(client, 'odd', base, context, print)\n"
        "print(client.containers.run(tag, ['redis-server', '--version'], remove=True).decode())\n"
        "client.images.remove(tag, force=True)\n"
    )
    done = lab.run(str(lab.path / ".venv" / "bin" / "python"), "-c", code)
    assert done.returncode == 0, done.stderr
    assert "Redis server v=7" in done.stdout


@pytest.mark.long
def test_a_push_names_what_is_broken_of_the_credentials(machine: Checkout, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(str(SETTINGS[0]))
    project = PROJECT / "examples" / "jupyter-mongo"
    copy = machine.path / "with-packages"
    shutil.copytree(project, copy)
    # Without that variable it is the user's own folder, but for the lab, which reads none.
    with machine.given({"stack_docker_config": str(tmp_path)}):
        refused = machine.orchestrate("deploy", str(copy), "--yes")
    assert refused.returncode == 2, refused.stderr
    assert f"{tmp_path}/config.json: credsStore: desktop: the program docker-credential-desktop is not installed" in refused.stderr
    assert "Traceback" not in refused.stderr


@contextlib.contextmanager
def odd(path: Path, umask: int = 0) -> Iterator[Checkout]:
    """A checkout in this folder, as it is under such a umask, with a lab of its own."""
    path.parent.mkdir(parents=True)
    before = os.umask(umask or 0o022)
    try:
        with own_lab(path.parent, umask) as here:
            yield here
    finally:
        os.umask(before)


@pytest.mark.long
@pytest.mark.parametrize("name", ["feature%2Fx", "it's (1) & 2] #3; ~ ! <>|", "分析 é", "-rf", "x" * 120])
def test_up_and_deploy_work_in_a_folder_of_an_odd_name(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home" / name
    (home / ".ssh").mkdir(parents=True)
    with odd(tmp_path / name / "slipway") as here:
        serves(here.orchestrate("up", "--json", "--services", "jupyter", HOME=str(home)))
        project = here.path / f"project {name}"
        shutil.copytree(PROJECT / "examples" / "jupyter-redis", project)
        with (project / "slipway.yml").open("a") as settings:
            settings.write("\nname: odd\n")
        done = here.orchestrate("deploy", str(project), "--json", "--yes", HOME=str(home))
        assert done.returncode == 0, done.stderr
        [notebook] = project.glob("ipynb/*-share-a-key.ipynb")
        ran = here.orchestrate("run", str(notebook), HOME=str(home))
        assert ran.returncode == 0, ran.stderr


@pytest.mark.long
@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_a_project_that_only_its_owner_can_read_is_deployed(tmp_path: Path, umask: int) -> None:
    with odd(tmp_path / "slipway" / "slipway", umask) as here:
        project = here.path / "survey"
        assert here.orchestrate("new", "survey", "--with", "redis,postgres").returncode == 0
        (project / "docker" / "jupyter" / "words.txt").write_text("can be read")
        dockerfile = project / "docker" / "jupyter" / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text() + "\nCOPY words.txt /opt/words.txt\nRUN cat /opt/words.txt\n")
        assert (project / "slipway.yml").stat().st_mode & 0o007 == 0
        done = here.orchestrate("deploy", "survey", "--json", "--yes")
        assert done.returncode == 0, done.stderr
        read = "docker exec survey-jupyter-1 sh -c 'id -u; cat /opt/words.txt work/ipynb/*.ipynb work/lib/*.py > /dev/null && echo read'"
        assert here.on_host(read).split() == ["1000", "read"]
        [notebook] = project.glob("ipynb/*-first.ipynb")
        ran = here.orchestrate("run", str(notebook))
        assert ran.returncode == 0, ran.stderr


@pytest.mark.long
def test_make_with_pips_settings_of_the_user(tmp_path: Path) -> None:
    here = tmp_path / "it's 50% (odd) é"
    shutil.copytree(PROJECT, here, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".slipway", ".ansible", ".*_cache"))
    (tmp_path / "pip.conf").write_text(
        "[install]\nuser = true\ntarget = /nonexistent/t\nno-binary = :all:\n[global]\nrequire-virtualenv = true\n"
    )
    own = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    ways = {
        f"PIP_{key.partition('.')[2].upper().replace('-', '_')}": value.strip("'")
        for key, _, value in (line.partition("=") for line in own.splitlines())
    }
    odd = {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_USER": "1",
        "PIP_TARGET": "/nonexistent",
        "PIP_PREFIX": "/x",
        "PIP_DRY_RUN": "1",
    }
    odd |= {"PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent", "BASH_ENV": "/nonexistent", "PYTHONUSERBASE": "/x"}
    done = subprocess.run(["make", ".venv", "PYTHON=/usr/bin/python3"], cwd=here, env=typed() | ways | odd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = subprocess.run([here / ".venv" / "bin" / "ansible-playbook", "--version"], capture_output=True, text=True)
    assert told.stdout.startswith("ansible-playbook [core"), told.stderr


#: A VPN's routes -> whether the lab's private network is the first one all the same.
ROUTES = [("0.0.0.0/1", "128.0.0.0/1"), ("10.0.0.0/8", "172.16.0.0/12"), ("198.18.0.0/16", "10.200.0.0/16")]


@pytest.mark.long
@pytest.mark.parametrize("routes", ROUTES)
def test_beside_a_vpn(tmp_path: Path, routes: tuple[str, ...]) -> None:
    """In a network namespace of its own, so that this computer keeps its routes. The engine answers there by its Unix socket, and its
    networks by a way that is made as soon as the lab has them: as on a computer, where they are its own."""
    space, inner, outer = "slipway-odd", "198.19.255.2/30", "198.19.255.1/30"
    within = ["ip", "netns", "exec", space]
    # The engine lets nothing else through to its networks.
    by_way = [["DOCKER-USER", way, "slipway-odd0", "-j", "ACCEPT"] for way in ("-i", "-o")]

    def ip(*words: str, inside: bool = False) -> None:
        subprocess.run([*(within if inside else []), "ip", *words], check=True, capture_output=True)

    with own_lab(tmp_path) as here:
        ip("netns", "add", space)
        try:
            ip("link", "add", "slipway-odd0", "type", "veth", "peer", "name", "way", "netns", space)
            ip("address", "add", outer, "dev", "slipway-odd0")
            ip("link", "set", "slipway-odd0", "up")
            for words in by_way:
                subprocess.run(["iptables", "-I", *words], check=True)
            ip("address", "add", inner, "dev", "way", inside=True)
            ip("link", "add", "tun0", "type", "veth", "peer", "name", "nowhere", inside=True)
            for device in ("lo", "way", "tun0", "nowhere"):
                ip("link", "set", device, "up", inside=True)
            # Networks of other labs, which this computer has.
            listed = json.loads(subprocess.check_output(["ip", "-json", "-4", "route"]))
            for near in {each["dst"] for each in listed} - {"default", "198.19.255.0/30"}:
                ip("route", "replace", near, "via", outer.partition("/")[0], inside=True)
            for route in routes:
                ip("route", "replace", route, "dev", "tun0", inside=True)
            command = ["/usr/bin/env", "python3", "orchestrate.py"]
            started = here.run(*within, *command, "lab", "up")
            assert started.returncode == 0, started.stderr
            for network in (here.lab.vpc_cidr, here.lab.public_cidr):
                ip("route", "add", str(network), "via", outer.partition("/")[0], inside=True)
            done = here.run(*within, *command, "up", "--json", "--services", "jupyter")
            assert done.returncode == 0, done.stderr
            url = json.loads(done.stdout)["url"]
            page = here.run(*within, "python3", "-c", f"import urllib.request; print(urllib.request.urlopen({url!r}).status)")
            assert page.stdout.strip() == "200", page.stderr
        finally:
            for words in by_way:
                subprocess.run(["iptables", "-D", *words], check=False, capture_output=True)
            subprocess.run(["ip", "link", "delete", "slipway-odd0"], check=False, capture_output=True)
            ip("netns", "delete", space)
