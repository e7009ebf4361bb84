/* urgent.c - urgent data: where it ends (RFC 9293 section 3.8.5, RFC 6093). The data itself stays in line,
 * and the pointer names what follows its last byte. In: segments with URG, c10m_send_urgent.  Out: the
 * pointer of what is sent, TCP_EVENT_URGENT. Owns: rcv_up and snd_up of an extension, attached while there is
 * urgent data to be read or acknowledged. */
#include "tcp/core.h"

static struct tcp_extension *used_for(const struct core *core, const struct tcb *tcb, uint16_t use)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	return extension && extension->uses & use ? extension : NULL;
}

/* Without an extension the application is told, and not how far it goes. */
bool urgent_input(struct core *core, struct tcb *tcb, const struct tcp_segment *segment)
{
	uint32_t up = segment->seq + segment->urgent;
	struct tcp_extension *extension = used_for(core, tcb, EXTENSION_URGENT_IN);

	if (tcb->pending & TCB_FIN_TAKEN || seq_leq(up, tcb->rcv_nxt) ||
	    (extension && seq_leq(up, extension->rcv_up)))
		return false;
	core->counters.tcp_urgent_in++;
	extension = extension_hold(core, tcb, EXTENSION_URGENT_IN);
	if (extension)
		extension->rcv_up = up;
	return true;
}

uint32_t urgent_left(const struct core *core, const struct tcb *tcb)
{
	const struct tcp_extension *extension = used_for(core, tcb, EXTENSION_URGENT_IN);
	uint32_t fin = !!(tcb->pending & TCB_FIN_TAKEN); /* takes a number, and is no byte */
	uint32_t next = tcb->rcv_nxt - fin - tcb->rcv_bytes;

	return extension && seq_gt(extension->rcv_up, next) ? extension->rcv_up - next : 0;
}

bool urgent_begin(struct core *core, struct tcb *tcb)
{
	struct tcp_extension *extension = extension_hold(core, tcb, EXTENSION_URGENT_OUT);

	if (!extension)
		return false;
	extension->snd_up = tcb->snd_una + tcb->snd_bytes;
	core->counters.tcp_urgent_out++;
	return true;
}

/* It may lie farther ahead than the field tells: then as far as that goes, and more with the next segment. */
void urgent_tell(struct core *core, struct tcb *tcb, struct tcp_segment *segment)
{
	const struct tcp_extension *extension = used_for(core, tcb, EXTENSION_URGENT_OUT);

	if (extension && seq_gt(extension->snd_up, segment->seq)) {
		segment->flags |= TCP_URG;
		segment->urgent = (uint16_t)MIN_OF(extension->snd_up - segment->seq, 65535u);
	}
	if (used_for(core, tcb, EXTENSION_URGENT_IN) && urgent_left(core, tcb) == 0)
		extension_drop(core, tcb, EXTENSION_URGENT_IN);
}

void urgent_acked(struct core *core, struct tcb *tcb)
{
	const struct tcp_extension *extension = used_for(core, tcb, EXTENSION_URGENT_OUT);

	if (extension && seq_geq(tcb->snd_una, extension->snd_up))
		extension_drop(core, tcb, EXTENSION_URGENT_OUT);
}
