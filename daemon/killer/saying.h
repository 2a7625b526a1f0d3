/* SPDX-License-Identifier: MIT */
/* The ladder's events in words, with the figures that led to them: for whoever reads the log at
 * 3 a.m., and the same in a replay. */
#pragma once

#include "daemon/killer/ladder.h"

void saying_warn(struct script *s, const struct ladder *l, const struct watch_policy *p);
void saying_short(struct script *s, const struct ladder *l, const struct watch_policy *p);
void saying_calm(struct script *s, const struct ladder *l, const struct watch_policy *p);

/* Who goes, why, who would have been next, and who holds more and was passed over. */
void saying_choice(struct script *s, const struct roll *roll, const struct standing *first,
		   const struct standing *all, uint32_t n);
void saying_nobody(struct script *s, const struct roll *roll, const struct ladder *l,
		   const struct watch_policy *p, const struct standing *all, uint32_t n);

void saying_tell(struct script *s, const struct ladder *l);
void saying_kill(struct script *s, const struct ladder *l, const char *why);
void saying_spared(struct script *s, const struct ladder *l, const struct watch_policy *p);
void saying_gone(struct script *s, const struct ladder *l, const struct watch_policy *p);
void saying_stuck(struct script *s, const struct ladder *l);
void saying_thaw(struct script *s, const struct candidate *c);
