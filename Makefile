# One Makefile. `make` builds, `make check` proves, `make demo` shows, `make help` explains.
NAME    := solvent
VERSION := 0.1.0

# -- what a packager may set ------------------------------------------------
CC         ?= cc
OBJCOPY    ?= objcopy
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
CFLAGS     ?= -O2 -g
prefix     ?= /usr/local
bindir     ?= $(prefix)/bin
sbindir    ?= $(prefix)/sbin
libdir     ?= $(prefix)/lib
includedir ?= $(prefix)/include
sysconfdir ?= /etc
mandir     ?= $(prefix)/share/man
unitdir    ?= $(libdir)/systemd/system
DESTDIR    ?=

# -- variants: each has its own tree, so none ever stales another ------------
MODE  ?= release
BUILD := build/$(MODE)
mode.release :=
mode.debug   := -Og -ggdb -fno-omit-frame-pointer
mode.asan    := $(mode.debug) -fsanitize=address,undefined -fno-sanitize-recover=undefined
# Fences are between processes (reserve/ledger.c), of which ThreadSanitizer sees one.
mode.tsan    := $(mode.debug) -fsanitize=thread -Wno-tsan
mode.trap    := $(mode.debug) -fsanitize=undefined -fsanitize-undefined-trap-on-error
mode.inject  := -DSOLVENT_INJECT
mode.fuzz    := $(mode.debug) -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
$(if $(filter undefined,$(origin mode.$(MODE))),$(error MODE=$(MODE)? one of release debug trap asan tsan inject fuzz))
ifeq ($(MODE),fuzz)
CC := clang
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wundef -Wvla -Wframe-larger-than=262144 -Wimplicit-fallthrough -Wwrite-strings -Wformat=2
# -mcx16: the ledger's transfers are 16-byte compare-and-swaps (reserve/purse.c).
MACHINE := $(if $(filter x86_64%,$(shell uname -m)),-mcx16)
override CPPFLAGS += -I. -D_GNU_SOURCE -DSOLVENT_VERSION='"$(VERSION)"' -DSOLVENT_LIBDIR='"$(libdir)/$(NAME)"' \
                     -DSOLVENT_SBINDIR='"$(sbindir)"' -DSOLVENT_SYSCONFDIR='"$(sysconfdir)"'
ALL_CFLAGS = -std=gnu11 $(MACHINE) $(WARN) -fvisibility=hidden -fPIC -pthread $(mode.$(MODE)) $(CFLAGS)
LINK       = mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(LDFLAGS)

# Of a make inside this one, unless it was said how many.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

