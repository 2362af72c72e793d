# The package on a booted Debian, from a signed repository. Runs as root inside it, by boot-test.sh:
# every scenario in tests/system/guest/, in their order, or those whose names match $SCENARIOS.
set -u
cd /var/tmp/boot-test
# shellcheck source=tests/system/guest/lib.sh
. guest/lib.sh
[[ ! -e guest/only ]] || only=$(< guest/only)

useradd --create-home plain
for file in guest/[0-9]*.sh; do
    name=$(basename "$file" .sh)
    [[ -z ${only-} || $name =~ $only || $name == 10-* ]] || continue
    scenario "${name#*-}"
    # shellcheck source=/dev/null
    . "$file"
done
journalctl -b --no-pager -o short-precise -u hailo-clip.service -u hailo-clip.socket > "$BOOT_TEST_OUT/hailo-clip.txt" 2>&1
printf '1..%s\n%s passed, %s failed, %s skipped\n' "$count" "$((count - failed - skipped))" "$failed" "$skipped"
[[ $failed = 0 ]]
