/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that the host CPU executes: the same code runs natively and in the guest over the same block of
 * memory, and the blocks are compared; and what is re-encoded from 16- and 32-bit code, by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "cpu/interp/context.h"
#include "tiny.h"

#define BLOCK TINY_HIGH /* guest address of the block; RSI points there */
#define BLOCK_SIZE 4096u

static struct tiny *t;

static int setup(void **state)
{
	t = tiny_new();
	return 0;
}

static int teardown(void **state)
{
	tiny_free(t);
	return 0;
}

/* -- The same code here and there ------------------------------------------------------------------------ */

/* A fixed pseudo-random block; floats and doubles of moderate size at 0x200 and 0x280. */
static void fill(uint8_t *block)
{
	uint64_t x = 0x9e3779b97f4a7c15;

	for (unsigned i = 0; i < BLOCK_SIZE; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		block[i] = (uint8_t)(x >> 56);
	}
	for (unsigned i = 0; i < 32; i++) {
		float f = (float)(i + 1) / 3 * (i & 1 ? -1 : 1);

		memcpy(block + 0x200 + 4 * i, &f, sizeof(f));
	}
	for (unsigned i = 0; i < 16; i++) {
		double d = (double)(i + 1) / 7 * (i & 2 ? -1 : 1);

		memcpy(block + 0x280 + 8 * i, &d, sizeof(d));
	}
}

/* Run code, which ends in RET, with RSI = block. It may change what a function may, and nothing else. */
static void run_native(const unsigned char *code, size_t len, uint8_t *block)
{
	uint8_t *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*fn)(uint64_t, uint8_t *);

	assert_true(page != MAP_FAILED && len <= PAGE_SIZE);
	memcpy(page, code, len);
	assert_int_equal(mprotect(page, PAGE_SIZE, PROT_READ | PROT_EXEC), 0);
	fn = (void (*)(uint64_t, uint8_t *))(uintptr_t)page;
	fn(0, block);
	munmap(page, PAGE_SIZE);
}

static void run_guest(const unsigned char *code, size_t len, const uint8_t *in, uint8_t *out)
{
	uint8_t copy[PAGE_SIZE];

	memcpy(copy, code, len);
	copy[len - 1] = 0xf4; /* HLT for RET */
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr0 &= ~(CR0_EM | CR0_TS);
	t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	t->v->s.xcr0 = t->cpuid.xcr0_allowed;
	t->v->s.gpr[R_SI] = BLOCK;
	tiny_state_changed(t);
	tiny_put(t, TINY_CODE, copy, len);
	tiny_put(t, BLOCK, in, BLOCK_SIZE);
	assert_int_equal(tiny_run(t), TINY_HLT);
	tiny_get(t, BLOCK, out, BLOCK_SIZE);
}

static void compare(const unsigned char *code, size_t len, const char *needs)
{
	static _Alignas(64) uint8_t in[BLOCK_SIZE], native[BLOCK_SIZE], guest[BLOCK_SIZE];
	uint64_t executed;

	if (needs && !cpuid_has(&t->cpuid, needs))
		skip();
	fill(in);
	memcpy(native, in, sizeof(in));
	run_native(code, len, native);
	executed = t->v->stats.host_executed;
	run_guest(code, len, in, guest);
	assert_memory_equal(native, guest, BLOCK_SIZE);
	/* Other engines have ways of their own. */
	assert_true(t->v->engine != &interp_engine || t->v->stats.host_executed > executed);
}

