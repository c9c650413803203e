/*
 * Loaded into every program of the second of two builds that have to give the same bytes. The clock
 * is OFFSET_S seconds ahead, and a directory is listed in reverse.
 *
 * A file system sorts directories by hashes or by the order of their making, and never the same
 * twice; here the order is another one for certain. What asks the kernel itself, past the C library,
 * is not reached, nor what the library asks of itself: glob(3), ftw(3) and fts(3) list as they did.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifndef OFFSET_S
#error "OFFSET_S: how many seconds the clock is ahead"
#endif
#define MAX_ROWS (1u << 20)

struct listing {
	struct listing *after;
	DIR *dir;
	struct dirent64 **rows;
	size_t left;
	size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct listing *listings;

static void forget(struct listing *found)
{
	for (size_t i = 0; i < found->count; i++)
		free(found->rows[i]);
	free(found->rows);
	free(found);
}

/* Takes a directory's listing off the list; the caller holds the lock. */
static struct listing *take(DIR *dir)
{
	for (struct listing **at = &listings; *at; at = &(*at)->after) {
		struct listing *found = *at;

		if (found->dir == dir) {
			*at = found->after;
			return found;
		}
	}
	return NULL;
}

static int append(struct listing *made, const struct dirent64 *row)
{
	if (made->count == MAX_ROWS)
		return ENOMEM;
	if ((made->count & (made->count - 1)) == 0) {
		size_t room = made->count ? made->count * 2 : 1;
		void *rows = realloc(made->rows, room * sizeof(*made->rows));

		if (!rows)
			return ENOMEM;
		made->rows = rows;
	}
	struct dirent64 *copy = malloc(sizeof(*copy));

	if (!copy)
		return ENOMEM;
	memcpy(copy, row, row->d_reclen < sizeof(*copy) ? row->d_reclen : sizeof(*copy));
	made->rows[made->count++] = copy;
	return 0;
}

static struct listing *read_all(DIR *dir)
{
	struct dirent64 *(*next)(DIR *) = (struct dirent64 * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
	struct listing *made = calloc(1, sizeof(*made));
	int problem = made && next ? 0 : ENOMEM;

	while (!problem) {
		errno = 0;
		const struct dirent64 *row = next(dir);

		if (!row) {
			problem = errno;
			break;
		}
		problem = append(made, row);
	}
	if (problem) {
		if (made)
			forget(made);
		errno = problem;
		return NULL;
	}
	made->dir = dir;
	made->left = made->count;
	return made;
}

struct dirent64 *readdir64(DIR *dir)
{
	struct dirent64 *row = NULL;

	pthread_mutex_lock(&lock);
	struct listing *found = take(dir);
	int before = errno;

	if (!found)
		found = read_all(dir);
	if (found) {
		errno = before;
		if (found->left)
			row = found->rows[--found->left];
		found->after = listings;
		listings = found;
	}
	pthread_mutex_unlock(&lock);
	return row;
}

_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "both kinds of entries are one");

struct dirent *readdir(DIR *dir)
{
	return (struct dirent *)readdir64(dir);
}

static void drop(DIR *dir)
{
	pthread_mutex_lock(&lock);
	struct listing *found = take(dir);

	if (found)
		forget(found);
	pthread_mutex_unlock(&lock);
}

void rewinddir(DIR *dir)
{
	void (*real)(DIR *) = (void (*)(DIR *))dlsym(RTLD_NEXT, "rewinddir");

	drop(dir);
	if (real)
		real(dir);
}

int closedir(DIR *dir)
{
	int (*real)(DIR *) = (int (*)(DIR *))dlsym(RTLD_NEXT, "closedir");

	drop(dir);
	return real ? real(dir) : -1;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	long status = syscall(SYS_clock_gettime, clock, now);

	if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += OFFSET_S;
	return (int)status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &exact))
		return -1;
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *where)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now))
		return (time_t)-1;
	if (where)
		*where = now.tv_sec;
	return now.tv_sec;
}

int timespec_get(struct timespec *now, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}
