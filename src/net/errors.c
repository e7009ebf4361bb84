/* errors.c - ICMP errors that we send (RFC 1122 section 3.2.2), and the options of IPv4 headers.
 * In: packets that cannot be handled, datagrams that never became whole.  Out: frames in the ring of replies.
 * Owns: nothing; the rate limit is the net's. */
#include "net/net.h"

#include <string.h>

#define QUOTE_BYTES (REPLY_INLINE - ETH_HEADER_BYTES - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES)

#define OPTION_END  0
#define OPTION_NOP  1
#define OPTION_LSRR 131 /* loose, and strict, source route */
#define OPTION_SSRR 137

#define UDP_HEADER_BYTES 8

/* Section 3.2.2: never about an error, what many got, a later fragment, or what names no single sender. */
static bool may_tell(const struct net *net, const uint8_t *link, const uint8_t *packet, uint32_t bytes)
{
	const struct routes *routes = &net->destinations.routes;
	uint32_t source = get32(packet + 12), header_bytes = (packet[0] & 15u) * 4;

	if (link[0] & 1 || get16(packet + 6) & 0x1fff || !routes_is_local(routes, get32(packet + 16)))
		return false;
	if (!ipv4_is_unicast(source) || routes_is_broadcast(routes, source) ||
	    routes_is_local(routes, source))
		return false;
	if (packet[9] != IP_PROTOCOL_ICMP)
		return true;
	return bytes > header_bytes && !icmp_is_error(packet[header_bytes]);
}

void net_error(struct net *net, const uint8_t *link, const uint8_t *packet, uint32_t bytes, uint8_t type,
	       uint8_t code, uint32_t rest)
{
	uint32_t quoted = MIN_OF(bytes, (uint32_t)QUOTE_BYTES);
	uint32_t ip_bytes = IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quoted;
	struct eth_address sender;
	uint8_t *frame;

	if (!may_tell(net, link, packet, bytes))
		return;
	if (!net_rate_allows(net, &net->errors)) {
		net->counters->drops[DROP_ICMP_RATE]++;
		return;
	}
	frame = net_reply(net, ETH_HEADER_BYTES + ip_bytes);
	if (!frame)
		return;
	memcpy(sender.octets, link + 6, 6);
	net_emit_headers(net, frame, &sender, get32(packet + 16), get32(packet + 12), IP_PROTOCOL_ICMP,
			 ip_bytes);
	icmp_emit(frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES, type, code, rest, packet, quoted);
	net->counters->icmp_errors_out++;
}

static void error_about(struct net *net, const uint8_t *frame, const struct ipv4_header *ip, uint8_t type,
			uint8_t code, uint32_t rest)
{
	net_error(net, frame, frame + ETH_HEADER_BYTES, ip->total_bytes, type, code, rest);
}

/* --- options -------------------------------------------------------------------------- */

/* What stands at an option is a source route whose end we are not (section 3.2.1.8): we forward nothing. */
static bool leads_on(const uint8_t *option, uint32_t bytes)
{
	return (option[0] == OPTION_LSRR || option[0] == OPTION_SSRR) && bytes >= 3 && option[2] <= bytes;
}

enum drop_reason net_options_input(struct net *net, const uint8_t *frame, const struct ipv4_header *ip)
{
	const uint8_t *header = frame + ETH_HEADER_BYTES;
	uint32_t bytes;

	for (uint32_t at = IPV4_HEADER_BYTES; at < ip->header_bytes && header[at] != OPTION_END;
	     at += bytes) {
		if (header[at] == OPTION_NOP) {
			bytes = 1;
			continue;
		}
		bytes = at + 1u < ip->header_bytes ? header[at + 1] : 0;
		if (bytes < 2 || at + bytes > ip->header_bytes) {
			error_about(net, frame, ip, ICMP_PARAMETER_PROBLEM, 0, (at + 1) << 24);
			return DROP_IP_OPTIONS;
		}
		if (header[at] != OPTION_LSRR && header[at] != OPTION_SSRR)
			continue; /* what is not understood is ignored */
		if (leads_on(header + at, bytes) && ip->protocol != IP_PROTOCOL_ICMP)
			error_about(net, frame, ip, ICMP_UNREACHABLE, ICMP_CODE_SOURCE_ROUTE_FAILED, 0);
		return DROP_IP_SOURCE_ROUTE;
	}
	return DROP_NONE;
}

/* --- what nobody here speaks ------------------------------------------------------------ */

/* A datagram that is damaged is not answered; without a checksum it may be. */
static bool udp_is_good(const uint8_t *udp, uint32_t bytes, const struct ipv4_header *ip)
{
	uint32_t udp_bytes = bytes < UDP_HEADER_BYTES ? 0 : get16(udp + 4);

	if (udp_bytes < UDP_HEADER_BYTES || udp_bytes > bytes)
		return false;
	if (get16(udp + 6) == 0)
		return true;
	return csum_finish(csum_add(csum_pseudo4(ip->source, ip->destination, IP_PROTOCOL_UDP, udp_bytes),
				    udp, udp_bytes)) == 0;
}

enum drop_reason net_refuse_protocol(struct net *net, const uint8_t *frame, const struct ipv4_header *ip)
{
	const uint8_t *at = frame + ETH_HEADER_BYTES + ip->header_bytes;
	uint32_t bytes = (uint32_t)ip->total_bytes - ip->header_bytes;
	bool fragment = ip->flags & IPV4_MF || ip->fragment_offset;

	if (net->shared)
		return DROP_IP_PROTOCOL;
	if (ip->protocol != IP_PROTOCOL_UDP)
		error_about(net, frame, ip, ICMP_UNREACHABLE, ICMP_CODE_PROTOCOL_UNREACHABLE, 0);
	else if (fragment || udp_is_good(at, bytes, ip))
		error_about(net, frame, ip, ICMP_UNREACHABLE, ICMP_CODE_PORT_UNREACHABLE, 0);
	return DROP_IP_PROTOCOL;
}

/* --- fragments ---------------------------------------------------------------------------- */

enum drop_reason net_fragment_input(struct net *net, const uint8_t *frame, const struct ipv4_header *ip)
{
	if (ip->protocol != IP_PROTOCOL_TCP && (ip->protocol != IP_PROTOCOL_ICMP || net->shared))
		return net_refuse_protocol(net, frame, ip);
	return reassembly_input(&net->reassembly, frame, ip, net->now_tick);
}

void net_fragments_tick(struct net *net)
{
	struct reassembly_quote quote;

	while (reassembly_expire(&net->reassembly, net->now_tick, &quote))
		net_error(net, quote.link, quote.packet, quote.bytes, ICMP_TIME_EXCEEDED,
			  ICMP_CODE_REASSEMBLY_TIME, 0);
}
