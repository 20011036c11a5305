/* printf and its kin. */
#include "suite.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <wchar.h>

#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-truncation"

static char room[4096];
#define PRINTS(expected, ...)                                                                            \
    do {                                                                                                 \
        int count = snprintf(room, sizeof room, __VA_ARGS__);                                            \
        if (strcmp(room, expected) != 0 || (size_t)count != strlen(expected)) {                          \
            fprintf(stderr, "%s:%d: \"%s\" %d, not \"%s\"\n", __FILE__, __LINE__, room, count, expected); \
            abort();                                                                                     \
        }                                                                                                \
    } while (0)

static void integers(void)
{
    PRINTS("42 -42 0", "%d %i %d", 42, -42, 0);
    PRINTS("   42|42   |00042|+42| 42", "%5d|%-5d|%05d|%+d|% d", 42, 42, 42, 42, 42);
    PRINTS("  042|042  |+042", "%5.3d|%-5.3d|%+.3d", 42, 42, 42);
    PRINTS("|   |+", "%.0d|%3.0d|%+.0d", 0, 0, 0);
    PRINTS("  042", "%05.3d", 42);
    PRINTS("-0042", "%05d", -42);
    PRINTS("+42|42   ", "%+ d|%-05d", 42, 42);
    PRINTS("2147483647 -2147483648 4294967295", "%d %d %u", INT_MAX, INT_MIN, UINT_MAX);
    PRINTS("9223372036854775807 -9223372036854775808 18446744073709551615", "%ld %lld %lu", LONG_MAX, LLONG_MIN, ULONG_MAX);
}

static void bases(void)
{
    PRINTS("ff FF 377", "%x %X %o", 255, 255, 255);
    PRINTS("0xff 0XFF 0377 0 0", "%#x %#X %#o %#x %#o", 255, 255, 255, 0, 0);
    PRINTS("0x00ff|0xff  |  0xff|0x0ff", "%#06x|%-#6x|%#6x|%#.3x", 255, 255, 255, 255);
    PRINTS("00377|0377|377|0", "%#.5o|%#.4o|%.3o|%#.0o", 255, 255, 255, 0);
    PRINTS("ffffffffffffffff", "%lx", -1L);
}

static void sizes(void)
{
    PRINTS("-1 255 -1 65535", "%hhd %hhu %hd %hu", 255, 255, 65535, 65535);
    PRINTS("44 4464", "%hhd %hd", 300, 70000);
    PRINTS("5 -5 7 8", "%zu %td %ju %jd", (size_t)5, (ptrdiff_t)-5, (uintmax_t)7, (intmax_t)8);
    PRINTS("-9 18 27", "%" PRId64 " %" PRIu32 " %" PRIx8, (int64_t)-9, (uint32_t)18, (uint8_t)0x27);
}

static void texts(void)
{
    PRINTS("abc|  abc|abc  |ab|   ab||", "%s|%5s|%-5s|%.2s|%5.2s|%.0s|%s", "abc", "abc", "abc", "abc", "abc", "abc", "");
    char unended[2] = {'x', 'y'};
    PRINTS("xy", "%.2s", unended);
    PRINTS("a|  a|a  ", "%c|%3c|%-3c", 'a', 'a', 'a');
    PRINTS("100%", "%d%%", 100);
    int count = snprintf(room, sizeof room, "a%cb", 0);
    CHECK(count == 3 && memcmp(room, "a\0b", 4) == 0);
}

static void stars(void)
{
    PRINTS("   42|42   |00042", "%*d|%*d|%0*d", 5, 42, -5, 42, 5, 42);
    PRINTS("ab|abc|1.50", "%.*s|%.*s|%.*f", 2, "abc", -1, "abc", 2, 1.5);
    PRINTS("  1.2", "%*.*f", 5, 1, 1.25);
}

