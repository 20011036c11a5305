/* qsort and bsearch. */
#include "suite.h"

static int by_int(const void *one, const void *other)
{
    int a = *(const int *)one, b = *(const int *)other;
    return (a > b) - (a < b);
}

static int by_bytes(const void *one, const void *other, void *size)
{
    return memcmp(one, other, *(size_t *)size);
}

static int always(const void *one, const void *other)
{
    (void)one, (void)other;
    return 1;
}

static int by_text(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static void sorts_each_length(void)
{
    uint64_t random = SEED;
    static int numbers[1000];
    for (size_t count = 0; count <= 1000; count += count < 60 ? 1 : 313) {
        long long sum = 0;
        for (size_t at = 0; at < count; at++)
            sum += numbers[at] = (int)(next_random(&random) % (count + 1)) - 5;
        qsort(numbers, count, sizeof *numbers, by_int);
        for (size_t at = 0; at < count; at++) {
            sum -= numbers[at];
            CHECK(at == 0 || numbers[at - 1] <= numbers[at]);
        }
        CHECK_INT(sum, 0);
    }
}

static void sorts_each_size(void)
{
    uint64_t random = SEED;
    unsigned char elements[40 * 50];
    for (size_t size = 1; size <= 40; size++) {
        for (size_t at = 0; at < size * 50; at++)
            elements[at] = next_random(&random);
        qsort_r(elements, 50, size, by_bytes, &size);
        for (size_t at = 1; at < 50; at++)
            CHECK(memcmp(elements + (at - 1) * size, elements + at * size, size) <= 0);
    }
}

static void sorts_texts(void)
{
    const char *words[] = {"pear", "apple", "fig", "", "banana"};
    qsort(words, COUNT(words), sizeof *words, by_text);
    CHECK_TEXT(words[0], "");
    CHECK_TEXT(words[1], "apple");
    CHECK_TEXT(words[4], "pear");
}

static void loses_nothing_without_an_order(void)
{
    int numbers[200], seen[200] = {0};
    for (int at = 0; at < 200; at++)
        numbers[at] = at;
    qsort(numbers, 200, sizeof *numbers, always);
    for (int at = 0; at < 200; at++)
        CHECK_INT(seen[numbers[at]]++, 0);
}

static void sorts_nothing(void)
{
    int one = 7;
    qsort(&one, 0, sizeof one, by_int);
    qsort(&one, 1, sizeof one, by_int);
    CHECK_INT(one, 7);
}

static void finds(void)
{
    int numbers[100];
    for (size_t count = 0; count <= 100; count++) {
        for (size_t at = 0; at < count; at++)
            numbers[at] = (int)at * 2;
        for (int key = -1; key <= (int)count * 2; key++) {
            int *found = bsearch(&key, numbers, count, sizeof *numbers, by_int);
            if (key >= 0 && key % 2 == 0 && key < (int)count * 2)
                CHECK(found == numbers + key / 2);
            else
                CHECK(found == NULL);
        }
    }
}

TESTS(sorting, TEST(sorts_each_length), TEST(sorts_each_size), TEST(sorts_texts), TEST(loses_nothing_without_an_order),
      TEST(sorts_nothing), TEST(finds));
