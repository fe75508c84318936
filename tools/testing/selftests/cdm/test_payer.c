// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for device pages in everyday use: after fork(), copies and mremap(),
 * for writes by other tasks, by rings and by debuggers, when tasks change
 * groups, and with the controllers enabled at different levels. Each time the
 * group that owns the memory pays, exactly.
 */

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cdm_util.h"

#ifndef UFFDIO_MOVE
#define UFFDIO_MOVE	_IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFD_FEATURE_MOVE	0x10000
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#endif

/*
 * fork() into another group. Of 100 pages the child copies 40 and the parent
 * another 30. The pages that both share stay charged to the first group, and so
 * do the originals that only the child maps after the parent has exited.
 *
 *			a	b
 *   parent's pages	100	0
 *   child writes 40	100	40
 *   parent writes 30	130	40
 *   parent exits	60	40	its 40 and its 30 copies go
 *   rmdir a		-	40	60 to the parent of both
 */
static void test_fork_into(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	task_start_on(&parent, a, 100, cdm_node);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);

	CHECK_EQ(task_call(&child, op_touch, 0, 40).dev, 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	CHECK_EQ(task_call(&parent, op_touch, 60, 30).dev, 30);
	CHECK_EQ(cdm_usage(a, cdm_node), 130);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);

	task_end(&parent);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 60), 60);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	CHECK_EQ(task_call(&child, op_count, 0, 100).dev, 100);
	CHECK_EQ(rmdir(a), 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	/* No other task maps them any more: written in place, not copied. */
	CHECK_EQ(task_call(&child, op_touch, 0, 100).dev, 100);
	CHECK_EQ(cdm_usage(b, cdm_node), 40);
	CHECK_EQ(task_call(&child, op_count, 0, 100).bad, 0);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(group, cdm_node, 0), 0);
}

/* The limit of the child's group applies to its copies. */
static void test_fork_into_limit(const char *group)
{
	struct cdm_task parent, child;
	struct cdm_reply reply;
	char *a, *b;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_limit(b, cdm_node, 25), 0);
	task_start_on(&parent, a, 100, cdm_node);
	CHECK_EQ(task_fork_into(&parent, &child, b), 0);
	reply = task_call(&child, op_touch, 0, 100);
	CHECK_EQ(reply.ok, 100);
	CHECK_EQ(reply.dev, 25);
	CHECK_EQ(reply.ram, 75);
	CHECK_EQ(cdm_usage(b, cdm_node), 25);
	CHECK_EQ(cdm_usage(a, cdm_node), 100);
	CHECK_EQ(task_call(&parent, op_count, 0, 100).dev, 100);
	task_end(&child);
	task_end(&parent);
}

/* The child changes groups twice between fork() and its writes. */
static void test_fork_and_move(const char *group)
{
	struct cdm_task parent, child;
	char *a, *b, *c;

	cdm_make_two_groups(group, &a, &b);
	c = cdm_make_group(group, "c");
	task_start_on(&parent, a, 90, cdm_node);
	CHECK_EQ(task_fork(&parent, &child), 0);
	CHECK_EQ(task_call(&child, op_touch, 0, 30).dev, 30);
	CHECK_EQ(cdm_usage(a, cdm_node), 120);
	CHECK_EQ(cg_enter(b, child.pid), 0);
	CHECK_EQ(task_call(&child, op_touch, 0, 60).dev, 60);
	CHECK_EQ(cg_enter(c, child.pid), 0);
	CHECK_EQ(task_call(&child, op_touch, 0, 90).dev, 90);
	CHECK_EQ(cdm_usage(a, cdm_node), 120);
	CHECK_EQ(cdm_usage(b, cdm_node), 30);
	CHECK_EQ(cdm_usage(c, cdm_node), 30);
	task_end(&child);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 90), 90);
	CHECK_EQ(cdm_wait_usage(b, cdm_node, 0), 0);
	CHECK_EQ(cdm_wait_usage(c, cdm_node, 0), 0);
	task_end(&parent);
}

/* Move @nr pages to another address, and back. */
static struct cdm_reply op_mremap_part(struct cdm_buf *buf, long first, long nr)
{
	size_t size = nr * cdm_psize;
	char *part = buf->addr + first * cdm_psize, *addr, *back;

