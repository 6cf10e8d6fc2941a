"""The examples, on a machine of a lab of their own: each by `deploy` and `run`, and with one of them workers, files and batch runs."""

from __future__ import annotations

import http.cookiejar
import json
import shlex
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import yaml

from tests.conftest import Checkout, own_lab
from tests.e2e.support import canary
from tests.e2e.support.projects import python, run, write

pytestmark = pytest.mark.xdist_group("examples")

EXAMPLES = ("jupyter-redis", "jupyter-mongo", "jupyter-postgres", "adult")
#: A job that says when it began, and then takes so long that it can be killed in between.
SLOW = """
import os, time
from lib.stores import connect_to_redis

def slow(number):
    connect_to_redis().rpush("begun", f"{number} {os.uname().nodename}")
    time.sleep(4)
    return number
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with a lab of its own; its machine is made by the first deploy."""
    with own_lab(tmp_path_factory.mktemp("examples")) as here:
        yield here


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_passes(examples: Checkout, example: str) -> None:
    answer = examples.answer("deploy", f"examples/{example}")
    assert answer["instance"]["type"] == "t2.micro"
    wanted = yaml.safe_load((examples.path / "examples" / example / "slipway.yml").read_text())["services"]
    assert {name.partition("-")[0] for name in answer["services"]} == set(wanted)
    assert {facts["health"] for facts in answer["services"].values()} == {"healthy"}
    for notebook in sorted((examples.path / "examples" / example / "ipynb").glob("*.ipynb")):
        executed = run(examples, str(notebook.relative_to(examples.path)))
        counts = [cell["execution_count"] for cell in executed["cells"] if cell["cell_type"] == "code"]
        assert counts == list(range(1, len(counts) + 1)), notebook


def test_deploying_again_changes_nothing(examples: Checkout) -> None:
    before = examples.containers()
    answer = examples.answer("deploy", "examples/adult")
    assert answer["changed"] == 0
    assert answer["monitor_url"]
    assert examples.containers() == before


def browser() -> urllib.request.OpenerDirector:
    """A new one, that knows no proxy and keeps its cookies."""
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), urllib.request.ProxyHandler({}))


def refused(url: str, **headers: str) -> bool:
    """Whether a page says that it is not for the one who asks."""
    asked = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        browser().open(asked, timeout=20).close()
    except urllib.error.HTTPError as answer:
        return answer.code == 403
    return False


def test_the_pages_of_the_tunnel_open_by_their_token_and_for_their_own_pages_alone(examples: Checkout) -> None:
    answer = examples.answer("status", "examples/adult")
    page, _, query = answer["monitor_url"].partition("?")
    assert query.startswith("token=")
    assert f"Monitor   {answer['monitor_url']}" in examples.orchestrate("status", "examples/adult").stdout
    mine = browser()
    with mine.open(answer["monitor_url"], timeout=20) as shown:
        # The token has left the address.
        assert shown.url == page
    with mine.open(f"{page}0/data/workers.json", timeout=20) as shown:
        assert len(json.load(shown)["workers"]) == 2
    jupyter, _, token = answer["url"].partition("/lab?")
    for url in (page, f"{page}?token=wrong", f"{page}0/data/workers.json"):
        assert refused(url), url
    for url in (answer["monitor_url"], f"{jupyter}/api/contents?{token}"):
        assert not refused(url)
        assert refused(url, Host="evil.example:9181"), url
    for foreign in (
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": jupyter, "Sec_Fetch_Site": "same-site"},
    ):
        assert refused(answer["monitor_url"], **foreign), foreign
    # Its token is in two files, and in no other place: by now it was in addresses, cookies and health checks.
    file = examples.path / ".slipway/lab/machines/slipway/projects/adult/secrets_monitor/monitor_token"
    assert query == f"token={file.read_text()}"
    assert canary.look_here(examples, [file.read_bytes()]) == {str(file)}
    assert canary.look_on_host(examples, [file.read_bytes()]) == {"/home/ubuntu/projects/adult/secrets_monitor/monitor_token"}


