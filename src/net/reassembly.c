/* reassembly.c - whole datagrams from fragments.
 * In: fragments for us.  Out: frames with whole datagrams, or segments that together are one.
 * Owns: REASSEMBLY_MAX datagrams a core, and their pages.
 *
 * Payload lies where it belongs, in pages; a bit for each 8 bytes says what has come. So an overlap is seen
 * for certain, and no order of arrival costs more than another. There are few datagrams: they are looked
 * through. */
#include "net/reassembly.h"

#include <string.h>

#include "base/ticks.h"
#include "wire/icmp.h"
#include "wire/tcp.h"

#define NONE           UINT32_MAX
#define UNITS          (REASSEMBLY_PAGE_BYTES / 8)
#define FRAME_BYTES    (ETH_HEADER_BYTES + REASSEMBLY_PIECE_BYTES)
#define ECN_NOT_ECT    1u /* bits of `codepoints` */
#define ECN_CE         8u
#define TCP_AT_SEQ     4
#define TCP_AT_OFFSET  12
#define TCP_AT_FLAGS   13
#define TCP_AT_URGENT  18
#define TCP_ONLY_FIRST (TCP_SYN | TCP_RST | TCP_CWR)
#define TCP_ONLY_LAST  (TCP_FIN | TCP_PSH)

struct page {
	uint64_t units[UNITS / 64];
	uint8_t data[REASSEMBLY_PAGE_BYTES];
};

static size_t page_stride(void)
{
	return ALIGN_UP(sizeof(struct page), (size_t)CACHE_LINE);
}

static size_t datagrams_bytes(void)
{
	return ALIGN_UP(REASSEMBLY_MAX * sizeof(struct reassembly_datagram), (size_t)CACHE_LINE);
}

static size_t pages_bytes(void)
{
	return ALIGN_UP(pool_bytes(REASSEMBLY_PAGES, (uint32_t)page_stride()), (size_t)CACHE_LINE);
}

size_t reassembly_bytes(void)
{
	return datagrams_bytes() + pages_bytes() + ALIGN_UP((size_t)FRAME_BYTES, (size_t)CACHE_LINE);
}

void reassembly_init(struct reassembly *table, void *memory, struct counters *counters)
{
	uint8_t *at = memory;

	*table = (struct reassembly){.counters = counters, .datagrams = memory};
	memset(memory, 0, datagrams_bytes());
	pool_init(&table->pages, at + datagrams_bytes(), REASSEMBLY_PAGES, (uint32_t)page_stride());
	table->frame = at + datagrams_bytes() + pages_bytes();
}

/* --- datagrams ---------------------------------------------------------------------- */

static void give_pages(struct reassembly *table, struct reassembly_datagram *datagram)
{
	for (uint32_t i = 0; i < REASSEMBLY_DATAGRAM_PAGES; i++) {
		if (datagram->pages[i] != NONE)
			pool_give(&table->pages, datagram->pages[i]);
		datagram->pages[i] = NONE;
	}
	datagram->page_count = 0;
}

static void set_state(struct reassembly *table, struct reassembly_datagram *datagram,
		      enum reassembly_state state)
{
	table->ready -= datagram->state == REASSEMBLY_WHOLE;
	table->aside -= datagram->state == REASSEMBLY_ASIDE;
	table->ready += state == REASSEMBLY_WHOLE;
	table->aside += state == REASSEMBLY_ASIDE;
	table->live -= state == REASSEMBLY_FREE;
	datagram->state = (uint8_t)state;
	if (state == REASSEMBLY_FREE || state == REASSEMBLY_DEAD)
		give_pages(table, datagram);
}

static struct reassembly_datagram *find(struct reassembly *table, const struct ipv4_header *ip)
{
	for (uint32_t i = 0; table->live && i < REASSEMBLY_MAX; i++) {
		struct reassembly_datagram *datagram = &table->datagrams[i];

		if ((datagram->state == REASSEMBLY_FILLING || datagram->state == REASSEMBLY_DEAD) &&
		    datagram->id == ip->id && datagram->source == ip->source &&
		    datagram->destination == ip->destination && datagram->protocol == ip->protocol)
			return datagram;
	}
	return NULL;
}

/* Of one source; 0: of any. What is whole goes on its way before anything else happens. */
static bool counts(const struct reassembly_datagram *datagram, uint32_t source)
{
	return datagram->state != REASSEMBLY_FREE && datagram->state != REASSEMBLY_WHOLE &&
	       (source == 0 || datagram->source == source);
}

