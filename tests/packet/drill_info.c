/* drill_info.c - assertions about fields of TCP_INFO. */
#include <linux/tcp.h>
#include <stddef.h>
#include <string.h>

#include "drill_internal.h"

#define IPPROTO_TCP_LEVEL 6

#define FIELD(name) \
	{ \
		"tcpi_" #name, offsetof(struct tcp_info, tcpi_##name), \
			sizeof(((struct tcp_info *)0)->tcpi_##name) \
	}

static const struct field {
	const char *name;
	size_t offset, bytes;
} fields[] = {
	FIELD(state),     FIELD(ca_state),      FIELD(retransmits),  FIELD(probes),   FIELD(backoff),
	FIELD(options),   FIELD(rto),           FIELD(ato),          FIELD(snd_mss),  FIELD(rcv_mss),
	FIELD(unacked),   FIELD(sacked),        FIELD(lost),         FIELD(retrans),  FIELD(pmtu),
	FIELD(rtt),       FIELD(rttvar),        FIELD(snd_ssthresh), FIELD(snd_cwnd), FIELD(advmss),
	FIELD(rcv_space), FIELD(notsent_bytes), FIELD(min_rtt),      FIELD(snd_wnd),  FIELD(reordering),
};

static bool field_of(const struct tcp_info *info, const char *name, int64_t *value)
{
	for (unsigned i = 0; i < ARRAY_COUNT(fields); i++) {
		const uint8_t *at = (const uint8_t *)info + fields[i].offset;
		uint32_t number;

		if (strcmp(fields[i].name, name) != 0)
			continue;
		memcpy(&number, at, sizeof(number));
		*value = fields[i].bytes == 1 ? *at : number;
		return true;
	}
	return false;
}

static bool holds(int64_t value, const char *operator, int64_t wanted)
{
	switch (operator[0]) {
	case '=':
		return value == wanted;
	case '!':
		return value != wanted;
	case '<':
		return operator[1] ? value <= wanted : value<wanted;
	default:
		return operator[1] ? value >= wanted : value> wanted;
	}
}

void drill_compare_info(struct drill *drill, const struct drill_event *event)
{
	struct tcp_info info = {0};
	socklen_t bytes = sizeof(info);
	struct socket_call call = {
		.kind = CALL_GET_OPTION,
		.value0 = IPPROTO_TCP_LEVEL,
		.value1 = TCP_INFO,
		.value = &info,
		.value_bytes = &bytes,
	};

	if (drill->connection < 0)
		drill_fail(drill, event, "no connection was opened before");
	call.number = drill->fds[drill->connection];
	sockets_call(drill->sockets, drill->t->now_us, &call);
	if (call.result < 0)
		drill_fail(drill, event, "descriptor %d gives no TCP_INFO", drill->connection);
	for (unsigned i = 0; i < event->assert_count; i++) {
		const struct drill_assert *assert = &event->asserts[i];
		int64_t value;

		if (!field_of(&info, assert->field, &value))
			drill_fail(drill, event, "nobody knows '%s'", assert->field);
		if (!holds(value, assert->operator, assert->value))
			drill_fail(drill, event, "%s is %lld, expected %s %lld", assert->field,
				   (long long)value, assert->operator,(long long) assert->value);
	}
}
