/* A function in C: the event is the name of a deed, the answer what came of it. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <jiffy.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int left_by_init;
static int requests;

int jiffy_init(void)
{
    left_by_init = 42;
    printf("init prints\n");
    return getenv("REFUSE") != NULL;
}

static int by_number(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

static void print(jiffy_response *response)
{
    char text[64];
    jiffy_printf(response, "%5d|%-5s|%05.1f|%x|%c|%%|%.3e|%g|%a\n", 42, "ab", 2.25, 255, 'c', 1234.5, 0.0001, 1.0);
    jiffy_printf(response, "%ld %zu %hhd %s %.2s %*d\n", -1L, sizeof(int), 300, (char *)NULL, "xyz", 4, 7);
    /* More of each kind than registers hold. */
    jiffy_printf(response, "%d %d %d %d %d %d %d %d %g %g %g %g %g %g %g %g %g %g %Lg\n", 1, 2, 3, 4, 5, 6, 7, 8, 1.5, 2.5,
                 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5L);
    int needed = snprintf(text, 4, "%s", "longer");
    jiffy_printf(response, "%s %d\n", text, needed);
}

static void read(jiffy_response *response)
{
    int hour = 0, minute = 0;
    double number = 0;
    char word[8] = "";
    int count = sscanf("12:34 0x10 2.5e3 end", "%d:%d %*i %lf %7s", &hour, &minute, &number, word);
    errno = 0;
    long most = strtol("99999999999999999999", NULL, 10);
    jiffy_printf(response, "%d %d %d %g %s %d %d %g\n", count, hour, minute, number, word, most == 9223372036854775807L,
                 errno == ERANGE, strtod("0x1.8p1rest", NULL));
}

static jmp_buf back;

static void jump(int depth)
{
    if (depth == 0)
        longjmp(back, 7);
    jump(depth - 1);
}

static void compute(jiffy_response *response)
{
    int numbers[] = {5, 3, 9, 1, 7, 2, 8, 4, 6, 0, 11, 10};
    size_t count = sizeof numbers / sizeof *numbers;
    qsort(numbers, count, sizeof *numbers, by_number);
    for (size_t place = 0; place < count; place++)
        jiffy_printf(response, "%d ", numbers[place]);
    int key = 8;
    int *found = bsearch(&key, numbers, count, sizeof *numbers, by_number);
    jiffy_printf(response, "%td\n", found - numbers);

    int jumped = setjmp(back);
    if (jumped == 0)
        jump(10);
    int exponent;
    double whole;
    double fraction = frexp(48.0, &exponent);
    double rest = modf(-3.75, &whole);
    jiffy_printf(response, "%d %g %d %g %g %ld %.12g %Lg %d\n", jumped, fraction, exponent, rest, whole, lrint(2.5),
                 pow(2.0, 0.5), sqrtl(2.25L), isnan(NAN) != 0);
}

static void texts(jiffy_response *response)
{
    char list[] = "one,two;three";
    for (char *word = strtok(list, ",;"); word; word = strtok(NULL, ",;"))
        jiffy_printf(response, "[%s]", word);
    char *copy = strdup("copied");
    for (char *at = copy; *at; at++)
        *at = toupper((unsigned char)*at);
    jiffy_printf(response, " %s %s %d %d %s %s\n", copy, strstr("haystack", "st"), strcasecmp("A", "a"),
                 isalpha('x') && !isalpha('1'), strerror(EINVAL), localeconv()->decimal_point);
    free(copy);
    time_t then = 1700000000;
    struct tm *date = gmtime(&then);
    char text[64];
    strftime(text, sizeof text, "%A %d %B %Y %H:%M:%S %Z", date);
    jiffy_printf(response, "%s %d\n", text, mktime(date) == then);
}

static void files(jiffy_response *response)
{
    char line[64] = "";
    FILE *given = fopen("/data/words.txt", "r");
    fgets(line, sizeof line, given);
    long place = ftell(given);
    jiffy_printf(response, "%s%ld %c", line, place, fgetc(given));
    ungetc('S', given);
    size_t read = fread(line, 1, sizeof line, given);
    jiffy_printf(response, " %zu %.6s %d\n", read, line, feof(given) != 0);
    fclose(given);

    FILE *made = fopen("/tmp/made", "w+");
    fprintf(made, "%d + %d = %d\n", 1, 2, 3);
    fseek(made, 4, SEEK_SET);
    fputs("7", made);
    rewind(made);
    fgets(line, sizeof line, made);
    fclose(made);
    jiffy_printf(response, "%s", line);
    int removed = remove("/tmp/made");
    FILE *gone = fopen("/tmp/made", "r");
    int why = errno;
    jiffy_printf(response, "%d %d %d %d\n", removed, gone == NULL, why == ENOENT, fopen("/data/new", "w") == NULL);
}

static void *add(void *number)
{
    for (int times = 0; times < 1000; times++)
        ++*(int *)number;
    return number;
}

static void threads(jiffy_response *response)
{
    pthread_t both[2];
    int numbers[2] = {0, 5};
    for (int each = 0; each < 2; each++)
        if (pthread_create(&both[each], NULL, add, &numbers[each]) != 0)
            return;
    void *returned = NULL;
    for (int each = 0; each < 2; each++)
        pthread_join(both[each], &returned);
    jiffy_printf(response, "%d %d %d", numbers[0], numbers[1], returned == &numbers[1]);
}

