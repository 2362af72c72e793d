# The service on an NPU, a simulated Hailo-8: through the packaged shim, under the packaged unit.
use_repository repo-2 > /dev/null
# Its node must be writable, which under the unit is the state directory alone.
npu=/var/lib/hailo-clip/npu
mkdir -p $npu/machine/{dev,sys/class/hailo_chardev/hailo0,sys/module/hailo_pci}
ln -s /proc $npu/machine/proc
: > $npu/machine/dev/hailo0
control() { printf 'architecture hailo8\n' > $npu/control.part; [[ $# = 0 ]] || printf '%s\n' "$@" >> $npu/control.part; mv $npu/control.part $npu/control; }
control
# The service has a /var/tmp of its own.
cp -r models $npu/models
# AppArmor's profile lets the daemon write what is its own.
chown -R hailo-clip: $npu
mkdir -p /run/systemd/system/$unit.d
cat > /run/systemd/system/$unit.d/npu.conf <<U
[Service]
Environment=HAILO_SIM_CONTROL=$npu/control
ExecStart=
ExecStart=/usr/libexec/hailo-clip/hailo-clipd --hardware-root $npu/machine --models-dir $npu/models
U
cp $config /tmp/before-npu.yaml
# Patience with machines that are busy or emulated.
set_key clip device_timeout_ms 15000
install hailort=4.22.0 > /tmp/apt 2>&1
systemctl daemon-reload
check "the service starts on the NPU" systemctl restart $unit
check "it is ready, and not degraded" prints 'State +ready' hailo-clip status
check "on a Hailo-8" prints 'Hailo-8' hailo-clip status
check "HTTP" http_right
check "D-Bus" dbus_right
hailort_changes() {
    clients_start || return 1
    local status=0
    install hailort=4.23.0 || status=1
    clients_stop && return $status
}
check "HailoRT changes while 4 clients ask: no request fails" hailort_changes
check "the service is on the NPU again, by the new shim" prints 'State +ready' hailo-clip status
check "whose version it is" ls /usr/lib/hailo-clip/libhailo_clip_shim-4.23.0.so
# Every call of the simulated library reads its control file, and waits for ever if that is a pipe without a
# writer: nothing in the process can end that.
hangs() {
    local before
    before=$(pid)
    mark
    mkfifo $npu/control.part && mv $npu/control.part $npu/control
    by_http "http://127.0.0.1:$port/$query" > /dev/null 2>&1 &
    for _ in {1..150}; do
        [[ $(pid) = "$before" ]] || break
        sleep 1
    done
    control
    wait $!
    since_mark | grep -i 'watchdog timeout' || return 1
    [[ $(pid) != "$before" ]]
}
check "a backend that hangs trips the watchdog" hangs
check "the service is back on the NPU and answers" http_right
slow() {
    local before
    before=$(pid)
    control 'mode timed' 'late_ms 3000'
    systemctl reload $unit
    by_http "http://127.0.0.1:$port/$query" -o /dev/null -w '%{http_code}\n' | grep 200 && [[ $(pid) = "$before" ]]
    local status=$?
    control
    return $status
}
check "a slow one does not" slow
rm -r /run/systemd/system/$unit.d
rm -r $npu
cp /tmp/before-npu.yaml $config
apt-get remove -y hailort > /dev/null 2>&1
systemctl daemon-reload
systemctl restart $unit
check "without HailoRT it runs on the CPU" prints '^s "cpu"' property Backend
check "nothing has failed" running