/* Not `but`. */
static struct reassembly_datagram *oldest(struct reassembly *table, uint32_t source,
					  const struct reassembly_datagram *but)
{
	struct reassembly_datagram *found = NULL;

	for (uint32_t i = 0; i < REASSEMBLY_MAX; i++) {
		struct reassembly_datagram *datagram = &table->datagrams[i];

		if (datagram == but || !counts(datagram, source))
			continue;
		if (!found || table->ages - datagram->age > table->ages - found->age)
			found = datagram;
	}
	return found;
}

/* What a source holds. */
static uint32_t held(const struct reassembly *table, uint32_t source, uint32_t *pages)
{
	uint32_t count = 0;

	*pages = 0;
	for (uint32_t i = 0; i < REASSEMBLY_MAX; i++) {
		const struct reassembly_datagram *datagram = &table->datagrams[i];

		if (!counts(datagram, source))
			continue;
		count++;
		*pages += datagram->page_count;
	}
	return count;
}

/* False: there is nobody to make room. */
static bool evict(struct reassembly *table, uint32_t source, const struct reassembly_datagram *but)
{
	struct reassembly_datagram *victim = oldest(table, source, but);

	if (!victim)
		return false;
	table->counters->drops[DROP_FRAGMENT_FULL] += victim->state != REASSEMBLY_DEAD;
	set_state(table, victim, REASSEMBLY_FREE);
	return true;
}

/* NULL: all that there are are whole. */
static struct reassembly_datagram *begin(struct reassembly *table, const struct ipv4_header *ip,
					 uint32_t now_tick)
{
	struct reassembly_datagram *datagram = table->datagrams;
	uint32_t pages;

	if (held(table, ip->source, &pages) >= REASSEMBLY_SOURCE_MAX)
		evict(table, ip->source, NULL);
	if (table->live == REASSEMBLY_MAX && !evict(table, 0, NULL))
		return NULL;
	while (datagram->state != REASSEMBLY_FREE)
		datagram++;
	*datagram = (struct reassembly_datagram){
		.source = ip->source,
		.destination = ip->destination,
		.id = ip->id,
		.protocol = ip->protocol,
		.state = REASSEMBLY_FILLING,
		.begun_tick = now_tick,
		.age = table->ages++,
	};
	memset(datagram->pages, 0xff, sizeof(datagram->pages));
	if (table->live++ == 0)
		table->next_tick = now_tick + REASSEMBLY_MS * TICKS_PER_SECOND / 1000;
	return datagram;
}

/* --- payload ------------------------------------------------------------------------ */

static struct page *page_at(const struct reassembly *table, const struct reassembly_datagram *datagram,
			    uint32_t offset)
{
	uint32_t index = datagram->pages[offset / REASSEMBLY_PAGE_BYTES];

	return index == NONE ? NULL : pool_at(&table->pages, index);
}

/* Bytes from an offset to the end of its page, `bytes` at most. */
static uint32_t in_page(uint32_t offset, uint32_t bytes)
{
	return MIN_OF(bytes, REASSEMBLY_PAGE_BYTES - offset % REASSEMBLY_PAGE_BYTES);
}

/* How many units of a range have come, and whether the bytes of these are the same. */
static uint32_t units_present(const struct reassembly *table, const struct reassembly_datagram *datagram,
			      uint32_t offset, const uint8_t *bytes, uint32_t count, bool *same)
{
	uint32_t present = 0;

	*same = true;
	for (uint32_t done = 0; done < count; done += 8) {
		const struct page *page = page_at(table, datagram, offset + done);
		uint32_t at = (offset + done) % REASSEMBLY_PAGE_BYTES, unit = at / 8;

		if (!page || !(page->units[unit / 64] >> unit % 64 & 1))
			continue;
		present++;
		*same &= memcmp(page->data + at, bytes + done, MIN_OF(8u, count - done)) == 0;
	}
	return present;
}

/* The page of an offset, a new one if need be: at the cost of the oldest, of the same source once that has
 * its share. NULL: one datagram alone holds all that it may. */
static struct page *page_for(struct reassembly *table, struct reassembly_datagram *datagram, uint32_t offset)
{
	struct page *page = page_at(table, datagram, offset);
	uint32_t pages, index;

	if (page)
		return page;
	for (held(table, datagram->source, &pages); pages >= REASSEMBLY_SOURCE_PAGES;
	     held(table, datagram->source, &pages))
		if (!evict(table, datagram->source, datagram))
			return NULL;
	while ((index = pool_take(&table->pages)) == POOL_NONE)
		if (!evict(table, 0, datagram))
			return NULL;
	datagram->pages[offset / REASSEMBLY_PAGE_BYTES] = index;
	datagram->page_count++;
	page = pool_at(&table->pages, index);
	memset(page->units, 0, sizeof(page->units));
	return page;
}

