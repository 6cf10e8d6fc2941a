#!/usr/bin/python
"""One read-only look at EC2 for everything that ec2_instance decides on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ec2_look
short_description: Read all that a machine's provisioning depends on, in one call of Python
description:
  - Asks EC2 for the instances with a tag, the wanted type, the newest image, the key pair and the security group.
  - Changes nothing; but with I(holder) it first takes the machine's lock for that command (module_utils/ec2_lock.py), and fails with
    C(exit_code) 3, naming the command, if another one has it.
  - Fails with C(exit_code) 2 where what was asked for does not exist, naming the field, the value and what is allowed.
  - One module instead of six C(amazon.aws.*_info) tasks, because loading boto3 takes longer than asking.
options:
  name: {type: str, required: true, description: Value of the tag C(slipway), the machine's name.}
  instance_type: {type: str, description: The type that a new instance would get. Not looked at where an instance exists.}
  disk_gib: {type: int, description: The root disk of a new instance in GiB.}
  image_name: {type: str, description: Pattern of the image's name.}
  image_owners: {type: list, elements: str, description: Accounts whose images are trusted.}
  image_contents: {type: str, default: '', description: "An own image with this in its tag C(slipway-contents) is preferred."}
  machine_image: {type: str, default: '', description: The id of the image to take, whatever others there are.}
  ssh_cidrs: {type: list, elements: str, description: Networks to be let in, checked for their form only.}
  fit_mib: {type: int, default: 0, description: Memory that a larger type should have. 0 looks for none.}
  ssh_open_to_all: {type: bool, default: false, description: Whether 0.0.0.0/0 may be one of them.}
  open_ports: {type: list, elements: dict, description: Ports to be opened beside SSH, checked for their form only.}
  key_path: {type: path, default: '', description: 'The private key of this computer, its public half beside it with C(.pub).'}
  state_dir: {type: path, default: '', description: 'Folder of the machine on this computer. An instance goes on with its C(ssh_key).'}
  holder: {type: dict, default: {}, description: 'Lock the machine for this command (module_utils/ec2_once.py). Empty locks nothing.'}
  instance_id: {type: str, default: '', description: Which instance is meant if more than one has the name.}
  group_preset: {type: str, default: ssh, choices: [ssh, book, stores], description: Ports open to all; warned of.}
extends_documentation_fragment: [amazon.aws.common.modules, amazon.aws.region.modules, amazon.aws.boto3]
"""

