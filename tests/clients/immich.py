"""The same requests as immich.mjs, as Python's requests makes them: `immich.py URL PICTURE MODEL`."""
import json
import math
import os
import sys

import requests

url, picture, model = sys.argv[1:]
record = os.environ.get("RECORD")


def predict(entries, text=None, image=None):
    data = {"entries": json.dumps(entries)}
    if text is not None:
        data["text"] = text
    files = {"image": image} if image is not None else None
    answer = requests.post(f"{url}/predict", data=data, files=files, timeout=60)
    answer.raise_for_status()
    return answer.json()


def check(answer):
    vector = json.loads(answer["clip"])
    assert abs(math.hypot(*vector) - 1) < 1e-4


if record != "textual":
    with open(picture, "rb") as file:
        visual = predict({"clip": {"visual": {"modelName": model}}}, image=file)
    check(visual)
    assert visual["imageWidth"] > 0 and visual["imageHeight"] > 0
if record != "visual":
    check(predict({"clip": {"textual": {"modelName": model}}}, text="a red circle – ein Kreis"))
    assert requests.get(f"{url}/ping", timeout=2).text == "pong"
print("as expected")
