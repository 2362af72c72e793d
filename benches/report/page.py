"""The report as one HTML file without anything outside of it: tables, and plots as inline SVG."""

from html import escape

from . import plots
from .targets import VERDICT

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #59636e; --paper: #fff; --card: #f5f7f9; --line: #d4dae0;
  --good: #0d6b35; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ed; --soft: #9aa6b2; --paper: #14181c; --card: #1d2329;
  --line: #3a434c; --good: #58c98a; --bad: #ff8a80; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .3rem; } h3 { font-size: 1rem; margin: 1.3rem 0 .3rem; }
p, li { max-width: 50rem; } .soft, figcaption, dt { color: var(--soft); }
nav a { color: inherit; margin-right: .9rem; white-space: nowrap; }
.range { white-space: nowrap; } .wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child, .text { text-align: left; }
td.text, td:first-child { min-width: 9rem; } td.what { min-width: 16rem; } tbody tr:hover { background: var(--card); }
.reached { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0; } dd { margin: 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .8rem; background: var(--card); border-radius: .5rem; } svg { width: 100%; height: auto; }
code { font-size: .9em; } .error { color: var(--bad); }
"""


def html(report):
    numbers = iter(range(10_000))
    sections = report["sections"]
    body = [
        "<h1>hailo-clip: how fast, beside its peers</h1>",
        '<p class="soft">Contenders take turns; what counts is the ratio of neighbouring turns: '
        "medians, with quartiles. Absolute figures belong to this machine and hour.</p>",
        about(report),
        "<nav>" + "".join(f'<a href="#{section["name"]}">{text(section["title"])}</a>' for section in sections) + "</nav>",
        target_table(report["targets"]),
        *(part(section, numbers) for section in sections),
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>hailo-clip benchmark</title><style>{STYLE}</style>\n<body>" + "\n".join(body) + "</body></html>\n"
    )


def text(value):
    return escape(str(value))


def about(report):
    machine = report["machine"]
    pairs = {
        "Made": f"{report['made']}, {report['mode']} run",
        "Commit": report["commit"],
        "Machine": f"{machine['processor']} ({machine['architecture']}; {', '.join(machine['instructions'])}), {machine['cores']} cores, "
        f"{machine['memory_mib'] // 1024} GiB, Linux {machine['kernel']}; load average {machine['load_average_before']} before, {machine.get('load_average_after', '–')} after",
        "Model": f"{report['model']}: {report['model_about']}",
        "Threads": f"{report['threads']} for each contender",
        "Versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
    }
    return "<dl>" + "".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>" for key, value in pairs.items()) + "</dl>"


def target_table(targets):
    rows = []
    for target in targets:
        verdict = VERDICT[target["reached"]]
        note = f'<br><span class="soft">{text(target["note"])}</span>' if target["note"] else ""
        rows.append(
            f'<tr><td class="what">{text(target["what"])}</td><td class="text">{text(target["target"])}</td><td class="text">{text(target["measured"])}{note}</td>'
            f'<td class="text {verdict}">{verdict}</td><td class="text"><a href="#{target["section"]}">{target["section"]}</a></td></tr>'
        )
    reached = sum(target["reached"] is True for target in targets)
    measured = sum(target["reached"] is not None for target in targets)
    return (
        f'<h2 id="targets">Targets</h2><p>{reached} of {measured} that were measured are reached. '
        "<code>benches/run --sections NAME</code> measures one part again.</p>"
        '<div class="wide"><table><thead><tr><th>what</th><th class="text">target</th><th class="text">measured</th>'
        f'<th class="text"></th><th class="text">part</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def part(section, numbers):
    out = [f'<h2 id="{section["name"]}">{text(section["title"])}</h2>']
    if "error" in section:
        return out[0] + f'<p class="error">Not measured: {text(section["error"])}</p>'
    out.append(f'<p class="soft">{text(section["about"])} ({section["seconds"]:.0f} s)</p>')
    if section["rows"]:
        out.append(ratio_table(section["rows"]))
    out.extend(plain_table(table) for table in section["tables"])
    if section["plots"]:
        figures = (
            f'<figure>{plots.svg(plot, next(numbers))}<figcaption>{text(plot["title"])}</figcaption></figure>' for plot in section["plots"]
        )
        out.append(f'<div class="plots">{"".join(figures)}</div>')
    if section["notes"]:
        out.append("<ul>" + "".join(f"<li>{text(note)}</li>" for note in section["notes"]) + "</ul>")
    return "\n".join(out)


def ratio_table(rows):
    body = []
    for row in rows:
        ours, peer, ratio = row["ours"], row["peer"], row["ratio"]
        between = f"{ratio['low']:.2f} to {ratio['high']:.2f}" if ratio["count"] > 1 else ""
        body.append(
            f'<tr><td class="what">{text(row["what"])}</td><td>{figure(ours["median"])}</td><td>{figure(peer["median"])}</td><td class="text">{text(row["unit"])}</td>'
            f'<td><b>{ratio["median"]:.2f}</b></td><td class="range">{between}</td><td>{ratio["count"]}</td><td class="text">{text(row["peer_name"])}</td></tr>'
        )
    return (
        '<div class="wide"><table><thead><tr><th>what</th><th>hailo-clip</th><th>peer</th><th class="text"></th><th>ratio</th><th>quartiles</th>'
        f'<th>turns</th><th class="text">peer</th></tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def figure(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"


def plain_table(table):
    cells = lambda row: "".join("<td>–</td>" if cell is None else f"<td>{text(cell)}</td>" for cell in row)  # noqa: E731
    head = "".join(f"<th>{text(name)}</th>" for name in table["head"])
    body = "".join(f"<tr>{cells(row)}</tr>" for row in table["rows"])
    return f'<h3>{text(table["title"])}</h3><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
