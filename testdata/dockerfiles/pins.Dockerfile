ARG RUST_VERSION=1.90
FROM rust:${RUST_VERSION}-bookworm
ARG LEAN_TOOLCHAIN
ARG NOIR_REV
ARG GITHUB_TOKEN
ENV ELAN_HOME=/opt/elan \
    PATH="/opt/elan/bin:${PATH}"

RUN curl -sSfL https://github.com/leanprover/elan/releases/latest/download/elan-x86_64-unknown-linux-gnu.tar.gz \
      | tar xz -C /tmp \
    && /tmp/elan-init -y --no-modify-path --default-toolchain "${LEAN_TOOLCHAIN}"
RUN cargo install --locked \
      --git https://github.com/noir-lang/noir \
      --rev "${NOIR_REV}" \
      nargo_cli
COPY scripts/docker/entrypoint.sh /usr/local/bin/
RUN git clone --depth 1 https://github.com/example/fixtures /opt/fixtures
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD [ "bash" ]
