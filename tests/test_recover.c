/* SPDX-License-Identifier: MIT */
/* A broker that takes over from one that was killed, and ledgers that were written over. */
#include "tests/broker_next.h"

#include "daemon/state.h"
#include "reserve/transfer.h"

#define CONFIG "pool { limit = 100M } account a { limit = 64M guarantee = 8M } account b { limit = 64M guarantee = 4M }"

static void begin(void)
{
	broker_begin(CONFIG);
}

TestSuite(recover, .timeout = 30, .init = begin);

static uint32_t next_used(const char *name)
{
	return PURSE_USED(purse_read(&broker_find(&next, name)->ledger->header.purse));
}

Test(recover, finds_the_same_used_and_the_same_members)
{
	pid_t one = member("a", 1000, NULL), two = member("a", 2000, NULL), three = member("b", 3000, NULL);
	uint32_t a = used("a"), b_ = used("b"), granted = account("a")->granted;
	uint32_t epoch = account("a")->ledger->header.broker_epoch;
	take_over(CONFIG);
	cr_assert(next_used("a") == a && next_used("b") == b_);
	struct account *na = broker_find(&next, "a");
	cr_assert(na->members == 2 && broker_find(&next, "b")->members == 1 && next.registry.members == 3);
	cr_assert(na->granted == granted && !na->retired && na->ledger->header.broker_epoch == epoch + 1);
	cr_assert(registry_find(&next, na, one) && registry_find(&next, na, two));
	end_next(one);
	cr_assert(na->members == 1 && next_used("a") < a && next_used("a") >= 2000);
	end_next(two);
	end_next(three);
	cr_assert(next_used("a") == 0 && next_used("b") == 0 && !account_unclean(na));
}

/* Of another pid namespace: their pids in the ledger are the last broker's own. */
Test(recover, finds_each_in_its_own_slot_whatever_namespace_it_is_of)
{
	enum { N = 5 };
	struct peer_member m[N];
	pid_t pid[N];
	for (int i = 0; i < N; i++) {
		pid[i] = member("a", 100, &m[i]);
		account("a")->ledger->slot[m[i].slot].flags |= SLOT_FOREIGN_PID;
	}
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	cr_assert(a->members == N, "%u", a->members);
	for (int i = 0; i < N; i++) {
		struct member *found = registry_find(&next, a, pid[i]);
		cr_assert(found && member_slot(a, found) == m[i].slot);
		end_next(pid[i]);
	}
	cr_assert(next_used("a") == 0 && !account_unclean(a));
}

Test(recover, reaps_who_died_while_there_was_no_broker)
{
	pid_t one = member("a", 1000, NULL), two = member("a", 2000, NULL);
	kill(one, SIGKILL);
	waitpid(one, NULL, 0);
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	cr_assert(a->members == 1 && !registry_find(&next, a, one) && registry_find(&next, a, two));
	end_next(two);
	cr_assert(next_used("a") == 0 && !account_unclean(a));
}

/* A pid that was used again is another process. */
Test(recover, is_not_deceived_by_a_pid_that_was_used_again)
{
	struct peer_member m;
	pid_t one = member("a", 1000, &m);
	struct slot *slot = &account("a")->ledger->slot[m.slot];
	slot->start_ticks--; /* as if it had been an earlier one */
	books_note(b.books, (uint32_t)(account("a") - b.account), m.slot, one, slot->start_ticks);
	ledgers_leave(); /* the test itself maps nothing, or it would be taken for a member */
	take_over(CONFIG);
	/* it maps the ledger, so it is believed all the same; one that does not is not */
	cr_assert(broker_find(&next, "a")->members == 1);
	end_next(one);
	cr_assert(next_used("a") == 0);
}

