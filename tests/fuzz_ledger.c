/* SPDX-License-Identifier: MIT */
/* Members that write whatever they like into their ledger, at any moment, while they join,
 * fork, exec, die and ask; and a broker that is reloaded, killed and replaced. Whatever they
 * do: nothing of another account moves, no turn takes long, and when they are gone the
 * account is as good as new. */
#include "tests/fuzz_broker.h"

#include "daemon/recover.h"
#include "reserve/embryo.h"
#include "reserve/refusal.h"

#define STEPS 256 /* of one input */
#define ATTACKERS (WORLD_PROCESSES - PROCESS_X)
#define LATER 8

#define TURN_MOST_NS (ATTENTION_MOST_NS + 50 * NS_PER_MS)
#define SLACK_NS (100 * NS_PER_MS) /* what was begun before the share was used up is ended */
#define EVENT_NS (5 * NS_PER_MS)

/* What an attacker knows of itself. */
static struct attacker {
	bool in;
	uint32_t slot, generation;
	struct embryo embryo;
} attackers[WORLD_PROCESSES];

/* Writes that happen while the broker is at work. */
static struct scribble {
	uint32_t at;
	bool half;
	uint64_t value;
} later[LATER];
static uint32_t later_n, later_wait;
static uint32_t hammered; /* a word that never holds still while the broker is at work; 0: none */

static struct config config;
static uint64_t begun_ns, begun; /* when; and how often the account's share was given it anew */
static bool unseen;   /* somebody wrote who was in no slot that the broker knew */
static bool observed; /* x ever was: then it counts for what it claims to use */

/* --- the attackers' ledger --- */

/* x's ledger, if there is an attacker to write to it. */
static struct ledger *target(void)
{
	const struct account *x = account("x");
	for (uint32_t i = PROCESS_X; x && i < WORLD_PROCESSES; i++) {
		if (!world.process[i].alive || world.process[i].maps != x->inode)
			continue;
		unseen |= x->members == 0;
		return x->ledger;
	}
	return NULL;
}

static void scribble_apply(const struct scribble *s)
{
	struct ledger *l = target();
	if (l)
		memcpy((char *)l + s->at, &s->value, s->half ? 4 : 8);
}

static void between(void)
{
	struct ledger *l = hammered && world.in_turn ? target() : NULL;
	if (l)
		++*((uint8_t *)l + hammered);
	if (later_n > 0 && later_wait-- == 0)
		scribble_apply(&later[--later_n]);
}

/* The first few, the last few, or any. */
static uint32_t feed_index(struct feed *f, uint32_t n)
{
	uint32_t i = feed_byte(f);
	return i < 224 ? i % 8 : i < 240 ? n - 1 - i % 8 : (uint32_t)feed_number(f, 2) % n;
}

static uint32_t feed_place(struct feed *f)
{
	uint8_t kind = feed_byte(f);
	switch (kind % 8) {
	case 0:
	case 1:
		return feed_byte(f) % (sizeof(struct ledger_header) / 8) * 8;
	case 2:
	case 3:
	case 4:
		return LEDGER_SLOTS_AT + feed_index(f, LEDGER_SLOTS) * (uint32_t)sizeof(struct slot) +
		       feed_byte(f) % (sizeof(struct slot) / 8) * 8;
	case 5:
	case 6:
		return LEDGER_OBJECTS_AT + feed_index(f, LEDGER_OBJECTS) * (uint32_t)sizeof(struct object) +
		       feed_byte(f) % (sizeof(struct object) / 8) * 8;
	default:
		return (uint32_t)feed_number(f, 3) % (LEDGER_BYTES / 8) * 8;
	}
}

static int32_t feed_pid(struct feed *f)
{
	uint8_t i = feed_byte(f);
	return i < 240 ? world.process[i % WORLD_PROCESSES].pid : (int32_t)feed_number(f, 4);
}

static uint64_t feed_value(struct feed *f, uint64_t now)
{
	uint64_t a, c;
	switch (feed_byte(f) % 10) {
	case 0:
		return feed_number(f, 8);
	case 1:
		return feed_byte(f);
	case 2:
		return UINT64_MAX - feed_byte(f);
	case 3:
		a = (uint32_t)feed_pid(f);
		return feed_number(f, 4) << 32 | a; /* with the flags behind it */
	case 4:
		a = feed_number(f, 2);
		return PURSE(a, feed_number(f, 2));
	case 5:
		a = feed_byte(f), c = feed_byte(f);
		return SLOT_WORD(a, c, feed_byte(f) % 5);
	case 6:
		a = feed_byte(f), c = feed_byte(f);
		return OBJECT_WORD(a, c, feed_byte(f) % 6) | (feed_number(f, 1) & 3) << 8;
	case 7:
		a = feed_byte(f);
		return SIGNATURE(a, feed_number(f, 2));
	case 8:
		return now + (uint64_t)(int8_t)feed_byte(f);
	default:
		return now ^ 1ull << feed_byte(f) % 64;
	}
}

