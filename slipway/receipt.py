"""What a resize is going to do, and what it has done: documents and their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from slipway.killed import plain

_UNKNOWN = "unknown"
#: What is not compared, and what is not looked for in containers.
_UNCOMPARED = "what expires by itself, and caches (~/.cache)"
_NOTHING_LOST = "nothing: no container held files of yours outside of the home and work/, or packages that were installed by hand"
_TO_KEEP = "such packages: adopt writes those of a project into its image, and `pip install --user` installs into the home, which is kept"
#: So many paths, and so many packages, are shown of a container.
_MOST_SHOWN = 5


def plan_document(published: Mapping[str, Any]) -> dict[str, Any]:
    """The document of `resize --dry-run`, by what was published; docs/json.md describes it."""
    return {**published["resize_plan"], "lost": published.get("lost", [])}


def lost_lines(lost: Sequence[Mapping[str, Any]]) -> list[str]:
    """What only containers hold, that are made again: files and packages."""
    lines = [f"Lost      {_files(each)}" for each in lost if each["files"]]
    lines += [f"Lost      {_packages(each)}" for each in lost if each["packages"]]
    return lines + [f"Keep      {_TO_KEEP}"] * any(each["packages"] for each in lost)


def _files(each: Mapping[str, Any]) -> str:
    rows = each["paths"][:_MOST_SHOWN]
    words = [plain(row["path"]) + (f" ({row['files']:,} files)" if row["files"] > 1 else "") for row in rows]
    more = each["files"] - sum(row["files"] for row in rows)
    words += [f"and {more:,} more"] * (more > 0)
    return f"{each['files']:,} file{'s' * (each['files'] != 1)} in {each['stack']}'s {each['service']}: {', '.join(words)}"


def _packages(each: Mapping[str, Any]) -> str:
    asked = [package for package in each["packages"] if package["asked"]] or each["packages"]
    words = [
        f"{plain(package['name'])}{' ' + plain(package['version']) if package['version'] else ''} ({package['kind']})"
        for package in asked[:_MOST_SHOWN]
    ]
    more, along = len(asked) - len(words), len(each["packages"]) - len(asked)
    words += [f"and {more:,} more"] * (more > 0)
    came = f"; {along:,} more came along with them" if along else ""
    return f"packages in {each['stack']}'s {each['service']}: {', '.join(words)}{came}"


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
    lines += lost_lines(plan["lost"])
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
    lines += compared_lines(receipt["fingerprints"])
    lines += lost_lines(receipt["lost"]) or [f"Lost      {_NOTHING_LOST}"]
    lines += [f"Refused   {each['type']}: {each['code']}: {each['message']}" for each in receipt["refusals"]]
    lines += [f"Not seen  {each}" for each in receipt["unknown"]]
    lines += [f"Snapshot  {each}; it costs until you remove it" for each in receipt["snapshots"]]
    if receipt["url"]:
        lines.append(f"Jupyter   {receipt['url']}")
    return "\n".join(lines)


def compared_lines(fingerprints: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What each store held before and after, and what is not compared."""
    width = max([9, *map(len, fingerprints)])
    lines = []
    for store, found in sorted(fingerprints.items()):
        same = "equal" if found["equal"] else f"DIFFERENT, after: {found['after']}"
        lines.append(f"  {store:<{width}} {found['before']}  {same}")
    return lines + [f"Not compared: {_UNCOMPARED}"] * bool(fingerprints)


def burst_plan_text(plan: Mapping[str, Any], name: str) -> str:
    """Say what a burst would do, for a dry run."""
    if not plan["needed"]:
        return f"The machine {name} is a {plan['candidates'][0]} already: {plan['notebook']} would just be run."
    then = f"Then      {plan['notebook']} is run, what it made comes back, and the machine is a {plan['origin']} again, whatever happens"
    return f"{plan_text(plan, name)}\n{then}"


