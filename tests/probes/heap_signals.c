/* SPDX-License-Identifier: MIT */
/* Description: a signal handler whose mmap is refused may have interrupted the heap, with its
 * locks held: it hears ENOMEM, and nobody waits for himself.
 * Budget: 64M */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#include "tests/probes/probe.h"

static volatile unsigned long handled, wrong;

static void on_alarm(int signal)
{
	(void)signal;
	int error = errno;
	void *p = mmap(NULL, (size_t)256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED || errno != ENOMEM)
		wrong++;
	handled++;
	errno = error;
}

static void *churn(void *opaque)
{
	char *block[256] = { NULL };
	time_t end = time(NULL) + 3;
	(void)opaque;
	for (unsigned i = 0; i % 4096 || time(NULL) < end; i++) {
		free(block[i % 256]);
		block[i % 256] = malloc(40 + i * 2654435761u % 60000);
	}
	for (int i = 0; i < 256; i++)
		free(block[i]);
	return NULL;
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
	pthread_t thread[2];
	alarm(30); /* a deadlock ends in SIGALRM's default action */
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &often, NULL);
	for (int i = 0; i < 2; i++)
		check(pthread_create(&thread[i], NULL, churn, NULL) == 0);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	setitimer(ITIMER_PROF, &never, NULL);
	check(handled > 50, "only %lu signals", handled);
	check(wrong == 0, "%lu of %lu were not ENOMEM", wrong, handled);
	return 0;
}
