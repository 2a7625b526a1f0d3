/* SPDX-License-Identifier: MIT */
/* sampler USAGE SAMPLES INTERVAL-US [MEMINFO TOTAL-MIB]: reads a cgroup's usage at every interval
 * and appends (CLOCK_MONOTONIC in ns, bytes) to SAMPLES, 64 bits each. With MEMINFO it also plays
 * a machine that has TOTAL MiB, of which the cgroup uses what it uses: what /proc/meminfo would
 * say of it is written in place, at the same moment for whoever reads it. Ends when it is told. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "tests/arena/actor.h"

enum { TEXT = 8192, BATCH = 512 };

struct sample {
	uint64_t ns, bytes;
};

static char text[TEXT];
static size_t text_n;
static volatile sig_atomic_t told;

static void tell(int signal)
{
	(void)signal;
	told = 1;
}

/* The number of a line is as wide as it ever gets (proc_meminfo.c: "%8lu kB"; ours has 10), so
 * that it is written over. */
static void number_put(const char *name, uint64_t kib)
{
	char *at = strstr(text, name), number[16];
	if (!at)
		return;
	snprintf(number, sizeof number, "%10llu", (unsigned long long)kib);
	memcpy(at + strlen(name), number, 10);
}

/* The lines of the real one, each with room for any number. */
static void text_make(void)
{
	static char name[64];
	unsigned long long kib;
	FILE *f = fopen("/proc/meminfo", "r");
	while (f && text_n < TEXT - 128 && fscanf(f, "%63s %llu%*[^\n]", name, &kib) == 2)
		text_n += (size_t)sprintf(text + text_n, "%s     %10llu kB\n", name, kib);
	if (f)
		fclose(f);
}

static void meminfo_write(int fd, uint64_t total, uint64_t used)
{
	uint64_t left = total > used ? (total - used) >> 10 : 0;
	number_put("MemTotal:     ", total >> 10);
	number_put("MemFree:     ", left);
	number_put("MemAvailable:     ", left);
	number_put("SwapTotal:     ", 0);
	number_put("SwapFree:     ", 0);
	if (pwrite(fd, text, text_n, 0) < 0)
		perror("meminfo");
}

static uint64_t usage_read(int fd)
{
	char number[32] = "";
	ssize_t n = pread(fd, number, sizeof number - 1, 0);
	return n > 0 ? strtoull(number, NULL, 10) : 0;
}

static void samples_flush(int fd, const struct sample *samples, size_t n)
{
	if (write(fd, samples, n * sizeof *samples) < 0)
		perror("samples");
}

static void sample(int usage, int samples, int meminfo, uint64_t total, uint64_t interval)
{
	static struct sample batch[BATCH];
	size_t n = 0;
	for (uint64_t next = actor_now(); !told; next += interval) {
		batch[n] = (struct sample){ actor_now(), usage_read(usage) };
		if (meminfo >= 0 && (n == 0 || batch[n].bytes != batch[n - 1].bytes))
			meminfo_write(meminfo, total, batch[n].bytes);
		if (++n == BATCH) {
			samples_flush(samples, batch, n);
			n = 0;
		}
		actor_sleep_until(next);
	}
	samples_flush(samples, batch, n);
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 6)
		return 2;
	struct sched_param first = { .sched_priority = 50 };
	actor_begin();
	signal(SIGTERM, tell);
	text_make();
	int usage = open(argv[1], O_RDONLY | O_CLOEXEC);
	int samples = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int meminfo = argc == 6 ? open(argv[4], O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
	uint64_t total = argc == 6 ? strtoull(argv[5], NULL, 10) * MIB : 0;
	if (usage < 0 || samples < 0 || mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		perror("sampler");
	if (meminfo >= 0)
		meminfo_write(meminfo, total, usage_read(usage));
	if (sched_setscheduler(0, SCHED_FIFO, &first) != 0)
		perror("sched_setscheduler");
	actor_say("ready");
	sample(usage, samples, meminfo, total, strtoull(argv[3], NULL, 10) * 1000);
	return 0;
}