static void logs(void)
{
    printf("a line\nhalf ");
    printf("and %s\n", "half");
    fprintf(stderr, "an error: %d\n", 7);
    jiffy_log(JIFFY_ERROR, "level %s", "error");
    jiffy_log(JIFFY_DEBUG, "not seen");
    puts("puts");
    putchar('c');
    fwrite("not ended", 1, 9, stdout);
}

static void calls(jiffy_response *response)
{
    jiffy_data value;
    int none = jiffy_kv_get("cart", "key", &value);
    int put = jiffy_kv_put("cart", "key", "value", 5);
    int found = jiffy_kv_get("cart", "key", &value);
    jiffy_printf(response, "%d %d %d %s %zu", none, put, found, value.bytes, value.size);
    free(value.bytes);
    int refused = jiffy_kv_get("other", "key", &value);
    jiffy_printf(response, " %d %d %d\n", jiffy_kv_delete("cart", "key"), refused, strlen(jiffy_error()) > 0);
}

static char scattered[64];
static _Thread_local char of_thread[64];

static void *stand_still(void *text)
{
    char stack[64];
    strcpy(stack, text);
    for (;;) {
        sched_yield();
        if (stack[0] == 0)
            return text;
    }
}

/* Leaves the word and the name of each place wherever a request can leave something. */
static int scatter(const char *word)
{
    static char for_stack[64];
    char text[64];
    char *heap = malloc(sizeof text);
    FILE *file = fopen("/tmp/scattered", "w");
    pthread_t thread;
    if (heap == NULL || file == NULL)
        return -1;
    snprintf(heap, sizeof text, "%s:heap", word);
    snprintf(scattered, sizeof scattered, "%s:static", word);
    snprintf(of_thread, sizeof of_thread, "%s:thread-local", word);
    fprintf(file, "%s:file", word);
    fclose(file);
    snprintf(text, sizeof text, "%s:environment", word);
    setenv("SCATTERED", text, 1);
    snprintf(for_stack, sizeof for_stack, "%s:stack", word);
    if (pthread_create(&thread, NULL, stand_still, for_stack) != 0)
        return -1;
    sched_yield();
    memset(for_stack, 0, sizeof for_stack);
    return 0;
}

static volatile int *volatile nowhere;

static void fault(void)
{
    *nowhere = 1;
}

static int recurse(volatile char *before)
{
    volatile char room[4096];
    room[0] = before[0];
    return recurse(room) + room[0];
}

static void __attribute__((noinline)) smash(volatile size_t bytes)
{
    volatile char room[16];
    for (size_t place = 0; place < bytes; place++)
        room[place] = 'x';
}

int jiffy_handle(const jiffy_request *request, jiffy_response *response)
{
    const char *deed = request->body;
    requests++;
    if (!strcmp(deed, "print"))
        print(response);
    else if (!strcmp(deed, "read"))
        read(response);
    else if (!strcmp(deed, "compute"))
        compute(response);
    else if (!strcmp(deed, "texts"))
        texts(response);
    else if (!strcmp(deed, "files"))
        files(response);
    else if (!strcmp(deed, "threads"))
        threads(response);
    else if (!strcmp(deed, "logs"))
        logs();
    else if (!strcmp(deed, "calls"))
        calls(response);
    else if (!strcmp(deed, "state"))
        jiffy_printf(response, "%d %d %d", left_by_init, requests, errno), errno = ENOMEM;
    else if (!strcmp(deed, "request"))
        jiffy_printf(response, "%s %s %s %zu %d", request->method, request->path, request->query, request->size,
                     jiffy_request_header(request, "no-such") == NULL);
    else if (!strncmp(deed, "scatter ", 8))
        return scatter(deed + 8);
    else if (!strcmp(deed, "random")) {
        unsigned char bytes[16];
        jiffy_random(bytes, sizeof bytes);
        for (size_t place = 0; place < sizeof bytes; place++)
            jiffy_printf(response, "%02x", bytes[place]);
    } else if (!strcmp(deed, "spin"))
        for (volatile int turns = 0;; turns++)
            ;
    else if (!strcmp(deed, "null"))
        fault();
    else if (!strcmp(deed, "assert"))
        assert(request->size == 0);
    else if (!strcmp(deed, "abort"))
        fprintf(stderr, "this is why\n"), abort();
    else if (!strcmp(deed, "memory")) {
        if (malloc((size_t)1 << 40) == NULL)
            abort();
    } else if (!strcmp(deed, "must"))
        jiffy_out_of_memory(12345);
    else if (!strcmp(deed, "stack"))
        jiffy_printf(response, "%d", recurse("x"));
    else if (!strcmp(deed, "smash"))
        smash(64);
    else if (!strcmp(deed, "exit"))
        exit(7);
    else if (!strcmp(deed, "fail"))
        return jiffy_fail(response, "no such thing: %d", 404);
    else if (!strcmp(deed, "code"))
        return 3;
    else {
        jiffy_status(response, 404);
        jiffy_content_type(response, "text/plain");
        jiffy_header(response, "x-deed", "none");
        jiffy_printf(response, "no deed %s", deed);
    }
    return 0;
}
