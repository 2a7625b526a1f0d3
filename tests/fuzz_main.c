/* SPDX-License-Identifier: MIT */
/* Replays inputs without libFuzzer, so that every find stays a test that needs no clang.
 * Each file, or each file of a directory, once; an input that takes longer than
 * PATIENCE_S ends the program by SIGALRM. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz.h"

#define PATIENCE_S 20
#define INPUT_BYTES ((size_t)1 << 20)

static unsigned replayed;

static void file_replay(const char *path)
{
	uint8_t *input = malloc(INPUT_BYTES);
	FILE *f = fopen(path, "re");
	if (!f || !input) {
		perror(path);
		exit(1);
	}
	size_t n = fread(input, 1, INPUT_BYTES, f);
	fclose(f);
	/* Shown only when this one is the last. */
	fprintf(stderr, "%s\n", path);
	alarm(PATIENCE_S);
	LLVMFuzzerTestOneInput(input, n);
	alarm(0);
	free(input);
	replayed++;
}

static void directory_replay(const char *path)
{
	char file[4096];
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.')
			file_replay(file);
	}
	if (d)
		closedir(d);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			directory_replay(argv[i]);
		else
			file_replay(argv[i]);
	}
	/* The empty input, always: it has no file. */
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	printf("%u inputs\n", replayed);
	return replayed == 0;
}
