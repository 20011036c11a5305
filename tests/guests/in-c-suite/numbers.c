/* Numbers in texts, and small arithmetic, of <stdlib.h> and <inttypes.h>. */
#include "suite.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>

static void signed_numbers(void)
{
    static const struct {
        const char *text;
        int base;
        long value;
        size_t read;
        int error;
    } table[] = {
        {"0", 10, 0, 1, 0},
        {" \t\n\v\f\r-42x", 10, -42, 9, 0},
        {"+7", 10, 7, 2, 0},
        {"", 10, 0, 0, 0},
        {"-", 10, 0, 0, 0},
        {"+-1", 10, 0, 0, 0},
        {"x", 10, 0, 0, 0},
        {"0x1F", 16, 31, 4, 0},
        {"0X1f", 0, 31, 4, 0},
        {"0x", 16, 0, 1, 0},
        {"0xg", 0, 0, 1, 0},
        {"017", 0, 15, 3, 0},
        {"018", 0, 1, 2, 0},
        {"08", 0, 0, 1, 0},
        {"zz", 36, 1295, 2, 0},
        {"Zz", 36, 1295, 2, 0},
        {"102", 2, 2, 2, 0},
        {"9223372036854775807", 10, LONG_MAX, 19, 0},
        {"9223372036854775808", 10, LONG_MAX, 19, ERANGE},
        {"-9223372036854775808", 10, LONG_MIN, 20, 0},
        {"-9223372036854775809", 10, LONG_MIN, 20, ERANGE},
        {"99999999999999999999999999 ", 10, LONG_MAX, 26, ERANGE},
        {"7fffffffffffffff", 16, LONG_MAX, 16, 0},
        {"0x-1", 16, 0, 1, 0},
        {"1 2", 10, 1, 1, 0},
    };
    for (size_t at = 0; at < COUNT(table); at++) {
        char *end;
        errno = 0;
        long value = strtol(table[at].text, &end, table[at].base);
        if (value != table[at].value || (size_t)(end - table[at].text) != table[at].read || errno != table[at].error) {
            fprintf(stderr, "strtol of \"%s\" in %d is %ld to %td, errno %d\n", table[at].text, table[at].base, value,
                    end - table[at].text, errno);
            abort();
        }
    }
}

static void unsigned_numbers(void)
{
    char *end;
    errno = 0;
    CHECK(strtoul("18446744073709551615", &end, 10) == ULONG_MAX && errno == 0);
    CHECK(strtoul("18446744073709551616", &end, 10) == ULONG_MAX && errno == ERANGE && *end == 0);
    errno = 0;
    CHECK(strtoul("-1", &end, 10) == ULONG_MAX && errno == 0);
    CHECK(strtoul("-18446744073709551615", NULL, 10) == 1 && errno == 0);
    CHECK(strtoul("-18446744073709551616", NULL, 10) == ULONG_MAX && errno == ERANGE);
    CHECK(strtoull("ffffffffffffffff", NULL, 16) == ULLONG_MAX && strtoumax("10", NULL, 3) == 3);
}

static void bases_that_are_none(void)
{
    char *end = NULL;
    errno = 0;
    CHECK(strtol("10", &end, 1) == 0 && errno == EINVAL);
    errno = 0;
    CHECK(strtoul("10", &end, 37) == 0 && errno == EINVAL);
    errno = 0;
    CHECK(strtol("10", &end, -1) == 0 && errno == EINVAL);
}

static void every_base(void)
{
    for (int base = 2; base <= 36; base++) {
        char text[80] = "", digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
        unsigned long number = 1234567891011, left = number;
        size_t at = sizeof text - 1;
        for (; left > 0; left /= base)
            text[--at] = digits[left % base];
        CHECK(strtoul(text + at, NULL, base) == number);
    }
}

static void errno_is_left_alone(void)
{
    errno = 77;
    CHECK(strtol("12", NULL, 10) == 12 && strtod("1.5", NULL) == 1.5 && strtoul("3", NULL, 0) == 3);
    CHECK_INT(errno, 77);
}

