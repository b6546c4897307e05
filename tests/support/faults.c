// Preloaded into a server: while the file TWARGA_FAULT exists, writes to the files of the folder TWARGA_FAULT_FOLDER fail.
// The file holds the number of the error (28: no space left), how many of a hundred writes fail, and 1 where reads fail, too.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_faulty(int fd, int is_read) {
    const char *control = getenv("TWARGA_FAULT"), *folder = getenv("TWARGA_FAULT_FOLDER");
    char link[64], path[4096], text[64] = "";
    int error = 0, percent = 0, reads = 0;
    if (!control || !folder) return 0;
    FILE *file = fopen(control, "r");
    if (!file) return 0;
    size_t count = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[count] = 0;
    if (sscanf(text, "%d %d %d", &error, &percent, &reads) < 2 || (is_read && !reads)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0 || rand() % 100 >= percent) return 0;
    errno = error;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILING(result, name, is_read, parameters, arguments)                                                          \
    result name parameters { return is_faulty(fd, is_read) ? -1 : NEXT(name) arguments; }

FAILING(ssize_t, write, 0, (int fd, const void *bytes, size_t count), (fd, bytes, count))
FAILING(ssize_t, pwrite, 0, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
FAILING(ssize_t, pwrite64, 0, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
FAILING(ssize_t, pread, 1, (int fd, void *bytes, size_t count, off_t at), (fd, bytes, count, at))
FAILING(ssize_t, pread64, 1, (int fd, void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
FAILING(int, fsync, 0, (int fd), (fd))
FAILING(int, fdatasync, 0, (int fd), (fd))
FAILING(int, ftruncate, 0, (int fd, off_t size), (fd, size))
FAILING(int, ftruncate64, 0, (int fd, off64_t size), (fd, size))
