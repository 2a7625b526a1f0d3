/* SPDX-License-Identifier: MIT */
/* Starts sequences of the exact test, each in a process, a broker and an account of its own,
 * and adds up what they saw. One that fails is played again in ever smaller parts, until no
 * step can be left out any more, and what is left is printed as calls.
 *
 *     drive [-n STEPS] [-b BARRIERS] [-s SEED] [-j JOBS]
 *
 * From the top of the tree. Ends with "N passed, N failed"; 0 when none failed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <stdbool.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/exact/tally.h"

#define STEPS_A_RUN 1000
#define STEPS_A_RUN_TOGETHER 800 /* a hundred barriers */
#define BARRIERS_A_RUN (STEPS_A_RUN_TOGETHER / STEPS_TOGETHER)
#define THREADS (ACTORS - 1)
#define RUN_SECONDS 240
#define SHRINK_RUNS 600
#define OUTPUT_BYTES ((size_t)64 << 10)

static const char *program, *jobs_text;
static uint64_t first_seed = 1, steps = 20000, barriers = 400;

/* One sequence. */
struct run {
	uint64_t seed, steps;
	unsigned threads;
	const char *budget;
	const char *only; /* a file, or NULL */
	bool verbose;
};

struct outcome {
	int status; /* 0: it passed */
	char output[OUTPUT_BYTES]; /* its end, terminated */
	struct tally tally;
};

/* --- adding up --- */

static void tally_add(struct tally *sum, const struct tally *t)
{
	sum->calls += t->calls;
	sum->refused += t->refused;
	sum->forks += t->forks;
	sum->checks += t->checks;
	sum->barriers += t->barriers;
	for (int i = 0; i < OVER_N; i++) {
		sum->over[i].checks += t->over[i].checks;
		sum->over[i].most = max_u64(sum->over[i].most, t->over[i].most);
	}
}

/* --- one run --- */

static _Noreturn void run_exec(const struct run *r, int tally, int output)
{
	char seed[24], n[24], threads[8], fd[8];
	snprintf(seed, sizeof seed, "%lu", r->seed);
	snprintf(n, sizeof n, "%lu", r->steps);
	snprintf(threads, sizeof threads, "%u", r->threads);
	snprintf(fd, sizeof fd, "%d", tally);
	const char *argv[] = { "./solvent", "run", "--no-summary", "--budget", r->budget, "--", program, "-s", seed,
			       "-n", n, "-t", threads, "-w", fd, r->verbose ? "-v" : "-q",
			       r->only ? "-o" : NULL, r->only, NULL };
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(output, 2);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Keeps the end of what is said. False: nobody can say any more. */
static bool output_read(int fd, struct outcome *o)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof text);
	if (n <= 0)
		return false;
	size_t have = strlen(o->output), room = sizeof o->output - 1;
	if (have + (size_t)n > room) {
		size_t gone = have + (size_t)n - room;
		memmove(o->output, o->output + gone, have - gone);
		have -= gone;
	}
	memcpy(o->output + have, text, (size_t)n);
	o->output[have + (size_t)n] = '\0';
	return true;
}

static bool tally_read(int fd, struct outcome *o)
{
	struct tally t;
	if (read(fd, &t, sizeof t) != sizeof t)
		return false;
	tally_add(&o->tally, &t);
	return true;
}

/* Until both ends are closed by everybody, or it takes too long. */
static void run_listen(pid_t pid, int tally, int output, struct outcome *o)
{
	struct pollfd fds[] = { { .fd = tally, .events = POLLIN }, { .fd = output, .events = POLLIN } };
	double end = seconds_now() + RUN_SECONDS;
	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 2, 1000) < 0 || seconds_now() > end) {
			kill(-pid, SIGKILL);
			return;
		}
		if (fds[0].revents && !tally_read(tally, o))
			fds[0].fd = -1;
		if (fds[1].revents && !output_read(output, o))
			fds[1].fd = -1;
	}
}

static void run_do(const struct run *r, struct outcome *o)
{
	int tally[2], output[2];
	memset(&o->tally, 0, sizeof o->tally);
	o->output[0] = '\0';
	o->status = -1;
	if (pipe(tally) != 0 || pipe2(output, O_CLOEXEC) != 0)
		return;
	fcntl(tally[0], F_SETFD, FD_CLOEXEC);
	pid_t pid = fork();
	if (pid == 0)
		run_exec(r, tally[1], output[1]);
	close(tally[1]);
	close(output[1]);
	run_listen(pid, tally[0], output[0], o);
	while (waitpid(pid, &o->status, 0) < 0 && errno == EINTR)
		;
	close(tally[0]);
	close(output[0]);
}

