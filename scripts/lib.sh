# Shared by the scripts in this folder: messages, places and questions about this machine.
# Sourced, never run.

PROJECT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for the scripts that source this
LAB_DIR=$PROJECT_ROOT/.lab
# shellcheck disable=SC2034 # for the scripts that source this
PROMETHEUS_DIR=$LAB_DIR/prometheus
# shellcheck disable=SC2034 # for the scripts that source this
PROXIES_DIR=$LAB_DIR/proxies
LIBVIRT_URI=${LIBVIRT_DEFAULT_URI:-qemu:///system}
SCRIPT_NAME=$(basename "$0")

say() { printf '%s: %s\n' "$SCRIPT_NAME" "$*"; }

warn() { printf '%s: %s\n' "$SCRIPT_NAME" "$*" >&2; }

die() {
    warn "$*"
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

has() { command -v "$1" >/dev/null 2>&1; }

has_apt() { has apt-get && has dpkg-query; }

# on_debian: apt is here and the system calls itself Debian.
on_debian() { has_apt && grep -qs '^ID=debian$' /etc/os-release; }

# quietly LOG WHAT CMD...: runs CMD with its output in LOG; when it fails, says so, shows the
# last lines of LOG and ends the script.
quietly() {
    local log=$1 what=$2
    shift 2
    mkdir -p "$(dirname "$log")"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 25 "$log" >&2
        die "$what failed; the lines above are the end of $log."
    fi
}

# machine_has_vagrant: the machine's own Vagrant runs and its own libvirt answers.
machine_has_vagrant() {
    has vagrant && has virsh || return 1
    timeout 5 virsh -c "$LIBVIRT_URI" version </dev/null >/dev/null 2>&1 || return 1
    VAGRANT_CHECKPOINT_DISABLE=1 timeout 20 vagrant --version </dev/null >/dev/null 2>&1
}

# target_dir: where cargo puts what it builds.
target_dir() {
    local dir=${CARGO_TARGET_DIR:-target}
    case $dir in
        /*) printf '%s\n' "$dir" ;;
        *) printf '%s/%s\n' "$PROJECT_ROOT" "$dir" ;;
    esac
}
