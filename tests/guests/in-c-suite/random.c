/* rand and its kin: numbers that need not be good, but are the same from the same seed. */
#include "suite.h"
#include <sys/random.h>

static void same_seed_same_numbers(void)
{
    int first[20];
    srand(42);
    for (size_t at = 0; at < COUNT(first); at++)
        first[at] = rand();
    srand(42);
    for (size_t at = 0; at < COUNT(first); at++)
        CHECK(rand() == first[at] && first[at] >= 0 && first[at] <= RAND_MAX);
    srand(43);
    int same = 0;
    for (size_t at = 0; at < COUNT(first); at++)
        same += rand() == first[at];
    CHECK(same < 5);
}

static void begins_as_with_seed_one(void)
{
    /* In a VM and a process where nobody drew before. */
    int first = rand();
    srand(1);
    CHECK_INT(rand(), first);
}

static void by_a_seed_of_the_callers(void)
{
    unsigned one = 7, other = 7;
    for (int times = 0; times < 100; times++)
        CHECK(rand_r(&one) == rand_r(&other));
    CHECK(one == other && one != 7);
}

static void spread(void)
{
    int counts[16] = {0};
    srand(5);
    for (int times = 0; times < 16000; times++)
        counts[(unsigned)rand() / (RAND_MAX / 16 + 1u)]++;
    for (size_t at = 0; at < COUNT(counts); at++)
        CHECK(counts[at] > 800 && counts[at] < 1200);
}

static void long_ones(void)
{
    srandom(9);
    long one = random();
    srandom(9);
    CHECK(random() == one && one >= 0 && one <= 0x7fffffff);
    double fraction = drand48();
    CHECK(fraction >= 0 && fraction < 1);
}

static void unpredictable(void)
{
    unsigned char one[64] = {0}, other[64] = {0};
    CHECK(getrandom(one, sizeof one, 0) == 64 && getentropy(other, sizeof other) == 0);
    CHECK(memcmp(one, other, sizeof one) != 0);
}

TESTS(random, TEST(same_seed_same_numbers), TEST(begins_as_with_seed_one), TEST(by_a_seed_of_the_callers), TEST(spread), TEST(long_ones),
      TEST(unpredictable));