static bool store(struct reassembly *table, struct reassembly_datagram *datagram, uint32_t offset,
		  const uint8_t *bytes, uint32_t count)
{
	for (uint32_t done = 0, part; done < count; done += part) {
		uint32_t at = (offset + done) % REASSEMBLY_PAGE_BYTES;
		struct page *page = page_for(table, datagram, offset + done);

		if (!page)
			return false;
		part = in_page(offset + done, count - done);
		memcpy(page->data + at, bytes + done, part);
		for (uint32_t unit = at / 8; unit * 8 < at + part; unit++)
			page->units[unit / 64] |= 1ull << unit % 64;
	}
	return true;
}

static void copy_out(const struct reassembly *table, const struct reassembly_datagram *datagram,
		     uint32_t offset, uint8_t *to, uint32_t count)
{
	for (uint32_t done = 0, part; done < count; done += part) {
		part = in_page(offset + done, count - done);
		memcpy(to + done,
		       page_at(table, datagram, offset + done)->data +
			       (offset + done) % REASSEMBLY_PAGE_BYTES,
		       part);
	}
}

/* --- in ----------------------------------------------------------------------------- */

/* RFC 1858 and RFC 3128: what a filter looks at stands in the first fragment, and no other one may touch it.
 */
static bool is_tiny(const struct ipv4_header *ip, uint32_t bytes)
{
	if (ip->protocol != IP_PROTOCOL_TCP)
		return false;
	return ip->fragment_offset == 0 ? bytes < TCP_HEADER_BYTES : ip->fragment_offset < TCP_HEADER_BYTES;
}

static bool is_malformed(const struct ipv4_header *ip, uint32_t bytes)
{
	return bytes == 0 || (ip->flags & IPV4_MF && bytes % 8) ||
	       ip->fragment_offset + bytes > UINT16_MAX - (uint32_t)ip->header_bytes;
}

/* Whether two fragments disagree about where the datagram ends. */
static bool end_differs(struct reassembly_datagram *datagram, uint32_t end, bool more)
{
	if (more)
		return datagram->end && end >= datagram->end;
	if (datagram->end ? datagram->end != end : datagram->highest > end)
		return true;
	datagram->end = end;
	return false;
}

static void keep_header(struct reassembly_datagram *datagram, const uint8_t *frame,
			const struct ipv4_header *ip)
{
	datagram->has_first = true;
	datagram->header_bytes = ip->header_bytes;
	memcpy(datagram->link, frame, ETH_HEADER_BYTES);
	memcpy(datagram->header, frame + ETH_HEADER_BYTES, ip->header_bytes);
}

static enum drop_reason check_whole(const struct reassembly *table,
				    const struct reassembly_datagram *datagram)
{
	uint32_t sum = 0, tcp_bytes;
	const struct page *first = page_at(table, datagram, 0);

	/* RFC 3168 section 5.3: of such a mixture nobody can say what was meant. */
	if (datagram->codepoints & ECN_CE && datagram->codepoints & ECN_NOT_ECT)
		return DROP_FRAGMENT_MALFORMED;
	if (datagram->protocol == IP_PROTOCOL_TCP)
		sum = csum_pseudo4(datagram->source, datagram->destination, IP_PROTOCOL_TCP, datagram->end);
	for (uint32_t at = 0; at < datagram->end; at += REASSEMBLY_PAGE_BYTES)
		sum = csum_add(sum, page_at(table, datagram, at)->data, in_page(at, datagram->end - at));
	if (csum_finish(sum) != 0)
		return datagram->protocol == IP_PROTOCOL_TCP ? DROP_TCP_CHECKSUM : DROP_ICMP_CHECKSUM;
	tcp_bytes = (uint32_t)(first->data[TCP_AT_OFFSET] >> 4) * 4;
	if (datagram->protocol == IP_PROTOCOL_TCP &&
	    (tcp_bytes < TCP_HEADER_BYTES || tcp_bytes > datagram->end))
		return DROP_TCP_HEADER_LENGTH;
	return DROP_NONE;
}

