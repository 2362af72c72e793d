# Edits of the configuration, right and wrong.
cp $config /tmp/good.yaml
restore() { cp /tmp/good.yaml $config; port=5000; systemctl reset-failed $unit hailo-clip.socket; systemctl restart $unit; }

move_port() {
    set_key server port 5055
    systemctl restart $unit || return 1
    port=5055
    http_right && unix_right && fails curl -sS -m 5 http://127.0.0.1:5000/health
}
check "server.port: systemctl restart alone serves the new port and frees the old one" move_port
check "the unit and its socket are active" active
check "an unused restart keeps it" eventually systemctl restart $unit
check "HTTP answers on the new port" http_right
stopped_start() { systemctl stop $unit && http_right; }
check "activation works on the new port" stopped_start
restore
check "and back again" http_right

if limits_work; then
    limits() {
        set_key resource_limits memory_max 1G
        set_key resource_limits cpu_quota 40%
        systemctl restart $unit || return 1
        grep -qx 1073741824 $cgroup/memory.max && grep -qx '40000 100000' $cgroup/cpu.max
    }
    check "resource_limits are in force after a restart" limits
    check "it answers within them" http_right
    one_thread() { curl -sS "http://127.0.0.1:$port/health" | grep -F '"device_name":"CPU, 1 thread"'; }
    check "and infers with one thread" one_thread
    restore
    check "without them the packaged ones are" prints '^3221225472$' cat $cgroup/memory.max
fi

mark
check "systemctl reload" systemctl reload $unit
check "the journal says so" eventually eval 'since_mark | grep "configuration reloaded"'
reload_edit() {
    set_key server max_body_mb 1
    systemctl reload $unit || return 1
    head -c 2000000 /dev/zero > /tmp/two-megabytes
    [[ $(curl -sS -o /dev/null -w '%{http_code}' -H 'Content-Type: image/png' --data-binary @/tmp/two-megabytes \
        "http://127.0.0.1:$port/$query") = 413 ]]
}
check "an edit is in force after a reload" reload_edit
restore

broken() { printf 'server:\n  prot: 5000\n' > $config; }
before=$(pid)
broken
mark
systemctl reload $unit > /dev/null 2>&1 || true
check "reload of a bad file: the old configuration stays in force" http_right
check "by the same process" test "$(pid)" = "$before"
check "the journal names the mistake and the key that was meant" eventually eval 'since_mark | grep -i "prot.*port"'
mark
check "daemon-reload with a bad file" systemctl daemon-reload
if [[ -w /dev/kmsg ]]; then
    check "the generator tells of the mistake" eventually eval 'journalctl -b --no-pager -o cat -t hailo-clip-generator -t kernel | grep prot'
else
    skip "the generator tells of the mistake" "a container has no kernel log"
fi
check "the packaged address is in force" prints '0\.0\.0\.0:5000' systemctl show -P Listen hailo-clip.socket
refuses() {
    systemctl restart $unit && return 1
    [[ $(systemctl show -P ExecMainStatus $unit) = 78 ]] || { systemctl status $unit; return 1; }
}
check "a service does not start with a bad file (exit code 78)" refuses
restore
check "the mended file is enough" http_right

taken() {
    systemctl stop hailo-clip.socket $unit
    python3 -m http.server 5000 > /dev/null 2>&1 &
    local other=$!
    eventually curl -sS http://127.0.0.1:5000/ || return 1
    mark
    systemctl start $unit
    local status=0
    eventually eval "since_mark | grep 'port 5000 is taken: python3 (process $other)'" || status=1
    cat /tmp/eventually
    kill $other
    wait $other 2>/dev/null
    return $status
}
check "the port is taken: the message names by whom" taken
systemctl stop $unit
restore
systemctl start hailo-clip.socket
check "with the port free again HTTP answers" http_right
check "nothing has failed" running

lost_state() { rm -rf /var/lib/hailo-clip && systemctl restart $unit && http_right && [[ $(stat -c %U /var/lib/hailo-clip) = hailo-clip ]]; }
check "the state directory is lost: it comes back" lost_state
disk_full() {
    mount -t tmpfs -o size=64k,mode=0755 tmpfs /var/lib/hailo-clip && chown hailo-clip: /var/lib/hailo-clip
    head -c 1M /dev/zero > /var/lib/hailo-clip/full 2>/dev/null
    systemctl restart $unit && http_right && dbus_right
    local status=$?
    df /var/lib/hailo-clip
    systemctl stop $unit
    umount /var/lib/hailo-clip
    return $status
}
check "the disk is full: it serves all the same" disk_full
check "it answers" http_right
check "nothing has failed" running