static struct scribble feed_scribble(struct feed *f)
{
	const struct ledger *l = target();
	struct scribble s = { .at = feed_place(f) };
	uint64_t now = 0;
	if (l)
		memcpy(&now, (const char *)l + s.at, sizeof now);
	s.value = feed_value(f, now);
	s.half = feed_byte(f) & 1;
	if (s.half)
		s.at += feed_byte(f) & 1 ? 4 : 0;
	return s;
}

static void step_scribble(struct feed *f)
{
	struct scribble s = feed_scribble(f);
	scribble_apply(&s);
}

static void step_scribble_later(struct feed *f)
{
	struct scribble s = feed_scribble(f);
	later_wait = feed_byte(f) % 32;
	if (later_n < LATER)
		later[later_n++] = s;
}

static void step_hammer(struct feed *f)
{
	hammered = hammered ? 0 : feed_place(f);
}

static void step_fill(struct feed *f)
{
	struct ledger *l = target();
	uint32_t at = feed_place(f), bytes = (uint32_t)feed_number(f, 2) * 8;
	uint8_t with = feed_byte(f);
	if (l)
		memset((char *)l + at, with, min_u64(bytes, LEDGER_BYTES - at));
}

/* Many slots at once that say the same. */
static void step_crowd(struct feed *f)
{
	struct ledger *l = target();
	uint32_t from = feed_index(f, LEDGER_SLOTS), n = (uint32_t)feed_number(f, 2);
	uint64_t word = feed_value(f, 0);
	int32_t pid = feed_pid(f);
	for (uint32_t s = from; l && s < LEDGER_SLOTS && n-- > 0; s++) {
		l->slot[s].pid = pid;
		l->slot[s].state = word;
	}
	if (l) {
		l->header.slot_top = LEDGER_SLOTS;
		l->header.births++;
	}
}

static void step_bell(struct feed *f)
{
	struct ledger *l = target();
	(void)f;
	if (l)
		l->header.births++;
}

/* --- processes --- */

static uint32_t feed_attacker(struct feed *f)
{
	return PROCESS_X + feed_byte(f) % ATTACKERS;
}

static void step_birth(struct feed *f)
{
	uint32_t i = feed_attacker(f), parent = feed_attacker(f);
	world_birth(i, i == parent ? 0 : world.process[parent].pid, feed_byte(f) < 240 ? USER_X : USER_OTHER);
	attackers[i] = (struct attacker){ .embryo = attackers[parent].embryo };
}

static void step_death(struct feed *f)
{
	world_death(feed_attacker(f));
}

static void step_exec(struct feed *f)
{
	world.process[feed_attacker(f)].maps = 0;
}

/* As the kernel counts it. */
static void step_memory(struct feed *f)
{
	uint32_t pages = (uint32_t)feed_number(f, 2);
	world.process[feed_attacker(f)].memory = pages < 60000 ? pages : pages * 16;
}

static void step_heard(struct feed *f)
{
	for (size_t i = 0; i < ARRAY_N(world.heard); i++)
		world.heard[i] = feed_byte(f) % 16 == 15 ? -1 : feed_pid(f);
}

static void step_knob(struct feed *f)
{
	uint8_t which = feed_byte(f), to = feed_byte(f);
	struct world_process *p = &world.process[feed_attacker(f)];
	bool *const knobs[] = { &p->foreign, &p->secret, &p->large, &world.no_pidfds, &world.no_peer_pidfd,
				&world.segment[to % WORLD_SEGMENTS] };
	if (which % 8 < ARRAY_N(knobs))
		*knobs[which % 8] = to & 1;
	else
		b.registry.pidfds_most = to & 1 ? 1000 : to % 8;
	b.peers.has_pidfds &= !world.no_peer_pidfd;
}

/* --- questions --- */

static const char *feed_name(struct feed *f)
{
	static const char *const names[] = { "x", "x", "x", "x", "h", "y", "", "no \x1b such" };
	return names[feed_byte(f) % ARRAY_N(names)];
}