/* One that called execve maps it no more; that it was in its slot is in the books. */
Test(recover, finds_who_does_not_map_its_ledger)
{
	struct peer_member m;
	int line[2];
	struct peer_member *own = mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(pipe(line) == 0);
	pid_t one = fork_tied();
	if (one == 0) {
		if (peer_join(door_name, "a", own) == 0 && peer_take(own, 1000) == REASON_NONE)
			ledger_unmap(own->ledger);
		for (char said = own->ledger ? 'y' : 'n'; write(line[1], &said, 1) == 1;)
			pause();
	}
	cr_assert(turn_until_said(line[0]) == 'y');
	m = *own;
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	next_turns_ms(60);
	cr_assert(registry_find(&next, a, one) == &a->member[m.slot] && !a->damaged && next_used("a") >= 1000);
	end_next(one);
	cr_assert(next_used("a") == 0 && !account_unclean(a));
}

/* A member may write anybody's name, and when he began, into a slot. */
Test(recover, does_not_believe_a_ledger_that_names_a_stranger)
{
	struct proc_stat st;
	pid_t stranger = fork_tied();
	if (stranger == 0)
		for (;;)
			pause();
	int s = slot_claim(account("a")->ledger, SLOT_LIVE, 0);
	cr_assert(s >= 0 && proc_stat(stranger, &st) == 0);
	struct slot *slot = &account("a")->ledger->slot[s];
	slot->pid = stranger;
	slot->start_ticks = st.start_ticks;
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	cr_assert(a->members == 0 && !registry_find(&next, a, stranger));
	next_turns_ms(60);
	cr_assert(SLOT_STATE(slot_read(a->ledger, (uint32_t)s)) == SLOT_FREE && a->members == 0 && !a->damaged);
	end_next(stranger);
}

/* In a slot of the last broker's own, where that one was killed, or a member wrote: with a start time that
 * shows nothing. */
Test(recover, gives_up_an_unattached_slot_of_a_stranger)
{
	pid_t stranger = fork_tied();
	if (stranger == 0)
		for (;;)
			pause();
	int s = slot_claim(account("a")->ledger, SLOT_UNATTACHED, 0);
	cr_assert(s >= 0);
	account("a")->ledger->slot[s].pid = stranger;
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	next_turns_ms(60);
	cr_assert(!a->damaged && a->members == 0);
	cr_assert(SLOT_STATE(slot_read(a->ledger, (uint32_t)s)) == SLOT_FREE && !account_unclean(a));
	end_next(stranger);
}

/* Whom a broker did not find is not found by the one after it. */
Test(recover, notes_only_who_is_watched)
{
	struct peer_member m;
	pid_t one = member("a", 1000, &m);
	const uint64_t *note = &b.books->watched[account("a") - b.account][m.slot];
	cr_assert(*note != 0);
	end(one);
	cr_assert(*note == 0);
	one = member("a", 1000, &m);
	cr_assert(*note != 0);
	kill(one, SIGKILL);
	waitpid(one, NULL, 0);
	take_over(CONFIG);
	cr_assert(*note == 0, "both have the same books");
}

Test(recover, settles_a_join_that_was_cut_short)
{
	/* The slot was claimed, and then the broker was killed. */
	int s = slot_claim(account("a")->ledger, SLOT_LIVE, 0);
	cr_assert(s >= 0);
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	next_turns_ms(1300);
	cr_assert(SLOT_STATE(slot_read(a->ledger, (uint32_t)s)) == SLOT_FREE && !account_unclean(a) && !a->damaged);
}

Test(recover, settles_a_reaping_that_was_cut_short)
{
	struct peer_member m;
	pid_t one = member("a", 1000, &m);
	kill(one, SIGKILL);
	waitpid(one, NULL, 0);
	struct ledger *l = account("a")->ledger;
	transfer_reap(l, m.slot, m.slot); /* its purse is empty, its slot is not free yet */
	take_over(CONFIG);
	cr_assert(next_used("a") == 0 && !account_unclean(broker_find(&next, "a")));
}