#define BOTH(name, feature, text)                                                \
	GUEST(code_##name, 64, text "\nret\n");                                  \
	static void test_##name(void **state)                                    \
	{                                                                        \
		compare(code_##name, (size_t)(code_##name##_end - code_##name), feature); \
	}

/* Store RAX, RCX, RDX and the arithmetic flags at an offset of the block. */
#define DUMP(at)                                                                 \
	"mov %rax, " #at "(%rsi)\nmov %rcx, " #at "+8(%rsi)\nmov %rdx, " #at "+16(%rsi)\n" \
	"seto " #at "+24(%rsi)\nlahf\nmov %ah, " #at "+25(%rsi)\n"
#define LOAD "cmp %eax, %eax\nmov (%rsi), %rax\nmov 8(%rsi), %rcx\nmov 16(%rsi), %rdx\n"

BOTH(xadd, NULL,
     LOAD "xadd %rcx, %rax\n" DUMP(0x800) "xadd %cl, %ah\n" DUMP(0x820) "xadd %eax, 0x40(%rsi)\n" DUMP(0x840)
	  "lock xadd %dx, 0x50(%rsi)\n" DUMP(0x860))
BOTH(cmpxchg, "cx16",
     "push %rbx\n" LOAD "cmpxchg %rcx, %rdx\n" DUMP(0x800) "mov 0x40(%rsi), %rax\ncmpxchg %ecx, 0x40(%rsi)\n" DUMP(0x820)
	  "mov 0x60(%rsi), %rax\nmov 0x68(%rsi), %rdx\nmov 0x18(%rsi), %rbx\nlock cmpxchg16b 0x60(%rsi)\n" DUMP(0x840)
	  "lock cmpxchg16b 0x60(%rsi)\n" DUMP(0x860) "cmpxchg8b 0x70(%rsi)\n" DUMP(0x880) "pop %rbx\n")
BOTH(shift_double, NULL,
     LOAD "shld $7, %rdx, %rax\n" DUMP(0x800) "shrd %cl, %edx, %eax\n" DUMP(0x820) "shld %cl, %rax, 0x40(%rsi)\n" DUMP(0x840)
	  "mov %rsp, %r8\nmov %rax, %rsp\nshld $9, %rdx, %rsp\nmov %rsp, %rax\nmov %r8, %rsp\n" DUMP(0x860))
BOTH(bits, NULL,
     LOAD "bsf %rax, %rcx\n" DUMP(0x800) "bsr 0x20(%rsi), %eax\n" DUMP(0x820) "bswap %rdx\nbswap %eax\n" DUMP(0x840)
	  "mov $-70, %rcx\nbts %rcx, 0x100(%rsi)\n" DUMP(0x860) "mov $1234, %ecx\nlock btc %ecx, 0x100(%rsi)\n" DUMP(0x880)
	  "mov $-17, %cx\nbtr %cx, 0x100(%rsi)\n" DUMP(0x8a0) "lock btsl $40, 0x100(%rsi)\n" DUMP(0x8c0))
BOTH(lock_alu, NULL,
     LOAD "stc\nlock adc %rax, 0x40(%rsi)\n" DUMP(0x800) "lock sbb %ch, 0x48(%rsi)\n" DUMP(0x820)
	  "lock negl 0x50(%rsi)\n" DUMP(0x840) "lock incw 0x54(%rsi)\n" DUMP(0x860) "lock notb 0x56(%rsi)\n" DUMP(0x880)
	  "lock xorq $-5, 0x58(%rsi)\n" DUMP(0x8a0) "lock andl $0x12345678, %ds:0x60(%rsi)\n" DUMP(0x8c0))
BOTH(bmi, "bmi2",
     LOAD "andn %rcx, %rdx, %rax\n" DUMP(0x800) "bextr %rcx, 0x20(%rsi), %rax\n" DUMP(0x820)
	  "blsr %rax, %rcx\n" DUMP(0x840) "mulx 0x28(%rsi), %rax, %rcx\n" DUMP(0x860) "pdep %rcx, %rdx, %rax\n" DUMP(0x880)
	  "pext 0x30(%rsi), %rdx, %rcx\n" DUMP(0x8a0) "rorx $13, %rax, %rdx\nsarx %rcx, %rax, %rcx\n" DUMP(0x8c0)
	  "tzcnt %rax, %rdx\nlzcnt %ecx, %ecx\n" DUMP(0x8e0)
	  "mov %rsp, %r8\nmov %rcx, %rsp\nandn %rax, %rsp, %rdx\nmov %r8, %rsp\n" DUMP(0x900))
BOTH(adx, "adx",
     LOAD "stc\nadcx %rcx, %rax\nadox 0x20(%rsi), %rdx\n" DUMP(0x800) "crc32b 0x21(%rsi), %eax\ncrc32w %cx, %edx\n" DUMP(0x820)
	  "popcnt 0x30(%rsi), %cx\nmovbe 0x38(%rsi), %eax\nmovbe %rdx, 0x40(%rsi)\n" DUMP(0x840))

BOTH(x87, NULL,
     "fninit\nfldl 0x280(%rsi)\nfldl 0x288(%rsi)\nfadds 0x204(%rsi)\nfmul %st(1), %st\nfsqrt\n"
     "fld %st(0)\nfsin\n"
     "fstpt 0x800(%rsi)\nfbstp 0x810(%rsi)\nfistpl 0x820(%rsi)\nfldpi\nfildl 0x40(%rsi)\n"
     "fcomip %st(1), %st\nsetb 0x828(%rsi)\n"
     "fldlg2\nfpatan\nfxam\nfnstsw %ax\nmov %ax, 0x82a(%rsi)\nfnstcw 0x82c(%rsi)\nfstps 0x830(%rsi)\n"
     "fisttpll 0x838(%rsi)\n"
     "fnstsw 0x840(%rsi)\nfninit\n")
BOTH(x87_save, NULL,
     "fninit\nfld1\nfldz\nfldl 0x280(%rsi)\nfincstp\nfnsave 0x800(%rsi)\nfrstor 0x800(%rsi)\nfldpi\n"
     "fnstenv 0x900(%rsi)\n"
     ".byte 0x66\nfnstenv 0x920(%rsi)\nfldenv 0x900(%rsi)\nfstpt 0x940(%rsi)\nfnstenv 0x950(%rsi)\nfninit\n"
     /* Instruction and data pointers differ by where the code is: cut them out. */
     "movl $0, 0x80c(%rsi)\nmovl $0, 0x810(%rsi)\nmovq $0, 0x814(%rsi)\nmovl $0, 0x90c(%rsi)\n"
     "movl $0, 0x910(%rsi)\n"
     "movq $0, 0x914(%rsi)\nmovq $0, 0x926(%rsi)\nmovl $0, 0x95c(%rsi)\nmovl $0, 0x960(%rsi)\n"
     "movq $0, 0x964(%rsi)\n")
BOTH(mmx, NULL,
     "fninit\nmovq (%rsi), %mm0\nmovq 8(%rsi), %mm5\npaddsw %mm0, %mm5\npmaddwd 16(%rsi), %mm0\n"
     "pshufw $0x1b, %mm5, %mm2\n"
     "movq %mm0, 0x800(%rsi)\nmovq %mm5, 0x808(%rsi)\npmovmskb %mm2, %eax\nmov %eax, 0x810(%rsi)\n"
     "xorps %xmm1, %xmm1\ncvtpi2ps %mm5, %xmm1\nmovups %xmm1, 0x820(%rsi)\nmovq2dq %mm2, %xmm3\nmovups %xmm3, 0x830(%rsi)\n"
     "pxor %mm1, %mm1\nlea 0x840(%rsi), %rdi\nmaskmovq %mm0, %mm5\nemms\nfnstenv 0x850(%rsi)\n"
     "movl $0, 0x85c(%rsi)\nmovl $0, 0x860(%rsi)\nmovq $0, 0x864(%rsi)\nfninit\n")
BOTH(sse, NULL,
     "pxor %xmm3, %xmm3\nmovups 0x200(%rsi), %xmm0\nmovaps 0x210(%rsi), %xmm9\naddps %xmm0, %xmm9\n"
     "divps 0x220(%rsi), %xmm0\nsqrtss %xmm9, %xmm3\n"
     "cvttps2dq %xmm9, %xmm4\npshufd $0x39, (%rsi), %xmm5\npsadbw 0x10(%rsi), %xmm5\npcmpgtb %xmm5, %xmm4\n"
     "movups %xmm0, 0x800(%rsi)\nmovaps %xmm9, 0x810(%rsi)\nmovups %xmm3, 0x820(%rsi)\n"
     "movntdq %xmm4, 0x830(%rsi)\n"
     "movhpd %xmm5, 0x840(%rsi)\ncvtsi2sdq 0x20(%rsi), %xmm6\nmovlpd %xmm6, 0x848(%rsi)\n"
     "comisd %xmm6, %xmm9\n"
     "setp 0x850(%rsi)\nsetb 0x851(%rsi)\nlea 0x860(%rsi), %rdi\nmaskmovdqu %xmm9, %xmm5\n"
     "movmskps %xmm0, %eax\nmov %eax, 0x854(%rsi)\n"
     "stmxcsr 0x858(%rsi)\nandl $0xffc0, 0x858(%rsi)\nmfence\n")
BOTH(sse_rounding, NULL,
     "movl $0x7f80, 0x800(%rsi)\nldmxcsr 0x800(%rsi)\nmovups 0x200(%rsi), %xmm0\n"
     "divps 0x220(%rsi), %xmm0\ncvtps2dq %xmm0, %xmm1\n"
     "movups %xmm0, 0x810(%rsi)\nmovups %xmm1, 0x820(%rsi)\nstmxcsr 0x830(%rsi)\n"
     "movl $0x1f80, 0x800(%rsi)\nldmxcsr 0x800(%rsi)\n")
BOTH(sse4, "sse4_2",
     "movups (%rsi), %xmm0\nmovups 0x10(%rsi), %xmm1\nmovups 0x20(%rsi), %xmm2\n"
     "pblendvb %xmm0, %xmm1, %xmm2\nmpsadbw $3, 0x30(%rsi), %xmm1\n"
     "pmovsxbd 0x41(%rsi), %xmm3\npextrb $5, %xmm2, 0x800(%rsi)\npinsrd $2, 0x44(%rsi), %xmm3\n"
     "mov $7, %eax\nmov $9, %edx\n"
     "pcmpestri $0x1a, 0x53(%rsi), %xmm2\nmov %ecx, 0x804(%rsi)\nsetc 0x808(%rsi)\nsets 0x809(%rsi)\n"
     "pcmpistrm $0x48, %xmm2, %xmm1\n"
     "movups %xmm0, 0x810(%rsi)\nptest %xmm1, %xmm2\nsetz 0x80a(%rsi)\nroundpd $1, 0x280(%rsi), %xmm4\n"
     "movups %xmm1, 0x820(%rsi)\nmovups %xmm2, 0x830(%rsi)\nmovups %xmm3, 0x840(%rsi)\n"
     "movups %xmm4, 0x850(%rsi)\n")
BOTH(crypto, "aes",
     "movups (%rsi), %xmm1\nmovups 0x10(%rsi), %xmm2\naesenc 0x20(%rsi), %xmm1\n"
     "aeskeygenassist $4, %xmm2, %xmm3\n"
     "pclmulqdq $0x11, %xmm1, %xmm2\nmovups %xmm1, 0x800(%rsi)\nmovups %xmm2, 0x810(%rsi)\n"
     "movups %xmm3, 0x820(%rsi)\n")
BOTH(sha, "sha_ni",
     "movups (%rsi), %xmm0\nmovups 0x10(%rsi), %xmm1\nmovups 0x20(%rsi), %xmm2\n"
     "sha256rnds2 %xmm0, %xmm1, %xmm2\nsha1rnds4 $2, 0x30(%rsi), %xmm1\n"
     "sha256msg1 %xmm2, %xmm0\nmovups %xmm0, 0x800(%rsi)\nmovups %xmm1, 0x810(%rsi)\n"
     "movups %xmm2, 0x820(%rsi)\n")
BOTH(avx, "avx2",
     "vmovdqu (%rsi), %ymm0\nvmovups 0x200(%rsi), %ymm1\nvmovups 0x220(%rsi), %ymm12\n"
     "vaddps %ymm1, %ymm12, %ymm2\nvpaddd 0x20(%rsi), %ymm0, %ymm3\n"
     "vpermd %ymm3, %ymm0, %ymm4\nvfmadd213ps 0x240(%rsi), %ymm1, %ymm2\nvpsllvd %xmm3, %xmm0, %xmm5\n"
     "vbroadcastsd 0x280(%rsi), %ymm6\n"
     "vmovdqu %ymm2, 0x800(%rsi)\nvmovdqu %ymm3, 0x820(%rsi)\nvmovdqu %ymm4, 0x840(%rsi)\n"
     "vmovdqu %ymm5, 0x860(%rsi)\nvmovdqu %ymm6, 0x880(%rsi)\n"
     "vcvtps2ph $0, %ymm1, 0x8a0(%rsi)\nvmaskmovps %ymm1, %ymm0, 0x8c0(%rsi)\n"
     "vpmaskmovq 0x10(%rsi), %ymm0, %ymm7\nvmovdqu %ymm7, 0x8e0(%rsi)\n"
     "vextracti128 $1, %ymm4, 0x900(%rsi)\npaddd %xmm5, %xmm4\nvmovdqu %ymm4, 0x920(%rsi)\nvzeroupper\n"
     "vmovdqu %ymm4, 0x940(%rsi)\n")
BOTH(avx_gather, "avx2",
     "vpcmpeqd %ymm1, %ymm1, %ymm1\nvpsrld $23, 0x20(%rsi), %ymm2\n"
     "vpgatherdd %ymm1, 0x100(%rsi,%ymm2,4), %ymm3\nvmovdqu (%rsi), %ymm4\n"
     "vpsrlq $55, 0x40(%rsi), %xmm5\nvmovdqu 0x60(%rsi), %xmm6\nvpgatherqd %xmm6, 3(%rsi,%xmm5,2), %xmm4\n"
     "vmovdqu %ymm1, 0x1000-0x80(%rsi)\nvmovdqu %ymm3, 0x1000-0x60(%rsi)\n"
     "vmovdqu %ymm4, 0x1000-0x40(%rsi)\nvmovdqu %ymm6, 0x1000-0x20(%rsi)\nvzeroupper\n")
BOTH(avx512, "avx512bw",
     "vmovdqu64 (%rsi), %zmm0\nvmovdqa64 %zmm0, %zmm3\nvmovups 0x200(%rsi), %zmm1\n"
     "vmovups 0x240(%rsi), %zmm22\nmov $0x5a5a, %eax\nkmovw %eax, %k1\n"
     "vaddps %zmm1, %zmm22, %zmm2{%k1}{z}\nvpaddd 0x40(%rsi), %zmm0, %zmm3{%k1}\n"
     "vpmulld 0x44(%rsi){1to16}, %zmm0, %zmm4\nvpcmpud $1, %zmm0, %zmm3, %k2{%k1}\n"
     "kaddw %k1, %k2, %k3\nkmovq %k3, 0x800(%rsi)\nvmovdqu64 %zmm2, 0x840(%rsi)\n"
     "vmovdqu64 %zmm3, 0x880(%rsi)\nvmovdqu64 %zmm4, 0x8c0(%rsi)\n"
     "vdivps {rz-sae}, %zmm22, %zmm1, %zmm5\nvmovups %zmm5, 0x900(%rsi)\n"
     "vpcompressd %zmm0, 0x940(%rsi){%k1}\nvpexpandd 0x980(%rsi), %zmm6{%k1}{z}\n"
     "vmovups %zmm6, 0x9c0(%rsi)\nvpmovdb %zmm0, 0xa00(%rsi){%k1}\n"
     "vbroadcasti32x4 0x10(%rsi), %zmm7{%k1}{z}\nvmovups %zmm7, 0xa40(%rsi)\n"
     "vpternlogd $0x96, %zmm0, %zmm1, %zmm22\nvmovups %zmm22, 0xa80(%rsi)\nvpaddb %ymm22, %ymm0, %ymm17\n"
     "vmovups %zmm17, 0xac0(%rsi)\nktestw %k1, %k2\n"
     "setc 0xb00(%rsi)\nvzeroupper\n")
BOTH(avx512_gather, "avx512f",
     "mov $0xb6b6, %eax\nkmovw %eax, %k1\nkmovw %eax, %k2\nvmovdqu64 (%rsi), %zmm3\n"
     "vpsrld $23, 0x40(%rsi), %zmm18\nvpgatherdd 0x100(%rsi,%zmm18,4), %zmm3{%k1}\n"
     "vpsrlq $56, 0x80(%rsi), %zmm19\nvpscatterqd %ymm3, 0x800(%rsi,%zmm19,4){%k2}\n"
     "kmovw %k1, 0xf00(%rsi)\nkmovw %k2, 0xf02(%rsi)\nvmovdqu64 %zmm3, 0xf40(%rsi)\nvzeroupper\n")
BOTH(fs_and_rip, NULL,
     "movq 0f(%rip), %xmm1\njmp 1f\n0: .quad 0x1122334455667788\n1: paddb %xmm1, %xmm1\n"
     "movq %xmm1, 0x800(%rsi)\nmovups (%rsi), %xmm2\nmovups %xmm2, 0x810(%rsi)\n")

/* -- Stub memory ----------------------------------------------------------------------------------------- */

#define MANY (TUNE_HOSTEXEC_STUBS + 1000)

/* More different instructions than there are stubs: all is thrown away in between, and goes on. */
static void test_flush(void **state)
{
	static uint8_t code[MANY * 6 + 1];
	uint32_t reg[16][4], expected[4];
	size_t n = 0;

	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr4 |= CR4_OSFXSR;
	tiny_state_changed(t);
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 4; k++)
			reg[i][k] = i << 8 | k;
	for (unsigned i = 0; i < MANY; i++) {
		unsigned imm = i & 0xff, dst = i >> 8 & 7, src = 8 + (i >> 11);

		/* pshufd $imm, %xmmSRC, %xmmDST */
		memcpy(code + n,
		       (uint8_t[]){0x66, 0x41, 0x0f, 0x70, (uint8_t)(0xc0 | dst << 3 | (src & 7)),
				   (uint8_t)imm},
		       6);
		n += 6;
		for (unsigned k = 0; k < 4; k++)
			expected[k] = reg[src][imm >> 2 * k & 3];
		memcpy(reg[dst], expected, sizeof(expected));
	}
	code[n++] = 0xf4;
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 4; k++)
			memcpy(t->v->s.fpu.zmm[i] + 4 * k, &(uint32_t){ i << 8 | k }, 4);
	tiny_put(t, TINY_HIGH, code, n);
	for (unsigned pass = 0; pass < 2; pass++) {
		t->v->s.rip = TINY_HIGH;
		assert_int_equal(tiny_run(t), TINY_HLT);
		for (unsigned i = 0; i < 8; i++)
			assert_memory_equal(t->v->s.fpu.zmm[i], reg[i], 16);
	}
}

