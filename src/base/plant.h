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
	X(READY_LOST, "output that did not fit into the port is forgotten")

#define X(name, text) PLANT_##name,
enum planted_bug { PLANT_NONE, PLANTED_BUGS(X) PLANT_COUNT };
#undef X

#ifdef C10M_PLANT
extern enum planted_bug planted_bug;
#define PLANTED(name) unlikely(planted_bug == PLANT_##name)
#else
#define PLANTED(name) false
#endif

#endif
