# SPDX-License-Identifier: MIT
"""What was measured: as a table, as JSON, as a chart, and as docs/performance.md."""
import json
import os
import platform
import subprocess

from figures import geometric_mean, interval, median

OURS = "solvent"


def ratios(samples, metric, side):
    """Ours to theirs, round by round: what disturbed the machine in one disturbed both."""
    ours, theirs = samples[metric.name].get(OURS, []), samples[metric.name].get(side, [])
    return [a / b for a, b in zip(ours, theirs) if b]


def number(value):
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def quantity(value, unit):
    if unit == "ns":
        for factor, name in ((1e6, "ms"), (1e3, "us")):
            if abs(value) >= factor:
                return f"{number(value / factor)} {name}"
    return f"{number(value)} {unit}".strip()


# --- verdicts ---------------------------------------------------------------------

def bound_text(bound, metric):
    if bound.more is not None:
        return f"at most {quantity(bound.more, metric.unit)} more than {bound.side}"
    which, value = ("at most", bound.most) if bound.most is not None else ("at least", bound.least)
    return f"{which} {value:.2f}x of {bound.side}" if bound.side else f"{which} {quantity(value, metric.unit)}"


def bound_values(samples, metric, bound):
    """What the bound is on, round by round; empty if a side is missing."""
    ours = samples[metric.name].get(OURS, [])
    if not bound.side:
        return ours
    if bound.more is not None:
        return [a - b for a, b in zip(ours, samples[metric.name].get(bound.side, []))]
    return ratios(samples, metric, bound.side)


def bound_holds(bound, value):
    if bound.more is not None:
        return value <= bound.more
    return (bound.most is None or value <= bound.most) and (bound.least is None or value >= bound.least)


def verdicts(samples, tasks):
    """[(metric, bound, values)], of what was measured."""
    found = [(metric, bound, bound_values(samples, metric, bound))
             for task in tasks for metric in task.metrics for bound in metric.bounds]
    return [v for v in found if v[2]]


def verdict(bound, values):
    """By the median. Where the bound lies in its interval, another run may say otherwise."""
    low, high = interval(values)
    holds = bound_holds(bound, median(values))
    told = "holds" if holds else "**does not hold**"
    return told if bound_holds(bound, low) == bound_holds(bound, high) == holds else told + ", within the spread"


def means(samples, tasks):
    """{name: {side: geometric mean of the ratios, smaller is better}}"""
    found = {}
    for task in tasks:
        for metric in task.metrics:
            for side in samples[metric.name] if metric.mean else ():
                if side != OURS and samples[metric.name].get(OURS):
                    found.setdefault(metric.mean, {}).setdefault(side, []).append(median(ratios(samples, metric, side)))
    return {name: {side: geometric_mean(values) for side, values in sides.items()} for name, sides in found.items()}


# --- the machine --------------------------------------------------------------------

