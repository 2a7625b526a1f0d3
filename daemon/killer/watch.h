/* SPDX-License-Identifier: MIT */
/* How much real memory is left, of this machine or of a memory control group, and how soon it
 * will be gone. Only numbers come in, the clock among them, so that what was decided once can
 * be decided again from a trace. */
#pragma once

#include "include/base.h"

#define WATCHES 8u /* a configuration's at most */
#define WATCH_GROUP_BYTES 256

/* Pages, or a part of the whole: percentages of a control group's limit are taken when it is
 * read, because it may change. */
struct threshold {
	uint32_t pages;
	uint32_t ppm; /* parts in a million of the whole; 0: `pages` counts */
};

uint32_t threshold_pages(const struct threshold *t, uint32_t whole);

/* What the administrator wants to be done when; solvent.conf(5), watch { }. */
struct watch_policy {
	char group[WATCH_GROUP_BYTES]; /* its path, as in /proc/PID/cgroup; empty: the machine */
	struct threshold warn, act;	       /* at most this much is available */
	struct threshold swap_warn, swap_act;  /* and, where there is swap, at most this much of it is free */
	uint64_t exhaustion_ns; /* below warn: act also when the rest lasts no longer than this; 0: never */
	uint32_t stall_ppm;	/* below warn: act also when all stood still for so much of the time; 0: never */
	uint64_t settle_ns;	/* after a death, before the next victim */
	int32_t line;		/* in the configuration's file */
};

/* What is watched, for people. */
const char *watch_name(const struct watch_policy *p);

/* One look at the counters, in pages. */
struct reading {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	uint32_t total, available; /* total 0: it could not be read, and says nothing */
	uint32_t swap_total, swap_free; /* total 0: there is none */
	uint64_t stall_us; /* so long all that could run waited for memory, since the start (PSI, full); 0: unknown */
};

enum pressure { PRESSURE_NONE, PRESSURE_WARN, PRESSURE_ACT, PRESSURE_N };

/* Available memory falls and rises; the rate is of its fall over the last WATCH_SPAN_NS or so. */
#define WATCH_SPAN_NS (30 * 1000000ull)

/* A second in which hardly anything ran: less may be a single read of what was swapped out. */
#define WATCH_STALL_NS (1000 * 1000000ull)

struct gauge {
	struct reading last;
	uint64_t since_ns; /* the rate was measured last */
	uint32_t since_available;
	uint64_t fall;	   /* pages a second; 0: it does not fall */
	uint64_t fell_ns;  /* when it was last seen to fall */
	enum pressure pressure;
	bool soon; /* it is time to exhaustion that counts, not what is left */
	bool stalled; /* it is time lost that counts */
	bool stalling; /* it did, and no second since was better by half: memory is at least getting short */
	uint64_t stall_since_ns, stall_since_us;
	uint32_t stall_ppm; /* of the last span; 0: none is over since gauge_forget_stall */
};

/* Takes one reading in. */
void gauge_read(struct gauge *g, const struct watch_policy *p, const struct reading *r);

/* Somebody has ended, or was made to hold less: the time lost before `r` says nothing any more. */
void gauge_forget_stall(struct gauge *g, const struct reading *r);

/* How long what is available lasts at the present rate; UINT64_MAX: for ever. */
uint64_t gauge_lasts_ns(const struct gauge *g);

/* How long the next look may wait. No machine fills memory faster than WATCH_FILL_BYTES a second, so
 * far from a threshold that is long; near one it depends on whether memory was seen to fall. */
#define WATCH_FILL_BYTES (8ull << 30)
#define WATCH_LONGEST_NS (1000 * 1000000ull)
#define WATCH_CALM_NS (10 * 1000000ull)  /* nothing has fallen for WATCH_QUIET_NS */
#define WATCH_QUIET_NS (500 * 1000000ull)
#define WATCH_SHORTEST_NS (1 * 1000000ull)
uint64_t gauge_wait_ns(const struct gauge *g, const struct watch_policy *p);
