#!/usr/bin/env bash
# Makes a Debian 12 or 13 machine ready (system packages, .venv), then runs `sprout` with the same
# arguments. Run again, it finds everything there and only hands over. Needs root, or sudo, for the
# packages alone:  ./sprout.sh boot
set -euo pipefail

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
venv=$here/.venv

packages=(
    # the tool itself
    python3 python3-venv ca-certificates
    # kernels: compiler, Kconfig, compression, libraries of objtool and of certificates
    gcc libc6-dev make binutils flex bison bc libelf-dev libssl-dev lz4 xz-utils zstd patch
    # a hypervisor and its tools: what they link with, and the compiler of ACPI tables
    libyajl-dev uuid-dev zlib1g-dev acpica-tools perl
    # verifying what kernel.org signs
    gpgv gpg gpg-agent
    # what is made of a kernel's modules
    kmod squashfs-tools
    # boot stub and first user space
    clang lld musl-dev
    # disks
    fdisk mtools
    # the machine
    qemu-system-x86 ovmf
    # tests: clang's sanitizers (below), other people's tools that must accept what we make
    git cpio sbsigntool osslsigncode efitools softhsm2 openssl systemd-boot-efi dosfstools e2fsprogs
    docker-registry skopeo
    # tests: what the kernel's own selftests are linked with
    libcap-dev libpopt-dev
)

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        fail "system packages are missing and this is not root" \
            "Install sudo, or run once as root: ${packages[*]}"
    fi
}

missing_packages() {
    local installed
    installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' \
        "${packages[@]}" 'libclang-rt-*-dev' 2>/dev/null | sed -n 's/^ii //p') || true
    comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) <(printf '%s\n' "$installed" | sort -u)
    [[ $installed == *libclang-rt-* ]] || echo "$sanitizers"
}

# clang's sanitizers are named after the version that the package `clang` pulls in.
sanitizers=libclang-rt-N-dev

named() {
    local version
    version=$(apt-cache depends clang | sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p' | head -1)
    printf '%s\n' "${@/#"$sanitizers"/libclang-rt-$version-dev}"
}

add_packages() {
    local missing
    command -v apt-get >/dev/null ||
        fail "this is not Debian: there is no apt-get" "Install what these provide: ${packages[*]}"
    mapfile -t missing < <(missing_packages)
    echo "sprout.sh: system packages to add: ${missing[*]}" >&2
    as_root apt-get -q update >&2
    mapfile -t missing < <(named "${missing[@]}")
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "${missing[@]}" >&2 ||
        fail "apt-get could not add the packages" "Read its last lines above and run this again."
}

make_venv() {
    echo "sprout.sh: making $venv from the hash-locked requirements.txt" >&2
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    # --no-deps: the file is the whole closure, less what nothing here imports.
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps \
        --require-hashes -r "$here/requirements.txt" >&2 &&
        "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps \
            --no-build-isolation --config-settings editable_mode=compat -e "$here" >&2 ||
        fail "the Python packages could not be installed" \
            "Check the network to the package index and run this again."
    wanted_venv >"$venv/.made-from"
}

# What .venv was made from; a moved checkout or another Python needs a new one.
wanted_venv() {
    echo "$here $(/usr/bin/python3 -V)"
    cat "$here/requirements.txt" "$here/pyproject.toml"
}

if [ -n "$(missing_packages)" ]; then
    add_packages
fi
if ! wanted_venv | cmp -s - "$venv/.made-from"; then
    make_venv
fi
if [ "$#" -eq 0 ]; then
    set -- --help
fi
exec "$venv/bin/sprout" "$@"
