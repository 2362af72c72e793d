# hailo-clip doctor: each fault is made on this system, found, and where that does no harm mended by --fix.
use_repository repo-2 > /dev/null
cp $config /tmp/before-doctor.yaml
drop_ins=/run/systemd/system/$unit.d

ask() { hailo-clip --timeout 30 doctor --json "$@" > /tmp/doctor.json; }
# Whether a check, in what was asked last, has a verdict, and says something in its summary, evidence or remedy.
says() { # ID VERDICT-REGEX PATTERN
    jq -c --arg id "$1" '.checks[] | select(.id == $id)' /tmp/doctor.json | tee /dev/stderr |
        jq -e --arg v "^($2)\$" --arg p "$3" \
            '(.verdict | test($v)) and ([.summary] + .evidence + (.remedy.commands // []) | join("\n") | test($p))' > /dev/null
}
finds() { # ID VERDICT-REGEX PATTERN OPTION…
    local id=$1 verdict=$2 pattern=$3
    shift 3
    ask "$@"
    says "$id" "$verdict" "$pattern"
}
mends() { # ID OPTION…
    local id=$1
    shift
    ask --fix --yes "$@"
    jq -c '.fixes' /tmp/doctor.json
    # A restart that nobody waits for may still be under way.
    says "$id" ok . || eventually finds "$id" ok . "$@"
}
# What a check says to run, as root runs it.
obey() { jq -r --arg id "$1" '.checks[] | select(.id == $id) | .remedy.commands[]' /tmp/doctor.json | sed 's/sudo //' > /tmp/obey && cat /tmp/obey && sh -e /tmp/obey; }
healthy() {
    rm -rf $drop_ins/doctor.conf
    cp /tmp/before-doctor.yaml $config
    set_key clip backend cpu
    # One slow processor has no time to spare for a quota.
    set_key resource_limits cpu_quota 400%
    systemctl daemon-reload
    systemctl reset-failed $unit hailo-clip.socket
    systemctl restart hailo-clip.socket $unit
    journalctl --rotate > /dev/null 2>&1
    journalctl --vacuum-time=1s > /dev/null 2>&1
    port=5000
}

healthy
all_clear() { hailo-clip --timeout 30 doctor > /tmp/doctor.txt; local status=$?; cat /tmp/doctor.txt; [[ $status = 0 && $(wc -l < /tmp/doctor.txt) = 1 ]] && grep '^nothing is wrong' /tmp/doctor.txt; }
check "a healthy service gets an all-clear of one line, exit code 0" all_clear
one_shape() { ask --all; jq -e '.schema == 1 and .root and .verdict == "ok" and (.checks | length > 30) and ([.checks[] | has("id", "title", "verdict", "summary", "evidence", "remedy")] | all)' /tmp/doctor.json 2> /tmp/jq || jq -e '.schema == 1 and .root and .verdict == "ok" and (.checks | length > 30)' /tmp/doctor.json; }
# A slow machine may have more to say within the default deadlines.
as_documented() { cd /tmp && hailo-clip doctor | grep 'checks are ok' && hailo-clip report hailo-clip-report.tar.gz; local status=$?; rm -f hailo-clip-report.tar.gz; cd $base; return $status; }
check "doctor and report as README.md has them" as_documented
check "--json has its shape" one_shape
plain_user() { plain hailo-clip --timeout 30 doctor --json > /tmp/doctor.json; says journal needs_root 'root and the group' && jq -e '.root == false' /tmp/doctor.json; }
check "a plain user is told which checks need root" plain_user
check "and still gets answers of the service" says answers ok 'classified a picture'

stop_both() { systemctl stop hailo-clip.socket $unit; }
stopped() { stop_both; finds service failure 'stopped' && ! systemctl is-active $unit; }
check "the service is stopped: found, and not started by the question" stopped
plain_fix() { plain hailo-clip --timeout 30 doctor --fix --yes --json > /tmp/doctor.json 2> /tmp/doctor.err; cat /tmp/doctor.err; grep 'as root: sudo systemctl start' /tmp/doctor.err && ! systemctl is-active $unit; }
check "--fix as a plain user prints the command" plain_fix
no_terminal() { hailo-clip --timeout 30 doctor --fix --json < /dev/null > /tmp/doctor.json 2> /tmp/doctor.err; grep 'left as it is' /tmp/doctor.err && ! systemctl is-active $unit; }
check "--fix without a terminal runs nothing" no_terminal
# On a terminal.
answer() { printf '%s\n' "$1" | script -qec 'hailo-clip --timeout 30 doctor --fix' /dev/null | tee /tmp/doctor.txt; }
refused() { answer n; grep 'run "sudo systemctl start .*\[y/N\]' /tmp/doctor.txt && grep 'left as it is' /tmp/doctor.txt && ! systemctl is-active $unit; }
check "--fix asks on a terminal, and a no is a no" refused
agreed() { answer y; grep 'service is now: ok' /tmp/doctor.txt && systemctl is-active $unit; }
check "and a yes is a yes" agreed
stop_both
check "--fix --yes starts it" mends service
check "HTTP answers" http_right
systemctl stop $unit
check "stopped with its socket open: a warning" finds service warning 'the next HTTP request starts it'
check "still not started by the question" fails systemctl is-active $unit
healthy