static enum drop_reason add(struct reassembly *table, struct reassembly_datagram *datagram,
			    const uint8_t *frame, const struct ipv4_header *ip)
{
	const uint8_t *payload = frame + ETH_HEADER_BYTES + ip->header_bytes;
	uint32_t bytes = (uint32_t)ip->total_bytes - ip->header_bytes, offset = ip->fragment_offset, present;
	bool same;

	if (end_differs(datagram, offset + bytes, ip->flags & IPV4_MF))
		return DROP_FRAGMENT_OVERLAP;
	present = units_present(table, datagram, offset, payload, bytes, &same);
	if (present == (bytes + 7) / 8 && same)
		return DROP_FRAGMENT_DUPLICATE;
	if (present)
		return DROP_FRAGMENT_OVERLAP;
	if (!store(table, datagram, offset, payload, bytes))
		return DROP_FRAGMENT_FULL;
	if (offset == 0)
		keep_header(datagram, frame, ip);
	datagram->codepoints |= (uint8_t)(1u << (ip->tos & 3));
	datagram->highest = MAX_OF(datagram->highest, offset + bytes);
	datagram->have_bytes += bytes;
	return DROP_NONE;
}

enum drop_reason reassembly_input(struct reassembly *table, const uint8_t *frame,
				  const struct ipv4_header *ip, uint32_t now_tick)
{
	uint32_t bytes = (uint32_t)ip->total_bytes - ip->header_bytes;
	struct reassembly_datagram *datagram;
	enum drop_reason reason;

	if (ip->protocol != IP_PROTOCOL_TCP && ip->protocol != IP_PROTOCOL_ICMP)
		return DROP_IP_PROTOCOL;
	if (is_malformed(ip, bytes))
		return DROP_FRAGMENT_MALFORMED;
	if (is_tiny(ip, bytes))
		return DROP_FRAGMENT_TINY;
	table->counters->ip_fragments_in++;
	datagram = find(table, ip);
	if (!datagram)
		datagram = begin(table, ip, now_tick);
	if (!datagram)
		return DROP_FRAGMENT_FULL;
	if (datagram->state == REASSEMBLY_DEAD)
		return DROP_FRAGMENT_OVERLAP;
	reason = add(table, datagram, frame, ip);
	if (reason == DROP_FRAGMENT_OVERLAP || reason == DROP_FRAGMENT_FULL)
		set_state(table, datagram, REASSEMBLY_DEAD);
	if (reason || datagram->end == 0 || datagram->have_bytes != datagram->end)
		return reason;
	reason = check_whole(table, datagram);
	set_state(table, datagram, reason ? REASSEMBLY_FREE : REASSEMBLY_WHOLE);
	table->counters->ip_reassembled += !reason;
	return reason;
}

/* --- out ---------------------------------------------------------------------------- */

/* RFC 3168 section 5.3: one mark is a mark of the whole. */
static void emit_headers(struct reassembly *table, const struct reassembly_datagram *datagram,
			 uint32_t ip_bytes)
{
	struct ipv4_header ip = {
		.source = datagram->source,
		.destination = datagram->destination,
		.total_bytes = (uint16_t)ip_bytes,
		.id = datagram->id,
		.tos = (uint8_t)(datagram->header[1] | (datagram->codepoints & ECN_CE ? 3 : 0)),
		.ttl = datagram->header[8],
		.protocol = datagram->protocol,
	};

	memcpy(table->frame, datagram->link, ETH_HEADER_BYTES);
	ipv4_emit(table->frame + ETH_HEADER_BYTES, &ip);
}

/* A piece of a long segment is a segment: what a network card would have cut. */
static uint32_t emit_segment(struct reassembly *table, struct reassembly_datagram *datagram)
{
	uint8_t *tcp = table->frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	const struct page *first = page_at(table, datagram, 0);
	uint32_t header_bytes = (uint32_t)(first->data[TCP_AT_OFFSET] >> 4) * 4, at, bytes, urgent;
	uint8_t flags = first->data[TCP_AT_FLAGS];

	at = datagram->given_bytes ? datagram->given_bytes - header_bytes : 0;
	bytes = MIN_OF(REASSEMBLY_PIECE_BYTES - IPV4_HEADER_BYTES - header_bytes,
		       datagram->end - header_bytes - at);
	copy_out(table, datagram, 0, tcp, header_bytes);
	copy_out(table, datagram, header_bytes + at, tcp + header_bytes, bytes);
	put32(tcp + TCP_AT_SEQ, get32(tcp + TCP_AT_SEQ) + at + (at && flags & TCP_SYN));
	urgent = get16(tcp + TCP_AT_URGENT);
	if (urgent <= at)
		tcp[TCP_AT_FLAGS] &= (uint8_t) ~(at ? TCP_URG : 0u);
	put16(tcp + TCP_AT_URGENT, (uint16_t)(urgent > at ? urgent - at : 0));
	if (at)
		tcp[TCP_AT_FLAGS] &= (uint8_t)~TCP_ONLY_FIRST;
	datagram->given_bytes = header_bytes + at + bytes;
	if (datagram->given_bytes < datagram->end)
		tcp[TCP_AT_FLAGS] &= (uint8_t)~TCP_ONLY_LAST;
	if (flags & TCP_RST)
		datagram->given_bytes = datagram->end;
	return header_bytes + bytes;
}

