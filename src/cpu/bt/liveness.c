/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Second pass: before which instructions do the arithmetic flags matter? A check may destroy them elsewhere.
 *
 * What runs behind the block decides about its end. Where that stands in the block's own page it is looked into: should
 * those bytes change, the block goes with them. Code of other pages may be another's at any time: there all flags matter.
 */
#include "cpu/bt/insn.h"

#define ARITH (ZYDIS_CPUFLAG_CF | ZYDIS_CPUFLAG_PF | ZYDIS_CPUFLAG_AF | ZYDIS_CPUFLAG_ZF | ZYDIS_CPUFLAG_SF | ZYDIS_CPUFLAG_OF)

#define PEEK_INSNS 8 /* how far to look behind a branch, */
#define PEEK_DEPTH 2 /* and over how many further branches */

/* Shifts and rotates leave the flags alone when their masked count is 0. */
static bool may_keep_flags(const struct bt_decoded *i)
{
	ZydisInstructionCategory c = i->meta.category;
	bool shifts = c == ZYDIS_CATEGORY_SHIFT || c == ZYDIS_CATEGORY_ROTATE ||
		      i->mnemonic == ZYDIS_MNEMONIC_SHLD || i->mnemonic == ZYDIS_MNEMONIC_SHRD;
	bool by_one = i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->opcode == 0xd0 || i->opcode == 0xd1);

	if (!shifts || by_one)
		return false;
	return !i->raw.imm.size || !(i->raw.imm.value.u & 31);
}

/* The flags that matter before an instruction, where `live` matter behind it. */
static uint32_t before(const struct bt_decoded *i, uint32_t live)
{
	if (!may_keep_flags(i))
		live &= ~(i->flags.set | i->flags.undefined);
	return (live | i->flags.tested) & ARITH;
}

/* -- Behind the block -------------------------------------------------------------------------------------- */

/* Whether Zydis says all of it: flags are read and written so by whoever executes it. Others go elsewhere, or show all flags. */
static bool is_plain(const struct bt_decoded *i)
{
	switch (i->meta.category) {
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_STRINGOP:
	case ZYDIS_CATEGORY_FLAGOP:
	case ZYDIS_CATEGORY_SEGOP:
	case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_MISC:
	case ZYDIS_CATEGORY_INVALID:
		return i->mnemonic == ZYDIS_MNEMONIC_LEA;
	case ZYDIS_CATEGORY_PUSH:
		return i->mnemonic == ZYDIS_MNEMONIC_PUSH;
	case ZYDIS_CATEGORY_POP:
		return i->mnemonic == ZYDIS_MNEMONIC_POP;
	default:
		return !(i->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED);
	}
}

static uint32_t live_at(const struct bt_peek *p, uint64_t la, unsigned depth);

/* Of the operand of a branch that no prefix has narrowed. */
static unsigned full_width(const struct bt_decoded *i)
{
	switch (i->machine_mode) {
	case ZYDIS_MACHINE_MODE_LONG_64: return 64;
	case ZYDIS_MACHINE_MODE_LEGACY_32: return 32;
	default: return 16;
	}
}

/* At a branch whose target is known; `behind` if it may also not be taken. */
static uint32_t live_at_branch(const struct bt_peek *p, const struct bt_decoded *i, uint64_t next, bool behind, unsigned depth)
{
	uint32_t live;

	if (!depth || !i->raw.imm.is_relative || i->operand_width != full_width(i))
		return ARITH;
	live = live_at(p, next + (uint64_t)i->raw.imm.value.s, depth - 1);
	if (behind && live != ARITH)
		live |= live_at(p, next, depth - 1);
	return live;
}

/* A copy: another vCPU may write there. */
static bool peek_decode(const struct bt_peek *p, uint64_t la, struct bt_decoded *i)
{
	uint64_t off = la - p->la;
	uint8_t bytes[BT_DECODE_BYTES];
	unsigned len;

	if (off >= PAGE_SIZE)
		return false;
	len = (unsigned)MIN(PAGE_SIZE - off, BT_MAX_INSN_LEN);
	if (ram_granules(off, len) & ~*p->granules)
		ram_mark_code(p->ram, p->gpa + off, len);
	*p->granules |= ram_granules(off, len);
	ram_read_code(p->page + off, bytes, len);
	memset(bytes + len, 0, sizeof(bytes) - len);
	return bt_decode(p->patterns, p->decoder, bytes, len, i, NULL);
}

