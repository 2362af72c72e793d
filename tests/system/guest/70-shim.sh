# HailoRT comes, changes, breaks and goes; here the simulated one, in packages like the vendor's.
use_repository repo-2 > /dev/null
shim() { ls -l /usr/lib/hailo-clip/; [[ $(ls /usr/lib/hailo-clip/) = "libhailo_clip_shim-$1.so" ]]; }
check "HailoRT is installed: the shim is built for it" install "hailort=4.22.0"
check "for its version" shim 4.22.0
check "the shim fits" prints "4\.22\.0" /usr/libexec/hailo-clip/hailo-clip-build-shim --check
check "the service answers" command_right
check "HailoRT changes: so does the shim" install "hailort=4.23.0"
check "to the new version, the old one is gone" shim 4.23.0
check "the service answers" http_right
compiler_error() { install "hailort=4.24.0" > /tmp/apt 2>&1 || return 1; cat /tmp/apt; grep 'for HailoRT 4.24.0 failed' /tmp/apt; }
check "headers that do not compile: told, and apt is content" compiler_error
check "both packages are configured" prints '^2$' sh -c "dpkg-query -W -f '\${db:Status-Status}\n' hailo-clip hailort | grep -cx installed"
check "the service runs on the CPU" prints '^s "cpu"' property Backend
check "dpkg-reconfigure tries again and is content" dpkg-reconfigure hailo-clip
check "HailoRT goes" apt-get remove -y hailort
check "and its shim" fails ls /usr/lib/hailo-clip/libhailo_clip_shim-*.so
check "the service runs on the CPU" prints '^s "cpu"' property Backend
check "the service answers" http_right
check "nothing has failed" running
