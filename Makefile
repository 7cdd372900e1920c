# make help tells what there is.  Everything built goes under $(B).

CC       ?= gcc
CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wundef -Wcast-qual
HARDEN   ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
HARDEN_L ?= -pie -Wl,-z,relro,-z,now
CPPFLAGS += -D_GNU_SOURCE -DH2O_USE_LIBUV=0 -DH2O_USE_EPOLL=1 -Ilib
LIBS     := -lh2o-evloop -lssl -lcrypto -llmdb -lcurl -lyaml -lxxhash -ljansson -lmaxminddb -lm -lpthread -ldl
B        ?= build/release
prefix   ?= /usr/local
DESTDIR  ?=
define newline


endef
V        ?= 0
Q        := $(if $(filter 1,$V),,@)

# Folders of lib/ that are built; `make LIB_DIRS="base http" check-unit` builds a part of the house.
LIB_DIRS ?= base http table store purge release site geo cache upstream config admin server
lib_src  := $(foreach d,$(LIB_DIRS),$(wildcard lib/$d/*.c))
lib_obj  := $(lib_src:%.c=$(B)/%.o)
T        ?=
unit_src := $(foreach d,$(LIB_DIRS),$(wildcard tests/unit/test_$d_*$(T)*.c))
units    := $(unit_src:%.c=$(B)/%)
helpers  := $(wildcard tests/unit/fake_*.c) tests/model/model.c
fuzz_src := $(foreach d,$(LIB_DIRS),$(wildcard tests/fuzz/fuzz_$d_*.c))
fuzzers  := $(fuzz_src:%.c=build/fuzz/%)
replays  := $(fuzz_src:%.c=$(B)/%)
headers  := $(foreach d,$(LIB_DIRS),$(wildcard lib/$d/*.h))

# Two cores are two compilers; `make J=1` is for reading errors.
J        ?= $(shell nproc)
MAKEFLAGS += -j$(J)
# How many end-to-end tests run at once: they wait more than they work.
N        ?= 4

all: $(B)/selvage-edge $(B)/selvage-shield $(B)/selvage      ## build everything

deps:                                    ## install the Debian packages that are missing, as root or by sudo
	@tools/deps.sh all
deps-build deps-test deps-fuzz:
	@tools/deps.sh $(@:deps-%=%)

# Looked at before anything is compiled; when nothing is missing it costs 40 ms.
$(B)/%.o: %.c | deps-build
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$Q$(CC) -std=c11 $(CPPFLAGS) $(CFLAGS) $(HARDEN) $(WARN) -MMD -MP -c -o $@ $<

# libh2o's inline functions do not know our warnings.
$(B)/lib/server/%.o: WARN := -Wall -Wextra -Wno-unused-parameter -Wshadow -Wmissing-prototypes -Wvla

# The guards interpose functions of libh2o: inside an archive they would be dropped silently, so they are linked as objects.
guard_obj := $(B)/lib/server/guard_h1.o $(B)/lib/server/guard_h2.o $(B)/lib/server/guard_chunked.o

$(B)/libselvage.a: $(filter-out $(guard_obj),$(lib_obj))
	@echo '  AR      $@'
	@rm -f $@
	$Q$(AR) rcs $@ $^

$(B)/selvage-edge: $(B)/edge/main.o $(B)/edge/role.o
$(B)/selvage-shield: $(B)/origin-shield/main.o $(B)/origin-shield/role.o
$(B)/selvage-edge $(B)/selvage-shield: $(guard_obj) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) -rdynamic $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

cli_obj := $(patsubst %.c,$(B)/%.o,$(wildcard tools/selvage/*.c))
$(B)/selvage: $(cli_obj) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ $(LIBS)

# For tests of size and load; none of it is installed.
load_programs := $(B)/storefill $(patsubst tests/load/%.c,$(B)/tests/load/%,$(filter-out tests/load/load.c,$(wildcard tests/load/*.c)))
load: $(load_programs)                   ## drivers of storms and floods, storefill
$(B)/storefill: $(B)/tools/offline/storefill.o $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/tests/load/%: $(B)/tests/load/%.o $(B)/tests/load/load.o
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ -lssl -lcrypto

$(B)/tests/unit/test_server_%: $(B)/tests/unit/test_server_%.o $(helpers:%.c=$(B)/%.o) $(guard_obj) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) -rdynamic $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

# The model of the RFCs is compiled where it cannot find a header of the engine.
$(B)/tests/model/%.o: CPPFLAGS := -D_GNU_SOURCE -Itests/model
$(B)/tests/unit/test_cache_model.o: CPPFLAGS += -Itests

# An archive, so that a test takes what it uses: the rest needs floors that are not always built.
$(B)/libfakes.a: $(helpers:%.c=$(B)/%.o)
	@echo '  AR      $@'
	@rm -f $@
	$Q$(AR) rcs $@ $^

$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(B)/libfakes.a $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ $(LIBS)

$(unit_src:%.c=$(B)/%.o) $(helpers:%.c=$(B)/%.o): | deps-test

check_parts := units replay headers layers e2e conformance
run_check := B='$(B)' N='$(N)' CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' HEADERS='$(headers)' UNITS='$(units)' \
             REPLAYS='$(replays)' tools/check.sh

check: all $(units) $(replays) $(load_programs) | deps-test     ## every test that fits into minutes
	@$(run_check) $(check_parts)

check-long: all $(units) $(replays) $(load_programs) $(fuzzers) | deps-test deps-fuzz      ## the rest too: long tests, sanitizers, mutants, fuzzers
	@+FUZZERS='$(fuzzers)' FUZZ_SECONDS='$(FUZZ_SECONDS)' MAKE='$(MAKE)' \
	    $(run_check) long asan ubsan tsan mutants fuzz

check-unit: $(units)                     ## unit tests; T=freshness picks by name
	@$(run_check) units

check-replay: $(replays)                 ## every fuzzer's corpus and regression inputs, once
	@$(run_check) replay

check-e2e: all | deps-test               ## end-to-end tests; K=purge picks by name
	@$(run_check) e2e

conformance: all | deps-test              ## the public suite of tests for HTTP caches; SUITE=DIR: another checkout of it
	@SELVAGE_BUILD='$(B)' tests/conformance/run.py $(if $(SUITE),--suite '$(SUITE)') $(if $(WAYS),--ways '$(WAYS)')

asan ubsan tsan: | deps-test             ## unit and end-to-end tests under a sanitizer
	@$(MAKE) --no-print-directory check-sanitized B=build/$@ HARDEN= HARDEN_L= SELVAGE_SANITIZER=$@ \
	    CFLAGS='-O1 -g -fno-omit-frame-pointer $($@_flags)'
asan_flags  := -fsanitize=address
ubsan_flags := -fsanitize=undefined -fno-sanitize-recover=undefined
tsan_flags  := -fsanitize=thread

check-sanitized: all $(units)
	@SELVAGE_SANITIZER=$(SELVAGE_SANITIZER) $(run_check) units e2e

FUZZ_SECONDS ?= 60
fuzz: $(fuzzers)                         ## each fuzzer for FUZZ_SECONDS
	@FUZZERS='$(fuzzers)' FUZZ_SECONDS='$(FUZZ_SECONDS)' tools/check.sh fuzz

fuzz_flags := -O1 -g -fsanitize=address,undefined
fuzz_obj   := $(patsubst %.c,build/fuzz/%.o,$(filter-out lib/server/%,$(lib_src)))
build/fuzz/%.o: %.c | deps-fuzz
	@mkdir -p $(@D)
	@echo '  FUZZ CC $<'
	$Qclang -std=c11 $(CPPFLAGS) $(fuzz_flags) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
build/fuzz/tests/fuzz/%: build/fuzz/tests/fuzz/%.o $(fuzz_obj)
	@echo '  FUZZ LD $@'
	$Qclang $(fuzz_flags) -fsanitize=fuzzer -o $@ $^ $(LIBS)

headers: | deps-build                    ## does every header compile on its own?
	@$(run_check) headers

layers: | deps-build                     ## who includes whom; fails on what the table forbids
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' tools/layers.sh
	@CC='$(CC)' tools/layers_test.sh

lint:                                    ## scripts, manual pages: shellcheck, mandoc, pyflakes, where they are installed
	@tools/lint.sh

mutants: | deps-test                     ## break each promise; is it noticed?  M=purge picks by name
	@J=$(J) tools/mutants.sh $(M)

demo: all                                 ## a fleet before a real origin, step by step; KEEP=1 stays up
	@B='$(B)' tools/demo.sh

bench: all                                ## server CPU a request beside nginx
	@B='$(B)' tests/bench/run.sh

man8 := $(wildcard edge/*.8 origin-shield/*.8)
man5 := $(wildcard conf/*.5 edge/*.5 origin-shield/*.5)
man1 := $(wildcard tools/selvage/*.1)
services := $(wildcard conf/systemd/*.service)
etc := $(DESTDIR)/etc
install: all                             ## DESTDIR=... prefix=/usr/local
	install -D -t $(DESTDIR)$(prefix)/sbin $(B)/selvage-edge $(B)/selvage-shield
	install -D -t $(DESTDIR)$(prefix)/bin $(B)/selvage
	$(foreach s,8 5 1,install -D -m 644 -t $(DESTDIR)$(prefix)/share/man/man$s $(man$s)$(newline))
	install -d $(DESTDIR)$(prefix)/lib/systemd/system
	for u in $(services); do sed 's,=/usr/local/,=$(prefix)/,' $$u >$(DESTDIR)$(prefix)/lib/systemd/system/$${u##*/} || exit 1; done
	install -D -m 644 -t $(DESTDIR)$(prefix)/lib/sysusers.d conf/sysusers.d/selvage.conf
	install -D -m 644 -t $(DESTDIR)$(prefix)/lib/tmpfiles.d conf/tmpfiles.d/selvage.conf
	install -d $(etc)/selvage/tls $(etc)/logrotate.d
	# What is there belongs to whoever wrote it.
	for f in edge.yaml shield.yaml sites.yaml regions.yaml peers.yaml; do \
	    [ -e $(etc)/selvage/$$f ] || install -m 644 conf/$$f $(etc)/selvage/$$f || exit 1; done
	[ -e $(etc)/selvage/tokens.yaml ] || install -m 600 conf/tokens.yaml $(etc)/selvage/tokens.yaml
	[ -e $(etc)/logrotate.d/selvage ] || install -m 644 conf/logrotate.d/selvage $(etc)/logrotate.d/selvage

IMAGE ?= selvage
BASE  ?= debian:12-slim
image:                                   ## an image of all programs, by docker or podman; IMAGE=selvage BASE=debian:12-slim
	tools/image.sh '$(IMAGE)' '$(BASE)'

uninstall:                               ## what install put there, but for the configuration
	rm -f $(addprefix $(DESTDIR)$(prefix)/sbin/,selvage-edge selvage-shield) $(DESTDIR)$(prefix)/bin/selvage \
	    $(foreach s,8 5 1,$(addprefix $(DESTDIR)$(prefix)/share/man/man$s/,$(notdir $(man$s)))) \
	    $(addprefix $(DESTDIR)$(prefix)/lib/,$(addprefix systemd/system/,$(notdir $(services))) \
	    sysusers.d/selvage.conf tmpfiles.d/selvage.conf)

fmt:                                     ## rewrite to the house format
	clang-format -i $(wildcard lib/*/*.[ch] edge/*.[ch] origin-shield/*.[ch] tools/*/*.[ch] tests/unit/*.[ch] tests/load/*.[ch] tests/fuzz/*.c)

clean:                                   ## remove build/
	rm -rf build

help:                                    ## this list
	@sed -n 's/^\([a-z][a-z0-9 -]*\):[^#]*## *\(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{printf "%-17s %s\n", $$1, $$2}'

.PHONY: all deps deps-build deps-test deps-fuzz check check-long check-unit check-replay check-e2e \
        check-sanitized conformance asan ubsan tsan fuzz headers layers lint mutants demo bench load install image uninstall fmt clean help
.SECONDARY:
-include $(fuzz_obj:.o=.d) $(lib_obj:.o=.d) $(units:=.d) $(replays:=.d) $(helpers:%.c=$(B)/%.d) $(cli_obj:.o=.d) $(wildcard $(B)/edge/*.d $(B)/origin-shield/*.d)
