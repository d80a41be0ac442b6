#!/bin/sh
# Tells what a job in the test box works with.
set -eu
rustc --version
cargo --version
skopeo --version
echo "in $(pwd) as $(id -u):$(id -g), ${NOTE:-no note}"
