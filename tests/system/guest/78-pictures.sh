# What a person does with folders of pictures, with a camera and in a browser, from the installed package.
album=/home/plain/album
runuser -u plain -- mkdir -p $album
cp samples/* $album/ && chown -R plain: $album
in_home() { # COMMAND: as the plain user, in their home
    runuser -l plain -c "$1"
}
check "search finds the circle first" prints '^[^[:space:]]*red-circle\.png' in_home 'hailo-clip search album "a red circle" --top 1'
check "it has an index of its own, for nobody else" eval '[[ $(stat -c %a /home/plain/.cache/hailo-clip/index/* | sort -u) = 600 ]]'
check "search by a picture" prints 'house-red-roof\.jpg' in_home 'hailo-clip search album --image album/house-red-roof.jpg --top 1'
check "a contact sheet" in_home 'hailo-clip search album "a house" --sheet sheet.html && grep -q "data:image" sheet.html'
check "a table as parquet" in_home 'hailo-clip embed image --recursive album -o table.parquet && [ "$(head -c 4 table.parquet)" = PAR1 ]'
rows() { in_home 'hailo-clip embed image -r album -o table.npy' && [[ $(wc -l < /home/plain/table.npy.jsonl) = $(ls $album | wc -l) ]]; }
check "a table as npy, a row for each picture" rows
echo nothing > $album/broken.png
unreadable() { in_home 'hailo-clip search album "a house" --top 1'; [[ $? = 1 ]]; }
check "a picture that is none is named, and the rest is searched" prints 'broken\.png' in_home 'hailo-clip search album "a house" --top 1'
check "and the exit code says so" unreadable
rm $album/broken.png

# A camera: a web server with a snapshot that changes. The commands are those of docs/watch.md.
mkdir -p /srv/camera
cp samples/red-circle.png /srv/camera/snapshot
(cd /srv/camera && exec python3 -m http.server --bind 127.0.0.1 8070) > /dev/null 2>&1 &
camera=$!
eventually curl -sSf -o /dev/null http://127.0.0.1:8070/snapshot
install_watch() {
    systemd-sysusers --inline 'u hailo-clip-watch - "CLIP watches"' &&
        cp /usr/share/doc/hailo-clip/examples/hailo-clip-watch@.service /etc/systemd/system/ &&
        command install -D -m 600 /usr/share/doc/hailo-clip/examples/yard.env /etc/hailo/watch/yard.env &&
        systemctl daemon-reload
}
check "the example of a watch is installed" install_watch
sed -i "s#^SOURCE=.*#SOURCE=http://127.0.0.1:8070/snapshot#; s#^PROMPTS=.*#PROMPTS=\"'a red circle' 'a house with a red roof'\"#
    s#^ARGUMENTS=.*#ARGUMENTS=\"--interval 1s --signal\"#; /^HAILO_CLIP_WATCH_CREDENTIALS=/d" /etc/hailo/watch/yard.env
stdbuf -oL busctl monitor --match="interface='org.hailo.Clip1.Watch'" > /tmp/watch-signals 2>&1 &
monitor=$!
check "the example unit starts a watch" systemctl enable --now hailo-clip-watch@yard.service
watch_says() { journalctl -b --no-pager -o cat -u hailo-clip-watch@yard.service | grep "$1"; }
check "it tells what the camera sees" eventually watch_says 'a red circle'
check "its state is in systemctl status" prints '.' systemctl show -P StatusText hailo-clip-watch@yard.service
snapshot() { cp samples/house-red-roof.jpg /srv/camera/new && mv /srv/camera/new /srv/camera/snapshot; }
check "the camera sees something else" snapshot
check "it tells of the change, and of what was before" eventually watch_says 'a house with a red roof.*a red circle'
check "a signal on the system bus told, too" eventually grep -q 'a house with a red roof' /tmp/watch-signals
systemctl restart $unit
cp samples/red-circle.png /srv/camera/new && mv /srv/camera/new /srv/camera/snapshot
check "it outlives a restart of the service" eventually watch_says 'a red circle.*a house with a red roof'
check "it stops cleanly" eval 'systemctl disable --now hailo-clip-watch@yard.service && [[ $(systemctl show -P Result hailo-clip-watch@yard.service) = success ]]'
kill $camera $monitor
wait $camera $monitor 2> /dev/null
rm -r /srv/camera /etc/hailo/watch /etc/systemd/system/hailo-clip-watch@.service
systemctl daemon-reload
userdel hailo-clip-watch
if [[ -z $(find /usr/lib -name 'libnss_systemd.so.2') ]]; then
    nameless() { systemd-run --quiet --wait --pipe --collect -p DynamicUser=yes hailo-clip status; }
    check "a user without a name is told why the bus refuses it" prints 'libnss-systemd' nameless
fi

page() { curl -sSf -m 10 -D /tmp/headers -H 'Accept: text/html' http://127.0.0.1:5000/; }
check "a browser gets the page" prints '<title>' page
check "which loads nothing from elsewhere" prints "content-security-policy: default-src 'none'" cat /tmp/headers
check "its script and its style are there" curl -sSf -m 10 -o /dev/null http://127.0.0.1:5000/page.js -o /dev/null http://127.0.0.1:5000/page.css
check "a program gets the list of endpoints" prints '"endpoints"' curl -sSf -m 10 http://127.0.0.1:5000/
explained() { plain hailo-clip classify $base/samples/red-circle.png "a red circle" "a circle that is red" --json --explain; }
check "prompts that say the same are told" prints 'near_duplicates' explained
check "nothing has failed" running