/* The slot of a parent may lie above its embryo's: it is looked at later. */
Test(recover, gives_back_the_embryo_of_a_parent_that_died_while_there_was_no_broker)
{
	struct peer_member m;
	struct embryo e;
	pid_t before = member("a", 10, NULL), one = member("a", 1000, &m), two = member("a", 2000, NULL);
	end(before);
	struct gather g = { .ledger = account("a")->ledger, .slot = m.slot, .generation = m.generation }; /* in its name */
	cr_assert(embryo_conceive(&g, 500, &e) == REASON_NONE && e.slot < m.slot);
	kill(one, SIGKILL);
	waitpid(one, NULL, 0);
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	next_turns_ms(200);
	cr_assert(SLOT_STATE(slot_read(a->ledger, e.slot)) == SLOT_FREE && a->members == 1 && !a->damaged);
	cr_assert(next_used("a") >= 2000 && next_used("a") < 2500, "%u", next_used("a"));
	end_next(two);
	cr_assert(next_used("a") == 0 && !account_unclean(a));
}

Test(recover, accepts_either_side_of_a_grant_that_was_cut_short)
{
	struct account *a = account("a");
	/* books.next was written, then the ledger; books.granted was not. */
	a->book->next = 5000;
	a->ledger->header.purse.word = PURSE(5000, 0);
	account("b")->book->next = 7000; /* here the ledger was not */
	take_over(CONFIG);
	cr_assert(!broker_find(&next, "a")->damaged && broker_find(&next, "a")->granted == 5000);
	cr_assert(!broker_find(&next, "b")->damaged && broker_find(&next, "b")->granted == 1024);
}

Test(recover, finishes_a_reload_that_was_cut_short)
{
	struct account *a = account("a");
	pid_t one = member("a", 1000, NULL);
	a->book->policy.limit = 8192; /* the books have it, the ledger does not */
	a->ledger->header.warn = 77;  /* or the ledger has half of it */
	take_over("account a { limit = 32M guarantee = 8M }\naccount b { }");
	a = broker_find(&next, "a");
	cr_assert(!a->damaged && account_is_sound(a) && a->members == 1);
	cr_assert(a->ledger->header.limit == 8192 && a->ledger->header.warn != 77);
	end_next(one);
	cr_assert(next_used("a") == 0 && !account_unclean(a));
}

Test(recover, does_not_believe_a_ledger_that_claims_more_than_the_books)
{
	struct peer_member m;
	pid_t one = member("a", 1000, &m);
	account("a")->ledger->header.purse.word = PURSE(16000, 1000);
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	cr_assert(a->damaged && a->granted < 4000, "its share is what the books say: %u", a->granted);
	cr_assert(!broker_find(&next, "b")->damaged);
	end_next(one);
}

Test(recover, heals_a_ledger_whose_header_is_gone)
{
	memset(account("a")->ledger, 0xa5, LEDGER_BYTES);
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	cr_assert(a && a->damaged);
	until(!a->damaged && account_is_sound(a) && !account_unclean(a) && a->granted == 2048, next_turns_ms);
}

Test(recover, keeps_an_account_that_left_the_configuration_while_it_has_members)
{
	pid_t one = member("b", 1000, NULL);
	take_over("account a { }");
	struct account *old = broker_find(&next, "b");
	cr_assert(old && old->retired && old->members == 1);
	next_turns_ms(1100);
	cr_assert(broker_find(&next, "b"));
	end_next(one);
	next_turns_ms(1100);
	cr_assert(!broker_find(&next, "b") && broker_find(&next, "a"));
	cr_assert(next.keeper_stale);
}

Test(recover, begins_anew_without_books)
{
	struct kept k = keep();
	close(k.books);
	k.books = dup(k.ledger[0]); /* anything but books */
	cr_assert(broker_init(&next) == 0);
	audit_stop(&next);
	recover(&next, &k);
	cr_assert(broker_configure(&next, config_of(CONFIG)) == 0);
	cr_assert(broker_find(&next, "a")->inode != account("a")->inode);
}

Test(recover, refuses_a_ledger_that_is_not_in_the_books)
{
	struct kept k = keep();
	close(k.ledger[0]);
	k.ledger[0] = ledger_create("a");
	cr_assert(broker_init(&next) == 0);
	audit_stop(&next);
	recover(&next, &k);
	cr_assert(!broker_find(&next, "a") && broker_find(&next, "b"));
}

/* --- a reload --- */