def first_of(path, key):
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith(key):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def text_of(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return "unknown"


def package(name):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else "not installed"


def machine():
    return {
        "processor": first_of("/proc/cpuinfo", "model name"), "processors": os.cpu_count(),
        "memory": first_of("/proc/meminfo", "MemTotal"), "kernel": platform.release(),
        "transparent huge pages": text_of("/sys/kernel/mm/transparent_hugepage/enabled"),
        "overcommit": text_of("/proc/sys/vm/overcommit_memory"),
        "virtual": "hypervisor" in first_of("/proc/cpuinfo", "flags"),
        "load before": "%.2f" % os.getloadavg()[0],
        "glibc": platform.libc_ver()[1],
        **{p: package(p) for p in ("libjemalloc2", "libmimalloc2.0", "libtcmalloc-minimal4", "postgresql-15", "redis-server",
                                   "memcached", "gcc-12", "python3.11")},
    }


# --- writing ------------------------------------------------------------------------

def side_order(samples, task):
    return [s.name for s in task.sides if any(samples[m.name].get(s.name) for m in task.metrics)]


def table(samples, groups):
    """Markdown: a table for each group; beside each figure of ours the ratio to each other side
    with its 95 percent interval."""
    out = []
    for group, tasks in groups.items():
        names = []
        for task in tasks:
            names += [s for s in side_order(samples, task) if s not in names]
        names = [n for n in names if n != OURS] + ([OURS] if OURS in names else [])
        if not names:
            continue
        out += [f"### {group}", "", "| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for task in tasks:
            for metric in task.metrics:
                cells = [cell(samples, metric, side) for side in names]
                out.append(f"| {metric.name} | " + " | ".join(cells) + " |")
        out.append("")
    return "\n".join(out)


def cell(samples, metric, side):
    values = samples[metric.name].get(side)
    if not values:
        return ""
    text = quantity(median(values), metric.unit)
    if side != OURS and samples[metric.name].get(OURS):
        r = ratios(samples, metric, side)
        low, high = interval(r)
        text += f" · {median(r):.2f}x" + (f" ({low:.2f}–{high:.2f})" if len(r) > 1 else "")
    return text


def verdict_row(metric, bound, values):
    def shown(value):
        return f"{value:.2f}x" if bound.side and bound.more is None else quantity(value, metric.unit)
    low, high = interval(values)
    spread = f" ({shown(low)} to {shown(high)})" if len(values) > 1 else ""
    return f"| {metric.name} | {bound_text(bound, metric)} | {shown(median(values))}{spread} | {verdict(bound, values)} |"


def verdict_table(samples, tasks):
    out = ["| figure | promised | measured | |", "|---|---|---|---|"]
    out += [verdict_row(*v) for v in verdicts(samples, tasks)]
    for name, sides in means(samples, tasks).items():
        if "jemalloc" in sides:
            out.append(f"| {name}, geometric mean | | " + ", ".join(f"{v:.3f}x of {s}" for s, v in sides.items()) + " | |")
    return "\n".join(out)


def as_json(path, samples, groups, lacking, described, took):
    rows = [{"group": group, "metric": m.name, "unit": m.unit, "more_is_better": m.more_is_better,
             "samples": samples[m.name]} for group, tasks in groups.items() for t in tasks for m in t.metrics]
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"v": 1, "machine": described, "seconds": round(took), "lacking": lacking, "rows": rows}, f, indent=1)
        f.write("\n")


# --- the chart ------------------------------------------------------------------------

COLOURS = {"bare": "#888888", "jemalloc": "#d98e04", "mimalloc": "#3a7d44", "tcmalloc": "#7a5195"}


def chart_rows(samples, tasks):
    rows = []
    for task in tasks:
        for metric in task.metrics:
            points = {}
            for side in COLOURS:
                r = ratios(samples, metric, side) if samples[metric.name].get(side) else []
                if r and not metric.name.endswith("peak memory"):
                    # Drawn as cost: above 1 is worse, whatever the figure is.
                    r = [1 / v for v in r] if metric.more_is_better else r
                    points[side] = (median(r), *interval(r))
            if points:
                rows.append((metric.name, points))
    return rows


def chart(path, samples, tasks):
    """Each figure of Solvent's as a ratio to each other side's, with its interval."""
    rows = chart_rows(samples, tasks)
    left, width, step, low, high = 250, 520, 22, 0.5, 2.0
    height = 60 + step * len(rows)

    def x(value):
        return left + (min(max(value, low), high) - low) / (high - low) * width

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 30}" height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for tick in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0):
        out.append(f'<line x1="{x(tick):.1f}" y1="40" x2="{x(tick):.1f}" y2="{height - 10}" stroke="{"#000" if tick == 1 else "#ddd"}"/>')
        out.append(f'<text x="{x(tick):.1f}" y="34" text-anchor="middle">{tick:g}x</text>')
    for i, (side, colour) in enumerate(COLOURS.items()):
        out.append(f'<circle cx="{left + 110 * i}" cy="12" r="4" fill="{colour}"/><text x="{left + 110 * i + 9}" y="16">to {side}</text>')
    out.append('<text x="10" y="16">cost under Solvent</text>')
    for n, (name, points) in enumerate(rows):
        y = 52 + step * n
        out.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{name}</text>')
        for side, (middle, a, b) in points.items():
            out.append(f'<line x1="{x(a):.1f}" y1="{y}" x2="{x(b):.1f}" y2="{y}" stroke="{COLOURS[side]}" stroke-width="2" opacity="0.5"/>')
            out.append(f'<circle cx="{x(middle):.1f}" cy="{y}" r="4" fill="{COLOURS[side]}"/>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
