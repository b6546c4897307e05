# Headlines with the time, for scripts that do several long things. Sourced, never run.

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

# lint_code: formatting and lints of both halves, as "make check" and "make test" want them.
lint_code() {
    step 'formatting'
    cargo fmt --all --check

    step 'lints, server half'
    cargo clippy -p twarga-cloud -p xtask --all-targets --features twarga-cloud/ssr -- -D warnings

    step 'lints, browser half'
    cargo clippy -p twarga-cloud --lib --target wasm32-unknown-unknown --features hydrate -- -D warnings
}