static void fixed(void)
{
    PRINTS("0.000000 1.500000 -1.500000", "%f %f %f", 0.0, 1.5, -1.5);
    PRINTS("0 2 2 4|1.|0.1", "%.0f %.0f %.0f %.0f|%#.0f|%.1f", 0.5, 1.5, 2.5, 3.5, 1.0, 0.125);
    PRINTS("0.12 0.38 2.67 1.00", "%.2f %.2f %.2f %.2f", 0.125, 0.375, 2.675, 1.005);
    PRINTS("-0.000000 -0", "%f %.0f", -0.0, -0.4);
    PRINTS("    1.50|1.50    |00001.50|+1.50| 1.50|-0001.50", "%8.2f|%-8.2f|%08.2f|%+.2f|% .2f|%08.2f", 1.5, 1.5, 1.5, 1.5, 1.5, -1.5);
    PRINTS("1000000000000000000000.0", "%.1f", 1e21);
    int count = snprintf(room, sizeof room, "%f", 1.7976931348623157e308);
    CHECK_INT(count, 309 + 7);
    CHECK(strncmp(room, "17976931348623157081452742373170435679807056752584", 50) == 0);
}

static void scientific(void)
{
    PRINTS("0.000000e+00 1.500000e+00 -1.500000E-10", "%e %e %E", 0.0, 1.5, -1.5e-10);
    PRINTS("1e+00 2e+00 2e+00 1.e+00", "%.0e %.0e %.0e %#.0e", 1.0, 1.5, 2.5, 1.0);
    PRINTS("1.0e+01 9.9e+00", "%.1e %.1e", 9.96, 9.94);
    PRINTS("1.797693e+308 4.940656e-324", "%e %e", 1.7976931348623157e308, 5e-324);
    PRINTS("  1.50e+00|1.50e+00  |001.50e+00", "%10.2e|%-10.2e|%010.2e", 1.5, 1.5, 1.5);
}

static void shorter(void)
{
    PRINTS("0 1 1.5 100000 1e+06 0.0001 1e-05", "%g %g %g %g %g %g %g", 0.0, 1.0, 1.5, 100000.0, 1000000.0, 0.0001, 0.00001);
    PRINTS("0.00000 1.00000 1.00000e+06", "%#g %#g %#g", 0.0, 1.0, 1e6);
    PRINTS("1e+02 1e+02 123 123.4568", "%.0g %.1g %.3g %.7g", 123.456789, 123.456789, 123.456789, 123.456789);
    PRINTS("1E-10 INF", "%G %G", 1e-10, INFINITY);
    PRINTS("1e+01 10 9.99", "%.1g %.2g %.3g", 9.99, 9.99, 9.99);
    PRINTS("0.1 0.10000000000000001", "%.15g %.17g", 0.1, 0.1);
    PRINTS("1.e+02", "%#.1g", 123.0);
}

static void hexadecimal(void)
{
    PRINTS("0x0p+0 0x1p+0 -0x1.8p+1 0x0p+0 0X1.FP+0", "%a %a %a %a %A", 0.0, 1.0, -3.0, 0.0, 1.9375);
    PRINTS("0x1.8p+0|0x2p+0|0x1.80p+0|0x1.p+0", "%.1a|%.0a|%.2a|%#.0a", 1.5, 1.5, 1.5, 1.0);
    PRINTS("   0x1p+0|0x0001p+0|0x1p+0   ", "%9a|%09a|%-9a", 1.0, 1.0, 1.0);
}

static void not_finite(void)
{
    PRINTS("inf -inf INF nan NAN", "%f %e %F %g %G", INFINITY, -INFINITY, INFINITY, NAN, NAN);
    /* Zeros fill no width of what has no digits. */
    PRINTS("  inf| -inf|inf  |+inf| nan", "%05f|%05f|%-5f|%+f|% f", INFINITY, -INFINITY, INFINITY, INFINITY, NAN);
}

