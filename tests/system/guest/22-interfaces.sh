# What other programs know, as installed: Prometheus, Immich, OpenAI's clients, Frigate. And what the engine counts.
url=http://127.0.0.1:5000
check "HTTP answers" http_right
metrics() { curl -sSf -m 10 $url/metrics; }
check "metrics count the answer" prints 'hailo_clip_requests_total\{.*code="200".*operation="/v1/classify"' metrics
check "they say how much memory there is in use" prints '^process_resident_memory_bytes [1-9]' metrics
# Which needs /proc/stat, and the profile lets it through.
check "they say when the service was started" prints '^process_start_time_seconds [1-9]' metrics
check "D-Bus tells the same counts" prints 'first_answer_ms' \
    call org.hailo.Clip1 Statistics
check "Immich's server is answered" prints '^pong$' curl -sSf -m 2 $url/ping
immich() {
    curl -sSf -m 30 $url/predict -F 'entries={"clip":{"textual":{"modelName":"demo"}}}' -F 'text=a red circle'
}
check "its texts are embedded" prints '^\{"clip":"\[' immich
check "OpenAI's clients find the model" prints '"id":"demo".*"loaded":true' curl -sSf -m 10 $url/v1/models
json() { curl -sSf -m 30 -H 'Content-Type: application/json' -d "$2" "$url$1"; }
check "they have texts embedded" prints '"object":"embedding"' json /v1/embeddings '{"model":"demo","input":"a red circle"}'
check "Frigate has texts embedded" prints '"embedding":\[\[' \
    json /embeddings '{"model":"demo","content":[{"prompt_string":"a red circle"}]}'
check "the description of it all is there" prints '"openapi":"3.1' curl -sSf -m 10 $url/openapi.json
# A gray JPEG of a megapixel: the sandbox lets the system's library in, and it decodes.
large_jpeg() {
    python3 - > /tmp/large.jpg <<'P'
import sys
file = b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64 + b"\xff\xc0\0\x0b\x08\4\0\4\0\1\1\x11\0"
for table in (0x00, 0x10):
    file += b"\xff\xc4\0\x14" + bytes([table, 1]) + bytes(16)
sys.stdout.buffer.write(file + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(4096) + b"\xff\xd9")
P
    curl -sSf -m 30 -H 'Content-Type: image/jpeg' --data-binary @/tmp/large.jpg "$url/$query"
}
check "libturbojpeg is loaded" grep -q libturbojpeg "/proc/$(pid)/maps"
check "large JPEGs are decoded" prints '"rank": ?1' large_jpeg
