#!/bin/sh
# Hands the user data to cloud-init, as its NoCloud source, and has it applied. Run inside the guest, once.
set -e
if ! command -v cloud-init > /dev/null; then
    echo 'This image has no cloud-init, so the user data cannot be applied. Use a provisioning script instead.' >&2
    exit 1
fi
seed=/var/lib/cloud/seed/nocloud
mkdir -p "$seed"
mv /tmp/twarga-user-data "$seed/user-data"
chown 0:0 "$seed/user-data"
chmod 600 "$seed/user-data"
printf 'instance-id: twarga-%s\n' "$(cat /proc/sys/kernel/random/uuid)" > "$seed/meta-data"
cloud-init clean
cloud-init init --local
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
