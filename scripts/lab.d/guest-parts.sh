# What both boxes are made of: Debian packages, a kernel with its first root, a bootable disk.
# Sourced by tiny-box.sh and debian-box.sh.

DEB_CACHE=$LAB_DIR/cache/debs
GUEST_FILES=$PROJECT_ROOT/scripts/lab.d/tiny-guest

BOOT_MB=32
SECTORS_PER_MB=2048

# modules that the first root needs to see its disk, in the order they are loaded
DISK_MODULES='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk'

# unpack_packages DIR NAME...: downloads Debian packages (kept in a cache) and unpacks them in DIR.
unpack_packages() {
    local dir=$1 files file
    shift
    mkdir -p "$DEB_CACHE" "$dir"
    if ! files=$(download_packages "$@"); then
        quietly "$LAB_DIR/logs/apt-update.log" "Reading the package lists (apt-get update)" apt-get update
        files=$(download_packages "$@") || die "The Debian packages for the box cannot be downloaded ($*): please see that 'apt-get download busybox-static' works here, then start again."
    fi
    for file in $files; do
        dpkg-deb -x "$DEB_CACHE/$file" "$dir"
    done
}

# download_packages NAME...: fills the cache and prints the packages' file names.
download_packages() {
    local files
    # run in an empty folder, since apt leaves out what is already there
    files=$(cd "$(mktemp -d)" && apt-get download --print-uris "$@" 2>/dev/null && rmdir "$PWD") || return 1
    (cd "$DEB_CACHE" && apt-get download -qq -o APT::Sandbox::User=root "$@" >/dev/null 2>&1) || return 1
    awk '{ print $2 }' <<<"$files"
}

# kernel_package: Debian's current kernel for virtual machines.
kernel_package() {
    LC_ALL=C apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }'
}

# find_module PACKAGES NAME
find_module() {
    local found
    found=$(find "$1/lib/modules" -name "$2.ko" -print -quit)
    [ -n "$found" ] || die "The kernel package has no module '$2'; the list of modules in scripts/lab.d needs a look."
    printf '%s\n' "$found"
}

# copy_modules PACKAGES DEST NAME...: the modules, and a file "order" that names them one a line.
copy_modules() {
    local packages=$1 dest=$2 name module
    shift 2
    mkdir -p "$dest"
    for name in "$@"; do
        module=$(find_module "$packages" "$name")
        cp "$module" "$dest/$name.ko"
    done
    printf '%s\n' "$@" >"$dest/order"
}

# make_first_root PACKAGES WORK: WORK/vmlinuz and WORK/initrd.gz
make_first_root() {
    local packages=$1 work=$2 busybox
    busybox=$(find "$packages" -path '*bin/busybox' -type f -print -quit)
    mkdir -p "$work/initrd"/{bin,dev,proc,sys,sysroot}
    cp "$busybox" "$work/initrd/bin/busybox"
    cp "$GUEST_FILES/initrd/init" "$work/initrd/init"
    # shellcheck disable=SC2086 # a list of names, split on purpose
    copy_modules "$packages" "$work/initrd/modules" $DISK_MODULES
    (cd "$work/initrd" && find . | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) | gzip -9 >"$work/initrd.gz"
    cp "$packages"/boot/vmlinuz-* "$work/vmlinuz"
}

# make_disk WORK ROOT_MB EXTRA_KERNEL_WORDS MKE2FS_OPTION...: WORK/box.img, a qcow2 disk with a
# FAT partition that starts the kernel and an ext4 partition filled from WORK/root. Nothing is
# mounted on the way.
make_disk() {
    local work=$1 root_mb=$2 kernel_words=$3
    shift 3
    local boot_start=$SECTORS_PER_MB boot_size=$((BOOT_MB * SECTORS_PER_MB))
    local root_start=$((boot_start + boot_size)) root_size=$((root_mb * SECTORS_PER_MB))
    local disk=$work/disk.raw boot=$work/boot.fat root=$work/root.ext4
    export MTOOLS_SKIP_CHECK=1

    truncate -s "${BOOT_MB}M" "$boot"
    mkfs.vfat -F 16 -n BOOT "$boot" >/dev/null
    syslinux --install "$boot"
    cat >"$work/syslinux.cfg" <<CONFIG
DEFAULT linux
PROMPT 0
TIMEOUT 1
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.gz
  APPEND quiet panic=5 console=tty0 console=ttyS0 net.ifnames=0 mitigations=off no_timer_check tsc=reliable $kernel_words
CONFIG
    mcopy -i "$boot" "$work/vmlinuz" "$work/initrd.gz" "$work/syslinux.cfg" ::

    truncate -s "${root_mb}M" "$root"
    mke2fs -q -t ext4 -L root -m 0 "$@" -d "$work/root" "$root"

    truncate -s "$((BOOT_MB + root_mb + 2))M" "$disk"
    sfdisk -q "$disk" <<TABLE
label: dos
start=$boot_start, size=$boot_size, type=6, bootable
start=$root_start, size=$root_size, type=83
TABLE
    dd if=/usr/lib/SYSLINUX/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
    dd if="$boot" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
    dd if="$root" of="$disk" bs=1M seek=$((1 + BOOT_MB)) conv=notrunc,sparse status=none
    qemu-img convert -c -O qcow2 "$disk" "$work/box.img"
}

# pack_box WORK OUT.box: expects WORK/box.img and WORK/Vagrantfile.
pack_box() {
    local work=$1 out=$2
    printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}\n' >"$work/metadata.json"
    bsdtar -C "$work" --uid 0 --gid 0 -czf "$out.part" metadata.json Vagrantfile box.img
    mv "$out.part" "$out"
}

# public_vagrant_key: the well-known key that Vagrant exchanges at the first start.
public_vagrant_key() {
    local key
    key=$(find /usr/share/rubygems-integration /usr/share/vagrant /opt/vagrant -path '*/keys/vagrant.pub' -print -quit 2>/dev/null)
    [ -n "$key" ] || die "Vagrant's public key (keys/vagrant.pub) is not where Debian's vagrant package keeps it: please run scripts/setup lab."
    cat "$key"
}
