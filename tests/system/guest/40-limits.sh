# Limits, storms, and what brings a service down.
if limits_work; then
    check "MemoryMax is 3 GiB" prints '^3221225472$' cat $cgroup/memory.max
    check "CPUQuota is 80 % of all cores" prints "^$(($(nproc) * 80000)) 100000$" cat $cgroup/cpu.max
    # 64 million pixels, 192 MB once decoded; a few kB as a file.
    python3 - <<'P'
import struct, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
packer, rows = zlib.compressobj(9), b""
for _ in range(8000): rows += packer.compress(b"\0" + b"\xff\x20\x20" * 8000)
with open("/tmp/large.png", "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0))
               + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b""))
P
    storm() {
        local _ jobs=()
        for _ in {1..16}; do
            curl -sS -o /dev/null -m 300 -w '%{http_code}\n' -H 'Content-Type: image/png' --data-binary @/tmp/large.png \
                "http://127.0.0.1:5000/$query" >> /tmp/storm & jobs+=($!)
        done
        wait "${jobs[@]}"
        sort /tmp/storm | uniq -c
        ! grep -vE '^(200|503|504)$' /tmp/storm && grep -q 200 /tmp/storm
    }
    rm -f /tmp/storm
    before=$(pid)
    check "a storm of large pictures is answered" storm
    peak() { cat $cgroup/memory.peak $cgroup/memory.events; [[ $(cat $cgroup/memory.peak) -lt 3221225472 ]] &&
        grep -qx 'oom_kill 0' $cgroup/memory.events && [[ $(pid) = "$before" ]]; }
    check "it stays under MemoryMax" peak
else
    skip "MemoryMax and CPUQuota" "there is no memory controller here"
fi

# The first SIGSEGV that comes from outside is taken by Rust's check for stack overflows, and signals that wait are one.
dies() { kill "-$1" "$2" 2> /dev/null; [[ ! -e /proc/$2 ]]; }
back_after() { # SIGNAL
    local before
    before=$(pid)
    systemctl reset-failed $unit
    eventually dies "$1" "$before" || return 1
    http_right && dbus_right && [[ $(pid) != "$before" ]]
}
check "killed by SIGKILL: it is back and answers" back_after KILL
check "killed by SIGSEGV: it is back and answers" back_after SEGV
if limits_work; then
    out_of_memory() {
        local before
        before=$(pid)
        mark
        echo 4M > $cgroup/memory.max
        eventually sh -c "! test -d /proc/$before" || return 1
        http_right || return 1
        since_mark | grep -i 'oom-kill'
    }
    check "killed for memory: it is back and answers" out_of_memory
fi
# The whole process stands still, so nothing feeds the watchdog. (A backend that hangs: see the NPU.)
watchdog() {
    mkdir -p /run/systemd/system/$unit.d
    printf '[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\nTimeoutStopSec=2\n' > /run/systemd/system/$unit.d/test.conf
    systemctl daemon-reload && systemctl restart $unit || return 1
    local before
    before=$(pid)
    mark
    kill -STOP "$before"
    http_right && [[ $(pid) != "$before" ]] && since_mark | grep -i watchdog
    local status=$?
    rm -r /run/systemd/system/$unit.d
    systemctl daemon-reload
    systemctl restart $unit
    return $status
}
check "a daemon that hangs is restarted by the watchdog, and answers" watchdog
check "nothing has failed" running