Test(recover, follows_a_limit_that_was_lowered_as_use_falls)
{
	struct peer_member m;
	pid_t one = member("a", 8000, &m);
	cr_assert(broker_configure(&b, config_of("account a { limit = 16M }\naccount b { }")) == 0);
	struct account *a = account("a");
	cr_assert(a->ledger->header.limit == 4096 && a->granted == used("a") && a->granted >= 8000);
	purse_give(&m.ledger->slot[m.slot].purse, 7000);
	transfer_return(a->ledger, m.slot, m.slot, 7000);
	turn_for_ms(1200);
	cr_assert(a->granted == 4096 && !a->damaged && !a->unsettled, "%u", a->granted);
	end(one);
}

Test(recover, moves_between_enforcing_and_observing)
{
	pid_t one = member("a", 1000, NULL);
	struct account *a = account("a");
	cr_assert(broker_configure(&b, config_of("account a { limit = 16M mode = observe }")) == 0);
	cr_assert(a->granted == PAGES_MAX && a->ledger->header.mode == ACCOUNT_OBSERVE);
	cr_assert(broker_configure(&b, config_of("account a { limit = 16M guarantee = 2M }")) == 0);
	cr_assert(a->granted == used("a") && a->ledger->header.mode == ACCOUNT_ENFORCE, "%u", a->granted);
	end(one);
	cr_assert(!a->damaged && used("a") == 0);
}

Test(recover, raises_a_guarantee_at_once)
{
	cr_assert(broker_configure(&b, config_of("account a { guarantee = 32M }\naccount b { }")) == 0);
	cr_assert(account("a")->granted == 8192);
}

/* What is guaranteed to somebody new may be in another's hands: it begins with what is idle
 * there, and gets the rest when it is given up. */
Test(recover, grants_a_new_account_no_more_than_there_is)
{
	struct peer_member m;
	cr_assert(broker_configure(&b, config_of("pool { limit = 40M }\naccount a { }")) == 0);
	pid_t one = member("a", 9000, &m);
	cr_assert(broker_configure(&b, config_of("pool { limit = 40M }\naccount a { }\naccount new { guarantee = 20M }")) == 0);
	cr_assert(account("a")->granted + account("new")->granted == 10240 && account("new")->granted >= 1000);
	purse_give(&m.ledger->slot[m.slot].purse, 8000);
	transfer_return(account("a")->ledger, m.slot, m.slot, 8000);
	turn_for_ms(1200);
	cr_assert(account("new")->granted == 5120 && !account("new")->unsettled, "%u", account("new")->granted);
	end(one);
}

/* --- damage --- */

Test(recover, sees_each_word_only_the_broker_writes)
{
	struct account *a = account("a");
	struct ledger_header *h = &a->ledger->header;
	const struct {
		const char *name;
		void *at;
		size_t bytes;
	} words[] = {
		{ "magic", &h->magic, 8 },       { "version", &h->version, 4 },  { "page_bytes", &h->page_bytes, 4 },
		{ "total", &h->total_bytes, 8 }, { "slots", &h->slots, 4 },      { "objects_at", &h->objects_at, 4 },
		{ "name", h->name, 2 },          { "limit", &h->limit, 4 },      { "guarantee", &h->guarantee, 4 },
		{ "mode", &h->mode, 4 },         { "fork", &h->fork_percent, 4 }, { "warn", &h->warn, 4 },
		{ "granted", (char *)&h->purse.word + 4, 4 }, { "used", &h->purse.word, 4 },
	};
	for (size_t i = 0; i < ARRAY_N(words); i++) {
		uint8_t before[8];
		memcpy(before, words[i].at, words[i].bytes);
		cr_assert(account_is_sound(a), "before %s", words[i].name);
		memset(words[i].at, 0xee, words[i].bytes);
		cr_assert(!account_is_sound(a), "%s", words[i].name);
		memcpy(words[i].at, before, words[i].bytes);
	}
}

