/* sscanf. */
#include "suite.h"
#include <math.h>

#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-overflow"

static void integers(void)
{
    int one = 0, two = 0, three = 0;
    CHECK_INT(sscanf("12 -34 +56", "%d%d%d", &one, &two, &three), 3);
    CHECK(one == 12 && two == -34 && three == 56);
    CHECK_INT(sscanf("0x1f 017 9", "%i %i %i", &one, &two, &three), 3);
    CHECK(one == 31 && two == 15 && three == 9);
    unsigned of_x = 0, of_o = 0, of_u = 0;
    CHECK_INT(sscanf("ff 0xFF 17", "%x%x%o", &of_x, &of_u, &of_o), 3);
    CHECK(of_x == 255 && of_u == 255 && of_o == 15);
    CHECK_INT(sscanf("12345", "%2d%3d", &one, &two), 2);
    CHECK(one == 12 && two == 345);
}

static void sizes(void)
{
    signed char tiny = 0;
    short small = 0;
    long large = 0;
    long long larger = 0;
    size_t size = 0;
    CHECK_INT(sscanf("-5 -300 9999999999 -9999999999 7", "%hhd%hd%ld%lld%zu", &tiny, &small, &large, &larger, &size), 5);
    CHECK(tiny == -5 && small == -300 && large == 9999999999 && larger == -9999999999 && size == 7);
    char around[3] = {1, 1, 1};
    CHECK(sscanf("9", "%hhd", (signed char *)&around[1]) == 1 && around[0] == 1 && around[2] == 1);
}

static void floats(void)
{
    float single = 0;
    double number = 0;
    long double wide = 0;
    CHECK_INT(sscanf("1.5 -2.5e3 0x1.8p1", "%f%lf%Lf", &single, &number, &wide), 3);
    CHECK(single == 1.5f && number == -2500 && wide == 3.0L);
    CHECK(sscanf("inf nan", "%lf%f", &number, &single) == 2 && isinf(number) && isnan(single));
    CHECK(sscanf("3.14159", "%4lf", &number) == 1 && number == 3.14);
    CHECK_INT(sscanf(".", "%lf", &number), 0);
}

static void texts(void)
{
    char one[16] = "", two[16] = "";
    CHECK_INT(sscanf("  hello world ", "%s%s", one, two), 2);
    CHECK_TEXT(one, "hello");
    CHECK_TEXT(two, "world");
    CHECK_INT(sscanf("abcdef", "%3s%s", one, two), 2);
    CHECK_TEXT(one, "abc");
    CHECK_TEXT(two, "def");
}

static void characters(void)
{
    char some[4] = "zzz", one = 0;
    CHECK_INT(sscanf("ab c", "%2c%c", some, &one), 2);
    CHECK(memcmp(some, "abz", 3) == 0 && one == ' ');
    CHECK(sscanf("  x", " %c", &one) == 1 && one == 'x');
}

static void sets(void)
{
    char one[16] = "", two[16] = "";
    CHECK_INT(sscanf("abc123-x", "%[a-z]%[0-9]", one, two), 2);
    CHECK_TEXT(one, "abc");
    CHECK_TEXT(two, "123");
    CHECK_INT(sscanf("key=value", "%[^=]=%s", one, two), 2);
    CHECK_TEXT(one, "key");
    CHECK_TEXT(two, "value");
    CHECK(sscanf("]]a", "%[]]", one) == 1 && strcmp(one, "]]") == 0);
    CHECK(sscanf("a]b", "%[^]]", one) == 1 && strcmp(one, "a") == 0);
    CHECK(sscanf("a-b", "%[a-]", one) == 1 && strcmp(one, "a-") == 0);
    CHECK_INT(sscanf("xyz", "%[abc]", one), 0);
    CHECK(sscanf("aaaa", "%2[a]", one) == 1 && strcmp(one, "aa") == 0);
    /* It skips no spaces. */
    CHECK_INT(sscanf(" a", "%[a]", one), 0);
}

static void literals(void)
{
    int one = 0, two = 0;
    CHECK(sscanf("12:34", "%d:%d", &one, &two) == 2 && two == 34);
    CHECK_INT(sscanf("12;34", "%d:%d", &one, &two), 1);
    CHECK(sscanf("50%7", "%d%%%d", &one, &two) == 2 && two == 7);
    CHECK(sscanf("1   ,2", "%d ,%d", &one, &two) == 2 && sscanf("1\n\t2", "%d %d", &one, &two) == 2);
}

static void counted(void)
{
    int one = 0, read = -1;
    CHECK(sscanf("12 xyz", "%d%n", &one, &read) == 1 && read == 2);
    CHECK(sscanf("ab", "ab%n", &read) <= 0 && read == 2);
    long where = -1;
    CHECK(sscanf("  7 ", " %*d %ln", &where) <= 0 && where == 4);
}

static void left_out(void)
{
    int one = 0;
    char text[8] = "";
    CHECK(sscanf("1 2 three", "%*d %d %s", &one, text) == 2 && one == 2 && strcmp(text, "three") == 0);
    CHECK(sscanf("abc7", "%*[a-z]%d", &one) == 1 && one == 7);
}

static void at_the_end(void)
{
    int one = 0, two = 0;
    char text[8];
    CHECK_INT(sscanf("", "%d", &one), EOF);
    CHECK_INT(sscanf("   ", "%d", &one), EOF);
    CHECK_INT(sscanf("", "%s", text), EOF);
    CHECK_INT(sscanf("", "%c", text), EOF);
    CHECK_INT(sscanf("x", "%d", &one), 0);
    CHECK_INT(sscanf("5", "%d%d", &one, &two), 1);
    CHECK_INT(sscanf("5 x", "%d%d", &one, &two), 1);
    CHECK_INT(sscanf("", "x"), EOF);
    CHECK_INT(sscanf("x", ""), 0);
}

static void what_fails_stores_nothing(void)
{
    int one = 77;
    CHECK(sscanf("abc", "%d", &one) == 0 && one == 77);
    CHECK(sscanf("-", "%d", &one) == 0 && one == 77);
}

TESTS(scanning, TEST(integers), TEST(sizes), TEST(floats), TEST(texts), TEST(characters), TEST(sets), TEST(literals), TEST(counted),
      TEST(left_out), TEST(at_the_end), TEST(what_fails_stores_nothing));
