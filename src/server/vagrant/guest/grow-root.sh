#!/bin/sh
# Grows the partition, the logical volume and the file system of / to the end of the disk, where this guest has the
# tools for it. Run inside the guest at each start; never keeps a VM from starting.
[ -r /proc/mounts ] || exit 0
device=$(awk '$2 == "/" { device = $1 } END { print device }' /proc/mounts)
type=$(awk '$2 == "/" { type = $3 } END { print type }' /proc/mounts)
case $device in /dev/*) ;; *) exit 0 ;; esac

# grow_partition DEVICE: nothing to do if it is no partition.
grow_partition() {
    name=$(basename "$(readlink -f "$1")")
    block=/sys/class/block/$name
    [ -r "$block/partition" ] || return 0
    number=$(cat "$block/partition")
    disk=$(basename "$(dirname "$(readlink -f "$block")")")
    sectors=$(cat "/sys/class/block/$disk/size")
    end=$(($(cat "$block/start") + $(cat "$block/size")))
    # Less than 4 MB is what partition tables leave.
    [ $((sectors - end)) -gt 8192 ] || return 0
    if command -v growpart > /dev/null; then
        growpart "/dev/$disk" "$number"
    elif command -v sfdisk > /dev/null; then
        echo ', +' | sfdisk --quiet --force --no-reread -N "$number" "/dev/$disk"
        command -v partx > /dev/null && partx --update "/dev/$disk"
    fi
}

# grow_volume DEVICE: only a plain volume whose group is on one disk. What several disks are for, only their owner knows.
grow_volume() {
    command -v lvextend > /dev/null || return 0
    group=$(lvs --noheadings -o segtype,vg_name "$1" 2> /dev/null |
        awk '$1 != "linear" { exit 1 } { group = $2 } END { print group }') || return 0
    [ -n "$group" ] || return 0
    disks=$(pvs --noheadings -o pv_name,vg_name | awk -v group="$group" '$2 == group { print $1 }')
    [ "$(echo "$disks" | wc -w)" -eq 1 ] || return 0
    grow_partition "$disks"
    pvresize "$disks"
    free=$(vgs --noheadings -o vg_free_count "$group" | awk '{ print $1 }')
    [ "${free:-0}" -eq 0 ] || lvextend -l +100%FREE "$1"
}

grow_partition "$device"
grow_volume "$device"
case $type in
    ext?) command -v resize2fs > /dev/null && resize2fs "$(readlink -f "$device")" ;;
    xfs) command -v xfs_growfs > /dev/null && xfs_growfs / ;;
    btrfs) command -v btrfs > /dev/null && btrfs filesystem resize max / ;;
esac
exit 0
