/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks on images that qemu and qemu-img respect, and respect theirs.
 *
 * Each right that a user of the image has is a shared lock on byte 100 + n, and each right that it does not want
 * others to have is a shared lock on byte 200 + n. After taking one's own, one looks whether others stand in the
 * way: at 200 + n for each right one has, at 100 + n for each that one refuses to others. The rights' numbers are
 * part of what qemu calls its image locking protocol.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "backend/block/bfile.h"
#include "base/log.h"

enum { BASE_HAVE = 100, BASE_REFUSE = 200 };
enum { CONSISTENT_READ = 1 << 0, WRITE = 1 << 1, RESIZE = 1 << 3, N_RIGHTS = 4 };

static int lock_byte(int fd, off_t byte, int cmd, short type, short *found)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	if (fcntl(fd, cmd, &l) < 0)
		return -errno;
	if (found)
		*found = l.l_type;
	return 0;
}

/* A shared lock on each byte of the set; a file system without locks is not in the way. */
static int take(int fd, off_t base, unsigned set)
{
	for (unsigned n = 0; n < N_RIGHTS; n++) {
		int rc = set & 1u << n ? lock_byte(fd, base + n, F_OFD_SETLK, F_RDLCK, NULL) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

/* The number of a right in the set whose byte another user has locked, or -1. */
static int taken(int fd, off_t base, unsigned set)
{
	for (unsigned n = 0; n < N_RIGHTS; n++) {
		short type = F_UNLCK;

		if (set & 1u << n && !lock_byte(fd, base + n, F_OFD_GETLK, F_WRLCK, &type) && type != F_UNLCK)
			return (int)n;
	}
	return -1;
}

static int try_lock(int fd, const char *path, bool write, bool share, struct err *e)
{
	const unsigned have = CONSISTENT_READ | (write ? WRITE | RESIZE : 0), refuse = share ? 0 : WRITE | RESIZE;
	int rc = take(fd, BASE_HAVE, have);

	if (!rc)
		rc = take(fd, BASE_REFUSE, refuse);
	if (rc == -EAGAIN || rc == -EACCES)
		return err_set(e, EAGAIN, "%s: another program has locked it exclusively; stop that first", path);
	if (rc) {
		log_msg(LOG_INFO, "%s: its file system has no locks (%s); nothing keeps a second writer away", path,
			strerror(-rc));
		return 0;
	}
	if (taken(fd, BASE_HAVE, refuse) >= 0)
		return err_set(e, EAGAIN, "%s: another program writes to it; stop that first%s", path,
			       write ? "" : ", or work on a copy");
	if (taken(fd, BASE_REFUSE, have) >= 0)
		return err_set(e, EAGAIN, "%s: another program is using it; stop that first%s", path,
			       write ? ", or open it read-only" : "");
	return 0;
}

/*
 * The kernel ends the requests of a killed process, and with them its locks, a moment after the process itself is
 * gone. So a lock that is in the way gets a second to go away.
 */
int file_lock(int fd, const char *path, bool write, bool share, struct err *e)
{
	const struct timespec pause = { 0, 50000000 };
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = BASE_HAVE, .l_len = 2 * (BASE_REFUSE - BASE_HAVE) };
	int rc;

	for (unsigned i = 0; i < 20; i++) {
		rc = try_lock(fd, path, write, share, e);
		if (rc != -EAGAIN)
			return rc;
		/* Two that wait for each other would wait for ever. */
		fcntl(fd, F_OFD_SETLK, &all);
		nanosleep(&pause, NULL);
	}
	return rc;
}
