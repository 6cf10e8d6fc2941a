"""What `up` cannot use: exit 2, one clear line, and nothing made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Checkout
from tests.e2e.support.computers import instances
from tests.e2e.support.refusals import changes, table

#: Words of `up` -> what its one line must say: the field, the value found and what is allowed.
ROWS: list[tuple[list[str], list[str]]] = [
    (["--type", "t2.mega"], ["ec2_instance_type", "'t2.mega'", "Did you mean"]),
    (["--type", "T2.MICRO"], ["ec2_instance_type", "'T2.MICRO'", "Did you mean t2.micro?"]),
    (["--type", "t4g.micro"], ["ec2_instance_type", "'t4g.micro'", "arm64", "x86_64"]),
    (["--type", "t2.nano"], ["stack_services", "880 MiB", "512 MiB", "a larger type"]),
    (["--disk", "ten"], ["--disk", "'ten'", "Allowed: a whole number of GiB, 1 to 16384"]),
    (["--disk", "1e3"], ["--disk", "'1e3'", "Allowed"]),
    (["--disk", "5"], ["ec2_instance_disk_gib", "5", "at least 8 GiB"]),
    (["--services", "redis,redsi"], ["--services", "'redsi'", "jupyter, redis, mongo, postgres", "Did you mean redis?"]),
    (["--name", "{{ 7*7 }}"], ["--name", "{{ 7*7 }}", "Allowed"]),
    (["--region", "mars-1"], ["slipway_region", "'mars-1'", "Did you mean"]),
    (["--region", "eu-mars-1"], ["slipway_region", "'eu-mars-1'", "Did you mean"]),
    (["--key-file", "missing"], ["ec2_instance_key_file", "missing", "does not exist"]),
    (["--key-file", "."], ["ec2_instance_key_file", "is not a file"]),
    (["--key-file", "open.key"], ["ec2_instance_key_file", "open.key", "0644", "chmod 600"]),
    (["--key-file", "public.key"], ["ec2_instance_key_file", "public.key", "must be a private key"]),
]


#: Variables of `ansible-playbook` -> what the failed task must say.
VARIABLES: list[tuple[dict[str, Any], list[str]]] = [
    ({"ec2_instance_tipe": "t2.micro"}, ["ec2_instance_tipe", "Did you mean ec2_instance_type"]),
    ({"stack_servces": ["redis"]}, ["stack_servces", "Did you mean stack_services"]),
    ({"slipway_nam": "x"}, ["slipway_nam", "Did you mean slipway_name"]),
    ({"ec2_instance_ssh_cidrs": ["10.0.0.300/33"]}, ["ec2_instance_ssh_cidrs", "10.0.0.300/33", "203.0.113.7/32"]),
    ({"ec2_instance_ssh_cidrs": ["10.0.0.1/8"]}, ["ec2_instance_ssh_cidrs", "10.0.0.1/8", "host bits"]),
    ({"ec2_instance_ssh_cidrs": ["10.0.0.1"]}, ["ec2_instance_ssh_cidrs", "did you mean 10.0.0.1/32"]),
    ({"ec2_instance_ssh_cidrs": ["0.0.0.0/0"]}, ["ec2_instance_ssh_cidrs", "0.0.0.0/0", "open_to_all"]),
    ({"ec2_instance_ssh_cidrs": ["::/0"]}, ["ec2_instance_ssh_cidrs", "::/0", "IPv4"]),
    ({"ec2_instance_ssh_timeout": -1}, ["ec2_instance_ssh_timeout", "-1", "1 second or more"]),
    ({"ec2_instance_state_dir": None}, ["ec2_instance_state_dir", "null", "absolute path"]),
    ({"ec2_instance_image_name": "no-such-image-*"}, ["ec2_instance_image_name", "no-such-image-*"]),
    ({"slipway_name": False}, ["ec2_instance_name", "False"]),
    ({"slipway_name": ""}, ["ec2_instance_name", '""', "Allowed"]),
    ({"slipway_name": "../up"}, ["ec2_instance_name", "../up", "Allowed"]),
    ({"slipway_name": "a" * 300}, ["ec2_instance_name", "aaa...", "1 to 40"]),
    ({"slipway_name": "two\nlines"}, ["ec2_instance_name", "two\\nlines", "Allowed"]),
    ({"slipway_region": ""}, ["slipway_region", "''", "Did you mean"]),
    ({"ec2_instance_disk_gib": "1e3"}, ["ec2_instance_disk_gib", "'1e3'", "in the digits 0 to 9"]),
    ({"ec2_instance_disk_gib": 0}, ["ec2_instance_disk_gib", "0", "Allowed"]),
    ({"ec2_instance_disk_gib": 99999}, ["ec2_instance_disk_gib", "99999", "16384"]),
    ({"stack_services": ["redis", "redsi"]}, ["stack_services", '"redsi"', "jupyter, mongo, postgres, redis"]),
    ({"stack_services": ["redis", "redis"]}, ["stack_services", '"redis", "redis"', "at most once"]),
    ({"stack_registry": ""}, ["stack_common_image_by", '"controller"', "without a registry", "Allowed: host"]),
    ({"stack_common_image_by": "laptop"}, ["stack_common_image_by", "laptop", "host", "controller"]),
    ({"stack_services": [True]}, ["stack_services", "[true]"]),
    ({"stack_services": []}, ["stack_services", "at least one"]),
    ({"stack_jupyter_port": 0}, ["stack_jupyter_port", "0", "1024 to 65535"]),
    ({"stack_jupyter_port": 70000}, ["stack_jupyter_port", "70000", "1024 to 65535"]),
    ({"stack_jupyter_port": "80a"}, ["stack_jupyter_port", "80a"]),
    ({"stack_images": {"redis": "redis"}}, ["stack_images", "redis", "with a tag or a digest"]),
    ({"stack_images": {"redsi": "redis:7"}}, ["stack_images", "redsi"]),
    ({"stack_wait_seconds": -5}, ["stack_wait_seconds", "-5", "1 second or more"]),
    ({"stack_name": "My Stack"}, ["stack_name", "My Stack", "lower-case"]),
    ({"docker_log_max_size": "ten"}, ["docker_log_max_size", "ten"]),
    ({"docker_engine_source": "snap"}, ["docker_engine_source", "snap"]),
]
#: What `status`, `open` and `destroy` are given as a name, and is none.
NAMES = ["", "..", "../..", "a/b", "UP", "$(id)"]
VERBS = [["status"], ["open"], ["destroy", "--yes"]]
#: Every name with every verb; each name with one of them is not long.
PAIRS = [
    pytest.param(verb, name, id=f"{name}-{verb[0]}", marks=[pytest.mark.long] * ((first - second) % len(VERBS) != 0))
    for first, name in enumerate(NAMES)
    for second, verb in enumerate(VERBS)
]


@pytest.fixture(scope="module")
def keys(lab: Checkout) -> None:
    for name, content, mode in (
        ("open.key", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o644),
        ("public.key", "ssh-ed25519 AAAA nobody\n", 0o600),
    ):
        path = Path(lab.path / name)
        path.write_text(content)
        path.chmod(mode)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(("words", "said"), table(ROWS, [" ".join(words)[:40] for words, _ in ROWS]))
def test_up_refuses(lab: Checkout, words: list[str], said: list[str]) -> None:
    before = len(lab.requests())
    name = [] if "--name" in words else ["--name", "refused"]
    done = lab.orchestrate("up", *name, *words)
    assert done.returncode == 2, done.stderr
    # Steps carry their time in brackets; the rest is the answer.
    answer = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(answer) == 1, answer
    assert [part for part in said if part not in answer[0]] == [], answer[0]
    assert changes(lab.requests()[before:]) == []


@pytest.mark.parametrize(("variables", "said"), table(VARIABLES, [json.dumps(given) for given, _ in VARIABLES]))
def test_ansible_playbook_refuses(lab: Checkout, variables: dict[str, Any], said: list[str]) -> None:
    before = len(lab.requests())
    done = lab.run("ansible-playbook", "playbooks/provision.yml", "--extra-vars", json.dumps({"slipway_name": "refused"} | variables))
    assert done.returncode == 2, done.stdout + done.stderr
    # Ansible folds its messages.
    answer = " ".join((done.stdout + done.stderr).split())
    assert [part for part in said if part not in answer] == [], answer
    assert changes(lab.requests()[before:]) == []


def test_a_file_of_variables_is_read_by_both(lab: Checkout) -> None:
    with lab.given({"stack_wait_secnds": 5}):
        for done in (lab.orchestrate("up", "--name", "refused"), lab.run("ansible-playbook", "site.yml")):
            assert done.returncode == 2, done.stdout + done.stderr
            assert "Did you mean stack_wait_seconds" in done.stdout + done.stderr


@pytest.mark.parametrize(("verb", "name"), PAIRS)
def test_a_name_that_is_no_name_reaches_no_folder(lab: Checkout, verb: list[str], name: str) -> None:
    (lab.path / ".slipway" / "lab" / "machines").mkdir(exist_ok=True)
    before, asked = sorted((lab.path / ".slipway" / "lab").rglob("*")), len(lab.requests())
    done = lab.orchestrate(*verb, "--name", name)
    assert done.returncode == 2, done.stderr
    assert f"--name: {name!r} cannot be used." in done.stderr
    assert sorted((lab.path / ".slipway" / "lab").rglob("*")) == before
    assert changes(lab.requests()[asked:]) == []


def test_a_dry_run_of_a_new_machine_tells_and_makes_nothing(lab: Checkout) -> None:
    before = len(lab.requests())
    done = lab.orchestrate("up", "--dry-run", "--name", "planned")
    assert done.returncode == 0, done.stderr
    assert "Tell that an instance would be made: would change" in done.stderr
    assert "changes would be made" in done.stdout
    assert changes(lab.requests()[before:]) == []
    assert not (lab.path / ".slipway" / "lab" / "machines" / "planned").exists()


def test_the_shells_own_aws_settings_do_not_reach_the_lab(lab: Checkout) -> None:
    done = lab.orchestrate(
        "status", "--name", "nobody", AWS_PROFILE="nobody", AWS_SESSION_TOKEN="x", AWS_REGION="mars-1", http_proxy="http://127.0.0.1:9"
    )
    assert done.returncode == 0, done.stderr
    assert "No instance" in done.stdout
    settings = lab.path / "aws-config"
    settings.write_text("[profile mine]\nregion = eu-west-1\n")
    done = lab.run("ansible-playbook", "playbooks/status.yml", AWS_PROFILE="mine", AWS_CONFIG_FILE=str(settings))
    assert done.returncode == 0, done.stdout + done.stderr


def test_aws_without_credentials_is_bad_input(checkout: Checkout) -> None:
    nowhere = {"HOME": str(checkout.path), "AWS_CONFIG_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
    done = checkout.orchestrate("up", "--target", "aws", **nowhere)
    assert done.returncode == 2, done.stderr
    assert "AWS credentials: none found" in done.stderr


def test_two_instances_of_one_name_are_both_listed_and_one_can_be_removed(lab: Checkout) -> None:
    ec2 = lab.ec2()
    image = ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "slipway", "Value": "twin"}]}]
    made = ec2.run_instances(ImageId=image, InstanceType="t2.micro", MinCount=2, MaxCount=2, TagSpecifications=tags)["Instances"]
    twins = [item["InstanceId"] for item in made]
    try:
        for words in (["up"], ["status"], ["destroy", "twin"]):
            done = lab.orchestrate(*words, "--name", "twin")
            assert done.returncode == 3, done.stderr
            assert all(twin in done.stderr for twin in twins)
            assert "destroy twin --instance i-" in done.stderr
        stranger = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])["Reservations"]
        others = [item["InstanceId"] for each in stranger for item in each["Instances"] if item["InstanceId"] not in twins]
        for word in ("", "twin", "i-12", "i-0a1b2c3d4e5f6071z", "i-0a1b2c3d4e5f60718", *others[:1]):
            refused = lab.orchestrate("destroy", "twin", "--instance", word)
            assert refused.returncode == 2, refused.stderr
        seen = lab.answer("destroy", "twin", "--instance", twins[0], "--dry-run")
        assert seen["changed"] == 1
        assert instances(ec2, "twin") == twins
        assert lab.answer("destroy", "twin", "--instance", twins[0])["changed"] == 1
        assert instances(ec2, "twin") == twins[1:]
        assert lab.answer("destroy", "twin", "--instance", twins[0])["changed"] == 0
        # The other is the machine now.
        only = lab.orchestrate("destroy", "twin", "--instance", twins[1])
        assert only.returncode == 2, only.stderr
        assert "the only instance" in only.stderr
    finally:
        ec2.terminate_instances(InstanceIds=twins)


def test_a_misspelt_command_or_option_is_refused(checkout: Checkout) -> None:
    assert checkout.orchestrate("upp").returncode == 2
    assert checkout.orchestrate("up", "--typ0", "t2.micro").returncode == 2
