/* <time.h>; UTC is the zone. */
#include "suite.h"
#include <time.h>

static struct tm broken(time_t time)
{
    struct tm date;
    CHECK(gmtime_r(&time, &date) == &date);
    return date;
}

static void known_dates(void)
{
    static const struct {
        time_t time;
        int year, month, day, hour, minute, second, weekday, day_of_year;
    } table[] = {
        {0, 1970, 1, 1, 0, 0, 0, 4, 0},
        {-1, 1969, 12, 31, 23, 59, 59, 3, 364},
        {951782400, 2000, 2, 29, 0, 0, 0, 2, 59},
        {951868800, 2000, 3, 1, 0, 0, 0, 3, 60},
        {1700000000, 2023, 11, 14, 22, 13, 20, 2, 317},
        {2147483648, 2038, 1, 19, 3, 14, 8, 2, 18},
        {4107542400, 2100, 3, 1, 0, 0, 0, 1, 59},
        {-2208988800, 1900, 1, 1, 0, 0, 0, 1, 0},
        {-62135596800, 1, 1, 1, 0, 0, 0, 1, 0},
        {253402300799, 9999, 12, 31, 23, 59, 59, 5, 364},
        {-11644473600, 1601, 1, 1, 0, 0, 0, 1, 0},
    };
    for (size_t at = 0; at < COUNT(table); at++) {
        struct tm date = broken(table[at].time);
        CHECK_INT(date.tm_year + 1900, table[at].year);
        CHECK_INT(date.tm_mon + 1, table[at].month);
        CHECK_INT(date.tm_mday, table[at].day);
        CHECK_INT(date.tm_hour, table[at].hour);
        CHECK_INT(date.tm_min, table[at].minute);
        CHECK_INT(date.tm_sec, table[at].second);
        CHECK_INT(date.tm_wday, table[at].weekday);
        CHECK_INT(date.tm_yday, table[at].day_of_year);
        CHECK_INT(date.tm_isdst, 0);
        CHECK_INT(timegm(&date), table[at].time);
    }
}

static void each_day_of_four_centuries(void)
{
    int weekday = broken(-86400L * 365 * 200).tm_wday, last = -1;
    for (long day = -365 * 200; day < 365 * 200; day++) {
        struct tm date = broken(86400L * day + 3600);
        CHECK_INT(date.tm_wday, weekday);
        CHECK(date.tm_mday == last + 1 || date.tm_mday == 1 || last == -1);
        CHECK(timegm(&date) == 86400L * day + 3600);
        weekday = (weekday + 1) % 7, last = date.tm_mday;
    }
}

static void parts_out_of_range(void)
{
    struct tm date = {.tm_year = 123, .tm_mon = 13, .tm_mday = -5, .tm_hour = 50, .tm_min = -61, .tm_sec = 3700};
    time_t time = timegm(&date);
    CHECK_INT(date.tm_year, 124);
    CHECK_INT(date.tm_mon, 0);
    CHECK_INT(date.tm_mday, 28);
    CHECK_INT(date.tm_hour, 2);
    CHECK_INT(date.tm_min, 0);
    CHECK_INT(date.tm_sec, 40);
    struct tm again = date;
    CHECK(timegm(&again) == time);
}

static void too_far(void)
{
    time_t far = INT64_MAX;
    struct tm date;
    errno = 0;
    CHECK(gmtime_r(&far, &date) == NULL && errno == EOVERFLOW);
    struct tm late = {.tm_year = INT_MAX, .tm_mon = 12, .tm_mday = 1};
    CHECK_INT(timegm(&late), -1);
}

static char text[128];
static const char *formatted(const char *format, time_t time)
{
    struct tm date = broken(time);
    text[0] = 0;
    strftime(text, sizeof text, format, &date);
    return text;
}

static void formats(void)
{
    time_t time = 1700000000;
    CHECK_TEXT(formatted("%Y-%m-%d %H:%M:%S", time), "2023-11-14 22:13:20");
    CHECK_TEXT(formatted("%a %A %b %B %h", time), "Tue Tuesday Nov November Nov");
    CHECK_TEXT(formatted("%c|%x|%X|%r|%R|%T|%D|%F", time), "Tue Nov 14 22:13:20 2023|11/14/23|22:13:20|10:13:20 PM|22:13|22:13:20|11/14/23|2023-11-14");
    CHECK_TEXT(formatted("%C %y %j %e %I %p", time), "20 23 318 14 10 PM");
    CHECK_TEXT(formatted("%u %w %U %W %V %G %g", time), "2 2 46 46 46 2023 23");
    CHECK_TEXT(formatted("%n%t%%", time), "\n\t%");
    CHECK_TEXT(formatted("%z %s", time), "+0000 1700000000");
    CHECK_TEXT(formatted("%e|%I|%p|%j", 0), " 1|12|AM|001");
    CHECK_TEXT(formatted("%Ey %Od", time), "23 14");
    CHECK_TEXT(formatted("plain", time), "plain");
}

