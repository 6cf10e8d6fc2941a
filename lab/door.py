"""Security groups at a host's door: what a group lets in, as rules of the host's own packet filter.

They stand in the table `mangle`, before the engine's own rules send a packet on to a container: a published port is closed too.
What a host asks for itself is answered: groups keep state, as EC2's do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

#: Where a host reads its rules before anything listens (images/host/lab-init).
FILE = "/etc/ec2-security-groups.rules"


def rules(groups: Iterable[Any], addresses: Mapping[str, Sequence[str]]) -> str:
    """The input of iptables-restore for an instance in these groups. `addresses` has those of each group's members, by its id."""
    accepted = sorted({line for group in groups for rule in group.ingress_rules for line in _accept(rule, addresses)})
    return "\n".join(
        [
            "*mangle",
            ":PREROUTING ACCEPT [0:0]",
            # Networks inside the host, those of its containers, are its own.
            "-A PREROUTING ! -i eth+ -j ACCEPT",
            "-A PREROUTING -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            *accepted,
            "-A PREROUTING -j DROP",
            "COMMIT",
            "",
        ]
    )


def _accept(rule: Any, addresses: Mapping[str, Sequence[str]]) -> Iterator[str]:
    sources = [rule.cidr_ipv4] if rule.cidr_ipv4 else addresses.get((rule.source_group or {}).get("GroupId", ""), ())
    if rule.ip_protocol == "-1":
        what = ""
    elif rule.ip_protocol in ("tcp", "udp"):
        what = f" -p {rule.ip_protocol} --dport {rule.from_port}:{rule.to_port}"
    else:
        what = f" -p {rule.ip_protocol}"
    for source in sources:
        yield f"-A PREROUTING -s {source}{what} -j ACCEPT"
