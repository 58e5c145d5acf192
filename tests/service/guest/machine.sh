#!/bin/sh
# Runs in the virtual machine when it has booted: installs the package, once, and starts what the kernel's command line names.
if [ ! -e /usr/bin/sonod ]; then
    dpkg --install /opt/sonod.deb >/var/log/dpkg.txt 2>&1
    echo "exit code $?" >>/var/log/dpkg.txt
fi
phase=$(sed -n 's/.*sonod\.phase=\([^ ]*\).*/\1/p' /proc/cmdline | tr , ' ')
# shellcheck disable=SC2086
exec /usr/lib/sonod/bin/python /opt/campaign/machine.py $phase
