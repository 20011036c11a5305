/* What `examples/hello` does, for neighbours that run a program: `{"name":"Ada"}` on standard input,
 * `{"greeting":"Hello, Ada!"}` on standard output. Native as it stands, and with clang's wasm32 target a WASI command
 * that needs no libc, so that both neighbours do the same. */

#ifdef __wasm__
typedef unsigned long size_t;
struct span { void *at; size_t len; };
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_read")))
int fd_read(int fd, const struct span *into, size_t spans, size_t *moved);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write")))
int fd_write(int fd, const struct span *from, size_t spans, size_t *moved);

static long read(int fd, void *at, size_t len) {
    struct span into = {at, len};
    size_t moved;
    return fd_read(fd, &into, 1, &moved) ? -1 : (long)moved;
}

static long write(int fd, const void *at, size_t len) {
    struct span from = {(void *)at, len};
    size_t moved;
    return fd_write(fd, &from, 1, &moved) ? -1 : (long)moved;
}
#else
#include <unistd.h>
#endif

#define EVENT_BYTES_MAX 4096

static char event[EVENT_BYTES_MAX];
static char answer[EVENT_BYTES_MAX + 64];

static char *put(char *to, const char *text, const char *end) {
    while (text != end) *to++ = *text++;
    return to;
}

#define PUT(to, literal) put(to, literal, &literal[sizeof literal - 1])

/* Behind `"name":"`; escapes are copied as they are, which is valid JSON again. Null if there is no such thing. */
static const char *find_name(const char *at, const char *end) {
    static const char key[] = "\"name\"";
    for (; end - at > (long)sizeof key; at++) {
        const char *wanted = key;
        const char *here = at;
        while (*wanted && *here == *wanted) here++, wanted++;
        if (*wanted) continue;
        while (here < end && (*here == ' ' || *here == ':')) here++;
        return here < end && *here == '"' ? here + 1 : 0;
    }
    return 0;
}

static int run(void) {
    size_t len = 0;
    for (;;) {
        long got = read(0, event + len, EVENT_BYTES_MAX - len);
        if (got < 0) return 1;
        if (got == 0) break;
        len += (size_t)got;
    }
    const char *end = event + len;
    const char *name = find_name(event, end);
    if (!name) return 2;
    const char *behind = name;
    while (behind < end && *behind != '"') behind += *behind == '\\' ? 2 : 1;
    if (behind >= end) return 2;
    char *to = PUT(answer, "{\"greeting\":\"Hello, ");
    to = put(to, name, behind);
    to = PUT(to, "!\"}");
    return write(1, answer, (size_t)(to - answer)) == to - answer ? 0 : 1;
}

#ifdef __wasm__
/* No answer is failure enough: the host looks at what was written. */
__attribute__((export_name("_start"))) void start(void) { run(); }
#else
int main(void) { return run(); }
#endif
