/* FILE. */
#include "suite.h"
#include <unistd.h>

static char path[160];

static FILE *opened(const char *mode)
{
    return fopen(path, mode);
}

/* A file of the test's own that has this text. */
static void make(const char *text)
{
    strcpy(path, TMP "/suite-stream-XXXXXX");
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
    close(file);
}

static void has(const char *text)
{
    char bytes[256] = "";
    FILE *stream = opened("r");
    bytes[fread(bytes, 1, sizeof bytes - 1, stream)] = 0;
    fclose(stream);
    CHECK_TEXT(bytes, text);
}

static void modes(void)
{
    make("old");
    FILE *stream = opened("r+");
    CHECK(fputc('O', stream) == 'O' && fclose(stream) == 0);
    has("Old");
    stream = opened("a");
    CHECK(fputs("er", stream) >= 0 && fclose(stream) == 0);
    has("Older");
    stream = opened("wb");
    fclose(stream);
    has("");
    CHECK(opened("wx") == NULL && errno == EEXIST);
    stream = opened("w+");
    fputs("both", stream);
    rewind(stream);
    CHECK_INT(fgetc(stream), 'b');
    fclose(stream);
    stream = opened("a+");
    fputs("!", stream);
    rewind(stream);
    CHECK_INT(fgetc(stream), 'b');
    fclose(stream);
    has("both!");
    unlink(path);
    errno = 0;
    CHECK(opened("r") == NULL && errno == ENOENT);
    errno = 0;
    CHECK(opened("q") == NULL && errno == EINVAL);
}

static void reads_and_writes_elements(void)
{
    make("0123456789");
    char bytes[16];
    FILE *stream = opened("r");
    CHECK_INT(fread(bytes, 3, 2, stream), 2);
    CHECK_INT(ftell(stream), 6);
    CHECK_INT(fread(bytes, 3, 2, stream), 1);
    CHECK(feof(stream) && !ferror(stream) && bytes[3] == '9');
    CHECK_INT(fread(bytes, 0, 5, stream), 0);
    fclose(stream);
    stream = opened("w");
    CHECK_INT(fwrite("abcdef", 2, 3, stream), 3);
    CHECK_INT(fwrite("x", 0, 3, stream), 0);
    fclose(stream);
    has("abcdef");
}

static void lines(void)
{
    make("one\n\nlong line\nlast");
    char line[8];
    FILE *stream = opened("r");
    CHECK_TEXT(fgets(line, sizeof line, stream), "one\n");
    CHECK_TEXT(fgets(line, sizeof line, stream), "\n");
    CHECK_TEXT(fgets(line, sizeof line, stream), "long li");
    CHECK_TEXT(fgets(line, sizeof line, stream), "ne\n");
    CHECK_TEXT(fgets(line, sizeof line, stream), "last");
    CHECK(feof(stream) && fgets(line, sizeof line, stream) == NULL);
    CHECK_TEXT(line, "last");
    rewind(stream);
    CHECK(!feof(stream) && fgets(line, 2, stream) == line && strcmp(line, "o") == 0);
    fclose(stream);
}

static void lines_that_grow(void)
{
    make("a\nbb\n");
    char *line = NULL;
    size_t room = 0;
    FILE *stream = opened("r");
    CHECK_INT(getline(&line, &room, stream), 2);
    CHECK_TEXT(line, "a\n");
    CHECK_INT(getdelim(&line, &room, 'b', stream), 1);
    CHECK_INT(getline(&line, &room, stream), 2);
    CHECK_TEXT(line, "b\n");
    CHECK_INT(getline(&line, &room, stream), -1);
    CHECK(feof(stream) && room >= 3);
    free(line);
    fclose(stream);
}

static void gives_back(void)
{
    make("ab");
    FILE *stream = opened("r");
    CHECK(fgetc(stream) == 'a' && ungetc('x', stream) == 'x' && ftell(stream) == 0);
    CHECK(fgetc(stream) == 'x' && getc(stream) == 'b' && fgetc(stream) == EOF && feof(stream));
    CHECK(ungetc('z', stream) == 'z' && !feof(stream) && fgetc(stream) == 'z' && fgetc(stream) == EOF);
    CHECK_INT(ungetc(EOF, stream), EOF);
    ungetc('y', stream);
    CHECK(fseek(stream, 0, SEEK_SET) == 0 && fgetc(stream) == 'a');
    ungetc('q', stream);
    char two[3] = "";
    CHECK(fread(two, 1, 2, stream) == 2 && strcmp(two, "qb") == 0);
    fclose(stream);
}

static void seeks(void)
{
    make("0123456789");
    FILE *stream = opened("r+");
    CHECK(fseek(stream, -2, SEEK_END) == 0 && fgetc(stream) == '8');
    CHECK(fseek(stream, -3, SEEK_CUR) == 0 && fgetc(stream) == '6' && ftell(stream) == 7);
    errno = 0;
    CHECK(fseek(stream, -1, SEEK_SET) == -1 && errno == EINVAL);
    CHECK(fseek(stream, 12, SEEK_SET) == 0 && fputc('x', stream) == 'x');
    fpos_t place;
    rewind(stream);
    CHECK(fgetc(stream) == '0' && fgetpos(stream, &place) == 0 && fgetc(stream) == '1');
    CHECK(fseek(stream, 0, SEEK_END) == 0 && ftello(stream) == 13);
    CHECK(fsetpos(stream, &place) == 0 && fgetc(stream) == '1');
    fclose(stream);
}

