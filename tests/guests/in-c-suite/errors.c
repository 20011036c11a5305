/* errno and its texts. */
#include "suite.h"
#include <pthread.h>

static void texts(void)
{
    static const int numbers[] = {EPERM, ENOENT, EBADF, ENOMEM, EACCES, EEXIST, ENOTDIR, EISDIR, EINVAL, EMFILE,
                                  ENOSPC, EROFS, EDOM, ERANGE, ENOSYS, ENOTEMPTY, EILSEQ, EOVERFLOW, ETIMEDOUT};
    for (size_t at = 0; at < COUNT(numbers); at++) {
        char text[256];
        snprintf(text, sizeof text, "%s", strerror(numbers[at]));
        CHECK(text[0] != 0 && strstr(text, "nknown") == NULL);
        for (size_t other = 0; other < at; other++)
            CHECK(strcmp(text, strerror(numbers[other])) != 0);
    }
}

static void unknown_numbers(void)
{
    errno = 77;
    CHECK(strlen(strerror(-1)) > 0 && strlen(strerror(99999)) > 0 && strlen(strerror(0)) > 0);
}

static void into_a_room(void)
{
    char room[100] = "";
    const char *text = strerror_r(ENOENT, room, sizeof room);
    CHECK_TEXT(text, strerror(ENOENT));
}

static void *sets(void *unused)
{
    errno = EBADF;
    return unused;
}

static void is_a_threads_own(void)
{
    pthread_t thread;
    errno = ENOENT;
    CHECK(pthread_create(&thread, NULL, sets, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK_INT(errno, ENOENT);
}

TESTS(errors, TEST(texts), TEST(unknown_numbers), TEST(into_a_room), TEST(is_a_threads_own));
