/* The environment, and what a program asks of its system. */
#include "suite.h"
#include <locale.h>
#include <unistd.h>

extern char **environ;

static void set_and_unset(void)
{
    CHECK(getenv("SUITE") == NULL);
    CHECK_INT(setenv("SUITE", "one", 0), 0);
    CHECK_INT(setenv("SUITE", "two", 0), 0);
    CHECK_TEXT(getenv("SUITE"), "one");
    CHECK_INT(setenv("SUITE", "three", 1), 0);
    CHECK_TEXT(getenv("SUITE"), "three");
    CHECK_INT(setenv("SUITE", "", 1), 0);
    CHECK_TEXT(getenv("SUITE"), "");
    CHECK_INT(unsetenv("SUITE"), 0);
    CHECK(getenv("SUITE") == NULL && unsetenv("SUITE") == 0);
}

static void put(void)
{
    static char text[] = "SUITE_PUT=a";
    CHECK_INT(putenv(text), 0);
    CHECK_TEXT(getenv("SUITE_PUT"), "a");
    /* The text itself is the variable. */
    text[10] = 'b';
    CHECK_TEXT(getenv("SUITE_PUT"), "b");
}

static void names_that_are_none(void)
{
    errno = 0;
    CHECK(setenv("", "x", 1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(setenv("A=B", "x", 1) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(unsetenv("A=B") == -1 && errno == EINVAL);
    CHECK(getenv("") == NULL && getenv("=") == NULL);
}

static void listed(void)
{
    setenv("SUITE_LISTED", "here", 1);
    bool is_found = false;
    for (char **variable = environ; *variable; variable++)
        is_found |= strcmp(*variable, "SUITE_LISTED=here") == 0;
    CHECK(is_found);
    CHECK(getenv("SUITE_LIST") == NULL && getenv("SUITE_LISTED_") == NULL);
}

static void many(void)
{
    char name[32], value[32];
    for (int number = 0; number < 200; number++) {
        snprintf(name, sizeof name, "SUITE_%d", number), snprintf(value, sizeof value, "%d", number * 7);
        CHECK_INT(setenv(name, value, 1), 0);
    }
    for (int number = 0; number < 200; number++) {
        snprintf(name, sizeof name, "SUITE_%d", number), snprintf(value, sizeof value, "%d", number * 7);
        CHECK_TEXT(getenv(name), value);
        CHECK_INT(unsetenv(name), 0);
    }
}

static void locale(void)
{
    CHECK_TEXT(setlocale(LC_ALL, NULL), "C");
    CHECK_TEXT(setlocale(LC_ALL, "C"), "C");
    CHECK(setlocale(LC_ALL, "no_SUCH.locale") == NULL);
    struct lconv *numbers = localeconv();
    CHECK_TEXT(numbers->decimal_point, ".");
    CHECK_TEXT(numbers->thousands_sep, "");
    CHECK_INT(numbers->frac_digits, CHAR_MAX);
}

static void system_values(void)
{
    CHECK_INT(sysconf(_SC_PAGESIZE), 4096);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1 && getpid() > 0);
    errno = 0;
    CHECK(sysconf(100000) == -1 && errno == EINVAL);
}

TESTS(environment, TEST(set_and_unset), TEST(put), TEST(names_that_are_none), TEST(listed), TEST(many), TEST(locale), TEST(system_values));