def test_a_killed_worker_loses_no_job(examples: Checkout) -> None:
    (examples.path / "examples/adult/lib/slow.py").write_text(SLOW)
    examples.answer("push", "examples/adult")
    script = "from lib.jobs import enqueue\nfrom lib.slow import slow\nprint(*[enqueue(slow, number).id for number in range(4)])"
    ids = python(examples, "adult", script).split()
    redis = "docker exec adult-redis-1 sh -c 'REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli lrange begun 0 -1'"
    deadline = time.monotonic() + 60
    while len(examples.on_host(redis).split("\n")) < 3:
        assert time.monotonic() < deadline, "no worker has begun"
    # The worker and the process of its job, at once.
    victim = examples.on_host("docker inspect --format '{{.Config.Hostname}}' adult-worker-1").strip()
    examples.on_host("docker kill --signal KILL adult-worker-1")
    wait = f"""
from lib.stores import connect_to_redis
from rq.job import Job
import time
jobs = Job.fetch_many({ids!r}, connect_to_redis())
end = time.monotonic() + 150
while not all(job.get_status() == "finished" for job in jobs) and time.monotonic() < end:
    time.sleep(0.5)
print(*[job.return_value() for job in jobs])
"""
    assert python(examples, "adult", wait).split() == ["0", "1", "2", "3"]
    begun = [line.split() for line in examples.on_host(redis).splitlines()]
    # One of them began in the worker that was killed, and again in the other.
    assert any(host == victim for _, host in begun)
    assert len(begun) > len(ids)
    # The same command brings the worker back.
    assert examples.answer("deploy", "examples/adult")["services"]["worker"]["health"] == "healthy"


def test_push_and_pull_move_what_changed_on_one_side_and_refuse_conflicts(examples: Checkout) -> None:
    here, there = examples.path / "examples/adult", "projects/adult/work"
    examples.on_host(f"echo kept > {there}/data/only-there.txt; echo theirs >> {there}/lib/slow.py")
    (here / "data/only-here.txt").write_text("sent\n")
    # What another machine's pull is just writing.
    arriving = here / ".slipway/incoming/half"
    arriving.parent.mkdir(parents=True)
    arriving.touch()
    sent = examples.answer("push", "examples/adult")
    assert sent["moved"] == ["data/only-here.txt"]
    assert arriving.exists()
    assert examples.on_host(f"cat {there}/data/only-there.txt {there}/data/only-here.txt").split() == ["kept", "sent"]
    with (here / "lib/slow.py").open("a") as text:
        text.write("ours\n")
    for verb in ("push", "pull"):
        refused = examples.orchestrate(verb, "examples/adult")
        assert refused.returncode == 3, refused.stderr
        assert "lib/slow.py" in refused.stderr
        assert "--overwrite" in refused.stderr
    back = examples.answer("pull", "examples/adult", "--overwrite")
    assert set(back["moved"]) == {"data/only-there.txt", "lib/slow.py"}
    assert not arriving.parent.parent.exists()
    assert (here / "lib/slow.py").read_text() == SLOW + "theirs\n"
    # What was removed here is removed there only when that is asked for.
    (here / "lib/slow.py").unlink()
    assert "push --delete" in examples.orchestrate("push", "examples/adult").stdout
    assert examples.on_host(f"tail -n 1 {there}/lib/slow.py") == "theirs\n"
    assert examples.answer("push", "examples/adult", "--delete")["removed"] == ["lib/slow.py"]
    assert "slow.py" not in examples.on_host(f"ls {there}/lib")


