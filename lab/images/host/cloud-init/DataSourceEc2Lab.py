"""cloud-init's datasource Ec2 on a host that is a container.

cloud-init knows EC2 by the tables of its firmware, which a container has not, and asks for a token on EC2 only. The network is there at
once. As on EC2 it is looked for before the other stages: that one sees whether the disk is a copy, of another instance.
"""

from cloudinit import sources
from cloudinit.sources import DataSourceEc2

DataSourceEc2.identify_platform = lambda: DataSourceEc2.CloudNames.AWS


def get_datasource_list(depends):  # type: ignore[no-untyped-def]
    """Where cloud-init looks, as each of its modules of sources says it."""
    needs = [(sources.DEP_FILESYSTEM,), (sources.DEP_FILESYSTEM, sources.DEP_NETWORK)]
    return sources.list_from_depends(depends, [(DataSourceEc2.DataSourceEc2, each) for each in needs])
