# For ./kapell, ./native and the scripts of tests/: which program runs these sources, and a build with a clock. Sourced; `root` is the folder
# of the project.
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

# is_current PROGRAM STAMP: PROGRAM is there and no source is newer than STAMP.
is_current() {
  [ -x "$1" ] && [ -f "$2" ] &&
    [ -z "$(find "$root/src" "$root/tools" "$root"/Directory.* "$root/global.json" "$root/.editorconfig" -newer "$2" \
      -not -path '*/bin/*' -not -path '*/obj/*' -type f -print -quit)" ]
}

# Sets `program` to what runs these sources: KAPELL_PROGRAM where it is set, the native program where ./native made one of them, else
# what is built here and now (Release) when a source has changed.
find_program() {
  program=${KAPELL_PROGRAM:-}
  [ -z "$program" ] || return 0
  program=$root/artifacts/kapell
  ! is_current "$program" "$program.stamp" || return 0
  program=$root/src/Kapell/bin/Release/net10.0/kapell
  local stamp=$root/src/Kapell/obj/kapell.stamp
  is_current "$program" "$stamp" || compile "$stamp" building built build "$root/src/Kapell/Kapell.csproj"
}

# compile STAMP DOING DONE DOTNET-ARGUMENTS: runs dotnet with a clock on stderr (on a terminal; else one line at either end); STAMP gets
# the time at which it began. On failure: the output, and 1.
# The analyzers judge a change, not a build for use: ./test runs them, here they would double the time. One warm compiler serves
# all projects, whatever the environment says.
compile() {
  local stamp=$1 doing=$2 done=$3 started log ticker
  shift 3
  command -v dotnet >/dev/null || { echo "kapell: the .NET 10 SDK (dotnet) is not on PATH; install it from https://dot.net" >&2; return 1; }
  started=$(date +%s) log=$(mktemp)
  if [ -t 2 ]; then
    ( while sleep 1; do printf '\rkapell: %s ... %s s' "$doing" $(($(date +%s) - started)) >&2; done ) & ticker=$!
  else
    echo "kapell: $doing ..." >&2; sleep infinity & ticker=$!
  fi
  touch "$log.stamp"
  if ! dotnet "$@" -c Release -v q --nologo -clp:ErrorsOnly -p:RunAnalyzers=false -p:UseSharedCompilation=true >"$log" 2>&1; then
    kill $ticker; wait $ticker 2>/dev/null || true
    clear_line; echo 'kapell: the build failed:' >&2; cat "$log" >&2; rm -f "$log" "$log.stamp"; return 1
  fi
  kill $ticker; wait $ticker 2>/dev/null || true
  mkdir -p "$(dirname "$stamp")"; mv "$log.stamp" "$stamp"; rm -f "$log"
  clear_line; echo "kapell: $done in $(($(date +%s) - started)) s" >&2
}

# Takes the clock off a terminal's line.
clear_line() { [ ! -t 2 ] || printf '\r\033[K' >&2; }
