#!/usr/bin/env bash
# Unpacks the Debian packages that a build needs, and those that they need, into a folder, for
# tests/gpu/check.sh on a machine without them. Needs apt and the network; changes nothing else.
#
#   tests/gpu/make_sysroot.sh DIR && tar -C DIR -cJf sysroot.tar.xz .
set -eu
[ $# -eq 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
root=$(realpath "$1")
packages=(libgsl-dev libhdf5-dev libncurses-dev libopenblas-pthread-dev libjansson-dev libpcre2-dev
    libutf8proc-dev libssl-dev libcairo2-dev libcmocka-dev pkgconf-bin)
# The machine has its own C and C++ library.
without='^(libc6|libc6-dev|libc-dev-bin|libgcc-s1|gcc-.*-base|libstdc\+\+6|libcrypt.*|linux-libc-dev|libc-bin|libdpkg-perl|perl.*|debconf.*|dpkg.*|tar|.*-doc|python3.*|libpython.*|libperl.*|libglib.*|libcurl.*-dev|libcurl3-.*|libnss.*|libnspr4|cdebconf|libdebian.*|xfonts.*|ttf-.*|mailcap|media-types|mime-support|sysvinit.*|lsb-base|x11-common|x11proto.*|xorg-.*|libglib2.0-(dev|bin).*|libx11-dev|libxcb1-dev|libxau-dev|libxdmcp-dev|mpi-default.*|fonts-.*|fontconfig-config|libopenmpi.*|libmpich.*|ucf|sed|coreutils|openssl)$'
cd "$(mktemp -d)"
apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "${packages[@]}" | grep -E '^[a-z0-9]' | sed 's/:.*//' | sort -u |
    grep -vE "$without" >names
# All at once, or where one has no package of its own (others provide it) one by one.
xargs apt-get download <names >/dev/null 2>&1 ||
    while read -r name; do
        apt-get download "$name" >/dev/null 2>&1 || echo "make_sysroot: no package $name" >&2
    done <names
for file in *.deb; do
    dpkg-deb -x "$file" "$root"
done
# What update-alternatives would have linked.
lib=$root/usr/lib/x86_64-linux-gnu
[ -e "$lib/pkgconfig/hdf5.pc" ] || cp "$lib"/pkgconfig/hdf5-serial.pc "$lib/pkgconfig/hdf5.pc"
# Only shared libraries are linked: what they need themselves is no business of pkg-config.
sed -i '/^Requires.private/d' "$lib"/pkgconfig/*.pc "$lib"/openblas-pthread/pkgconfig/*.pc "$root"/usr/share/pkgconfig/*.pc
find "$root" \( -name '*.a' -o -name '*.la' \) -delete
rm -rf "$root"/usr/share/{doc,man,locale,lintian,bug} "$root"/usr/sbin
du -sh "$root"
