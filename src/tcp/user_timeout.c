/* user_timeout.c - how long both ends bear data that is not acknowledged: the option of RFC 5482.
 * In: the service's settings, what the application sets, what the peer tells.  Out: tcb.user_timeout_ms.
 * Only where the service asks for it; a time that the application has set for the connection stays. */
#include "tcp/core.h"

#define MINUTES       0x8000u
#define LIMIT_LOW_MS  100000u  /* RFC 9293 section 3.8.3: R2 */
#define LIMIT_HIGH_MS 3600000u /* unless the service says otherwise */
#define NUMBER_MAX    0x7fffu  /* of seconds, or of minutes */
#define MS_A_SECOND   1000u
#define MS_A_MINUTE   60000u

static uint32_t decode(uint16_t raw)
{
	uint64_t ms = (uint64_t)(raw & NUMBER_MAX) * (raw & MINUTES ? MS_A_MINUTE : MS_A_SECOND);

	return (uint32_t)MIN_OF(ms, (uint64_t)TICKS_MAX_AHEAD);
}

/* 0: nothing is told. */
uint16_t user_timeout_offer(const struct core *core, uint8_t service, uint32_t ms)
{
	uint32_t seconds = (ms + MS_A_SECOND - 1) / MS_A_SECOND;

	if (!core->services[service].tells_timeout)
		return 0;
	if (seconds <= NUMBER_MAX)
		return (uint16_t)seconds;
	return (uint16_t)(MINUTES | MIN_OF((ms + MS_A_MINUTE - 1) / MS_A_MINUTE, NUMBER_MAX));
}

/* RFC 5482 section 3.1: the larger of both wishes, within limits. Zero makes no sense, and is ignored. */
void user_timeout_learn(struct core *core, struct tcb *tcb, uint16_t raw)
{
	const struct tcp_service *service = &core->services[tcb->service];
	uint32_t theirs = decode(raw),
		 low = service->user_timeout_ms ? service->user_timeout_ms : LIMIT_LOW_MS;
	uint32_t high = service->user_timeout_max_ms ? service->user_timeout_max_ms : LIMIT_HIGH_MS;

	if (!service->tells_timeout || tcb->timeout_set || theirs == 0)
		return;
	tcb->user_timeout_ms = MIN_OF(MAX_OF(theirs, low), MAX_OF(high, low)) & 0x7fffffffu;
	core->counters.tcp_user_timeouts_learnt++;
	tcp_heed_user_timeout(tcb);
}

void user_timeout_change(struct core *core, struct tcb *tcb)
{
	if (tcb->state < TCP_ESTABLISHED || !user_timeout_offer(core, tcb->service, tcb->user_timeout_ms) ||
	    !extension_hold(core, tcb, EXTENSION_TIMEOUT))
		return;
	tcb->pending |= TCB_ACK_NOW;
	conn_ready(core, tcb_index(core, tcb));
}

/* With the next segment that has room for it; once, since it is only a wish. */
void user_timeout_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment)
{
	if (!(tcb_extension(core, tcb)->uses & EXTENSION_TIMEOUT) || segment->payload_bytes + 4 > tcb->mss)
		return;
	segment->user_timeout = user_timeout_offer(core, tcb->service, tcb->user_timeout_ms);
	if (segment->user_timeout)
		segment->options |= TCP_OPT_USER_TIMEOUT;
	extension_drop(core, tcb, EXTENSION_TIMEOUT);
}
