"""The table of prices, and how it is made from AWS's price list."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from typing import Any

import pytest

from tests.conftest import PROJECT

LOADER = SourceFileLoader("prices", str(PROJECT / "tools" / "prices"))
SPEC = importlib.util.spec_from_loader("prices", LOADER)
assert SPEC is not None
prices = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(prices)


def product(usd: str, **attributes: str) -> dict[str, Any]:
    """In the form of GetProducts, of which the Price List Query API's reference has an example."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    return {"product": {"attributes": attributes}, "terms": {"OnDemand": {"SKU.TERM": {"priceDimensions": {"SKU.TERM.RATE": dimension}}}}}


def test_the_table_has_every_size_of_the_default_family() -> None:
    document = json.loads((PROJECT / "roles" / "ec2_resize" / "files" / "prices.json").read_text())
    assert set(document["regions"]) >= {"us-east-1", "eu-central-1"}
    for region in document["regions"].values():
        sizes = [region["types"][f"t2.{size}"] for size in ("nano", "micro", "small", "medium", "large", "xlarge", "2xlarge")]
        assert sizes == sorted(sizes)
        assert 0 < region["snapshot_gib_month"] < region["gp3_gib_month"]
        assert 0 < region["ipv4_hour"] < region["gp3_gib_month"] < 1


def test_a_region_is_read_from_the_price_list() -> None:
    found = prices.region_prices(
        [product("0.0464000000", instanceType="t2.medium"), product("0.0000000000", instanceType="u-free")],
        [product("0.0800000000", volumeApiName="gp3")],
        [product("0.0500000000", usagetype="EBS:SnapshotUsage"), product("0.7500000000", usagetype="EBS:FastSnapshotRestore")],
        [product("0.0050000000", usagetype="USE1-PublicIPv4:IdleAddress"), product("0.0050000000", usagetype="PublicIPv4:InUseAddress")],
    )
    assert found == {"gp3_gib_month": 0.08, "snapshot_gib_month": 0.05, "ipv4_hour": 0.005, "types": {"t2.medium": 0.0464}}


def test_a_price_list_without_disks_is_refused() -> None:
    with pytest.raises(ValueError, match="no gp3_gib_month"):
        prices.region_prices(
            [product("0.0464", instanceType="t2.medium")],
            [],
            [product("0.05", usagetype="EBS:SnapshotUsage")],
            [product("0.005", usagetype="PublicIPv4:InUseAddress")],
        )