/* -- 16- and 32-bit code --------------------------------------------------------------------------------- */

static void enter_small(enum tiny_mode mode)
{
	tiny_enter(t, mode, 0);
	t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
	t->v->s.xcr0 = t->cpuid.xcr0_allowed;
	t->v->s.gpr[R_BX] = TINY_DATA - 0x10;
	t->v->s.gpr[R_SI] = 0x10;
	t->v->s.gpr[R_AX] = 0x11223344;
	t->v->s.gpr[R_CX] = 0x55667788;
	tiny_state_changed(t);
	tiny_poke(t, TINY_DATA, 8, 0x0102030405060708);
	tiny_poke(t, TINY_DATA + 8, 8, 0x1112131415161718);
}

GUEST(code16, 16,
      "xadd %cx, %ax\nxadd %eax, %ecx\nlock xadd %cx, (%bx,%si)\nlock addl $1, 4(%bx,%si)\n"
      "movups (%bx,%si), %xmm1\n"
      "paddb %xmm1, %xmm1\nmovups %xmm1, 16(%bx,%si)\nbswap %esp\nshld $4, %ax, %cx\n"
      "cvttss2si %xmm2, %edx\nhlt\n");

static void test_code16(void **state)
{
	struct x86_state *s = &t->v->s;

	enter_small(TINY_REAL);
	s->gpr[R_SP] = 0x12345678;
	memcpy(s->fpu.zmm[2], &(float){ 70000.0f }, 4);
	TINY_LOAD(t, TINY_CODE, code16);
	assert_int_equal(tiny_run(t), TINY_HLT);
	/* cx, ax = 3344, aacc; then eax, ecx = 55663344, 66886..: 1122aacc + 55663344 */
	assert_int_equal(s->gpr[R_AX], 0x55663344);
	assert_int_equal(tiny_peek(t, TINY_DATA, 2), (0x0708 + 0xde10) & 0xffff);
	assert_int_equal(tiny_peek(t, TINY_DATA + 4, 4), 0x01020305);
	assert_int_equal(tiny_peek(t, TINY_DATA + 24, 8), 0x222426282a2c2e30);
	assert_int_equal(s->gpr[R_SP], 0x78563412);
	assert_int_equal(s->gpr[R_CX], 0x66880000 | (0x0708 << 4 & 0xffff) | 0x3344 >> 12);
	assert_int_equal(s->gpr[R_DX], 70000);
}

