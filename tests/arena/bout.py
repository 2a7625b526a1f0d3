# SPDX-License-Identifier: MIT
"""One run of one scenario with one killer."""
import subprocess
import time

import verdict
from world import wait_for

SETTLE = 0.6 # seconds that memory has been back before a run is over: who dies needlessly dies in them
GIVE_UP = 25 # seconds in which a hog that is let alone has crossed


def command_of(world, actor, before=()):
    words = [w.replace("@tools@", world.tools).replace("@work@", world.work) for w in actor[1:]]
    return [*before, f"{world.tools}/{words[0]}", *words[1:]]


def background_start(world, scenario, killer):
    for actor in scenario.background:
        account = scenario.managed.get(actor[0])
        world.start(actor[0], command_of(world, actor, killer.managed(world, account) if account else ()))
    for actor in scenario.background:
        world.wait_said(actor[0], "ready")


def hogs_start(world, scenario):
    """The use from which the last of them began."""
    if scenario.waiter:
        world.start("waiter", command_of(world, ("", "waiter", "@work@/mutex", "9")), [])
    for actor in scenario.hogs:
        base = world.usage()
        freezes = actor[0] == scenario.freezes
        world.start(actor[0], command_of(world, actor), [world.memory] + ([world.frozen] if freezes else []))
        if freezes:
            world.wait_said(actor[0], "grown")
            world.freeze()
    return base


def wait_for_end(world, scenario, threshold):
    """Till memory is back and stays, or there was time enough for it."""
    if not wait_for(lambda: world.most() > threshold, GIVE_UP):
        raise RuntimeError("the hog did not cross the threshold")
    end, since = time.monotonic() + scenario.bound, None
    while time.monotonic() < end:
        now = time.monotonic()
        since = (since or now) if world.usage() <= threshold else None
        if since and now - since > SETTLE:
            return
        time.sleep(0.02)


def owner_death(world, scenario):
    """What the waiter heard of the mutex's owner."""
    if not scenario.waiter:
        return None
    wait_for(lambda: any(world.said("waiter", w) for w in ("EOWNERDEAD", "timeout", "unlocked")), 10)
    return any(world.said("waiter", w) for w in ("EOWNERDEAD",))


def run(world, scenario, killer, dice):
    threshold = killer.threshold(scenario.total << 20)
    try:
        world.open(scenario.total, scenario.kernel_kills, killer.own_pids)
        killer.start(world, scenario)
        background_start(world, scenario, killer)
        time.sleep(1)
        subprocess.run([world.tools + "/warm", str(scenario.total + 1024)], check=True)
        time.sleep(dice.random() * 0.3) # in step with nobody's timer
        base = hogs_start(world, scenario)
        wait_for_end(world, scenario, threshold)
        heard = owner_death(world, scenario)
        lived = killer.lives(world)
        samples, events = world.finish()
        seen = verdict.judge(scenario, killer, world.pids, samples, events, base, threshold)
        return {**seen, "owner_death": heard, "killer_lived": lived}
    finally:
        world.close()
