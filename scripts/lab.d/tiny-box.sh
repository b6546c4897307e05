#!/usr/bin/env bash
# Builds twarga/tiny: BusyBox, dropbear, scp and Debian's cloud kernel in about 16 MB.
#
#   tiny-box.sh WORK_FOLDER OUT.box
#
# Also leaves WORK_FOLDER/vmlinuz and WORK_FOLDER/initrd.gz, which "lab up" boots to try KVM.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=scripts/lab.d/guest-parts.sh
source "$(dirname "${BASH_SOURCE[0]}")/guest-parts.sh"

ROOT_MB=94
GUEST_PACKAGES='busybox-static dropbear-bin openssh-client libc6 libcrypt1 libtomcrypt1 libtommath1 libgmp10 zlib1g'
# network card, memory balloon, power button, random numbers
GUEST_MODULES='failover net_failover virtio_net virtio_balloon button evdev virtio-rng'
# commands that tests, the stress helper and provisioners use in the guest
GUEST_COMMANDS='acpid dd free hostname ip mount nproc poweroff ps reboot sleep udhcpc uptime yes'

WORK=${1:?the folder to work in}
OUT=${2:?the box to write}
PACKAGES=$WORK/packages
ROOT=$WORK/root

# install_program PATH: a program from the packages with every library it is linked to.
install_program() {
    local program=$1 loader library
    loader=$(find "$PACKAGES" -name ld-linux-x86-64.so.2 -print -quit)
    install -D "$PACKAGES/$program" "$ROOT/$program"
    while read -r library; do
        install -D "$PACKAGES/$library" "$ROOT/lib/x86_64-linux-gnu/$(basename "$library")"
    done < <("$loader" --library-path "$PACKAGES/lib/x86_64-linux-gnu:$PACKAGES/usr/lib/x86_64-linux-gnu" \
        --list "$PACKAGES/$program" | sed -n "s|.*=> $PACKAGES/\(.*\) (0x.*|\1|p; /not found/w $WORK/unresolved")
    [ ! -s "$WORK/unresolved" ] || die "$program needs libraries that GUEST_PACKAGES in tiny-box.sh does not bring: $(tr -s '\n\t ' ' ' <"$WORK/unresolved")"
    install -D "$loader" "$ROOT/lib64/ld-linux-x86-64.so.2"
}

install_busybox() {
    local busybox=$PACKAGES/bin/busybox command applets
    applets=$("$busybox" --list)
    for command in $GUEST_COMMANDS; do
        grep -qx "$command" <<<"$applets" || die "Debian's busybox-static has no '$command', which the tiny box promises; please mend GUEST_COMMANDS in tiny-box.sh."
    done
    install -D "$busybox" "$ROOT/bin/busybox"
    for command in $applets; do
        [ "$command" = busybox ] || ln -s /bin/busybox "$ROOT/bin/$command"
    done
    for command in acpid halt init poweroff reboot; do
        ln -s /bin/busybox "$ROOT/sbin/$command"
    done
    ln -s /bin/busybox "$ROOT/usr/bin/env"
}

rm -rf "$WORK"
mkdir -p "$ROOT"/{bin,sbin,dev,proc,sys,run,tmp,root,lib/modules,lib64,usr/bin,usr/sbin,var/log,etc/dropbear,etc/network,vagrant}
ln -s ../run "$ROOT/var/run"
ln -s ../tmp "$ROOT/var/tmp"

KERNEL=$(kernel_package)
# shellcheck disable=SC2086 # a list of packages, split on purpose
unpack_packages "$PACKAGES" $KERNEL $GUEST_PACKAGES
make_first_root "$PACKAGES" "$WORK"

install_busybox
install_program usr/sbin/dropbear
install_program usr/bin/dropbearkey
install_program usr/bin/scp
# shellcheck disable=SC2086 # a list of modules, split on purpose
copy_modules "$PACKAGES" "$ROOT/lib/modules" $GUEST_MODULES
cp -a --remove-destination "$GUEST_FILES/system/." "$ROOT/"
chmod 600 "$ROOT/etc/shadow"
install -d -m 700 "$ROOT/home/vagrant" "$ROOT/home/vagrant/.ssh"
public_vagrant_key >"$ROOT/home/vagrant/.ssh/authorized_keys"
chmod 600 "$ROOT/home/vagrant/.ssh/authorized_keys"
chown -R 0:0 "$ROOT"
chmod 755 "$ROOT"

make_disk "$WORK" "$ROOT_MB" "" -E root_owner=0:0 -O '^metadata_csum,^64bit'
cp "$GUEST_FILES/box/Vagrantfile" "$WORK/Vagrantfile"
pack_box "$WORK" "$OUT"
rm -rf "$PACKAGES" "$ROOT" "$WORK/initrd" "$WORK"/{disk.raw,boot.fat,root.ext4,box.img}