GUEST(code32, 32,
      "lock xadd %cx, (%ebx,%esi)\nlock incl 4(%ebx,%esi)\nbsf %ecx, %esp\nmovd %eax, %xmm1\n"
      "punpckldq %xmm1, %xmm1\nmovq %xmm1, 8(%ebx,%esi)\n"
      "popcnt %eax, %edx\nhlt\n");
/* VEX.B, VEX.W and the top bit of vvvv do not count in 32-bit code: vmovd eax, andn, vpaddd with odd bits. */
GUEST(vex32, 32,
      ".byte 0xc4, 0xe1, 0xf9, 0x6e, 0xc8\n"             /* vmovd xmm1, eax with W1 */
      ".byte 0xc4, 0xc1, 0x31, 0xfe, 0xd1\n"             /* vpaddd xmm2, xmm1, xmm1 with B and vvvv.3 */
      ".byte 0xc4, 0xe2, 0xf0, 0xf2, 0xd0\nhlt\n");      /* andn edx, ecx, eax with W1 */

static void test_code32(void **state)
{
	struct x86_state *s = &t->v->s;

	enter_small(TINY_PROT32);
	TINY_LOAD(t, TINY_CODE, code32);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(tiny_peek(t, TINY_DATA, 2), (0x0708 + 0x7788) & 0xffff);
	assert_int_equal(s->gpr[R_CX], 0x55660708);
	assert_int_equal(tiny_peek(t, TINY_DATA + 4, 4), 0x01020305);
	assert_int_equal(tiny_peek(t, TINY_DATA + 8, 8), 0x1122334411223344);
	assert_int_equal(s->gpr[R_SP], 3);
	assert_int_equal(s->gpr[R_DX], __builtin_popcount(0x11223344));
}

