/* <string.h> and <strings.h>. */
#include "suite.h"
#include <strings.h>

static void lengths(void)
{
    CHECK_INT(strlen(""), 0);
    CHECK_INT(strlen("four"), 4);
    CHECK_INT(strnlen("four", 2), 2);
    CHECK_INT(strnlen("four", 9), 4);
    char text[200];
    for (size_t from = 0; from < 16; from++) {
        for (size_t length = 0; length < 100; length++) {
            memset(text, 'x', sizeof text);
            text[from + length] = 0;
            CHECK_INT(strlen(text + from), length);
        }
    }
}

static void copies(void)
{
    char room[16] = "xxxxxxxxxxxxxxx";
    CHECK(strcpy(room, "abc") == room);
    CHECK(memcmp(room, "abc\0xxx", 7) == 0);
    CHECK(stpcpy(room, "hello") == room + 5);
    memset(room, 'x', sizeof room);
    CHECK(strncpy(room, "ab", 5) == room);
    CHECK(memcmp(room, "ab\0\0\0x", 6) == 0);
    strncpy(room, "abcdef", 3);
    CHECK(memcmp(room, "abc\0", 4) == 0);
    memset(room, 'x', sizeof room);
    CHECK(stpncpy(room, "ab", 4) == room + 2);
    CHECK(stpncpy(room, "abcd", 2) == room + 2);
}

static void concatenates(void)
{
    char room[16] = "ab";
    CHECK(strcat(room, "cd") == room);
    CHECK_TEXT(room, "abcd");
    strncat(room, "efgh", 2);
    CHECK_TEXT(room, "abcdef");
    strncat(room, "xyz", 0);
    strncat(room, "", 5);
    CHECK_TEXT(room, "abcdef");
}

static void compares(void)
{
    CHECK(strcmp("a", "b") < 0 && strcmp("b", "a") > 0 && strcmp("a", "a") == 0);
    CHECK(strcmp("a", "aa") < 0 && strcmp("", "") == 0);
    /* As bytes without a sign. */
    CHECK(strcmp("\xff", "a") > 0 && memcmp("\x80", "\x7f", 1) > 0);
    CHECK(strncmp("abc", "abd", 2) == 0 && strncmp("abc", "abd", 3) < 0 && strncmp("a", "b", 0) == 0);
    CHECK(strncmp("ab\0x", "ab\0y", 9) == 0);
    CHECK(strcoll("a", "b") < 0);
    CHECK(strcasecmp("HeLLo", "hEllO") == 0 && strcasecmp("a", "B") < 0 && strncasecmp("ABx", "aby", 2) == 0);
    CHECK(memcmp("a\0b", "a\0c", 3) < 0 && memcmp("x", "y", 0) == 0);
}

static void finds_bytes(void)
{
    const char *text = "hello";
    CHECK(strchr(text, 'l') == text + 2 && strrchr(text, 'l') == text + 3);
    CHECK(strchr(text, 'x') == NULL && strrchr(text, 'x') == NULL);
    CHECK(strchr(text, 0) == text + 5 && strrchr(text, 0) == text + 5);
    /* Only the low byte counts. */
    CHECK(strchr(text, 'e' + 256) == text + 1 && memchr(text, 'h' - 256, 5) == text);
    CHECK(memchr(text, 'o', 4) == NULL && memchr(text, 'o', 5) == text + 4 && memchr("\xff", 0xff, 1) != NULL);
    CHECK(memrchr(text, 'l', 5) == text + 3 && memrchr(text, 'x', 5) == NULL);
    CHECK(strchrnul(text, 'x') == text + 5 && strchrnul(text, 'h') == text);
    CHECK(index(text, 'l') == text + 2 && rindex(text, 'l') == text + 3 && (char *)rawmemchr(text, 'o') == text + 4);
}

static void finds_texts(void)
{
    const char *text = "hello, hello";
    CHECK(strstr(text, "hello") == text && strstr(text, ", h") == text + 5 && strstr(text, "") == text);
    CHECK(strstr(text, "hello,,") == NULL && strstr("", "x") == NULL && strcmp(strstr("", ""), "") == 0);
    CHECK(strcasestr(text, "LO, H") == text + 3);
    CHECK(memmem("a\0b\0c", 5, "b\0", 2) != NULL && memmem("abc", 3, "abcd", 4) == NULL && memmem("abc", 3, "", 0) != NULL);
    char long_text[600], needle[40];
    memset(long_text, 'a', sizeof long_text);
    long_text[599] = 0;
    memset(needle, 'a', sizeof needle);
    needle[38] = 'b';
    needle[39] = 0;
    CHECK(strstr(long_text, needle) == NULL);
    long_text[500] = 'b';
    CHECK(strstr(long_text, needle) == long_text + 500 - 38);
}

/* What a search finds, each place looked at. */
static const char *naive(const char *text, const char *needle)
{
    for (;; text++) {
        if (strncmp(text, needle, strlen(needle)) == 0)
            return text;
        if (*text == 0)
            return NULL;
    }
}

static void finds_as_a_naive_search(void)
{
    uint64_t random = SEED;
    for (int times = 0; times < 3000; times++) {
        char text[41] = "", needle[7] = "";
        for (int at = 0; at < 40; at++)
            text[at] = 'a' + next_random(&random) % 2;
        for (size_t at = 0, length = next_random(&random) % 6; at < length; at++)
            needle[at] = 'a' + next_random(&random) % 2;
        CHECK(strstr(text, needle) == naive(text, needle));
    }
}

