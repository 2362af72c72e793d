#!/bin/sh
# Ranks prompts for a picture: classify.sh PICTURE PROMPT…   (Debian package: libglib2.0-bin)
set -eu
picture=$1
shift
prompts=
for prompt; do
    # As GVariant's text format has strings.
    prompts="${prompts:+$prompts, }'$(printf %s "$prompt" | sed "s/['\\\\]/\\\\&/g")'"
done
# A number for the picture: gdbus passes that descriptor.
gdbus call --system --timeout 60 --dest org.hailo.Clip1 --object-path /org/hailo/Clip1 \
    --method org.hailo.Clip1.ClassifyFd 3 "[$prompts]" "{'top_k': <uint32 3>}" 3< "$picture"