	addr = mremap(part, size, 2 * size, MREMAP_MAYMOVE);
	if (addr == MAP_FAILED)
		return buf_errno(-1);
	back = mremap(addr, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, part);
	munmap(addr + size, size);
	return buf_errno(back == part ? 0 : -1);
}

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

/* Move pages away, and leave the old range mapped and empty. */
static struct cdm_reply op_mremap_leave(struct cdm_buf *buf, long nr, long b)
{
	size_t size = nr * cdm_psize;
	char *addr = mremap(buf->addr, size, size,
			    MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);

	(void)b;
	if (addr == MAP_FAILED)
		return buf_errno(-1);
	return buf_errno(addr_node(addr) == cdm_node ? 0 : -1);
}

static void test_mremap(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;

	task_start_on(&task, group, 100, cdm_node);
	CHECK_EQ(task_call(&task, op_mremap_part, 20, 50).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	reply = task_call(&task, op_count, 0, 100);
	CHECK_EQ(reply.dev, 100);
	CHECK_EQ(reply.bad, 0);

	CHECK_EQ(task_call(&task, op_mremap_leave, 30, 0).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 100);
	CHECK_EQ(task_call(&task, op_count, 0, 100).dev, 70);
	CHECK_EQ(task_call(&task, op_touch, 0, 30).dev, 30);
	CHECK_EQ(cdm_usage(group, cdm_node), 130);
	task_end(&task);
}

/*
 * A task in b, which may use nothing of the device, writes to untouched memory
 * of a task in a. Returns 0 or -errno.
 */
typedef long (*write_fn)(struct cdm_task *owner, long addr);

static long by_vm_writev(struct cdm_task *owner, long addr)
{
	long value = 1;
	struct iovec local = { &value, sizeof(value) };
	struct iovec remote = { (void *)addr, sizeof(value) };
	long ret = process_vm_writev(owner->pid, &local, 1, &remote, 1, 0);

	return ret < 0 ? -errno : ret == sizeof(value) ? 0 : -EIO;
}

static long by_poke(struct cdm_task *owner, long addr)
{
	return ptrace(PTRACE_POKEDATA, owner->pid, (void *)addr, 1L) ?
	       -errno : 0;
}

static void write_remotely(const char *group, write_fn fn, long error)
{
	struct cdm_task owner;
	char *a, *b;
	long addr, i;

	cdm_make_two_groups(group, &a, &b);
	CHECK_EQ(cdm_write(a, "cdm.policy", "fail"), 0);
	CHECK_EQ(cdm_limit(a, cdm_node, 20), 0);
	CHECK_EQ(cdm_limit(b, cdm_node, 0), 0);
	task_start(&owner, a);
	CHECK_EQ(task_call(&owner, op_map, 30, cdm_node).ret, 0);
	addr = task_call(&owner, op_address, 0, 0).ret;
	if (fn == by_poke) {
		CHECK_EQ(ptrace(PTRACE_SEIZE, owner.pid, NULL, NULL), 0);
		CHECK_EQ(ptrace(PTRACE_INTERRUPT, owner.pid, NULL, NULL), 0);
		CHECK_EQ(waitpid(owner.pid, NULL, 0), owner.pid);
	}
	CHECK_EQ(cg_enter_current(b), 0);
	for (i = 0; i < 30; i++)
		CHECK_EQ(fn(&owner, addr + i * cdm_psize), i < 20 ? 0 : error);
	CHECK_EQ(cg_enter_current(cdm_root), 0);
	if (fn == by_poke)
		CHECK_EQ(ptrace(PTRACE_DETACH, owner.pid, NULL, NULL), 0);

	CHECK_EQ(cdm_usage(a, cdm_node), 20);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(cdm_bytes(b, "cdm.peak", cdm_node), 0);
	CHECK_EQ(cdm_item(a, "cdm.events.local", cdm_node, "fail"), 10);
	CHECK_EQ(cdm_item(b, "cdm.events.local", cdm_node, "max"), 0);
	CHECK_EQ(task_call(&owner, op_count, 0, 30).dev, 20);
	task_end(&owner);
}

static void test_vm_writev(const char *group)
{
	write_remotely(group, by_vm_writev, -EFAULT);
}

static void test_poke(const char *group)
{
	write_remotely(group, by_poke, -EIO);
}

/* Read a file through an io_uring, in one of its kernel threads. */
static long ring_read(int fd, void *addr, size_t len)
{
	struct io_uring_params params;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqe;
	char *sq, *cq;
	long ret;
	int ring;

	memset(&params, 0, sizeof(params));
	ring = syscall(__NR_io_uring_setup, 1, &params);
	if (ring < 0)
		return -errno;
	sq = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		  IORING_OFF_CQ_RING);
	sqes = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		    IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		return -errno;
	memset(sqes, 0, sizeof(*sqes));
	sqes->opcode = IORING_OP_READ;
	sqes->flags = IOSQE_ASYNC;
	sqes->fd = fd;
	sqes->addr = (unsigned long)addr;
	sqes->len = len;
	*(unsigned int *)(sq + params.sq_off.array) = 0;
	__atomic_store_n((unsigned int *)(sq + params.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	ret = syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS,
		      NULL, 0);
	cqe = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	if (ret == 1)
		ret = cqe->res;
	munmap(sq, cdm_psize);
	munmap(cq, cdm_psize);
	munmap(sqes, cdm_psize);
	close(ring);
	return ret;
}

static struct cdm_reply op_ring_read(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	reply.ret = ring_read(fd, buf->addr + first * cdm_psize,
			      nr * cdm_psize);
	close(fd);
	return reply;
}

/*
 * The ring's thread belongs to the process, whose group pays up to its limit.
 */
static void test_ring_read(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_ring_read, 0, 30).ret, 30 * cdm_psize);
	CHECK_EQ(cdm_usage(group, cdm_node), 30);
	/* The next read is short. */
	CHECK_EQ(task_call(&task, op_ring_read, 30, 40).ret, 20 * cdm_psize);
	CHECK_EQ(cdm_usage(group, cdm_node), 50);
	CHECK_EQ(task_call(&task, op_count, 0, 100).dev, 50);
	task_end(&task);
}

