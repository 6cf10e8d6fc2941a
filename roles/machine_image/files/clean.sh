#!/bin/sh
# Run as root, as a unit of its own, on a machine of which an image is made. It takes away whatever is of this machine alone, then halts it:
# a machine that was not halted from within was not cleaned to the end. What a new machine needs of it is made at its first boot.
set -eu

stop() {
    # Not each system has each of these units.
    for unit in "$@"; do
        if systemctl cat "$unit" > /dev/null 2>&1; then systemctl stop "$unit"; fi
    done
}

# The connection that started it has an answer to bring back.
sleep 2
stop ssh.socket ssh.service
# Connections outlive the service. 1: there was none.
pkill -KILL -x sshd || [ $? -eq 1 ]
stop docker.socket docker.service containerd.service

# The engine: its id, its containers, its networks. Images stay.
rm -rf /var/lib/docker/engine-id /etc/docker/key.json /var/lib/docker/swarm /var/lib/docker/trust /var/lib/docker/network
rm -rf /var/lib/docker/containers/* /var/lib/docker/tmp/* /var/lib/docker/volumes/*

# Users: all that they did not have from the beginning, with their keys and histories.
getent passwd | cut -d : -f 6 | grep -E '^(/root|/home/[^/]+)$' | sort -u | while read -r home; do
    [ -d "$home" ] || continue
    find "$home" -mindepth 1 -maxdepth 1 | while read -r path; do
        [ -e "/etc/skel/${path##*/}" ] || rm -rf "$path"
    done
done
rm -rf /etc/slipway /etc/systemd/system/docker.service.d

# The machine: its host keys, its ids, its addresses, its random numbers, and what the first boot has noted as done.
rm -rf /etc/ssh/ssh_host_* /etc/ssh/slipway-own*
rm -f /var/lib/dbus/machine-id
: > /etc/machine-id
rm -rf /var/lib/dhcp/* /var/lib/NetworkManager/* /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
if command -v cloud-init > /dev/null; then
    cloud-init clean --logs > /dev/null
    find /var/lib/cloud -mindepth 1 -maxdepth 1 ! -name seed -exec rm -rf {} +
fi

# Packages and their lists can be had again.
rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/* /var/lib/apt/lists/*
for folder in /tmp /var/tmp /var/crash /var/spool/cron/crontabs; do
    if [ -d "$folder" ]; then find "$folder" -mindepth 1 -delete; fi
done

# Logs, when nothing writes them any more.
stop syslog.socket rsyslog.service
stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journald.service
rm -rf /var/log/journal/*
find /var/log -type f -delete
sync
# At once: an orderly end would write what it does, and a new seed.
systemctl poweroff --force
