# syntax = docker/dockerfile:1.7
FROM --platform=$BUILDPLATFORM golang:1.24 AS tools
RUN --mount=type=cache,target=/go/pkg/mod go install example.com/tool@v1.2.3

FROM rust:1.90@sha256:0000000000000000000000000000000000000000000000000000000000000001 AS deps
WORKDIR /src
ARG PROFILE=release
ARG CRATE_DIR=crates/app
RUN --mount=type=bind,source=Cargo.toml,target=Cargo.toml \
    --mount=type=bind,source=Cargo.lock,target=Cargo.lock \
    --mount=type=bind,src=${CRATE_DIR}/src,dst=src,ro \
    --mount=type=cache,id=registry-${PROFILE},target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target \
    --mount=type=secret,id=crates,target=/run/secrets/token,required=true \
    --mount=type=bind,from=tools,source=/go/bin,target=/opt/tools \
    --mount=type=tmpfs,target=/tmp \
    cargo build --profile "$PROFILE"

FROM gcr.io/distroless/cc-debian12 AS runtime
COPY --from=1 --chmod=755 --link /src/target/app /app
COPY --from=docker.io/library/busybox:1.37 /bin/busybox /bin/busybox
ADD https://example.com/ca.pem /etc/ssl/
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/data.tar /data/
RUN --mount=type=secret,id=npm --mount=type=ssh true

FROM runtime AS debug
RUN --mount=target=/ctx true
