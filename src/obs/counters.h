/* counters.h - every reason to drop a packet and every event worth counting,
 * one list each.  A counter belongs to one core; the reader adds the cores up. */
#ifndef C10M_OBS_COUNTERS_H
#define C10M_OBS_COUNTERS_H

#include "base/compiler.h"

/* name, what it means to the person who reads it */
#define DROP_REASONS(X) \
	X(ETH_SHORT, "frame shorter than its Ethernet header") \
	X(ETH_NOT_OURS, "frame for another link address") \
	X(ETH_TYPE, "frame of a protocol that is not spoken here") \
	X(ARP_MALFORMED, "ARP packet malformed") \
	X(ARP_NOT_OURS, "ARP packet about another address, or for the kernel") \
	X(IP_SHORT, "IPv4 packet shorter than its header") \
	X(IP_VERSION, "IP version is not 4") \
	X(IP_HEADER_LENGTH, "IPv4 header length is wrong") \
	X(IP_TOTAL_LENGTH, "IPv4 total length is wrong") \
	X(IP_CHECKSUM, "IPv4 header checksum is wrong") \
	X(IP_NOT_OURS, "IPv4 packet for another address") \
	X(IP_BAD_SOURCE, "IPv4 source address cannot be a host's") \
	X(IP_OPTIONS, "IPv4 options malformed") \
	X(IP_SOURCE_ROUTE, "IPv4 source route: not followed, and not answered along (RFC 7126)") \
	X(FRAGMENT_MALFORMED, \
	  "IPv4 fragment that fits no datagram, or ECN marks that contradict each other") \
	X(FRAGMENT_TINY, "IPv4 fragment that cuts through the TCP header (RFC 1858, RFC 3128)") \
	X(FRAGMENT_OVERLAP, "IPv4 fragment of a datagram whose fragments overlap (RFC 5722)") \
	X(FRAGMENT_DUPLICATE, "IPv4 fragment that came twice") \
	X(FRAGMENT_FULL, "IPv4 datagram given up: no room for more fragments, or its source has its share") \
	X(FRAGMENT_TIMEOUT, "IPv4 datagram that was not whole after 60 s") \
	X(IP_PROTOCOL, "IPv4 protocol that is not spoken here") \
	X(ICMP_MALFORMED, "ICMP message malformed") \
	X(ICMP_CHECKSUM, "ICMP checksum is wrong") \
	X(ICMP_UNKNOWN, "ICMP type that needs no answer") \
	X(ICMP_NO_FLOW, "ICMP error quotes no connection of ours") \
	X(ICMP_NOT_IN_FLIGHT, "ICMP error quotes a sequence number that is not in flight") \
	X(ICMP_LIE, "ICMP error says that a packet was longer than what would fit, and it was not") \
	X(ICMP_RATE, "ICMP reply held back by the rate limit") \
	X(TCP_SHORT, "TCP segment shorter than its header") \
	X(TCP_HEADER_LENGTH, "TCP header length is wrong") \
	X(TCP_OPTIONS, "TCP options malformed") \
	X(TCP_CHECKSUM, "TCP checksum is wrong") \
	X(TCP_PORT_ZERO, "TCP port zero") \
	X(TCP_NO_LISTENER, "TCP segment for a port on which nobody listens") \
	X(TCP_NO_FLOW, "TCP segment of no known connection") \
	X(TCP_FLAGS, "TCP flags make no sense in this state") \
	X(TCP_NO_ACK, "segment without ACK on a synchronised connection") \
	X(TCP_OUT_OF_WINDOW, "segment outside the receive window") \
	X(TCP_OLD_DUPLICATE, "PAWS: timestamp older than the last one") \
	X(TCP_TIMESTAMP_MISSING, "timestamps were agreed on but the segment has none") \
	X(TCP_ACK_INVALID, "acknowledges what was never sent, or lies too far back") \
	X(TCP_RST_IGNORED, "reset that does not hit the next sequence number") \
	X(TCP_SYN_IN_CONNECTION, "SYN on a synchronised connection") \
	X(TCP_REFUSED, "new connection refused: the configured limit is reached") \
	X(LIMIT_DENIED, "source that the service's lists do not let in") \
	X(LIMIT_CONNECTIONS, "new connection refused: its source has as many as it may") \
	X(LIMIT_RATE, "new connection refused: its source opens them faster than it may") \
	X(TCP_COOKIE_INVALID, "acknowledgement with a wrong or old SYN cookie") \
	X(TCP_TIME_WAIT, "segment for a connection in TIME_WAIT") \
	X(TCP_AFTER_CLOSE, "data after the application has closed") \
	X(NO_CHUNK, "no data chunk left to keep the payload") \
	X(NO_BLOCK, "no connection block left") \
	X(NO_FLOW_SLOT, "flow table full") \
	X(NO_DESTINATION, "no route back, or destination table full") \
	X(REASSEMBLY_FULL, "too many holes on one connection") \
	X(REPLY_QUEUE_FULL, "queue of stateless replies full") \
	X(REPLY_RATE, "reset or challenge held back by the rate limit") \
	X(NEIGHBOUR_UNRESOLVED, "neighbour does not answer") \
	X(PORT_FRAME, "frame that the port could not carry")

