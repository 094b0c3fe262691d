#!/usr/bin/env bash
# Starts Hearth, deploys examples/hello-python, calls it over HTTP, shows the answer and the REPORT line, stops again.
set -euo pipefail
cd "$(dirname "$0")/.."
hearth=target/release/hearth
data=$(mktemp -d "${TMPDIR:-/tmp}/hearth-demo.XXXXXX")
listen=127.0.0.1:${DEMO_PORT:-9000} # not HEARTH_…: those are settings of the platform

isolation=$("$hearth" doctor --chosen)
if [ "$isolation" = none ]; then
    isolation=process
    echo "demo: THIS MACHINE ALLOWS NO JAIL ('hearth doctor' says why): taking --isolation process, which is NO SECURITY BOUNDARY."
    echo "demo: isolation between functions and the limits on memory, processes and /tmp are therefore not shown."
fi

coproc platform { exec "$hearth" up --listen "$listen" --admin-listen 127.0.0.1:0 --data-dir "$data" --isolation "$isolation"; }
pid=$platform_PID
clean() {
    if kill -TERM "$pid" 2>/dev/null; then wait "$pid" || echo "demo: the platform ended with $?" >&2; fi
    rm -rf "$data"
}
trap clean EXIT
while IFS= read -r line <&"${platform[0]}"; do
    echo "hearth up: $line"
    [[ $line == ready* ]] && break
done
[[ ${line:-} == ready* ]] || { echo "demo: the platform did not become ready; what it said is above" >&2; exit 1; }

export HEARTH_ENDPOINT=http://$listen
python=$(/usr/bin/python3 -c 'import sys; print(f"python3.{sys.version_info[1]}")')
set -x
"$hearth" deploy examples/hello-python --name hello --runtime "$python" --handler app.handler --credentials "$data/credentials"
"$hearth" invoke hello --data '{"name": "Hearth"}' --tail --credentials "$data/credentials"
set +x

kill -TERM "$pid"
wait "$pid" || { echo "demo: the platform did not stop cleanly; what it said is above" >&2; exit 1; }
cat <<END

That was a cold start. To go on, keep the platform in the foreground:
    make run
It prints what to type next: with Hearth's own command,
    target/release/hearth deploy examples/hello-python --name hello --runtime $python --handler app.handler
    target/release/hearth invoke hello --data '{"name": "you"}' --tail
or with the aws command and the SDKs you have.
END
