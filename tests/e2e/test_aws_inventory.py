"""AWS's own inventory against the lab: its variables, its credentials and regions, its image, its apt repository and its registries.

Nothing is set aside for the lab but one file, which holds what no stand-in can equal. A file of the tests names the tunnel's port.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT, Checkout, own_lab

#: What a role asks that needs no permission: AWS's service authorization reference says so of it.
FREE = {"sts:GetCallerIdentity"}
#: Actions of the policy that the commands below do not ask for -> why it has them all the same.
NOT_ASKED = {
    "ec2:GetConsoleOutput": "for the host keys of a machine that was not made by this version",
    **dict.fromkeys(("ec2:CreateImage", "ec2:DeleteSnapshot", "ec2:DeregisterImage"), "bake: tests/e2e/test_bake.py"),
}
ROLE = yaml.safe_load((PROJECT / "roles" / "stack" / "vars" / "main.yml").read_text())
#: A profile's region is not read.
SETTINGS = "[profile mine]\nregion = eu-west-3\n"
KEYS = "[mine]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n"


@dataclass
class Account:
    """A computer that knows the lab as it would know AWS: by its environment, and by one file of variables."""

    checkout: Checkout
    environment: dict[str, str]
    #: Which lines of the log the test has made itself.
    by_hand: list[tuple[int, int]] = field(default_factory=list)

    def orchestrate(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.checkout.orchestrate(*words, "--target", "aws", **self.environment, **more)

    def answer(self, *words: str) -> dict[str, Any]:
        done = self.orchestrate(*words, "--json")
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return dict(json.loads(done.stdout))

    def log(self) -> list[dict[str, Any]]:
        """All that the lab was asked, locks included."""
        whole, _, _ = (self.checkout.lab.root / "requests.jsonl").read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def asked(self) -> set[str]:
        """The actions that commands asked for, as IAM names them."""
        lines = [line for number, line in enumerate(self.log()) if not any(first <= number < last for first, last in self.by_hand)]
        # EC2 wants this action too for what is made with tags.
        tagged = {"ec2:CreateTags" for line in lines if any(name.startswith("TagSpecification.") for name in line["params"])}
        return {f"{line['service']}:{line['action']}" for line in lines} | tagged

    @contextmanager
    def hand(self) -> Iterator[Any]:
        """EC2, for a change by hand, which is no command's."""
        first = len(self.log())
        yield self.checkout.ec2()
        self.by_hand.append((first, len(self.log())))

    def on_host(self, command: str) -> str:
        config = self.checkout.path / ".slipway" / "aws" / "machines" / "slipway" / "ssh_config"
        done = subprocess.run(["ssh", "-F", str(config), "slipway", command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with own_lab(tmp_path_factory.mktemp("aws"), plain=True) as here:
        given = here.answer("lab", "aws")["aws"]
        inventory = here.path / "inventory"
        shutil.copy(given["variables"], inventory / "aws" / "group_vars" / "all")
        shutil.copy(inventory / "lab" / "group_vars" / "all" / "lab_ports.yml", inventory / "aws" / "group_vars" / "all")
        # An EC2 instance that runs the tests would lend its own role.
        yield Account(here, given["environment"] | {"AWS_EC2_METADATA_DISABLED": "true"})


@pytest.fixture(scope="module")
def machine(account: Account) -> dict[str, Any]:
    return account.answer("up")


def test_the_labs_file_has_what_no_stand_in_can_equal(account: Account) -> None:
    given = yaml.safe_load((account.checkout.path / "inventory" / "aws" / "group_vars" / "all" / "lab_aws.yml").read_text())
    assert sorted(given) == ["docker_apt_key_fingerprint", "stack_images"]
    named = {service: image.partition("@") for service, image in given["stack_images"].items()}
    own = {service: image.partition("@") for service, image in ROLE["__stack_images"].items()}
    assert {service: parts[0] for service, parts in named.items()} == {service: parts[0] for service, parts in own.items()}
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for *_, digest in named.values())


@pytest.mark.parametrize(
    ("words", "given", "region"),
    [
        # The environment's keys; then a profile's, whose region is not read.
        ((), {}, "us-east-1"),
        ((), {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "mine"}, "us-east-1"),
        ((), {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        (("--region", "eu-north-1"), {"AWS_REGION": "eu-west-1"}, "eu-north-1"),
    ],
)
def test_credentials_and_regions_are_found_as_the_readme_says(
    account: Account, tmp_path: Path, words: tuple[str, ...], given: dict[str, str], region: str
) -> None:
    before = len(account.log())
    done = status(account, tmp_path, words, given)
    assert done.returncode == 0, done.stderr
    assert {line["region"] for line in account.log()[before:]} == {region}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AWS credentials: none found"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "gone"}, "AWS_PROFILE: 'gone' cannot be used"),
        ({"AWS_REGION": "us-eats-1"}, "slipway_region: 'us-eats-1' is not a region of EC2. Did you mean us-east-1"),
    ],
)
def test_credentials_and_regions_that_are_wrong_end_with_2(account: Account, tmp_path: Path, given: dict[str, str], said: str) -> None:
    done = status(account, tmp_path, (), given)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def status(account: Account, folder: Path, words: tuple[str, ...], given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`status` with files of the SDK's own; an empty variable is left out."""
    for name, text in (("config", SETTINGS), ("credentials", KEYS)):
        (folder / name).write_text(text)
    files = {"AWS_CONFIG_FILE": str(folder / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials")}
    environment = {name: value for name, value in (account.environment | files | given).items() if value}
    return account.checkout.orchestrate("status", "--target", "aws", *words, **environment)


def test_up_takes_everything_from_where_it_is_on_aws(account: Account, machine: dict[str, Any]) -> None:
    with urllib.request.urlopen(machine["url"].replace("/lab?", "/api/status?"), timeout=30) as jupyter:
        assert "started" in json.load(jupyter)
    assert all(service["health"] == "healthy" for service in machine["services"].values())
    with account.hand() as ec2:
        found = ec2.describe_instances(InstanceIds=[machine["instance"]["id"]])["Reservations"][0]["Instances"][0]
        image = ec2.describe_images(ImageIds=[found["ImageId"]])["Images"][0]
        group = ec2.describe_security_groups(GroupNames=["slipway-slipway"])["SecurityGroups"][0]
    assert (image["OwnerId"], image["Name"].startswith("ubuntu/images/")) == ("099720109477", True)
    # This computer's address, as the machine sees it: asked at checkip.amazonaws.com.
    assert [rule["IpRanges"][0]["CidrIp"] for rule in group["IpPermissions"]] == [f"{account.checkout.lab.public_cidr[1]}/32"]
    source = account.on_host("cat /etc/apt/sources.list.d/docker.list && apt-cache policy docker-ce docker-compose-plugin")
    assert "signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/debian bookworm stable" in source
    assert len(re.findall(r"\*\*\* .*\n *500 https://download.docker.com/linux/debian bookworm/stable amd64 Packages", source)) == 2
    listed = account.on_host("docker images --digests --format '{{.Repository}}@{{.Digest}}'").split()
    pinned = yaml.safe_load((account.checkout.path / "inventory" / "aws" / "group_vars" / "all" / "lab_aws.yml").read_text())[
        "stack_images"
    ]
    assert {re.sub(r":[^:@/]+@", "@", image) for image in pinned.values()} <= set(listed)
    assert account.asked() - FREE - policy() == set(), "missing in the policy"


def test_another_machine_of_the_lab_sees_nothing_of_it(account: Account) -> None:
    with account.hand() as ec2:
        image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"][0]["ImageId"]
        made = ec2.run_instances(ImageId=image, InstanceType="t2.micro", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        try:
            look = "grep -c -e docker.com -e quay.io -e amazonaws /etc/hosts; ls /usr/local/share/ca-certificates"
            command = ["docker", "exec", f"{account.checkout.lab.id}-{made}", "sh", "-c", look]
            assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split() == ["0"]
        finally:
            ec2.terminate_instances(InstanceIds=[made])


def test_the_proxy_leads_to_these_names_alone(account: Account) -> None:
    direct = urllib.request.ProxyHandler({"https": account.environment["HTTPS_PROXY"]})
    with pytest.raises(OSError, match="403 The lab answers for auth"):
        urllib.request.build_opener(direct).open("https://example.com", timeout=10)


@pytest.mark.long
@pytest.mark.usefixtures("machine")
def test_the_policy_has_the_actions_of_these_commands_and_no_others(account: Account) -> None:
    before = account.answer("status")
    resized = account.answer("resize", "t2.small", "--snapshot")
    assert (resized["outcome"], resized["url"]) == ("resized", before["url"])
    with account.hand() as ec2:
        change_by_hand(ec2, before["instance"]["id"])
    done = account.checkout.run("ansible-playbook", "-i", "inventory/aws", "playbooks/provision.yml", **account.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    account.answer("destroy", "slipway", "--yes")
    with account.hand() as ec2:
        assert ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
        assert ec2.describe_key_pairs()["KeyPairs"] == []
    allowed = policy()
    assert account.asked() - FREE - allowed == set(), "missing in the policy"
    assert allowed - account.asked() == set(NOT_ASKED), "the policy has too many"


def change_by_hand(ec2: Any, instance: str) -> None:
    """Stop the machine; add a rule to its group, and other words to the one that it has."""
    ec2.stop_instances(InstanceIds=[instance])
    [group] = ec2.describe_security_groups(GroupNames=["slipway-slipway"])["SecurityGroups"]
    [rule] = group["IpPermissions"]
    [source] = rule["IpRanges"]
    other = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[other])
    port = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    words = {**port, "IpRanges": [{"CidrIp": source["CidrIp"], "Description": "mine"}]}
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group["GroupId"], IpPermissions=[words])


def policy() -> set[str]:
    """The actions of the README's IAM policy."""
    _, _, after = (PROJECT / "README.md").read_text().partition("need these IAM actions:")
    document = json.loads(re.findall(r"```json\n(.*?)```", after, re.DOTALL)[0])
    return {action for statement in document["Statement"] for action in statement["Action"]}
