/* drill.h - scripts in the packetdrill language: parsed, then run on a stack with a fake clock.
 * docs/packetdrill.md says which part of the language there is. */
#ifndef C10M_TESTS_PACKET_DRILL_H
#define C10M_TESTS_PACKET_DRILL_H

#include <stdbool.h>
#include <stdint.h>

#define DRILL_EVENTS   256
#define DRILL_VALUES   2048
#define DRILL_OPTIONS  24
#define DRILL_TEXT     160
#define DRILL_ASSERTS  8
#define DRILL_FAILURE  1024
#define DRILL_SETTINGS 32

struct drill_place {
	unsigned line, column;
};

enum drill_when_kind {
	WHEN_AT,    /* start */
	WHEN_RANGE, /* between start and end */
	WHEN_LASTS, /* begins at start, is over at end */
	WHEN_ANY,
};

struct drill_when {
	enum drill_when_kind kind;
	bool start_relative, end_relative; /* to the event before */
	int64_t start_us, end_us;
};

enum drill_ecn { ECN_ANY = -1, ECN_NONE, ECN_ECT1, ECN_ECT0, ECN_CE };

/* Kinds as on the wire. */
struct drill_option {
	uint8_t kind;
	uint32_t numbers[8]; /* mss, wscale; val and ecr; the edges of SACK blocks */
	uint8_t count;
	uint8_t bytes[36]; /* cookies */
};

struct drill_packet {
	bool icmp;
	uint8_t icmp_type, icmp_code;
	uint32_t icmp_mtu;
	enum drill_ecn ecn;
	uint8_t flags;
	uint32_t seq, bytes, ack, win, urgent;
	bool has_win, has_urgent;
	bool any_options;
	struct drill_option options[DRILL_OPTIONS];
	unsigned option_count;
};

enum drill_value_kind { VALUE_ELLIPSIS, VALUE_NUMBER, VALUE_TEXT, VALUE_LIST, VALUE_STRUCT };

struct drill_value {
	enum drill_value_kind kind;
	struct drill_place place;
	int64_t number;
	char name[24]; /* of a field */
	char text[32];
	struct drill_value *first, *next; /* of a list or struct */
};

struct drill_call {
	char name[20];
	struct drill_value *arguments;
	bool any_result;
	int64_t result;
	int error; /* positive; 0: none */
};

struct drill_assert {
	char field[24], operator[3];
	int64_t value;
};

enum drill_kind { DRILL_IN, DRILL_OUT, DRILL_CALL, DRILL_ASSERT };

struct drill_event {
	enum drill_kind kind;
	struct drill_place place;
	struct drill_when when;
	char text[DRILL_TEXT]; /* as it was written */
	struct drill_packet packet;
	struct drill_call call;
	struct drill_assert asserts[DRILL_ASSERTS];
	unsigned assert_count;
};

struct drill_setting {
	char name[32], value[32];
	struct drill_place place;
	bool from_defaults;
};

struct drill_script {
	const char *path;
	struct drill_event events[DRILL_EVENTS];
	unsigned event_count;
	struct drill_setting settings[DRILL_SETTINGS];
	unsigned setting_count;
	struct drill_value values[DRILL_VALUES];
	unsigned value_count;
	char failure[DRILL_FAILURE]; /* file:line:column: what is wrong */
};

/* drill_parse.c: false and a sentence in script->failure. Settings of `defaults` (may be NULL) come first. */
bool drill_parse(struct drill_script *script, const char *path, const char *text, const char *defaults);
/* The value of a name such as SOL_SOCKET or EAGAIN. */
bool drill_symbol(const char *name, int64_t *value);

/* drill_run.c: false and a sentence. */
bool drill_run(struct drill_script *script);
/* drill_print.c: as it would be written. */
void drill_print(const struct drill_packet *packet, bool inbound, char *text, unsigned room);

#endif