# -- rooms --------------------------------------------------------------------
obj = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $1/*.c))
RESERVE := $(call obj,reserve)
# What a child of fork runs lies together, last and before reserve/: one page fault of it less.
BIRTH   := $(patsubst %,$(BUILD)/shim/%.o,alert atfork charge fork lock map next self shared)
SHIM    := $(filter-out $(BIRTH),$(call obj,shim)) $(BIRTH)
DAEMON  := $(call obj,daemon) $(call obj,daemon/killer)
CLI     := $(call obj,cli)
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
STRESS  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/stress_*.c))
PROBES  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/probes/*.c))
PROGRAMS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/programs/*.c))
BENCH   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))
ARENA_TOOLS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/arena/*.c))
FUZZERS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(filter-out tests/fuzz_main.c tests/fuzz_world.c,$(wildcard tests/fuzz_*.c)))
# The exact test: one program that runs under the shim, one that starts it, libraries to load.
EXACT   := $(addprefix $(BUILD)/tests/exact/,exact drive small.so large.so)
# Everything but the two main()s is testable.
TESTABLE := $(RESERVE) $(filter-out %/main.o,$(DAEMON) $(CLI))

LIBRARY  := $(BUILD)/lib$(NAME).so
PRODUCTS := $(LIBRARY) $(BUILD)/$(NAME)d $(BUILD)/$(NAME)
all: $(PRODUCTS) $(NAME) $(NAME)d lib$(NAME).so

# What is built stands at the top of the tree too, so that ./solvent runs at once: what was made last,
# though another MODE's may be newer.
$(NAME) $(NAME)d lib$(NAME).so: %: $(BUILD)/% FORCE
	$(Q)[ "$$(readlink $@)" = $< ] || ln -sfn $< $@

DAEMON_LIBS = -lconfuse -lcap-ng -lseccomp
CLI_LIBS    = -ljansson -ldw
# Bound at the start: who binds a name while memory is short reads tables that may be on disk.
$(BUILD)/$(NAME)d: $(DAEMON) $(RESERVE)
	$(Q)$(LINK) -Wl,-z,relro,-z,now -o $@ $^ $(DAEMON_LIBS)
$(BUILD)/$(NAME): $(CLI) $(RESERVE)
	$(Q)$(LINK) -o $@ $^ $(CLI_LIBS)

# jemalloc from Debian's PIC archive: its libc names and its doors to the kernel are
# renamed, so that its memory passes shim/heap.c like everybody's (docs/solvent.7).
JEMALLOC ?= $(firstword $(wildcard /usr/lib/$(shell $(CC) -print-multiarch)/libjemalloc_pic.a /usr/lib/libjemalloc_pic.a))
$(BUILD)/jemalloc.a: $(JEMALLOC) shim/jemalloc.rename $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(OBJCOPY) --redefine-syms=shim/jemalloc.rename $(if $(DIRECTLY),,--redefine-sym malloc=je_malloc) $(JEMALLOC) $@
# malloc is jemalloc's own, and comes to us where its fast path ends; or, with DIRECT=no and where
# we do not know how (shim/retarget.sh), ours is in front of it.
DIRECT   ?= $(if $(filter x86_64%,$(shell uname -m)),yes,no)
DIRECTLY := $(filter yes,$(DIRECT))
$(BUILD)/shim/malloc.o: override CPPFLAGS += $(if $(DIRECTLY),-DMALLOC_DIRECT)
# The functions of its own that shim/ahead.c, arenas.c, asked.c, deserted.c, purge.c and tables.c there
# stand in front of, and the size of what the last must know the layout of.
WRAPPED := je_tsd_tcache_enabled_data_init je_arena_palloc je_tcache_cleanup je_arena_decay je_ecache_alloc_grow \
           je_base_alloc je_base_alloc_edata je_base_new je_base_boot je_rtree_leaf_elm_lookup_hard \
           je_tcache_gc_event_handler je_tcache_gc_dalloc_event_handler je_tsd_tcache_data_init \
           je_pac_maybe_decay_purge je_pac_decay_all je_pac_decay_ms_set je_arena_destroy
TREE_BYTES := $(shell nm -S $(JEMALLOC) 2>/dev/null | sed -n 's/^[0-9a-f]* \([0-9a-f]*\) B je_arena_emap_global$$/0x\1/p')
$(BUILD)/shim/tables.o: override CPPFLAGS += -DJEMALLOC_TREE_BYTES=$(TREE_BYTES)
# noseparate-code: one mapping of what is only read or run instead of three, since every process has it
# and every fork copies it.
$(LIBRARY): $(SHIM) $(RESERVE) $(BUILD)/jemalloc.a shim/shim.map shim/retarget.sh
	$(Q)$(LINK) -shared -static-libgcc -Wl,--as-needed -Wl,-soname,lib$(NAME).so -Wl,--version-script=shim/shim.map \
	    $(WRAPPED:%=-Wl,--wrap=%) -Wl,-z,defs,-z,relro,-z,now,-z,initfirst,-z,noseparate-code -o $@.linked $(SHIM) $(RESERVE) $(BUILD)/jemalloc.a -lm
	$(if $(DIRECTLY),$(Q)shim/retarget.sh $@.linked)
	$(Q)mv $@.linked $@

$(TESTS): %: %.o $(TESTABLE)
	$(Q)$(LINK) -o $@ $^ $(DAEMON_LIBS) $(CLI_LIBS) $$($(PKG_CONFIG) --libs criterion) -lm
# Something may happen at every crash point (reserve/crash.h) of what is linked with these.
POINTED := $(patsubst $(BUILD)/%,$(BUILD)/points/%,$(RESERVE) $(filter-out %/main.o,$(DAEMON)))
$(filter-out %/stress_crash,$(STRESS)): %: %.o $(RESERVE)
	$(Q)$(LINK) -o $@ $^
$(BUILD)/tests/stress_crash: $(BUILD)/points/tests/stress_crash.o $(POINTED)
	$(Q)$(LINK) -o $@ $^ $(DAEMON_LIBS)
$(BUILD)/tests/stress_storm: | $(BUILD)/tests/programs/storm
$(BUILD)/tests/exact/exact: $(filter-out %/drive.o,$(call obj,tests/exact)) $(RESERVE)
	$(Q)$(LINK) -o $@ $^ -ldl
$(BUILD)/tests/exact/drive: $(BUILD)/tests/exact/drive.o
	$(Q)$(LINK) -o $@ $<
$(BUILD)/tests/exact/%.so: $(BUILD)/tests/exact/library/%.o
	$(Q)$(LINK) -shared -fvisibility=default -o $@ $<
$(PROBES) $(PROGRAMS): %: %.o
	$(Q)$(LINK) -o $@ $< -lutil -ldl

$(ARENA_TOOLS): %: %.o
	$(Q)$(LINK) -o $@ $<
$(BENCH): %: %.o $(RESERVE)
	$(Q)$(LINK) -o $@ $^

# A fuzzer is linked with libFuzzer, or with a main() that replays inputs (tests/fuzz_main.c).
# What each puts in the place of functions of ours or of libc:
WORLD := proc_stat proc_uid proc_is_foreign proc_maps proc_in_cgroup proc_walk_open proc_walk_resume proc_walk_next proc_walk_close \
         proc_effective_uid count_open count_quick count_whole count_alone count_is_shared \
         connector_read pidfd_open accept4 getsockopt shmctl clock_ns log_line member_reap
wrap.ledger := $(WORLD)
wrap.message := $(WORLD)
wrap.state  := $(WORLD) openat open readlink
wrap.config := getpwnam
wrap.reader := client_open smaps_of statm_of start_ticks_of symbols_find reason_unattached nanosleep
wrap.proc   := openat read
WORLDLY := $(BUILD)/tests/fuzz_ledger $(BUILD)/tests/fuzz_message $(BUILD)/tests/fuzz_state
$(WORLDLY): $(BUILD)/points/tests/fuzz_world.o $(POINTED)
$(BUILD)/tests/fuzz_elf: $(BUILD)/shim/image.o
$(BUILD)/tests/fuzz_maps: $(BUILD)/shim/maps.o
fuzz.main := $(if $(filter fuzz,$(MODE)),,$(BUILD)/tests/fuzz_main.o)
$(filter-out $(WORLDLY),$(FUZZERS)): $(TESTABLE)
$(FUZZERS): $(BUILD)/tests/fuzz_%: $(BUILD)/tests/fuzz_%.o $(fuzz.main)
	$(Q)$(LINK) $(if $(fuzz.main),,-fsanitize=fuzzer) -o $@ $(sort $^) $(wrap.$*:%=-Wl,--wrap=%) $(DAEMON_LIBS) $(CLI_LIBS)

# -- one rule compiles everything; the compiler writes the dependencies -------
$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/points/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -DSOLVENT_CRASH -MMD -MP -c -o $@ $<
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# Rebuild when the flags change, not only when the files do.
FLAGS = $(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(DIRECTLY)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@

# -- proofs -------------------------------------------------------------------
# `check` needs packages that the product does not; it installs what is missing and says so.
check: packages-check
	$(Q)$(MAKE) $(JOBS) -s --no-print-directory all $(TESTS) $(STRESS) $(PROBES) $(FUZZERS) $(EXACT)
	$(Q)BUILD=$(BUILD) CC='$(CC)' MAKE='$(MAKE)' tests/check.sh

# The same where a sanitizer looks on. What is preloaded cannot have a runtime of its own, so under
# AddressSanitizer there are unit tests and the fuzzers' corpus; the shim has traps for what is
# undefined, and threads on one page map have ThreadSanitizer. In the end ./solvent is this MODE's again.
check-sanitized: packages-check
	$(Q)$(MAKE) $(JOBS) -s --no-print-directory MODE=asan PARTS='unit fuzz' parts
	$(Q)$(MAKE) $(JOBS) -s --no-print-directory MODE=trap PARTS='probes exact' parts
	$(Q)$(MAKE) -s --no-print-directory MODE=tsan build/tsan/tests/stress_pagemap
	$(Q)$(UNMOVED) build/tsan/tests/stress_pagemap
	$(Q)$(MAKE) -s --no-print-directory all
# Some parts of tests/check.sh only. Criterion loses a string that it is told.
parts.unit   = $(TESTS)
parts.fuzz   = $(FUZZERS)
parts.stress = $(STRESS)
parts.probes = all $(PROBES)
parts.exact  = all $(EXACT)
parts: $(foreach part,$(PARTS),$(parts.$(part)))
	$(Q)echo leak:criterion_handle_args >$(BUILD)/leaks
	$(Q)BUILD=$(BUILD) LSAN_OPTIONS=suppressions=$(CURDIR)/$(BUILD)/leaks \
	    $(if $(filter asan tsan,$(MODE)),$(UNMOVED)) tests/check.sh $(PARTS)
# The runtimes of old compilers want addresses where they were when those were written.
UNMOVED = $$(setarch -R true 2>/dev/null && echo setarch -R)

# The charge against the kernel's own count, after each of so many random calls and at so many
# barriers of four threads. EXACT_SEED= begins elsewhere.
EXACT_STEPS    ?= 1000000
EXACT_BARRIERS ?= 100000
EXACT_SEED     ?= 1
check-exact: packages-build
	$(Q)$(MAKE) -s --no-print-directory all $(EXACT)
	$(Q)$(BUILD)/tests/exact/drive -n $(EXACT_STEPS) -b $(EXACT_BARRIERS) -s $(EXACT_SEED)

# Real programs and longer storms: what .ci/run does beyond `check`.
check-programs: packages-programs
	$(Q)$(MAKE) --no-print-directory all $(PROGRAMS) $(STRESS) $(BENCH)
	$(Q)$(BUILD)/tests/stress_broker
	$(Q)BUILD=$(BUILD) bats tests/programs

# A refusal at every growth of a database's start, in turn (shim/inject.h).
check-inject: packages-programs
	$(Q)$(MAKE) --no-print-directory MODE=inject build/inject/libsolvent.so build/inject/solvent build/inject/solventd
	$(Q)tests/inject.py build/inject

# SIGKILL at every step of the protocol, with one to four members, and at any moment.
STORM_PASSES  ?= 12
STORM_SECONDS ?= 600
check-storm: packages-check
	$(Q)$(MAKE) --no-print-directory all $(STRESS)
	$(Q)$(BUILD)/tests/stress_crash $(STORM_PASSES)
	$(Q)$(BUILD)/tests/stress_storm $(STORM_SECONDS)

# Their own test suites, built from Debian's sources: some ten minutes.
check-suites: packages-suites
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/suites.sh

# Every order of steps of the ledger's protocol, and the mistakes that are planted in it
# (docs/model.md). MODEL=quick is seconds, ci minutes on two cores, full longer.
MODEL ?= ci
model: packages-proofs
	$(Q)tests/model/check.sh $(MODEL)

# Hostile input for FUZZ_SECONDS a fuzzer, those in FUZZ or all. `check` replays tests/corpus.
fuzz: packages-proofs
	$(Q)$(MAKE) -s --no-print-directory MODE=fuzz fuzzers
	$(Q)tests/fuzz.sh
fuzzers: $(FUZZERS)

# What it costs, beside its peers: half an hour to an hour, on a machine that does nothing else.
bench: packages-bench
	$(Q)$(MAKE) -s --no-print-directory all $(BENCH)
	$(Q)tests/bench/bench.py --build $(BUILD) $(BENCH_OPTIONS) $(BENCH_GROUPS)

# Who is killed when memory runs out, and how soon: Solvent, its peers and the kernel (as root).
# ARENA="basic fast" chooses scenarios, ARENA_OPTIONS="--killers earlyoom,solventd" and more.
ARENA_RUNS ?= 20
arena: packages-arena
	$(Q)$(MAKE) -s --no-print-directory all $(ARENA_TOOLS)
	$(Q)PYTHONDONTWRITEBYTECODE=1 tests/arena/arena.py --build $(BUILD) --runs $(ARENA_RUNS) $(ARENA_OPTIONS) $(ARENA)

demo: packages-build
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/demo.sh

packages-%:
	$(Q).ci/packages $*

headers: # every header stands alone
	$(Q)set -e; for h in include/*.h include/solvent/*.h reserve/*.h shim/*.h daemon/*.h daemon/killer/*.h cli/*.h; do \
	  test ! -e $$h || echo "#include \"$$h\"" | $(CC) $(CPPFLAGS) -std=gnu11 $(MACHINE) -fsyntax-only -x c -; done
rooms: # includes point inwards only: include <- reserve <- shim | daemon | cli
	$(Q)! grep -rnE '#include "(reserve|shim|daemon|cli)/' include
	$(Q)! grep -rnE '#include "(shim|daemon|cli)/'         reserve
	$(Q)! grep -rnE '#include "(daemon|cli)/'              shim
	$(Q)! grep -rnE '#include "(shim|cli)/'                daemon
	$(Q)! grep -rnE '#include "(shim|daemon)/'             cli
steps: # the C code and the model (tests/model) name each other's steps
	$(Q)tests/model/names.sh
exports: $(LIBRARY) # the shim exports what its map says and nothing else
	$(Q)nm -D --defined-only $< | awk '{ sub(/@.*/, "", $$3); print $$3 }' | sort -u >$(BUILD)/exports.have
	$(Q)sed -n 's/^[ \t]*\([a-zA-Z_][a-zA-Z0-9_]*\);.*/\1/p' shim/shim.map | sort -u >$(BUILD)/exports.want
	$(Q)diff $(BUILD)/exports.want $(BUILD)/exports.have
