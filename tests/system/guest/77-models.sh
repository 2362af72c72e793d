# Models: fetched by a unit of its own, taken into service for good, checked, removed, imported.
getent passwd member > /dev/null || useradd --create-home --groups hailo-clip member
shelf=$base/shelf
mkdir -p $shelf
cp /usr/share/hailo-clip/models/demo/{image.onnx,text.onnx,tokenizer.json} $shelf/
python3 -m http.server --bind 127.0.0.1 8099 --directory $shelf > /tmp/shelf.log 2>&1 &
shelf_server=$!
eventually curl -sSf -o /dev/null http://127.0.0.1:8099/tokenizer.json
cat > /etc/hailo/hailo-clip-catalog.yaml <<'Y'
format: 1
models:
  shelf:
    description: The bundled model from a shelf
    license: MIT
    source: this machine
    precision: fp32
    embedding_dimension: 128
    image: {size: 224, fit: stretch, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
    text: {context_length: 77, pad: 0, tokenizer: {file: tokenizer.json, url: "http://127.0.0.1:8099/tokenizer.json"}}
    logit_scale: 34.8929
    towers:
      image: {cpu: {file: image.onnx, url: "http://127.0.0.1:8099/image.onnx"}}
      text: {cpu: {file: text.onnx, url: "http://127.0.0.1:8099/text.onnx"}}
Y
check "the fetching socket is there, for the service's user alone" \
    prints '^srw------- .* hailo-clip hailo-clip' ls -l /run/hailo-clip/pull.sock
check "the catalogue is listed, with the administrator's entry" prints '^shelf +catalogue +available' plain hailo-clip model list
check "the packaged catalogue is there too" prints '^clip-vit-b-32 +catalogue' plain hailo-clip model list
check "a plain user may not fetch" fails plain hailo-clip model pull shelf
check "a member may" prints 'shelf is installed' member hailo-clip model pull shelf
check "a unit of its own has fetched it" prints 'Fetch a model for hailo-clip' journalctl -b --no-pager -u 'hailo-clip-pull@*'
check "its files are the service's" prints '^hailo-clip$' stat -c %U /var/lib/hailo-clip/models/shelf/model.yaml
check "verify" prints 'all 3 files' member hailo-clip model verify shelf
check "use" prints 'now and after a restart' member hailo-clip model use shelf
check "it answers" command_right
check "it cannot be removed while it does" fails member hailo-clip model remove shelf
systemctl restart $unit
check "it is the model after a restart" prints 'shelf' hailo-clip status
check "the daemon's own fence is what it was" prints '^IPAddressDeny=.*::/0' systemctl show -p IPAddressDeny $unit
check "back to the bundled one" prints 'demo is in service' member hailo-clip model use demo
check "remove" member hailo-clip model remove shelf
check "nothing of it is left" fails test -e /var/lib/hailo-clip/models/shelf
mkdir -p /home/member/Mine/{visual,textual}
cp $shelf/image.onnx /home/member/Mine/visual/model.onnx
cp $shelf/text.onnx /home/member/Mine/textual/model.onnx
cp $shelf/tokenizer.json /home/member/Mine/textual/
chown -R member: /home/member/Mine
chmod 700 /home/member/Mine
check "what the files do not say is named" prints "option --fit" member hailo-clip model import /home/member/Mine
check "a model is imported from a home that the service cannot see" prints 'mine is installed' \
    member hailo-clip model import /home/member/Mine --fit stretch --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 --logit-scale 34.8929 --context-length 77
check "and answers" member hailo-clip model use mine
check "rightly" command_right
member hailo-clip model use demo
member hailo-clip model remove mine
check "memory and device are given up" member hailo-clip model unload
check "and taken again" member hailo-clip warmup
check "the configuration is read again" member hailo-clip reload
kill $shelf_server
rm /etc/hailo/hailo-clip-catalog.yaml
