/* malloc and its family. */
#include "suite.h"
#include <malloc.h>

static void aligned_for_anything(void)
{
    void *blocks[50];
    for (size_t size = 0; size < 50; size++) {
        blocks[size] = malloc(size * 13);
        CHECK(blocks[size] != NULL && (uintptr_t)blocks[size] % _Alignof(max_align_t) == 0);
        memset(blocks[size], (int)size, size * 13);
    }
    for (size_t size = 0; size < 50; size++) {
        for (size_t at = 0; at < size * 13; at++)
            CHECK_INT(((unsigned char *)blocks[size])[at], size);
        free(blocks[size]);
    }
    free(NULL);
}

static void zeroed(void)
{
    for (int times = 0; times < 5; times++) {
        unsigned char *block = calloc(100, 33);
        CHECK(block != NULL);
        for (size_t at = 0; at < 3300; at++)
            CHECK_INT(block[at], 0);
        memset(block, 0xff, 3300);
        free(block);
    }
}

static void products_do_not_wrap(void)
{
    volatile size_t many = SIZE_MAX / 2;
    errno = 0;
    CHECK(calloc(many, 4) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(NULL, many, 4) == NULL && errno == ENOMEM);
}

static void too_large_is_null(void)
{
    volatile size_t size = (size_t)1 << 46;
    errno = 0;
    CHECK(malloc(size) == NULL && errno == ENOMEM);
    volatile size_t largest = SIZE_MAX - 8;
    CHECK(malloc(largest) == NULL);
    char *kept = malloc(10);
    strcpy(kept, "kept");
    CHECK(realloc(kept, size) == NULL);
    CHECK_TEXT(kept, "kept");
    free(kept);
}

static void grows_and_shrinks(void)
{
    char *block = realloc(NULL, 5);
    memcpy(block, "hello", 5);
    for (size_t size = 5; size < 100000; size = size * 3 / 2 + 1) {
        block = realloc(block, size);
        CHECK(block != NULL && memcmp(block, "hello", 5) == 0);
    }
    block = realloc(block, 2);
    CHECK(memcmp(block, "he", 2) == 0);
    free(block);
}

static void aligned(void)
{
    for (size_t alignment = sizeof(void *); alignment <= 65536; alignment *= 2) {
        void *block = NULL, *other = aligned_alloc(alignment, alignment * 2);
        CHECK_INT(posix_memalign(&block, alignment, 100), 0);
        CHECK((uintptr_t)block % alignment == 0 && (uintptr_t)other % alignment == 0);
        memset(block, 1, 100);
        free(block), free(other);
    }
    void *unchanged = &unchanged;
    CHECK(posix_memalign(&unchanged, 3, 10) == EINVAL && posix_memalign(&unchanged, 4, 10) == EINVAL && unchanged == &unchanged);
    void *page = valloc(10), *by = memalign(256, 10);
    CHECK((uintptr_t)page % 4096 == 0 && (uintptr_t)by % 256 == 0);
    free(page), free(by);
}

static void usable(void)
{
    void *block = malloc(100);
    CHECK(malloc_usable_size(block) >= 100 && malloc_usable_size(NULL) == 0);
    free(block);
}

static void at_random(void)
{
    uint64_t random = SEED;
    unsigned char *blocks[100] = {0};
    size_t sizes[100] = {0};
    for (int times = 0; times < 5000; times++) {
        size_t at = next_random(&random) % 100;
        for (size_t place = 0; place < sizes[at]; place++)
            CHECK_INT(blocks[at][place], at);
        sizes[at] = next_random(&random) % 2000;
        if (next_random(&random) % 2) {
            free(blocks[at]);
            blocks[at] = malloc(sizes[at]);
        } else {
            blocks[at] = realloc(blocks[at], sizes[at] + 1);
        }
        CHECK(blocks[at] != NULL);
        memset(blocks[at], (int)at, sizes[at]);
    }
    for (size_t at = 0; at < 100; at++)
        free(blocks[at]);
}

static void freeing_keeps_errno(void)
{
    void *block = malloc(10);
    errno = 77;
    free(block);
    CHECK_INT(errno, 77);
}

TESTS(memory, TEST(aligned_for_anything), TEST(zeroed), TEST(products_do_not_wrap), TEST(too_large_is_null), TEST(grows_and_shrinks),
      TEST(aligned), TEST(usable), TEST(at_random), TEST(freeing_keeps_errno));