def test_no_sync_goes_through_a_link_out_of_the_project_or_makes_one(examples: Checkout) -> None:
    here, there = examples.path / "examples/adult", "projects/adult/work"
    outside = here.parent / "outside"
    outside.mkdir()
    (here / "mine").symlink_to(outside)
    made = "mkfifo pipe; mkdir -p swap .venv; echo 1 > swap/authorized; ln -s /home/ubuntu/.ssh .venv/ssh; ln -s lib/jobs.py inside"
    made += "; ln -s /etc/hostname absolute; ln -s ../../../.ssh up; ln -s up/authorized_keys chain; ln -s mine/x through-mine"
    examples.on_host(f"cd {there}; {made}")
    pulled = examples.answer("pull", "examples/adult")
    assert sorted(pulled["moved"]) == ["inside", "swap/authorized"]
    assert (here / "inside").readlink().name == "jobs.py"
    told = "\n".join(pulled["told"])
    assert "absolute is a link to /etc/hostname, which leads out of the project" in told
    assert "chain is a link to up/authorized_keys, which leads out of the project by up" in told
    assert "through-mine is a link to mine/x, which leads out of the project on this computer by mine" in told
    assert "pipe is neither a file nor a folder" in told
    # A link here that would lead out there, by what is not synced; and one in the place of a folder that was synced.
    (here / "venv-link").symlink_to(".venv/ssh/authorized_keys")
    (here / "swap/authorized").write_text("written by the push")
    before = examples.on_host("ls -l .ssh; sha256sum .ssh/*")
    pushed = examples.answer("push", "examples/adult")
    assert pushed["moved"] == ["swap/authorized"]
    assert "venv-link is a link to .venv/ssh/authorized_keys, which leads out of the project on the machine by .venv/ssh" in "\n".join(
        pushed["told"]
    )
    examples.on_host(f"cd {there}; rm -r swap; ln -s /home/ubuntu/.ssh swap; rm -rf .slipway; ln -s /home/ubuntu/.ssh .slipway")
    (here / "swap/new").write_text("written by the push")
    refused = examples.orchestrate("push", "examples/adult")
    assert refused.returncode == 3, refused.stderr
    assert "swap/new" in refused.stderr
    assert "swap on the machine is a link to /home/ubuntu/.ssh, and nothing is written through it" in " ".join(refused.stderr.split())
    assert examples.on_host("ls -l .ssh; sha256sum .ssh/*") == before
    # As if it had become a link after the look: rsync alone would read through it.
    script = (examples.path / "roles/project/files/beneath.sh").read_text()
    confined = shlex.join(["sudo", "-n", "unshare", "--mount", "sh", "-euc", script, "beneath", there, ""])
    for way, place, arrives in (("rsync", there, True), (confined, "/project", False)):
        command = ["rsync", "--links", "--files-from=-", "--from0", f"--rsync-path={way}"]
        command += ["-e", f"ssh -F {examples.path}/.slipway/lab/machines/slipway/ssh_config", f"slipway:{place}/", f"{outside}/"]
        subprocess.run(command, input=b"swap/authorized_keys\0", capture_output=True, timeout=60)
        assert (outside / "swap/authorized_keys").exists() == arrives
        shutil.rmtree(outside / "swap", ignore_errors=True)
    assert list(outside.iterdir()) == []
    # The folder itself is followed no more.
    examples.on_host(f"mv {there} projects/adult/moved; ln -s moved {there}")
    refused = examples.orchestrate("push", "examples/adult")
    assert refused.returncode == 3, refused.stderr
    assert "work on the machine is a link to moved, and no sync follows it" in " ".join(refused.stderr.split())
    examples.on_host(
        f"rm {there}; mv projects/adult/moved {there}; cd {there}; rm -rf swap .slipway .venv pipe inside absolute up chain through-mine"
    )
    for path in (here / "mine", here / "venv-link", here / "inside", here / "swap/new", here / "swap/authorized"):
        path.unlink()
    (here / "swap").rmdir()


def test_what_git_ignores_stays_here_and_a_large_pull_is_not_begun(examples: Checkout) -> None:
    here, there = examples.path / "examples/adult", "projects/adult/work"
    with (here / ".gitignore").open("a") as rules:
        rules.write("/models/\n")
    (here / "models").mkdir()
    (here / "models/mine.pkl").write_text("mine")
    examples.on_host(f"mkdir {there}/models; echo made > {there}/models/made.pkl; truncate -s 101M {there}/data/large")
    sent = examples.orchestrate("push", "examples/adult")
    assert ".gitignore" in sent.stdout
    assert "1 file, 4 bytes, stay here by the rules of git: models/." in sent.stdout
    refused = examples.orchestrate("pull", "examples/adult")
    assert refused.returncode == 3, refused.stderr
    assert "106 MB" in refused.stderr
    assert "pull examples/adult --yes" in refused.stderr
    examples.on_host(f"rm {there}/data/large")
    assert examples.answer("pull", "examples/adult")["moved"] == ["models/made.pkl"]
    assert examples.on_host(f"ls {there}/models").split() == ["made.pkl"]


