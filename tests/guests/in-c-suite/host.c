/* Runs all tests on the host, each in a process of its own, and says which went well. */
#include "suite.h"
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int status = 0;
    for (size_t at = 0; at < module_count; at++) {
        for (size_t of = 0; of < modules[at]->count; of++) {
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                modules[at]->tests[of].run();
                _exit(0);
            }
            int ended = 1;
            if (child < 0 || waitpid(child, &ended, 0) != child)
                return 2;
            printf("%s::%s %s\n", modules[at]->name, modules[at]->tests[of].name, ended == 0 ? "ok" : "failed");
            status |= ended != 0;
        }
    }
    return status;
}
