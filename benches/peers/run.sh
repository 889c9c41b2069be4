#!/usr/bin/env bash
# Builds all programs, starts a server, runs every measure of every peer on it, and prints the table
# of medians as Markdown.
#
#   ./run.sh                  all of them
#   ./run.sh bgjob graphile   some of them
#   ./run.sh --write          and puts the table into docs/benchmarks.md
#
# ROUNDS: how often each measure is taken (3). SHARE: percent of the usual number of jobs (100).
# LIMIT: seconds after which no further round is begun (420). BUILD: how to call cargo.
set -euo pipefail
cd "$(dirname "$0")"

rounds=${ROUNDS:-3} share=${SHARE:-100} limit=${LIMIT:-420}
docs=../../docs/benchmarks.md
write=no peers=()
for arg in "$@"; do
  case $arg in
    --write) write=yes ;;
    *) peers+=("$arg") ;;
  esac
done
[ "${#peers[@]}" != 0 ] || peers=(raw bgjob graphile awa river apalis sqlxmq)

# How many jobs a drain is of, so that none takes long; and whether rows can stay, go, or both.
jobs_of() {
  case $1 in
    raw | bgjob | graphile) echo $((200000 * share / 100)) ;;
    awa | river | apalis) echo $((50000 * share / 100)) ;;
    sqlxmq) echo $((10000 * share / 100)) ;;
  esac
}
rows_of() {
  case $1 in
    raw | bgjob) echo deleted kept ;;
    river | apalis) echo kept ;;
    *) echo deleted ;;
  esac
}

build() {
  ${BUILD:-} cargo build --release --locked
  programs=$(cargo metadata --format-version 1 --no-deps --locked |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
  SQLXMQ_MIGRATIONS=$(cargo metadata --format-version 1 --locked \
    --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
    grep -o '"manifest_path":"[^"]*/sqlxmq-[^"/]*/Cargo.toml"' | cut -d'"' -f4)
  export SQLXMQ_MIGRATIONS=${SQLXMQ_MIGRATIONS%Cargo.toml}migrations
}

# The server: on a free port of this host, with a folder of its own, gone with this script.
server_programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
server_programs=${server_programs:-$(dirname "$(command -v initdb)")}
folder=$(mktemp -d)
as_postgres=()
if [ "$(id -u)" = 0 ]; then # it refuses to run as root
  as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  chown postgres "$folder"
fi
settings=(shared_buffers=1GB max_wal_size=4GB fsync=on synchronous_commit=on)
SERVER_PID=
stop() {
  [ -z "$SERVER_PID" ] || { kill -INT "$SERVER_PID" && wait "$SERVER_PID"; } || true
  rm -rf "$folder"
}
trap stop EXIT

start() {
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  "${as_postgres[@]}" "$server_programs/initdb" --username=postgres --encoding=UTF8 --locale=C \
    --auth=trust --no-sync --pgdata "$folder/data" >/dev/null
  local options=() setting
  for setting in "${settings[@]}" listen_addresses=127.0.0.1 port="$port" max_connections=200 \
    unix_socket_directories=; do
    options+=(-c "$setting")
  done
  "${as_postgres[@]}" "$server_programs/postgres" -D "$folder/data" "${options[@]}" \
    2>"$folder/log" &
  export SERVER_PID=$!
  for _ in $(seq 600); do
    sql "SELECT 1" >/dev/null 2>&1 && return
    sleep 0.1
  done
  cat "$folder/log" >&2
  exit 1
}

sql() { psql -qAtX -h 127.0.0.1 -p "$port" -U postgres -c 'SET client_min_messages = warning' -c "$1"; }

# One measure, in a fresh database. One that fails is missing in the table, and said here.
measure() {
  local peer=$1
  shift
  sql "DROP DATABASE IF EXISTS measured WITH (FORCE)"
  sql "CREATE DATABASE measured"
  export DATABASE_URL=postgres://postgres@127.0.0.1:$port/measured
  AWA_COMPLETION_SHARDS=2 timeout 60 "$programs/peers-$peer" "$@" >>"$folder/figures" ||
    echo "$peer $*: failed" >&2
}

# All peers in each round, so that a slower minute of the machine is slower for all of them.
round() {
  local peer rows
  for peer in "${peers[@]}"; do
    for rows in $(rows_of "$peer"); do
      measure "$peer" drain "$(jobs_of "$peer")" "$rows"
    done
    for kind in enqueue bulk pickup across; do
      measure "$peer" "$kind"
    done
  done
}

machine() {
  local model cores memory
  model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
  cores=$(nproc)
  memory=$(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
  echo "$cores cores ($model), $memory, PostgreSQL $("$server_programs/postgres" --version | cut -d' ' -f3)"
  echo "with \`${settings[*]}\` on the same cores as its clients, Rust $(rustc --version | cut -d' ' -f2);"
}

build
start
SECONDS=0
for n in $(seq "$rounds"); do
  [ "$SECONDS" -lt "$limit" ] || { echo "no time for round $n" >&2; break; }
  round
  echo "round $n: $SECONDS s" >&2
done

"$programs/peers-table" "$(machine)" "$(date -u '+%-d %B %Y')" <"$folder/figures" >"$folder/table"
cat "$folder/table"
cp "$folder/figures" "${FIGURES:-/dev/null}"
if [ "$write" = yes ]; then
  sed -i -e '/^<!-- peers -->$/,/^<!-- \/peers -->$/{/^<!-- peers -->$/{r '"$folder/table"'
    n};/^<!-- \/peers -->$/!d}' "$docs"
fi
