FROM alpine:3.22 AS base
ARG NAME=world
RUN <<EOF
set -e
# this is shell, not a Dockerfile comment
apk add --no-cache make
FROM=nothing
EOF
COPY <<'conf' <<-script /etc/app/
key = "$NAME"
COPY . /never
conf
	#!/bin/sh
	echo "${NAME}"
	script
RUN python3 - <<PY > /tmp/out
print("<<END")
PY
COPY etc/ /etc/app/
ONBUILD COPY src /app/src

FROM base AS app
RUN make -C /app
