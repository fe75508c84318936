// SPDX-License-Identifier: GPL-2.0
/* Pins, see pin.h. */

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "node.h"
#include "pin.h"

/* Pages for one pipe: the table of more might be too large to allocate. */
#define PIPE_PAGES	4096

/* Put references to PIPE_PAGES pages at most into a new pipe. */
static long pin_some(struct cdm_buf *buf, char *addr, long nr)
{
	struct iovec iov = { .iov_base = addr };
	ssize_t ret;
	int fds[2];

	if (nr > PIPE_PAGES)
		nr = PIPE_PAGES;
	iov.iov_len = nr * cdm_psize;
	if (buf->nr_pins + 2 > (int)ARRAY_SIZE(buf->pins) ||
	    pipe2(fds, O_CLOEXEC))
		return -1;
	buf->pins[buf->nr_pins++] = fds[0];
	buf->pins[buf->nr_pins++] = fds[1];
	if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_PAGES * cdm_psize) < 0)
		return -1;
	while (iov.iov_len) {
		ret = vmsplice(fds[1], &iov, 1, SPLICE_F_NONBLOCK);
		if (ret <= 0)
			return -1;
		iov.iov_base = (char *)iov.iov_base + ret;
		iov.iov_len -= ret;
	}
	return nr;
}

/* Hold references to the pages in pipes, so that they cannot be migrated. */
struct cdm_reply op_pin(struct cdm_buf *buf, long first, long nr)
{
	struct cdm_reply reply = { 0 };
	long some;

	while (reply.ret < nr) {
		some = pin_some(buf, buf->addr +
				(first + reply.ret) * cdm_psize,
				nr - reply.ret);
		if (some < 0)
			return buf_errno(-1);
		reply.ret += some;
	}
	return reply;
}

struct cdm_reply op_unpin(struct cdm_buf *buf, long a, long b)
{
	struct cdm_reply reply = { 0 };

	(void)a;
	(void)b;
	while (buf->nr_pins)
		close(buf->pins[--buf->nr_pins]);
	return reply;
}

/*
 * From mm/gup_test.h, which is not exported: pin pages as a driver does whose
 * hardware writes to them. Only one process at a time can do so.
 */
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define USE_WRITE	1

struct pin_longterm_test {
	unsigned long long addr;
	unsigned long long size;
	unsigned int flags;
};

static int longterm_fd = -1;

/* With no pages at all, only open the file. */
struct cdm_reply op_longterm(struct cdm_buf *buf, long first, long nr)
{
	struct pin_longterm_test args = {
		.addr = (unsigned long)buf->addr + first * cdm_psize,
		.size = nr * cdm_psize,
		.flags = USE_WRITE,
	};

	if (longterm_fd < 0)
		longterm_fd = open("/sys/kernel/debug/gup_test",
				   O_RDWR | O_CLOEXEC);
	if (longterm_fd < 0)
		return buf_errno(-1);
	if (!nr)
		return buf_errno(0);
	return buf_errno(ioctl(longterm_fd, PIN_LONGTERM_TEST_START, &args));
}

struct cdm_reply op_longterm_end(struct cdm_buf *buf, long a, long b)
{
	(void)buf;
	(void)a;
	(void)b;
	if (longterm_fd >= 0)
		close(longterm_fd);
	longterm_fd = -1;
	return buf_errno(0);
}
