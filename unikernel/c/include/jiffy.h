/* jiffy.h: functions for jiffy in C, and in C++ without exceptions. docs/c.md has more.
 *
 *     #include <jiffy.h>
 *
 *     int jiffy_handle(const jiffy_request *request, jiffy_response *response)
 *     {
 *         jiffy_printf(response, "%zu bytes\n", request->size);
 *         return 0;
 *     }
 */
#ifndef JIFFY_H
#define JIFFY_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define JIFFY_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#define JIFFY_NORETURN __attribute__((__noreturn__))
#else
#define JIFFY_PRINTF(text, first)
#define JIFFY_NORETURN
#endif

/* What is asked. All of it is there until the handler returns. */
typedef struct jiffy_request {
    const char *body;         /* size bytes, and a zero behind them that does not count */
    size_t size;
    const char *content_type; /* "" if the caller said none */
    const char *method;       /* of HTTP; "POST" if the event did not come over HTTP */
    const char *path;         /* "/" then */
    const char *query;        /* behind the `?`, or "" */
    const char *id;           /* the request's */
    const void *internal;
} jiffy_request;

/* What is answered: empty, with status 200 and no content type, until something is said. */
typedef struct jiffy_response jiffy_response;

/* ---- What a function defines ---- */

/* Answers a request. 0, or anything else for an error, whose text jiffy_fail said. */
int jiffy_handle(const jiffy_request *request, jiffy_response *response);

/* May be defined: runs once, before the first request; every request begins with what it left. Anything but 0 is an error,
 * and no request is ever taken. Time and randomness are a request's, and so are calls. */
int jiffy_init(void);

/* ---- The request ---- */

/* A header of the request by its name, in any case, or NULL. */
const char *jiffy_request_header(const jiffy_request *request, const char *name);

/* ---- The response ---- */

/* Adds bytes. */
void jiffy_write(jiffy_response *response, const void *bytes, size_t size);
/* Adds a text as printf has it. */
void jiffy_vprintf(jiffy_response *response, const char *format, va_list list);
/* Says what it is, such as "application/json". */
void jiffy_content_type(jiffy_response *response, const char *type);
/* Sets the status of HTTP. */
void jiffy_status(jiffy_response *response, int status);
/* Adds a header. One that is none is an error of the request, as jiffy_fail's. */
void jiffy_header(jiffy_response *response, const char *name, const char *value);
/* Says what went wrong, for a handler that does not return 0. */
void jiffy_vfail(jiffy_response *response, const char *format, va_list list);

/* ---- Log, time, randomness, memory ---- */

/* Standard output and error are the log too, at the levels info and warn, a record a line. */
typedef enum { JIFFY_ERROR = 1, JIFFY_WARN, JIFFY_INFO, JIFFY_DEBUG, JIFFY_TRACE } jiffy_level;
void jiffy_vlog(jiffy_level level, const char *format, va_list list);

/* Nanoseconds since 1970. The clock stands still while the function computes. */
int64_t jiffy_now(void);
/* Fills with unpredictable bytes, keyed anew for every request. */
void jiffy_random(void *to, size_t size);
/* Ends the VM, as out of memory: for whoever has no use for a NULL of malloc. */
JIFFY_NORETURN void jiffy_out_of_memory(size_t size);

/* ---- Calls: what jiffy.toml allows, docs/capabilities.md ---- */

/* Bytes of malloc, with a zero behind them that does not count: the caller frees them. NULL if a call failed. */
typedef struct jiffy_data {
    char *bytes;
    size_t size;
} jiffy_data;

/* Why the last call failed. */
const char *jiffy_error(void);

/* Makes an HTTP request: its status, or -1. headers: names and values in turns, then NULL; or NULL. */
int jiffy_http(const char *method, const char *url, const char *const *headers, const void *body, size_t size,
               jiffy_data *answer);
/* The value of a key: 1, 0 if there is none, or -1. */
int jiffy_kv_get(const char *store, const char *key, jiffy_data *value);
/* Sets the value of a key: 0, or -1. */
int jiffy_kv_put(const char *store, const char *key, const void *value, size_t size);
/* Removes a key: 0, or -1. */
int jiffy_kv_delete(const char *store, const char *key);
/* Reads a secret: 0, or -1. */
int jiffy_secret(const char *name, jiffy_data *value);
/* Asks another function: 0, or -1. */
int jiffy_invoke(const char *function, const void *event, size_t size, jiffy_data *answer);
/* Sends to a queue: 0, or -1. */
int jiffy_queue_send(const char *queue, const void *message, size_t size);

/* ---- The same with arguments ---- */

JIFFY_PRINTF(2, 3) static inline void jiffy_printf(jiffy_response *response, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    jiffy_vprintf(response, format, list);
    va_end(list);
}

/* Returns -1, so that a handler may end with `return jiffy_fail(response, "…");`. */
JIFFY_PRINTF(2, 3) static inline int jiffy_fail(jiffy_response *response, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    jiffy_vfail(response, format, list);
    va_end(list);
    return -1;
}

JIFFY_PRINTF(2, 3) static inline void jiffy_log(jiffy_level level, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    jiffy_vlog(level, format, list);
    va_end(list);
}

#ifdef __cplusplus
}
#endif

#endif
