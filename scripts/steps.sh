# Headlines with the time, and steps that run beside others, for scripts that do several long things. Sourced, never run.

STEP_NAME='the start'
STEP_STARTED=$SECONDS

# spent SECONDS: as words
spent() { printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); }

# step NAME: opens a step with a headline; what fails from here on failed in NAME.
step() {
    STEP_NAME=$1
    STEP_STARTED=$SECONDS
    printf '\n==> %s (%s so far)\n' "$STEP_NAME" "$(spent "$SECONDS")"
}

# report_end EXIT_CODE WORDS_WHEN_GREEN: for the EXIT trap.
report_end() {
    if [ "$1" -eq 0 ]; then
        printf '\n%s in %s\n' "$2" "$(spent "$SECONDS")"
    else
        printf '\nFAILED in "%s" after %s (exit code %s); the lines above say why.\n' \
            "$STEP_NAME" "$(spent $((SECONDS - STEP_STARTED)))" "$1" >&2
    fi
}

# Steps in the background: the process group and the log of each, by its name.
declare -A BACKGROUND_GROUP=() BACKGROUND_LOG=()

# in_background NAME CMD...: starts a step beside the ones that follow, with its output in a log.
in_background() {
    local name=$1 log
    shift
    log=$(target_dir)/test-logs/${name// /-}.log
    mkdir -p "$(dirname "$log")"
    printf '\n==> %s, in the background (log: %s)\n' "$name" "$log"
    # not through a pipe: $! has to be the leader of the new process group. A shell starts what is in the background with
    # SIGINT ignored; the tests send it to their children.
    setsid env --default-signal=INT,QUIT "$@" >"$log" 2>&1 </dev/null &
    BACKGROUND_GROUP[$name]=$!
    BACKGROUND_LOG[$name]=$log
}

# check_background: fails with the log of a background step that has failed already.
check_background() {
    local name
    for name in "${!BACKGROUND_GROUP[@]}"; do
        kill -0 "${BACKGROUND_GROUP[$name]}" 2>/dev/null || join_background "$name"
    done
}

# join_background NAME: waits for a background step, prints its log, and fails when it has failed.
join_background() {
    local name=$1 code=0
    [ -n "${BACKGROUND_GROUP[$name]:-}" ] || return 0
    step "$name"
    wait "${BACKGROUND_GROUP[$name]}" || code=$?
    unset "BACKGROUND_GROUP[$name]"
    cat "${BACKGROUND_LOG[$name]}"
    return "$code"
}

# end_background: ends all background steps that still run.
end_background() {
    local name
    for name in "${!BACKGROUND_GROUP[@]}"; do
        kill -- "-${BACKGROUND_GROUP[$name]}" 2>/dev/null || true
        wait "${BACKGROUND_GROUP[$name]}" 2>/dev/null || true
    done
}

# lint_code: formatting and lints of both halves, tests included.
lint_code() {
    step 'formatting'
    cargo fmt --all --check

    step 'lints, server half'
    cargo clippy -p twarga-cloud -p xtask --all-targets --features twarga-cloud/ssr -- -D warnings

    step 'lints, browser half'
    cargo clippy -p twarga-cloud --lib --target wasm32-unknown-unknown --features hydrate -- -D warnings
}

# document_code: the code's documentation, without a warning.
document_code() {
    step 'documentation'
    RUSTDOCFLAGS='-D warnings' cargo doc -q --no-deps -p twarga-cloud -p xtask --features twarga-cloud/ssr
}
