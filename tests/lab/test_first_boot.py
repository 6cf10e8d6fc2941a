"""The first boot is EC2's: instance metadata, cloud-init with user data, and an end that the host itself brings about."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.conftest import Checkout
from tests.lab.test_instances import Host, identity

#: On the lab of that file.
pytestmark = pytest.mark.xdist_group("tests/lab/test_instances.py")

USER_DATA = """#cloud-config
write_files:
  - {path: /etc/written, content: "by cloud-init, für uns\\n", permissions: "0640"}
runcmd:
  - [sh, -c, "echo run >> /var/lib/ran"]
"""
SERVICE = "http://169.254.169.254/latest"
ASK = "curl --silent --max-time 5 --write-out '\\n%{http_code}'"
TOKEN = f"$(curl --silent --fail --max-time 5 -X PUT {SERVICE}/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')"
#: What Docker makes for a container: a network namespace of its own behind the host's address.
BOX = """set -e
ip netns list | grep -q box && exit
ip netns add box
ip link add box0 type veth peer name in0 netns box
ip address add 172.30.0.1/24 dev box0 && ip link set box0 up
ip -n box address add 172.30.0.2/24 dev in0 && ip -n box link set in0 up && ip -n box route add default via 172.30.0.1
sysctl -qw net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -s 172.30.0.0/24 ! -o box0 -j MASQUERADE"""


class Booted(Host):
    """A host with user data, whose first boot has ended."""

    def launch(self, **changes: Any) -> dict[str, Any]:
        return super().launch(**{"UserData": USER_DATA} | changes)

    def as_root(self, script: str) -> str:
        return self.ssh(f"sudo sh <<'END'\n{script}\nEND")

    def answered(self, *words: str) -> tuple[str, int]:
        """What the metadata service answers curl with these words, and its code."""
        body, _, code = self.ssh(f"{ASK} {' '.join(words)}").rpartition("\n")
        return body, int(code)

    def shown(self, path: str) -> str:
        body, code = self.answered(f'-H "X-aws-ec2-metadata-token: {TOKEN}"', f"{SERVICE}/{path}")
        assert code == 200, body
        return body


@pytest.fixture(scope="module")
def host(lab: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    host = Booted(lab, tmp_path_factory.mktemp("host"))
    host.ssh("cloud-init status --wait")
    yield host
    if host.facts()["State"]["Name"] != "terminated":
        host.ec2.terminate_instances(InstanceIds=[host.id])
        host.until("terminated")
    host.ec2.delete_key_pair(KeyName="lab-test")
    host.ec2.delete_security_group(GroupId=host.group)


def test_cloud_init_carries_out_user_data(host: Booted) -> None:
    assert host.ssh("sudo cat /etc/written; stat -c %a /etc/written; cat /var/lib/ran") == "by cloud-init, für uns\n640\nrun\n"
    assert "DataSourceEc2" in host.ssh("cloud-init status --long")
    assert host.ssh("systemctl is-system-running --wait").strip() == "running"


def test_the_console_shows_what_the_host_wrote_to_it(host: Booted) -> None:
    console = host.ec2.get_console_output(InstanceId=host.id)["Output"].replace("\r\n", "\n")
    block = console.partition("-----BEGIN SSH HOST KEY KEYS-----\n")[2].partition("-----END SSH HOST KEY KEYS-----")[0]
    assert sorted(block.splitlines()) == sorted(host.ssh("cat /etc/ssh/ssh_host_*_key.pub | grep -v ssh-dss").splitlines())
    host.as_root("echo said on the console > /dev/console")
    assert "said on the console" in host.ec2.get_console_output(InstanceId=host.id)["Output"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((f"{SERVICE}/meta-data/instance-id",), 401),
        (("-H 'X-aws-ec2-metadata-token: made-up'", f"{SERVICE}/meta-data/instance-id"), 401),
        (("-X PUT", f"{SERVICE}/api/token"), 400),
        (("-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21601'", f"{SERVICE}/api/token"), 400),
        (("-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' -H 'X-Forwarded-For: 203.0.113.1'", f"{SERVICE}/api/token"), 403),
        ((f"{SERVICE}/api/token",), 405),
        ((f'-H "X-aws-ec2-metadata-token: {TOKEN}"', f"{SERVICE}/meta-data/no-such-thing"), 404),
    ],
)
def test_metadata_is_refused_as_ec2_does(host: Booted, words: tuple[str, ...], code: int) -> None:
    assert host.answered(*words)[1] == code


def test_metadata_is_the_instances_own(host: Booted) -> None:
    facts = host.facts()
    assert host.shown("meta-data/instance-id") == host.id
    assert host.shown("meta-data/local-ipv4") == facts["PrivateIpAddress"]
    assert host.shown("meta-data/public-ipv4") == facts["PublicIpAddress"]
    assert host.shown("meta-data/public-keys/") == "0=lab-test"
    assert host.shown("meta-data/public-keys/0/openssh-key") == host.key.with_suffix(".pub").read_text().strip()
    assert host.shown("user-data") == USER_DATA
    assert f'"instanceId": "{host.id}"' in host.shown("dynamic/instance-identity/document")


def test_a_container_gets_no_token_but_by_two_hops(host: Booted) -> None:
    host.as_root(BOX)
    inside = "sudo ip netns exec box"
    # The service is reached, and what wants no token answers: it is the answer with the token that does not arrive.
    assert host.ssh(f"{inside} {ASK} {SERVICE}/meta-data/").endswith("401")
    token = f"{SERVICE}/api/token -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'"
    assert host.ssh(f"{inside} curl --silent --max-time 3 {token}; echo $?").split() == ["28"]
    changed = host.ec2.modify_instance_metadata_options(InstanceId=host.id, HttpPutResponseHopLimit=2)["InstanceMetadataOptions"]
    assert (changed["HttpPutResponseHopLimit"], changed["HttpTokens"]) == (2, "required")
    assert len(host.ssh(f"{inside} curl --silent --fail --max-time 3 {token}")) > 40
    host.ec2.modify_instance_metadata_options(InstanceId=host.id, HttpPutResponseHopLimit=1, HttpEndpoint="disabled")
    assert host.answered(token)[1] == 403
    host.ec2.modify_instance_metadata_options(InstanceId=host.id, HttpEndpoint="enabled")


def test_a_machine_from_an_image_of_another_boots_as_itself(host: Booted) -> None:
    # An image without a reboot has what was written to the disk.
    host.ssh("sync")
    image = host.ec2.create_image(InstanceId=host.id, Name="as-itself", NoReboot=True)["ImageId"]
    host.ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    other = copy.copy(host)
    other.id = host.launch(ImageId=image)["InstanceId"]
    try:
        # Its disk has what the first one's cloud-init did.
        assert other.ssh("cloud-init status --wait >/dev/null; cat /var/lib/ran", seconds=60) == "run\nrun\n"
        key = "cat /etc/ssh/ssh_host_ed25519_key.pub"
        assert other.ssh(key) != host.ssh(key)
        assert other.ssh(key).split()[1] in host.ec2.get_console_output(InstanceId=other.id)["Output"]
        assert other.shown("meta-data/instance-id") == other.id
    finally:
        host.ec2.terminate_instances(InstanceIds=[other.id])
        other.until("terminated")
        host.ec2.deregister_image(ImageId=image)


def test_a_reboot_from_inside_comes_back(host: Booted) -> None:
    before = host.facts()
    boot = host.ssh("stat -c %Y /proc/1; sudo systemctl reboot")
    deadline = time.monotonic() + 60
    while host.ssh("stat -c %Y /proc/1", seconds=60) == boot:
        assert time.monotonic() < deadline, "the host did not reboot"
        time.sleep(0.5)
    after = host.facts()
    assert (after["State"], after["PublicIpAddress"]) == (before["State"], before["PublicIpAddress"])
    assert host.ssh("cloud-init status --wait >/dev/null; cat /var/lib/ran") == "run\n"


def ended(host: Booted, state: str) -> None:
    """The instance is in this state, by its own doing."""
    host.until(state)
    facts = host.facts()
    assert facts["StateReason"] == {
        "Code": "Client.InstanceInitiatedShutdown",
        "Message": "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    }
    assert "PublicIpAddress" not in facts


def test_a_shutdown_from_inside_stops_the_instance(host: Booted) -> None:
    before = host.facts()
    host.ssh("sudo shutdown --poweroff now; true")
    ended(host, "stopped")
    host.ec2.start_instances(InstanceIds=[host.id])
    host.until("running")
    assert host.ssh("cat /var/lib/ran") == "run\n"
    after = host.facts()
    assert after["PublicIpAddress"] != before["PublicIpAddress"]
    assert host.shown("meta-data/public-ipv4") == after["PublicIpAddress"]
    assert after.get("StateReason", {"Code": ""})["Code"] == ""


def test_a_stop_and_a_lost_power_are_not_the_hosts_own(lab: Checkout, host: Booted) -> None:
    host.ec2.stop_instances(InstanceIds=[host.id])
    host.until("stopped")
    assert host.facts()["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    host.ec2.start_instances(InstanceIds=[host.id])
    host.until("running")
    lab.fault(instance=host.id, does="lose power")
    assert host.facts()["State"]["Name"] == "stopped"
    host.ec2.start_instances(InstanceIds=[host.id])
    host.until("running")


def test_a_shutdown_while_the_api_is_away_is_found(lab: Checkout, host: Booted) -> None:
    host.ssh("true")
    address = host.facts()["PublicIpAddress"]
    os.kill(identity(lab)["pid"], signal.SIGKILL)
    options = ["-i", str(host.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    subprocess.run(["ssh", *options, f"ubuntu@{address}", "sudo poweroff"], capture_output=True, timeout=30)
    docker.from_env().containers.get(f"{lab.lab.id}-{host.id}").wait(timeout=60)
    started = lab.orchestrate("lab", "up")
    assert started.returncode == 0, started.stderr
    ended(host, "stopped")
    host.ec2.start_instances(InstanceIds=[host.id])
    host.until("running")


def test_a_shutdown_from_inside_terminates_where_it_is_asked_to(lab: Checkout, host: Booted) -> None:
    host.ec2.modify_instance_attribute(InstanceId=host.id, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    host.ssh("sudo halt; true")
    ended(host, "terminated")
    with pytest.raises(docker.errors.NotFound):
        docker.from_env().containers.get(f"{lab.lab.id}-{host.id}")
    assert not list((lab.lab.root / "metadata").iterdir())
