#!/usr/bin/env bash
# Builds twarga/debian12: Debian 12 with systemd, sshd, sudo and the QEMU guest agent, in about
# 66 MB.
#
#   debian-box.sh WORK_FOLDER OUT.box
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=scripts/lab.d/guest-parts.sh
source "$(dirname "${BASH_SOURCE[0]}")/guest-parts.sh"

SUITE=bookworm
ROOT_MB=880
GUEST_PACKAGES=fdisk,systemd-sysv,udev,dbus,openssh-server,sudo,iproute2,kmod,procps,rsync,qemu-guest-agent
# kernel modules worth their space in a guest; the rest of the 100 MB is left out
KEPT_MODULES='9p 9pnet 9pnet_virtio af_packet autofs4 button evdev failover fscache net_failover netfs overlay'
LOADED_MODULES='virtio_net virtio_balloon virtio_console virtio_rng button'
UNWANTED_UNITS='apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
    e2scrub_reap.service fstrim.timer systemd-networkd-wait-online.service systemd-pstore.service'

WORK=${1:?the folder to work in}
OUT=${2:?the box to write}
PACKAGES=$WORK/packages
ROOT=$WORK/root

in_guest() { LC_ALL=C chroot "$ROOT" "$@"; }

install_system() {
    local mirror
    # the first of this machine's own sources that carries Debian itself; apt fills in $(REPO_URI)
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $SUITE" 'Created-By: Packages' | head -n 1)
    [ -n "$mirror" ] || die "apt on this machine has no source for Debian $SUITE; the Debian box needs one."
    debootstrap --variant=minbase --include="$GUEST_PACKAGES" "$SUITE" "$ROOT" "$mirror"
}

install_modules() {
    local modules=$ROOT/lib/modules version module name
    mkdir -p "$modules"
    cp -a "$PACKAGES/lib/modules/." "$modules/"
    version=$(basename "$modules"/*)
    while IFS= read -r -d '' module; do
        name=$(basename "$module" .ko)
        case " $KEPT_MODULES " in
            *" ${name//-/_} "*) continue ;;
        esac
        [[ $name == virtio* ]] || rm -f "$module"
    done < <(find "$modules/$version/kernel" -name '*.ko' -print0)
    find "$modules/$version" -type d -empty -delete
    in_guest depmod "$version"
    # shellcheck disable=SC2086 # one a line
    printf '%s\n' $LOADED_MODULES >"$ROOT/etc/modules-load.d/guest.conf"
}

add_vagrant_user() {
    local ssh=$ROOT/home/vagrant/.ssh
    in_guest useradd --create-home --shell /bin/bash vagrant
    install -d -m 700 "$ssh"
    public_vagrant_key >"$ssh/authorized_keys"
    chmod 600 "$ssh/authorized_keys"
    in_guest chown -R vagrant:vagrant /home/vagrant/.ssh
    echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$ROOT/etc/sudoers.d/vagrant"
    chmod 440 "$ROOT/etc/sudoers.d/vagrant"
}

configure() {
    cat >"$ROOT/etc/systemd/network/20-wired.network" <<'CONFIG'
[Match]
Name=eth* en*

[Network]
DHCP=ipv4
IPv6AcceptRA=no
LinkLocalAddressing=no

[DHCPv4]
ClientIdentifier=mac
CONFIG
    cat >"$ROOT/etc/ssh/sshd_config.d/vagrant.conf" <<'CONFIG'
UseDNS no
GSSAPIAuthentication no
CONFIG
    echo '/dev/vda2 / ext4 noatime 0 0' >"$ROOT/etc/fstab"
    echo debian12 >"$ROOT/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 debian12\n' >"$ROOT/etc/hosts"
    in_guest systemctl --quiet enable systemd-networkd.service ssh.service
    # shellcheck disable=SC2086 # a list of units, split on purpose
    in_guest systemctl --quiet disable $UNWANTED_UNITS || true
    in_guest systemctl --quiet mask getty@tty1.service systemd-update-utmp.service
}

slim_down() {
    in_guest apt-get clean
    rm -rf "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/cache/* "$ROOT"/usr/share/{doc,info,locale,man}/*
    # one host key is enough, and every further one costs time at the first connection
    rm -f "$ROOT"/etc/ssh/ssh_host_{rsa,ecdsa}_key*
    : >"$ROOT/etc/machine-id"
}

rm -rf "$WORK"
mkdir -p "$ROOT"
KERNEL=$(kernel_package)
unpack_packages "$PACKAGES" "$KERNEL" busybox-static
make_first_root "$PACKAGES" "$WORK"

install_system
install_modules
add_vagrant_user
configure
slim_down

make_disk "$WORK" "$ROOT_MB" "systemd.show_status=0" -E lazy_itable_init=0
cat >"$WORK/Vagrantfile" <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.guest = :debian
  config.vm.synced_folder ".", "/vagrant", disabled: true
end
RUBY
pack_box "$WORK" "$OUT"
rm -rf "$WORK"