static void test_vex32(void **state)
{
	if (!cpuid_has(&t->cpuid, "bmi1") || !cpuid_has(&t->cpuid, "avx"))
		skip();
	enter_small(TINY_PROT32);
	TINY_LOAD(t, TINY_CODE, vex32);
	memset(t->v->s.fpu.zmm[1], 0xff, 64);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_memory_equal(t->v->s.fpu.zmm[1], (&(uint64_t[]){ 0x11223344, 0 }), 16);
	assert_memory_equal(t->v->s.fpu.zmm[2], (&(uint64_t[]){ 0x22446688, 0 }), 16);
	assert_int_equal(t->v->s.gpr[R_DX], ~0x55667788u & 0x11223344u);
}

/* -- x87 environment in its four layouts (SDM vol. 1, figures 8-9 to 8-12) ------------------------------- */

GUEST(env16, 16, "fninit\nfld1\nflds (%bx,%si)\nfnstenv 16(%bx,%si)\n.byte 0x66\nfnstenv 64(%bx,%si)\nhlt\n");
GUEST(env32, 32, "fninit\nfld1\nflds (%ebx,%esi)\nfnstenv 64(%ebx,%esi)\n.byte 0x66\nfnstenv 16(%ebx,%esi)\nhlt\n");

/* The flds has opcode D9 and a ModRM byte; its offset in the code is 4. */
#define FLDS_OFFSET 4
#define FOP(modrm) (0x100 | (modrm))

