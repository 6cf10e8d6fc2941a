"""Put each password of /run/secrets into the environment: redis_password becomes REDIS_PASSWORD."""

import os
from pathlib import Path

for _secret in Path("/run/secrets").glob("*_password"):
    if os.access(_secret, os.R_OK):
        os.environ.setdefault(_secret.name.upper(), _secret.read_text().rstrip("\n"))
