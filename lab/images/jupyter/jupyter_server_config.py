"""Settings of the server in this image, those of the Jupyter Docker Stacks."""

import os
import subprocess
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir

c = get_config()  # noqa: F821 (Jupyter defines it)
c.ServerApp.ip = ""  # every address: the container's published ports decide who gets in
c.ServerApp.open_browser = False
c.FileContentsManager.delete_to_trash = False

if "GEN_CERT" in os.environ:
    certificate = Path(jupyter_data_dir()) / "notebook.pem"
    certificate.parent.mkdir(parents=True, exist_ok=True)
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 -subj /O=generated/CN=generated"
    # The file holds the private key, hence the umask.
    subprocess.run([*command.split(), "-keyout", certificate, "-out", certificate], check=True, umask=0o077)
    c.ServerApp.certfile = str(certificate)

if "NB_UMASK" in os.environ:
    os.umask(int(os.environ["NB_UMASK"], 8))
