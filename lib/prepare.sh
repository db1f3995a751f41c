# shellcheck shell=bash
# Brings a fresh Debian to where this checkout runs: packages, .venv, byte code, a Debian image.
# Sourced by tests/run and bin/uxc-demo. Quick and offline when there is nothing left to do.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$TOP/.cache
VENV=$TOP/.venv
# Never the first python3 on PATH: that may be a version manager's shim, ten times slower to start.
PYTHON=/usr/bin/python3

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Hold a lock, so that a demo and a test run of one checkout do not prepare the same thing at once.
prepare_begin() {
    [ "$(id -u)" = 0 ] || die "root is needed: sudo $0"
    mkdir -p "$CACHE"
    exec {PREPARE_LOCK}>"$CACHE/lock"
    flock "$PREPARE_LOCK"
}

prepare_end() {
    exec {PREPARE_LOCK}>&-
}

# prepare_packages NAME…: install the Debian packages that are missing.
prepare_packages() {
    local name missing=()
    for name; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    quietly apt-get -q update
    DEBIAN_FRONTEND=noninteractive \
        quietly apt-get -qy --no-install-recommends install "${missing[@]}"
}

# prepare_venv FILE…: a .venv that holds what the requirements files pin, no more work than needed.
prepare_venv() {
    local file version want
    version=$($PYTHON -c 'import sys; print(sys.version)')
    if [ "$(cat "$VENV/uxc-python" 2>/dev/null)" != "$version" ]; then
        quietly $PYTHON -m venv --clear "$VENV"
        printf '%s\n' "$version" >"$VENV/uxc-python"
    fi
    for file; do
        want=$(sha256sum <"$TOP/$file")
        [ "$(cat "$VENV/uxc-$file" 2>/dev/null)" = "$want" ] && continue
        echo "installing what $file pins into .venv"
        quietly "$VENV/bin/python" -m pip install -q --disable-pip-version-check -r "$TOP/$file"
        printf '%s\n' "$want" >"$VENV/uxc-$file"
    done
    # The programs start without site-packages and from byte code, which nobody else would write.
    quietly env -u PYTHONDONTWRITEBYTECODE "$VENV/bin/python" -m compileall -q "$TOP/lib"
    quietly "$VENV/bin/python" "$TOP/lib/pack.py" "$TOP/lib"
}

# prepare_debian: a bundle with Debian in it, in $CACHE/debian/bundle, by way of an OCI image:
# debootstrap → umoci repack → umoci unpack, as somebody who fetches an image would get it.
prepare_debian() {
    local dir=$CACHE/debian new=$CACHE/debian.new mirror
    [ ! -d "$dir" ] || return 0
    echo "making a Debian root filesystem (half a minute, once)"
    rm -rf "$new"
    mkdir -p "$new"
    # Where apt gets its packages from, so that a mirror chosen by the admin is used here, too.
    # shellcheck disable=SC2016  # apt's own placeholders
    mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
        sed -n 's/^bookworm //p' | head -n 1)
    quietly umoci init --layout "$new/image"
    quietly umoci new --image "$new/image:debian"
    quietly umoci unpack --image "$new/image:debian" "$new/first"
    quietly debootstrap --variant=minbase --include=isc-dhcp-client,iproute2,iputils-ping \
        bookworm "$new/first/rootfs" ${mirror:+"$mirror"}
    rm -f "$new"/first/rootfs/var/cache/apt/archives/*.deb
    rm -rf "$new"/first/rootfs/var/lib/apt/lists/*
    quietly umoci repack --image "$new/image:debian" "$new/first"
    quietly umoci config --image "$new/image:debian" --config.cmd /bin/bash \
        --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    quietly umoci unpack --image "$new/image:debian" "$new/bundle"
    rm -rf "$new/first"
    mv "$new" "$dir"
}

# quietly COMMAND…: run it, and show what it printed only if it failed.
quietly() {
    local output
    output=$("$@" 2>&1 </dev/null) || {
        printf '%s\n' "$output" >&2
        die "failed: $*"
    }
}