/* --- a shorter sequence that fails, too --- */

struct shrinking {
	struct run run;
	char *only; /* one character a step */
	char path[64];
	int fd;
	unsigned runs;
};

static bool still_fails(struct shrinking *s, struct outcome *o)
{
	s->runs++;
	if (pwrite(s->fd, s->only, s->run.steps, 0) != (ssize_t)s->run.steps)
		return false;
	run_do(&s->run, o);
	return o->status != 0;
}

/* Leaves out each part of `size` steps that is not needed. */
static bool parts_drop(struct shrinking *s, uint64_t size, struct outcome *o)
{
	bool dropped = false;
	char kept[STEPS_A_RUN];
	for (uint64_t at = 0; at < s->run.steps && s->runs < SHRINK_RUNS; at += size) {
		size_t n = (size_t)min_u64(size, s->run.steps - at);
		memcpy(kept, s->only + at, n);
		if (!memchr(kept, '1', n))
			continue;
		memset(s->only + at, '0', n);
		if (still_fails(s, o))
			dropped = true;
		else
			memcpy(s->only + at, kept, n);
	}
	return dropped;
}

static void shrink(const struct run *failed, struct outcome *o)
{
	struct shrinking s = { .run = *failed, .only = malloc(failed->steps) };
	snprintf(s.path, sizeof s.path, "/tmp/exact-only-XXXXXX");
	s.fd = mkostemp(s.path, O_CLOEXEC);
	s.run.only = s.path;
	memset(s.only, '1', s.run.steps);
	for (uint64_t size = s.run.steps / 2; size > 0 && s.runs < SHRINK_RUNS;)
		if (!parts_drop(&s, size, o) || size > 1)
			size /= 2;
	s.run.verbose = true;
	if (still_fails(&s, o))
		printf("  shortest sequence found in %u runs:\n%s", s.runs, o->output);
	else
		printf("  it fails no more; replay it whole\n");
	close(s.fd);
	unlink(s.path);
	free(s.only);
}

static void failure_say(const struct run *r, struct outcome *o)
{
	const char *end = strlen(o->output) > 1500 ? o->output + strlen(o->output) - 1500 : o->output;
	printf("FAILED (status %#x): ./solvent run --no-summary --budget %s -- %s -s %lu -n %lu -t %u -v\n%s\n",
	       o->status, r->budget, program, r->seed, r->steps, r->threads, end);
	fflush(stdout);
	/* What several threads do is not the same the next time. */
	if (r->threads == 0)
		shrink(r, o);
	fflush(stdout);
}

/* --- all runs --- */

static uint64_t runs_alone(void)
{
	return (steps + STEPS_A_RUN - 1) / STEPS_A_RUN;
}

static uint64_t runs_all(void)
{
	return runs_alone() + (barriers + BARRIERS_A_RUN - 1) / BARRIERS_A_RUN;
}

/* Every other has room for everything; in the others refusals happen. A seed always has the
 * same room. */
static struct run run_number(uint64_t i)
{
	uint64_t seed = first_seed + i;
	static const char *const alone[] = { "infinity", "13M", "infinity", "16M", "infinity", "20M", "infinity", "40M" };
	static const char *const together[] = { "infinity", "40M", "infinity", "80M" };
	bool is_alone = i < runs_alone();
	return (struct run){ .seed = seed,
			     .steps = is_alone ? STEPS_A_RUN : STEPS_A_RUN_TOGETHER,
			     .threads = is_alone ? 0 : THREADS,
			     .budget = is_alone ? alone[(seed - 1) % ARRAY_N(alone)] : together[(seed - 1) % ARRAY_N(together)] };
}

struct result {
	uint64_t passed, failed;
	uint64_t not_started; /* at the first attempt */
	uint64_t under;	      /* comparisons with a charge below the kernel's count; each ends its sequence */
	struct tally tally;
};

static bool did_not_start(const struct outcome *o)
{
	return WIFEXITED(o->status) && WEXITSTATUS(o->status) == 125 && o->tally.checks == 0;
}

