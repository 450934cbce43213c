/* A disk for tests, loaded before libc (LD_PRELOAD): it writes down what is done to the database's
 * files, so that a power cut can be played afterwards at any point, and fails when told to.
 *
 * DISK_DATA is the directory of the database, DISK_CONTROL another one. In that, `log` gets the operations; while they exist, `full` lets no
 * file grow, `wal-sync-fails` and `db-sync-fails` let a sync of that file fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DB, WAL, ROLLBACK, N_NAMES, DIRECTORY };
static const char *const NAMES[N_NAMES] = {"waba.db", "waba.db-wal", "waba.db-journal"};

#define N_FDS 65536
static unsigned char file_of[N_FDS]; /* one more than the above; 0 is any other file */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *control, *data;
static int log_fd = -1;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_unlink)(const char *);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void start(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    control = getenv("DISK_CONTROL");
    data = getenv("DISK_DATA");
    if (!control) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/log", control);
    log_fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
}

static int is_told(const char *name) {
    char path[4096];
    if (!control) return 0;
    snprintf(path, sizeof path, "%s/%s", control, name);
    return access(path, F_OK) == 0;
}

/* One operation, little-endian: kind, file, 6 bytes of nothing, offset, length, the bytes. */
static void note(char kind, int file, uint64_t offset, const void *bytes, uint64_t n) {
    unsigned char head[24] = {(unsigned char)kind, (unsigned char)file};
    if (log_fd < 0) return;
    memcpy(head + 8, &offset, 8);
    memcpy(head + 16, &n, 8);
    if (real_write(log_fd, head, sizeof head) != (ssize_t)sizeof head) abort();
    if (n && real_write(log_fd, bytes, n) != (ssize_t)n) abort();
}

static int file_at(int fd) { return fd >= 0 && fd < N_FDS ? file_of[fd] - 1 : -1; }

static int name_of(const char *path) {
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    for (int i = 0; i < N_NAMES; i++)
        if (strcmp(base, NAMES[i]) == 0) return i;
    return -1;
}

static int open_as(const char *path, int flags, mode_t mode) {
    int file = name_of(path);
    pthread_mutex_lock(&lock);
    int is_new = file >= 0 && (flags & O_CREAT) && access(path, F_OK) != 0;
    int fd = real_open(path, flags, mode);
    int error = errno;
    if (data && strcmp(path, data) == 0) file = DIRECTORY;
    if (fd >= 0 && fd < N_FDS) file_of[fd] = (unsigned char)(file + 1);
    if (fd >= 0 && is_new) note('c', file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, last); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }
int open(const char *path, int flags, ...) { MODE(flags, flags) return open_as(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, flags) return open_as(path, flags, mode); }

int close(int fd) {
    if (fd >= 0 && fd < N_FDS) file_of[fd] = 0;
    return real_close(fd);
}

int unlink(const char *path) {
    int file = name_of(path);
    if (file < 0) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int end = real_unlink(path);
    int error = errno;
    if (end == 0) note('u', file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return end;
}

/* Bytes that may be written there: on a full disk, what the file has already. */
static size_t room(int fd, size_t n, off_t at) {
    struct stat it;
    if (!is_told("full") || fstat(fd, &it) != 0) return n;
    if (at >= it.st_size) return 0;
    size_t has = (size_t)(it.st_size - at);
    return has < n ? has : n;
}

static ssize_t write_at(int fd, const void *bytes, size_t n, off_t at, int is_placed) {
    ssize_t end;
    pthread_mutex_lock(&lock);
    size_t may = room(fd, n, at);
    if (n && !may) {
        end = -1;
        errno = ENOSPC;
    } else {
        note('w', file_at(fd), (uint64_t)at, bytes, may);
        end = is_placed ? real_pwrite(fd, bytes, may, at) : real_write(fd, bytes, may);
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return end;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    int file = file_at(fd);
    if (file < 0 || file >= N_NAMES) return real_write(fd, bytes, n);
    return write_at(fd, bytes, n, lseek(fd, 0, SEEK_CUR), 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) {
    int file = file_at(fd);
    if (file < 0 || file >= N_NAMES) return real_pwrite(fd, bytes, n, at);
    return write_at(fd, bytes, n, at, 1);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return pwrite64(fd, bytes, n, at); }

int ftruncate64(int fd, off_t n) {
    int file = file_at(fd);
    if (file < 0 || file >= N_NAMES) return real_ftruncate(fd, n);
    pthread_mutex_lock(&lock);
    note('t', file, (uint64_t)n, NULL, 0);
    int end = real_ftruncate(fd, n);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return end;
}
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }

static int sync_by(int (*real)(int), int fd) {
    int file = file_at(fd);
    if (file < 0) return real(fd);
    if ((file == WAL && is_told("wal-sync-fails")) || (file == DB && is_told("db-sync-fails"))) {
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&lock);
    int end = real(fd);
    int error = errno;
    if (end == 0) note(file == DIRECTORY ? 'd' : 's', file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return end;
}
int fsync(int fd) { return sync_by(real_fsync, fd); }
int fdatasync(int fd) { return sync_by(real_fdatasync, fd); }
