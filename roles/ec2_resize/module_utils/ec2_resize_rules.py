"""What EC2 refuses only when the instance is stopped already, found before: facts as EC2 describes them in, refusals out.

Source: "Compatibility for changing the instance type" and "Change the instance type", Amazon EC2 User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]

#: Exit codes: what another input would mend, and what has to be changed at the instance or the account first.
BAD_INPUT, REFUSED = 2, 3
#: Marks of a resize on its way, on the instance itself: whoever finds them knows what is left to do.
FROM, TO, SINCE, FINGERPRINT = "slipway-resize-from", "slipway-resize-to", "slipway-resize-since", "slipway-fingerprint-"
#: Mark of a machine that `stop` has brought down, until all that ran on it was brought back and compared.
STOP = "slipway-stop-since"
#: Marks of a type that is borrowed for one notebook, until a resize brings the machine back or gives it another one.
BURST = "slipway-burst-"
#: Characters of a tag's value, at most. Source: "Tag your Amazon EC2 resources", Amazon EC2 User Guide, which allows 50 tags besides.
VALUE = 256
#: Families that one quota counts together, "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances".
STANDARD, STANDARD_QUOTA = re.compile("(?!trn|inf|hpc|mac|dl)[acdhimrtz]"), "L-1216C47A"

#: Hours of a month, for prices.
HOURS = 730

#: What fingerprints end with that were taken by the first version, in another way than today's: the two cannot be compared.
FIRST_WAY = re.compile(" sha256:[0-9a-f]+$")


class WrongError(Exception):
    """A refusal: its text, which names what, the value found and what is allowed; and its exit code."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code


def packed(fingerprints: Mapping[str, str]) -> dict[str, str]:
    """The fingerprints, a line by store, as tags: those of 20 projects fit, which had more stores than an instance may have tags.

    They stand one after the other, NAME=LINE, with + between them and @ for a space, which a value may not end with.
    """
    text = "+".join(f"{name}={said.replace(' ', '@')}" for name, said in sorted(fingerprints.items()))
    return {f"{FINGERPRINT}{start // VALUE:02}": text[start : start + VALUE] for start in range(0, len(text), VALUE)}


def unpacked(tags: Mapping[str, str]) -> dict[str, str]:
    """The fingerprints among an instance's tags. Versions before gave each a tag, by the store's name."""
    marks = {key.removeprefix(FINGERPRINT): value for key, value in tags.items() if key.startswith(FINGERPRINT)}
    text = "".join(marks.pop(key) for key in sorted(marks) if key.isdecimal())
    pairs = (each.partition("=") for each in text.split("+") if each)
    return marks | {name: said.replace("@", " ") for name, _, said in pairs}