masked() { stop_both; systemctl mask --runtime $unit; finds installation failure 'masked'; local status=$?; systemctl unmask --runtime $unit; return $status; }
check "the unit is masked" masked
healthy
changed_unit() {
    mkdir -p $drop_ins && printf '[Service]\nNice=1\n' > $drop_ins/doctor.conf && systemctl daemon-reload || return 1
    # What systemd goes by is the time of the change.
    printf '[Service]\nNice=2\n' > $drop_ins/doctor.conf && touch -d '+2 seconds' $drop_ins/doctor.conf
    finds installation warning 'daemon-reload'
}
check "a unit file has changed on disk" changed_unit
check "--fix has systemd read it" mends installation
healthy
check "no D-Bus is a verdict" finds bus failure 'cannot' --bus unix:path=/nowhere/bus

printf 'server:\n  prot: 5000\n' > $config
systemctl restart $unit > /dev/null 2>&1
check "a mistake in the configuration, with its line" finds configuration failure 'hailo-clip.yaml:2:.*port'
check "the unit that failed of it, with exit code 78" says service failure '78'
cp /tmp/before-doctor.yaml $config
healthy
# Two clocks are compared, so that an edit within two seconds of the start is none.
edited() { sleep 3; set_key performance max_queue_size 63; finds configuration-in-force warning 'edited after'; }
check "an edit that was not reloaded" edited
check "--fix reloads it" mends configuration-in-force
moved() { set_key server port 5056; finds port-in-force warning '5056'; }
check "the port was changed without a restart" moved
check "--fix puts it in force" mends port-in-force
port=5056
check "HTTP answers on the new port" http_right
healthy
open_keys() { echo 'a-key-that-nobody-may-see' > /etc/hailo/keys; chmod 644 /etc/hailo/keys; set_key server api_keys_file /etc/hailo/keys; finds api-keys warning 'every user'; }
check "API keys that everybody can read" open_keys
check "--fix closes the file" mends api-keys
keys_missing() { rm /etc/hailo/keys; finds api-keys failure 'cannot be read'; }
check "API keys that are not there" keys_missing
healthy
scales() { set_key clip logit_scale 1; set_key server max_body_mb 1; finds scores warning 'alike' && says request-limits warning 'too small'; }
check "a logit scale that makes scores alike, and a body limit too small for pictures" scales
healthy

stop_both
python3 -m http.server 5000 > /dev/null 2>&1 &
other=$!
eventually curl -sS http://127.0.0.1:5000/ > /dev/null
systemctl start $unit hailo-clip.socket > /dev/null 2>&1
check "the port is taken, and by whom" finds port failure "python3 \\(process $other\\)"
kill $other
wait $other 2> /dev/null
check "--fix opens it once it is free" mends port
check "HTTP answers" http_right
healthy
hung() { kill -STOP "$(pid)"; hailo-clip --timeout 2 doctor --json > /tmp/doctor.json; kill -CONT "$(pid)"; says answers failure 'does not answer' && says listening failure 'does not answer'; }
check "running and not answering, on the bus and over HTTP: found within deadlines" hung
healthy
if [[ $(systemctl show -P IPAddressAllow hailo-clip.socket) ]]; then
    check "an address of the local network is let in" finds address-filter ok '192.168.1.5 is let in' --from 192.168.1.5
    check "one of the internet is not" finds address-filter failure '203.0.113.7 is not let in' --from 203.0.113.7
    let_in() { obey address-filter && finds address-filter ok '203.0.113.7 is let in' --from 203.0.113.7; }
    check "the commands that doctor names let it in" let_in
    rm -f /etc/systemd/system/hailo-clip.{socket,service}.d/60-clients.conf
    rmdir /etc/systemd/system/hailo-clip.{socket,service}.d 2> /dev/null
    healthy
