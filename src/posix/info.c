/* info.c - TCP_INFO: what Linux's struct tcp_info asks for, as far as we know it.
 * In: a socket. Out: the struct; what nobody counts is 0. */
#include <linux/tcp.h>
#include <string.h>

#include "posix/internal.h"
#include "tcp/recovery.h"

/* Linux's numbers. */
enum { INFO_ESTABLISHED = 1, INFO_CLOSE = 7, INFO_LISTEN = 10 };

static uint8_t state_of(const struct bsd_socket *socket, const struct tcb *tcb)
{
	static const uint8_t states[] = {
		[TCB_FREE] = INFO_CLOSE,   [TCP_SYN_SENT] = 2,
		[TCP_SYN_RECEIVED] = 3,    [TCP_ESTABLISHED] = INFO_ESTABLISHED,
		[TCP_FIN_WAIT_1] = 4,      [TCP_FIN_WAIT_2] = 5,
		[TCP_CLOSE_WAIT] = 8,      [TCP_CLOSING] = 11,
		[TCP_LAST_ACK] = 9,        [TCP_TIME_WAIT] = 6,
		[TCP_CLOSED] = INFO_CLOSE,
	};

	if (socket->state == SOCKET_LISTENING)
		return INFO_LISTEN;
	return tcb && tcb->state < ARRAY_COUNT(states) ? states[tcb->state] : INFO_CLOSE;
}

static uint32_t segments(uint32_t bytes, const struct tcb *tcb)
{
	return (bytes + tcb->mss - 1) / tcb->mss;
}

static void fill_losses(const struct core *core, const struct tcb *tcb, struct tcp_info *info)
{
	const struct tcp_extension *extension = tcb_extension(core, tcb);

	info->tcpi_unacked = segments(tcb_snd_max(tcb) - tcb->snd_una, tcb);
	info->tcpi_backoff = tcb->backoff;
	info->tcpi_retransmits = tcb->backoff;
	info->tcpi_probes = tcb->keep_probes;
	if (tcb->pending & TCB_RECOVERY)
		info->tcpi_ca_state = TCP_CA_Recovery;
	if (tcb->backoff && tcb->state >= TCP_ESTABLISHED)
		info->tcpi_ca_state = TCP_CA_Loss;
	if (!(tcb->options & TCB_BOARD))
		return;
	info->tcpi_sacked = segments(extension->sacked_bytes, tcb);
	info->tcpi_lost = segments(extension->lost_bytes, tcb);
	info->tcpi_retrans = segments(extension->undo_bytes, tcb);
}

static void fill_windows(const struct core *core, const struct tcb *tcb, struct tcp_info *info)
{
	uint32_t mtu = destination_mtu(&core->net.destinations, tcb->destination);

	info->tcpi_snd_cwnd = tcb->cwnd / tcb->mss;
	info->tcpi_snd_ssthresh = tcb->ssthresh >= UINT32_MAX >> 1 ? INT32_MAX : tcb->ssthresh / tcb->mss;
	info->tcpi_snd_mss = info->tcpi_rcv_mss = tcb->mss;
	info->tcpi_pmtu = mtu;
	info->tcpi_advmss = tcp_mss_for(core, core->net.destinations.routes.mtu);
	info->tcpi_rcv_space = info->tcpi_rcv_ssthresh = core->services[tcb->service].receive_bytes;
	info->tcpi_notsent_bytes = tcb->snd_bytes - MIN_OF(tcb->snd_bytes, tcb_snd_max(tcb) - tcb->snd_una);
	info->tcpi_snd_wnd = tcb->snd_wnd;
	info->tcpi_reordering = 3;
}

static void fill_times(const struct core *core, const struct tcb *tcb, struct tcp_info *info)
{
	info->tcpi_rto = tcp_rto_us(core, tcb);
	info->tcpi_ato = core->services[tcb->service].delayed_ack_ms * 1000;
	info->tcpi_rtt = tcb->srtt_us;
	info->tcpi_rttvar = tcb->rttvar_us;
	info->tcpi_min_rtt = tcb->min_rtt_us;
	info->tcpi_last_data_recv = info->tcpi_last_ack_recv = (core->now_tick - tcb->last_rx_tick) *
							       (TICK_US / 1000);
}

static void fill_options(const struct tcb *tcb, struct tcp_info *info)
{
	if (tcb->options & TCB_TIMESTAMPS)
		info->tcpi_options |= TCPI_OPT_TIMESTAMPS;
	if (tcb->options & TCB_SACK)
		info->tcpi_options |= TCPI_OPT_SACK;
	if (tcb->options & TCB_ECN)
		info->tcpi_options |= TCPI_OPT_ECN;
	if (!(tcb->options & TCB_WSCALE))
		return;
	info->tcpi_options |= TCPI_OPT_WSCALE;
	info->tcpi_snd_wscale = (uint8_t)(tcb->wscales >> 4) & 15u;
	info->tcpi_rcv_wscale = tcb->wscales & 15u;
}

uint32_t info_fill(struct sockets *sockets, const struct bsd_socket *socket, void *to, uint32_t room)
{
	const struct core *core = (const struct core *)sockets->worker;
	const struct tcb *tcb = socket_tcb(sockets, socket);
	struct tcp_info info = {.tcpi_state = state_of(socket, tcb)};
	uint32_t bytes = MIN_OF(room, (uint32_t)sizeof(info));

	if (tcb) {
		fill_windows(core, tcb, &info);
		fill_losses(core, tcb, &info);
		fill_times(core, tcb, &info);
		fill_options(tcb, &info);
	}
	memcpy(to, &info, bytes);
	return bytes;
}
