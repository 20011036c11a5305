/* Runs the test that the event names, as `texts::copies`, and answers that it went well; `list` names all. */
#include "suite.h"
#include <jiffy.h>

int jiffy_handle(const jiffy_request *request, jiffy_response *response)
{
    bool is_list = strcmp(request->body, "list") == 0, is_found = is_list;
    for (size_t at = 0; at < module_count; at++) {
        for (size_t of = 0; of < modules[at]->count; of++) {
            char name[128];
            const struct test *test = &modules[at]->tests[of];
            snprintf(name, sizeof name, "%s::%s", modules[at]->name, test->name);
            if (is_list) {
                jiffy_printf(response, "%s\n", name);
            } else if (strcmp(request->body, name) == 0) {
                test->run();
                jiffy_printf(response, "%s ok\n", name);
                is_found = true;
            }
        }
    }
    return is_found ? 0 : jiffy_fail(response, "no test %s", request->body);
}
