# shellcheck shell=bash
# What the scripts here share. Sourced from the repository's root; not here: anything that runs by itself.

say() { printf '==> %s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# step NAME COMMAND...: runs the command and says how long it took. Behind `||` or `if`, bash would
# not stop at the first failing line of the command, so the trap names the step instead.
step() {
    local start=$SECONDS
    STEP=$1
    shift
    say "$STEP"
    "$@"
    say "$STEP: $((SECONDS - start)) s"
}
STEP=start
set -E
trap 'printf "error: %s failed\n" "$STEP" >&2' ERR

# aside NAME COMMAND...: starts a command that runs beside the steps that follow, on what CPU time they leave. Its output
# is kept until `join_aside` waits for it and returns its status. If a step fails first, the command is ended.
aside() {
    ASIDE=$1
    ASIDE_OUTPUT=$(mktemp)
    shift
    say "$ASIDE, beside what follows"
    # Idle among its own, and its session, where the kernel groups by that, idle among others.
    # shellcheck disable=SC2016 # It is for the shell that is started.
    setsid bash -c '{ echo 19 >/proc/self/autogroup; } 2>/dev/null || true; exec chrt --idle 0 "$@"' aside "$@" \
        >"$ASIDE_OUTPUT" 2>&1 </dev/null &
    ASIDE_PID=$!
    trap end_aside EXIT
}

end_aside() {
    kill -- "-$ASIDE_PID" 2>/dev/null && say "$ASIDE: ended, as something failed before it was done; so far it said"
    wait "$ASIDE_PID" || true
    cat "$ASIDE_OUTPUT" >&2
    rm -f "$ASIDE_OUTPUT"
}

join_aside() {
    local status=0
    say "$ASIDE, after $SECONDS s"
    wait "$ASIDE_PID" || status=$?
    trap - EXIT
    cat "$ASIDE_OUTPUT" >&2
    rm -f "$ASIDE_OUTPUT"
    return "$status"
}

# need COMMAND PACKAGE: installs a Debian package if the command is missing and we may.
need() {
    command -v "$1" >/dev/null && return
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        return 1
    fi
    say "installing $2"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"; } >/dev/null
    command -v "$1" >/dev/null
}

# unless_done STAMP INPUT... -- COMMAND...: runs the command if an input differs from what it was run with.
unless_done() {
    local stamp=$1 inputs=()
    shift
    while [[ $1 != -- ]]; do
        inputs+=("$1")
        shift
    done
    shift
    cat "${inputs[@]}" | cmp -s - "$stamp" && return
    rm -f "$stamp"
    "$@"
    cat "${inputs[@]}" >"$stamp"
}

# Debian's, whichever comes first in PATH.
PYTHON=/usr/bin/python3

# need_python MODULE PACKAGE: as need, for a module of it.
need_python() {
    "$PYTHON" -c "import $1" 2>/dev/null && return
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        say "installing $2"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"; } >/dev/null
    fi
    "$PYTHON" -c "import $1" || fail "$PYTHON has no module $1: install $2"
}

# The tools that building takes. What is not named here comes with Rust.
need_build_tools() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or later with rustup"
    need cc gcc || fail "a C linker is missing: install gcc"
    # Images are linked with the linker that Rust ships.
    local lld
    lld=$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld
    [[ -x $lld ]] || fail "rust-lld is missing at $lld: install an x86-64 Linux toolchain with rustup"
}

# What is shipped.
RELEASED=(-p jiffy-vmm -p jiffy-toolchain -p jiffyd -p jiffy-benches)
build_release() { cargo build --release --locked "${RELEASED[@]}"; }

# All tests and the programs that they start. Of the whole workspace and with its tests, because with less of it, features
# of dependencies would differ and all be built again.
BUILD_TESTED=(cargo build --locked --workspace --bins --tests)
build_tested() { "${BUILD_TESTED[@]}"; }
