#!/usr/bin/env bash
# Unpacks the Debian packages that a build needs, and those that they need, into a folder, for
# tests/gpu/check.sh on a machine without them. Needs apt and the network; changes nothing else.
#
#   tests/gpu/make_sysroot.sh DIR
set -eu
[ $# -eq 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
root=$(realpath "$1")
packages=(libgsl-dev libhdf5-dev libncurses-dev libopenblas-pthread-dev libjansson-dev libpcre2-dev
    libutf8proc-dev libssl-dev libcairo2-dev libcmocka-dev)
# The machine has its own C and C++ library.
without='^(libc6|libc6-dev|libc-dev-bin|libgcc-s1|gcc-.*-base|libstdc\+\+6|libcrypt.*|linux-libc-dev|libc-bin|libdpkg-perl|perl.*|debconf.*|dpkg.*|tar|.*-doc|python3.*|x11proto.*|xorg-.*|libglib2.0-(dev|bin).*|libx11-dev|libxcb1-dev|libxau-dev|libxdmcp-dev|mpi-default.*|fonts-.*|fontconfig-config|libopenmpi.*|libmpich.*|ucf|sed|coreutils|openssl)$'
cd "$(mktemp -d)"
apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "${packages[@]}" | grep -E '^[a-z0-9]' | sed 's/:.*//' | sort -u |
    grep -vE "$without" >names
# Names without a package of their own are provided by others of the list.
for name in $(cat names); do
    apt-get download "$name" >/dev/null 2>&1 || echo "make_sysroot: no package $name" >&2
done
for file in *.deb; do
    dpkg-deb -x "$file" "$root"
done
# What update-alternatives would have linked.
lib=$root/usr/lib/x86_64-linux-gnu
[ -e "$lib/pkgconfig/hdf5.pc" ] || cp "$lib"/pkgconfig/hdf5-serial.pc "$lib/pkgconfig/hdf5.pc"
find "$root" \( -name '*.a' -o -name '*.la' \) -delete
rm -rf "$root"/usr/share/{doc,man,locale,lintian,bug} "$root"/usr/bin "$root"/usr/sbin
du -sh "$root"
