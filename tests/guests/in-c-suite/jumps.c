/* <setjmp.h>. */
#include "suite.h"
#include <setjmp.h>

static jmp_buf place;

static __attribute__((noinline)) void jump(int depth, int value)
{
    char room[200];
    memset(room, depth, sizeof room);
    if (value < 0)
        return;
    if (depth > 0)
        jump(depth - 1, value);
    else
        longjmp(place, value);
    CHECK(room[7] == 0);
}

static void comes_back_with_a_value(void)
{
    volatile int seen = 0;
    int value = setjmp(place);
    if (value == 0) {
        seen = 1;
        jump(20, 7);
    }
    CHECK(value == 7 && seen == 1);
}

static void zero_becomes_one(void)
{
    int value = setjmp(place);
    if (value == 0)
        jump(3, 0);
    CHECK_INT(value, 1);
}

static void many_times(void)
{
    volatile int count = 0;
    volatile double kept = 2.5;
    int value = setjmp(place);
    if (count < 1000) {
        CHECK_INT(value, count);
        count++;
        longjmp(place, count);
    }
    CHECK(count == 1000 && kept == 2.5);
}

static void nested(void)
{
    jmp_buf outer;
    volatile int order = 0;
    if (setjmp(outer) == 0) {
        if (setjmp(place) == 0)
            jump(2, 1);
        order = 1;
        longjmp(outer, 1);
    }
    CHECK_INT(order, 1);
}

static void with_signals(void)
{
    sigjmp_buf signals;
    int value = sigsetjmp(signals, 1);
    if (value == 0)
        siglongjmp(signals, 3);
    CHECK_INT(value, 3);
    value = _setjmp(place);
    if (value == 0)
        _longjmp(place, 4);
    CHECK_INT(value, 4);
}

TESTS(jumps, TEST(comes_back_with_a_value), TEST(zero_becomes_one), TEST(many_times), TEST(nested), TEST(with_signals));
