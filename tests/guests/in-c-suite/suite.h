/* Tests of what ISO C and POSIX promise of the library. Each is a function that aborts if the promise does not hold. */
#ifndef SUITE_H
#define SUITE_H

#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
};
#define TEST(name) {#name, name}

struct module {
    const char *name;
    const struct test *tests;
    size_t count;
};
/* The end of each file: what it tests. */
#define TESTS(of, ...)                                     \
    static const struct test of##_tests[] = {__VA_ARGS__}; \
    const struct module of##_module = {#of, of##_tests, sizeof of##_tests / sizeof *of##_tests}

extern const struct module *const modules[];
extern const size_t module_count;

/* Where files are made: on the host, a folder that is removed afterwards. */
#ifndef TMP
#define TMP "/tmp"
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* That it holds. */
#define CHECK(claim) ((claim) ? (void)0 : failed(__FILE__, __LINE__, #claim))
/* That two numbers are one. */
#define CHECK_INT(found, expected)                                                          \
    do {                                                                                    \
        long long found_ = (long long)(found), expected_ = (long long)(expected);           \
        if (found_ != expected_) {                                                          \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #found, found_, expected_); \
            abort();                                                                        \
        }                                                                                   \
    } while (0)
/* That two texts are one. */
#define CHECK_TEXT(found, expected)                                                         \
    do {                                                                                    \
        const char *found_ = (found), *expected_ = (expected);                              \
        if (found_ == NULL || strcmp(found_, expected_) != 0) {                             \
            fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #found, \
                    found_ ? found_ : "null", expected_);                                   \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

static inline void failed(const char *file, int line, const char *claim)
{
    fprintf(stderr, "%s:%d: not %s\n", file, line, claim);
    abort();
}

/* Random numbers that begin with SEED: SplitMix64. */
#define SEED UINT64_C(0x6a69666679319507)
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* What the compiler cannot know. */
static inline double hide(double x)
{
    volatile double hidden = x;
    return hidden;
}

#endif
