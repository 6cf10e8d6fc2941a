"""What a resize is going to do, and what it has done: documents and their text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNKNOWN = "unknown"


def plan_text(plan: Mapping[str, Any], name: str) -> str:
    """Say what a resize would do, for a question or a dry run."""
    wanted, origin = plan["candidates"][0], plan["origin"]
    if not plan["needed"]:
        return f"The machine {name} is a {wanted} already: there is nothing to do."
    prices, memory = plan["price_per_hour"], plan["memory_mib"]
    lines = [
        f"Resize    {name} from {origin} ({memory[origin]} MiB) to {wanted} ({memory[wanted]} MiB)",
        f"Price     {_usd(prices[origin])} now, {_usd(prices[wanted])} afterwards, per hour, with disk and address",
        "Down      Jupyter and every store, for about a minute; kernels end, and notebooks stay as they were saved",
        f"Address   {'its Elastic IP' if plan['elastic_ip'] else 'a new public one'}; a tunnel's URL stays",
    ]
    if plan["candidates"][1:]:
        lines.append(f"Else      {', '.join(plan['candidates'][1:])}, where EC2 has no {wanted} to give")
    lines.append(f"At last   {origin} comes back where nothing else can be had")
    lines.append("Checked   the instance, the types, the zone, the permissions, the host, the services' memory")
    lines += [f"Mind      {what}" for what in plan["caveats"]]
    lines += [f"Not seen  {what}" for what in plan["unknown"]]
    if plan["halfway"]:
        lines.append("Half-way  it was begun before, and goes on from where it is")
    return "\n".join(lines)


def text(receipt: Mapping[str, Any]) -> str:
    """Render the document of `resize` for people."""
    if receipt["outcome"] == "unchanged":
        return f"The machine is a {receipt['to']} already: nothing was changed."
    address, price = receipt["public_ip"], receipt["price_per_hour"]
    lines = [
        f"Resized   {receipt['from']} -> {receipt['to']} ({receipt['outcome']})",
        f"Down      {receipt['downtime_s']:.0f} s, of {receipt['seconds']:.0f} s in all",
        f"Address   {address['before'] or 'none'} -> {address['after'] or 'none'}",
        f"Price     {_usd(price['before'])} -> {_usd(price['after'])} per hour, with disk and address",
    ]
    for store, found in sorted(receipt["fingerprints"].items()):
        same = "equal" if found["equal"] else f"DIFFERENT, after: {found['after']}"
        lines.append(f"  {store:<9} {found['before']}  {same}")
    lines += [f"Refused   {each['type']}: {each['code']}: {each['message']}" for each in receipt["refusals"]]
    lines += [f"Not seen  {each}" for each in receipt["unknown"]]
    lines += [f"Snapshot  {each}; it costs until you remove it" for each in receipt["snapshots"]]
    if receipt["url"]:
        lines.append(f"Jupyter   {receipt['url']}")
    return "\n".join(lines)


def _usd(price: float | None) -> str:
    return _UNKNOWN if price is None else f"{price:.4f} USD"