crashless: # crash points (reserve/crash.h) leave no trace in the product
	$(Q)set -e; compile() { $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -g0 -S -x c -o - - | sed '/^\t\.file/d'; }; \
	for f in $$(grep -l 'CRASH_POINT(' reserve/*.c daemon/*.c); do \
	  compile <$$f >$(BUILD)/crash.with; sed '/CRASH_POINT(/d; /crash\.h/d' $$f | compile >$(BUILD)/crash.without; \
	  test -s $(BUILD)/crash.with; cmp $(BUILD)/crash.with $(BUILD)/crash.without; done
man: # the manual pages are well-formed
	$(Q)mandoc -T lint -W warning docs/*.[1578]

install: all
	$(INSTALL) -D -m 755 $(LIBRARY)        $(DESTDIR)$(libdir)/$(NAME)/lib$(NAME).so
	$(INSTALL) -D -m 755 $(BUILD)/$(NAME)d $(DESTDIR)$(sbindir)/$(NAME)d
	$(INSTALL) -D -m 755 $(BUILD)/$(NAME)  $(DESTDIR)$(bindir)/$(NAME)
	for p in docs/*.[1578]; do $(INSTALL) -D -m 644 $$p $(DESTDIR)$(mandir)/man$${p##*.}/$${p##*/} || exit 1; done
	$(INSTALL) -D -m 644 include/solvent/solvent.h $(DESTDIR)$(includedir)/$(NAME)/solvent.h
	test -e $(DESTDIR)$(sysconfdir)/$(NAME)/solvent.conf || \
	  $(INSTALL) -D -m 644 dist/solvent.conf $(DESTDIR)$(sysconfdir)/$(NAME)/solvent.conf
	mkdir -p $(DESTDIR)$(unitdir)
	sed 's,@sbindir@,$(sbindir),; s,@sysconfdir@,$(sysconfdir),' dist/solventd.service >$(DESTDIR)$(unitdir)/solventd.service

