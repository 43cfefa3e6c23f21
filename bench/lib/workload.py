# SPDX-License-Identifier: GPL-2.0-or-later
"""What Debian's programs are given to do, made by fixed rules."""
import random

PROCESSES_SH = """i=0
while [ $i -lt 1000 ]; do
	/bin/true
	i=$((i + 1))
done
echo $i
"""
GCC_SH = """gcc -O2 -c -o /tmp/big.o /bench/big.c && cat /tmp/big.o
"""
PYTHON_START_SH = """for i in 1 2 3 4 5; do python3 -c 'print(1)'; done
"""
PURE_PY = '''"""Pure Python: numbers, lists, dictionaries, strings, objects, generators, exceptions."""


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __add__(self, other):
        return Point(self.x + other.x, self.y - other.y)


def primes(limit):
    sieve = [True] * limit
    for n in range(2, limit):
        if sieve[n]:
            yield n
            for m in range(n * n, limit, n):
                sieve[m] = False


def queens(n, row=0, columns=0, left=0, right=0):
    if row == n:
        return 1
    total = 0
    for c in range(n):
        if not (columns >> c | left >> (row + c) | right >> (row - c + n)) & 1:
            total += queens(n, row + 1, columns | 1 << c, left | 1 << (row + c), right | 1 << (row - c + n))
    return total


def words():
    count = {}
    for n in range(60000):
        word = "w" + str(n * n % 977)
        count[word] = count.get(word, 0) + len(word)
    return sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:3]


def points():
    p = Point(0, 0)
    for n in range(60000):
        p = p + Point(n, 0.5 * n)
    return p.x, p.y


def failures():
    caught = 0
    for n in range(40000):
        try:
            caught += 10 // (n % 3)
        except ZeroDivisionError:
            caught += 1
    return caught


print(sum(primes(200000)), queens(7), words(), points(), failures())
'''


def inserts_sql():
    r = random.Random(1)
    out = ["PRAGMA journal_mode=DELETE;", "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value REAL);",
           "CREATE INDEX by_value ON t(value);"]
    for n in range(100000):
        if n % 1000 == 0:
            out.append("BEGIN;")
        out.append(f"INSERT INTO t VALUES({n}, 'name {r.randrange(10**9)}', {r.randrange(10**6) / 8});")
        if n % 1000 == 999:
            out.append("COMMIT;")
    out.append("SELECT count(*), sum(value), max(name) FROM t WHERE value > 1000;")
    out.append("DROP TABLE t;")
    return "\n".join(out) + "\n"


def c_function(r, n):
    """A function of 20 lines that later ones call."""
    def name():
        return f"f{r.randrange(n)}" if n else "twice"
    fields = r.sample(["left", "right", "up", "down"], 2)
    return f"""static __attribute__((noinline)) long f{n}(struct cell *c, long a, unsigned b)
{{
	long sum = a * {r.randrange(3, 99)}, v[{8 + n % 5}] = {{ {r.randrange(99)} }};

	for (unsigned i = 0; i < b % {r.randrange(9, 40)} + 2; i++) {{
		v[i % {8 + n % 5}] += c->{fields[0]}[i & 7] ^ sum >> {r.randrange(1, 30)};
		if ((v[i % {8 + n % 5}] & {r.choice([1, 3, 5, 9])}) == 1)
			sum -= c->{fields[1]}[(i + {r.randrange(8)}) & 7] * (long)i;
		else if (sum > {r.randrange(10**6)})
			sum = (sum >> 3) + b;
	}}
	switch (sum & 7) {{
	case 0: sum += {r.randrange(10**5)}; break;
	case 1: c->{fields[1]}[b & 7] = sum; break;
	case 3: c->ratio = c->ratio * {r.random():.4f} + (double)sum; break;
	case {4 + n % 3}: return {name()}(c, sum / 2, b / 2) + v[{r.randrange(8)}];
	default: sum ^= v[{r.randrange(8)}];
	}}
	return sum + v[0] - (long)c->ratio / 7;
}}
"""


def big_c():
    """Some 2000 lines of C."""
    r = random.Random(2)
    out = ["struct cell {", "\tlong left[8], right[8], up[8], down[8];", "\tdouble ratio;", "};", "",
           "static long twice(struct cell *c, long a, unsigned b)", "{", "\treturn a + a + c->left[b & 7];", "}", ""]
    text = "\n".join(out) + "\n" + "\n".join(c_function(r, n) for n in range(90))
    calls = "\n".join(f"\tsum += f{n}(c, sum, {n}u);" for n in range(90))
    return text + f"\nlong all(struct cell *c)\n{{\n\tlong sum = 1;\n\n{calls}\n\treturn sum;\n}}\n"


def data():
    """20 MB that is neither random nor trivial: lines of numbers and repeated words, and a binary table."""
    r = random.Random(3)
    words = ["".join(r.choice("etaoinshrdlucm") for _ in range(r.randrange(2, 9))) for _ in range(4000)]
    page = "\n".join(" ".join(words[int(4000 ** r.random()) - 1] for _ in range(11)) + f" {r.randrange(10**6)}"
                     for _ in range(70000)).encode()
    out = b""
    while len(out) < 20_000_000:
        at = r.randrange(len(page) // 2)
        out += page[at:at + 1_500_000] + bytes((n * n >> 5) & 255 for n in range(300_000)) + r.randbytes(200_000)
    return out[:20_000_000]


def write(directory):
    for name, text in (("processes.sh", PROCESSES_SH), ("gcc.sh", GCC_SH), ("python-start.sh", PYTHON_START_SH),
                       ("pure.py", PURE_PY), ("inserts.sql", inserts_sql()), ("big.c", big_c())):
        (directory / name).write_text(text)
    (directory / "data").write_bytes(data())