Test(recover, lets_nobody_pay_for_a_damaged_account)
{
	pid_t bad = member("a", 1000, NULL);
	uint32_t share = account("a")->granted;
	memset(account("a")->ledger, 0x5a, LEDGER_BYTES);
	turn_for_ms(60);
	cr_assert(account("a")->damaged && account("a")->granted == share);
	pid_t good = fork_tied();
	if (good == 0) {
		struct peer_member m;
		_exit(peer_join(door_name, "b", &m) != 0 ? 1 :
		      peer_take(&m, 25600 - share) == REASON_NONE ? 2 : /* one too many: b is limited to 64 MiB */
		      peer_take(&m, 16384) != REASON_NONE ? 3 : 0);
	}
	cr_assert(turn_until_exit(good) == 0);
	end(bad);
	cr_assert(account("a")->damaged);
	heal("a");
	cr_assert(!account("a")->damaged && account("a")->granted == 2048 && used("a") == 0);
}

Test(recover, waits_until_nobody_maps_a_damaged_ledger)
{
	pid_t bad = member("a", 1000, NULL);
	int line[2];
	cr_assert(pipe(line) == 0);
	/* One that maps it without being a member, as a child nobody was told of would. */
	pid_t lurker = fork_tied();
	if (lurker == 0) {
		struct ledger *l;
		for (char said = ledger_map(account("a")->fd, true, &l) == 0 ? 'y' : 'n'; write(line[1], &said, 1) == 1;)
			pause();
	}
	cr_assert(turn_until_said(line[0]) == 'y');
	memset(&account("a")->ledger->header, 0x5a, sizeof(struct ledger_header));
	turn_for_ms(60);
	end(bad);
	turn_until(account("a")->damage_pid == lurker);
	turn_for_ms(100);
	cr_assert(account("a")->damaged && account("a")->damage_pid == lurker);
	end(lurker);
	heal("a");
	cr_assert(!account("a")->damaged);
}

/* --- the note of the keeper --- */

Test(recover, reads_no_note_that_is_not_one)
{
	static const char *const notes[] = {
		"", "x", "solvent-keeper 1\n", "solvent-keeper 1\npid\n", "solvent-keeper 1\npid 0 start 0\nbooks 1\n",
		"solvent-keeper 1\npid 1 start 999999999999\nbooks 1\n", "solvent-keeper 2\npid 1 start 1\n",
		"solvent-keeper 1\npid -1 start 1\nbooks 0\nledger 0\n",
		"solvent-keeper 1\npid 99999999999 start 1\nbooks 0\n",
	};
	char home[] = "/tmp/solvent-state-XXXXXX", path[64];
	struct state s;
	struct kept k;
	cr_assert(mkdtemp(home) && state_open(home, 0700, &s) == 0);
	snprintf(path, sizeof path, "%s/keeper", home);
	for (size_t i = 0; i < ARRAY_N(notes); i++) {
		FILE *f = fopen(path, "w");
		fputs(notes[i], f);
		fclose(f);
		state_read(&s, &k);
		cr_assert(k.books < 0 && k.ledgers == 0 && k.keeper < 0, "note %zu", i);
	}
	unlink(path);
	state_read(&s, &k);
	cr_assert(k.books < 0 && k.ledgers == 0);
	snprintf(path, sizeof path, "%s/lock", home);
	unlink(path);
	rmdir(home);
}

/* The test plays its own keeper. */
Test(recover, opens_what_a_keeper_holds_and_nothing_else)
{
	char home[] = "/tmp/solvent-state-XXXXXX", path[64];
	struct state s;
	struct kept k;
	int ledgers[] = { account("a")->fd, STDERR_FILENO, account("b")->fd, 4711 };
	cr_assert(mkdtemp(home) && state_open(home, 0700, &s) == 0);
	cr_assert(state_note(&s, getpid(), b.books_fd, ledgers, 4) == 0);
	state_read(&s, &k);
	cr_assert(k.books >= 0 && k.ledgers == 2 && k.keeper >= 0);
	struct stat st;
	cr_assert(fstat(k.ledger[1], &st) == 0 && st.st_ino == account("b")->inode);
	state_forget(&s);
	snprintf(path, sizeof path, "%s/lock", home);
	unlink(path);
	cr_assert(rmdir(home) == 0, "nothing is left");
}
