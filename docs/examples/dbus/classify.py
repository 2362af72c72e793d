#!/usr/bin/python3
"""Ranks prompts for a picture: classify.py PICTURE PROMPT…   (Debian package: python3-gi)"""

import sys

from gi.repository import Gio, GLib

picture, *prompts = sys.argv[1:]
bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
options = {"top_k": GLib.Variant("u", 3)}
with open(picture, "rb") as file:
    files = Gio.UnixFDList()
    arguments = GLib.Variant("(hasa{sv})", (files.append(file.fileno()), prompts, options))
    try:
        answer, _ = bus.call_with_unix_fd_list_sync(
            "org.hailo.Clip1", "/org/hailo/Clip1", "org.hailo.Clip1", "ClassifyFd", arguments,
            GLib.VariantType("(a(sd)a{sv})"), Gio.DBusCallFlags.NONE,
            60_000,  # ms: longer than the service takes for any answer
            files, None)
    except GLib.Error as error:
        name = Gio.DBusError.get_remote_error(error)
        Gio.DBusError.strip_remote_error(error)
        sys.exit(f"{name}: {error.message}")

classifications, details = answer.unpack()
for prompt, score in classifications:
    print(f"{score:.4f}\t{prompt}")
print(f"{details['model']} on {details['backend']}, {details['inference_time_ms']:.1f} ms", file=sys.stderr)