def known_fingerprints(tags: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The fingerprints that an instance's tags have, by store, and the stores whose fingerprint cannot be compared with one of today."""
    found = unpacked(tags)
    return {store: said for store, said in found.items() if not FIRST_WAY.search(said)}, sorted(
        store for store, said in found.items() if FIRST_WAY.search(said)
    )


def check_stop(instance: Facts, attributes: Facts) -> None:
    """Raise WrongError if this instance cannot be stopped. `attributes` are DescribeInstanceAttribute's, by name."""
    name = instance["InstanceId"]
    if instance["RootDeviceType"] != "ebs":
        raise WrongError(f"{name}: its root device is {instance['RootDeviceType']}, which a stop erases. Allowed: an instance on EBS.")
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    if group := tags.get("aws:autoscaling:groupName"):
        raise WrongError(
            f"{name}: it is in the Auto Scaling group {group}, which replaces a stopped instance. Detach it from the group first."
        )
    if attributes["disableApiStop"]:
        raise WrongError(f"{name}: stop protection is on. Turn it off first (aws ec2 modify-instance-attribute --no-disable-api-stop).")


def check_reached(instance: Facts) -> None:
    """Raise WrongError if nothing on this instance, which is not stopped, can be brought down in order before a stop."""
    name, state = instance["InstanceId"], instance["State"]["Name"]
    if kind := instance.get("InstanceLifecycle"):
        raise WrongError(f"{name}: it is a {kind} instance, which EC2 may take away while it is stopped. Allowed: on-demand.")
    if state == "pending":
        raise WrongError(f"{name} is pending: it is being started. Nothing was changed. Wait until it runs; then the same command again.")
    if not instance.get("PublicIpAddress"):
        raise WrongError(f"{name} has no public address, so its services cannot be brought down by SSH. Nothing was changed.")


def beside(name: str, names: Sequence[str]) -> list[str]:
    """Those of the machines that belong to the one of this name, as that of a project's store does: they cost what they did."""
    return sorted({each for each in names if each.startswith(f"{name}-")})


def check_instance(instance: Facts, attributes: Facts) -> None:
    """Raise WrongError where this instance cannot be resized at all. `attributes` are DescribeInstanceAttribute's, by name."""
    check_stop(instance, attributes)
    name = instance["InstanceId"]
    if instance.get("InstanceLifecycle"):
        raise WrongError(f"{name}: it is a {instance['InstanceLifecycle']} instance, whose type cannot be changed. Allowed: on-demand.")
    if (instance.get("HibernationOptions") or {}).get("Configured"):
        raise WrongError(f"{name}: hibernation is on, and its type cannot be changed then. Allowed: an instance that was made without it.")
    if attributes["instanceInitiatedShutdownBehavior"] != "stop":
        raise WrongError(
            f"{name}: its shutdown behaviour is terminate: a shutdown from within would remove it with its disk. Allowed: stop."
        )


def check_type(instance: Facts, current: Facts, wanted: Facts, field: str) -> None:
    """Raise WrongError where this instance cannot have the wanted type. `current` and `wanted` are DescribeInstanceTypes'."""

    def refuse(why: str, allowed: str) -> None:
        raise WrongError(f"{field}: {wanted['InstanceType']!r} cannot be used. {why} Allowed: {allowed}.", BAD_INPUT)

    name = instance["InstanceId"]
    if instance["Architecture"] not in (chips := wanted["ProcessorInfo"]["SupportedArchitectures"]):
        refuse(f"It is {'/'.join(chips)}, and {name} is {instance['Architecture']}.", f"a type that is {instance['Architecture']}")
    if instance["VirtualizationType"] not in (kinds := wanted["SupportedVirtualizationTypes"]):
        refuse(f"It is {'/'.join(kinds)}, and {name} is {instance['VirtualizationType']}.", "a type of the same virtualization")
    if "ebs" not in wanted["SupportedRootDeviceTypes"]:
        refuse("It has no EBS root device.", "a type with EBS")
    # `uefi-preferred` boots by either.
    boot = instance.get("BootMode") or instance.get("CurrentInstanceBootMode") or "uefi-preferred"
    if boot not in ("uefi-preferred", *(modes := wanted.get("SupportedBootModes") or [boot])):
        refuse(f"It boots by {'/'.join(modes)}, and {name} by {boot}.", f"a type that boots by {boot}")
    here, there = (facts["NetworkInfo"] for facts in (current, wanted))
    if here.get("MaximumNetworkCards", 1) != there.get("MaximumNetworkCards", 1):
        refuse(f"It has {there['MaximumNetworkCards']} network cards.", f"a type with {here['MaximumNetworkCards']}")
    if (used := len(instance.get("NetworkInterfaces", []))) > there["MaximumNetworkInterfaces"]:
        refuse(f"It has {there['MaximumNetworkInterfaces']} network interfaces, and {name} uses {used}.", f"a type with {used} or more")
    if there["EnaSupport"] == "required" and not instance.get("EnaSupport"):
        refuse(
            f"It needs enhanced networking (ENA), which {name} has not.", "a type without it, or turn it on (--ena-support) while stopped"
        )
    disks = len(instance.get("BlockDeviceMappings", []))
    # One limit for disks and network interfaces on most of the Nitro types.
    most = (ebs := wanted["EbsInfo"]).get("MaximumEbsAttachments", 27)
    if disks + (used if ebs.get("AttachmentLimitType") == "shared" and wanted.get("Hypervisor") == "nitro" else 0) > most:
        refuse(f"It takes {most} attached volumes, and {name} has {disks}.", "a type that takes more, or detach some")


def check_unseen(known: Sequence[Facts], wanted: Facts) -> None:
    """Raise WrongError where a stopped host could refuse this type, which nobody can ask. `known` are those it was asked for."""
    least = min(facts["MemoryInfo"]["SizeInMiB"] for facts in known)
    if wanted["MemoryInfo"]["SizeInMiB"] < least or (needs_nvme(wanted) and not any(needs_nvme(facts) for facts in known)):
        raise WrongError(
            f"ec2_resize_fallback: {wanted['InstanceType']!r} cannot be used while the machine is stopped: nobody can ask what it bears. "
            f"Allowed: a type with {least} MiB or more and the same kind of disks.",
            BAD_INPUT,
        )


def needs_nvme(wanted: Facts) -> bool:
    """Whether disks are NVMe there: the host's kernel must know it."""
    return bool(wanted["EbsInfo"].get("NvmeSupport") == "required")


def check_quota(instances: Sequence[Facts], mine: str, wanted: Facts, quota: float) -> None:
    """Raise WrongError where the account's quota of virtual CPUs is too small. `instances` are those of the region."""
    if not STANDARD.match(wanted["InstanceType"]):
        return
    used = sum(
        item["CpuOptions"]["CoreCount"] * item["CpuOptions"]["ThreadsPerCore"]
        for item in instances
        # Spot instances have a quota of their own.
        if item["InstanceId"] != mine
        and STANDARD.match(item["InstanceType"])
        and item.get("CpuOptions")
        and not item.get("InstanceLifecycle")
    )
    needed = wanted["VCpuInfo"]["DefaultVCpus"]
    if used + needed > quota:
        raise WrongError(
            f"{wanted['InstanceType']} has {needed} virtual CPUs, {used} run besides, and the account's quota in this region is {quota:g} "
            f"(Service Quotas, {STANDARD_QUOTA}). Ask AWS for more, or stop other instances."
        )


def check_free_plan(plan: str | None, wanted: Facts) -> None:
    """Raise WrongError where the account's free plan has not this type. `plan` is GetAccountPlanState's word, or none where unknown."""
    if plan == "FREE" and not wanted.get("FreeTierEligible"):
        raise WrongError(
            f"{wanted['InstanceType']} is not of the account's free plan, and its start would be refused. Allowed: a type that is "
            "free tier eligible (aws ec2 describe-instance-types --filters Name=free-tier-eligible,Values=true), or the paid plan."
        )


def caveats(origin: Facts, wanted: Facts) -> Iterator[str]:
    """What a change of type brings that nobody asked for. Source: "Burstable performance instances", Amazon EC2 User Guide."""
    if origin["InstanceType"].startswith("t2."):
        yield "T2 loses its CPU credits by the stop"
    if wanted.get("BurstablePerformanceSupported") and not wanted["InstanceType"].startswith("t2."):
        yield f"{wanted['InstanceType']} starts as unlimited: CPU time beyond its credits is billed besides"


def stop_caveats(kind: Facts) -> Iterator[str]:
    """What a stop of an instance of this type (DescribeInstanceTypes') takes away. Source: "Instance store", Amazon EC2 User Guide."""
    if kind.get("InstanceStorageSupported"):
        size = kind.get("InstanceStorageInfo", {}).get("TotalSizeInGB", "?")
        yield f"{kind['InstanceType']} has {size} GB of instance store, and a stop erases it: copy what you need to the root disk first"


def price(prices: Facts, wanted: str, disks_gib: int) -> float | None:
    """USD per hour of the instance with its disks (gp3) and its public address, or none where the type's is not known."""
    if wanted not in prices.get("types", {}):
        return None
    return round(prices["types"][wanted] + disks_gib * prices["gp3_gib_month"] / 730 + prices["ipv4_hour"], 4)


def costs(prices: Facts, wanted: str, disks_gib: int, elastic_ips: int = 0) -> dict[str, Any]:
    """What an instance of this type costs, in USD without tax: running with its disks (gp3) and its public address, and stopped.

    An address that EC2 lends is given back by a stop; an Elastic IP costs the same as before. None if a price is not known. A month has 730
    hours, as in AWS's own examples.
    """
    hourly = price(prices, wanted, disks_gib)
    known = "gp3_gib_month" in prices
    disks = round(disks_gib * prices["gp3_gib_month"], 2) if known else None
    addresses = round(elastic_ips * prices["ipv4_hour"] * HOURS, 2) if known else None
    return {
        "type": wanted,
        "disks_gib": disks_gib,
        "per_hour": hourly,
        "per_month": None if hourly is None else round(hourly * HOURS, 2),
        "stopped": {
            "per_month": None if disks is None or addresses is None else round(disks + addresses, 2),
            "disks_per_month": disks,
            "elastic_ips": elastic_ips,
            "elastic_ips_per_month": addresses,
        },
    }


def running_line(found: Facts) -> str:
    """What is told before an instance is made or started, of `costs`."""
    what = f"a {found['type']} with {found['disks_gib']} GiB of disk and a public address"
    if found["per_hour"] is None:
        return f"Price: of {what} it is not known here; AWS's price list has it"
    return f"Price: {found['per_hour']:.4f} USD per hour, {found['per_month']:.2f} USD per month, for {what}"


def stopped_line(found: Facts) -> str:
    """What is told of a stopped instance, of `costs`."""
    stopped, disks = found["stopped"], f"{found['disks_gib']} GiB of disk"
    addresses = f"{stopped['elastic_ips']} Elastic IP{'s' * (stopped['elastic_ips'] != 1)}"
    if stopped["per_month"] is None:
        return f"{disks}{f' and {addresses}' if stopped['elastic_ips'] else ''}, at a price that is not known here; AWS's price list has it"
    if not stopped["elastic_ips"]:
        return f"{stopped['per_month']:.2f} USD per month while it is stopped, for {disks}; it has no public address until it is started"
    each = f"{stopped['disks_per_month']:.2f} USD for {disks}, {stopped['elastic_ips_per_month']:.2f} USD for {addresses}"
    return f"{stopped['per_month']:.2f} USD per month while it is stopped: {each}"


def fallbacks(names: Sequence[str], wanted: str, current: str, prices: Mapping[str, float | None], most: float) -> Iterator[str]:
    """Those types that may be tried after the wanted one: at most `most` USD per hour, 0 for any. Raises WrongError."""
    if len(set(names)) != len(names):
        raise WrongError(f"ec2_resize_fallback: {list(names)} cannot be used. Allowed: each type once.", BAD_INPUT)
    for name in names:
        if name in (wanted, current):
            known = "the type that is wanted" if name == wanted else "today's type, which comes back in any case"
            raise WrongError(f"ec2_resize_fallback: {name!r} cannot be used. It is {known}. Allowed: other types.", BAD_INPUT)
        if within(name, prices[name], most, "ec2_resize_fallback"):
            yield name


def within(name: str, hourly: float | None, most: float, field: str) -> bool:
    """Whether the type costs at most so much. Raises WrongError where nobody can tell."""
    if most and hourly is None:
        raise WrongError(
            f"{field}: {name!r} cannot be used with ec2_resize_max_price: {most:g}, for its price is not known. Allowed: a type of "
            "files/prices.json (make prices refreshes it), or no limit.",
            BAD_INPUT,
        )
    return not most or (hourly or 0) <= most