static void test_env_real(void **state)
{
	const uint16_t at = TINY_CODE + FLDS_OFFSET, fop = FOP(0x00);

	enter_small(TINY_REAL);
	TINY_LOAD(t, TINY_CODE, env16);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(tiny_peek(t, TINY_DATA + 16, 2), 0x037f);
	assert_int_equal(tiny_peek(t, TINY_DATA + 18, 2), 6 << 11);
	assert_int_equal(tiny_peek(t, TINY_DATA + 20, 2), 0x0fff);
	assert_int_equal(tiny_peek(t, TINY_DATA + 22, 2), at);
	assert_int_equal(tiny_peek(t, TINY_DATA + 24, 2), fop);
	assert_int_equal(tiny_peek(t, TINY_DATA + 26, 2), TINY_DATA);
	assert_int_equal(tiny_peek(t, TINY_DATA + 28, 2), 0);
	assert_int_equal(tiny_peek(t, TINY_DATA + 64, 4), 0xffff037f);
	assert_int_equal(tiny_peek(t, TINY_DATA + 76, 4), 0xffff0000u | at);
	assert_int_equal(tiny_peek(t, TINY_DATA + 80, 4), fop);
}

static void test_env_protected(void **state)
{
	const uint32_t at = TINY_CODE + FLDS_OFFSET, fop = FOP(0x04);

	enter_small(TINY_PROT32);
	TINY_LOAD(t, TINY_CODE, env32);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(tiny_peek(t, TINY_DATA + 72, 4), 0xffff0fff);
	assert_int_equal(tiny_peek(t, TINY_DATA + 76, 4), at);
	assert_int_equal(tiny_peek(t, TINY_DATA + 80, 4), fop << 16); /* no selectors: ZERO_FCS_FDS */
	assert_int_equal(tiny_peek(t, TINY_DATA + 84, 4), TINY_DATA);
	assert_int_equal(tiny_peek(t, TINY_DATA + 88, 4), 0xffff0000u);
	assert_int_equal(tiny_peek(t, TINY_DATA + 16 + 6, 2), at);
	assert_int_equal(tiny_peek(t, TINY_DATA + 16 + 8, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xadd),	     cmocka_unit_test(test_cmpxchg),
		cmocka_unit_test(test_shift_double), cmocka_unit_test(test_bits),
		cmocka_unit_test(test_lock_alu),     cmocka_unit_test(test_bmi),
		cmocka_unit_test(test_adx),	     cmocka_unit_test(test_x87),
		cmocka_unit_test(test_x87_save),     cmocka_unit_test(test_mmx),
		cmocka_unit_test(test_sse),	     cmocka_unit_test(test_sse_rounding),
		cmocka_unit_test(test_sse4),	     cmocka_unit_test(test_crypto),
		cmocka_unit_test(test_sha),	     cmocka_unit_test(test_avx),
		cmocka_unit_test(test_avx_gather),   cmocka_unit_test(test_avx512),
		cmocka_unit_test(test_avx512_gather), cmocka_unit_test(test_fs_and_rip),
		cmocka_unit_test(test_flush),	     cmocka_unit_test(test_code16),
		cmocka_unit_test(test_code32),	     cmocka_unit_test(test_vex32),
		cmocka_unit_test(test_env_real),     cmocka_unit_test(test_env_protected),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