static void job(unsigned number, unsigned jobs, struct result *ret)
{
	struct outcome *o = malloc(sizeof *o);
	for (uint64_t i = number; i < runs_all(); i += jobs) {
		struct run r = run_number(i);
		run_do(&r, o);
		/* A program between two images may be counted twice for a moment (by its broker, which
		 * finds it without the shim), and in a small account not be let in. */
		for (int tries = 0; did_not_start(o) && tries < 5; tries++) {
			ret->not_started++;
			run_do(&r, o);
		}
		tally_add(&ret->tally, &o->tally);
		ret->passed += o->status == 0;
		ret->failed += o->status != 0;
		ret->under += strstr(o->output, "UNDER") != NULL;
		if (o->status != 0)
			failure_say(&r, o);
	}
	free(o);
}

/* Of sequences that were killed: nobody's, and marked as ours. */
static void segments_clean(void)
{
	struct shmid_ds segment;
	int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&(struct shm_info){ 0 });
	for (int i = 0; i <= last; i++) {
		int id = shmctl(i, SHM_STAT, &segment);
		if (id >= 0 && (segment.shm_perm.mode & 0777) == SEGMENT_MODE && segment.shm_nattch == 0 &&
		    segment.shm_perm.cuid == geteuid() && kill(segment.shm_cpid, 0) != 0 && errno == ESRCH)
			shmctl(id, IPC_RMID, NULL);
	}
}

static void summary_say(const struct result *sum, double seconds)
{
	static const char *const names[OVER_N] = {
		[OVER_NORESERVE] = "MAP_NORESERVE, which the kernel leaves out",
		[OVER_PROTECTED] = "made read-only again, which the kernel gives back if unwritten",
		[OVER_NO_COPY] = "MADV_DONTFORK, in a child",
		[OVER_STACK] = "the main stack, paid for and not used yet",
		[OVER_GUARD] = "guard pages of threads' stacks",
		[OVER_STALE] = "threads' stacks that libc has unmapped unseen",
		[OVER_HOLES] = "holes of shared files",
	};
	printf("%lu steps of one thread, %lu barriers of %d threads: %lu calls (%lu refused), %lu forks, %.0f s\n",
	       runs_alone() * STEPS_A_RUN, sum->tally.barriers, THREADS, sum->tally.calls, sum->tally.refused,
	       sum->tally.forks, seconds);
	printf("%lu comparisons, %lu of them with a page below the kernel's count\n", sum->tally.checks, sum->under);
	printf("above it, each page by name:\n");
	for (int i = 0; i < OVER_N; i++)
		printf("  %-64s in %9lu comparisons, %8lu pages at most\n", names[i], sum->tally.over[i].checks,
		       sum->tally.over[i].most);
	if (sum->not_started)
		printf("%lu sequences did not start and were started again\n", sum->not_started);
	printf("%lu passed, %lu failed\n", sum->passed, sum->failed);
}

static unsigned options_read(int argc, char **argv)
{
	static char path[512];
	int option;
	while ((option = getopt(argc, argv, "n:b:s:j:")) != -1)
		switch (option) {
		case 'n':
			steps = strtoul(optarg, NULL, 10);
			break;
		case 'b':
			barriers = strtoul(optarg, NULL, 10);
			break;
		case 's':
			first_seed = strtoul(optarg, NULL, 10);
			break;
		case 'j':
			jobs_text = optarg;
			break;
		default:
			exit(2);
		}
	snprintf(path, sizeof path, "%.*sexact", (int)(strlen(argv[0]) - strlen("drive")), argv[0]);
	program = path;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	return jobs_text ? (unsigned)atoi(jobs_text) : cpus < 1 ? 1 : (unsigned)cpus;
}

int main(int argc, char **argv)
{
	unsigned jobs = options_read(argc, argv);
	double start = seconds_now();
	struct result *results = mmap(NULL, jobs * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				      -1, 0), sum = { 0 };
	for (unsigned i = 0; i < jobs; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			job(i, jobs, &results[i]);
			_exit(0);
		}
	while (wait(NULL) > 0 || errno == EINTR)
		;
	for (unsigned i = 0; i < jobs; i++) {
		sum.passed += results[i].passed;
		sum.failed += results[i].failed;
		sum.not_started += results[i].not_started;
		sum.under += results[i].under;
		tally_add(&sum.tally, &results[i].tally);
	}
	segments_clean();
	summary_say(&sum, seconds_now() - start);
	return sum.failed != 0 || sum.passed != runs_all();
}