static void weeks_of_iso(void)
{
    static const struct {
        time_t time;
        const char *week;
    } table[] = {
        {1104537600, "2004-W53"}, /* 2005-01-01 */
        {1230768000, "2009-W01"}, /* 2009-01-01 */
        {1230508800, "2009-W01"}, /* 2008-12-29 */
        {1262476800, "2009-W53"}, /* 2010-01-03 */
        {1609459200, "2020-W53"}, /* 2021-01-01 */
        {1735516800, "2025-W01"}, /* 2024-12-30 */
    };
    for (size_t at = 0; at < COUNT(table); at++)
        CHECK_TEXT(formatted("%G-W%V", table[at].time), table[at].week);
}

static void formats_into_little_room(void)
{
    struct tm date = broken(0);
    char small[5];
    CHECK_INT(strftime(small, 5, "%Y", &date), 4);
    CHECK_TEXT(small, "1970");
    CHECK_INT(strftime(small, 4, "%Y", &date), 0);
    CHECK_INT(strftime(small, 1, "", &date), 0);
    CHECK_TEXT(small, "");
}

static void ascii(void)
{
    struct tm date = broken(951782400);
    time_t time = 951782400;
    CHECK_TEXT(asctime(&date), "Tue Feb 29 00:00:00 2000\n");
    CHECK_TEXT(ctime(&time), "Tue Feb 29 00:00:00 2000\n");
    char room[26];
    date.tm_mday = 1;
    CHECK_TEXT(asctime_r(&date, room), "Tue Feb  1 00:00:00 2000\n");
}

static void clocks_go_on(void)
{
    struct timespec one, other;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &one) == 0 && clock_gettime(CLOCK_MONOTONIC, &other) == 0);
    CHECK(other.tv_sec > one.tv_sec || (other.tv_sec == one.tv_sec && other.tv_nsec >= one.tv_nsec));
    CHECK(clock_gettime(CLOCK_REALTIME, &one) == 0 && one.tv_sec > 1700000000 && one.tv_nsec < 1000000000);
    time_t now = 0;
    CHECK(time(&now) == now && now >= one.tv_sec - 1 && timespec_get(&other, TIME_UTC) == TIME_UTC);
    CHECK(clock() >= 0 && clock_getres(CLOCK_MONOTONIC, &one) == 0);
    errno = 0;
    CHECK(clock_gettime(12345, &one) == -1 && errno == EINVAL);
}

static void sleeps(void)
{
    struct timespec before, after, nap = {0, 3000000}, bad = {0, 1000000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_INT(nanosleep(&nap, NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= 3000000);
    errno = 0;
    CHECK(nanosleep(&bad, NULL) == -1 && errno == EINVAL);
}

static void differences(void)
{
    CHECK(difftime(10, 3) == 7 && difftime(3, 10) == -7);
}

/* Where the zone is UTC, local time is the same. */
static void local_time(void)
{
    setenv("TZ", "UTC0", 1);
    tzset();
    time_t time = 1700000000;
    struct tm local, *shared = localtime(&time);
    CHECK(shared->tm_hour == 22 && localtime_r(&time, &local) == &local && local.tm_min == 13 && timezone == 0 && daylight == 0);
    CHECK_INT(mktime(&local), time);
    CHECK_TEXT(tzname[0], "UTC");
    CHECK_INT(gmtime(&time)->tm_mday, 14);
    struct tm unknown = {.tm_year = 100, .tm_mon = 1, .tm_mday = 30, .tm_isdst = -1};
    CHECK(mktime(&unknown) == 951868800 && unknown.tm_mon == 2 && unknown.tm_mday == 1 && unknown.tm_wday == 3 && unknown.tm_isdst == 0);
}

TESTS(time, TEST(known_dates), TEST(each_day_of_four_centuries), TEST(parts_out_of_range), TEST(too_far), TEST(formats), TEST(weeks_of_iso),
      TEST(formats_into_little_room), TEST(ascii), TEST(clocks_go_on), TEST(sleeps), TEST(differences), TEST(local_time));
