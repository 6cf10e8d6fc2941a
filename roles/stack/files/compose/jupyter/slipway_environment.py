"""For every Python of the container: each password of /run/secrets in the environment (redis_password becomes REDIS_PASSWORD),
and a place before the Jupyter server where memory runs out, which slipway_kernels takes back for the server itself."""

import os
from contextlib import suppress
from pathlib import Path

for _secret in Path("/run/secrets").glob("*_password"):
    if os.access(_secret, os.R_OK):
        os.environ.setdefault(_secret.name.upper(), _secret.read_text().rstrip("\n"))


def killed_as_if_larger(thousandths: int) -> None:
    """By so many thousandths of the container's limit; the host's kernel kills the largest process (proc_pid_oom_score_adj(5))."""
    # Less than the container itself was started with is refused.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(thousandths))


# The server takes some 90 MiB, and the least limit is 256.
killed_as_if_larger(500)
