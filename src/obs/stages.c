/* stages.c - the names of the stages, for people. */
#include "obs/stages.h"

#define STAGE_NAME(name, text) [STAGE_##name] = text,
const char *const stage_names[STAGE_COUNT] = {STAGES(STAGE_NAME)};
#undef STAGE_NAME
