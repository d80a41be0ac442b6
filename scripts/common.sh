# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.

# An ordinary user's PATH lacks dockerd and debootstrap.
PATH=$PATH:/usr/sbin:/sbin
me=${0##*/}
# shellcheck disable=SC2034 # read by setup and teardown
state=$(realpath -m "${BOXWRIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/boxwright}")/setup

root=()
if ((EUID != 0)) && command -v sudo >/dev/null; then root=(sudo); fi

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$@"; exit 1; }

# usage [STATUS]: prints the header comment of the calling script and exits.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&"$((${1:-0} ? 2 : 1))"; exit "${1:-0}"; }

# owned_pid FILE ARG: the pid in FILE, if that process has ARG among its arguments.
# Pids are used again after a reboot; a pid file alone is no proof.
owned_pid() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && grep -qszxF -e "$2" "/proc/$pid/cmdline" && echo "$pid"
}

# stop FILE ARG: ends that process, if it runs, and waits until its files and ports are free.
stop() {
  local pid
  pid=$(owned_pid "$@") || return 0
  kill "$pid" 2>/dev/null || "${root[@]}" sh -c "kill $pid" # kill alone is no program everywhere
  local threads
  for _ in {1..600}; do
    # The first thread can be a zombie while another still holds files and ports.
    threads=("/proc/$pid/task"/*)
    ((${#threads[@]} > 1)) || grep -qs '^State:.[^XZ]' "/proc/$pid/status" || return 0
    sleep 0.05
  done
  die "process $pid does not end"
}