static void exact_digits(void)
{
    PRINTS("0.1000000000000000055511151231257827021181583404541015625", "%.55f", 0.1);
    PRINTS("1.00000000000000000000e+00", "%.20e", 1.0);
    int count = snprintf(room, sizeof room, "%.1074f", 5e-324);
    CHECK(count == 1076 && strncmp(room, "0.000", 5) == 0 && strcmp(room + 1066, "3447265625") == 0);
    count = snprintf(room, sizeof room, "%.3000f", 0.5);
    CHECK(count == 3002 && room[3001] == '0' && room[2] == '5');
}

static void long_doubles(void)
{
    PRINTS("1.500000 1.5 1.5e+00 2.25", "%Lf %Lg %.1Le %.2Lf", 1.5L, 1.5L, 1.5L, 2.25L);
    PRINTS("1 2.500000 3 4.500000", "%d %Lf %d %f", 1, 2.5L, 3, 4.5);
}

static void pointers(void)
{
    PRINTS("0x1f|  0x1f", "%p|%6p", (void *)0x1f, (void *)0x1f);
}

static void many_arguments(void)
{
    PRINTS("1 2 3 4 5 6 7 8 9 10 0.5 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 9.5 x",
           "%d %d %d %d %d %d %d %d %d %d %g %g %g %g %g %g %g %g %g %g %s", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0.5, 1.5, 2.5, 3.5, 4.5,
           5.5, 6.5, 7.5, 8.5, 9.5, "x");
}

static void cut_at_the_room(void)
{
    char small[4] = "zzz";
    CHECK_INT(snprintf(small, 4, "%s", "longer"), 6);
    CHECK_TEXT(small, "lon");
    CHECK_INT(snprintf(small, 1, "%d", 123), 3);
    CHECK_TEXT(small, "");
    small[0] = 'k';
    CHECK_INT(snprintf(small, 0, "%d", 123), 3);
    CHECK_INT(small[0], 'k');
    CHECK_INT(snprintf(NULL, 0, "%s-%d", "abc", 7), 5);
}

static int by_list(char *to, size_t size, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int one = vsnprintf(NULL, 0, format, list), other = vsnprintf(to, size, format, again);
    va_end(list), va_end(again);
    return one == other ? one : -1;
}

static void by_lists(void)
{
    CHECK_INT(by_list(room, sizeof room, "%s %d %.1f", "x", 5, 2.5), 7);
    CHECK_TEXT(room, "x 5 2.5");
    CHECK_INT(sprintf(room, "%c%c", 'a', 'b'), 2);
    char *made = NULL;
    CHECK(asprintf(&made, "%s-%d", "made", 7) == 6 && strcmp(made, "made-7") == 0);
    free(made);
}

static void of_errors(void)
{
    errno = ENOENT;
    snprintf(room, sizeof room, "%m");
    CHECK_TEXT(room, strerror(ENOENT));
}

static void wide(void)
{
    PRINTS("wide x", "%ls %lc", L"wide", (wint_t)L'x');
    PRINTS("  wi", "%4.2ls", L"wide");
}

static void every_width_and_precision(void)
{
    for (int width = 0; width < 30; width++) {
        for (int precision = 0; precision < 30; precision++) {
            int digits = precision > 5 ? precision : 5;
            CHECK_INT(snprintf(room, sizeof room, "%*.*d", width, precision, 12345), digits > width ? digits : width);
            CHECK_INT(strspn(room, " 012345"), strlen(room));
            int of_float = 1 + (precision > 0) + precision;
            CHECK_INT(snprintf(room, sizeof room, "%-*.*f", width, precision, 7.0), of_float > width ? of_float : width);
            CHECK(room[0] == '7');
        }
    }
}

TESTS(printing, TEST(integers), TEST(bases), TEST(sizes), TEST(texts), TEST(stars), TEST(fixed), TEST(scientific), TEST(shorter),
      TEST(hexadecimal), TEST(not_finite), TEST(exact_digits), TEST(long_doubles), TEST(pointers), TEST(many_arguments),
      TEST(cut_at_the_room), TEST(by_lists), TEST(of_errors), TEST(wide), TEST(every_width_and_precision));
