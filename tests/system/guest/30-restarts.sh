# Ten restarts and an upgrade under load: no request is lost.
restarts() {
    clients_start || return 1
    local _ status=0
    for _ in {1..10}; do systemctl restart $unit || status=1; done
    clients_stop && return $status
}
check "10 restarts while 4 clients ask without pause: no request fails" restarts
check "nothing has failed" running
both() {
    local _
    for _ in {1..15}; do systemctl restart hailo-clip.socket $unit || return 1; done
    active && http_right
}
check "15 restarts of socket and service at once: the port is free each time" both
check "nothing has failed" running
kept() {
    local file=/var/lib/hailo-clip/text-embeddings.safetensors
    http_right && systemctl restart $unit && http_right || return 1
    [[ $(stat -c '%a %U' $file) = "600 hailo-clip" ]] || { ls -l $file; return 1; }
    curl -sS "http://127.0.0.1:$port/metrics" | grep -x 'hailo_clip_text_cache_misses_total 0'
}
check "text embeddings are kept over a restart, for the service alone" kept

echo '# edited by the administrator' >> $config
cp $config /tmp/edited.yaml
before=$(pid)
upgrade() {
    use_repository repo-2 || return 1
    clients_start || return 1
    local status=0
    install hailo-clip || status=1
    clients_stop && return $status
}
check "an upgrade while 4 clients ask: no request fails" upgrade
check "the higher version is installed" test "$(dpkg-query -W -f '${Version}' hailo-clip)" = "$(cat repo-2/version)"
check "another process serves" test "$(pid)" != "$before"
check "the edited configuration was kept" cmp $config /tmp/edited.yaml
check "service and socket are active" active
check "nothing has failed" running