fi

onnx=$(ls /usr/share/hailo-clip/models/demo/*.onnx | head -n 1)
cp -p "$onnx" /tmp/model.onnx
printf x | dd of="$onnx" bs=1 seek=1000 conv=notrunc 2> /dev/null
systemctl restart $unit > /dev/null 2>&1
check "a model file is damaged" finds model failure 'demo'
check "so the package's files are not as installed" says package-files failure "${onnx##*/}"
check "and the service does not answer" says answers failure 'failed|picture'
check "the journal has an error" says journal warning .
cp -p /tmp/model.onnx "$onnx"
healthy
check "with the file mended all is well" finds model ok 'whole'
mv "$onnx" /tmp/model.away
check "a model file is missing" finds model failure 'missing'
mv /tmp/model.away "$onnx"
no_model() { set_key clip model no-such-model; finds model failure 'not installed'; }
check "a model that is not installed" no_model
healthy

service_drop_in() { mkdir -p $drop_ins; printf '[Service]\n%s\n' "$@" > $drop_ins/doctor.conf; systemctl daemon-reload; }
# A section for each line does no harm.
crashes() { service_drop_in ExecStart= ExecStart=/bin/false; systemctl restart --no-block $unit; eventually finds crash-loop failure 'every start|gave up'; }
check "a crash loop" crashes
healthy
times_out() { service_drop_in ExecStart= 'ExecStart=/bin/sleep 1000' TimeoutStartSec=1 Restart=no; systemctl restart $unit; finds start-timeout failure 'not ready in time'; }
check "a start that times out" times_out
healthy
killed() { kill -KILL "$(pid)"; eventually systemctl is-active $unit; eventually finds crash-loop warning 'restarted'; }
check "a daemon that was killed and came back" killed
healthy
python3 -c 'import time; time.sleep(1000)' /opt/hailo-clip/hailo_clip_service.py &
other=$!
check "the old service's program runs beside it" finds instances failure "process $other: .*hailo_clip_service"
kill $other
wait $other 2> /dev/null
if command -v dbus-daemon > /dev/null; then
    # As one user: a session's bus answers no other. Not by a function, whose process would not pass on the end.
    runuser -u plain -- dbus-daemon --session --nofork --nopidfile --address=unix:path=/tmp/second-bus > /dev/null 2>&1 &
    second_bus=$!
    printf 'server: {host: 127.0.0.1, port: 0}\nclip: {backend: cpu}\n' > /tmp/second.yaml
    eventually test -S /tmp/second-bus
    runuser -u plain -- /usr/libexec/hailo-clip/hailo-clipd --bus unix:path=/tmp/second-bus --config /tmp/second.yaml > /dev/null 2>&1 &
    other=$!
    check "a second daemon" eventually finds instances failure 'libexec/hailo-clip/hailo-clipd --bus unix'
    kill $other $second_bus
    wait $other $second_bus 2> /dev/null
fi

cat > /etc/systemd/system/hailo-clip.service <<'U'
[Service]
ExecStart=/usr/bin/python3 /opt/hailo-clip/hailo_clip_service.py
U
check "the old service's unit shadows ours" finds leftovers failure '/opt/hailo-clip/hailo_clip_service.py'
ask --fix --yes
check "--fix moves it out of the way, and loses nothing" grep -q hailo_clip_service /etc/systemd/system/hailo-clip.service.replaced-by-package
check "our unit is in force again" prints '^(/usr)?/lib/' systemctl show -P FragmentPath $unit
check "HTTP answers" http_right
mkdir -p /opt/hailo-clip
check "its files are named, and left" finds leftovers warning '/opt/hailo-clip'
rm -r /opt/hailo-clip /etc/systemd/system/hailo-clip.service.replaced-by-package
healthy

if limits_work; then
    near() {
        local used
        http_right > /dev/null || return 1
        used=$(($(< $cgroup/memory.current) - $(sed -n 's/^inactive_file //p' $cgroup/memory.stat)))
        # Room for doctor's own questions, which would be the last straw otherwise.
        systemctl set-property --runtime $unit MemoryMax=$((used + used / 20))
        finds memory-limit 'warning|failure' 'near its limit|out of memory'
    }
    # What the service uses changes: every ten seconds it gives back what it does not need.
    check "memory near MemoryMax" eventually near
    oom() { systemctl set-property --runtime $unit MemoryMax=4M; systemctl restart --no-block $unit; eventually finds memory-limit 'warning|failure' 'out of memory'; }
    check "killed for want of memory" oom
    rm -rf /run/systemd/system.control/$unit.d
    healthy
    slowed() {
        local _ throttled=0
        # Less than the service takes when it is asked without pause.
        systemctl set-property --runtime $unit CPUQuota=3%
        for _ in {1..300}; do
            by_http "http://127.0.0.1:$port/$query" > /dev/null 2>&1
            throttled=$(sed -n 's/^nr_throttled //p' $cgroup/cpu.stat)
            [[ $throttled -lt 150 ]] || break
        done
        finds processor-quota warning 'holds the service up'
    }
    check "the quota holds it up" slowed
    rm -rf /run/systemd/system.control/$unit.d
    healthy
