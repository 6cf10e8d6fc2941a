"""For every Python of the container: each password of /run/secrets in the environment (redis_password becomes REDIS_PASSWORD),
and a place before the Jupyter server where memory runs out, which slipway_kernels takes back for the server itself."""

import os
from contextlib import suppress
from pathlib import Path

for _secret in Path("/run/secrets").glob("*_password"):
    if os.access(_secret, os.R_OK):
        os.environ.setdefault(_secret.name.upper(), _secret.read_text().rstrip("\n"))


_ADJUSTED = Path("/proc/self/oom_score_adj")
# The host's kernel kills the largest process, and adds so many thousandths of the limit (proc_pid_oom_score_adj(5)). The server takes
# some 90 MiB, and the least limit is 256. The kernel of a run, which goes before the run itself, was given more.
with suppress(OSError):
    if int(_ADJUSTED.read_text()) < 500:
        _ADJUSTED.write_text("500")
