/* <pthread.h> and <semaphore.h>. */
#include "suite.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int count;

static void *adds(void *times)
{
    for (intptr_t left = (intptr_t)times; left > 0; left--) {
        pthread_mutex_lock(&mutex);
        int seen = count;
        if (left % 10 == 0)
            sched_yield();
        count = seen + 1;
        pthread_mutex_unlock(&mutex);
    }
    return times;
}

static void joined(void)
{
    pthread_t threads[5];
    count = 0;
    for (size_t at = 0; at < 5; at++)
        CHECK_INT(pthread_create(&threads[at], NULL, adds, (void *)(intptr_t)100), 0);
    for (size_t at = 0; at < 5; at++) {
        void *result = NULL;
        CHECK_INT(pthread_join(threads[at], &result), 0);
        CHECK_INT((intptr_t)result, 100);
    }
    CHECK_INT(count, 500);
}

static void *tries(void *lock)
{
    return (void *)(intptr_t)pthread_mutex_trylock(lock);
}

static intptr_t in_a_thread(void *(*work)(void *), void *argument)
{
    pthread_t thread;
    void *result = NULL;
    CHECK(pthread_create(&thread, NULL, work, argument) == 0 && pthread_join(thread, &result) == 0);
    return (intptr_t)result;
}

static void mutexes_of_each_kind(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t lock;
    pthread_mutexattr_init(&attributes);
    CHECK_INT(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE), 0);
    CHECK_INT(pthread_mutex_init(&lock, &attributes), 0);
    CHECK(pthread_mutex_lock(&lock) == 0 && pthread_mutex_lock(&lock) == 0 && pthread_mutex_trylock(&lock) == 0);
    CHECK_INT(in_a_thread(tries, &lock), EBUSY);
    CHECK(pthread_mutex_unlock(&lock) == 0 && pthread_mutex_unlock(&lock) == 0);
    CHECK_INT(in_a_thread(tries, &lock), EBUSY);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    CHECK_INT(pthread_mutex_destroy(&lock), 0);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&lock, &attributes);
    CHECK_INT(pthread_mutex_unlock(&lock), EPERM);
    CHECK(pthread_mutex_lock(&lock) == 0 && pthread_mutex_lock(&lock) == EDEADLK && pthread_mutex_trylock(&lock) == EBUSY);
    CHECK_INT(pthread_mutex_unlock(&lock), 0);
    pthread_mutexattr_destroy(&attributes);
}

static struct timespec soon(long milliseconds)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_nsec += milliseconds * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000, time.tv_nsec %= 1000000000;
    return time;
}

static void waits_end_in_time(void)
{
    struct timespec limit = soon(3);
    pthread_mutex_lock(&mutex);
    CHECK_INT(pthread_cond_timedwait(&condition, &mutex, &limit), ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    limit = soon(3);
    errno = 0;
    CHECK(sem_timedwait(&semaphore, &limit) == -1 && errno == ETIMEDOUT);
}

static void *consumes(void *sum)
{
    for (;;) {
        pthread_mutex_lock(&mutex);
        while (count == 0)
            pthread_cond_wait(&condition, &mutex);
        int taken = count;
        count = 0;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
        if (taken < 0)
            return NULL;
        *(int *)sum += taken;
    }
}

static void conditions(void)
{
    pthread_t thread;
    int sum = 0;
    count = 0;
    CHECK_INT(pthread_create(&thread, NULL, consumes, &sum), 0);
    for (int number = 1; number <= 101; number++) {
        pthread_mutex_lock(&mutex);
        while (count != 0)
            pthread_cond_wait(&condition, &mutex);
        count = number == 101 ? -1 : number;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&mutex);
    }
    pthread_join(thread, NULL);
    CHECK_INT(sum, 5050);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int runs;
static void run(void)
{
    runs++;
}

static void once_only(void)
{
    for (int times = 0; times < 3; times++)
        CHECK_INT(pthread_once(&once, run), 0);
    CHECK_INT(runs, 1);
}

static int destroyed;
static void destroy(void *value)
{
    destroyed += (int)(intptr_t)value;
}

static void *uses_key(void *key)
{
    CHECK(pthread_getspecific(*(pthread_key_t *)key) == NULL);
    pthread_setspecific(*(pthread_key_t *)key, (void *)5);
    return pthread_getspecific(*(pthread_key_t *)key);
}

static void keys(void)
{
    pthread_key_t key;
    CHECK_INT(pthread_key_create(&key, destroy), 0);
    pthread_setspecific(key, (void *)1);
    CHECK_INT(in_a_thread(uses_key, &key), 5);
    CHECK_INT(destroyed, 5);
    CHECK(pthread_getspecific(key) == (void *)1 && pthread_key_delete(key) == 0);
}

static void *tries_to_read(void *lock)
{
    int result = pthread_rwlock_tryrdlock(lock);
    if (result == 0)
        pthread_rwlock_unlock(lock);
    return (void *)(intptr_t)result;
}

static void *tries_to_write(void *lock)
{
    return (void *)(intptr_t)pthread_rwlock_trywrlock(lock);
}

static void read_write_locks(void)
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    CHECK(pthread_rwlock_rdlock(&lock) == 0 && pthread_rwlock_rdlock(&lock) == 0);
    CHECK_INT(in_a_thread(tries_to_read, &lock), 0);
    CHECK_INT(in_a_thread(tries_to_write, &lock), EBUSY);
    CHECK(pthread_rwlock_unlock(&lock) == 0 && pthread_rwlock_unlock(&lock) == 0);
    CHECK_INT(pthread_rwlock_wrlock(&lock), 0);
    CHECK_INT(in_a_thread(tries_to_read, &lock), EBUSY);
    CHECK(pthread_rwlock_unlock(&lock) == 0 && pthread_rwlock_destroy(&lock) == 0);
}

