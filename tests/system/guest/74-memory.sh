# Memory of the machine is short: what hailo-clip doctor makes of it. A container has its host's memory, and leaves it alone.
of_memory() { # PATTERN: what doctor says of the machine's memory, where that is a fault
    hailo-clip --timeout 30 doctor --json > /tmp/doctor.json
    jq -c '.checks[] | select(.id == "memory-pressure")' /tmp/doctor.json | tee /dev/stderr |
        jq -e --arg p "$1" '(.verdict | test("warning|failure")) and ([.summary] + .evidence | join("\n") | test($p))' > /dev/null
}
if systemd-detect-virt --container --quiet; then
    skip "memory of the machine is short" "a container"
else
    # The kernel keeps most of the free memory for itself: its watermarks are at this size and half as much again.
    reserve=$(sysctl -n vm.min_free_kbytes)
    short() {
        local total available
        total=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)
        available=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)
        sysctl -w vm.min_free_kbytes=$((reserve + (available - total * 8 / 100) * 2 / 3))
        of_memory 'the machine is (short|out) of memory'
        local status=$?
        sysctl -w "vm.min_free_kbytes=$reserve"
        return $status
    }
    check "memory of the machine is short" short
fi
if [[ -r /proc/pressure/memory ]] && limits_work; then
    # Wants more than it may have, so it waits for memory and does nothing else.
    systemd-run --quiet --unit=greedy -p MemoryHigh=8M python3 -c 'x = []
while True: x.append(bytearray(1 << 20))'
    waits() { awk '$1 == "some" { sub("avg60=", "", $3); exit !($3 + 0 >= 12) }' /proc/pressure/memory; }
    pressed() { eventually waits && of_memory 'waited for memory: something [1-9][0-9]'; }
    check "programs wait for memory" pressed
    systemctl kill --signal=KILL greedy.service
    eventually fails systemctl is-active greedy.service
    systemctl reset-failed greedy.service 2> /dev/null
else
    skip "programs wait for memory" "this kernel counts no pressure, or has no limits"
fi
check "nothing has failed" running
