# SPDX-License-Identifier: MIT
"""What happened in a run, out of its samples (ns, bytes) and the kernel's events."""
from tracing import SI_KERNEL

SIGKILL, SIGTERM = 9, 15
FREED = 0.9 # of what the hog took


class Cast:
    """Which process is whose: an actor's are those that were started under its name and what
    they forked."""

    def __init__(self, pids, events):
        self.name_of = {pid: name for name, pid in pids.items()}
        self.parent_of = {}
        for e in events:
            if e.kind == "sched_process_fork":
                self.parent_of[e.number("child_pid")] = e.number("pid")
        self.dead = {e.number("pid") for e in events if e.kind == "sched_process_exit" and "group_dead=true" in e.text}

    def owner(self, pid):
        while pid is not None and pid not in self.name_of:
            pid = self.parent_of.get(pid)
        return self.name_of.get(pid)

    def is_dead(self, pid):
        """Its last thread, which need not be the first, is gone."""
        return pid in self.dead or any(self.parent_of.get(p) == pid and self.owner(p) == self.owner(pid)
                                       for p in self.dead)


def signals(cast, events):
    """(ns, pid, by the kernel) of each that was to end somebody."""
    found = []
    for e in events:
        if e.kind != "signal_generate" or e.number("sig") not in (SIGKILL, SIGTERM):
            continue
        by_kernel = e.number("code") == SI_KERNEL and e.number("sig") == SIGKILL
        if by_kernel or cast.owner(e.by) == "killer":
            found.append((e.ns, e.number("pid"), by_kernel))
    marked = {e.number("pid") for e in events if e.kind == "mark_victim"}
    return [s for s in found if not s[2] or s[1] in marked]


def crossing(samples, threshold):
    return next(i for i, (_, used) in enumerate(samples) if used > threshold)


def freed_ns(samples, begun, base, parts):
    """When 90 % of what a hog had at the most was back, which at the crossing was all of theirs."""
    most = max(used for _, used in samples[begun:])
    peak = next(i for i, (_, used) in enumerate(samples) if i >= begun and used == most)
    wanted = most - FREED * (most - base) / parts
    return next((ns for ns, used in samples[peak:] if used <= wanted), None)


def rate(samples, begun):
    """MiB a second, in the last 50 ms before the crossing."""
    to_ns, to_used = samples[begun]
    from_ns, from_used = next(s for s in samples if s[0] >= to_ns - 50_000_000)
    return (to_used - from_used) / 2**20 / max((to_ns - from_ns) / 1e9, 1e-9)


def gap_ms(samples, begun):
    """The longest that the sampler slept around the crossing, which it can be wrong by."""
    near = samples[max(0, begun - 250):begun + 250]
    return round(max((b[0] - a[0] for a, b in zip(near, near[1:])), default=0) / 1e6, 3)


def victims_of(cast, sent):
    victims = []
    for _, pid, _ in sent:
        if cast.is_dead(pid) and pid not in victims:
            victims.append(pid)
    return victims


def judge(scenario, killer, pids, samples, events, base, threshold):
    cast = Cast(pids, events)
    begun = crossing(samples, threshold)
    from_ns = samples[begun][0]
    ms = lambda ns: None if ns is None else round((ns - from_ns) / 1e6, 3)
    sent = signals(cast, events)
    ours = [s for s in sent if s[2] == killer.is_kernel]
    kernels = [s for s in sent if s[2]]
    aimed = next((s[0] for s in ours if cast.owner(s[1]) in scenario.right), None)
    other = next((s[0] for s in ours if cast.owner(s[1]) not in scenario.right), None)
    kernel_first = not killer.is_kernel and bool(kernels) and (aimed is None or kernels[0][0] < aimed)
    victims = [cast.owner(p) or str(p) for p in victims_of(cast, sent)]
    innocents = [v for v in victims if v not in scenario.right]
    relieved = samples[-1][1] <= threshold
    return {"to_signal_ms": ms(aimed), "to_other_ms": ms(other),
            "to_freed_ms": ms(freed_ns(samples, begun, base, scenario.parts)), "rate": round(rate(samples, begun)),
            "sampler_gap_ms": gap_ms(samples, begun),
            "signals": len(ours), "victims": victims, "innocents": len(innocents), "relieved": relieved,
            "kernel_first": kernel_first, "kernel_kills": len({s[1] for s in kernels}),
            "right": aimed is not None and not innocents and relieved and not kernel_first}
