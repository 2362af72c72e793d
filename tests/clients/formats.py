"""What no JSON schema can say: values of the document's own formats, for schemathesis."""
import base64
import os
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

SAMPLES = Path(os.environ["HAILO_CLIP_SAMPLES"])


def encoded(path):
    return base64.b64encode(path.read_bytes()).decode()


PICTURES = [encoded(SAMPLES / "red-circle.png"), "data:image/jpeg;base64," + encoded(SAMPLES / "night-sky.jpg")]
WORDS = st.text(st.characters(exclude_characters="{}", codec="utf-8"), max_size=20)

schemathesis.openapi.format("picture", st.sampled_from(PICTURES))
schemathesis.openapi.format("template", st.builds("{}{{}}{}".format, WORDS, WORDS))


ENTRIES = ['{"clip":{"%s":{"modelName":"demo"}}}' % encoder for encoder in ["visual", "textual"]]
schemathesis.openapi.format("entries", st.sampled_from(ENTRIES))
schemathesis.openapi.format("binary", st.just((SAMPLES / "red-circle.png").read_bytes()))
