/* A disk that fails: preloaded before libc, it makes writes and syncs of the ledger's files fail as asked.

   BOTD_DISK_FAULT names a file; while it is there it says in one line
       OP ERROR SUFFIX SKIP TIMES
   OP write, sync or truncate; ERROR a number of errno, 0 to kill the process (a write: after half of it);
   SUFFIX of the file's name; SKIP calls pass first; TIMES calls fail, 0 for all of them.
   BOTD_DISK_LOG names a file that gets a line for every such call: OP FD NAME RESULT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long passed, failed;
static long long born;

static const char *name_of(int fd, char *buffer, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, size - 1);
    if (length <= 0) return NULL;
    buffer[length] = 0;
    char *slash = strrchr(buffer, '/');
    const char *name = slash ? slash + 1 : buffer;
    return strstr(name, "ledger") ? name : NULL;
}

static int ends_with(const char *name, const char *suffix) {
    size_t whole = strlen(name), end = strlen(suffix);
    return whole >= end && !strcmp(name + whole - end, suffix);
}

/* What this call must do: -1 pass, 0 die, else fail with that error. */
static int fate(const char *op, const char *name) {
    const char *path = getenv("BOTD_DISK_FAULT");
    struct stat status;
    if (!path || !name || stat(path, &status)) return -1;
    char text[256] = {0}, wanted[32], suffix[128];
    int error;
    long skip, times;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t length = read(fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (length <= 0 || sscanf(text, "%31s %d %127s %ld %ld", wanted, &error, suffix, &skip, &times) != 5) return -1;
    long long now = (long long)status.st_ino * 1000003 + status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec;
    if (now != born) born = now, passed = failed = 0;
    if (strcmp(op, wanted) || !ends_with(name, suffix)) return -1;
    if (__sync_fetch_and_add(&passed, 1) < skip) return -1;
    if (times && __sync_fetch_and_add(&failed, 1) >= times) return -1;
    return error;
}

static void note(const char *op, int fd, const char *name, long result) {
    const char *path = getenv("BOTD_DISK_LOG");
    if (!path || !name) return;
    char line[256];
    int length = snprintf(line, sizeof line, "%s %d %s %ld\n", op, fd, name, result);
    int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) return;
    syscall(SYS_write, log, line, (size_t)length);
    syscall(SYS_close, log);
}

static void die(void) { kill(getpid(), SIGKILL); pause(); }

static ssize_t write_at(int fd, const void *data, size_t size, off_t at) {
    char buffer[4096];
    const char *name = name_of(fd, buffer, sizeof buffer);
    int error = fate("write", name);
    if (error == 0) {
        syscall(SYS_pwrite64, fd, data, size / 2, at);
        die();
    }
    long result = error > 0 ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
    int said = error > 0 ? error : errno;
    note("write", fd, name, result);
    errno = said;
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return write_at(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return write_at(fd, data, size, at); }

static int sync_it(int fd, long call) {
    char buffer[4096];
    const char *name = name_of(fd, buffer, sizeof buffer);
    int error = fate("sync", name);
    if (error == 0) die();
    long result = error > 0 ? -1 : syscall(call, fd);
    int said = error > 0 ? error : errno;
    note("sync", fd, name, result);
    errno = said;
    return (int)result;
}

int fsync(int fd) { return sync_it(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_it(fd, SYS_fdatasync); }

static int truncate_it(int fd, off_t size) {
    char buffer[4096];
    const char *name = name_of(fd, buffer, sizeof buffer);
    int error = fate("truncate", name);
    if (error == 0) die();
    if (error > 0) { errno = error; return -1; }
    return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return truncate_it(fd, size); }
int ftruncate64(int fd, off_t size) { return truncate_it(fd, size); }

int close(int fd) {
    char buffer[4096];
    note("close", fd, getenv("BOTD_DISK_LOG") ? name_of(fd, buffer, sizeof buffer) : NULL, 0);
    return (int)syscall(SYS_close, fd);
}
