/* Descriptors, folders and paths below /tmp: <fcntl.h>, <unistd.h>, <sys/stat.h>, <dirent.h>. */
#include "suite.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utime.h>

static char folder[160];

/* A folder of the test's own, and the path of `name` in it. */
static const char *in(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void make_folder(void)
{
    strcpy(folder, TMP "/suite-XXXXXX");
    CHECK(mkdtemp(folder) == folder && strcmp(folder, TMP "/suite-XXXXXX") != 0);
}

#define FAILS(call, error)      \
    do {                        \
        errno = 0;              \
        CHECK_INT(call, -1);    \
        CHECK_INT(errno, error); \
    } while (0)

static void opens(void)
{
    make_folder();
    FAILS(open(in("none"), O_RDONLY), ENOENT);
    int file = open(in("file"), O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(file >= 0);
    FAILS(open(in("file"), O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
    CHECK_INT(write(file, "hello", 5), 5);
    char bytes[8] = "";
    CHECK_INT(read(file, bytes, 8), 0);
    CHECK_INT(lseek(file, 1, SEEK_SET), 1);
    CHECK_INT(read(file, bytes, 3), 3);
    CHECK_TEXT(bytes, "ell");
    CHECK_INT(close(file), 0);
    FAILS(close(file), EBADF);
    FAILS(read(file, bytes, 1), EBADF);
    file = open(in("file"), O_WRONLY | O_TRUNC);
    struct stat stat;
    CHECK(fstat(file, &stat) == 0 && stat.st_size == 0);
    FAILS(read(file, bytes, 1), EBADF);
    close(file);
    FAILS(open(folder, O_WRONLY), EISDIR);
    FAILS(open(in("file/x"), O_RDONLY), ENOTDIR);
    FAILS(open(in("file"), O_RDONLY | O_DIRECTORY), ENOTDIR);
}

static void appends(void)
{
    make_folder();
    int one = open(in("file"), O_WRONLY | O_CREAT | O_APPEND, 0600), other = open(in("file"), O_WRONLY);
    CHECK(write(one, "ab", 2) == 2 && write(other, "X", 1) == 1 && write(one, "cd", 2) == 2);
    close(one), close(other);
    char bytes[8] = "";
    one = open(in("file"), O_RDONLY);
    CHECK_INT(read(one, bytes, 8), 4);
    CHECK_TEXT(bytes, "Xbcd");
    close(one);
}

static void seeks(void)
{
    make_folder();
    int file = open(in("file"), O_RDWR | O_CREAT, 0600);
    CHECK(write(file, "0123456789", 10) == 10);
    CHECK_INT(lseek(file, -3, SEEK_END), 7);
    CHECK_INT(lseek(file, 1, SEEK_CUR), 8);
    FAILS(lseek(file, -9, SEEK_CUR), EINVAL);
    FAILS(lseek(file, 0, 99), EINVAL);
    CHECK_INT(lseek(file, 15, SEEK_SET), 15);
    CHECK_INT(write(file, "x", 1), 1);
    char bytes[16];
    CHECK_INT(pread(file, bytes, 16, 8), 8);
    CHECK(memcmp(bytes, "89\0\0\0\0\0x", 8) == 0);
    CHECK_INT(pwrite(file, "AB", 2, 0), 2);
    CHECK_INT(lseek(file, 0, SEEK_CUR), 16);
    CHECK_INT(ftruncate(file, 4), 0);
    CHECK_INT(pread(file, bytes, 16, 0), 4);
    CHECK(memcmp(bytes, "AB23", 4) == 0);
    FAILS(ftruncate(file, -1), EINVAL);
    close(file);
}

static void duplicates(void)
{
    make_folder();
    int file = open(in("file"), O_RDWR | O_CREAT, 0600), copy = dup(file);
    CHECK(write(file, "abc", 3) == 3 && lseek(copy, 0, SEEK_CUR) == 3);
    close(file);
    CHECK(write(copy, "d", 1) == 1);
    CHECK_INT(dup2(copy, 77), 77);
    CHECK_INT(lseek(77, 0, SEEK_CUR), 4);
    CHECK_INT(dup2(77, 77), 77);
    FAILS(dup2(copy + 300, 5), EBADF);
    CHECK(fcntl(77, F_GETFL) >= 0 && (fcntl(77, F_GETFL) & O_ACCMODE) == O_RDWR);
    int third = fcntl(77, F_DUPFD, 100);
    CHECK_INT(third, 100);
    close(copy), close(77), close(third);
}

static void stats(void)
{
    make_folder();
    struct stat stat_of, of_folder;
    int file = open(in("file"), O_RDWR | O_CREAT, 0640);
    CHECK(write(file, "12345", 5) == 5 && stat(in("file"), &stat_of) == 0 && stat(folder, &of_folder) == 0);
    CHECK(S_ISREG(stat_of.st_mode) && stat_of.st_size == 5 && stat_of.st_nlink == 1 && (stat_of.st_mode & 0777) == 0640);
    CHECK(S_ISDIR(of_folder.st_mode) && of_folder.st_ino != stat_of.st_ino);
    CHECK(chmod(in("file"), 0600) == 0 && fstat(file, &stat_of) == 0 && (stat_of.st_mode & 0777) == 0600);
    CHECK(lstat(in("file"), &stat_of) == 0 && fstatat(AT_FDCWD, in("file"), &stat_of, 0) == 0);
    FAILS(stat(in("none"), &stat_of), ENOENT);
    FAILS(stat("", &stat_of), ENOENT);
    FAILS(fstat(500, &stat_of), EBADF);
    struct timespec times[2] = {{1000000000, 5}, {0, UTIME_OMIT}};
    time_t modified = stat_of.st_mtime;
    CHECK(utimensat(AT_FDCWD, in("file"), times, 0) == 0 && stat(in("file"), &stat_of) == 0);
    CHECK(stat_of.st_atim.tv_sec == 1000000000 && stat_of.st_atim.tv_nsec == 5 && stat_of.st_mtime == modified);
    CHECK(unlink(in("file")) == 0 && fstat(file, &stat_of) == 0 && stat_of.st_nlink == 0);
    close(file);
}

static void makes_and_removes(void)
{
    make_folder();
    CHECK_INT(mkdir(in("a"), 0755), 0);
    FAILS(mkdir(in("a"), 0755), EEXIST);
    FAILS(mkdir(in("x/y"), 0755), ENOENT);
    close(open(in("a/file"), O_CREAT | O_WRONLY, 0600));
    FAILS(rmdir(in("a")), ENOTEMPTY);
    FAILS(rmdir(in("a/file")), ENOTDIR);
    FAILS(unlink(in("none")), ENOENT);
    CHECK_INT(rename(in("a/file"), in("moved")), 0);
    CHECK_INT(access(in("moved"), F_OK), 0);
    FAILS(access(in("a/file"), F_OK), ENOENT);
    FAILS(rename(in("none"), in("x")), ENOENT);
    CHECK_INT(rmdir(in("a")), 0);
    CHECK_INT(remove(in("moved")), 0);
    CHECK_INT(remove(folder), 0);
    FAILS(access(folder, F_OK), ENOENT);
}

static void lists(void)
{
    make_folder();
    for (int number = 0; number < 30; number++) {
        char name[8];
        snprintf(name, sizeof name, "%02d", number);
        close(open(in(name), O_CREAT | O_WRONLY, 0600));
    }
    mkdir(in("sub"), 0700);
    DIR *open_folder = opendir(folder);
    CHECK(open_folder != NULL);
    int files = 0, folders = 0, dots = 0;
    struct dirent *entry;
    while ((entry = readdir(open_folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            dots++;
        else if (strcmp(entry->d_name, "sub") == 0)
            folders += entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
        else
            files++;
    }
    CHECK(files == 30 && folders == 1 && dots == 2);
    rewinddir(open_folder);
    CHECK(readdir(open_folder) != NULL && closedir(open_folder) == 0);
    errno = 0;
    CHECK(opendir(in("none")) == NULL && errno == ENOENT);
    errno = 0;
    CHECK(opendir(in("00")) == NULL && errno == ENOTDIR);
}

static void where_it_is(void)
{
    make_folder();
    char here[256];
    CHECK(chdir(folder) == 0);
    CHECK_TEXT(getcwd(here, sizeof here), folder);
    int file = open("by-name", O_CREAT | O_WRONLY, 0600);
    CHECK(file >= 0 && access(in("by-name"), F_OK) == 0);
    close(file);
    errno = 0;
    CHECK(getcwd(here, 2) == NULL && errno == ERANGE);
    CHECK(chdir("/") == 0);
    FAILS(chdir(in("by-name")), ENOTDIR);
    char *real = realpath(in("./../."), NULL), up[PATH_MAX];
    CHECK_TEXT(real, TMP);
    free(real);
    CHECK(realpath(in("none"), up) == NULL);
}

static void temporary_names(void)
{
    char name[] = TMP "/suite-file-XXXXXX", bad[] = TMP "/no-pattern";
    int file = mkstemp(name);
    CHECK(file >= 0 && strncmp(name, TMP "/suite-file-", strlen(TMP "/suite-file-")) == 0 && access(name, F_OK) == 0);
    close(file);
    CHECK(unlink(name) == 0);
    FAILS(mkstemp(bad), EINVAL);
}

static void devices(void)
{
    char bytes[8] = "xxxxxxx";
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
    CHECK(write(null, "x", 1) == 1 && read(null, bytes, 8) == 0 && read(zero, bytes, 8) == 8 && bytes[7] == 0);
    close(null), close(zero);
}

static void seen_from_a_folder(void)
{
    make_folder();
    CHECK(mkdirat(AT_FDCWD, in("a"), 0755) == 0 && chdir(folder) == 0);
    int file = openat(AT_FDCWD, "a/file", O_CREAT | O_WRONLY, 0600);
    CHECK(file >= 0 && close(file) == 0);
    struct stat stat;
    CHECK(fstatat(AT_FDCWD, "a/file", &stat, 0) == 0 && faccessat(AT_FDCWD, "a/file", R_OK, 0) == 0);
    CHECK(renameat(AT_FDCWD, "a/file", AT_FDCWD, "b") == 0 && unlinkat(AT_FDCWD, "b", 0) == 0);
    FAILS(unlinkat(AT_FDCWD, "a", 0), EISDIR);
    CHECK(unlinkat(AT_FDCWD, "a", AT_REMOVEDIR) == 0 && chdir("/") == 0);
    /* A whole path needs no folder. */
    CHECK(openat(-5, in("none"), O_RDONLY) == -1 && errno == ENOENT);
}

static void many_pieces(void)
{
    make_folder();
    int file = open(in("file"), O_CREAT | O_RDWR, 0600);
    char one[2], other[8] = "";
    struct iovec out[] = {{"ab", 2}, {"", 0}, {"cdef", 4}}, into[] = {{one, 2}, {other, 7}};
    CHECK_INT(writev(file, out, 3), 6);
    CHECK_INT(lseek(file, 0, SEEK_SET), 0);
    CHECK_INT(readv(file, into, 2), 6);
    CHECK(memcmp(one, "ab", 2) == 0 && strcmp(other, "cdef") == 0);
    CHECK_INT(readv(file, into, 2), 0);
    close(file);
}

static void by_path(void)
{
    make_folder();
    close(open(in("file"), O_CREAT | O_WRONLY, 0600));
    CHECK(truncate(in("file"), 100) == 0);
    struct stat of;
    CHECK(stat(in("file"), &of) == 0 && of.st_size == 100);
    FAILS(truncate(in("none"), 1), ENOENT);
    FAILS(truncate(folder, 1), EISDIR);
    struct utimbuf both = {1000, 2000};
    CHECK(utime(in("file"), &both) == 0 && stat(in("file"), &of) == 0 && of.st_atime == 1000 && of.st_mtime == 2000);
    struct timeval times[2] = {{3000, 5}, {4000, 6}};
    CHECK(utimes(in("file"), times) == 0 && stat(in("file"), &of) == 0);
    CHECK(of.st_atim.tv_sec == 3000 && of.st_atim.tv_nsec == 5000 && of.st_mtim.tv_sec == 4000 && of.st_mtim.tv_nsec == 6000);
    int file = open(in("file"), O_RDONLY);
    struct timespec now[2] = {{0, UTIME_NOW}, {5, 6}};
    CHECK(futimens(file, now) == 0 && fstat(file, &of) == 0 && of.st_atime > 1700000000 && of.st_mtim.tv_nsec == 6);
    now[0].tv_nsec = 1000000000;
    FAILS(futimens(file, now), EINVAL);
    close(file);
    char target[8];
    FAILS(readlink(in("file"), target, 8), EINVAL);
    CHECK(fchmodat(AT_FDCWD, in("file"), 0604, 0) == 0 && stat(in("file"), &of) == 0 && (of.st_mode & 0777) == 0604);
}

static void of_an_open_folder(void)
{
    make_folder();
    close(open(in("file"), O_CREAT | O_WRONLY, 0600));
    int opened = open(folder, O_RDONLY | O_DIRECTORY);
    CHECK(opened >= 0);
    char byte;
    FAILS(read(opened, &byte, 1), EISDIR);
    DIR *list = fdopendir(opened);
    CHECK(list != NULL && dirfd(list) >= 0);
    int count = 0;
    while (readdir(list))
        count++;
    CHECK(count == 3 && closedir(list) == 0);
}

TESTS(files, TEST(opens), TEST(appends), TEST(seeks), TEST(duplicates), TEST(stats), TEST(makes_and_removes), TEST(lists), TEST(where_it_is),
      TEST(temporary_names), TEST(devices), TEST(seen_from_a_folder), TEST(many_pieces), TEST(by_path), TEST(of_an_open_folder));
