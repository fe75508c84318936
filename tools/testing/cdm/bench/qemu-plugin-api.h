/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What insncount.c needs of QEMU's plugin interface. Distributions package QEMU
 * with plugins enabled, but not its qemu-plugin.h.
 *
 * Interface 1 is that of QEMU 6.0 to 8.2 (Debian 12: 7.2), 4 that of QEMU 9.1
 * and later (Debian 13: 10.0). They differ in how counters are kept and how the
 * bytes of an instruction are read; those functions are looked up by name.
 */
#ifndef QEMU_PLUGIN_API_H
#define QEMU_PLUGIN_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;

/* struct qemu_info_t */
struct qemu_info {
	const char *target_name;
	struct {
		int min;
		int cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus;
		int max_vcpus;
	} system;
};

/* A counter of each virtual CPU, in interface 4. */
struct qemu_plugin_u64 {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
};

#define QEMU_PLUGIN_INLINE_ADD_U64	0
#define QEMU_PLUGIN_CB_NO_REGS		0
#define QEMU_PLUGIN_MEM_RW		3

typedef void (*plugin_tb_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*plugin_exit_cb)(qemu_plugin_id_t id, void *data);
typedef void (*plugin_insn_cb)(unsigned int cpu, void *data);
typedef void (*plugin_mem_cb)(unsigned int cpu, qemu_plugin_meminfo_t info,
			      uint64_t vaddr, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   plugin_tb_cb cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, plugin_exit_cb cb,
				    void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    plugin_insn_cb cb, int flags,
					    void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
				      plugin_mem_cb cb, int flags, int rw,
				      void *data);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *
qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

/* qemu_plugin_insn_data() */
typedef const void *(*plugin_insn_data_1)(const struct qemu_plugin_insn *insn);
typedef size_t (*plugin_insn_data_4)(const struct qemu_plugin_insn *insn,
				     void *dest, size_t len);
/* qemu_plugin_register_vcpu_insn_exec_inline() */
typedef void (*plugin_inline_1)(struct qemu_plugin_insn *insn, int op,
				void *ptr, uint64_t imm);
/* qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu() */
typedef void (*plugin_inline_4)(struct qemu_plugin_insn *insn, int op,
				struct qemu_plugin_u64 entry, uint64_t imm);
/* qemu_plugin_scoreboard_new(), qemu_plugin_scoreboard_find() */
typedef struct qemu_plugin_scoreboard *(*plugin_score_new)(size_t size);
typedef void *(*plugin_score_find)(struct qemu_plugin_scoreboard *score,
				   unsigned int cpu);

#endif /* QEMU_PLUGIN_API_H */
