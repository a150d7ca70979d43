#!/bin/sh
# The first process of the laboratory's namespaces: makes them fit to live in and becomes supervisord.
# All mounts, interfaces, sysctls and iptables rules below are the namespaces' own and end with them.
set -eu
mount --make-rshared /
dns=$(readlink -f /etc/resolv.conf)
for folder in /run /var/lib/cni /var/log/pods /var/log/containers; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mkdir -p /run/lock /run/lab "$(dirname "$dns")"
echo 'nameserver 10.0.2.3' > /run/lab/resolv.conf
[ -e "$dns" ] || touch "$dns"
mount --bind /run/lab/resolv.conf "$dns"
# kubelet insists on setting these, which belong to the whole machine: let it set copies
for name in vm/overcommit_memory kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  if [ -e "/proc/sys/$name" ]; then
    mkdir -p "/run/lab/$(dirname "$name")"
    cat "/proc/sys/$name" > "/run/lab/$name"
    mount --bind "/run/lab/$name" "/proc/sys/$name"
  fi
done
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
# SonarQube's server refuses root: it lives where nobody may go, on the folders that it writes to
sonar=/run/lab/sonarqube
mkdir -p $sonar
exec {{ python }} -m supervisor.supervisord --nodaemon --configuration {{ lab.etc }}/supervisord.conf