static uint32_t live_at(const struct bt_peek *p, uint64_t la, unsigned depth)
{
	uint32_t open = ARITH, live = 0; /* not yet written; read before that */
	struct bt_decoded i;

	for (unsigned n = 0; n < PEEK_INSNS && open && peek_decode(p, la, &i); n++, la += i.length) {
		bool cond = i.meta.category == ZYDIS_CATEGORY_COND_BR;

		live |= before(&i, 0) & open;
		if (cond || i.meta.category == ZYDIS_CATEGORY_UNCOND_BR)
			return live | (open & live_at_branch(p, &i, la + i.length, cond, depth));
		if (!is_plain(&i))
			break;
		open &= before(&i, ARITH) & ~before(&i, 0);
	}
	return live | open;
}

uint32_t bt_flags_live_at(const struct bt_peek *p, uint64_t la)
{
	struct bt_peek_memo *m;
	uint64_t off, gpa, before;

	if (!p || (off = la - p->la) >= PAGE_SIZE)
		return ARITH;
	gpa = p->gpa + off;
	m = &p->memo[(gpa ^ gpa >> PAGE_SHIFT) % BT_PEEK_MEMOS];
	before = *p->granules;
	if (m->gpa != gpa || m->version != p->version || m->decoder != p->decoder) {
		*p->granules = 0;
		*m = (struct bt_peek_memo){ gpa, p->decoder, p->version, live_at(p, la, PEEK_DEPTH), 0 };
		m->granules = *p->granules;
	}
	*p->granules = before | m->granules;
	return m->live;
}

/* -- In the block -------------------------------------------------------------------------------------------- */

/* Whether it is known where a block goes that is left by its instruction in. */
static bool may_look_behind(const struct bt_insn *in)
{
	switch (in->cls) {
	case BT_JMP:
	case BT_CALL:
	case BT_JCC:
		return true;
	case BT_LEGACY_JCC:
	case BT_LEGACY_END:
		return in->target;
	default:
		return false; /* where it goes, or what the reference does, is not looked into */
	}
}

/* The flags that matter where a block is left by its instruction in. */
static uint32_t live_behind(const struct bt_insn *in, const struct bt_peek *p)
{
	if (!may_look_behind(in))
		return ARITH;
	return bt_flags_live_at(p, in->cls == BT_LEGACY_JCC || in->cls == BT_LEGACY_END ? in->target : bt_branch_target(in));
}

/*
 * Without a look at what runs behind the block: flags that matter whatever that is, and flags that may matter. Most blocks set
 * flags in front of each branch, so that this is enough. False: it is not.
 */
static bool settled_within(struct bt_insn *in, unsigned n)
{
	uint32_t least = 0, most = ARITH;

	while (n--) {
		if (in[n].cls == BT_JCC || in[n].cls == BT_LEGACY_JCC) {
			least = before(&in[n].i, least);
			most = before(&in[n].i, ARITH);
		} else if (in[n].cls == BT_SYSTEM || bt_ends_block(&in[n])) {
			least = may_look_behind(&in[n]) ? 0 : ARITH;
			most = ARITH;
		} else if (in[n].cls != BT_NOP) {
			least = before(&in[n].i, least);
			most = before(&in[n].i, most);
		}
		if (!least && most)
			return false;
		in[n].flags_live = least;
	}
	return true;
}

void bt_flag_liveness(struct bt_insn *in, unsigned n, const struct bt_peek *p)
{
	uint32_t live;

	if (settled_within(in, n))
		return;
	live = bt_ends_block(&in[n - 1]) ? ARITH : bt_flags_live_at(p, bt_next_rip(&in[n - 1]));
	while (n--) {
		if (in[n].cls == BT_JCC || in[n].cls == BT_LEGACY_JCC)
			live = before(&in[n].i, live == ARITH ? live : live | live_behind(&in[n], p));
		else if (in[n].cls == BT_SYSTEM || bt_ends_block(&in[n]))
			live = live_behind(&in[n], p);
		else if (in[n].cls != BT_NOP)
			live = before(&in[n].i, live);
		in[n].flags_live = live;
	}
}

/* -- For lockstep ----------------------------------------------------------------------------------------------- */

struct bt_flag_marks bt_flag_marks(struct bt_flag_marks m, const struct bt_insn *in, bool first)
{
	uint8_t set, undefined;

	if (first)
		m = (struct bt_flag_marks){ .kept = bt_pack_flags(ARITH) };
	if (!in->flags_live)
		m.dead = bt_pack_flags(ARITH);
	undefined = bt_pack_flags(in->i.flags.undefined);
	set = bt_pack_flags(in->i.flags.set);
	/* A string that is compared may be empty. */
	if (may_keep_flags(&in->i) || (in->i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)))
		set = 0;
	m.undefined = (uint8_t)((m.undefined & ~set) | undefined);
	m.dead &= (uint8_t)~(set | undefined);
	m.kept &= (uint8_t)~(set | undefined);
	return m;
}
