/* Wide characters, as far as the locale has them: here ASCII, so that any of UTF-8 and C does. */
#include "suite.h"
#include <wchar.h>

static void lengths(void)
{
    CHECK(wcslen(L"") == 0 && wcslen(L"four") == 4);
}

static void one_by_one(void)
{
    wchar_t wide = 0;
    CHECK(mbtowc(&wide, "a", 1) == 1 && wide == L'a' && mbtowc(&wide, "", 1) == 0 && mbtowc(NULL, NULL, 0) == 0);
    CHECK(mblen("a", 1) == 1 && mblen("", 1) == 0);
    char bytes[MB_LEN_MAX];
    CHECK(wctomb(bytes, L'x') == 1 && bytes[0] == 'x' && wctomb(NULL, L'x') == 0);
    CHECK_INT(mbtowc(&wide, "a", 0), -1);
}

static void with_state(void)
{
    wchar_t wide = 0;
    mbstate_t state = {0};
    CHECK(mbrtowc(&wide, "ab", 2, &state) == 1 && wide == L'a' && mbrtowc(&wide, "", 1, &state) == 0);
    /* Without any byte it is not whole yet; without a text nothing is asked. */
    CHECK_INT(mbrtowc(&wide, "a", 0, &state), -2);
    CHECK_INT(mbrtowc(NULL, NULL, 0, &state), 0);
}

static void whole_texts(void)
{
    wchar_t wide[8];
    char bytes[8];
    CHECK(mbstowcs(wide, "abc", 8) == 3 && wide[2] == L'c' && wide[3] == 0 && mbstowcs(NULL, "abc", 0) == 3);
    CHECK(mbstowcs(wide, "abcdef", 2) == 2 && wide[1] == L'b');
    CHECK(wcstombs(bytes, L"abc", 8) == 3 && strcmp(bytes, "abc") == 0 && wcstombs(NULL, L"abc", 0) == 3);
    memset(bytes, 'x', 8);
    CHECK(wcstombs(bytes, L"abc", 2) == 2 && bytes[2] == 'x');
}

TESTS(wide, TEST(lengths), TEST(one_by_one), TEST(with_state), TEST(whole_texts));