/*
 * userfaultfd: the owner of the memory passes the descriptor to a monitor in
 * another group, through a socket that both have inherited.
 */
static int uffd_pipe[2];
static int uffd = -1;

static int send_fd(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -1;
}

static int receive_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static struct cdm_reply op_uffd_open(struct cdm_buf *buf, long features,
				     long pages)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register range = {
		.range = { (unsigned long)buf->addr, pages * cdm_psize },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &range))
		return buf_errno(-1);
	return buf_errno(send_fd(uffd_pipe[0], uffd));
}

static struct cdm_reply op_uffd_take(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	uffd = receive_fd(uffd_pipe[1]);
	return buf_errno(uffd < 0 ? -1 : 0);
}

/* Fill @nr pages of the owner's memory from @addr on, by copying. */
static struct cdm_reply op_uffd_copy(struct cdm_buf *buf, long addr, long nr)
{
	struct cdm_reply reply = { 0 };
	char *source = calloc(1, cdm_psize);
	long i;

	(void)buf;
	for (i = 0; i < nr; i++) {
		struct uffdio_copy copy = {
			.dst = addr + i * cdm_psize,
			.src = (unsigned long)source,
			.len = cdm_psize,
		};

		if (!ioctl(uffd, UFFDIO_COPY, &copy))
			reply.ok++;
		else
			reply.code = errno;
	}
	free(source);
	return reply;
}

static struct cdm_reply op_uffd_zero(struct cdm_buf *buf, long addr, long nr)
{
	struct uffdio_zeropage zero = {
		.range = { addr, nr * cdm_psize },
	};

	(void)buf;
	return buf_errno(ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
}

static void uffd_start(const char *group, struct cdm_task *owner,
		       struct cdm_task *monitor, long pages, char **a, char **b)
{
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, uffd_pipe),
		 0);
	cdm_make_two_groups(group, a, b);
	task_start(owner, *a);
	task_start(monitor, *b);
	CHECK_EQ(task_call(owner, op_map, pages, cdm_node).ret, 0);
	CHECK_EQ(task_call(owner, op_uffd_open, 0, pages).ret, 0);
	CHECK_EQ(task_call(monitor, op_uffd_take, 0, 0).ret, 0);
}

static void uffd_stop(struct cdm_task *owner, struct cdm_task *monitor)
{
	task_end(owner);
	task_end(monitor);
	close(uffd_pipe[0]);
	close(uffd_pipe[1]);
}

/*
 * Write to @SLOW pages of another process, from memory of which all but the
 * first page is missing, and filled in as slowly as the test likes. The call
 * gets the other's pages for one part at a time.
 */
