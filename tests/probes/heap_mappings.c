/* SPDX-License-Identifier: MIT */
/* Description: a heap that is freed in pieces, every other one, does not run out of mappings
 * (vm.max_map_count) while there is budget: pieces are then given back without a mapping of
 * their own, and what is given back is uncharged all the same. The kernel goes on counting
 * it, so it is shown in the ledger, for a child of fork, too.
 * Budget: 3G */
#include <malloc.h>
#include <sys/wait.h>

#include "tests/probes/ledger.h"

#define PIECES 140000
#define PIECE ((size_t)16 << 10)
#define MARKED 32 /* two neighbours of so many are written to, lest this takes memory */

static char *piece[PIECES];

static long max_map_count(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		skip("vm.max_map_count cannot be read");
	close(fd);
	return atol(text);
}

static long soft_pages(const struct ledger *l)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		if (SLOT_STATE(l->slot[s].state) == SLOT_LIVE && l->slot[s].pid == getpid())
			return (long)l->slot[s].soft;
	return -1;
}

static void soft_check(const struct ledger *l, const char *who)
{
	long soft = soft_pages(l), charged = charged_pages(), counted = kernel_pages();
	check(soft > 0, "%s: nothing is soft", who);
	check(charged + soft >= counted, "%s: %ld and %ld soft, the kernel counts %ld", who, charged, soft, counted);
	check(charged + soft < counted + 1000, "%s: %ld and %ld soft, the kernel counts %ld", who, charged, soft,
	      counted);
}

static void soft_check_child(const struct ledger *l)
{
	int status;
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		soft_check(l, "the child");
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid && status == 0);
}

static void take(int i)
{
	piece[i] = malloc(PIECE);
	check(piece[i], "piece %d, %ld mappings, %ld pages", i, mappings(), charged_pages());
	if (i % MARKED <= 1)
		piece[i][0] = (char)i;
}

int main(void)
{
	long max = max_map_count();
	if (max > 3 * PIECES / 2)
		skip("vm.max_map_count is %ld: too many to run out of", max);
	const struct ledger *ledger = ledger_find();
	for (int i = 0; i < PIECES; i++)
		take(i);
	long full = charged_pages();
	for (int i = 0; i < PIECES; i += 2)
		free(piece[i]);
	malloc_trim(0);
	long half = charged_pages(), maps = mappings();
	check(maps < max * 3 / 4, "%ld mappings of %ld", maps, max);
	check(half < full * 6 / 10, "%ld pages of %ld are still charged", half, full);
	soft_check(ledger, "the parent");
	soft_check_child(ledger);
	for (int round = 0; round < 3; round++) {
		for (int i = 2 * round; i < PIECES; i += 16)
			take(i);
		for (int i = 2 * round; i < PIECES; i += 16)
			free(piece[i]);
		malloc_trim(0);
		check(mappings() < max * 3 / 4, "%ld mappings of %ld in round %d", mappings(), max, round);
	}
	for (int i = 0; i < PIECES; i += 2)
		take(i);
	for (int i = 0; i < PIECES; i++) {
		check(i % MARKED > 1 || piece[i][0] == (char)i, "piece %d has somebody else's byte", i);
		free(piece[i]);
	}
	malloc_trim(0);
	check(charged_pages() < full / 10, "%ld pages stay charged", charged_pages());
	check(charged_pages() + soft_pages(ledger) >= kernel_pages());
	check(figures().refusals == 0);
	return 0;
}
