"""The table of targets: what was to be reached, what was, and with which command."""

MIB = 1024


def facts(report):
    """All that the sections found, under one name each."""
    return {name: value for section in report["sections"] for name, value in section.get("facts", {}).items()}


def judge(report):
    """Rows of {what, target, measured, reached, section, note}; reached is None where nothing was measured."""
    found, rows = facts(report), []

    def row(what, target, section, names, measured, reached, note=""):
        """`measured` and `reached` are asked only if all the facts are there."""
        there = all(found.get(name) is not None for name in names)
        rows.append({
            "what": what, "target": target, "section": section, "command": f"benches/run --sections {section}",
            "measured": measured() if there else "not measured", "reached": bool(reached()) if there else None,
            "note": (note() if callable(note) else note) if there else "",
        })

    middle = lambda name: found[name]["median"]  # noqa: E731
    quartiles = lambda name: f"{middle(name):.2f} × ({found[name]['low']:.2f} to {found[name]['high']:.2f})"  # noqa: E731
    optional = lambda name, form: form.format(middle(name)) if name in found else ""  # noqa: E731

    row(
        "one 1-megapixel JPEG, 10 cached prompts, HTTP, one client, CPU", "≤ 1.05 × bare ONNX Runtime with a plain decode and resize",
        "requests", ["http_to_plain"], lambda: quartiles("http_to_plain"), lambda: middle("http_to_plain") <= 1.05,
        lambda: f"of which image encoder {found['image_to_plain']:.2f} ×, decode and resize {found['decode_to_plain']:.2f} ×; "
        f"HTTP, queue and scores add {found['added_ms']:.1f} ms",
    )
    row(
        "the same, 16 clients", "≥ 1.0 × bare ONNX Runtime's best batched throughput", "clients", ["plain_16"],
        lambda: quartiles("plain_16"), lambda: middle("plain_16") >= 1,
        lambda: found.get("crowd", "the peer runs its image encoder alone, without pictures to decode") + optional("image_batch_8", "; image encoder alone at batch 8: {:.2f} × its time"),
    )
    for clients in (4, 16):
        names = [f"encode_rate_{clients}", f"encode_p99_{clients}"]
        row(
            f"against the Flask peer, 10 prompts, warm, {clients} clients", "≥ 3 × its requests/s, ≤ 1/3 of its p99", "clients", names,
            lambda: f"{middle(names[0]):.1f} × the rate, {middle(names[1]):.2f} × the p99", lambda: middle(names[0]) >= 3 and middle(names[1]) <= 1 / 3,
            lambda: optional(f"cache_rate_{clients}", "with texts kept by the peer, which the replaced service did not: {:.1f} × the rate")
            + optional(f"lock_rate_{clients}", "; against the replaced service's behaviour: {:.1f} ×"),
        )
    row(
        "12-megapixel JPEG: decode and pre-process", "≤ 0.4 × Pillow", "pictures", ["big_to_pillow"], lambda: quartiles("big_to_pillow"),
        lambda: middle("big_to_pillow") <= 0.4, lambda: optional("big_to_pillow: Pillow, draft", "to Pillow with draft: {:.2f} ×"),
    )
    row(
        "HTTP and engine, /v1/embed/text cached, 2 cores with the load generator", "≥ 10,000 requests/s", "overhead", ["embed_rate", "embed_rate_implied"],
        lambda: f"{found['embed_rate']:,.0f}/s", lambda: found["embed_rate"] >= 10_000,
        lambda: f"by processor time per request, two cores for nothing else could do {found['embed_rate_implied']:,.0f}/s; {middle('embed_to_live'):.2f} × /health/live",
    )
    row(
        "D-Bus ClassifyFd against HTTP, same picture", "≤ 1.0 × its latency", "requests", ["dbus_to_http", "dbus_to_json"],
        lambda: f"{quartiles('dbus_to_json')} of JSON, {quartiles('dbus_to_http')} of the bare picture", lambda: middle("dbus_to_http") <= 1,
    )
    row(
        "simulated Hailo-10H, 16 clients, 1-megapixel JPEGs", "≥ 98 % of the device or of the processor's decode limit, whichever is lower",
        "npu", ["npu_share"], lambda: f"{100 * found['npu_share']:.1f} %", lambda: found["npu_share"] >= 0.98,
        lambda: f"{100 * found['npu_device_share']:.1f} % of the device; the clients run on the same cores",
    )
    row(
        "int8 bundle, one picture, one client", "≤ 0.7 × bare ONNX Runtime fp32, resident ≤ 300 MB", "int8", ["int8_image_1", "int8_request", "int8_resident_kb"],
        lambda: f"image encoder {quartiles('int8_image_1')}, request {quartiles('int8_request')}, {found['int8_resident_kb'] * 1024 / 1e6:.0f} MB",
        lambda: middle("int8_request") <= 0.7 and found["int8_resident_kb"] * 1024 <= 300e6,
    )
    row(
        "peak anonymous memory, ViT-B/32 fp32, after 1,000 mixed requests", "≤ weights + 150 MB", "memory", ["anonymous_peak_kb", "weights_kb"],
        lambda: f"{found['anonymous_peak_kb'] * 1024 / 1e6:.0f} MB (weights {found['weights_kb'] * 1024 / 1e6:.0f} MB, mapped)",
        lambda: found["anonymous_peak_kb"] * 1024 <= found["weights_kb"] * 1024 + 150e6, lambda: f"after {found['requests']} requests",
    )
    row(
        "peak anonymous memory, NPU path", "≤ 250 MB", "npu", ["npu_anonymous_kb"], lambda: f"{found['npu_anonymous_kb'] * 1024 / 1e6:.0f} MB",
        lambda: found["npu_anonymous_kb"] * 1024 <= 250e6,
    )
    row(
        "daemon start to READY, ViT-B/32 on the CPU", "≤ 1.5 × weights read warm and graphs prepared by bare ONNX Runtime", "startup", ["ready"],
        lambda: quartiles("ready"), lambda: middle("ready") <= 1.5, optional("ready_first", "the first start after an installation: {:.2f} ×"),
    )
    row(
        "growth: throughput from 16 to 256 clients", "flat", "clients", ["flat_rate"], lambda: f"{found['flat_rate']:.2f} of the best at 256",
        lambda: found["flat_rate"] >= 0.95, "flat: within 5 %",
    )
    row(
        "growth: latency", "linear in queue length", "clients", ["latency_r2", "latency_excess"],
        lambda: f"R² {found['latency_r2']:.3f}; at most {found['latency_excess']:.2f} × what the queue explains", lambda: found["latency_r2"] >= 0.99,
        "linear: R² ≥ 0.99 at 16, 64 and 256 clients",
    )
    row(
        "growth: memory", "flat", "clients", ["memory_growth"],
        lambda: f"{found['memory_16_kb'] / MIB:.0f} to {found['memory_256_kb'] / MIB:.0f} MiB; {found['memory_growth']:.2f} × without the requests' own bytes",
        lambda: found["memory_growth"] <= 1.1, "flat: within 10 %, apart from the bytes of the requests that wait",
    )
    return rows


VERDICT = {True: "reached", False: "missed", None: "–"}


def show(rows):
    print(f"\n{'target':<74}{'':<9}measured")
    for row in rows:
        print(f"{row['what'][:72]:<74}{VERDICT[row['reached']]:<9}{row['measured']}")


def markdown(report):
    """The table for a README."""
    head = f"{report['made']}, {report['commit'].split(' ', 1)[0]}, {report['model']}, {report['machine']['cores']} cores of {report['machine']['processor']}"
    rows = [f"| {row['what']} | {row['target']} | {row['measured']} | {VERDICT[row['reached']]} |" for row in report["targets"]]
    return "\n".join([head, "", "| what | target | measured | |", "|---|---|---|---|", *rows]) + "\n"