RETURN = r"""
instance: {type: dict, returned: always, description: The machine's instance as EC2 describes it, or none.}
memory_mib: {type: int, returned: always, description: Memory of its type, or of the wanted one.}
fit: {type: str, returned: always, description: "The smallest type of the instance's family with C(fit_mib), not below its own, or none."}
ending: {type: bool, returned: always, description: Whether an instance of that name is on its way out.}
region: {type: str, returned: always, description: The region that was asked.}
image: {type: dict, returned: when there is no instance, description: The image that a new instance is made from.}
image_baked: {type: bool, returned: when there is no instance, description: "Whether it is an own one, with I(image_contents)."}
key_pair: {type: dict, returned: always, description: The key pair named C(slipway-NAME), or none.}
key_trouble: {type: str, returned: always, description: 'C(missing) if no key is at I(key_path), C(other) if another one is; else empty.'}
key_path: {type: str, returned: always, description: The private key that was looked at.}
group: {type: dict, returned: always, description: The security group named C(slipway-NAME), or none.}
group_rules: {type: list, returned: always, description: 'All that it lets in, sorted, each as protocol:from:to:source.'}
open_rules: {type: list, returned: always, description: The preset and I(open_ports) as the rules of a security group.}
opens_ssh: {type: bool, returned: always, description: Whether port 22 is among them.}
ssh_cidrs: {type: list, returned: always, description: What was given.}
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils import ec2_lock, ec2_once
from ansible.module_utils.common.dict_transformations import camel_dict_to_snake_dict
from ansible.module_utils.ec2_asked import fitting, id_trouble, nearest_types, region_has_form, region_trouble, skew
from ansible.module_utils.ec2_images import CONTENTS, ImageError, baked, check_named, newest
from ansible.module_utils.ec2_rules import PRESETS, WrongError, doors, networks, opens_ssh, preset, preset_warnings, profiles, rules
from ansible_collections.amazon.aws.plugins.module_utils.botocore import normalize_boto3_result
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_list_to_ansible_dict
from ansible_collections.amazon.aws.plugins.module_utils.transformation import ansible_dict_to_boto3_filter_list

try:
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError
    from botocore.session import Session
except ImportError:
    pass  # AnsibleAWSModule says what is missing.

#: Of I(open_ports). The port is judged by a rule of its own, which says more than a type would.
PORT = {
    "port": {"type": "raw", "required": True},
    "cidrs": {"type": "list", "elements": "str", "required": True},
    "open_to_all": {"type": "bool", "default": False},
    "purpose": {"type": "str"},
    "names": {"type": "dict"},
}
LIVE = ["pending", "running", "stopping", "stopped", "shutting-down"]


class Look:
    """The questions, each answered from one API call."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        # About a minute with the SDK's own five tries each.
        self.client = module.client("ec2", retry_decorator=AWSRetry.jittered_backoff(retries=6, delay=2, max_delay=20))

    def instance(self) -> tuple[dict[str, Any] | None, bool]:
        """Return the machine's instance, and whether another one of that name is on its way out."""
        name = self.module.params["name"]
        wanted = self.module.params["instance_id"]
        # One that is named may have been removed by the same command before.
        states = [*LIVE, "terminated"] if wanted else LIVE
        filters = ansible_dict_to_boto3_filter_list({"tag:slipway": name, "instance-state-name": states})
        answer = self.client.describe_instances(Filters=filters, aws_retry=True)
        found = [item for reservation in answer["Reservations"] for item in reservation["Instances"]]
        ended = [item for item in found if item["State"]["Name"] in ("shutting-down", "terminated")]
        living = sorted((item for item in found if item not in ended), key=lambda item: item["LaunchTime"])
        instance, wrong = ec2_once.one_of(name, living, wanted, self.known_instance(), ended)
        if wrong and wanted:
            raise WrongError("ec2_instance_destroy_instance", wanted, wrong)
        if wrong:
            self.module.fail_json(msg=wrong, exit_code=3)
        return instance, any(item["State"]["Name"] == "shutting-down" for item in ended)

    def lock(self) -> None:
        """Take the machine's lock for the command that asks, or end with the one that has it."""
        given = self.module.params["holder"]
        if not given:
            return
        name = self.module.params["name"]
        try:
            other = ec2_lock.take(self.client, name, ec2_once.Holder(**given))
        except ClientError as refusal:
            self.stuck(refusal)
        if other:
            self.module.fail_json(msg=ec2_once.refusal(name, other), exit_code=3)

    def unlock(self) -> None:
        """Give the lock back at once, for this command will change nothing: another computer's may."""
        group = ec2_lock.find(self.client, self.module.params["name"])
        if group and ec2_lock.holder_of(group).id == self.module.params["holder"].get("id"):
            try:
                ec2_lock.end(self.client, group)
            except ClientError as refusal:
                self.stuck(refusal)

    def stuck(self, refusal: ClientError) -> NoReturn:
        """End with what can be done about a lock that EC2 refuses to make or to remove."""
        if why := ec2_once.stuck(self.module.params["name"], ec2_lock.code(refusal), str(refusal)):
            self.module.fail_json(msg=why, exit_code=3)
        raise refusal

    def known_instance(self) -> str:
        """The instance that this computer's folder has worked with, or none."""
        settings = Path(self.module.params["state_dir"], "ssh_config")
        known = self.module.params["state_dir"] and settings.is_file()
        return ec2_once.known_instance(settings.read_text(errors="replace")) if known else ""

    def key_path(self, instance: dict[str, Any] | None) -> str:
        """The key to look at: a machine that is there goes on with the one that its folder has, whichever was named."""
        own = Path(self.module.params["state_dir"], "ssh_key")
        return str(own) if instance and self.module.params["state_dir"] and own.is_file() else self.module.params["key_path"]

    def key_trouble(self, instance: dict[str, Any] | None, pair: dict[str, Any] | None) -> str:
        """Whether the key of this computer is the machine's."""
        if not self.module.params["key_path"]:
            return ""
        path = Path(self.key_path(instance))
        public = path.with_name(path.name + ".pub")
        here = None if not path.is_file() else public.read_text(errors="replace") if public.is_file() else ""
        learned = instance is not None and self.known_instance() == instance["InstanceId"]
        return ec2_once.key_trouble(instance is not None, pair and pair.get("PublicKey", ""), here, learned)

    def type_facts(self, wanted: str) -> dict[str, Any]:
        try:
            return self.client.describe_instance_types(InstanceTypes=[wanted], aws_retry=True)["InstanceTypes"][0]
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] not in ("InvalidInstanceType", "InvalidParameterValue"):
                raise
        pages = self.client.get_paginator("describe_instance_type_offerings").paginate()
        offered = sorted(item["InstanceType"] for page in pages for item in page["InstanceTypeOfferings"])
        raise WrongError("ec2_instance_type", wanted, nearest_types(wanted, offered))

    def fitting(self, current: str, least_mib: int) -> str | None:
        """The smallest type of this one's family with so much memory."""
        family = ansible_dict_to_boto3_filter_list({"instance-type": f"{current.partition('.')[0]}.*"})
        pages = self.client.get_paginator("describe_instance_types").paginate(Filters=family)
        sizes = [(item["MemoryInfo"]["SizeInMiB"], item["InstanceType"]) for page in pages for item in page["InstanceTypes"]]
        return fitting(sizes, least_mib)

    def image(self, architectures: list[str]) -> dict[str, Any]:
        pattern, owners = self.module.params["image_name"], self.module.params["image_owners"]
        filters = ansible_dict_to_boto3_filter_list({"name": pattern, "state": "available"})
        found = self.client.describe_images(Filters=filters, Owners=owners, aws_retry=True)["Images"]
        return dict(newest(found, pattern, owners, self.module.params["instance_type"], architectures, self.module.params["disk_gib"]))

    def named_image(self, architectures: list[str]) -> dict[str, Any]:
        """The image that was named, if a machine can be made from it."""
        wanted = self.module.params["machine_image"]
        try:
            found = self.client.describe_images(ImageIds=[wanted], aws_retry=True)["Images"]
        except ClientError as refusal:
            if not ec2_lock.code(refusal).startswith("InvalidAMIID."):
                raise
            found = []
        if not found:
            allowed = "This region has no such image that you may use. Images are of one region."
            raise ImageError("ec2_instance_machine_image", wanted, allowed)
        check_named(found[0], self.module.params["instance_type"], architectures, self.module.params["disk_gib"])
        return dict(found[0])

    def baked_image(self, architectures: list[str]) -> dict[str, Any] | None:
        """The account's own image of these contents. Another account's may have the same tag, and is not asked for."""
        contents = self.module.params["image_contents"]
        if not contents:
            return None
        filters = ansible_dict_to_boto3_filter_list({f"tag:{CONTENTS}": contents, "state": "available"})
        own = self.client.describe_images(Filters=filters, Owners=["self"], aws_retry=True)["Images"]
        found = baked(own, contents, architectures, self.module.params["disk_gib"])
        return None if found is None else dict(found)

    def check_offered(self, wanted: str) -> None:
        """Refuse a type that no zone of this region offers. EC2 chooses the zone."""
        filters = ansible_dict_to_boto3_filter_list({"instance-type": wanted})
        offered = self.client.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters, aws_retry=True)
        if not offered["InstanceTypeOfferings"]:
            raise WrongError("ec2_instance_type", wanted, "It is not offered in any zone of this region.")

    def named(self, operation: str, key: str, filters: dict[str, str], **more: Any) -> dict[str, Any] | None:
        found = getattr(self.client, operation)(Filters=ansible_dict_to_boto3_filter_list(filters), aws_retry=True, **more)[key]
        return found[0] if found else None


