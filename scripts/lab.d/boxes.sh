# The lab's boxes: built when their recipe changes, registered with Vagrant under a version that
# rises with every build (Vagrant would go on with the old disk otherwise). Sourced by scripts/lab.
#
# .lab/boxes/NAME.box      the box              .lab/boxes/NAME.recipe   hash of what it was made by
# .lab/boxes/NAME.json     for "vagrant box add"  .lab/boxes/NAME.version

BOX_DIR=$LAB_DIR/boxes
BUILD_DIR=$LAB_DIR/build
DRIVER_FILE=$LAB_DIR/driver
DRIVER_BOOT_FILE=$LAB_DIR/driver.boot
PROBE_SECONDS=8

# recipe_hash NAME: over all files that decide what is in the box.
recipe_hash() {
    (
        cd "$HERE/lab.d" || exit
        find guest-parts.sh "$1-box.sh" tiny-guest -type f -print0 | LC_ALL=C sort -z \
            | xargs -0 stat -c '%n %A' -- | sha256sum
        find guest-parts.sh "$1-box.sh" tiny-guest -type f -print0 | LC_ALL=C sort -z \
            | xargs -0 cat -- | sha256sum
    ) | sha256sum | cut -d' ' -f1
}

recipe_script() {
    case $1 in
        debian12) echo debian ;;
        *) echo "$1" ;;
    esac
}

box_built() {
    local hash
    hash=$(recipe_hash "$(recipe_script "$1")")
    [ -f "$BOX_DIR/$1.box" ] && [ "$(cat "$BOX_DIR/$1.recipe" 2>/dev/null)" = "$hash" ]
}

registered_folder() { printf '%s/boxes/twarga-VAGRANTSLASH-%s\n' "$LAB_VAGRANT_HOME" "$1"; }

box_registered() {
    local version
    version=$(cat "$BOX_DIR/$1.version" 2>/dev/null) || return 1
    [ -f "$(registered_folder "$1")/$version/libvirt/box.img" ]
}

boxes_current() {
    local name
    for name in "$@"; do
        box_built "$name" && box_registered "$name" || return 1
    done
}

# build_box NAME: tiny or debian12
build_box() {
    local name=$1 script hash
    script=$(recipe_script "$name")
    # the tiny box's kernel is also what KVM is tried with
    if box_built "$name" && { [ "$name" != tiny ] || [ -f "$BUILD_DIR/tiny/vmlinuz" ]; }; then
        return
    fi
    hash=$(recipe_hash "$script")
    case $name in
        debian12) say "building the box twarga/$name (about 2 minutes)" ;;
        *) say "building the box twarga/$name (about 15 seconds)" ;;
    esac
    mkdir -p "$BOX_DIR" "$BUILD_DIR"
    rm -f "$BOX_DIR/$name.recipe"
    quietly "$LAB_LOGS/$script-box.log" "Building the box twarga/$name" \
        "$HERE/lab.d/$script-box.sh" "$BUILD_DIR/$script" "$BOX_DIR/$name.box"
    printf '1.0.%s\n' "$(date -u +%Y%m%d%H%M%S)" >"$BOX_DIR/$name.version"
    printf '%s\n' "$hash" >"$BOX_DIR/$name.recipe"
}

# register_box NAME: puts it in Vagrant's list and takes older versions out.
register_box() {
    local name=$1 version folder old
    ! box_registered "$name" || return 0
    say "registering the box twarga/$name"
    version=$(cat "$BOX_DIR/$name.version")
    folder=$(registered_folder "$name")
    python3 - "$name" "$version" "$BOX_DIR/$name.box" >"$BOX_DIR/$name.json" <<'PYTHON'
import json, pathlib, sys
name, version, box = sys.argv[1:]
provider = {"name": "libvirt", "url": pathlib.Path(box).as_uri()}
print(json.dumps({"name": f"twarga/{name}", "versions": [{"version": version, "providers": [provider]}]}))
PYTHON
    quietly "$LAB_LOGS/box-add-$name.log" "Registering the box (vagrant box add)" \
        inside vagrant box add --force "$BOX_DIR/$name.json"
    for old in "$folder"/*/; do
        old=$(basename "$old")
        [ "$old" = "$version" ] || rm -rf "${folder:?}/$old"
    done
}

# lab_boxes: names of the registered boxes, with commas between them.
lab_boxes() {
    local name names=
    for name in tiny debian12; do
        ! box_registered "$name" || names+=${names:+,}twarga/$name
    done
    printf '%s\n' "$names"
}

# is_current_base_image FILE_NAME: the copy of a registered box that libvirt keeps.
is_current_base_image() {
    local name
    for name in tiny debian12; do
        box_registered "$name" || continue
        case $1 in
            "twarga-VAGRANTSLASH-${name}_vagrant_box_image_$(cat "$BOX_DIR/$name.version")_"*) return 0 ;;
        esac
    done
    return 1
}

# --- kvm or qemu -----------------------------------------------------------------------------

# driver_known: tried since this machine was started, and not requested differently now.
driver_known() {
    [ -s "$DRIVER_FILE" ] || return 1
    [ "${TWARGA_LIBVIRT_DRIVER:-$(lab_driver)}" = "$(lab_driver)" ] || return 1
    [ "$(cat "$DRIVER_BOOT_FILE" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ]
}

lab_driver() { cat "$DRIVER_FILE" 2>/dev/null || echo unknown; }

# kvm_boots: /dev/kvm can be there and still be of no use, so boot a kernel with it.
kvm_boots() {
    [ -w /dev/kvm ] || return 1
    timeout -k 1 "$PROBE_SECONDS" qemu-system-x86_64 -accel kvm -m 128 \
        -nodefaults -display none -no-reboot -serial stdio \
        -kernel "$BUILD_DIR/tiny/vmlinuz" -initrd "$BUILD_DIR/tiny/initrd.gz" \
        -append 'console=ttyS0 quiet panic=-1 twarga.probe' \
        </dev/null >"$LAB_LOGS/kvm-probe.log" 2>&1
    grep -q 'TWARGA PROBE OK' "$LAB_LOGS/kvm-probe.log"
}

probe_driver() {
    local driver
    case ${TWARGA_LIBVIRT_DRIVER:-} in
        kvm | qemu) driver=$TWARGA_LIBVIRT_DRIVER ;;
        '') if kvm_boots; then driver=kvm; else driver=qemu; fi ;;
        *) die "TWARGA_LIBVIRT_DRIVER is '$TWARGA_LIBVIRT_DRIVER': please say kvm or qemu." ;;
    esac
    cat /proc/sys/kernel/random/boot_id >"$DRIVER_BOOT_FILE"
    printf '%s\n' "$driver" >"$DRIVER_FILE"
}