static uint64_t bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void floats(void)
{
    static const struct {
        const char *text;
        uint64_t bits;
        size_t read;
    } table[] = {
        {"0", 0, 1},
        {"-0", UINT64_C(1) << 63, 2},
        {"1", 0x3ff0000000000000, 1},
        {" +.5e1x", 0x4014000000000000, 6},
        {"5.", 0x4014000000000000, 2},
        {".", 0, 0},
        {"e5", 0, 0},
        {"", 0, 0},
        {"-", 0, 0},
        {"1e", 0x3ff0000000000000, 1},
        {"1e+", 0x3ff0000000000000, 1},
        {"1e+x", 0x3ff0000000000000, 1},
        {"0.1", 0x3fb999999999999a, 3},
        {"0x1p-1074", 1, 9},
        {"0x1.8p1", 0x4008000000000000, 7},
        {"0x.8", 0x3fe0000000000000, 4},
        {"0x1.8", 0x3ff8000000000000, 5},
        {"0x", 0, 1},
        {"0xp1", 0, 1},
        {"0x1p", 0x3ff0000000000000, 3},
        {"0X1.FFFFFFFFFFFFF8P0", 0x4000000000000000, 20},
        {"0x1.00000000000008p0", 0x3ff0000000000000, 20},
        {"0x1.000000000000080000000000000000001p0", 0x3ff0000000000001, 39},
        {"0x1.00000000000018p0", 0x3ff0000000000002, 20},
        {"inf", 0x7ff0000000000000, 3},
        {"-INFINITY", 0xfff0000000000000, 9},
        {"infinit", 0x7ff0000000000000, 3},
        {"1.7976931348623157e308", 0x7fefffffffffffff, 22},
        {"1.7976931348623158e308", 0x7fefffffffffffff, 22},
        {"4.9406564584124654e-324", 1, 23},
        {"2.2250738585072014e-308", 0x0010000000000000, 23},
        {"2.2250738585072011e-308", 0x000fffffffffffff, 23},
        {"9007199254740993", 0x4340000000000000, 16},
        {"9007199254740993.0000000000000000000001", 0x4340000000000001, 39},
        {"1.00000000000000011102230246251565404236316680908203125", 0x3ff0000000000000, 55},
        {"1.00000000000000011102230246251565404236316680908203126", 0x3ff0000000000001, 55},
        {"0.000000000000000000000000000000000000000000000000000001e54", 0x3ff0000000000000, 59},
    };
    for (size_t at = 0; at < COUNT(table); at++) {
        char *end;
        double value = strtod(table[at].text, &end);
        if (bits(value) != table[at].bits || (size_t)(end - table[at].text) != table[at].read) {
            fprintf(stderr, "strtod of \"%s\" is %a to %td\n", table[at].text, value, end - table[at].text);
            abort();
        }
    }
}

static void floats_out_of_range(void)
{
    errno = 0;
    CHECK(strtod("1e309", NULL) == HUGE_VAL && errno == ERANGE);
    errno = 0;
    CHECK(strtod("-1e999999999999", NULL) == -HUGE_VAL && errno == ERANGE);
    errno = 0;
    CHECK(strtod("1e-400", NULL) == 0 && errno == ERANGE);
    errno = 0;
    CHECK(strtod("0x1p1024", NULL) == HUGE_VAL && errno == ERANGE);
    errno = 0;
    CHECK(strtod("0e999999", NULL) == 0 && errno == 0);
    errno = 0;
    CHECK(strtof("3.5e38", NULL) == HUGE_VALF && errno == ERANGE);
    errno = 0;
    CHECK(strtof("1e-46", NULL) == 0 && errno == ERANGE);
    errno = 0;
    CHECK(strtof("1e39", NULL) == HUGE_VALF && errno == ERANGE);
}

static void not_a_number(void)
{
    char *end;
    CHECK(isnan(strtod("nan", &end)) && *end == 0 && isnan(strtod("NaN(12_a)x", &end)) && *end == 'x');
    CHECK(isnan(strtod("nan(", &end)) && *end == '(' && signbit(strtod("-nan", NULL)));
}