def test_a_run_brings_back_what_it_made_and_tells_how_it_failed(examples: Checkout) -> None:
    folder, own = examples.path / "examples/adult", "ipynb/own [1] é.ipynb"
    write(folder / own, ["size = 1", "open('made.txt', 'w').write('x' * size)\nprint('wrote', size)"])
    done = examples.orchestrate("run", f"examples/adult/{own}", "-p", "size=7")
    assert done.returncode == 0, done.stderr
    assert "wrote 7" in done.stdout
    assert (folder / "ipynb/made.txt").read_text() == "x" * 7
    write(folder / own, ["1 + 1", "def fails():\n    raise ValueError('no such thing')\nfails()", "print('never')"])
    failed = examples.orchestrate("run", f"examples/adult/{own}")
    assert failed.returncode == 4, failed.stdout + failed.stderr
    assert "ValueError: no such thing" in failed.stderr
    assert "never" not in failed.stdout
    write(folder / own, ["hoard = [bytes(range(256)) * 40960 for _ in range(200)]"])
    starved = examples.orchestrate("run", f"examples/adult/{own}", "--json")
    assert starved.returncode == 4, starved.stdout + starved.stderr
    told = json.loads(starved.stdout)
    assert told["out_of_memory"]
    assert "out of memory" in starved.stderr
    (death,) = told["memory"]["out_of_memory"]
    assert (death["who"], death["notebook"], death["cell"]) == ("run", own, "cell 1 of 1")
    assert 0 < death["peak_mib"] <= death["limit_mib"]
    assert [shlex.split(line) for line in told["memory"]["fit"]["commands"]] == [
        shlex.split("python orchestrate.py resize t2.small"),
        ["python", "orchestrate.py", "run", f"{folder}/{own}", "--on", "t2.small"],
    ]
    # Nothing of it is left, and everything else lives.
    assert "-run-" not in examples.on_host("docker ps --all --format '{{.Names}}'")
    status = examples.answer("status", "examples/adult")
    assert {facts["health"] for facts in status["services"].values()} == {"healthy"}
    assert death in status["out_of_memory"]
    assert status["fit"]["commands"] == told["memory"]["fit"]["commands"]
    # One that runs to its end has nothing to tell of an earlier one.
    write(folder / own, ["1 + 1"])
    assert examples.orchestrate("run", f"examples/adult/{own}").returncode == 0
    assert "run" not in [each["who"] for each in examples.answer("status", "examples/adult")["out_of_memory"]]


@pytest.mark.long
def test_packages_installed_by_hand_are_found_by_diff_and_kept_by_adopt(examples: Checkout) -> None:
    examples.answer("deploy", "examples/adult")
    assert examples.orchestrate("diff", "examples/adult").stdout.strip() == "Nothing was changed by hand."
    examples.on_host("docker exec adult-jupyter-1 pip install --quiet --no-cache-dir tinyhtml==1.2.0 2>&1")
    assert "tinyhtml" in examples.orchestrate("diff", "examples/adult").stdout
    dockerfile = examples.path / "examples/adult/docker/jupyter/Dockerfile"
    before = dockerfile.read_text()
    done = examples.orchestrate("adopt", "examples/adult")
    assert done.returncode == 0, done.stderr
    assert "deploy" in done.stdout
    assert dockerfile.read_text().startswith(before.rstrip("\n"))
    assert "tinyhtml==1.2.0" in dockerfile.read_text()
    kept = examples.orchestrate("adopt", "examples/adult", "--keep", "by-hand")
    assert kept.returncode == 0, kept.stderr
    assert "temporary" in kept.stdout + kept.stderr
    image = "docker run --rm --network none slipway/adult:by-hand python -c 'import tinyhtml'"
    examples.on_host(image)
    # What was adopted comes with the new image; a file is lost with the container, and named.
    examples.on_host("docker exec adult-jupyter-1 touch /opt/conda/mine.txt")
    deployed = examples.orchestrate("deploy", "examples/adult")
    assert deployed.returncode == 0, deployed.stderr
    (lost,) = (line for line in deployed.stderr.splitlines() if "Lost with containers" in line)
    assert lost.endswith("1 file in adult's jupyter: /opt/conda/mine.txt")
    dockerfile.write_text(before)
