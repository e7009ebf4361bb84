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
	X(SACK_UNKEPT, "data is told of as arrived though there was no memory to keep it") \
	X(HINT_STATE, "a block that was given back earlier in the same burst is taken for the connection") \
	X(SACK_BEYOND, "SACK blocks beyond what was sent are believed") \
	X(RANGE_FATE, "a range that is cut in two forgets the fate of its upper part") \
	X(RACK_ARRIVED, "what has arrived is found lost once it is old") \
	X(PRR_BLIND, "what is sent in recovery does not depend on what is still on its way") \
	X(UNDO_TWICE, "undoing a recovery adds the old window to the present one") \
	X(CUBIC_STAYS, "a loss leaves the window as it was") \
	X(ACK_SPLIT, "each acknowledgement opens the window by a segment, however little it acknowledges") \
	X(PROBE_LEFT, "a tail probe is not forgotten when all is acknowledged") \
	X(WINDOW_BACK, "the advertised window is taken back when unread data fills it") \
	X(KEEPALIVE_ONCE, "the keepalive timer is not armed again after its first probe") \
	X(TIME_WAIT_MUTE, "a FIN sent again in TIME_WAIT is not acknowledged") \
	X(HALF_OPEN_LEFT, "a half-open connection that was reset stays in the flow table") \
	X(DESTINATION_HELD, "the old destination is not released when the path's MTU falls") \
	X(REBUILD_RANGES, "a rebuild takes the ranges of scoreboards for free") \
	X(FASTOPEN_WHOLE, "all that went with a SYN counts as arrived, whatever was acknowledged") \
	X(FASTOPEN_HELD, \
	  "a connection that a SYN's data opened, and that was given up, stays counted as pending")

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