#define SLOW	100

static struct cdm_reply op_write_slowly(struct cdm_buf *buf, long pid,
					long addr)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (unsigned long)buf->addr + cdm_psize,
			   (SLOW - 1) * cdm_psize },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct iovec local = { buf->addr, SLOW * cdm_psize };
	struct iovec remote[] = {
		{ (char *)addr, cdm_psize },
		{ (char *)addr + cdm_psize, cdm_psize },
		{ (char *)addr + 2 * cdm_psize, (SLOW - 3) * cdm_psize },
		{ (char *)addr + (SLOW - 1) * cdm_psize, cdm_psize },
	};
	long ret;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &range) ||
	    send_fd(uffd_pipe[0], uffd))
		return buf_errno(-1);
	ret = process_vm_writev(pid, &local, 1, remote, ARRAY_SIZE(remote), 0);
	return buf_errno(ret < 0 ? -1 : ret / cdm_psize);
}

/* Wait until somebody misses page @page of @addr. */
static void wait_missing(long addr, long page)
{
	struct uffd_msg msg = { 0 };

	CHECK_EQ(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	CHECK_EQ((msg.arg.pagefault.address - addr) / cdm_psize, page);
}

static void fill_in(long addr, long first, long nr)
{
	struct uffdio_zeropage zero = {
		.range = { addr + first * cdm_psize, nr * cdm_psize },
	};

	CHECK_EQ(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
}

/*
 * The owner dies while another fills its memory. Nobody is left to pay, and so
 * the rest is in RAM.
 */
static void test_owner_gone(const char *group)
{
	struct cdm_task owner, writer;
	long addr, from, before;
	char *a, *b;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, uffd_pipe),
		 0);
	cdm_make_two_groups(group, &a, &b);
	task_start(&owner, a);
	task_start(&writer, b);
	CHECK_EQ(task_call(&owner, op_map, SLOW, cdm_node).ret, 0);
	addr = task_call(&owner, op_address, 0, 0).ret;
	CHECK_EQ(task_call(&writer, op_map, SLOW, -1).ret, 0);
	CHECK_EQ(task_call(&writer, op_touch, 0, 1).ok, 1);
	from = task_call(&writer, op_address, 0, 0).ret;

	task_send(&writer, op_write_slowly, owner.pid, addr);
	uffd = receive_fd(uffd_pipe[1]);
	wait_missing(from, 1);
	CHECK_EQ(cdm_usage(a, cdm_node), 2);
	task_kill(&owner);
	before = cdm_usage(cdm_root, cdm_node);
	fill_in(from, 1, SLOW - 2);
	wait_missing(from, SLOW - 1);
	CHECK_EQ(cdm_usage(a, cdm_node), 2);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(cdm_usage(cdm_root, cdm_node), before);
	fill_in(from, SLOW - 1, 1);
	CHECK_EQ(task_reply(&writer).ret, SLOW);
	task_end(&writer);
	CHECK_EQ(cdm_wait_usage(a, cdm_node, 0), 0);
	close(uffd);
	close(uffd_pipe[0]);
	close(uffd_pipe[1]);
}

/*
 * A loop device on a file in memory that is bound to the device: the pages are
 * written by a kernel thread. If the block layer tells for whom, that group
 * pays, and otherwise it is RAM.
 */
#define LOOP_PAGES	400

static struct cdm_reply op_write_loop(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply = { 0 };
	char *data = malloc(cdm_psize), name[64];
	int fd;

	(void)buf;
	(void)b;
	if (file_read("loop", name, sizeof(name)))
		return buf_errno(-1);
	name[strcspn(name, "\n")] = 0;
	fd = open(name, O_WRONLY | O_CLOEXEC);
	memset(data, 1, cdm_psize);
	while (reply.ok < pages && write(fd, data, cdm_psize) == cdm_psize)
		reply.ok++;
	reply.ret = fd < 0 || fsync(fd) ? -errno : 0;
	close(fd);
	free(data);
	return reply;
}