/* What an attacker is given is of its own account. */
static void answer_take(uint32_t i, struct answer *a)
{
	const struct account *x = account("x");
	if (a->fd >= 0) {
		must(x && inode_of(a->fd) == x->inode);
		if (a->head.opcode == OPCODE_JOIN)
			world.process[i].maps = x->inode;
	}
	bool joins = a->head.opcode == OPCODE_JOIN || a->head.opcode == OPCODE_ADOPT;
	if (joins && a->bytes > 0 && a->head.status == STATUS_OK) {
		must(a->join.slot < LEDGER_SLOTS && strcmp(a->join.account, "x") == 0);
		attackers[i] = (struct attacker){ true, a->join.slot, a->join.generation, { 0 } };
	}
	answer_end(a);
}

static void step_join(struct feed *f)
{
	uint32_t i = feed_attacker(f);
	struct answer a = ask_join(i, feed_name(f));
	answer_take(i, &a);
}

static void step_extend(struct feed *f)
{
	uint32_t i = feed_attacker(f), pages = (uint32_t)feed_number(f, 2);
	const char *name = feed_name(f);
	uint32_t slot = feed_byte(f) & 1 ? feed_index(f, LEDGER_SLOTS) : attackers[i].slot;
	struct answer a = ask_extend(i, name, slot, pages);
	must(a.bytes == 0 || a.head.status != STATUS_OK || strcmp(name, "x") == 0);
	answer_take(i, &a);
}

static void step_adopt(struct feed *f)
{
	uint32_t i = feed_attacker(f);
	const char *name = feed_name(f);
	bool own = feed_byte(f) & 1;
	struct embryo e = { .slot = feed_index(f, LEDGER_SLOTS), .generation = feed_byte(f) };
	e = own ? attackers[i].embryo : e;
	struct answer a = ask_adopt(i, name, e.slot, e.generation);
	answer_take(i, &a);
}

static void step_look(struct feed *f)
{
	uint32_t i = feed_attacker(f);
	struct request_account q = { .head = head_of(OPCODE_ACCOUNT), .index = feed_byte(f) };
	struct answer a = ask(i, &q, sizeof q);
	must(a.bytes == 0 || a.head.status != STATUS_OK || strcmp(a.account.account, "x") == 0);
	answer_take(i, &a);
}

/* y gets what it was guaranteed, whatever x does; more if there is more. */
static void step_honest(struct feed *f)
{
	uint32_t pages = (uint32_t)feed_number(f, 2) % 12000;
	struct answer a = ask_extend(PROCESS_Y, "y", honest.y_slot, pages);
	must(a.bytes == sizeof a.extend && (a.head.status == STATUS_OK || a.head.status == STATUS_REFUSED));
	must(a.head.status == STATUS_OK || honest.y_used + pages > Y_GUARANTEE);
	if (a.head.status == STATUS_OK && feed_byte(f) & 1)
		y_take(pages);
}

/* --- a member's own doings, in a ledger that is not sound --- */

static void member_objects(struct feed *f, const struct gather *g)
{
	uint32_t o = feed_index(f, LEDGER_OBJECTS);
	struct ledger *l = g->ledger;
	switch (feed_byte(f) % 6) {
	case 0:
		object_claim(l, g->slot);
		break;
	case 1:
		transfer_to_object(l, g->slot, o, object_has(l, o), feed_byte(f));
		object_publish(l, o, 2 + feed_byte(f) % 3, feed_byte(f) % 6, feed_byte(f) % 6);
		break;
	case 2:
		object_find_hold(l, g->slot, 2 + feed_byte(f) % 3, feed_byte(f) % 6, feed_byte(f) % 6);
		break;
	case 3:
		object_let_go(l, g->slot, g->slot, o);
		break;
	case 4:
		object_mark_removed(l, o, l->object[o].state);
		break;
	default:
		object_drop_all(l, g->slot, g->slot);
	}
}

static void member_forks(struct feed *f, const struct gather *g, struct attacker *a)
{
	struct ledger *l = g->ledger;
	switch (feed_byte(f) % 4) {
	case 0:
		embryo_conceive(g, feed_byte(f), &a->embryo);
		break;
	case 1:
		embryo_born(l, g->slot, a->embryo, feed_pid(f));
		break;
	case 2:
		if (embryo_adopt(l, a->embryo, feed_byte(f), feed_pid(f)))
			*a = (struct attacker){ true, a->embryo.slot, a->embryo.generation, { 0 } };
		break;
	default:
		embryo_release(l, g->slot, a->embryo);
	}
}

