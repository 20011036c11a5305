/* What else a program asks of its system: clocks, memory in pages, names, threads that nobody joins. */
#include "suite.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void pages(void)
{
    char *at = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED && (uintptr_t)at % 4096 == 0);
    for (size_t place = 0; place < 3 * 4096; place++)
        CHECK_INT(at[place], 0);
    memset(at, 1, 3 * 4096);
    CHECK_INT(munmap(at, 3 * 4096), 0);
    at = mmap(NULL, 100, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED && at[99] == 0 && munmap(at, 100) == 0);
    errno = 0;
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
}

static void names(void)
{
    struct utsname system;
    char name[256];
    CHECK(uname(&system) == 0 && strlen(system.sysname) > 0 && strlen(system.machine) > 0);
    CHECK(gethostname(name, sizeof name) == 0 && strlen(name) > 0 && getpagesize() == 4096);
    char *here = getcwd(NULL, 0);
    CHECK(here != NULL && here[0] == '/');
    free(here);
}

static void terminals(void)
{
    int file = open("/dev/null", O_RDWR);
    errno = 0;
    CHECK(isatty(file) == 0 && errno == ENOTTY);
    close(file);
    errno = 0;
    CHECK(isatty(file) == 0 && errno == EBADF);
}

static void times_of_day(void)
{
    struct timeval day;
    struct timespec wall;
    CHECK(gettimeofday(&day, NULL) == 0 && clock_gettime(CLOCK_REALTIME, &wall) == 0);
    CHECK(day.tv_usec >= 0 && day.tv_usec < 1000000 && wall.tv_sec - day.tv_sec <= 1);
}

static void sleeps_until(void)
{
    struct timespec until, now;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 2000000;
    until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
    CHECK_INT(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CHECK(now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
    /* What is over is not waited for. */
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0 && usleep(500) == 0 && sleep(0) == 0);
    struct timespec bad = {0, -1};
    CHECK_INT(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL), EINVAL);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *times_out(void *unused)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 2000000;
    until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
    (void)unused;
    return (void *)(intptr_t)pthread_mutex_timedlock(&mutex, &until);
}

static void locks_in_time(void)
{
    pthread_t thread;
    void *result;
    pthread_mutex_lock(&mutex);
    CHECK(pthread_create(&thread, NULL, times_out, NULL) == 0 && pthread_join(thread, &result) == 0);
    CHECK_INT((intptr_t)result, ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    CHECK(pthread_create(&thread, NULL, times_out, NULL) == 0 && pthread_join(thread, &result) == 0);
    CHECK_INT((intptr_t)result, 0);
}

static void waits_on_the_other_clock(void)
{
    pthread_condattr_t attributes;
    pthread_cond_t condition;
    struct timespec until;
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    CHECK(pthread_condattr_init(&attributes) == 0 && pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK_INT(pthread_cond_init(&condition, &attributes), 0);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 2000000;
    until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&own);
    CHECK_INT(pthread_cond_timedwait(&condition, &own, &until), ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&own) == 0 && pthread_cond_destroy(&condition) == 0);
}

static volatile int is_done;
static void *does(void *unused)
{
    is_done = 1;
    return unused;
}

static void detached(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK_INT(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED), 0);
    CHECK_INT(pthread_create(&thread, &attributes, does, NULL), 0);
    for (int times = 0; times < 1000 && !is_done; times++)
        usleep(100);
    CHECK_INT(is_done, 1);
    is_done = 0;
    CHECK(pthread_create(&thread, NULL, does, NULL) == 0 && pthread_detach(thread) == 0);
    for (int times = 0; times < 1000 && !is_done; times++)
        usleep(100);
    CHECK_INT(is_done, 1);
}

static void *has_a_name(void *unused)
{
    char name[16];
    CHECK(pthread_setname_np(pthread_self(), "fifteen letters") == 0 && pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    CHECK_TEXT(name, "fifteen letters");
    CHECK_INT(pthread_setname_np(pthread_self(), "sixteen letters!"), ERANGE);
    return unused;
}

static void names_of_threads(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, has_a_name, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static void room_is_kept(void)
{
    char name[] = TMP "/suite-room-XXXXXX";
    int file = mkostemp(name, O_CLOEXEC);
    CHECK(file >= 0 && posix_fallocate(file, 0, 5000) == 0 && lseek(file, 0, SEEK_END) == 5000);
    CHECK(posix_fallocate(file, 0, 10) == 0 && lseek(file, 0, SEEK_END) == 5000);
    CHECK(posix_fallocate(file, -1, 10) == EINVAL && posix_fallocate(-1, 0, 10) == EBADF);
    CHECK(close(file) == 0 && unlink(name) == 0);
}

TESTS(system, TEST(pages), TEST(names), TEST(terminals), TEST(times_of_day), TEST(sleeps_until), TEST(locks_in_time),
      TEST(waits_on_the_other_clock), TEST(detached), TEST(names_of_threads), TEST(room_is_kept));
