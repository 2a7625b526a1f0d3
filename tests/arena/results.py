# SPDX-License-Identifier: MIT
"""The table, and the same as JSON."""
import json
import math
import os
import statistics
import subprocess


PEERS = ("earlyoom", "nohang", "systemd-oomd")


def version(package):
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False)
    return asked.stdout or "not there"


def described():
    """Where, and what of whom."""
    told = os.uname()
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    peers = ", ".join(f"{p} {version(p)}" for p in PEERS)
    return f"Linux {told.release} {told.machine}, {os.cpu_count()} processors, {ram:.0f} GiB; {peers}"


def quantile(values, part):
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def spread_text(values):
    """median / p99 / most, of those that there are."""
    values = [v for v in values if v is not None]
    if not values:
        return "never"
    return f"{statistics.median(values):.1f} / {quantile(values, 0.99):.1f} / {max(values):.1f}"


def row(scenario, killer, runs):
    count = lambda name: sum(bool(r[name]) for r in runs)
    cells = [scenario, killer, len(runs), count("right"), sum(r["innocents"] for r in runs), count("kernel_first"),
             f"{statistics.mean(len(r['victims']) for r in runs):.1f}",
             f"{statistics.median(r['rate'] for r in runs):.0f}", spread_text([r["to_signal_ms"] for r in runs]),
             spread_text([r["to_freed_ms"] for r in runs])]
    others = [r["to_other_ms"] for r in runs if r["to_other_ms"] is not None]
    heard = [r["owner_death"] for r in runs if r["owner_death"] is not None]
    notes = [f"EOWNERDEAD in {sum(heard)} of {len(heard)}"] if heard else []
    if others:
        notes.append(f"an innocent is signalled after {statistics.median(others):.1f} ms")
    if not all(r["killer_lived"] for r in runs):
        notes.append(f"it ended itself in {sum(not r['killer_lived'] for r in runs)}")
    return cells + ["; ".join(notes)]


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in r) + " |" for r in rows])


RUNS = ["scenario", "killer", "runs", "right victim", "innocents", "kernel first", "died a run", "MiB/s at the crossing",
        "crossing to signal, ms (median / p99 / most)", "crossing to freed, ms", ""]
IDLES = ["killer", "processes", "resident KiB", "locked KiB", "% of a processor", "of each"]


def page(results):
    rows = [row(s, k, runs) for s, by_killer in results["runs"].items() for k, runs in by_killer.items() if runs]
    parts = [results["where"]] + ([table(RUNS, rows)] if rows else [])
    if results["idle"]:
        parts.append(table(IDLES, [[k, *figures.values()] for k, figures in results["idle"].items()]))
    reasons = {}
    for who, what, why in results["lacking"]:
        reasons.setdefault((who, why), []).append(what)
    parts += [f"Not measured: {who} in {', '.join(sorted(set(what)))}: {why}" for (who, why), what in reasons.items()]
    return "\n\n".join(parts) + "\n"


def save(folder, results):
    with open(folder + "/arena.json", "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    with open(folder + "/arena.md", "w", encoding="utf-8") as f:
        f.write(page(results))
