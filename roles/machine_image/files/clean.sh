#!/bin/sh
# Run as root, as a unit of its own, on a machine of which an image is made. It takes away whatever is of this machine alone, then halts it:
# a machine that was not halted from within was not cleaned to the end. What a new machine needs of it is made at its first boot.
set -eu
# Where `|| true` stands: not each system has all of these units, and the machine halts, or not, by the lines without it.
# The connection that started it has an answer to bring back.
sleep 2
systemctl stop ssh.service ssh.socket 2> /dev/null || true
pkill -KILL -x sshd || true
systemctl stop docker.socket docker.service containerd.service 2> /dev/null || true

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
    cloud-init clean --logs > /dev/null 2>&1 || true
    find /var/lib/cloud -mindepth 1 -maxdepth 1 ! -name seed -exec rm -rf {} +
fi

# Packages and their lists can be had again.
rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/* /var/lib/apt/lists/*
find /tmp /var/tmp /var/crash /var/spool/cron/crontabs -mindepth 1 -delete 2> /dev/null || true

# Logs, when nothing writes them any more.
systemctl stop rsyslog.service syslog.socket 2> /dev/null || true
systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journald.service 2> /dev/null || true
rm -rf /var/log/journal/*
find /var/log -type f -delete
sync
# At once: an orderly end would write what it does, and a new seed.
systemctl poweroff --force
