/*
 * Delays every flush of a file by SLOW_FLUSH_US microseconds, as a disk does that has no cache of its own.
 *
 *   cc -shared -fPIC -O2 -o slow_flush.so slow_flush.c -ldl
 *   LD_PRELOAD=$PWD/slow_flush.so SLOW_FLUSH_US=2000 PROGRAM
 *
 * With SLOW_FLUSH_LOG set, the process reports on standard error how often it was delayed, when it ends.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef int (*flush)(int);

static atomic_long delayed;

static int slowly(const char *name, int file) {
  const char *text = getenv("SLOW_FLUSH_US");
  long microseconds = text ? atol(text) : 0;
  flush next = (flush)dlsym(RTLD_NEXT, name);
  if (next == NULL) {
    errno = ENOSYS;
    return -1;
  }
  if (microseconds > 0) {
    struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    atomic_fetch_add(&delayed, 1);
  }
  return next(file);
}

int fsync(int file) { return slowly("fsync", file); }

int fdatasync(int file) { return slowly("fdatasync", file); }

__attribute__((destructor)) static void report(void) {
  if (getenv("SLOW_FLUSH_LOG") != NULL) {
    fprintf(stderr, "slow_flush: %ld flushes were delayed\n", atomic_load(&delayed));
  }
}
