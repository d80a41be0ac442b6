#!/bin/sh
# Installs a Rust toolchain and a C linker from the Debian release that has them recent
# enough, by the mirror that this image's own sources name.
set -eu

release=forky
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null |
  grep -Eo 'https?://[^ ]+' | grep -v security | head -n 1)
echo "deb $mirror $release main" > /etc/apt/sources.list.d/rust.list

apt-get update
apt-get install -y --no-install-recommends -t "$release" cargo gcc libc6-dev rustc
rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/rust.list
