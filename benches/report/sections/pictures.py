"""Decoding and pre-processing of pictures beside Pillow."""

import http.client
import re

from ..figures import Section, take_turns


def run(bench):
    section = Section(
        "pictures", "Pictures",
        "What the service itself says of decoding and pre-processing (Server-Timing), one request at a time, beside Pillow in "
        "Python: decoded whole, converted, resized with its bicubic filter; and with `draft`, which decodes at a smaller scale.",
    )
    service, pillow, simd = bench.daemon(), bench.onnxruntime(), bench.onnxruntime(simd=True)
    turns = bench.few(5, 15)
    for what, path, fact in (("12 megapixels", bench.big_picture, "big_to_pillow"), ("1 megapixel", bench.picture, "small_to_pillow")):
        content = path.read_bytes()
        contenders = {
            "ours": lambda: decoding(service.port, content), "Pillow": lambda: pillow.seconds({"decode": str(path)}),
            "Pillow, draft": lambda: pillow.seconds({"draft": str(path)}),
        }
        if bench.simd_python:
            contenders["Pillow-SIMD"] = lambda: simd.seconds({"decode": str(path)})
        results = take_turns(contenders, turns)
        for peer in list(contenders)[1:]:
            section.compare(
                f"decode and pre-process a JPEG, {what}", "ms", results["ours"], results[peer], peer,
                fact if peer == "Pillow" else f"{fact}: {peer}", 1000,
            )
    return section


def decoding(port, picture):
    """Seconds for decoding and pre-processing, of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/v1/embed/image", picture, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {content[:200]!r}")
    timing = dict(re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"]))
    connection.close()
    return (float(timing["decode"]) + float(timing["preprocess"])) / 1000

