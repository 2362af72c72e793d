# An installation of the Python service is taken over. A stand-in for it, laid out as its installer does.
systemctl daemon-reload
useradd --system --user-group --home-dir /var/lib/hailo-clip --shell /usr/sbin/nologin hailo-clip
mkdir -p /opt/hailo-clip/venv/bin /var/lib/hailo-clip/{models,cache} /etc/hailo /etc/xdg/hailo-clip
chown -R hailo-clip: /var/lib/hailo-clip
echo '{}' > /etc/xdg/hailo-clip/hailo-clip.json
cat > $config <<'Y'
server:
  host: 0.0.0.0
  port: 5070
  debug: false
clip:
  model: demo
  embedding_dimension: 512
  device: 0
  image_size: 224
  batch_size: 1
performance:
  worker_threads: 2
  max_queue_size: 10
  request_timeout: 30
resource_limits:
  memory_max: "2G"
  cpu_quota: "80%"
Y
cp $config /tmp/old.yaml
cat > /opt/hailo-clip/hailo_clip_service.py <<'P'
import http.server
http.server.HTTPServer(("", 5070), http.server.SimpleHTTPRequestHandler).serve_forever()
P
cat > /etc/systemd/system/hailo-clip.service <<'U'
[Unit]
Description=Hailo CLIP Service
After=network-online.target
[Service]
Type=simple
User=hailo-clip
ExecStart=/usr/bin/python3 /opt/hailo-clip/hailo_clip_service.py
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
U
mkdir -p /etc/systemd/system/hailo-clip.service.d
printf '[Service]\nNice=5\n' > /etc/systemd/system/hailo-clip.service.d/nice.conf
systemctl daemon-reload
systemctl enable --now hailo-clip.service > /dev/null 2>&1
check "the old service runs" eventually curl -sS -o /dev/null http://127.0.0.1:5070/
# Another package has a file of ours, so dpkg gives up after preinst.
mkdir -p /tmp/in-the-way/{DEBIAN,usr/bin}
printf 'Package: in-the-way\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@localhost>\nDescription: in the way\n' \
    > /tmp/in-the-way/DEBIAN/control
touch /tmp/in-the-way/usr/bin/hailo-clip
dpkg-deb --build /tmp/in-the-way /tmp/in-the-way.deb > /dev/null && dpkg -i /tmp/in-the-way.deb > /dev/null 2>&1
check "an installation fails after it took over" fails install hailo-clip
check "the old service runs again" eventually curl -sS -o /dev/null http://127.0.0.1:5070/
check "its unit is back, and enabled" prints '^enabled' systemctl is-enabled hailo-clip.service
check "so is its configuration" cmp $config /tmp/old.yaml
dpkg --purge in-the-way > /dev/null 2>&1
takeover() { install hailo-clip > /tmp/apt 2>&1; local status=$?; cat /tmp/apt; return $status; }
check "apt install hailo-clip over it, without a question" takeover
check "what is left of it is named" grep -q '/opt/hailo-clip of the earlier installation' /tmp/apt
check "so is its unit" grep -q 'is out of the way, in /etc/systemd/system/hailo-clip.service.replaced-by-package' /tmp/apt
check "and what applies to our unit from now on" grep -q 'service.d/nice.conf was made for that unit' /tmp/apt
port=5070
check "our service answers on its port" http_right
check "the unit is ours" test "$(systemctl show -P FragmentPath $unit)" != /etc/systemd/system/hailo-clip.service
check "the old unit is out of the way" test -e /etc/systemd/system/hailo-clip.service.replaced-by-package
check "its configuration is as it was" cmp $config /tmp/old.yaml
check "its program is as it was" test -e /opt/hailo-clip/hailo_clip_service.py
check "service and socket are enabled" systemctl is-enabled $unit hailo-clip.socket
check "nothing has failed" running
# Going back, as docs/migration.md says, and forward again.
go_back() {
    apt-get remove -y hailo-clip && \
        mv /etc/systemd/system/hailo-clip.service.replaced-by-package /etc/systemd/system/hailo-clip.service && \
        systemctl daemon-reload && \
        systemctl enable --now hailo-clip.service
}
check "going back" go_back
check "the old service runs as before" eventually curl -sS -o /dev/null http://127.0.0.1:5070/
check "by its own unit" prints '/opt/hailo-clip/' systemctl show -P ExecStart hailo-clip.service
check "with its configuration" cmp $config /tmp/old.yaml
check "and is taken over a second time" takeover
check "our service answers on its port" http_right
check "the old unit is out of the way" test -e /etc/systemd/system/hailo-clip.service.replaced-by-package
check "its configuration is as it was" cmp $config /tmp/old.yaml
check "the package is installed again, without a question" install --reinstall hailo-clip
check "it answers" http_right
check "purge" apt-get purge -y hailo-clip
check "what is not ours stays: program" test -e /opt/hailo-clip/hailo_clip_service.py
check "the old unit" test -e /etc/systemd/system/hailo-clip.service.replaced-by-package
check "the old models" test -d /var/lib/hailo-clip/models
check "the old settings" test -e /etc/xdg/hailo-clip/hailo-clip.json
check "the user that the old installer made" getent passwd hailo-clip
check "nothing has failed" running
check "the drop-in" test -e /etc/systemd/system/hailo-clip.service.d/nice.conf