fi
if call org.hailo.Clip1 Statistics > /dev/null 2>&1; then
    refusals() {
        set_key performance max_queue_size 1
        systemctl restart $unit
        # A busy machine may start the clients one after the other, and then none is refused.
        local _
        for _ in {1..10}; do refused && return; done
        return 1
    }
    refused() {
        local pids=() _
        for _ in {1..30}; do by_http "http://127.0.0.1:$port/$query" > /dev/null 2>&1 & pids+=($!); done
        wait "${pids[@]}"
        finds queue warning 'refused'
    }
    check "a queue that refuses requests" refusals
    junk() {
        local _
        for _ in {1..40}; do curl -sS -m 60 -o /dev/null -H 'Content-Type: image/png' --data-binary junk "http://127.0.0.1:$port/$query"; done
        finds rejected-requests warning 'cannot be used'
    }
    check "a client that sends what is no picture" junk
    healthy
fi
full() {
    mount -t tmpfs -o size=64k,mode=0755 tmpfs /var/lib/hailo-clip && chown hailo-clip: /var/lib/hailo-clip
    finds disk-space warning '/var/lib/hailo-clip'
    local status=$?
    umount /var/lib/hailo-clip
    return $status
}
systemctl stop $unit
check "a full disk" full
healthy

scenario "doctor-device"
# A driver's traces in /sys, which no virtual machine has; the node is a real one, in the real /dev.
tree=/tmp/doctor-machine
rm -rf $tree
mkdir -p $tree/sys/class $tree/sys/bus/pci/devices/0000:01:00.0 $tree/sys/module/hailo_pci
ln -s /proc $tree/proc
ln -s /dev $tree/dev
on_tree() { finds "$@" --hardware-root $tree; }
set_key clip backend hailo
check "no device although clip.backend is hailo" finds device failure 'no Hailo device'
set_key clip backend auto
check "no device where the NPU is used if there is one" finds device warning 'runs on the CPU'
systemctl restart $unit
check "the state is degraded, and why" finds backend warning 'no Hailo device found'
echo 0x1e60 > $tree/sys/bus/pci/devices/0000:01:00.0/vendor
echo 0x2864 > $tree/sys/bus/pci/devices/0000:01:00.0/device
check "a device without a driver" on_tree device failure 'no driver serves it'
mkdir -p $tree/sys/class/hailo_chardev/hailo0
echo 4.23.0 > $tree/sys/module/hailo_pci/version
check "a driver without a node" on_tree device failure '/dev/hailo0 is missing'
if mknod /dev/hailo0 c 1 3 2> /dev/null; then
    groupadd -f npu-users
    chmod 600 /dev/hailo0
    check "a node that is root's alone" on_tree device-access failure 'root alone'
    chgrp npu-users /dev/hailo0
    chmod 660 /dev/hailo0
    check "the service's user is not in the node's group" on_tree device-access failure 'not in the group npu-users'
    check "--fix has it join" mends device-access --hardware-root $tree
    check "the running daemon has the group" eventually eval "grep -qw \"\$(getent group npu-users | cut -d: -f3)\" <(grep ^Groups: /proc/\$(pid)/status)"
    not_restarted() { gpasswd -d hailo-clip npu-users && systemctl restart $unit && gpasswd -a hailo-clip npu-users && on_tree device-access failure 'before hailo-clip joined'; }
    check "it joined and the service was not restarted" not_restarted
    check "--fix restarts it" mends device-access --hardware-root $tree
    python3 -c 'import time; f = open("/dev/hailo0"); time.sleep(1000)' &
    other=$!
    eventually eval "ls -l /proc/$other/fd | grep -q hailo0"
    check "another process holds the device, and which" on_tree device-holder failure "python3 \\(process $other\\)"
    plain_holder() { plain hailo-clip --timeout 30 doctor --json --hardware-root $tree > /tmp/doctor.json; says device-holder needs_root 'fuser -v /dev/hailo0'; }
    check "a plain user is told that it takes root" plain_holder
    kill $other
    wait $other 2> /dev/null
    check "nobody holds it" on_tree device-holder ok 'nobody'
