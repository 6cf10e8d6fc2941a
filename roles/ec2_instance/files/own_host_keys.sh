# Run as root on a new machine, over the first connection. $1: the public half of the key that it was launched with.
# Names the keys that the machine made for itself, and serves them once "pinned" comes on the standard input. Ended anywhere, it is run again.
# Each wait has a limit: the connection of a computer that lost its network ends here after hours, and the next one waits for the lock.
set -eu
once=$1 own=/etc/ssh/slipway-own here=/etc/ssh/ssh_host_ed25519_key
exec 9> /run/slipway-host-keys.lock
flock --timeout 30 9
if [ ! -d "$own" ] && [ "$(cut -d ' ' -f 1,2 "$here.pub")" = "$once" ]; then
    rm -rf "$own.part"
    mkdir -m 0700 "$own.part"
    for kind in rsa ecdsa ed25519; do
        ssh-keygen -q -t "$kind" -N '' -C "root@$(hostname)" -f "$own.part/ssh_host_${kind}_key"
    done
    sync
    mv "$own.part" "$own"
fi
from=/etc/ssh
[ ! -d "$own" ] || from=$own
echo keys
cut -d ' ' -f 1,2 "$from"/ssh_host_rsa_key.pub "$from"/ssh_host_ecdsa_key.pub "$from"/ssh_host_ed25519_key.pub
echo end
answer=$(timeout 60 head -n 1)
[ "$answer" = pinned ]
if [ -d "$own" ]; then
    # The one by which it is seen whether this was done comes last.
    for kind in rsa ecdsa ed25519; do
        for half in _key.pub _key; do
            cp -p "$own/ssh_host_$kind$half" "/etc/ssh/.ssh_host_$kind$half"
        done
        mv "/etc/ssh/.ssh_host_${kind}_key" "/etc/ssh/ssh_host_${kind}_key"
        mv "/etc/ssh/.ssh_host_${kind}_key.pub" "/etc/ssh/ssh_host_${kind}_key.pub"
    done
    sync
fi
# sshd reads its keys as it starts. Connections that are open go on.
systemctl restart ssh
served='until ssh-keyscan -T 2 -t ed25519 127.0.0.1 2> /dev/null | grep --quiet --fixed-strings "$1"; do sleep 0.1; done'
timeout 40 sh -c "$served" sh "$(cut -d ' ' -f 2 "$here.pub")"
# cloud-init fetches the user data at each boot, and keeps copies of them.
forget=/var/lib/cloud/scripts/per-boot/slipway-forget-first-host-key
mkdir -p "${forget%/*}"
cat > "$forget" << 'END'
#!/usr/bin/python3
"""Overwrites, in cloud-init's copies of the user data, the host key that was good for the machine's first connection alone."""

import glob
import re

MARK = b"# slipway: the host key of the first connection"
PRIVATE = re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END OPENSSH PRIVATE KEY-----", re.DOTALL)

instance = "/var/lib/cloud/instances/*/"
texts = [path for name in ("user-data.txt", "user-data.txt.i", "cloud-config.txt") for path in glob.glob(instance + name)]
copies = {path: open(path, "rb").read() for path in [*texts, *glob.glob(instance + "obj.pkl"), *glob.glob("/run/cloud-init/*.json")]}
marked = [content for path, content in copies.items() if path.endswith("user-data.txt") and MARK in content]
lines = {line.strip() for content in marked for key in PRIVATE.findall(content) for line in key.split() if len(line) > 16}
for path, content in copies.items():
    forgotten = content
    for line in lines:
        # As long as before: a pickle says how long its texts are.
        forgotten = forgotten.replace(line, b"x" * len(line))
    if forgotten != content:
        with open(path, "r+b") as file:
            file.write(forgotten)
END
chmod 0755 "$forget"
"$forget"
rm -rf "$own"
sync
# The pinned keys are what counts; without a console there is nothing to print them to.
{
    echo "-----BEGIN SSH HOST KEY KEYS-----"
    cat /etc/ssh/ssh_host_*_key.pub
    echo "-----END SSH HOST KEY KEYS-----"
} > /dev/console || true
echo served
