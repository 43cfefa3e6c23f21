// SPDX-License-Identifier: GPL-2.0-or-later
// Work for a just-in-time compiler: hot loops, changing types, generated functions, regular expressions, WebAssembly.
"use strict";

function hash(h, x) {
	return Math.imul(h ^ x, 0x01000193) >>> 0;
}

// Optimized for integers, then met by doubles, strings and holes: compiled, thrown away and compiled again.
function add(a, b) {
	return a + b;
}

function types() {
	let h = 0x811c9dc5;
	const kinds = [(i) => i, (i) => i + 0.5, (i) => "s" + (i & 7), (i) => [i & 3], (i) => (i & 1 ? undefined : null)];

	for (const kind of kinds)
		for (let i = 0; i < 10000; i++)
			h = hash(h, String(add(kind(i), i)).length + (add(i, 1) & 0xff));
	return h;
}

// Inline caches: one site sees ever more shapes of object.
function shapes() {
	let h = 1;
	const made = [];

	for (let n = 0; n < 40; n++)
		made.push(new Function("x", `this.p${n} = x; this.value = x * ${n};`));
	for (let round = 0; round < 100; round++)
		for (const Make of made)
			h = hash(h, new Make(round).value);
	return h;
}

// Each function is new code: some thousands of them, each made hot.
function generated() {
	let h = 7;

	for (let n = 0; n < 200; n++) {
		const f = new Function("a", `let s = ${n}; for (let i = 0; i < 300; i++) s = (s * 31 + (a ^ i) + ${n}) | 0; return s;`);

		for (let i = 0; i < 30; i++)
			h = hash(h, f(i));
	}
	return h;
}

function regexps() {
	let h = 3, text = "";

	for (let i = 0; i < 2000; i++)
		text += "word" + i + (i % 3 ? " " : ", ");
	for (let n = 0; n < 30; n++)
		h = hash(h, (text.match(new RegExp(`w(o)rd(${n}|[${n % 10}]+)\\d?\\b`, "g")) || []).length);
	return h;
}

// (func (param i32) (result i32) (local i32) loop: l = l * 31 + p, p -= 1, until p is 0)
function wasm() {
	const code = new Uint8Array([
		0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0,
		10, 30, 1, 28, 1, 1, 0x7f, 3, 0x40, 0x20, 1, 0x41, 31, 0x6c, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0,
		0x0d, 0, 0x0b, 0x20, 1, 0x0b,
	]);
	let h = 5;

	for (let n = 0; n < 10; n++) {
		const f = new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f;

		h = hash(h, f(50000 + n) >>> 0);
	}
	return h;
}

for (const part of [types, shapes, generated, regexps, wasm, generated, types])
	console.log(part.name, part().toString(16));
