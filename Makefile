# quern: `make` builds, `make run` talks to the embedded model, `make test` checks. `make help` lists the rest.
# Out of tree in build/; SAN=asan|ubsan|tsan|asan-ubsan builds beside it in build/SAN.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

SAN     ?=
# CROSS=aarch64-linux-gnu builds for that target with its gcc, beside the native build.
CROSS   ?=
BUILD   := build$(if $(CROSS),/$(firstword $(subst -, ,$(CROSS))))$(if $(SAN),/$(SAN))
PREFIX  ?= /usr/local
DESTDIR ?=
SHARED  ?= ../shared
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
VERSION := $(shell sed -n 's/^\#define QN_VERSION "\(.*\)"/\1/p' include/quern.h)

CC      ?= cc
ifeq ($(origin CC),default)
CC      := cc
endif
AR      := ar
ifneq ($(CROSS),)
CC      := $(CROSS)-gcc
AR      := $(CROSS)-ar
endif
OPT     ?= -O2
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wstrict-prototypes -Wmissing-prototypes \
           -Wpointer-arith -Wwrite-strings
ARCH    := $(shell $(CC) -dumpmachine | cut -d- -f1)
BASELINE := $(if $(filter x86_64,$(ARCH)),-march=x86-64-v2)

SANFLAGS_asan       := -fsanitize=address
SANFLAGS_ubsan      := -fsanitize=undefined -fno-sanitize-recover=undefined
SANFLAGS_asan-ubsan := -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANFLAGS_tsan       := -fsanitize=thread
SANFLAGS_fuzz       := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -Wno-pass-failed -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
SANFLAGS            := $(SANFLAGS_$(SAN)) $(if $(SAN),-fno-omit-frame-pointer -DQN_SANITIZED=1)

PKGS    := jansson libpcre2-8 libutf8proc libmicrohttpd libxxhash libzstd sqlite3 zlib libcurl
# Prerequisites first: without them pkg-config fails with a riddle. `deps` is a no-op when everything is there.
ifneq ($(filter-out help clean layers format deps check-arm bare-tests,$(or $(MAKECMDGOALS),all)),)
DEPS_OK := $(shell scripts/deps --quiet 1>&2 && echo yes)
ifneq ($(DEPS_OK),yes)
$(error build prerequisites are missing; see the command above)
endif
endif
PKG_CONFIG := $(if $(CROSS),$(CROSS)-pkg-config,pkg-config)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

