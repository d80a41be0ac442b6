# syntax=docker/dockerfile:1
# Each stage can stand on an earlier stage of this file or on an image built before.
ARG BASE_FROM=debian:13-slim
ARG BUILD_BASE_FROM=base
ARG BUILD_FROM=base-build
ARG TEST_FROM=build
ARG DOC_FROM=build

FROM ${BASE_FROM} AS base
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get -q -y update \
 && apt-get -q -y install --no-install-recommends \
      # what opam needs
      build-essential git m4 rsync \
 && rm -rf /var/lib/apt/lists/*
RUN useradd -ms /bin/bash -d /home/charlie -u 1001 charlie

FROM ${BUILD_BASE_FROM} AS base-build
ARG OPAM_VERSION=2.4.1
COPY opam/install.sh opam/keys.gpg /tmp/
RUN /tmp/install.sh "${OPAM_VERSION}"

FROM ${BUILD_FROM} AS build
USER charlie
WORKDIR /home/charlie
ARG EC_REV
COPY --chown=1001:1001 pins/ pins/
RUN opam pin add -n easycrypt "https://github.com/EasyCrypt/easycrypt.git#${EC_REV}" \
 && opam install -y --deps-only easycrypt

FROM ${TEST_FROM} AS test
ARG PROVERS="alt-ergo z3"
COPY tests/*.sh tests/
RUN for p in ${PROVERS}; do tests/prover.sh "$p"; done

FROM ${DOC_FROM} AS doc
COPY --from=base-build /etc/os-release /doc/
COPY . /doc/src
