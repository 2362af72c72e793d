#!/usr/bin/python3
"""Prints the service's state at each change, and does not start it.   (Debian package: python3-gi)"""

from gi.repository import Gio, GLib


def show(service, *_):
    # Properties of an object that is not there are None.
    state, error = (service.get_cached_property(name) for name in ("State", "LastError"))
    print(state.unpack() if state else "not running", error.unpack() if error else "", flush=True)


service = Gio.DBusProxy.new_for_bus_sync(
    Gio.BusType.SYSTEM, Gio.DBusProxyFlags.DO_NOT_AUTO_START, None,
    "org.hailo.Clip1", "/org/hailo/Clip1", "org.hailo.Clip1", None)
service.connect("g-properties-changed", show)
service.connect("notify::g-name-owner", show)
show(service)
GLib.MainLoop().run()
