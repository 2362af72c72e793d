# apt install hailo-clip on a clean system, and every door of the service from a plain user.
files() { # all files that packages and services may leave behind, without what changes by itself
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log \
        -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /root \
        -o -path /etc/apt/sources.list.d \) -prune -o ! -type d -print | grep -vE '^/etc/(passwd|group|shadow|gshadow)-?$|\.cache$' | sort
}
files > /tmp/files-before
getent passwd | cut -d: -f1 | sort > /tmp/users-before

check "the repository's signature is valid" use_repository repo-1
check "apt install hailo-clip" install hailo-clip
check "service and socket are active" active
check "the service is ready at once: HTTP" http_right
check "nothing has failed" running
check "both are enabled" systemctl is-enabled $unit hailo-clip.socket
# No NPU is here, and the packaged configuration wants one if there is one: it works, and says what is missing.
check "hailo-clip status" prints 'State +degraded' plain hailo-clip status
check "it says why" prints 'no Hailo device found' plain hailo-clip status
check "hailo-clip classify" command_right
check "curl, JSON with base64" prints '"text": ?"a red circle".*"rank": ?1' curl -sS -H 'Content-Type: application/json' \
    -d "{\"image\":\"$(base64 -w0 samples/red-circle.png)\",\"prompts\":[\"a blue square\",\"a red circle\"]}" http://127.0.0.1:5000/v1/classify
check "curl, the Unix socket" unix_right
check "curl, /health" prints '"status": ?"healthy"' curl -sS http://127.0.0.1:5000/health
check "busctl introspect" prints '^\.Classify +method +ayasa\{sv\}' plain busctl introspect org.hailo.Clip1 /org/hailo/Clip1
check "busctl call Classify" dbus_right
check "busctl get-property" prints '^s "degraded"' plain busctl get-property org.hailo.Clip1 /org/hailo/Clip1 org.hailo.Clip1 State
check "gdbus call" prints '^\(\[\[-?0\.' plain gdbus call --system --dest org.hailo.Clip1 --object-path /org/hailo/Clip1 \
    --method org.hailo.Clip1.EmbedTexts "['a red circle']"
check "the status line says what is served, and where" prints '^degraded: demo on CPU.*0\.0\.0\.0:5000 /run/hailo-clip/http\.sock' systemctl show -P StatusText $unit

# The monitor does not say when it is ready, so the state changes until it has seen it.
change() { systemctl restart $unit && grep -q '"State"' /tmp/signals; }
watch_properties() {
    stdbuf -oL busctl monitor --match="type='signal',interface='org.freedesktop.DBus.Properties',path='/org/hailo/Clip1'" \
        > /tmp/signals 2>&1 &
    local monitor=$! status=0
    eventually change || status=1
    kill "$monitor"
    cat /tmp/signals
    return $status
}
check "busctl monitor sees properties change" watch_properties
check "it answers again" command_right

scenario "hardening"
check "it runs as hailo-clip" prints '^hailo-clip$' stat -c %U "/proc/$(pid)"
check "it has no capability at all" test "$(grep -cE '^Cap[A-Za-z]+:\s0+$' "/proc/$(pid)/status")" = 5
check "its system calls are filtered, privileges cannot be gained" \
    test "$(grep -cE '^(Seccomp:\s2|NoNewPrivs:\s1)$' "/proc/$(pid)/status")" = 2
exposure() {
    local level
    level=$(systemd-analyze security --no-pager $unit | sed -n 's/.*exposure level for.*: \([0-9.]*\).*/\1/p')
    echo "exposure $level"
    awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 1.5) }'
}
check "systemd-analyze security is at most 1.5" exposure
verify() { local said; said=$(systemd-analyze verify --man=no /usr/lib/systemd/system/hailo-clip.{service,socket} 2>&1); echo "$said"; ! grep -i hailo-clip <<< "$said"; }
check "systemd-analyze verify finds nothing" verify
if [[ -e /sys/kernel/security/apparmor/profiles ]]; then
    check "the AppArmor profile is enforced" prints 'enforce' cat "/proc/$(pid)/attr/current"
else
    check "the AppArmor profile can be parsed" apparmor_parser --skip-kernel-load --skip-cache /etc/apparmor.d/hailo-clipd
fi
refused_to_own() {
    ! plain busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus RequestName su org.hailo.Clip1 4 2>&1 | tee /tmp/own
    grep -q 'not allowed to own\|AccessDenied\|Access denied\|Permission denied' /tmp/own
}
check "another user cannot own the name" refused_to_own
