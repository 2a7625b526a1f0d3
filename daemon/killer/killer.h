/* SPDX-License-Identifier: MIT */
/* The fallback killer, as part of the broker: readings are taken when they are due, the roll is
 * kept fresh, the ladder decides, and what it decided is done first and logged afterwards. */
#pragma once

#include "daemon/helper.h"
#include "daemon/killer/census.h"
#include "daemon/killer/ladder.h"
#include "daemon/killer/sensor.h"
#include "daemon/killer/trace.h"

struct broker;

#define KILLER_WALK_NS (10000 * 1000000ull)   /* /proc is gone through, while there is plenty */
#define KILLER_HASTE_NS (10 * 1000000ull)    /* and while there is not */
#define KILLER_YOUNG_NS (1000 * 1000000ull)  /* who came since may still be moved to its control group */
#define KILLER_MUSTER_NS (50 * 1000000ull)   /* everybody may; while memory is short */
#define KILLER_REVIEW_NS (2000 * 1000000ull) /* some are looked at again, as often as that */
#define KILLER_REVIEW 1u		     /* how many */
#define KILLER_HASTY_REVIEW 8u
#define KILLER_REHEARSED 128u /* more candidates than at the last rehearsal make another worthwhile */
#define KILLER_ABSENT_NS (1000 * 1000000ull) /* a group that is not there is looked for again */

struct watched {
	struct sensor sensor;
	struct ladder ladder;
	uint64_t next_ns;
	uint64_t early_ns; /* from then on it is looked at when the broker is awake anyway */
	bool absent; /* said that its group is not there */
	bool heard;  /* its bell rang */
};

struct killer {
	bool dry; /* does everything but what it decides */
	const struct helper *helper; /* does what takes its time; NULL: nobody does */
	int epoll; /* for the bells, or -1 */
	uint32_t source;
	uint64_t walk_ns, review_ns, muster_ns; /* when last done */
	bool hurries;
	uint32_t rehearsed; /* with so many candidates */
	uint32_t groups; /* watches, and what they were of, at the last configuration */
	char group[WATCHES][WATCH_GROUP_BYTES];
	struct watched watched[WATCHES];
	struct roll roll;
	struct census census;
	struct script script;
	struct trace trace;
};

/* Nothing is watched yet. `record`: where a trace goes, or -1. */
void killer_init(struct killer *k, bool dry, int record);

/* The watches and rules of b->config are in force from now on; opens what they need. */
void killer_configure(struct broker *b);

/* Does for nothing what is done when memory is short, so that all pages it takes are there to be
 * locked. Not while there is a victim. */
void killer_rehearse(struct broker *b);

/* The roll as of now, whatever it takes. */
void killer_refresh(struct broker *b);

/* Bells are heard through this epoll, as events source + watch. */
void killer_listen(struct killer *k, int epoll, uint32_t source);
void killer_hear(struct killer *k, uint32_t w);

/* One reading of a watch: decided, done and logged. */
void killer_step(struct broker *b, uint32_t w, const struct reading *r);

/* What is due by now_ns. */
void killer_tick(struct broker *b);

/* When it should be called next, CLOCK_MONOTONIC, or NEVER. */
uint64_t killer_next_ns(const struct broker *b);
