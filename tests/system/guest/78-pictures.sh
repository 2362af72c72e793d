# What a person does with folders of pictures and in a browser, from the installed package.
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

page() { curl -sSf -m 10 -D /tmp/headers -H 'Accept: text/html' http://127.0.0.1:5000/; }
check "a browser gets the page" prints '<title>' page
check "which loads nothing from elsewhere" prints "content-security-policy: default-src 'none'" cat /tmp/headers
check "its script and its style are there" curl -sSf -m 10 -o /dev/null http://127.0.0.1:5000/page.js -o /dev/null http://127.0.0.1:5000/page.css
check "a program gets the list of endpoints" prints '"endpoints"' curl -sSf -m 10 http://127.0.0.1:5000/
explained() { plain hailo-clip classify $base/samples/red-circle.png "a red circle" "a circle that is red" --json --explain; }
check "prompts that say the same are told" prints 'near_duplicates' explained
check "nothing has failed" running
