"""For every Python of the container: each password of /run/secrets in the environment (redis_password becomes REDIS_PASSWORD),
and a place before the Jupyter server where memory runs out, which slipway_kernels takes back for the server itself."""

import os
import sys
from contextlib import suppress
from pathlib import Path

for _secret in Path("/run/secrets").glob("*_password"):
    if os.access(_secret, os.R_OK):
        os.environ.setdefault(_secret.name.upper(), _secret.read_text().rstrip("\n"))


_ADJUSTED = Path("/proc/self/oom_score_adj")
# The host's kernel kills the largest process, and adds so many thousandths of the limit to its size (proc_pid_oom_score_adj(5)). The
# server takes some 90 MiB, and the least limit is 256. A kernel that does nothing takes some 52 MiB. Beside three of them another
# process may have just as little when the memory runs out, and it is the one that asked for more: so a kernel is given less than it.
# The kernel of a run, which is killed before the run itself, was given more already.
_SHARE = 400 if sys.orig_argv[1:3] == ["-m", "ipykernel_launcher"] else 500
with suppress(OSError):
    if int(_ADJUSTED.read_text()) < _SHARE:
        _ADJUSTED.write_text(str(_SHARE))
