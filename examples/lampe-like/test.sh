# Checks that the box has the toolchains that the repository asks for.
set -eu
grep -q "\"$(cat /opt/ci/rust)\"" rust-toolchain.toml
grep -q ":$(cat /opt/ci/lean)\$" Lampe/lean-toolchain
grep -q "$(cat /opt/ci/noir)" Cargo.toml
echo "tested with lean $(cat /opt/ci/lean)"