clean:
	rm -rf build $(NAME) $(NAME)d lib$(NAME).so
format:
	clang-format -i $$(git ls-files '*.[ch]')
help:
	@echo 'make            build ./solvent, ./solventd and libsolvent.so'
	@echo 'make demo       install what the build lacks, build, and run sort under a budget'
	@echo 'make check      install what the tests lack, build, and run them'
	@echo 'make check-sanitized make check, as far as it can be, under sanitizers (10 minutes)'
	@echo 'make check-programs  PostgreSQL, Redis and others under Solvent (minutes; as root for all of it)'
	@echo 'make check-exact     the charge against the kernel, after a million random calls (15 minutes)'
	@echo 'make check-inject    PostgreSQL and Redis start with a refusal at every growth in turn'
	@echo 'make check-storm     SIGKILL at every step and for STORM_SECONDS=600 at any moment'
	@echo 'make check-suites    the suites of PostgreSQL and Redis, without Solvent and with it'
	@echo 'make fuzz       hostile input, with clang: FUZZ_SECONDS=60 FUZZ="ledger message ..."'
	@echo 'make model      every order of steps of the ledger protocol, with spin: MODEL=quick|ci|full'
	@echo 'make bench      what it costs beside its peers: BENCH_GROUPS="calls redis" BENCH_SUITE=DIR'
	@echo 'make arena      who is killed when memory runs out, beside its peers: ARENA="basic fast" ARENA_RUNS=20'
	@echo 'make install    DESTDIR= prefix= bindir= sbindir= libdir= includedir= sysconfdir= mandir= unitdir='
	@echo 'make clean      MODE=release|debug|trap|asan|tsan|inject|fuzz chooses a build tree'

ifndef V
Q = @$(if $(filter %.o,$@),echo "  CC   $<";,$(if $(filter $(BUILD)/%,$@),echo "  LD   $@";))
endif
FORCE:
.PHONY: all check check-sanitized parts check-programs check-suites check-exact check-inject check-storm model fuzz fuzzers bench arena demo headers rooms steps exports crashless man install clean format help FORCE
.SECONDARY:
.DELETE_ON_ERROR:
