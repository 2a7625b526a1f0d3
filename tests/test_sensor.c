/* SPDX-License-Identifier: MIT */
/* The machine's counters, from a /proc that is played. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/killer/sensor.h"
#include "daemon/proc.h"

static char root[64];
static struct sensor sensor;
static struct watch_policy policy;

static void file(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", root, name);
	FILE *f = fopen(path, "w");
	cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

#define MEMINFO "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable: 800 kB\nSwapTotal: 400 kB\nSwapFree: 80 kB\n"
#define PSI(some, full)                                                                                                \
	"some avg10=1.00 avg60=2.00 avg300=3.00 total=" #some "\nfull avg10=1.00 avg60=2.00 avg300=3.00 total=" #full "\n"

static void world_begin(void)
{
	char path[128];
	snprintf(root, sizeof root, "/tmp/solvent-sensor-XXXXXX");
	cr_assert(mkdtemp(root) != NULL && proc_open(root) == 0);
	snprintf(path, sizeof path, "%s/pressure", root);
	cr_assert(mkdir(path, 0700) == 0);
	file("meminfo", MEMINFO);
	policy = (struct watch_policy){ .act = { .ppm = 50000 }, .warn = { .ppm = 100000 } };
}

static void world_end(void)
{
	char command[128];
	if (sensor.open)
		sensor_close(&sensor);
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	cr_assert(system(command) == 0);
}

TestSuite(sensor, .timeout = 20, .init = world_begin, .fini = world_end);

static struct reading look(void)
{
	struct reading r;
	cr_assert(sensor_read(&sensor, &policy, 7, &r) == 0);
	return r;
}

Test(sensor, reads_what_the_machine_has)
{
	cr_assert(sensor_open(&sensor, &policy) == 0);
	struct reading r = look();
	cr_assert(r.now_ns == 7 && r.total == 1000 && r.available == 200 && r.swap_total == 100 && r.swap_free == 20);
	file("meminfo", "MemTotal: 4000 kB\nMemAvailable: 4 kB\n");
	r = look();
	cr_assert(r.available == 1 && r.swap_total == 0 && r.swap_free == 0, "by the file that is open");
}

Test(sensor, reads_the_time_lost_where_it_is_asked_for)
{
	file("pressure/memory", PSI(900000, 12345678));
	cr_assert(sensor_open(&sensor, &policy) == 0 && sensor.stall < 0 && look().stall_us == 0, "not asked for");
	sensor_close(&sensor);
	policy.stall_ppm = 1;
	cr_assert(sensor_open(&sensor, &policy) == 0 && sensor.stall >= 0);
	cr_assert(look().stall_us == 12345678, "all that could run, not some of it");
	file("pressure/memory", PSI(18446744073709551615, 22345678901234));
	cr_assert(look().stall_us == 22345678901234);
}

Test(sensor, watches_memory_where_lost_time_cannot_be_seen)
{
	static const char *const texts[] = { "", "some avg10=0.00 total=5\n", "full avg10=0.00\n", "x" };
	policy.stall_ppm = 1;
	cr_assert(sensor_open(&sensor, &policy) == 0 && sensor.stall < 0, "no such file");
	cr_assert(look().available == 200 && look().stall_us == 0);
	for (size_t i = 0; i < ARRAY_N(texts); i++) {
		sensor_close(&sensor);
		file("pressure/memory", texts[i]);
		cr_assert(sensor_open(&sensor, &policy) == 0 && sensor.stall < 0, "\"%s\"", texts[i]);
	}
	sensor_close(&sensor);
	file("pressure/memory", PSI(1, 2));
	cr_assert(sensor_open(&sensor, &policy) == 0 && sensor.stall >= 0);
	file("pressure/memory", "");
	cr_assert(look().available == 200 && look().stall_us == 0, "it is no error later, either");
}

Test(sensor, has_no_meminfo)
{
	file("meminfo", "");
	cr_assert(sensor_open(&sensor, &policy) == -ENODATA && !sensor.open);
	file("meminfo", "x\n");
	cr_assert(sensor_open(&sensor, &policy) == -EPROTO && !sensor.open);
}