CPPFLAGS_ALL := -Iinclude -Isrc -D_GNU_SOURCE $(PKG_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL   := -std=c11 $(OPT) -g $(BASELINE) -ffp-contract=off -fno-math-errno -fvisibility=hidden -fPIC -pthread \
                $(WARN) $(SANFLAGS) $(CFLAGS)
LDFLAGS_ALL  := $(SANFLAGS) -pthread $(LDFLAGS)
LIBS         := $(PKG_LIBS) -lm -ldl

FLOORS   := base formats kernels kernels/ref text text/toolcall model engine services services/http services/api services/store services/eval services/probe services/ledger
LIB_SRC  := $(wildcard $(FLOORS:%=src/%/*.c))
ifeq ($(ARCH),x86_64)
LIB_SRC  += $(wildcard src/kernels/x86/*.c)
endif
ifeq ($(ARCH),aarch64)
LIB_SRC  += $(wildcard src/kernels/arm/*.c)
endif
CLI_SRC  := $(wildcard src/cli/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(BUILD)/%.o)

UNIT     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
KERNELS  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/kernels/test_*.c))
GOLDEN   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/golden/test_*.c))
APITESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/api/test_*.c))
ANOMALY  := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/anomaly/test_*.c))
FUZZ     := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
BENCH    := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
SCRIPTED := $(wildcard tests/cli/*.sh tests/web/*.sh)

.PHONY: all run test unit golden kernels-test anomaly asan ubsan tsan fuzz bench layers format install uninstall clean help deps tests

all: $(BUILD)/quern $(BUILD)/libquern.a $(BUILD)/libquern.so ## build quern and libquern

# Per-level flags: everything else is x86-64-v2 or ARMv8.0, so that one binary starts everywhere.
LEVEL_avx2   := -mavx2 -mfma -mf16c -mbmi2
LEVEL_avxvnni := $(LEVEL_avx2) -mavxvnni
LEVEL_avx512 := $(LEVEL_avx2) -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512
LEVEL_amx    := $(LEVEL_avx512) -mamx-tile -mamx-int8
LEVEL_neon   := -march=armv8.2-a+dotprod
LEVEL_i8mm   := $(LEVEL_neon)+i8mm

# The level of a kernel is the end of its file name.
level = $(LEVEL_$(lastword $(subst _, ,$(basename $(filter src/kernels/x86/% src/kernels/arm/%,$(1))))))

# ThreadSanitizer makes kernels many times slower. It looks at the reference and at AVX2 (QUERN_CPU=avx2); those above write to the
# same places in the same pieces, and are left as they are.
unwatched = $(if $(filter tsan,$(SAN)),$(if $(filter %_avxvnni.c %_avx512.c %_amx.c,$(1)),-fno-sanitize=thread))

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "CC $<"
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(call level,$<) $(call unwatched,$<) -MMD -MP -c $< -o $@

# The embedded model travels inside the library; a changed file must rebuild it.
$(BUILD)/src/engine/embedded.o: models/seedling-q8_0.gguf

$(BUILD)/libquern.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	@$(AR) rcs $@ $(LIB_OBJ)

$(BUILD)/libquern.so: $(LIB_OBJ)
	@echo "LD $@"
	@$(CC) -shared -Wl,-soname,libquern.so.0 $(LDFLAGS_ALL) -o $@ $(LIB_OBJ) $(LIBS)

$(BUILD)/quern: $(CLI_OBJ) $(BUILD)/libquern.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $(CLI_OBJ) $(BUILD)/libquern.a $(LIBS) -ledit

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libquern.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< $(BUILD)/libquern.a $(LIBS) -lcmocka

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libquern.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< $(BUILD)/libquern.a $(LIBS)

# Fuzz targets replay their corpus in `make test`; under clang they are libFuzzer programs.
$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libquern.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(BUILD)/libquern.a $(LIBS)
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/libquern.a
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(BUILD)/libquern.a $(LIBS)

# The official JSON Schema suite (SUITE: its draft2020-12 folder), judged with ajv from npm.
.PHONY: schema-suite
SAMPLES ?= 200
schema-suite: $(BUILD)/tests/schema/driver ## the schema compiler against JSON-Schema-Test-Suite (SUITE=.../tests/draft2020-12)
	@tests/schema/suite "$(SUITE)" $(BUILD)/tests/schema/driver $(SAMPLES)

REPLAY := $(FUZZ:%=$(BUILD)/tests/fuzz/replay_%)

run: all ## build, then chat with the embedded model (without a terminal it reads stdin)
	@$(BUILD)/quern run

tests: all $(UNIT) $(KERNELS) $(GOLDEN) $(APITESTS) $(ANOMALY) $(REPLAY) $(BUILD)/bench/soak

test: ## everything that needs no model, network or GPU, then what ../shared adds
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@SHARED=$(SHARED) BUILD=$(BUILD) scripts/test $(UNIT) $(KERNELS) $(GOLDEN) $(APITESTS) $(ANOMALY) $(REPLAY) $(SCRIPTED)

# The kernel checkers, and a decoder, without any library: what a cross build can link. Static, so that an emulator needs
# nothing either.
GROUND   := $(patsubst %.c,$(BUILD)/%.o,$(filter src/base/% src/formats/% src/kernels/% src/model/%,$(LIB_SRC)))
BARE     := $(patsubst tests/%.c,$(BUILD)/bare/%,$(wildcard tests/kernels/test_*.c) $(addprefix tests/unit/test_,base.c f16.c dequant.c packed_decoder.c))

$(BUILD)/libground.a: $(GROUND)
	@rm -f $@
	@$(AR) rcs $@ $(GROUND)

$(BUILD)/bare/%: tests/%.c $(wildcard tests/bare/*.h tests/kernels/*.h) $(BUILD)/libground.a Makefile
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS_ALL) -Itests/bare $(CFLAGS_ALL) $(LDFLAGS_ALL) -static -o $@ $< $(BUILD)/libground.a -lm

.PHONY: bare-tests check-arm
bare-tests: $(BARE)

check-arm: ## cross-build kernels and decoder for 64-bit ARM and check them, emulated (needs scripts/deps --arm)
	@command -v aarch64-linux-gnu-gcc >/dev/null || { echo "no cross compiler: run scripts/deps --arm" >&2; exit 1; }
	@$(MAKE) --no-print-directory CROSS=aarch64-linux-gnu -j$(JOBS) bare-tests
	@EMULATOR="$$(command -v qemu-aarch64 || command -v qemu-aarch64-static) -cpu max" BUILD=build/aarch64 scripts/test \
	  $(BARE:$(BUILD)/%=build/aarch64/%)

unit: ## unit tests only
	@$(MAKE) --no-print-directory -j$(JOBS) all $(UNIT)
	@SHARED=$(SHARED) BUILD=$(BUILD) scripts/test $(UNIT)

asan ubsan asan-ubsan: ## unit, kernel, anomaly tests and corpus replay under a sanitizer
	@$(MAKE) --no-print-directory SAN=$@ -j$(JOBS) sanitized-tests
	@$(MAKE) --no-print-directory SAN=$@ run-sanitized

.PHONY: asan-ubsan sanitized-tests run-sanitized
sanitized-tests: $(BUILD)/quern $(UNIT) $(KERNELS) $(APITESTS) $(ANOMALY) $(REPLAY)
run-sanitized:
	@SHARED=$(SHARED) BUILD=$(BUILD) scripts/test $(UNIT) $(KERNELS) $(APITESTS) $(ANOMALY) $(REPLAY)

# What has threads: pool, scheduler, the disk tier's writer, servers, judges. Kernel checkers have none; the pool that runs kernels in
# pieces is in same_bytes. What reads pages beside them runs a second time with kernels that are looked at. Some of these do less under
# TSan (QN_TSAN). No finding is suppressed: the first one ends its program.
$(BUILD)/tests/%.o: CPPFLAGS_ALL += $(if $(filter tsan,$(SAN)),-DQN_TSAN=1)
TSAN_UNIT  := base threads scheduler engine pages disk page loop ledger stats compare same_bytes
TSAN_TESTS := $(TSAN_UNIT:%=$(BUILD)/tests/unit/test_%) $(addprefix $(BUILD)/tests/api/test_,http models hostile transcripts) \
              $(addprefix $(BUILD)/tests/anomaly/test_,engine load cache agents)
WATCHED    := scheduler disk pages
# Where the system spreads addresses wider than TSan knows ("unexpected memory mapping"), they are not spread.
UNSPREAD    = $(shell setarch -R true 2>/dev/null && echo setarch -R)

tsan: ## what has threads, under ThreadSanitizer: a list of its own, some five minutes on two cores
	@$(MAKE) --no-print-directory SAN=tsan -j$(JOBS) tsan-tests
	@$(MAKE) --no-print-directory SAN=tsan run-tsan

.PHONY: tsan-tests run-tsan
tsan-tests: $(BUILD)/tests/tsan/planted $(TSAN_TESTS) $(BUILD)/quern $(BUILD)/bench/soak
run-tsan:
	@TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1 $(TSAN_OPTIONS)" EMULATOR="$(UNSPREAD)" SHARED=$(SHARED) BUILD=$(BUILD) \
	  scripts/test tests/tsan/planted.sh $(TSAN_TESTS) tests/tsan/soak.sh
	@TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1 $(TSAN_OPTIONS)" EMULATOR="$(UNSPREAD)" SHARED=$(SHARED) BUILD=$(BUILD) \
	  $(if $(filter x86_64,$(ARCH)),QUERN_CPU=avx2) scripts/test $(WATCHED:%=$(BUILD)/tests/unit/test_%)

FUZZ_SECONDS ?= 60
fuzz: ## libFuzzer (clang): each target for FUZZ_SECONDS (60)
	@$(MAKE) --no-print-directory SAN=fuzz CC=clang -j$(JOBS) $(FUZZ:%=build/fuzz/fuzz_%)
	@scripts/fuzz $(FUZZ_SECONDS) $(FUZZ)

bench: ## what is measured, against its bound
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BENCH)
	@BUILD=$(BUILD) bench/run

layers: ## check that every file includes only from its own floor or below
	@scripts/layers --self-test
	@scripts/layers

format: ## clang-format every C file in place
	clang-format -i $$(git ls-files '*.c' '*.h' | grep -v _tables)

deps: ## install what the build needs (Debian, apt), or say how
	@scripts/deps

install: all ## to PREFIX (/usr/local), under DESTDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/man/man1 \
	  $(DESTDIR)$(PREFIX)/share/quern/suites
	install -m755 $(BUILD)/quern $(DESTDIR)$(PREFIX)/bin/quern
	install -m644 $(BUILD)/libquern.a $(DESTDIR)$(PREFIX)/lib/libquern.a
	install -m755 $(BUILD)/libquern.so $(DESTDIR)$(PREFIX)/lib/libquern.so.0
	ln -sf libquern.so.0 $(DESTDIR)$(PREFIX)/lib/libquern.so
	install -m644 include/quern.h $(DESTDIR)$(PREFIX)/include/quern.h
	install -m644 docs/quern.1 $(DESTDIR)$(PREFIX)/share/man/man1/quern.1
	install -m644 suites/*.md $(DESTDIR)$(PREFIX)/share/quern/suites
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' docs/quern.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/quern.pc

uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/quern lib/libquern.a lib/libquern.so.0 lib/libquern.so include/quern.h \
	  share/man/man1/quern.1 lib/pkgconfig/quern.pc) $(addprefix $(DESTDIR)$(PREFIX)/share/quern/,$(wildcard suites/*.md))

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z][a-z -]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{printf "  make %-26s %s\n", $$1, $$2}'

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(wildcard $(BUILD)/tests/*/*.d) $(wildcard $(BUILD)/bench/*.d)