#define EVENT_COUNTERS(X) \
	X(rx_packets, "packets received") \
	X(rx_bytes, "bytes received") \
	X(tx_packets, "packets sent") \
	X(tx_bytes, "bytes sent") \
	X(tcp_segments_in, "TCP segments received") \
	X(tcp_segments_out, "TCP segments sent") \
	X(tcp_data_bytes_in, "payload bytes taken in order") \
	X(tcp_data_bytes_out, "payload bytes sent for the first time") \
	X(tcp_active_opens, "connections opened by us") \
	X(tcp_passive_opens, "connections opened by peers") \
	X(tcp_established, "handshakes completed") \
	X(tcp_closed, "connections ended") \
	X(tcp_resets_in, "resets accepted") \
	X(tcp_resets_out, "resets sent") \
	X(tcp_retransmits, "segments sent again") \
	X(tcp_retransmit_timeouts, "retransmission timeouts") \
	X(tcp_fast_retransmits, "fast retransmissions") \
	X(tcp_slow_start_exits, "slow starts ended before anything was lost (HyStart++)") \
	X(tcp_ecn_marks_in, "segments received with a mark of congestion (ECN)") \
	X(tcp_ecn_echoes_in, "acknowledgements that told of marks on what we sent") \
	X(tcp_ecn_reductions, "windows made smaller because of marks") \
	X(tcp_models, "connections of which a model of their path was begun (bbr)") \
	X(tcp_models_reclaimed, "models taken from idle connections") \
	X(tcp_models_missing, "connections with bbr that had to do with CUBIC: no model was left") \
	X(tcp_paced, "times that a window was large enough to be sent spread over the round trip") \
	X(tcp_segments_merged, \
	  "segments received that only went on where the one before ended (software GRO)") \
	X(tcp_duplicate_acks, "duplicate acknowledgements received") \
	X(tcp_out_of_order, "segments received out of order") \
	X(tcp_reassembled, "holes filled") \
	X(tcp_sack_blocks_out, "segments that told of data out of order (SACK)") \
	X(tcp_duplicates_told, "segments that told of data which came twice (D-SACK)") \
	X(tcp_scoreboards, "scoreboards attached: something arrived beyond a hole, or a time-out") \
	X(tcp_ranges_missing, "times that a scoreboard had no room for what it was told") \
	X(tcp_sack_ignored, "SACK blocks that cannot be true") \
	X(tcp_sack_reneged, "peers that no longer have what they told of") \
	X(tcp_lost_again, "ranges lost a second time") \
	X(tcp_reordering_seen, "connections on which segments came out of order without a loss") \
	X(tcp_reordering_windows, "times that a reordering window ended without an acknowledgement") \
	X(tcp_duplicates_heard, "acknowledgements that told of data which came twice (D-SACK)") \
	X(tcp_recoveries_undone, "recoveries undone: nothing had been lost") \
	X(tcp_tail_probes, "tail loss probes sent") \
	X(tcp_tail_probes_needed, "tail loss probes that repaired a loss") \
	X(tcp_extensions_missing, "times that no extension was left: no SACK blocks, or plain recovery") \
	X(tcp_delayed_acks, "acknowledgements sent by the delay timer") \
	X(tcp_zero_window_probes, "zero-window probes sent") \
	X(tcp_zero_window_in, "times a peer closed its window") \
	X(tcp_zero_window_out, "times we closed our window") \
	X(tcp_window_updates, "window updates sent") \
	X(tcp_windows_grown, "receive windows doubled: the peer filled them") \
	X(tcp_windows_shrunk, "receive windows made smaller: memory is short") \
	X(tcp_windows_bounded, "receive windows not doubled: all together are as large as they may be") \
	X(tcp_keepalive_probes, "keepalive probes sent") \
	X(tcp_keepalive_timeouts, "connections ended by keepalive") \
	X(tcp_user_timeouts, "connections given up: data unacknowledged too long") \
	X(tcp_user_timeouts_learnt, "user timeouts that peers told of (RFC 5482)") \
	X(tcp_urgent_in, "times a peer told of urgent data, or of more of it") \
	X(tcp_urgent_out, "times we began to tell of urgent data") \
	X(tcp_connect_timeouts, "connection attempts that were not answered") \
	X(tcp_first_byte_deadlines, "connections ended: no first byte in time") \
	X(tcp_idle_deadlines, "connections ended: idle for too long") \
	X(tcp_unsent_deadlines, "connections ended: the peer took no data for too long") \
	X(unaccepted, "connections reset: no thread took them (c10m_client)") \
	X(limit_untracked, "connections not capped: no room to remember their source") \
	X(limit_forgotten, "sources forgotten early to make room for others") \
	X(tcp_challenge_acks, "challenge acknowledgements (RFC 5961)") \
	X(tcp_simultaneous_opens, "simultaneous opens") \
	X(tcp_simultaneous_closes, "simultaneous closes") \
	X(tcp_cookies_sent, "SYN cookies sent") \
	X(tcp_cookies_accepted, "SYN cookies accepted") \
	X(tcp_fastopen_accepted, "connections opened by data in a SYN (RFC 7413)") \
	X(tcp_fastopen_bad_cookies, "SYNs with data whose cookie was not good: opened as usual") \
	X(tcp_fastopen_overflows, "SYNs with data opened as usual: too many handshakes go on") \
	X(tcp_fastopen_cookies_learnt, "cookies for fast open that servers granted us") \
	X(tcp_fastopen_switched_off, \
	  "destinations to which a SYN with fast open was lost: without it for a while") \
	X(tcp_syn_retransmits, "SYN or SYN-ACK segments sent again") \
	X(tcp_half_open_timeouts, "half-open connections that never completed") \
	X(tcp_time_wait, "connections that entered TIME_WAIT") \
	X(tcp_time_wait_reused, "TIME_WAIT entries reused by a new SYN") \
	X(tcp_time_wait_recycled, "TIME_WAIT entries given up early: pool full") \
	X(tcp_path_mtu_lowered, "path MTU lowered by ICMP") \
	X(tcp_path_mtu_doubted, "path MTU told by ICMP while all arrives: believed if the packet times out") \
	X(tcp_path_black_holes, "path MTU lowered since full segments timed out again and again (RFC 4821)") \
	X(tcp_path_trials, "longer packets tried") \
	X(tcp_path_mtu_raised, "path MTU raised: a longer packet arrived") \
	X(tcp_paths_without_place, "path MTU not noted: too many connections have a small one") \
	X(tcp_soft_errors, "soft errors reported by ICMP") \
	X(tcp_send_refused, "sends that found no chunk") \
	X(tcp_pinned_ended, "connections ended for their memory: the peer kept its window closed") \
	X(fanouts, "fan-outs that were worked off") \
	X(fanout_queued, "messages that fan-outs have queued") \
	X(fanout_skipped, "receivers that fan-outs have skipped") \
	X(messages_refused, "messages for which no memory was left") \
	X(splices, "splices begun, each direction for itself") \
	X(splice_bytes, "payload bytes that went from one connection to another") \
	X(splice_moved_bytes, "of these had waited, and were moved without a copy") \
	X(splice_waits, "times that a splice had to wait for room") \
	X(splice_aborts, "connections reset since the one they were spliced with had ended") \
	X(ip_hops_exceeded, "ICMP time exceeded received") \
	X(ip_fragments_in, "IPv4 fragments received") \
	X(ip_reassembled, "IPv4 datagrams made whole from fragments") \
	X(icmp_echo_replies, "pings answered") \
	X(icmp_errors_out, "ICMP errors sent") \
	X(arp_requests_out, "ARP requests sent") \
	X(arp_replies_out, "ARP replies sent") \
	X(arp_replies_in, "ARP replies received") \
	X(neighbour_timeouts, "neighbours that did not answer") \
	X(timer_fired, "timers fired") \
	X(timer_refiled, "timer entries filed again for a later time") \
	X(timer_sweeps, "sweeps over all blocks because no timer entry was left") \
	X(flow_moves, "flow table entries moved to make room") \
	X(stack_tx_stalls, "output left for later: the port had no room")

#define X(name, text) DROP_##name,
enum drop_reason { DROP_NONE, DROP_REASONS(X) DROP_COUNT };
#undef X

struct counters {
	uint64_t drops[DROP_COUNT];
#define X(name, text) uint64_t name;
	EVENT_COUNTERS(X)
#undef X
};

/* The name and the sentence of a drop reason; NULL when it is none. */
const char *drop_reason_name(unsigned reason);
const char *drop_reason_text(unsigned reason);

/* Event counters by position, for readers that print or sum all of them. */
#define EVENT_COUNTER_COUNT ((sizeof(struct counters) - sizeof(uint64_t[DROP_COUNT])) / sizeof(uint64_t))

const char *event_counter_name(unsigned index);
const char *event_counter_text(unsigned index);
uint64_t event_counter_get(const struct counters *counters, unsigned index);

/* Adds one core's counters to a sum. */
void counters_add(struct counters *sum, const struct counters *part);

#endif
