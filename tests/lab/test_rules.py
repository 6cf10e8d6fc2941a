"""What EC2 refuses, with its own codes; faults on demand; and the log of requests."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.conftest import Checkout, ssh_group


@pytest.fixture(scope="module")
def ec2(lab: Checkout) -> Any:
    return lab.ec2()


@pytest.fixture(scope="module")
def image(ec2: Any) -> str:
    images = ec2.describe_images(Filters=[{"Name": "name", "Values": ["slipway-lab/*"]}])["Images"]
    return str(max(images, key=lambda item: item["CreationDate"])["ImageId"])


@pytest.fixture(scope="module")
def launch(ec2: Any, image: str) -> Iterator[Callable[..., str]]:
    made: set[str] = set()
    group = ssh_group(ec2, "lab-rules")

    def run(**changes: Any) -> str:
        wanted = {"ImageId": image, "InstanceType": "t2.micro", "SecurityGroupIds": [group], "MinCount": 1, "MaxCount": 1} | changes
        instance = str(ec2.run_instances(**wanted)["Instances"][0]["InstanceId"])
        made.add(instance)
        return instance

    yield run
    if made:
        ec2.terminate_instances(InstanceIds=[*made])
        ec2.get_waiter("instance_terminated").wait(InstanceIds=[*made], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    ec2.delete_security_group(GroupId=group)


@pytest.fixture(scope="module")
def running(launch: Callable[..., str]) -> str:
    return launch()


@pytest.fixture(scope="module")
def stopped(ec2: Any, launch: Callable[..., str]) -> str:
    instance = launch()
    ec2.stop_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return instance


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def zone_without(ec2: Any, kind: str) -> str:
    """A zone of the region where the type is not offered."""
    offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [kind]}])[
        "InstanceTypeOfferings"
    ]
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    return str(min(zones - {offer["Location"] for offer in offers}))


#: RunInstances with this change -> the code, and a word of the text.
LAUNCHES: list[tuple[dict[str, Any], str, str]] = [
    ({"InstanceType": "t2.mega"}, "InvalidParameterValue", "t2.mega"),
    ({"InstanceType": "T2.MICRO"}, "InvalidParameterValue", "T2.MICRO"),
    ({"InstanceType": "t4g.micro"}, "InvalidParameterValue", "arm64"),
    ({"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 5}}]}, "InvalidBlockDeviceMapping", "5GB"),
    ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue", "65"),
    ({"UserData": "#" * 16385}, "InvalidParameterValue", "16384"),
]


@pytest.mark.parametrize(("change", "expected", "word"), LAUNCHES, ids=[word for _, _, word in LAUNCHES])
def test_launches_that_ec2_refuses_are_refused_by_its_codes_and_make_nothing(
    ec2: Any, launch: Callable[..., str], change: dict[str, Any], expected: str, word: str
) -> None:
    before = ec2.describe_instances()["Reservations"]
    with pytest.raises(ClientError) as refused:
        launch(**change)
    assert code(refused) == expected
    assert word in str(refused.value)
    assert ec2.describe_instances()["Reservations"] == before


def test_a_type_that_the_zone_does_not_have_is_unsupported(ec2: Any, launch: Callable[..., str]) -> None:
    with pytest.raises(ClientError) as refused:
        launch(InstanceType="t3.micro", Placement={"AvailabilityZone": zone_without(ec2, "t3.micro")})
    assert code(refused) == "Unsupported"


@pytest.mark.parametrize("change", [{"InstanceType": {"Value": "t2.small"}}, {"Attribute": "instanceType", "Value": "t2.small"}])
def test_a_type_changes_only_while_stopped(ec2: Any, running: str, change: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as refused:
        ec2.modify_instance_attribute(InstanceId=running, **change)
    assert code(refused) == "IncorrectInstanceState"


@pytest.mark.parametrize("kind", ["t2.mega", "t4g.small"])
def test_a_type_that_a_stopped_instance_cannot_have_is_refused(ec2: Any, stopped: str, kind: str) -> None:
    with pytest.raises(ClientError) as refused:
        ec2.modify_instance_attribute(InstanceId=stopped, InstanceType={"Value": kind})
    assert code(refused) == "InvalidParameterValue"


@pytest.mark.parametrize("port", [-2, 65536, 99999])
def test_a_port_out_of_range_is_refused(ec2: Any, port: int) -> None:
    group = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    with pytest.raises(ClientError) as refused:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    assert code(refused) == "InvalidParameterValue"


def test_a_security_group_in_use_stays(ec2: Any, running: str) -> None:
    used = ec2.describe_instances(InstanceIds=[running])["Reservations"][0]["Instances"][0]["SecurityGroups"][0]["GroupId"]
    default = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    for group, expected in ((used, "DependencyViolation"), (default, "CannotDelete")):
        with pytest.raises(ClientError) as refused:
            ec2.delete_security_group(GroupId=group)
        assert code(refused) == expected
        assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]


def test_a_disk_never_gets_smaller(ec2: Any, running: str) -> None:
    volume = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [running]}])["Volumes"][0]
    with pytest.raises(ClientError) as refused:
        ec2.modify_volume(VolumeId=volume["VolumeId"], Size=volume["Size"] - 1)
    assert code(refused) == "InvalidParameterValue"


def test_a_client_token_makes_one_instance(ec2: Any, launch: Callable[..., str]) -> None:
    first = launch(ClientToken="once")
    assert launch(ClientToken="once") == first
    with pytest.raises(ClientError) as refused:
        launch(ClientToken="once", InstanceType="t2.small")
    assert code(refused) == "IdempotentParameterMismatch"
    # With a zone it counts in that zone.
    assert launch(ClientToken="once", Placement={"AvailabilityZone": "us-east-1b"}) != first
    ec2.terminate_instances(InstanceIds=[first])
    with pytest.raises(ClientError) as spent:
        launch(ClientToken="once")
    assert code(spent) == "IdempotentInstanceTerminated"


def test_what_is_asked_for_twice_at_once_is_made_once(ec2: Any, launch: Callable[..., str]) -> None:
    with ThreadPoolExecutor() as threads:
        assert len(set(threads.map(lambda _: launch(ClientToken="at once"), range(2)))) == 1

    def group(_: int) -> str:
        try:
            return str(ec2.create_security_group(GroupName="at-once", Description="tests")["GroupId"])
        except ClientError as refusal:
            return str(refusal.response["Error"]["Code"])

    with ThreadPoolExecutor() as threads:
        answers = sorted(threads.map(group, range(8)))
    assert answers[:-1] == ["InvalidGroup.Duplicate"] * 7
    ec2.delete_security_group(GroupId=answers[-1])


def test_a_lost_reply_and_the_same_request_again_make_one_instance(lab: Checkout, ec2: Any, launch: Callable[..., str]) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "asked", "Value": "twice"}]}]
    lab.fault(action="RunInstances", lost=True)
    with pytest.raises(ConnectionClosedError):
        launch(ClientToken="lost", TagSpecifications=tags)
    again = launch(ClientToken="lost", TagSpecifications=tags)
    found = ec2.describe_instances(Filters=[{"Name": "tag:asked", "Values": ["twice"]}])["Reservations"]
    assert [item["InstanceId"] for reservation in found for item in reservation["Instances"]] == [again]


def test_only_the_answer_to_what_was_carried_out_is_lost(lab: Checkout, ec2: Any) -> None:
    lab.fault(action="CreateKeyPair", lost=True)
    lab.fault(action="CreateKeyPair", code="RequestLimitExceeded")
    for dry_run, expected in ((True, "DryRunOperation"), (False, "RequestLimitExceeded")):
        with pytest.raises(ClientError) as refused:
            ec2.create_key_pair(KeyName="lost", DryRun=dry_run)
        assert code(refused) == expected
    with pytest.raises(ConnectionClosedError):
        ec2.create_key_pair(KeyName="lost")
    ec2.delete_key_pair(KeyName="lost")


def test_an_action_fails_as_often_as_asked(lab: Checkout, ec2: Any) -> None:
    lab.fault(action="DescribeVpcs", code="RequestLimitExceeded", times=2)
    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            ec2.describe_vpcs()
        assert code(refused) == "RequestLimitExceeded"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert ec2.describe_vpcs()["Vpcs"]


def test_the_log_has_each_request_with_its_end(lab: Checkout, ec2: Any) -> None:
    before = len(lab.requests())
    ec2.describe_vpcs()
    with pytest.raises(ClientError):
        ec2.delete_security_group(GroupId="sg-00000000000000000")
    new = [(line["action"], line["error"]) for line in lab.requests()[before:]]
    assert new == [("DescribeVpcs", None), ("DeleteSecurityGroup", "InvalidGroup.NotFound")]


def test_the_console_shows_the_hosts_own_keys(ec2: Any, running: str) -> None:
    address = ec2.describe_instances(InstanceIds=[running])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
    deadline = time.monotonic() + 60
    while not ec2.get_console_output(InstanceId=running)["Output"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    shown = ec2.get_console_output(InstanceId=running)["Output"]
    assert shown.startswith("-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 ") or "\nssh-ed25519 " in shown
    assert banner(address, 30).startswith("SSH-2.0-")


def banner(address: str, seconds: float) -> str:
    """What SSH says first, waited for; empty where it accepts and says nothing for 2 s."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((address, 22), timeout=2) as connection:
                return connection.recv(100).decode()
        except TimeoutError:
            return ""
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def test_ssh_refuses_or_hangs_for_a_while(lab: Checkout, ec2: Any, running: str) -> None:
    address = ec2.describe_instances(InstanceIds=[running])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
    assert banner(address, 30)
    lab.fault(instance=running, does="refuse ssh", seconds=3)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 22), timeout=2)
    assert banner(address, 20).startswith("SSH-2.0-")
    lab.fault(instance=running, does="hang on ssh", seconds=4)
    assert banner(address, 1) == ""
    time.sleep(4)
    assert banner(address, 20).startswith("SSH-2.0-")


def state(ec2: Any, instance: str) -> str:
    return str(ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_a_stop_that_hangs_is_stopping_until_it_ends(lab: Checkout, ec2: Any, launch: Callable[..., str]) -> None:
    instance = launch()
    lab.fault(instance=instance, does="hang on stop", seconds=25)
    ec2.stop_instances(InstanceIds=[instance])
    assert state(ec2, instance) == "stopping"
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_lost_power_stops_an_instance_and_vanishing_terminates_it(lab: Checkout, ec2: Any, launch: Callable[..., str]) -> None:
    instance = launch()
    lab.fault(instance=instance, does="lose power")
    assert state(ec2, instance) == "stopped"
    ec2.start_instances(InstanceIds=[instance])
    assert state(ec2, instance) == "running"
    lab.fault(instance=instance, does="vanish")
    assert state(ec2, instance) == "terminated"
    # The next one of the module's may not find it any more.
    with pytest.raises(ClientError) as refused:
        ec2.start_instances(InstanceIds=[instance])
    assert code(refused) == "IncorrectInstanceState"
