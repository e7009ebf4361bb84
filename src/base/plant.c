/* plant.c - which of the planted bugs is on: none, until a test chooses one. */
#include "base/plant.h"

#ifdef C10M_PLANT
enum planted_bug planted_bug;
enum planted_race planted_race;
#endif
