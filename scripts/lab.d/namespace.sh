# The lab's two namespaces: making them, entering them, removing them. Sourced by scripts/lab.
#
# A process called the holder keeps the mount namespace alive. A pid is taken for one of ours
# only while it lives in the lab's network namespace, so a reused pid can do no harm.

NETNS_FILE=/run/netns/$LAB_NAME
HOLDER_PID_FILE=$LAB_RUN/holder.pid
OWNER_FILE=$LAB_RUN/owner

# where /run outlives a restart of the machine, the name can be left as an empty file
namespace_exists() { [ "$(stat -f -c %T "$NETNS_FILE" 2>/dev/null)" = nsfs ]; }

# lives_in_lab PID
lives_in_lab() {
    local theirs ours
    theirs=$(stat -Lc %d:%i "/proc/$1/ns/net" 2>/dev/null) || return 1
    ours=$(stat -Lc %d:%i "$NETNS_FILE" 2>/dev/null) || return 1
    [ "$theirs" = "$ours" ]
}

we_are_inside() { namespace_exists && lives_in_lab self; }

lab_pids() {
    ! namespace_exists || ip netns pids "$LAB_NAME" 2>/dev/null || true
}

holder_pid() {
    local pid
    pid=$(cat "$HOLDER_PID_FILE" 2>/dev/null) || return 1
    [ -n "$pid" ] && lives_in_lab "$pid" || return 1
    printf '%s\n' "$pid"
}

holder_alive() { holder_pid >/dev/null; }

reject_foreign_lab() {
    local owner
    owner=$(cat "$OWNER_FILE" 2>/dev/null) || return 0
    [ "$owner" = "$PROJECT_ROOT" ] || die "The lab $LAB_NAME belongs to the checkout in $owner; please use another TWARGA_LAB_NAME here."
}

# clear_remains: of a lab whose holder is gone, or that a restart of the machine has ended.
clear_remains() {
    local pid
    for pid in $(lab_pids); do
        say "ending $(cat "/proc/$pid/comm" 2>/dev/null || echo a process) ($pid), left by an earlier lab"
        end_process "$pid"
    done
    # its bridge would be in the way of the next one
    remove_namespace
}

start_namespace() {
    ! holder_alive || return 0
    clear_remains
    say "making the namespace $LAB_NAME"
    mkdir -p "$LAB_RUN/libvirt" "$LAB_LOGS" "$LAB_VAGRANT_HOME" "$LIBVIRT_DIR"/{etc,lib/images,log,cache}
    printf '%s\n' "$PROJECT_ROOT" >"$OWNER_FILE"
    if ! namespace_exists; then
        ip netns add "$LAB_NAME" || die "The kernel does not allow a network namespace; a container needs to be privileged for the lab."
    fi
    ip -n "$LAB_NAME" link set lo up
    "$HERE/lab.d/daemonize" "$LAB_LOGS/holder.log" \
        ip netns exec "$LAB_NAME" "$HERE/lab.d/namespace-holder" "$LAB_NAME" "$LIBVIRT_DIR" "$LAB_RUN" &
    local waited=0
    until holder_alive; do
        waited=$((waited + 1))
        if [ "$waited" -gt 100 ]; then
            tail -n 5 "$LAB_LOGS/holder.log" >&2
            die "The lab's namespaces did not come up within 10 s; .lab/logs/holder.log says why."
        fi
        sleep 0.1
    done
}

remove_namespace() {
    local pid
    if namespace_exists; then
        for pid in $(lab_pids); do
            end_process "$pid"
        done
        ip netns del "$LAB_NAME" 2>/dev/null || warn "the namespace $LAB_NAME could not be deleted; 'ip netns del $LAB_NAME' says why"
    else
        rm -f "$NETNS_FILE"
    fi
    rm -rf "$LAB_RUN"
}

# end_process PID: terminates it, and kills it after 5 s.
end_process() {
    local pid=$1 waited
    lives_in_lab "$pid" || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((waited = 0; waited < 50; waited++)); do
        lives_in_lab "$pid" || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# end_other_processes: whatever runs in the lab and is not part of it, such as a server.
end_other_processes() {
    local pid name
    for pid in $(lab_pids); do
        name=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
        case $name in
            libvirtd | virtlogd | dnsmasq | qemu-system-*) continue ;;
        esac
        [ "$pid" != "$(holder_pid || true)" ] || continue
        say "ending $name ($pid), which still runs in the lab"
        end_process "$pid"
    done
}

# lab_environment: fills LAB_ENVIRONMENT with the environment of a command inside.
lab_environment() {
    LAB_ENVIRONMENT=(
        VAGRANT_HOME="$LAB_VAGRANT_HOME"
        VAGRANT_DEFAULT_PROVIDER=libvirt
        VAGRANT_CHECKPOINT_DISABLE=1
        VAGRANT_NO_COLOR=1
        LIBVIRT_DEFAULT_URI=qemu:///system
        TWARGA_LIBVIRT_DRIVER="$(lab_driver)"
        TWARGA_LAB_NAME="$LAB_NAME"
        TWARGA_LAB_BOXES="$(lab_boxes)"
    )
}

# prepare_entry: fills ENTRY with the words that run a command inside. Each of them replaces
# itself by the next (no --pid, no --fork), so the command keeps the pid that it is started with.
prepare_entry() {
    local pid
    pid=$(holder_pid) || die "The lab is down: please run scripts/lab up (or make lab-up)."
    lab_environment
    ENTRY=(nsenter --target "$pid" --mount --net -- env -C "$PWD" "${LAB_ENVIRONMENT[@]}")
}

inside() {
    prepare_entry
    "${ENTRY[@]}" "$@"
}
