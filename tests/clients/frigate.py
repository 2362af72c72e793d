"""What Frigate asks a llama.cpp server for its semantic search: `frigate.py URL PICTURE MODEL`."""
import base64
import math
import sys
from pathlib import Path

import requests

url, picture, model = sys.argv[1:]


def get(path, **parameters):
    answer = requests.get(url + path, timeout=10, **parameters)
    answer.raise_for_status()
    return answer.json()


# At its start: is the model there, and can it take pictures?
names = [name for entry in get("/v1/models")["data"] for name in [entry["id"], *entry["aliases"]]]
assert model in names, names
props = get("/props", params={"model": model})
assert props["modalities"]["vision"] is True
marker = props["media_marker"]
assert isinstance(marker, str) and marker


def embed(texts=(), images=()):
    content = [{"prompt_string": text} for text in texts]
    content += [
        {"prompt_string": f"{marker}\n", "multimodal_data": [base64.b64encode(image).decode()]} for image in images
    ]
    answer = requests.post(f"{url}/embeddings", json={"model": model, "content": content}, timeout=60)
    answer.raise_for_status()
    vectors = [item["embedding"] for item in answer.json()]
    # Embeddings of tokens, of which there is one.
    assert all(len(vector) == 1 for vector in vectors)
    return [vector[0] for vector in vectors]


image = Path(picture).read_bytes()
circle, star = embed(texts=["a red circle", "a blue star"])
(red,) = embed(images=[image])
assert all(abs(math.hypot(*vector) - 1) < 1e-4 for vector in (circle, star, red))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


assert cosine(red, circle) > cosine(red, star)
mixed = embed(texts=["a red circle"], images=[image])
assert cosine(mixed[0], circle) > 0.999 and cosine(mixed[1], red) > 0.999
print("as expected")