static void reads_after_it_wrote(void)
{
    make("abcdef");
    FILE *stream = opened("r+");
    CHECK(fgetc(stream) == 'a' && fseek(stream, 0, SEEK_CUR) == 0 && fputc('B', stream) == 'B');
    CHECK(fflush(stream) == 0 && fseek(stream, 0, SEEK_CUR) == 0 && fgetc(stream) == 'c');
    fclose(stream);
    has("aBcdef");
}

static void errors_stay(void)
{
    make("x");
    FILE *stream = opened("r");
    CHECK(fputc('y', stream) == EOF && ferror(stream));
    clearerr(stream);
    CHECK(!ferror(stream) && fgetc(stream) == 'x');
    fclose(stream);
    stream = opened("w");
    CHECK(fgetc(stream) == EOF && ferror(stream) && !feof(stream));
    fclose(stream);
}

static void reopens(void)
{
    make("first");
    FILE *stream = opened("r");
    CHECK_INT(fgetc(stream), 'f');
    FILE *again = freopen(path, "w", stream);
    /* The same one, as who ignores the result has it. */
    CHECK(again == stream && fputs("second", stream) >= 0);
    fclose(stream);
    has("second");
}

static void by_descriptor(void)
{
    make("text");
    FILE *stream = opened("r");
    CHECK(fileno(stream) > 2 && fileno(stdout) == 1 && fileno(stderr) == 2);
    FILE *other = fdopen(dup(fileno(stream)), "r");
    CHECK_INT(fgetc(other), 't');
    fclose(other), fclose(stream);
}

static void temporary(void)
{
    FILE *stream = tmpfile();
    CHECK(stream != NULL && fputs("kept", stream) >= 0);
    rewind(stream);
    char bytes[8] = "";
    CHECK(fread(bytes, 1, 8, stream) == 4 && strcmp(bytes, "kept") == 0 && fclose(stream) == 0);
}

static void prints(void)
{
    make("");
    FILE *stream = opened("w");
    CHECK_INT(fprintf(stream, "%d-%s", 7, "x"), 3);
    CHECK_INT(putc('!', stream), '!');
    fclose(stream);
    has("7-x!");
    CHECK(printf("a line\n") == 7 && puts("another") >= 0 && putchar('\n') == '\n' && fflush(NULL) == 0);
}

static void buffers_are_taken(void)
{
    make("");
    static char buffer[BUFSIZ];
    FILE *stream = opened("w");
    CHECK_INT(setvbuf(stream, buffer, _IOFBF, sizeof buffer), 0);
    fputs("buffered", stream);
    fclose(stream);
    has("buffered");
    stream = opened("w");
    setbuf(stream, NULL);
    fputs("not", stream);
    has("not");
    fclose(stream);
}

static void all_bytes(void)
{
    make("");
    FILE *stream = opened("w");
    for (int byte = 0; byte < 256; byte++)
        CHECK_INT(fputc(byte, stream), byte);
    fclose(stream);
    stream = opened("r");
    for (int byte = 0; byte < 256; byte++)
        CHECK_INT(fgetc(stream), byte);
    CHECK_INT(fgetc(stream), EOF);
    fclose(stream);
}

/* Of nothing, and of a text that is empty, only what was wrong is told. */
static void perror_tells(void)
{
    make("");
    CHECK(freopen(path, "w", stderr) == stderr);
    errno = EINVAL;
    perror(NULL);
    errno = EINVAL;
    perror("");
    errno = EINVAL;
    perror("why");
    CHECK(fflush(stderr) == 0 && fclose(stderr) == 0);
    char expected[200];
    const char *why = strerror(EINVAL);
    snprintf(expected, sizeof expected, "%s\n%s\nwhy: %s\n", why, why, why);
    has(expected);
}

#include <stdarg.h>
static int by_list(FILE *stream, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int count = vfprintf(stream, format, list);
    fflush(stream);
    va_end(list);
    return count;
}

static void prints_in_each_way(void)
{
    make("");
    FILE *stream = opened("w");
    CHECK_INT(by_list(stream, "%s %d %.1f", "list", 7, 0.5), 10);
    CHECK_INT(dprintf(fileno(stream), "-%x", 255), 3);
    fclose(stream);
    has("list 7 0.5-ff");
}

TESTS(streams, TEST(modes), TEST(reads_and_writes_elements), TEST(lines), TEST(lines_that_grow), TEST(gives_back), TEST(seeks),
      TEST(reads_after_it_wrote), TEST(errors_stay), TEST(reopens), TEST(by_descriptor), TEST(temporary), TEST(prints),
      TEST(buffers_are_taken), TEST(all_bytes), TEST(perror_tells), TEST(prints_in_each_way));
