"""Four clients that ask without pause: HTTP on one connection, HTTP with a connection each time, D-Bus
from busctl, and the command. Ends when FOLDER/stop appears; exit status 1 if any request failed.

usage: clients.py FOLDER PORT
"""

import http.client
import json
import os
import subprocess
import sys
import threading

FOLDER, PORT = sys.argv[1], int(sys.argv[2])
BASE = "/var/tmp/boot-test"
PATH = "/v1/classify?prompts=a+blue+square&prompts=a+red+circle"
HEADERS = {"Content-Type": "image/png"}
with open(BASE + "/samples/red-circle.png", "rb") as file:
    PICTURE = file.read()

asked = {}
failures = []


def stopped():
    return os.path.exists(FOLDER + "/stop")


def over(connection):
    connection.request("POST", PATH, PICTURE, HEADERS)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {body[:200]!r}")
    if json.loads(body)["classifications"][0]["text"] != "a red circle":
        raise RuntimeError(f"wrong answer: {body[:200]!r}")
    return response


def connect():
    return http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)


def each_its_own():
    while True:
        connection = connect()
        over(connection)
        connection.close()
        yield


def kept_alive():
    # http.client connects again by itself after an answer that says "Connection: close".
    connection = connect()
    while True:
        over(connection)
        yield


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    if done.returncode != 0:
        raise RuntimeError(f"status {done.returncode}: {done.stderr.strip()[:300]}")
    return done.stdout


def bus():
    while True:
        said = run("runuser", "-u", "plain", "--", "busctl", "--timeout=120", "call", "org.hailo.Clip1", "/org/hailo/Clip1",
                   "org.hailo.Clip1", "EmbedTexts", "as", "1", "a red circle")
        if not said.startswith("aad 1 "):
            raise RuntimeError(f"wrong answer: {said[:200]}")
        yield


def command():
    while True:
        said = run("hailo-clip", "classify", BASE + "/samples/red-circle.png", "a red circle", "a blue square")
        if "a red circle" not in said.splitlines()[0]:
            raise RuntimeError(f"wrong answer: {said[:200]}")
        yield


def client(name, steps):
    asked[name] = 0
    while not stopped():
        iterator = steps()
        try:
            for _ in iterator:
                asked[name] += 1
                if stopped():
                    return
        except Exception as error:  # every kind of failure counts
            asked[name] += 1
            failures.append(f"{name}, request {asked[name]}: {type(error).__name__}: {error}")


KINDS = {"http": each_its_own, "http kept alive": kept_alive, "d-bus": bus, "command": command}
threads = [threading.Thread(target=client, args=kind) for kind in KINDS.items()]
for thread in threads:
    thread.start()
while not stopped() and not (len(asked) == len(KINDS) and all(asked.values())):
    threads[0].join(0.05)
open(FOLDER + "/going", "w").close()
for thread in threads:
    thread.join()
print(", ".join(f"{name} {count}" for name, count in asked.items()), f"requests; {len(failures)} failed")
for failure in failures[:20]:
    print(failure)
sys.exit(bool(failures) or not all(asked.values()))