static void test_loop(const char *group)
{
	struct cdm_task task;
	char command[256];
	long before, own;

	snprintf(command, sizeof(command),
		 "set -e; mkdir mem; "
		 "mount -t tmpfs -o mpol=bind:%d,size=64M tmpfs mem; "
		 "truncate -s 32M mem/img; losetup -f --show mem/img >loop",
		 cdm_node);
	if (!CHECK_EQ(system(command), 0))
		return;
	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	before = cdm_usage(cdm_root, cdm_node);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_write_loop, LOOP_PAGES, 0).ret, 0);
	own = cdm_usage(group, cdm_node);
	CHECK_LE(own, 50);
	CHECK_EQ(cdm_usage(cdm_root, cdm_node), before + own);
	task_end(&task);
	CHECK_EQ(system("losetup -d $(cat loop) && umount mem"), 0);
	CHECK_EQ(rmdir("mem"), 0);
	unlink("loop");
	cdm_empty_cache();
}

/* The owner of the memory pays for what the monitor fills in. */
static void test_uffd_monitor(const char *group)
{
	struct cdm_task owner, monitor;
	struct cdm_reply reply;
	char *a, *b;
	long addr;

	uffd_start(group, &owner, &monitor, 100, &a, &b);
	CHECK_EQ(cdm_limit(a, cdm_node, 60), 0);
	CHECK_EQ(cdm_limit(b, cdm_node, 0), 0);
	addr = task_call(&owner, op_address, 0, 0).ret;
	CHECK_EQ(task_call(&monitor, op_uffd_copy, addr, 40).ok, 40);
	CHECK_EQ(cdm_usage(a, cdm_node), 40);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);

	/* Zeroes take no page: the shared zero page is in RAM. */
	CHECK_EQ(task_call(&monitor, op_uffd_zero, addr + 90 * cdm_psize,
			   10).ret, 0);
	CHECK_EQ(cdm_usage(a, cdm_node), 40);
	CHECK_EQ(task_call(&owner, op_touch, 90, 10).dev, 10);
	CHECK_EQ(cdm_usage(a, cdm_node), 50);

	/* Beyond the limit it is RAM: a page with contents is not refused. */
	reply = task_call(&monitor, op_uffd_copy, addr + 40 * cdm_psize, 20);
	CHECK_EQ(reply.ok, 20);
	CHECK_EQ(cdm_usage(a, cdm_node), 60);
	CHECK_EQ(task_call(&owner, op_count, 40, 20).dev, 10);
	CHECK_EQ(cdm_write(a, "cdm.policy", "fail"), 0);
	reply = task_call(&monitor, op_uffd_copy, addr + 60 * cdm_psize, 5);
	CHECK_EQ(reply.ok, 5);
	CHECK_EQ(task_call(&owner, op_count, 60, 5).ram, 5);
	CHECK_EQ(cdm_usage(a, cdm_node), 60);
	CHECK_EQ(cdm_usage(b, cdm_node), 0);
	CHECK_EQ(cdm_bytes(b, "cdm.peak", cdm_node), 0);
	uffd_stop(&owner, &monitor);
}

/* Move @nr pages from the start of the buffer to its page @to and on. */
static struct cdm_reply op_uffd_move(struct cdm_buf *buf, long to, long nr)
{
	struct uffdio_move move = {
		.dst = (unsigned long)buf->addr + to * cdm_psize,
		.src = (unsigned long)buf->addr,
		.len = nr * cdm_psize,
	};

	return buf_errno(ioctl(uffd, UFFDIO_MOVE, &move));
}

static struct cdm_reply op_uffd_upper(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_buf upper = *buf;

	upper.addr += first * cdm_psize;
	return op_uffd_open(&upper, UFFD_FEATURE_MOVE, nr);
}

/* A page that moves within a process stays the same page, charged once. */
static void test_uffd_move(const char *group)
{
	struct cdm_task task;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, uffd_pipe),
		 0);
	CHECK_EQ(cdm_limit(group, cdm_node, 50), 0);
	CHECK_EQ(cdm_write(group, "cdm.policy", "fail"), 0);
	task_start(&task, group);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 50).dev, 50);
	CHECK_EQ(task_call(&task, op_uffd_upper, 50, 50).ret, 0);
	CHECK_EQ(task_call(&task, op_uffd_move, 50, 50).ret, 0);
	CHECK_EQ(cdm_usage(group, cdm_node), 50);
	CHECK_EQ(task_call(&task, op_count, 0, 50).dev, 0);
	CHECK_EQ(task_call(&task, op_count, 50, 50).dev, 50);
	/* The limit is still full. */
	CHECK_EQ(task_call(&task, op_touch, 0, 5).bus, 5);
	task_end(&task);
	close(uffd_pipe[0]);
	close(uffd_pipe[1]);
}