static void member_notes(struct feed *f, const struct gather *g)
{
	struct refusal r = { .pid = 1 };
	refusal_count(g->ledger, g->slot, feed_byte(f), false);
	refusal_push(g->ledger, &r);
	gather_is_over(g->ledger);
	refusal_read(g->ledger, feed_byte(f), &r);
}

static void step_member(struct feed *f)
{
	struct attacker *a = &attackers[feed_attacker(f)];
	struct ledger *l = target();
	struct gather g = { .ledger = l, .slot = a->slot };
	uint8_t what = feed_byte(f);
	if (!l)
		return;
	g.generation = SLOT_GEN(slot_read(l, a->slot));
	switch (what % 6) {
	case 0:
		gather_take(&g, feed_number(f, 2));
		break;
	case 1:
		purse_give(&l->slot[g.slot].purse, feed_byte(f));
		gather_trim(&g);
		break;
	case 2:
	case 3:
		member_forks(f, &g, a);
		break;
	case 4:
		member_objects(f, &g);
		break;
	default:
		member_notes(f, &g);
	}
}

/* --- the broker's own --- */

static void step_reload(struct feed *f)
{
	uint8_t what = feed_byte(f);
	config = world_config;
	struct config_account *x = &config.account[2];
	x->policy.mode = what & 1 ? ACCOUNT_OBSERVE : ACCOUNT_ENFORCE;
	observed |= what & 1;
	x->policy.limit = what & 2 ? 100u + feed_byte(f) : X_LIMIT;
	x->policy.guarantee = what & 4 ? 0 : what & 2 ? 100 : X_GUARANTEE;
	x->admission.everyone = what & 8;
	config.accounts = what & 16 ? 2 : 3;
	begun += account("x") == NULL;
	broker_configure(&b, &config);
}

static void step_restart(struct feed *f)
{
	struct kept k = { .books = dup(b.books_fd), .keeper = -1 };
	uint8_t lost = feed_byte(f);
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b.account[i].ledger && (i != 2 || lost < 250))
			k.ledger[k.ledgers++] = dup(b.account[i].fd);
	broker_end();
	broker_begin();
	begun++;
	recover(&b, &k);
	broker_configure(&b, &config);
	honest_survived();
}

/* --- the whole --- */

/* What is written in a ledger costs its account's share of the broker's time and no more
 * (daemon/births.h); beyond that only what costs the attackers something too. */
static void work_check(void)
{
	uint64_t elapsed_ns = world_now() - begun_ns;
	uint64_t share_ns = begun * ATTENTION_MOST_NS + elapsed_ns / ATTENTION_PARTS;
	must(world.spent_ns <= share_ns + SLACK_NS + world.events * EVENT_NS);
}

/* Pages that somebody may use without asking. */
static uint64_t granted(void)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		sum += b.account[i].ledger ? b.account[i].granted : 0;
	return sum;
}

static void time_pass(uint64_t ns)
{
	must(turn(ns) <= TURN_MOST_NS);
	work_check();
	honest_check();
	must(observed || granted() <= POOL_PAGES);
}

static void step_turn(struct feed *f)
{
	static const uint64_t after_ms[] = { 0, 1, 25, 25, 30, 250, 1000, 2000 };
	time_pass(after_ms[feed_byte(f) % ARRAY_N(after_ms)] * NS_PER_MS);
}

static void (*const steps[])(struct feed *) = {
	step_turn,     step_turn,     step_turn,  step_scribble, step_scribble, step_scribble, step_scribble_later,
	step_fill,     step_crowd,    step_bell,  step_birth,	 step_birth,	step_death,    step_exec,
	step_knob,     step_join,     step_join,  step_extend,	 step_adopt,	step_look,     step_honest,
	step_member,   step_member,   step_member, step_reload,	 step_restart,	step_hammer,   step_memory,
	step_heard,
};

static bool is_healed(const struct account *x)
{
	return x && !x->damaged && x->members == 0 && x->doubts == 0 && x->orphans == 0 && x->dying == 0 &&
	       account_is_sound(x) && !account_unclean(x) && PURSE_USED(purse_read(&x->ledger->header.purse)) == 0;
}

/* Longer than the broker leaves an empty account unchecked. */
static void rest(void)
{
	for (uint64_t ns = 0; ns < SLOW_NS + 2 * TICK_NS; ns += TICK_NS)
		time_pass(TICK_NS);
}

/* Somebody asks to join, and is gone before the answer. */
static void visit(void)
{
	world_birth(PROCESS_X, 0, USER_X);
	struct answer a = ask_join(PROCESS_X, "x");
	answer_end(&a);
	world_death(PROCESS_X);
}

