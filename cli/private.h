/* SPDX-License-Identifier: MIT */
/* A broker for one command, started by `solvent run --budget` where nothing is set up: no
 * root, no configuration file, no socket in the file system. It ends with its last member. */
#pragma once

#include "include/protocol.h"

struct private_wish {
	const char *account;  /* as private_account_name makes it */
	uint64_t limit_pages; /* PAGES_MAX: infinity */
	const char *mode;     /* enforce | observe */
	const char *fork;     /* strict | N% */
};

struct private_broker {
	char socket[64]; /* '@solvent-private-...': an abstract address, it leaves no file */
	pid_t pid;
};

/* An account's name made of a command's: its last component, anything but letters, digits,
 * '.', '_' and '-' replaced by '_'. Never empty. */
void private_account_name(const char *command, char ret_name[ACCOUNT_NAME_BYTES]);

/* The configuration for that wish, terminated; its length, or more than `n` if cut. */
int private_config(const struct private_wish *wish, char *ret_text, size_t n);

/* Starts `program` (solventd) and waits until it is ready. It is no child of ours
 * afterwards, has a session of its own, and holds none of our descriptors. 0 and `ret`,
 * or -errno after a complaint that says what it said. */
int private_start(const char *program, const struct private_wish *wish, struct private_broker *ret);

/* Ends it: for when the command could not be started after all. */
void private_end(const struct private_broker *broker);
