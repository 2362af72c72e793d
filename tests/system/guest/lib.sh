# What the scenarios have in common. Sourced by guest.sh.

base=/var/tmp/boot-test
count=0 failed=0 skipped=0

# Runs a command as one test; what it printed is shown if it failed.
check() { # NAME COMMAND…
    local name=$1 status=0 began=$SECONDS
    shift
    count=$((count + 1))
    "$@" > /tmp/output 2>&1 || status=$?
    if [[ $status = 0 ]]; then
        printf 'ok %s - %s%s\n' "$count" "$name" "$(took "$began")"
    else
        failed=$((failed + 1))
        printf 'not ok %s - %s (status %s)%s\n' "$count" "$name" "$status" "$(took "$began")"
        tail -n 25 /tmp/output | cut -c1-300 | sed 's/^/    # /'
    fi
}
took() { local seconds=$((SECONDS - $1)); [[ $seconds -lt 3 ]] || printf ' # %s s' "$seconds"; }
skip() { # NAME REASON
    count=$((count + 1)) skipped=$((skipped + 1))
    printf 'ok %s - %s # SKIP %s\n' "$count" "$1" "$2"
}
scenario() { printf '# %s\n' "$*"; }

prints() { # PATTERN COMMAND…
    local pattern=$1
    shift
    "$@" 2>&1 | tee /dev/stderr | grep -E -- "$pattern" > /dev/null
}
fails() { ! "$@"; }

# Waits for a condition, up to a minute. Only where no event can be waited for.
eventually() { # COMMAND…
    local _
    for _ in {1..300}; do
        if "$@" > /tmp/eventually 2>&1; then return 0; fi
        sleep 0.2
    done
    cat /tmp/eventually
    return 1
}

plain() { runuser -u plain -- "$@"; }
member() { runuser -u member -- "$@"; }

unit=hailo-clip.service
cgroup=/sys/fs/cgroup/system.slice/$unit
config=/etc/hailo/hailo-clip.yaml
port=5000
pid() { systemctl show -P MainPID $unit; }
limits_work() { grep -qw memory /sys/fs/cgroup/cgroup.controllers && [[ -e $cgroup/memory.max ]]; }
journal() { journalctl -b --no-pager -o cat -u "$unit" "$@"; }
# The journal's lines since a cursor that `mark` has set.
mark() { journalctl --sync 2>/dev/null || true; cursor=$(journalctl -b -n 0 --show-cursor --no-pager -q | sed -n 's/^-- cursor: //p'); }
since_mark() { journalctl --sync 2>/dev/null || true; journalctl -b --no-pager -o cat --after-cursor "$cursor"; }

by_http() { # CURL-OPTIONS…
    curl -sS -m 120 -H 'Content-Type: image/png' --data-binary @$base/samples/red-circle.png "$@"
}
right() { jq -e --slurp '.[0].classifications[0].text == "a red circle"'; }
query='v1/classify?prompts=a+blue+square&prompts=a+red+circle'
http_right() { by_http "http://127.0.0.1:$port/$query" | right; }
unix_right() { by_http --unix-socket /run/hailo-clip/http.sock "http://localhost/$query" | right; }
command_right() {
    plain hailo-clip classify $base/samples/red-circle.png "a red circle" "a blue square" --json |
        tee /dev/stderr | grep -q 'a red circle'
}
call() { busctl --timeout=120 call org.hailo.Clip1 /org/hailo/Clip1 "$@"; }
property() { busctl --timeout=120 get-property org.hailo.Clip1 /org/hailo/Clip1 org.hailo.Clip1 "$@"; }
dbus_right() {
    local reply
    # shellcheck disable=SC2046 # the picture, byte by byte
    reply=$(runuser -u "${1:-plain}" -- busctl --timeout=120 --json=short call org.hailo.Clip1 /org/hailo/Clip1 org.hailo.Clip1 \
        Classify 'ayasa{sv}' $(stat -c %s $base/samples/red-circle.png) $(od -An -v -tu1 $base/samples/red-circle.png) \
        2 'a red circle' 'a blue square' 0) || return 1
    echo "$reply"
    jq -e '.data[0][0][0] == "a red circle"' <<< "$reply"
}
install() { apt-get install -y --no-install-recommends "$@"; }
use_repository() { # FOLDER
    sed "s#^URIs: .*#URIs: file:$base/$1#; s#^Signed-By: .*/#Signed-By: $base/$1/#" \
        "$base/$1/hailo-clip.sources" > /etc/apt/sources.list.d/hailo-clip.sources
    apt-get update -o Dir::Etc::sourcelist=/dev/null
}
running() {
    prints '^running$' systemctl is-system-running && return
    systemctl list-units --failed --plain --no-legend
    journalctl -b -n 20 --no-pager -o short -p warning
    return 1
}
active() { systemctl is-active $unit hailo-clip.socket; }
set_key() { # SECTION KEY VALUE: in the configuration file
    python3 - "$config" "$@" <<'P'
import re, sys
path, section, key, value = sys.argv[1:]
text = open(path).read()
pattern = rf"(?ms)^({section}:\n(?:(?!^\S).*?\n)*?  )#? ?{key}:[^\n]*"
text, changed = re.subn(pattern, rf"\g<1>{key}: {value}", text, count=1)
if not changed:
    text += f"\n{section}:\n  {key}: {value}\n"
open(path, "w").write(text)
P
}

# Four clients that ask without pause until `clients_stop`; every answer that is not right is a failure.
clients_start() { rm -rf /tmp/clients; mkdir /tmp/clients; python3 $base/guest/clients.py /tmp/clients "$port" & clients=$!
    eventually test -e /tmp/clients/going; }
clients_stop() { touch /tmp/clients/stop; wait "$clients"; }
