/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Marks by which the guest, in user space or in the kernel, tells insncount
 * where a window begins and ends: an 8-byte NOP of a form that compilers do not
 * use, with the kind of mark as the last byte of its displacement.
 */
#ifndef CDM_BENCH_MARK_H
#define CDM_BENCH_MARK_H

#define MARK_BEGIN	1	/* a new window, with the next number */
#define MARK_RESUME	2	/* the last window goes on */
#define MARK_END	3

#define MARK_LEN	8
#define MARK_BYTES	"\x0f\x1f\x84\x00\x6d\x64\x63"	/* and the kind */

static __always_inline void mark(unsigned int kind)
{
	asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00, 0x6d, 0x64, 0x63, %c0"
		     : : "i" (kind) : "memory");
}

#endif /* CDM_BENCH_MARK_H */
