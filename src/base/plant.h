/* plant.h - bugs planted on purpose, to prove that the tests find them.
 *
 * With -Dplant=true the variable planted_bug picks one of the list below; in
 * every other build PLANTED() is the constant false and leaves no code. */
#ifndef C10M_BASE_PLANT_H
#define C10M_BASE_PLANT_H

#include "base/compiler.h"

/* name, what is broken */
#define PLANTED_BUGS(X) \
	X(LOST_TIMER, "the retransmission timer is not armed again after it fired") \
	X(WINDOW_EDGE, "one byte beyond the receive window is accepted") \
	X(RESET_LEAK, "a reset forgets to give the send queue back") \
	X(ACK_PLAIN_COMPARE, "acknowledgements are compared without the wrap") \
	X(FIN_LOST, "a FIN behind a hole is not remembered") \
	X(REASSEMBLY_OVERLAP, "overlapping out-of-order data is counted twice") \
	X(PERSIST_FORGOTTEN, "a zero window arms no persist timer") \
	X(PAWS_OFF, "old duplicates pass the timestamp check") \
	X(CHECKSUM_SKIPPED, "the TCP checksum is not verified") \
	X(READY_LOST, "output that did not fit into the port is forgotten") \
	X(LOST_COUNT, "what is sent again stays counted as lost") \
	X(SACK_UNKEPT, "data is told of as arrived though there was no memory to keep it")

/* Races between workers: one stack alone cannot show them, the thread sanitizer must. */
#define PLANTED_RACES(X) X(HANDOVER_EARLY, "a frame is shown to its owner before it was copied")

#define X(name, text) PLANT_##name,
enum planted_bug { PLANT_NONE, PLANTED_BUGS(X) PLANT_COUNT };
#undef X
#define X(name, text) PLANT_RACE_##name,
enum planted_race { PLANT_RACE_NONE, PLANTED_RACES(X) };
#undef X

#ifdef C10M_PLANT
extern enum planted_bug planted_bug;
extern enum planted_race planted_race;
#define PLANTED(name)      unlikely(planted_bug == PLANT_##name)
#define PLANTED_RACE(name) unlikely(planted_race == PLANT_RACE_##name)
#else
#define PLANTED(name)      false
#define PLANTED_RACE(name) false
#endif

#endif