def look(module: AnsibleAWSModule) -> dict[str, Any]:
    """Ask everything; a question whose answer forbids the next ends the module."""
    asked, name = Look(module), module.params["group_preset"]
    networks(module.params["ssh_cidrs"], module.params["ssh_open_to_all"], "ec2_instance_ssh_cidrs", "ec2_instance_ssh_open_to_all")
    open_rules = doors(module.params["open_ports"])
    asked.lock()
    instance, ending = asked.instance()
    if instance is None:
        refuse_unknown_region(module)
    wanted = module.params["instance_type"]
    facts = asked.type_facts(instance["InstanceType"] if instance else wanted)
    if instance and module.params["image_name"] and wanted != instance["InstanceType"]:
        # It stays as it is, and an unknown type is refused all the same.
        asked.type_facts(wanted)
    group_name = f"slipway-{module.params['name']}"
    group = asked.named("describe_security_groups", "SecurityGroups", {"group-name": group_name})
    pair = asked.named("describe_key_pairs", "KeyPairs", {"key-name": group_name}, IncludePublicKey=True)
    key_trouble = asked.key_trouble(instance, pair)
    if key_trouble:
        asked.unlock()
    result: dict[str, Any] = {
        "instance": instance,
        "memory_mib": facts["MemoryInfo"]["SizeInMiB"],
        "ending": ending,
        "fit": asked.fitting(instance["InstanceType"], max(module.params["fit_mib"], facts["MemoryInfo"]["SizeInMiB"]))
        if instance and module.params["fit_mib"]
        else None,
        "region": module.region,
        "key_pair": pair,
        "key_trouble": key_trouble,
        "key_path": asked.key_path(instance),
        "group": group,
        "group_rules": rules(group),
        "open_rules": preset(name, open_rules),
        "opens_ssh": opens_ssh(name),
        "ssh_cidrs": module.params["ssh_cidrs"],
    }
    for warning in preset_warnings(name, open_rules, result["group_rules"]):
        module.warn(warning)
    if instance is None and module.params["image_name"]:
        asked.check_offered(wanted)
        architectures = facts["ProcessorInfo"]["SupportedArchitectures"]
        own = None if module.params["machine_image"] else asked.baked_image(architectures)
        result["image_baked"] = own is not None
        if module.params["machine_image"]:
            result["image"] = asked.named_image(architectures)
        else:
            result["image"] = own or asked.image(architectures)
    return result