/* Read as a double and rounded once more, these would be others. */
static void single_precision(void)
{
    static const struct {
        const char *text;
        uint32_t bits;
    } table[] = {
        {"0.1", 0x3dcccccd},
        {"1.000000059604644775390625", 0x3f800000},
        {"1.000000059604644775390626", 0x3f800001},
        {"1.00000005960464477539062500000000001", 0x3f800001},
        {"1.00000017881393432617187499999999999", 0x3f800001},
        {"1.000000178813934326171875", 0x3f800002},
        {"0x1.000001p0", 0x3f800000},
        {"0x1.00000100000000000001p0", 0x3f800001},
        {"0x1.000002ffffffffffffffp0", 0x3f800001},
        {"3.4028235677973367e38", 0x7f800000},
        {"3.4028235677973366e38", 0x7f7fffff},
        {"1.4012984643248171e-45", 1},
        {"7.006492321624085354618e-46", 0},
        {"7.00649232162408535461864791644958065640130970938257885878534141944895541342930300743319094181060791015626e-46", 1},
        {"1.1754943508222875e-38", 0x00800000},
    };
    for (size_t at = 0; at < COUNT(table); at++) {
        float value = strtof(table[at].text, NULL), scanned = 0;
        uint32_t found, of_scan;
        memcpy(&found, &value, sizeof found);
        CHECK_INT(sscanf(table[at].text, "%f", &scanned), 1);
        memcpy(&of_scan, &scanned, sizeof of_scan);
        if (found != table[at].bits || of_scan != table[at].bits) {
            fprintf(stderr, "strtof of \"%s\" is %08x, scanned %08x\n", table[at].text, found, of_scan);
            abort();
        }
    }
}

static void what_is_printed_is_read_back(void)
{
    uint64_t random = SEED;
    for (int times = 0; times < 5000; times++) {
        uint64_t of = next_random(&random);
        double x;
        char text[64];
        memcpy(&x, &of, sizeof x);
        if (isnan(x))
            continue;
        snprintf(text, sizeof text, "%.17g", x);
        CHECK(bits(strtod(text, NULL)) == of);
        snprintf(text, sizeof text, "%a", x);
        CHECK(bits(strtod(text, NULL)) == of);
        float single = (float)x;
        snprintf(text, sizeof text, "%.9g", single);
        CHECK(strtof(text, NULL) == single);
    }
}

static void of_long_texts(void)
{
    static char text[3000];
    memset(text, '0', sizeof text - 1);
    text[0] = '1';
    CHECK(strtod(text, NULL) == HUGE_VAL);
    memcpy(text + 1000, "e-999", 6);
    CHECK(strtod(text, NULL) == 1);
    memset(text, '0', sizeof text - 1);
    text[1] = '.';
    memcpy(text + 2000, "1e1999", 7);
    CHECK(strtod(text, NULL) == 1);
}

static void quick_ones(void)
{
    CHECK(atoi(" -12x") == -12 && atol("9999999999") == 9999999999 && atoll("x") == 0 && atof("1.5e1") == 15);
    CHECK(strtoimax("-5", NULL, 10) == -5 && strtold("2.5", NULL) == 2.5L);
}

static void division(void)
{
    div_t one = div(-7, 2);
    ldiv_t other = ldiv(7, -2);
    lldiv_t third = lldiv(LLONG_MIN, 2);
    imaxdiv_t fourth = imaxdiv(9, 4);
    CHECK(one.quot == -3 && one.rem == -1 && other.quot == -3 && other.rem == 1);
    CHECK(third.quot == LLONG_MIN / 2 && third.rem == 0 && fourth.quot == 2 && fourth.rem == 1);
    CHECK(abs(-5) == 5 && labs(LONG_MIN + 1) == LONG_MAX && llabs(0) == 0 && imaxabs(-3) == 3);
}

TESTS(numbers, TEST(signed_numbers), TEST(unsigned_numbers), TEST(bases_that_are_none), TEST(every_base), TEST(errno_is_left_alone),
      TEST(floats), TEST(floats_out_of_range), TEST(not_a_number), TEST(single_precision), TEST(what_is_printed_is_read_back),
      TEST(of_long_texts), TEST(quick_ones), TEST(division));
