# What the kernel enforces from outside: networks, devices, AppArmor. Only Debian's own kernel has it all, so
# this is whole with "tests/system/run --backend tcg"; user-mode Linux and containers skip what they lack.

# A network that is not private, on this machine. The firewall sees the address of whoever asks.
ip address add 203.0.113.5/32 dev lo
ip address add 192.168.77.5/32 dev lo
private_network() { curl -sS -m 30 -o /dev/null http://192.168.77.5:5000/health; }
check "HTTP is there for a private network" private_network
systemctl restart hailo-clip.socket $unit
if [[ $(systemd-detect-virt) = systemd-nspawn ]] || journalctl -b -q --no-pager | grep -q 'bpf-firewall.*failed'; then
    skip "and for no other" "this kernel takes no firewall of systemd's"
else
    check "and for no other" fails curl -sS -m 5 -o /dev/null http://203.0.113.5:5000/health
    beyond() {
        mkdir -p /run/systemd/system/{$unit,hailo-clip.socket}.d
        echo $'[Service]\nIPAddressAllow=203.0.113.0/24' > /run/systemd/system/$unit.d/test.conf
        echo $'[Socket]\nIPAddressAllow=203.0.113.0/24' > /run/systemd/system/hailo-clip.socket.d/test.conf
        systemctl daemon-reload
        systemctl restart hailo-clip.socket $unit
        curl -sS -m 30 -o /dev/null http://203.0.113.5:5000/health
        local status=$?
        rm -r /run/systemd/system/{$unit,hailo-clip.socket}.d
        systemctl daemon-reload
        systemctl restart hailo-clip.socket $unit
        return $status
    }
    check "but where a drop-in lets it in, as the unit says" beyond
fi
ip address delete 203.0.113.5/32 dev lo
ip address delete 192.168.77.5/32 dev lo

# Root itself, in the service's control group.
in_group() { sh -c "echo \$\$ > $cgroup/cgroup.procs && $1"; }
if [[ $(systemd-detect-virt) = systemd-nspawn ]]; then
    skip "only the NPU's device nodes can be opened" "the container has limits of its own"
else
    disk=/dev/block/$(mountpoint -d /)
    check "outside the service root reads the disk" eval 'head -c 1 $disk > /dev/null'
    if [[ $(systemctl show -P DevicePolicy $unit) = closed ]] && ! in_group "head -c 1 $disk > /dev/null" 2> /dev/null; then
        check "in the service not even root does" true
    elif journalctl -b -q --no-pager | grep -qiE 'bpf.*(failed|cannot)'; then
        skip "in the service not even root does" "this kernel takes no device policy"
    else
        check "in the service not even root does" false
    fi
    check "what every program has can be opened there" in_group 'head -c 1 /dev/urandom > /dev/null'
fi
check "HTTP answers" http_right
check "nothing has failed" running
