"""One client, one request at a time: what the service adds to the work itself, through each of its doors."""

import asyncio
import itertools
import statistics

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from ..figures import Section, take_turns, timed
from ..pictures import PROMPTS


def run(bench):
    section = Section(
        "requests", "One client",
        "A picture of a megapixel with ten prompts that are known already, one request after the other. The bare limit reads "
        "the picture's file, decodes and resizes it, runs the image encoder and scores, in one Python process without any server. "
        "Our doors are asked by one compiled client (doors.rs).",
    )
    service, peer, plain = bench.daemon(), bench.onnxruntime(simd=True), bench.plain
    doors = bench.doors(service)
    turns = bench.few(9, 31)
    command = {"classify": [str(bench.picture), PROMPTS[:10]]}
    contenders = {door: lambda door=door: doors.ask({door: 3})["seconds"] for door in ("http", "json", "dbus")}
    results = take_turns(contenders | {"peer": lambda: peer.seconds(command)}, turns)
    ours = {door: [statistics.median(seconds) for seconds in results[door]] for door in contenders}
    what = "classify a 1-megapixel JPEG, 10 cached prompts, "
    section.compare(what + "HTTP", "ms", ours["http"], results["peer"], plain, "http_to_plain", 1000)
    section.compare(what + "HTTP, JSON", "ms", ours["json"], results["peer"], plain, "json_to_plain", 1000)
    section.compare(what + "D-Bus", "ms", ours["dbus"], results["peer"], plain, scale=1000)
    section.compare("D-Bus ClassifyFd", "ms", ours["dbus"], ours["http"], "HTTP, bare picture", "dbus_to_http", 1000)
    section.compare("D-Bus ClassifyFd", "ms", ours["dbus"], ours["json"], "HTTP, JSON with base64", "dbus_to_json", 1000)
    where_it_goes(section, service, peer, doors, bench)
    texts(section, bench, peer)
    return section


def where_it_goes(section, service, peer, doors, bench):
    """The lone request taken apart: what of it is inference, what is pictures, what is ours."""
    before, repeats = service.stages(), bench.few(9, 31)
    seconds = doors.ask({"http": repeats})["seconds"]
    after = service.stages()
    stages = {name: (after[name][0] - before[name][0]) / repeats for name in after}
    known = sum(stages[name] for name in ("decode", "preprocess", "image") if name in stages)
    decode = statistics.median(peer.seconds({"decode": str(bench.picture)}) for _ in range(repeats))
    image = statistics.median(peer.seconds({"images": 1}) for _ in range(repeats))
    # The stages are means, so this is one.
    total = statistics.mean(seconds)
    section.table(
        "Where a lone request's time goes, in ms", ["", "hailo-clip", bench.plain],
        [
            ["decode and resize", round(1000 * (stages["decode"] + stages["preprocess"]), 2), round(1000 * decode, 2)],
            ["image encoder", round(1000 * stages["image"], 2), round(1000 * image, 2)],
            ["all else: HTTP, queue, scores, the client", round(1000 * (total - known), 2), ""],
        ],
    )
    section.facts["decode_to_plain"] = (stages["decode"] + stages["preprocess"]) / decode
    section.facts["image_to_plain"] = stages["image"] / image
    section.facts["added_ms"] = 1000 * (total - known)


def texts(section, bench, peer):
    """Prompts over D-Bus, new and known."""
    bus = Client(bench.bus)
    fresh = (f"{prompt} {number}" for number in itertools.count() for prompt in PROMPTS)
    embed = lambda texts: timed(lambda: bus.call("EmbedTexts", "as", [texts]))  # noqa: E731
    for count in (1, 5, 20):
        known = PROMPTS[:count]
        results = take_turns({
            "fresh": lambda: embed(list(itertools.islice(fresh, count))), "cached": lambda: embed(known),
            "peer": lambda: peer.seconds({"texts": known}),
        }, bench.few(5, 15))
        section.compare(f"texts over D-Bus, {count} never seen", "ms", results["fresh"], results["peer"], "ONNX Runtime", scale=1000)
        section.compare(f"texts over D-Bus, {count} cached", "ms", results["cached"], results["peer"], "ONNX Runtime, encodes again", scale=1000)
    bus.close()


class Client:
    """One connection to the message bus, kept open."""

    def __init__(self, address):
        self.loop = asyncio.new_event_loop()

        async def connect():
            return await MessageBus(address).connect()

        self.bus = self.loop.run_until_complete(connect())

    def call(self, member, signature, body):
        name = "org.hailo.Clip1"
        message = Message(destination=name, path="/org/hailo/Clip1", interface=name, member=member, signature=signature, body=body)
        answer = self.loop.run_until_complete(self.bus.call(message))
        if answer.message_type != MessageType.METHOD_RETURN:
            raise RuntimeError(f"{member}: {answer.error_name} {answer.body}")
        return answer.body

    def close(self):
        self.bus.disconnect()
        self.loop.close()
