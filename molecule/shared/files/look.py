"""All that EC2 has of a machine, as JSON: one call instead of one of each module, which take seconds to start.

Usage: look.py NAME, with the endpoint and the credentials in the environment.
"""

import json
import sys

import boto3

SHUTDOWN = "instanceInitiatedShutdownBehavior"


def main(name: str) -> None:
    """Print what carries the machine's tag or name, and what its console shows."""
    ec2 = boto3.client("ec2")
    living = ["pending", "running", "stopping", "stopped", "shutting-down"]
    mine = [{"Name": "tag:slipway", "Values": [name]}, {"Name": "instance-state-name", "Values": living}]
    instances = [item for found in ec2.describe_instances(Filters=mine)["Reservations"] for item in found["Instances"]]
    volumes = [disk["Ebs"]["VolumeId"] for item in instances for disk in item["BlockDeviceMappings"]]
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"slipway-{name}"]}])
    keys = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [f"slipway-{name}"]}])
    title = SHUTDOWN[0].upper() + SHUTDOWN[1:]
    found = {
        "instances": instances,
        "disks": ec2.describe_volumes(VolumeIds=volumes)["Volumes"] if volumes else [],
        "groups": groups["SecurityGroups"],
        "keys": keys["KeyPairs"],
        "shutdown": [ec2.describe_instance_attribute(InstanceId=item["InstanceId"], Attribute=SHUTDOWN)[title] for item in instances],
        "consoles": [ec2.get_console_output(InstanceId=item["InstanceId"]).get("Output", "") for item in instances],
    }
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
