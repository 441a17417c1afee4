/* Preloaded into a process: calls that look at files, open them or resolve names take long.

   SLOW_PATHS are prefixes of paths, separated by colons. SLOW_CALLS is a file of three longs:
   the milliseconds that stat, open and getaddrinfo take; to lower one ends the calls under way. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STAT, OPEN, NAMES };

static void delay(int kind)
{
    static const volatile long *milliseconds;
    if (!milliseconds) {
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
        int file = real(getenv("SLOW_CALLS"), O_RDONLY);
        milliseconds = mmap(NULL, 3 * sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        close(file);
    }
    for (long waited = 0; waited < milliseconds[kind]; waited += 5)
        usleep(5000);
}

static void delay_path(int kind, const char *path)
{
    const char *prefix = getenv("SLOW_PATHS");
    while (path && prefix && *prefix) {
        size_t length = strcspn(prefix, ":");
        if (length && !strncmp(path, prefix, length)) {
            delay(kind);
            return;
        }
        prefix += length + (prefix[length] == ':');
    }
}

int stat64(const char *restrict path, struct stat64 *restrict status)
{
    int (*real)(const char *, struct stat64 *) = dlsym(RTLD_NEXT, "stat64");
    delay_path(STAT, path);
    return real(path, status);
}

int lstat64(const char *restrict path, struct stat64 *restrict status)
{
    int (*real)(const char *, struct stat64 *) = dlsym(RTLD_NEXT, "lstat64");
    delay_path(STAT, path);
    return real(path, status);
}

int fstatat64(int folder, const char *restrict path, struct stat64 *restrict status, int flags)
{
    int (*real)(int, const char *, struct stat64 *, int) = dlsym(RTLD_NEXT, "fstatat64");
    delay_path(STAT, path);
    return real(folder, path, status, flags);
}

int open64(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    delay_path(OPEN, path);
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    delay_path(OPEN, path);
    return real(path, flags, mode);
}

FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen64");
    delay_path(OPEN, path);
    return real(path, mode);
}

FILE *fopen(const char *restrict path, const char *restrict mode)
{
    FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");
    delay_path(OPEN, path);
    return real(path, mode);
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **)
        = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, "127.0.0.1"))
        delay(NAMES);
    return real(node, service, hints, found);
}