else
    skip "access to the node, and who holds it" "a container makes no device nodes"
fi
check "no HailoRT" on_tree shim failure 'no HailoRT'
install hailort=4.23.0 > /tmp/apt 2>&1
check "the shim fits" on_tree shim ok '4.23.0'
check "versions agree" on_tree versions ok 'one version'
rm /usr/lib/hailo-clip/libhailo_clip_shim-*.so
check "the shim is missing" on_tree shim failure 'no shim for HailoRT 4.23.0'
check "--fix compiles it" mends shim --hardware-root $tree
mv /usr/lib/hailo-clip/libhailo_clip_shim-4.23.0.so /usr/lib/hailo-clip/libhailo_clip_shim-4.20.0.so
check "the shim is of another version" on_tree shim failure 'for HailoRT 4.20.0'
check "--fix compiles it again" mends shim --hardware-root $tree
echo 4.22.0 > $tree/sys/module/hailo_pci/version
check "the driver is of another version" on_tree versions failure 'different versions'
echo 0x45c4 > $tree/sys/bus/pci/devices/0000:01:00.0/device
check "HailoRT 4 and a Hailo-10H" on_tree versions failure 'Hailo-10H'
mkdir -p $tree/sys/class/thermal/thermal_zone0 $tree/sys/class/hwmon/hwmon0
echo cpu-thermal > $tree/sys/class/thermal/thermal_zone0/type
echo 82500 > $tree/sys/class/thermal/thermal_zone0/temp
echo rpi_volt > $tree/sys/class/hwmon/hwmon0/name
echo 1 > $tree/sys/class/hwmon/hwmon0/in0_lcrit_alarm
check "heat" on_tree heat warning 'cpu-thermal: 8[23] °C'
check "a weak power supply" says under-voltage failure 'too low now'
# The firmware's own tool, which a Raspberry Pi has.
printf '#!/bin/sh\ncase $1 in measure_temp) echo "temp=51.0'\''C";; get_throttled) echo throttled=0x50000;; esac\n' > /usr/bin/vcgencmd
chmod 755 /usr/bin/vcgencmd
check "under-voltage since boot, by vcgencmd" finds under-voltage warning 'since boot'
check "and throttled since boot" says heat warning 'since it was booted'
rm /usr/bin/vcgencmd
rm -f /dev/hailo0
rm -rf $tree
groupdel npu-users 2> /dev/null
apt-get remove -y hailort > /dev/null 2>&1
healthy

scenario "report"
echo 'sEcReT-kEy' > /etc/hailo/keys
chmod 640 /etc/hailo/keys
chgrp hailo-clip /etc/hailo/keys
set_key server api_keys_file /etc/hailo/keys
systemctl restart $unit
rm -f /tmp/report.tar.gz
check "hailo-clip report says what is in it" prints 'journal.txt' hailo-clip --timeout 30 report /tmp/report.tar.gz
check "its owner alone reads it" prints '^600$' stat -c %a /tmp/report.tar.gz
whole() { rm -rf /tmp/report; mkdir /tmp/report; tar -xzf /tmp/report.tar.gz -C /tmp/report && ls /tmp/report/hailo-clip-report/{README,doctor.txt,doctor.json,status.json,journal.txt,configuration.yaml,units.txt,versions.txt,machine.txt} && jq -e .schema /tmp/report/hailo-clip-report/doctor.json && grep -i 'started' /tmp/report/hailo-clip-report/journal.txt && grep 'ActiveState=active' /tmp/report/hailo-clip-report/units.txt; }
check "it is whole" whole
check "no key is in it" fails grep -r 'sEcReT' /tmp/report
[[ $(uname -n) = localhost ]] || check "the machine's name is not in it" fails grep -rw "$(uname -n)" /tmp/report
check "it is not overwritten" fails hailo-clip --timeout 30 report /tmp/report.tar.gz
check "but with --force" hailo-clip --timeout 30 report --force /tmp/report.tar.gz
rm -rf /etc/hailo/keys /tmp/report /tmp/report.tar.gz

cp /tmp/before-doctor.yaml $config
rm -rf $drop_ins/doctor.conf
systemctl daemon-reload
systemctl reset-failed $unit hailo-clip.socket
systemctl restart hailo-clip.socket $unit
check "the service answers" http_right
check "nothing has failed" running
