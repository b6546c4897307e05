#!/bin/sh
# Grows the partition and the file system of / to the end of the disk, where this guest has the tools for it.
# Run inside the guest at each start; never keeps a VM from starting.
[ -r /proc/mounts ] || exit 0
device=$(awk '$2 == "/" { device = $1 } END { print device }' /proc/mounts)
type=$(awk '$2 == "/" { type = $3 } END { print type }' /proc/mounts)
case $device in /dev/*) ;; *) exit 0 ;; esac
device=$(readlink -f "$device")
name=${device#/dev/}
block=/sys/class/block/$name
if [ -r "$block/partition" ]; then
    number=$(cat "$block/partition")
    disk=$(basename "$(dirname "$(readlink -f "$block")")")
    sectors=$(cat "/sys/class/block/$disk/size")
    end=$(($(cat "$block/start") + $(cat "$block/size")))
    # Less than 4 MB is what partition tables leave.
    if [ $((sectors - end)) -gt 8192 ]; then
        if command -v growpart > /dev/null; then
            growpart "/dev/$disk" "$number"
        elif command -v sfdisk > /dev/null; then
            echo ', +' | sfdisk --quiet --force --no-reread -N "$number" "/dev/$disk"
            command -v partx > /dev/null && partx --update "/dev/$disk"
        fi
    fi
fi
case $type in
    ext?) command -v resize2fs > /dev/null && resize2fs "$device" ;;
    xfs) command -v xfs_growfs > /dev/null && xfs_growfs / ;;
    btrfs) command -v btrfs > /dev/null && btrfs filesystem resize max / ;;
esac
exit 0