/* With memory enabled deeper than cdm, the nearest group with cdm pays. */
static void test_depth(const char *group)
{
	struct cdm_task task;
	char *top, *mid, *leaf;

	CHECK_EQ(cdm_enable(group, "+memory +cdm"), 0);
	top = cdm_make_group(group, "top");
	CHECK_EQ(cdm_enable(top, "+memory"), 0);
	mid = cdm_make_group(top, "mid");
	CHECK_EQ(cdm_enable(mid, "+memory"), 0);
	leaf = cdm_make_group(mid, "leaf");
	CHECK_EQ(cdm_bytes(leaf, "cdm.current", cdm_node), CDM_NONE);
	CHECK_GE(cg_read_long(leaf, "memory.current"), 0);

	CHECK_EQ(cdm_limit(top, cdm_node, 50), 0);
	task_start(&task, leaf);
	CHECK_EQ(task_call(&task, op_map, 100, cdm_node).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 40).dev, 40);
	CHECK_EQ(cdm_usage(top, cdm_node), 40);

	/* The same for pages in RAM, charged to the leaf, when they move. */
	CHECK_EQ(task_call(&task, op_map, 100, -1).ret, 0);
	CHECK_EQ(task_call(&task, op_touch, 0, 100).ram, 100);
	CHECK_EQ(task_call(&task, op_move, 100, cdm_node).ok, 10);
	CHECK_EQ(cdm_usage(top, cdm_node), 50);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(top, cdm_node, 0), 0);

	/* Now cdm goes deeper: the leaf has it as well, and starts at 0. */
	CHECK_EQ(cdm_enable(top, "+cdm"), 0);
	CHECK_EQ(cdm_enable(mid, "+cdm"), 0);
	task_start_on(&task, leaf, 30, cdm_node);
	CHECK_EQ(cdm_usage(leaf, cdm_node), 30);
	CHECK_EQ(cdm_usage(mid, cdm_node), 30);
	CHECK_EQ(cdm_usage(top, cdm_node), 30);
	CHECK_EQ(cdm_enable(mid, "-cdm"), 0);
	CHECK_EQ(cdm_usage(mid, cdm_node), 30);
	task_end(&task);
	CHECK_EQ(cdm_wait_usage(mid, cdm_node, 0), 0);
}

/*
 * Memory that the kernel allocates for itself, much of it in bulk, while the
 * task's policy names only the device: BPF maps, pipes, rings, stacks.
 */
static struct cdm_reply op_kernel_memory(struct cdm_buf *buf, long a, long b)
{
	union bpf_attr attr;
	struct cdm_reply reply = { 0 };
	struct io_uring_params params;
	char data[4096] = "";
	int fds[2], i;

	(void)buf;
	(void)a;
	(void)b;
	if (sys_set_mempolicy(MPOL_BIND, 1UL << cdm_node))
		return buf_errno(-1);
	for (i = 0; i < 4; i++) {
		memset(&attr, 0, sizeof(attr));
		attr.map_type = BPF_MAP_TYPE_ARRAY;
		attr.key_size = 4;
		attr.value_size = 4096;
		attr.max_entries = 1024;
		attr.map_flags = i & 1 ? BPF_F_MMAPABLE : 0;
		reply.ok += syscall(__NR_bpf, BPF_MAP_CREATE, &attr,
				    sizeof(attr)) >= 0;
	}
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		return buf_errno(-1);
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	while (write(fds[1], data, sizeof(data)) > 0)
		reply.dev++;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
		return buf_errno(-1);
	while (write(fds[1], data, sizeof(data)) > 0)
		continue;
	memset(&params, 0, sizeof(params));
	reply.ok += syscall(__NR_io_uring_setup, 4096, &params) >= 0;
	for (i = 0; i < 20; i++)
		if (!fork())
			pause();
	sys_set_mempolicy(MPOL_DEFAULT, 0);
	return reply;
}

