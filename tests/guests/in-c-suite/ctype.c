/* <ctype.h> in the locale C. */
#include "suite.h"
#include <ctype.h>

static void classes(void)
{
    for (int c = -1; c < 256; c++) {
        bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
        CHECK_INT(isupper(c) != 0, upper);
        CHECK_INT(islower(c) != 0, lower);
        CHECK_INT(isalpha(c) != 0, upper || lower);
        CHECK_INT(isdigit(c) != 0, digit);
        CHECK_INT(isalnum(c) != 0, upper || lower || digit);
        CHECK_INT(isxdigit(c) != 0, digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
        CHECK_INT(isspace(c) != 0, c == ' ' || (c >= '\t' && c <= '\r'));
        CHECK_INT(isblank(c) != 0, c == ' ' || c == '\t');
        CHECK_INT(iscntrl(c) != 0, (c >= 0 && c < 32) || c == 127);
        CHECK_INT(isprint(c) != 0, c >= 32 && c < 127);
        CHECK_INT(isgraph(c) != 0, c > 32 && c < 127);
        CHECK_INT(ispunct(c) != 0, c > 32 && c < 127 && !upper && !lower && !digit);
    }
}

static void cases(void)
{
    for (int c = -1; c < 256; c++) {
        CHECK_INT(toupper(c), c >= 'a' && c <= 'z' ? c - 32 : c);
        CHECK_INT(tolower(c), c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
}

static void as_functions(void)
{
    int (*is)(int) = isalpha, (*to)(int) = toupper;
    CHECK(is('a') && !is('1') && to('b') == 'B' && isascii(127) && !isascii(128) && toascii(0x1ff) == 0x7f);
}

TESTS(ctype, TEST(classes), TEST(cases), TEST(as_functions));