static void spans(void)
{
    CHECK_INT(strspn("aabbc", "ab"), 4);
    CHECK_INT(strspn("abc", ""), 0);
    CHECK_INT(strcspn("abc", "xc"), 2);
    CHECK_INT(strcspn("abc", ""), 3);
    CHECK_INT(strspn("\xff\xfe", "\xfe\xff"), 2);
    const char *text = "key=value";
    CHECK(strpbrk(text, "=:") == text + 3 && strpbrk(text, "!") == NULL && strpbrk("", "a") == NULL);
}

static void tokens(void)
{
    char text[] = "--a-bb--ccc-";
    CHECK_TEXT(strtok(text, "-"), "a");
    CHECK_TEXT(strtok(NULL, "-"), "bb");
    CHECK_TEXT(strtok(NULL, "-"), "ccc");
    CHECK(strtok(NULL, "-") == NULL);
}

static void tokens_end(void)
{
    char text[] = " a  b ", *rest;
    CHECK_TEXT(strtok_r(text, " ", &rest), "a");
    CHECK_TEXT(strtok_r(NULL, " ", &rest), "b");
    CHECK(strtok_r(NULL, " ", &rest) == NULL && strtok_r(NULL, " ", &rest) == NULL);
    char none[] = "---";
    CHECK(strtok_r(none, "-", &rest) == NULL);
    char two[] = "a,b;c", *outer, *inner;
    char *first = strtok_r(two, ";", &outer);
    CHECK_TEXT(strtok_r(first, ",", &inner), "a");
    CHECK_TEXT(strtok_r(NULL, ";", &outer), "c");
    CHECK_TEXT(strtok_r(NULL, ",", &inner), "b");
}

static void separates(void)
{
    char text[] = "a,,b", *rest = text;
    CHECK_TEXT(strsep(&rest, ","), "a");
    CHECK_TEXT(strsep(&rest, ","), "");
    CHECK_TEXT(strsep(&rest, ","), "b");
    CHECK(rest == NULL && strsep(&rest, ",") == NULL);
}

static void moves(void)
{
    char bytes[300], expected[300];
    for (size_t from = 0; from < 20; from++) {
        for (size_t to = 0; to < 20; to++) {
            for (size_t length = 0; length < 200; length += 7) {
                for (size_t at = 0; at < sizeof bytes; at++)
                    bytes[at] = expected[at] = (char)(at * 7);
                for (size_t at = 0; at < length; at++)
                    expected[to + at] = (char)((from + at) * 7);
                CHECK(memmove(bytes + to, bytes + from, length) == bytes + to);
                CHECK(memcmp(bytes, expected, sizeof bytes) == 0);
            }
        }
    }
}

static void sets_and_copies_bytes(void)
{
    char bytes[64], other[64];
    for (size_t length = 0; length < 64; length++) {
        memset(bytes, 1, sizeof bytes);
        CHECK(memset(bytes, 0x1ff, length) == bytes);
        for (size_t at = 0; at < 64; at++)
            CHECK_INT((unsigned char)bytes[at], at < length ? 0xff : 1);
        memset(other, 2, sizeof other);
        CHECK(memcpy(other, bytes, length) == other && mempcpy(other, bytes, length) == other + length);
        CHECK(memcmp(other, bytes, length) == 0 && (length == 64 || other[length] == 2));
    }
    CHECK(memccpy(other, "abcdef", 'c', 6) == other + 3 && memccpy(other, "abc", 'x', 3) == NULL);
    bzero(bytes, 3);
    CHECK(bytes[0] == 0 && bytes[2] == 0 && bytes[3] == (char)0xff && bcmp("ab", "ab", 2) == 0);
    bcopy("xyz", bytes, 3);
    CHECK(memcmp(bytes, "xyz", 3) == 0);
}

static void transforms(void)
{
    char one[16], other[16];
    CHECK_INT(strxfrm(NULL, "hello", 0), 5);
    CHECK_INT(strxfrm(one, "abc", sizeof one), 3);
    strxfrm(other, "abd", sizeof other);
    CHECK(strcmp(one, other) < 0);
}

static void duplicates(void)
{
    char *copy = strdup("hello"), *few = strndup("hello", 2), *all = strndup("hi", 9);
    CHECK_TEXT(copy, "hello");
    CHECK_TEXT(few, "he");
    CHECK_TEXT(all, "hi");
    copy[0] = 'j';
    CHECK_TEXT(copy, "jello");
    free(copy), free(few), free(all);
}

static void first_bits(void)
{
    CHECK_INT(ffs(0), 0);
    CHECK_INT(ffs(1), 1);
    CHECK_INT(ffs(INT_MIN), 32);
    CHECK_INT(ffsl(1L << 40), 41);
    CHECK_INT(ffsll(LLONG_MIN), 64);
}

static void names_of_paths(void)
{
    CHECK_TEXT(basename("/a/b"), "b");
    CHECK_TEXT(basename("b"), "b");
    CHECK_TEXT(basename("/a/"), "");
}

TESTS(texts, TEST(lengths), TEST(copies), TEST(concatenates), TEST(compares), TEST(finds_bytes), TEST(finds_texts),
      TEST(finds_as_a_naive_search), TEST(spans), TEST(tokens), TEST(tokens_end), TEST(separates), TEST(moves),
      TEST(sets_and_copies_bytes), TEST(transforms), TEST(duplicates), TEST(first_bits), TEST(names_of_paths));
