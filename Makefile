# SPDX-License-Identifier: GPL-2.0-or-later
# The front door: every target does its own set-up and says what it is doing. Meson does the building.
B ?= build
PREFIX ?= /usr/local
ARGS ?=

.PHONY: all setup build run test test-long test-san fuzz check bench install clean

all: build

setup:
	@tools/setup

build: setup
	@tools/build $(B)

# The main job: an unmodified Debian kernel, in our own virtual machine, to a shell.
run: build
	@$(B)/src/doppel run $(ARGS)

test: build
	@tools/run-tests $(B)

test-long: build
	@tools/run-tests --long $(B)

# The suite under the address and undefined-behaviour sanitizers, then under the thread sanitizer.
# Under the thread sanitizer the reference engine takes longer for a tick of the guest's clock than a tick lasts: Linux gets nowhere.
test-san: setup
	@tools/build build-asan address,undefined && tools/run-tests --short build-asan
	@tools/build build-tsan thread && tools/run-tests --short --no-reference build-tsan

# make fuzz SECONDS=60: random instructions against the host CPU, and garbage into every parser and chip.
SECONDS ?= 60
fuzz: build
	@tools/run-fuzz $(B) $(SECONDS)

check:
	@tools/check-layers && tools/check-style && tools/check-headers

# make bench NAMES="programs micro": all, or some; docs/bench.md says which there are.
NAMES ?=
bench: build
	@bench/run $(B) $(NAMES)

install: build
	@meson setup --reconfigure $(B) -Dprefix="$(PREFIX)" >/dev/null && DESTDIR="$(DESTDIR)" meson install -C $(B)

clean:
	rm -rf build build-asan build-tsan