static void test_kernel_memory(const char *group)
{
	struct cdm_reply reply;
	struct cdm_task task;
	long used;

	cdm_drain_lru();
	used = cdm_audit(cdm_node, "used");
	task_start(&task, group);
	reply = task_call(&task, op_kernel_memory, 0, 0);
	CHECK_EQ(reply.ret, 0);
	CHECK_EQ(reply.ok, 5);
	CHECK_EQ(reply.dev, 256);
	/*
	 * What its children wrote to is user memory, which the policy puts on
	 * the device: little beside the 16 MiB of the maps, and all of it
	 * owned.
	 */
	CHECK_EQ(cdm_audit(cdm_node, "unowned"), 0);
	CHECK_EQ(cdm_audit(cdm_node, "used"), used +
		 cdm_usage(group, cdm_node));
	CHECK_LT(cdm_usage(group, cdm_node), 1024);
	CHECK_EQ(cdm_write(group, "cgroup.kill", "1"), 0);
	task_kill(&task);
}

/* A task that keeps faulting until it is told to stop. */
static int *stop;

static struct cdm_reply op_churn(struct cdm_buf *buf, long pages, long b)
{
	struct cdm_reply reply = { 0 };

	(void)b;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		reply.bus += buf_touch(buf, 0, pages).bus;
		op_discard(buf, 0, pages);
		reply.ok++;
	}
	reply.bus += buf_touch(buf, 0, pages).bus;
	return reply;
}

#define CHURNERS	4

/* The device's memory is removed while tasks fault on it. */
static void test_remove_in_use(const char *group)
{
	struct cdm_task task[CHURNERS];
	struct cdm_reply reply;
	char *child[CHURNERS], name[16];
	int other, i;

	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	other = cdm_other_node();
	if (!CHECK_GE(other, 0))
		return;
	stop = mmap(NULL, cdm_psize, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(cdm_enable(group, "+cdm"), 0);
	for (i = 0; i < CHURNERS; i++) {
		snprintf(name, sizeof(name), "churn%d", i);
		child[i] = cdm_make_group(group, name);
		task_start(&task[i], child[i]);
		CHECK_EQ(task_call(&task[i], op_map, 400, other).ret, 0);
		CHECK_EQ(task_call(&task[i], op_touch, 0, 400).other, 400);
		task_send(&task[i], op_churn, 400, 0);
	}
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
	CHECK_EQ(cdm_other_node(), -1);
	__atomic_store_n(stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < CHURNERS; i++) {
		reply = task_reply(&task[i]);
		CHECK_GE(reply.ok, 1);
		CHECK_EQ(reply.bus, 0);
		reply = task_call(&task[i], op_count, 0, 400);
		CHECK_EQ(reply.ram, 400);
		CHECK_EQ(reply.bad, 0);
		CHECK_EQ(cdm_usage(child[i], cdm_node), 0);
	}
	CHECK_EQ(cdm_usage(group, cdm_node), 0);
	/* It comes back empty, and can be charged again. */
	CHECK_EQ(cdm_hotplug("add", "movable"), 0);
	CHECK_EQ(cdm_usage(group, other), 0);
	CHECK_EQ(task_call(&task[0], op_move, 400, other).ok, 400);
	CHECK_EQ(cdm_usage(child[0], other), 400);
	for (i = 0; i < CHURNERS; i++)
		task_end(&task[i]);
	CHECK_EQ(cdm_wait_usage(child[0], other, 0), 0);
	munmap(stop, cdm_psize);
	CHECK_EQ(cdm_hotplug("remove", NULL), 0);
}

int main(void)
{
	cdm_init(14);
	cdm_case("fork into another group", test_fork_into);
	cdm_case("copies of a child in another group obey its limit",
		 test_fork_into_limit);
	cdm_case("groups changed between fork and write", test_fork_and_move);
	cdm_case("mremap of a part, and away", test_mremap);
	cdm_case("process_vm_writev: the owner of the memory pays",
		 test_vm_writev);
	cdm_case("ptrace: the owner of the memory pays", test_poke);
	cdm_case("io_uring's thread charges its process", test_ring_read);
	cdm_case("userfaultfd monitor of another group: the owner pays",
		 test_uffd_monitor);
	cdm_case("userfaultfd move keeps the charge", test_uffd_move);
	cdm_case("the owner dies while its memory is filled: RAM",
		 test_owner_gone);
	cdm_case("a loop device's thread charges nobody else", test_loop);
	cdm_case("memory enabled deeper than cdm, and later not",
		 test_depth);
	cdm_case("kernel memory under a policy for the device",
		 test_kernel_memory);
	cdm_case("memory removed under tasks that fault on it",
		 test_remove_in_use);
	cdm_exit();
}
