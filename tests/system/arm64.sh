# The arm64 package on a booted arm64 Debian, from a signed repository. Runs as root inside it, by
# boot-test.sh. It is what an emulated machine does in minutes: installation, every door, a restart,
# activation, removal. All else is tested on amd64.
set -u
cd /var/tmp/boot-test

# shellcheck source=tests/system/guest/lib.sh
. guest/lib.sh
useradd --create-home plain

check "the machine is arm64" prints '^aarch64$' uname -m
check "the repository's signature is valid" use_repository repo
check "apt install" install hailo-clip
check "the service is active" systemctl is-active hailo-clip.service
check "the socket is active" systemctl is-active hailo-clip.socket
check "nothing has failed" prints '^running$' systemctl is-system-running --wait
check "the program is for arm64 and links what is there" fails grep -q 'not found' <(ldd /usr/libexec/hailo-clip/hailo-clipd)
# No NPU is here, and the packaged configuration wants one if there is one.
check "hailo-clip status" prints 'State +degraded' plain hailo-clip status
check "hailo-clip classify" command_right
check "HTTP classify" http_right
check "busctl call Classify" dbus_right
check "busctl get-property" prints '^s "degraded"' plain busctl get-property org.hailo.Clip1 /org/hailo/Clip1 org.hailo.Clip1 State
check "gdbus" prints '0\.' plain gdbus call --system --dest org.hailo.Clip1 \
    --object-path /org/hailo/Clip1 --method org.hailo.Clip1.EmbedTexts "['a red circle']"
check "systemctl restart" systemctl restart hailo-clip.service
check "HTTP classify after it" http_right
check "systemctl stop" systemctl stop hailo-clip.service
check "a connection starts it again" http_right
check "systemctl stop" systemctl stop hailo-clip.service
check "so does a D-Bus call" dbus_right
check "no capability, a syscall filter" prints 'Seccomp:\s2' \
    grep -E '^(Seccomp|CapEff):' "/proc/$(systemctl show -P MainPID hailo-clip.service)/status"
check "purge" apt-get purge -y hailo-clip
check "nothing is left" fails ls -d /etc/hailo /var/lib/hailo-clip /usr/libexec/hailo-clip /run/hailo-clip
check "still nothing has failed" prints '^running$' systemctl is-system-running

printf '%s passed, %s failed\n' "$((count - failed))" "$failed"
[[ $failed = 0 ]]
