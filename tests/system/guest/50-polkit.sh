# Who may do what.
useradd --create-home --groups hailo-clip member
manage() { runuser -u "$1" -- busctl --timeout=60 call org.hailo.Clip1 /org/hailo/Clip1 org.hailo.Clip1.Manager Reload; }
refused() {
    local said
    said=$(manage plain 2>&1) && return 1
    echo "$said"
    # One sentence that says what is missing: no path, no rule, no other user.
    [[ $(wc -l <<< "$said") = 1 ]] && ! grep -E '/|polkit-1|rules|\.js' <<< "$said"
}
check "a plain user may classify" dbus_right plain
check "a plain user may not manage, and is told no more than that" refused
check "the error is NotAuthorized" prints 'org\.hailo\.Clip1\.Error\.NotAuthorized' plain gdbus call --system --dest org.hailo.Clip1 \
    --object-path /org/hailo/Clip1 --method org.hailo.Clip1.Manager.Reload
check "a member of the group may manage" manage member
check "root may manage" manage root
actions() { pkaction --verbose --action-id "org.hailo.clip1.$1"; }
check "the actions are known to polkit" prints "implicit any: +yes" actions classify
check "managing asks for an administrator" prints "implicit active: +auth_admin_keep" actions manage-models
german() { LANG=de_DE.UTF-8 busctl call org.freedesktop.PolicyKit1 /org/freedesktop/PolicyKit1/Authority \
    org.freedesktop.PolicyKit1.Authority EnumerateActions s de_DE | grep -oE '"org\.hailo\.clip1\.manage" "[^"]*" "[^"]*"'; }
check "their messages are there in German" prints 'hailo' german
systemctl mask --runtime --now polkit.service > /dev/null 2>&1
check "without polkit: a plain user may classify" dbus_right plain
check "without polkit: managing is refused" refused
systemctl unmask --runtime polkit.service > /dev/null 2>&1
systemctl start polkit.service
check "with polkit again: a member may manage" manage member
