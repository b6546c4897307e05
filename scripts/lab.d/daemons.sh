# libvirt's two daemons inside the lab, and the machines they know. Sourced by scripts/lab.

DAEMONS=(virtlogd libvirtd)

# daemon_pid NAME: its pid, if it runs in the lab.
daemon_pid() {
    local pid
    pid=$(cat "$LAB_RUN/libvirt/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && lives_in_lab "$pid" || return 1
    printf '%s\n' "$pid"
}

libvirt_answers() { inside timeout 5 virsh version </dev/null >/dev/null 2>&1; }

write_libvirt_config() {
    cat >"$LIBVIRT_DIR/etc/libvirtd.conf" <<'CONFIG'
# Written by scripts/lab at every start. Only root reaches the lab, so there is no authentication.
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
CONFIG
    cat >"$LIBVIRT_DIR/etc/qemu.conf" <<'CONFIG'
# Written by scripts/lab at every start. Guests run as root, without the confinement that would
# need services (AppArmor, cgroups, udev) which the lab does not share with the machine.
user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
CONFIG
    : >"$LIBVIRT_DIR/etc/virtlogd.conf"
}

start_daemons() {
    ! libvirt_answers || return 0
    say "starting virtlogd and libvirtd"
    write_libvirt_config
    local daemon
    prepare_entry
    for daemon in "${DAEMONS[@]}"; do
        ! daemon_pid "$daemon" >/dev/null || continue
        rm -f "$LAB_RUN/libvirt/$daemon.pid"
        "$HERE/lab.d/daemonize" "$LAB_LOGS/$daemon.log" "${ENTRY[@]}" \
            "$daemon" --daemon --pid-file "/run/libvirt/$daemon.pid" \
            || daemon_failed "$daemon"
    done
    local waited
    for ((waited = 0; waited < 300; waited++)); do
        ! libvirt_answers || return 0
        sleep 0.1
    done
    daemon_failed libvirtd
}

daemon_failed() {
    tail -n 10 "$LAB_LOGS/$1.log" "$LIBVIRT_DIR/log/$1.log" >&2 2>/dev/null || true
    die "$1 did not start in the lab; .lab/logs/$1.log and ${LIBVIRT_DIR#"$PROJECT_ROOT"/}/log/ say why. If something is left of an earlier lab, scripts/lab down clears it."
}

stop_daemons() {
    local daemon pid
    for daemon in libvirtd virtlogd; do
        if pid=$(daemon_pid "$daemon"); then
            say "stopping $daemon"
            end_process "$pid"
        fi
    done
}

# stop_machines: shuts every machine down, waits, and powers off those that do not react.
# Machines and disks stay for the next "up".
stop_machines() {
    local machine network waited
    for machine in $(inside virsh list --name); do
        say "shutting $machine down"
        inside virsh shutdown "$machine" >/dev/null 2>&1 </dev/null || true
    done
    for ((waited = 0; waited < 40; waited++)); do
        [ -n "$(inside virsh list --name | tr -d '[:space:]')" ] || break
        sleep 0.5
    done
    for machine in $(inside virsh list --name); do
        say "switching $machine off: it did not shut down in 20 s"
        inside virsh destroy "$machine" >/dev/null 2>&1 </dev/null || true
    done
    for network in $(inside virsh net-list --name); do
        inside virsh net-destroy "$network" >/dev/null 2>&1 </dev/null || true
    done
}

# remove_machines: with libvirt's help. Every machine in here is the lab's own.
remove_machines() {
    local machine network
    while read -r machine; do
        [ -n "$machine" ] || continue
        say "removing the machine $machine"
        inside virsh destroy "$machine" >/dev/null 2>&1 </dev/null || true
        inside virsh undefine "$machine" --managed-save --snapshots-metadata --checkpoints-metadata \
            --nvram --remove-all-storage >/dev/null 2>&1 </dev/null \
            || warn "libvirt would not forget $machine; its files are cleared away instead"
    done < <(inside virsh list --all --name)
    while read -r network; do
        [ -n "$network" ] || continue
        inside virsh net-destroy "$network" >/dev/null 2>&1 </dev/null || true
        inside virsh net-undefine "$network" >/dev/null 2>&1 </dev/null || true
    done < <(inside virsh net-list --all --name)
    forget_machines
}

# forget_machines: what is left of them as files, when libvirt is gone or was of no help. The
# images that belong to boxes stay, unless the box has a newer version by now.
forget_machines() {
    local etc=$LIBVIRT_DIR/etc lib=$LIBVIRT_DIR/lib image
    rm -rf "$etc"/qemu/*.xml "$etc"/qemu/networks "$etc"/qemu/autostart \
        "$lib"/qemu/{save,snapshot,checkpoint,nvram,ram,dump}/* "$lib"/dnsmasq/*
    for image in "$lib"/images/*; do
        [ -e "$image" ] || continue
        is_current_base_image "$(basename "$image")" || rm -f "$image"
    done
}
