/* All files of tests. */
#include "suite.h"

extern const struct module ctype_module, environment_module, errors_module, files_module, jumps_module, math_module, memory_module,
    numbers_module, printing_module, random_module, scanning_module, sorting_module, streams_module, system_module, texts_module, threads_module,
    time_module, wide_module;

const struct module *const modules[] = {
    &ctype_module,    &environment_module, &errors_module,   &files_module, &jumps_module,   &math_module,
    &memory_module,   &numbers_module,     &printing_module, &random_module, &scanning_module, &sorting_module,
    &streams_module,  &system_module,      &texts_module,    &threads_module, &time_module,    &wide_module,
};
const size_t module_count = COUNT(modules);
