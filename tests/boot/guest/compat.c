/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 32-bit program without a library, for a 64-bit kernel: arithmetic, calls, strings, a thread area in GS, signals, and what
 * the same code does when it jumps to 64-bit mode and back. It prints what the host must print too.
 */
typedef unsigned int u32;
typedef unsigned long long u64;

static long syscall3(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return ret;
}

enum { SYS_EXIT = 1, SYS_WRITE = 4, SYS_GETPID = 20, SYS_KILL = 37, SYS_SIGACTION = 174, SYS_SET_THREAD_AREA = 243 };

static void print(const char *name, u64 val)
{
	char line[64];
	unsigned n = 0;

	while (*name)
		line[n++] = *name++;
	line[n++] = ' ';
	for (int shift = 60; shift >= 0; shift -= 4)
		line[n++] = "0123456789abcdef"[val >> shift & 15];
	line[n++] = '\n';
	syscall3(SYS_WRITE, 1, (long)line, n);
}

static u32 seed = 12345;

static u32 next(void)
{
	seed = seed * 1103515245 + 12345;
	return seed >> 8;
}

static u32 fib(u32 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void sort(u32 *a, int n)
{
	for (int i = 1; i < n; i++) {
		u32 v = a[i];
		int j = i;

		for (; j && a[j - 1] > v; j--)
			a[j] = a[j - 1];
		a[j] = v;
	}
}

static u64 sums(void)
{
	static u32 a[2000];
	u64 sum = 0;

	for (int i = 0; i < 2000; i++)
		a[i] = next();
	sort(a, 2000);
	for (u32 i = 0; i < 2000; i++)
		sum = sum * 31 + a[i] / (i + 1) + ((u64)a[i] * a[1999 - i] >> 7);
	return sum;
}

static u32 strings(void)
{
	static unsigned char from[5000], to[5000];
	u32 left = 5000, found = 5000;
	void *s = from, *d = to, *e = to;

	for (int i = 0; i < 5000; i++)
		from[i] = (unsigned char)next();
	__asm__ volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(left) : : "memory");
	to[4321] ^= 1;
	s = from;
	d = to;
	left = 5000;
	__asm__ volatile("repe cmpsb" : "+S"(s), "+D"(d), "+c"(left) : : "memory", "cc");
	__asm__ volatile("repne scasb" : "+D"(e), "+c"(found) : "a"(to[2]) : "memory", "cc");
	return left << 16 | found;
}

/* A segment that is not flat: the thread area of libraries. */
static u32 thread_area(void)
{
	static u32 area[4] = { 11, 22, 33, 44 };
	struct {
		u32 entry, base, limit, flags;
	} desc = { ~0u, (u32)area, 0xfffff, 0x51 }; /* 32-bit, in pages, usable */
	u32 sum = 0, v;

	if (syscall3(SYS_SET_THREAD_AREA, (long)&desc, 0, 0))
		return 0;
	__asm__ volatile("mov %w0, %%gs" : : "r"(desc.entry << 3 | 3));
	for (u32 i = 0; i < 100000; i++) {
		__asm__ volatile("mov %%gs:(,%1,4), %0" : "=r"(v) : "r"(i & 3));
		sum += v;
	}
	return sum;
}

static volatile u32 signals;

static void on_signal(int sig)
{
	signals += (u32)sig;
}

__asm__("restorer: pop %eax\n mov $119, %eax\n int $0x80"); /* sigreturn */
extern void restorer(void);

static u32 signal_storm(void)
{
	struct {
		void (*handler)(int);
		u32 flags;
		void (*restorer)(void);
		u32 mask[2];
	} sa = { on_signal, 0x04000000 /* SA_RESTORER */, restorer, { 0, 0 } };
	long pid = syscall3(SYS_GETPID, 0, 0, 0), ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(SYS_SIGACTION), "b"(10), "c"(&sa), "d"(0), "S"(8) : "memory");
	for (int i = 0; i < 100 && !ret; i++)
		syscall3(SYS_KILL, pid, 10, 0);
	return signals;
}

/* The same bytes at the same address in both sizes: INC RAX there, DEC EAX and INC EAX here. Far calls take Linux's selectors. */
__asm__("both: .byte 0x48, 0xff, 0xc0\n lret");
u32 call_64(u32 rounds);
__asm__("call_64: mov 4(%esp), %ecx\n xor %eax, %eax\n"
	"1: lcall $0x33, $both64\n lcall $0x23, $both\n dec %ecx\n jnz 1b\n ret\n"
	"both64: .byte 0x48, 0xff, 0xc0, 0xcb\n");

void start(void);
void start(void)
{
	print("fib", fib(24));
	print("sums", sums());
	print("strings", strings());
	print("thread area", thread_area());
	print("signals", signal_storm());
	print("both modes", call_64(1000));
	syscall3(SYS_EXIT, 0, 0, 0);
}
