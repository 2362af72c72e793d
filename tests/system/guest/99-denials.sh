# AppArmor has refused nothing, of all that the scenarios asked of the daemon.
if [[ -e /sys/kernel/security/apparmor/profiles ]]; then
    denied() { journalctl -b --no-pager -q | grep 'apparmor="DENIED"' | grep hailo-clip; }
    check "AppArmor has denied the daemon nothing" fails denied
else
    skip "AppArmor has denied the daemon nothing" "this kernel has no AppArmor"
fi