/* RFC 1122 section 3.2.2.6: what no reply could carry is cut off. */
static uint32_t emit_message(struct reassembly *table, struct reassembly_datagram *datagram)
{
	uint8_t *icmp = table->frame + ETH_HEADER_BYTES + IPV4_HEADER_BYTES;
	uint32_t bytes = MIN_OF(datagram->end, REASSEMBLY_PIECE_BYTES - IPV4_HEADER_BYTES);
	uint16_t check;

	copy_out(table, datagram, 0, icmp, bytes);
	if (bytes >= ICMP_HEADER_BYTES) {
		put16(icmp + 2, 0);
		check = csum_finish(csum_add(0, icmp, bytes));
		memcpy(icmp + 2, &check, sizeof(check));
	}
	datagram->given_bytes = datagram->end;
	return bytes;
}

/* The next one in a state; one that has come out as a whole is no more. */
static struct reassembly_datagram *next_in(struct reassembly *table, enum reassembly_state state)
{
	for (uint32_t i = 0; i < REASSEMBLY_MAX; i++) {
		struct reassembly_datagram *datagram = &table->datagrams[i];

		if (datagram->state != state)
			continue;
		table->current = i;
		if (datagram->given_bytes < datagram->end)
			return datagram;
		set_state(table, datagram, REASSEMBLY_FREE);
	}
	return NULL;
}

bool reassembly_next(struct reassembly *table, enum reassembly_state state, struct packet *packet)
{
	struct reassembly_datagram *datagram = next_in(table, state);
	uint32_t bytes;

	if (!datagram)
		return false;
	bytes = datagram->protocol == IP_PROTOCOL_TCP ? emit_segment(table, datagram)
						      : emit_message(table, datagram);
	emit_headers(table, datagram, IPV4_HEADER_BYTES + bytes);
	*packet = (struct packet){
		.data = table->frame,
		.bytes = ETH_HEADER_BYTES + IPV4_HEADER_BYTES + bytes,
		.checksum = PACKET_CSUM_VERIFIED,
	};
	return true;
}

void reassembly_put_aside(struct reassembly *table)
{
	struct reassembly_datagram *datagram = &table->datagrams[table->current];

	datagram->given_bytes = 0;
	set_state(table, datagram, REASSEMBLY_ASIDE);
}

/* --- time --------------------------------------------------------------------------- */

/* RFC 1122 section 3.2.2.4: only whoever sent the first fragment can make something of it. */
static bool quote_of(const struct reassembly *table, const struct reassembly_datagram *datagram,
		     struct reassembly_quote *quote)
{
	uint32_t bytes = MIN_OF(REASSEMBLY_QUOTE_BYTES, datagram->highest);

	if (datagram->state != REASSEMBLY_FILLING || !datagram->has_first)
		return false;
	memcpy(quote->link, datagram->link, ETH_HEADER_BYTES);
	memcpy(quote->packet, datagram->header, datagram->header_bytes);
	copy_out(table, datagram, 0, quote->packet + datagram->header_bytes, bytes);
	quote->header_bytes = datagram->header_bytes;
	quote->bytes = datagram->header_bytes + bytes;
	return true;
}

bool reassembly_expire(struct reassembly *table, uint32_t now_tick, struct reassembly_quote *quote)
{
	const uint32_t life = REASSEMBLY_MS * TICKS_PER_SECOND / 1000;
	uint32_t left = life;

	for (uint32_t i = 0; i < REASSEMBLY_MAX; i++) {
		struct reassembly_datagram *datagram = &table->datagrams[i];
		uint32_t age = now_tick - datagram->begun_tick;
		bool tell;

		if (datagram->state == REASSEMBLY_FREE)
			continue;
		if (age < life) {
			left = MIN_OF(left, life - age);
			continue;
		}
		table->counters->drops[DROP_FRAGMENT_TIMEOUT] += datagram->state == REASSEMBLY_FILLING;
		tell = quote_of(table, datagram, quote);
		set_state(table, datagram, REASSEMBLY_FREE);
		if (tell)
			return true;
	}
	table->next_tick = now_tick + left;
	return false;
}
