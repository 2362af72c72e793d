"""OpenAI's own client against the service: `openai_client.py URL PICTURE ALIAS`."""
import base64
import math
import sys
from pathlib import Path

import openai

url, picture, alias = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key="none is needed", max_retries=0)

models = client.models.list().data
assert [model.id for model in models if model.loaded] == ["demo"], models
assert client.models.retrieve(alias).id == "demo"

# The client asks for base64 by itself and decodes it.
answer = client.embeddings.create(model=alias, input=["a red circle", "a blue star"])
assert answer.model == "demo" and [item.index for item in answer.data] == [0, 1]
assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
floats = client.embeddings.create(model="demo", input="a red circle", encoding_format="float", dimensions=128)
circle, star = (item.embedding for item in answer.data)
assert all(abs(a - b) < 1e-6 for a, b in zip(circle, floats.data[0].embedding, strict=True))

image = "data:image/png;base64," + base64.b64encode(Path(picture).read_bytes()).decode()
embedded = client.embeddings.create(model="demo", input=image, extra_body={"modality": "image"})
vector = embedded.data[0].embedding
assert abs(math.hypot(*vector) - 1) < 1e-4
assert math.sumprod(vector, circle) > math.sumprod(vector, star) if hasattr(math, "sumprod") else True

for arguments, kind in [
    ({"model": "text-embedding-3-small", "input": "a cat"}, openai.NotFoundError),
    ({"model": "demo", "input": [[1, 2, 3]]}, openai.BadRequestError),
    ({"model": "demo", "input": "a cat", "dimensions": 64}, openai.BadRequestError),
]:
    try:
        client.embeddings.create(**arguments)
    except kind as error:
        assert error.code in ("model_not_found", "invalid_argument") and error.param, error
        assert error.type == "invalid_request_error"
    else:
        sys.exit(f"{arguments} was answered")
print("as expected")
