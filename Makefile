# make help tells what there is.  Everything built goes under $(B).

CC       ?= gcc
CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wundef -Wcast-qual
HARDEN   ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
HARDEN_L ?= -pie -Wl,-z,relro,-z,now
CPPFLAGS += -D_GNU_SOURCE -DH2O_USE_LIBUV=0 -DH2O_USE_EPOLL=1 -Ilib
LIBS     := -lh2o-evloop -lssl -lcrypto -llmdb -lcurl -lyaml -lxxhash -ljansson -lpthread -ldl
B        ?= build/release
prefix   ?= /usr/local
V        ?= 0
Q        := $(if $(filter 1,$V),,@)

# Folders of lib/ that are built; `make LIB_DIRS="base http" check-unit` builds a part of the house.
LIB_DIRS ?= base http table store purge site cache upstream config admin server
lib_src  := $(foreach d,$(LIB_DIRS),$(wildcard lib/$d/*.c))
lib_obj  := $(lib_src:%.c=$(B)/%.o)
T        ?=
unit_src := $(foreach d,$(LIB_DIRS),$(wildcard tests/unit/test_$d_*$(T)*.c))
units    := $(unit_src:%.c=$(B)/%)
helpers  := $(wildcard tests/unit/fake_*.c)
fuzz_src := $(foreach d,$(LIB_DIRS),$(wildcard tests/fuzz/fuzz_$d_*.c))
fuzzers  := $(fuzz_src:%.c=build/fuzz/%)
replays  := $(fuzz_src:%.c=$(B)/%)
headers  := $(foreach d,$(LIB_DIRS),$(wildcard lib/$d/*.h))

all: $(B)/selvage-edge $(B)/selvage      ## build everything

$(B)/%.o: %.c
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

$(B)/selvage-edge: $(B)/edge/main.o $(B)/edge/role.o $(guard_obj) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) -rdynamic $(LDFLAGS) -o $@ $^ $(LIBS)

cli_obj := $(patsubst %.c,$(B)/%.o,$(wildcard tools/selvage/*.c))
$(B)/selvage: $(cli_obj) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/tests/unit/test_server_%: $(B)/tests/unit/test_server_%.o $(helpers:%.c=$(B)/%.o) $(guard_obj) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) -rdynamic $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(helpers:%.c=$(B)/%.o) $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(B)/libselvage.a
	@echo '  LD      $@'
	$Q$(CC) $(CFLAGS) $(HARDEN_L) $(LDFLAGS) -o $@ $^ $(LIBS)

check-unit: $(units)                     ## unit tests; T=freshness picks by name
	@for t in $(units); do ./$$t || exit 1; done

check-replay: $(replays)                 ## every fuzzer's corpus and regression inputs, once
	@for f in $(replays); do n=$$(basename $$f); ./$$f tests/fuzz/corpus/$$n tests/fuzz/regression/$$n || exit 1; done

asan ubsan tsan:                         ## unit tests under a sanitizer
	$(MAKE) check-unit B=build/$@ HARDEN= HARDEN_L= CFLAGS='-O1 -g -fno-omit-frame-pointer $($@_flags)'
asan_flags  := -fsanitize=address
ubsan_flags := -fsanitize=undefined -fno-sanitize-recover=undefined
tsan_flags  := -fsanitize=thread

FUZZ_SECONDS ?= 60
fuzz: $(fuzzers)                         ## each fuzzer for FUZZ_SECONDS
	@for f in $(fuzzers); do n=$$(basename $$f); mkdir -p build/fuzz/corpus/$$n; \
	    ./$$f -max_total_time=$(FUZZ_SECONDS) build/fuzz/corpus/$$n $$(ls -d tests/fuzz/corpus/$$n tests/fuzz/regression/$$n 2>/dev/null) || exit 1; done

fuzz_lib := $(filter-out lib/server/%,$(lib_src))
build/fuzz/%: %.c $(fuzz_lib)
	@mkdir -p $(@D)
	@echo '  FUZZ    $@'
	$Qclang -std=c11 $(CPPFLAGS) -O1 -g -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

headers:                                 ## does every header compile on its own?
	@for h in $(headers); do \
	    echo "#include \"$${h#lib/}\"" | $(CC) -std=c11 $(CPPFLAGS) -fsyntax-only -xc - || exit 1; \
	done

layers:                                  ## who includes whom; fails on what the table forbids
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' tools/layers.sh
	@CC='$(CC)' tools/layers_test.sh

mutants:                                 ## break each promise; is it noticed?
	@tools/mutants.sh

fmt:                                     ## rewrite to the house format
	clang-format -i $(wildcard lib/*/*.[ch] edge/*.[ch] tools/*/*.[ch] tests/unit/*.[ch] tests/fuzz/*.c)

clean:                                   ## remove build/
	rm -rf build

help:                                    ## this list
	@sed -n 's/^\([a-z][a-z -]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | column -ts "$$(printf '\t')"

.PHONY: all check-unit check-replay asan ubsan tsan fuzz headers layers mutants fmt clean help
.SECONDARY:
-include $(lib_obj:.o=.d) $(units:=.d) $(cli_obj:.o=.d)
