# rsync's side on the host: sh -euc SCRIPT beneath WORK PREPARE, then rsync's own arguments. It sees the project's folder as /project, and of the rest
# of the host its programs alone. So whatever a notebook puts in a folder's place meanwhile, nothing outside is read or written.
work=$1 prepare=$2 root=/run/slipway
shift 2
[ ! -L "$work" ] || { echo "$work on the machine is a link to $(readlink "$work"), and no sync follows it. Put the folder in its place." >&2; exit 1; }
[ -d "$work" ] || chroot --userspec="$SUDO_UID:$SUDO_GID" / mkdir -p -- "$work"
# In this process' own namespace: when it ends, all of it is gone.
mkdir -p "$root"
mount -t tmpfs -o size=1m,mode=0755 slipway "$root"
for each in /usr /bin /lib /lib32 /lib64; do
  if [ -L "$each" ]; then
    cp -P "$each" "$root$each"
  elif [ -d "$each" ]; then
    mkdir "$root$each"
    mount --bind "$each" "$root$each"
  fi
done
mkdir "$root/project"
mount --bind "$work" "$root/project"
exec chroot --userspec="$SUDO_UID:$SUDO_GID" --groups= "$root" /bin/sh -euc "cd /project; $prepare"' exec rsync "$@"' rsync "$@"
