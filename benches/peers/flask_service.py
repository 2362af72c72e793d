"""ONNX Runtime in Python behind Flask: what the replaced service would be on a CPU.

    flask_service.py BUNDLE THREADS encode|cache|lock

encode: texts are encoded on every request, as one batch; served by waitress with its default of 4 threads.
cache: the same, but the embeddings of a request's texts are kept: more than the replaced service did.
lock: the replaced service's behaviour. One lock around everything, each text encoded alone at the model's full
length on every request, pictures stretched with Pillow; served by Flask's own threaded server.

Answers `POST /v1/classify` as hailo-clip does. Writes one JSON line with its port when it serves.
"""

import base64
import io
import json
import logging
import sys
import threading
import time
from contextlib import nullcontext

import numpy
import waitress
import werkzeug.serving
from flask import Flask, jsonify, request

from onnxruntime_clip import OnnxClip

bundle, threads, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
clip = OnnxClip(bundle, threads)
lock = threading.Lock() if mode == "lock" else nullcontext()
known_texts = {}
app = Flask(__name__)


def embed_texts(prompts):
    if mode == "lock":
        return numpy.concatenate([clip.embed_texts([prompt], padded=True) for prompt in prompts])
    if mode == "encode":
        return clip.embed_texts(prompts)
    key = tuple(prompts)
    if key not in known_texts:
        known_texts[key] = clip.embed_texts(prompts)
    return known_texts[key]


@app.post("/v1/classify")
def classify():
    started = time.perf_counter()
    body = request.get_json()
    prompts = body["prompts"]
    with lock:
        pixels = clip.pixels(io.BytesIO(base64.b64decode(body["image"])))
        scores = clip.scores(clip.embed_images(pixels[None])[0], embed_texts(prompts))
    best = numpy.argsort(-scores)[: body.get("top_k", 3)]
    return jsonify(
        classifications=[
            {"text": prompts[index], "score": float(scores[index]), "rank": rank} for rank, index in enumerate(best, 1)
        ],
        inference_time_ms=1000 * (time.perf_counter() - started), model="vit-b-32",
    )


def main():
    if mode == "lock":
        # One line in the log for each request is not what is measured.
        quiet = type("Quiet", (werkzeug.serving.WSGIRequestHandler,), {"log": lambda *_: None})
        server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=quiet)
        port, serve = server.server_port, server.serve_forever
    else:
        # It says of each request that waits that it waits.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        server = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)
        port, serve = server.effective_port, server.run
    print(json.dumps({"port": port}), flush=True)
    serve()


if __name__ == "__main__":
    main()
