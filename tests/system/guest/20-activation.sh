# A service that is stopped is started by whoever asks, and the first answer is right.
check "systemctl stop" systemctl stop $unit
check "it is stopped, without failure" test "$(systemctl show -P ActiveState $unit) $(systemctl show -P Result $unit)" = "inactive success"
check "a connection over TCP starts it" http_right
check "it is active" systemctl is-active $unit
systemctl stop $unit
check "a connection to the Unix socket starts it" unix_right
systemctl stop $unit
check "a D-Bus call starts it" dbus_right
check "it is active again" systemctl is-active $unit
systemctl stop $unit
check "the command starts it" command_right
only_dbus() { systemctl stop hailo-clip.socket $unit && command_right; }
check "so it does with the sockets closed" only_dbus
check "the sockets are open again" eventually systemctl start hailo-clip.socket
check "HTTP answers" http_right
ready() { systemctl restart $unit && curl -sSf -m 5 http://127.0.0.1:5000/health/ready; }
check "a restart is over when requests can be served" ready
# Debian's own way of testing an installed package, from a source tree.
autopkgtest() {
    mkdir -p /tmp/source/models/demo && cp -r samples /tmp/source/models/demo/ && cd /tmp/source && bash "$base/tests/service"
    local status=$?
    cd "$base" || return 1
    return $status
}
check "debian/tests/service passes" autopkgtest
check "nothing has failed" running