def burst_price_line(plan: Mapping[str, Any]) -> str:
    """What is told before a burst begins."""
    wanted, origin, prices = plan["candidates"][0], plan["origin"], plan["price_per_hour"]
    price = f"{wanted} for this run: {_usd(prices[wanted])} per hour ({origin}: {_usd(prices[origin])}), with disk and address."
    return "\n".join([price, *lost_lines(plan["lost"])])


def cost(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Hours from a burst's tag until now, and USD: of the larger type, and beyond the smaller one."""
    hours = max((datetime.now(UTC) - datetime.fromisoformat(tags["since"])).total_seconds() / 3600, 0.0)
    before, after = (float(tags[key]) if tags.get(key) else None for key in ("price-from", "price-to"))
    return {
        "price_per_hour": {"before": before, "after": after},
        "hours": round(hours, 4),
        "usd": None if after is None else round(hours * after, 4),
        "usd_more": None if after is None or before is None else round(hours * (after - before), 4),
    }


def cost_line(tags: Mapping[str, Any]) -> str:
    """What a burst has cost that was finished later."""
    return f"The burst took {_spent(cost(tags), tags['from'])}"


def rate(tags: Mapping[str, Any]) -> str:
    """What the borrowed type costs per hour."""
    return f"{_usd(cost(tags)['price_per_hour']['after'])} per hour"


def _spent(cost: Mapping[str, Any], origin: str) -> str:
    each = _usd(cost["price_per_hour"]["after"])
    return f"{cost['hours']:.2f} h at {each}, {_usd(cost['usd'])} in all; {_usd(cost['usd_more'])} more than {origin}"


def burst_document(
    tags: Mapping[str, Any], up: Mapping[str, Any], down: Mapping[str, Any], seconds: Mapping[str, float], run: Mapping[str, Any]
) -> dict[str, Any]:
    """What `run --on` has done, by what both resizes published and what the executed notebook tells; docs/json.md describes it."""
    ways = (up["resize"], down.get("resize") or {})
    compared = [found for way in ways for found in way.get("fingerprints", {}).items()]
    return {
        "from": tags["from"],
        "to": tags["to"],
        "now": ways[1].get("to"),
        "since": tags["since"],
        "seconds": dict(seconds),
        "downtime_s": {"up": ways[0]["downtime_s"], "down": ways[1].get("downtime_s")},
        "peak_mib": run.get("peak_mib"),
        "limit_mib": run.get("limit_mib"),
        **cost(tags),
        "lost": [each for way in ways for each in way.get("lost", [])],
        "fingerprints": {store: all(found["equal"] for name, found in compared if name == store) for store in sorted(dict(compared))},
    }


def burst_text(burst: Mapping[str, Any]) -> str:
    """Render what `run --on` has done, after what the run itself gave."""
    seconds, down = burst["seconds"], burst["downtime_s"]
    different = [store for store, equal in burst["fingerprints"].items() if not equal]
    # Without an end of the way back nobody has looked again.
    both = "equal both ways" if burst["now"] else "equal on the way up, not compared on the way back"
    equal = f"{both}: {', '.join(burst['fingerprints'])}" if burst["fingerprints"] else "no store to compare"
    peak, limit = (_UNKNOWN if burst[key] is None else f"{burst[key]:.0f} MiB" for key in ("peak_mib", "limit_mib"))
    times = ", ".join(f"{step} {seconds[step]:.0f} s" for step in ("up", "run", "down"))
    back = _UNKNOWN if down["down"] is None else f"{down['down']:.0f} s"
    return "\n".join(
        [
            f"Burst     {burst['from']} -> {burst['to']} -> {burst['now'] or 'not back'}",
            f"Time      {times}; {seconds['total']:.0f} s in all",
            f"Services  down for {down['up']:.0f} s on the way up, {back} on the way back",
            f"Memory    peak {peak}, of {limit}",
            f"Price     {_spent(burst, burst['from'])}",
            f"Data      {'DIFFERENT: ' + ', '.join(different) if different else equal}",
            *lost_lines(burst["lost"]),
        ]
    )


def _usd(price: float | None) -> str:
    return _UNKNOWN if price is None else f"{price:.4f} USD"