def snake(value: Any) -> Any:
    """EC2's answer with Ansible's names, and tags as a dict."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    tags = boto3_tag_list_to_ansible_dict(value.get("Tags", []))
    converted = camel_dict_to_snake_dict(value, ignore_list=["Tags"])
    return converted | ({"tags": tags} if "Tags" in value else {})


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "instance_type": {"type": "str", "default": "t2.micro"},
            "disk_gib": {"type": "int", "default": 20},
            "image_name": {"type": "str"},
            "image_owners": {"type": "list", "elements": "str", "default": []},
            "image_contents": {"type": "str", "default": ""},
            "machine_image": {"type": "str", "default": ""},
            "ssh_cidrs": {"type": "list", "elements": "str", "default": []},
            "fit_mib": {"type": "int", "default": 0},
            "ssh_open_to_all": {"type": "bool", "default": False},
            "open_ports": {"type": "list", "elements": "dict", "default": [], "options": PORT},
            "key_path": {"type": "path", "default": "", "no_log": False},
            "state_dir": {"type": "path", "default": ""},
            "holder": {"type": "dict", "default": {}},
            "instance_id": {"type": "str", "default": ""},
            "group_preset": {"type": "str", "default": "ssh", "choices": list(PRESETS)},
        },
        supports_check_mode=True,
    )
    if trouble := id_trouble(module.params["instance_id"]):
        module.fail_json(msg=trouble, exit_code=2)
    try:
        check_settings(module)
        # With a name of another form the SDK fails before it asks.
        if not region_has_form(module.region):
            refuse_unknown_region(module)
        module.exit_json(**{key: snake(normalize_boto3_result(value)) for key, value in asked_of_ec2(module).items()})
    except (ImageError, WrongError) as wrong:
        field, value, allowed = wrong.args
        module.fail_json(msg=f"{field}: {value!r} cannot be used. {allowed}", exit_code=2)


def asked_of_ec2(module: AnsibleAWSModule) -> dict[str, Any]:
    """Look; an EC2 that cannot be asked ends the module with what can be done. A region that EC2 does not have is then the first reason."""
    try:
        return look(module)
    except NoCredentialsError:
        module.fail_json(
            msg="AWS credentials: none found. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`.",
            exit_code=2,
        )
    except EndpointConnectionError as failure:
        refuse_unknown_region(module)
        module.fail_json(
            msg=f"The EC2 API does not answer: {failure}. Check the network and the region, then run the same command again.", exit_code=4
        )
    except (BotoCoreError, ClientError) as failure:
        refuse_unknown_region(module)
        answer = getattr(failure, "response", {})
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        said = skew(answer.get("Error", {}).get("Code", ""), date, datetime.now(UTC))
        module.fail_json_aws(failure, msg=f"EC2 could not be asked{said}", exit_code=4)


def check_settings(module: AnsibleAWSModule) -> None:
    """Refuse settings of the SDK that it fails at before it asks."""
    given = module.params
    # Empty, not left out: the shell's settings do not count.
    if given["profile"] == "":
        return
    # The SDK reads its older name too, and that one first.
    named = [given["profile"], os.environ.get("AWS_DEFAULT_PROFILE")]
    try:
        profiles(named, bool(given["access_key"] or given["secret_key"] or given["session_token"]), Session().available_profiles)
    except BotoCoreError as broken:
        module.fail_json(
            msg=f"The AWS SDK cannot read its settings: {broken}. Mend the file, or unset the variable that names it.", exit_code=2
        )


def refuse_unknown_region(module: AnsibleAWSModule) -> None:
    """Refuse a region that EC2 does not have. Reading the SDK's list takes a while: it is left out if an instance was found there."""
    session = Session()
    known = [name for partition in session.get_available_partitions() for name in session.get_available_regions("ec2", partition)]
    # The SDK reads an empty one as one that is missing.
    if trouble := region_trouble(module.region, module.params["region"] or "", known):
        module.fail_json(msg=trouble, exit_code=2)


if __name__ == "__main__":
    main()