/* Everybody has gone. */
static void heal(void)
{
	for (uint32_t i = PROCESS_X; i < WORLD_PROCESSES; i++)
		world_death(i);
	later_n = hammered = 0;
	memset(world.segment, 0, sizeof world.segment);
	world.no_pidfds = world.no_peer_pidfd = false;
	b.registry.pidfds_most = 1000;
	y_give_back(); /* x is guaranteed what another may have taken while there was no x */
	config = world_config;
	begun += account("x") == NULL;
	broker_configure(&b, &config);
	for (int i = 0; i < 400 && !is_healed(account("x")); i++) {
		time_pass(TICK_NS);
		/* What such a one wrote shows when the next comes. */
		if (i == 200 && unseen)
			visit();
	}
	must(is_healed(account("x")));
	rest();
	must(is_healed(account("x")));
}

/* --- afterwards --- */

/* The grant and the object that a decent member's child is left with. */
static uint32_t left_to(const struct ledger *l, struct embryo child)
{
	return PURSE_GRANTED(purse_read(&l->slot[child.slot].purse)) + 50;
}

/* Killed between the two steps of a transfer. */
static void die_in_transfer(struct ledger *l, uint32_t slot)
{
	struct slot *s = &l->slot[slot];
	s->step += 2;
	s->intent_step = s->step - 1;
	s->intent_pages = 30;
	s->intent_target = slot;
	s->intent_op = INTENT_FUND;
	must(purse_transfer(&l->header.purse, (struct purse_change){ 0, 30 }, SIGNATURE(slot, s->intent_step), l));
	world_death(PROCESS_X);
}

static struct gather decent_join(const struct account *x)
{
	world_birth(PROCESS_X, 0, USER_X);
	struct answer a = ask_join(PROCESS_X, "x");
	must(a.bytes == sizeof a.join && a.head.status == STATUS_OK && !a.join.renewed);
	must(inode_of(a.fd) == x->inode);
	answer_end(&a);
	world.process[PROCESS_X].maps = x->inode;
	return (struct gather){ .ledger = x->ledger, .slot = a.join.slot, .generation = a.join.generation };
}

static struct embryo decent_fork(const struct gather *g)
{
	struct embryo e;
	must(embryo_conceive(g, 250, &e) == REASON_NONE);
	world_birth(PROCESS_X + 1, world.process[PROCESS_X].pid, USER_X);
	must(embryo_adopt(g->ledger, e, 250, world.process[PROCESS_X + 1].pid));
	embryo_born(g->ledger, g->slot, e, world.process[PROCESS_X + 1].pid);
	return e;
}

/* A member of x that does nothing wrong, and its child: to the page as if nobody had ever
 * been there before. */
static void decent_life(void)
{
	const struct account *x = account("x");
	struct gather g = decent_join(x);
	must(gather_take(&g, 300) == REASON_NONE);
	int o = object_claim(g.ledger, g.slot);
	must(o >= 0 && transfer_to_object(g.ledger, g.slot, (uint32_t)o, 0, 50));
	object_publish(g.ledger, (uint32_t)o, OBJECT_FILE, 7, 8);
	struct embryo child = decent_fork(&g);
	time_pass(TICK_NS);
	must(x->members == 2);
	die_in_transfer(g.ledger, g.slot);
	time_pass(TICK_NS);
	must(x->members == 1 && object_is_held_by(g.ledger, (uint32_t)o, child.slot));
	must(PURSE_USED(purse_read(&g.ledger->header.purse)) == left_to(g.ledger, child));
	world_death(PROCESS_X + 1);
	time_pass(TICK_NS);
	must(is_healed(x));
	rest();
	must(is_healed(x));
}

static void begin(void)
{
	world_begin();
	begun_ns = world_now();
	begun = 1;
	broker_begin();
	config = world_config;
	observed = unseen = false;
	later_n = hammered = 0;
	memset(attackers, 0, sizeof attackers);
	must(broker_configure(&b, &config) == 0);
	honest_begin();
	world_birth(PROCESS_X, 0, USER_X);
	struct answer a = ask_join(PROCESS_X, "x");
	answer_take(PROCESS_X, &a);
	must(attackers[PROCESS_X].in);
	world.between = between;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	struct feed f = feed_of(input, n);
	unsigned open_before = descriptors();
	begin();
	for (int i = 0; i < STEPS && !feed_is_empty(&f); i++) {
		steps[feed_byte(&f) % ARRAY_N(steps)](&f);
		honest_check();
	}
	heal();
	decent_life();
	honest_check();
	broker_end();
	world_end();
	must(descriptors() == open_before);
	return 0;
}