static pthread_barrier_t barrier;
static void *meets(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)(pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void barriers(void)
{
    pthread_t threads[2];
    pthread_barrier_init(&barrier, NULL, 3);
    for (size_t at = 0; at < 2; at++)
        pthread_create(&threads[at], NULL, meets, NULL);
    intptr_t serial = pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
    for (size_t at = 0; at < 2; at++) {
        void *result;
        pthread_join(threads[at], &result);
        serial += (intptr_t)result;
    }
    CHECK_INT(serial, 1);
}

static void *posts(void *semaphore)
{
    for (int times = 0; times < 3; times++)
        sem_post(semaphore);
    return NULL;
}

static void semaphores(void)
{
    sem_t semaphore;
    int value = -1;
    CHECK(sem_init(&semaphore, 0, 1) == 0 && sem_getvalue(&semaphore, &value) == 0 && value == 1);
    CHECK_INT(sem_wait(&semaphore), 0);
    errno = 0;
    CHECK(sem_trywait(&semaphore) == -1 && errno == EAGAIN);
    pthread_t thread;
    pthread_create(&thread, NULL, posts, &semaphore);
    for (int times = 0; times < 3; times++)
        CHECK_INT(sem_wait(&semaphore), 0);
    pthread_join(thread, NULL);
    sem_destroy(&semaphore);
}

static void *exits(void *value)
{
    pthread_exit(value);
}

static void exits_early(void)
{
    CHECK_INT(in_a_thread(exits, (void *)9), 9);
    CHECK(pthread_equal(pthread_self(), pthread_self()));
}

static void attributes(void)
{
    pthread_attr_t of;
    size_t size = 0;
    int state = -1;
    CHECK_INT(pthread_attr_init(&of), 0);
    CHECK(pthread_attr_getdetachstate(&of, &state) == 0 && state == PTHREAD_CREATE_JOINABLE);
    CHECK(pthread_attr_setstacksize(&of, 1 << 18) == 0 && pthread_attr_getstacksize(&of, &size) == 0 && size == 1 << 18);
    CHECK_INT(pthread_attr_setstacksize(&of, 1), EINVAL);
    pthread_t thread;
    CHECK(pthread_create(&thread, &of, adds, (void *)1) == 0 && pthread_join(thread, NULL) == 0);
    CHECK_INT(pthread_attr_destroy(&of), 0);
}

static _Thread_local int own = 7;
static void *changes(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)own++;
}

static void thread_locals(void)
{
    own = 1;
    CHECK(in_a_thread(changes, NULL) == 7 && in_a_thread(changes, NULL) == 7 && own == 1);
}

static void spin_locks(void)
{
    pthread_spinlock_t lock;
    CHECK(pthread_spin_init(&lock, 0) == 0 && pthread_spin_lock(&lock) == 0 && pthread_spin_trylock(&lock) == EBUSY);
    CHECK(pthread_spin_unlock(&lock) == 0 && pthread_spin_destroy(&lock) == 0);
}

TESTS(threads, TEST(joined), TEST(mutexes_of_each_kind), TEST(waits_end_in_time), TEST(conditions), TEST(once_only), TEST(keys),
      TEST(read_write_locks), TEST(barriers), TEST(semaphores), TEST(exits_early), TEST(attributes), TEST(thread_locals),
      TEST(spin_locks));
