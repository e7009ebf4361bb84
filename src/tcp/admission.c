/* admission.c - lists of prefixes and caps for each source, before a connection costs anything.
 * In: listen.c asks, conn.c says when a block is freed, c10m_limits_set changes the limits.
 * Out: drop reasons.  Owns: struct admission of the core; TCB_COUNTED and TCB_KEYING of each block. */
#include "tcp/admission.h"

#include <errno.h>

#include "tcp/core.h"

#define RULES_MIN     1024u
#define RECOUNT_SLICE 1024u
#define RATE_MAX      1000000u

_Static_assert(SOURCE_SERVICES == SERVICES_MAX, "an entry's four bits name a service");

/* --- making it */

uint32_t admission_rules(const struct c10m_service *services, uint32_t count)
{
	uint64_t rules = RULES_MIN;

	for (uint32_t i = 0; i < count; i++) {
		const struct c10m_limits *limits = services[i].limits;

		if (limits && !admission_wrong(limits))
			rules = MAX_OF(rules, 2 * (limits->allow_count + limits->deny_count));
	}
	return (uint32_t)MIN_OF(rules, (uint64_t)PREFIX_RULES_MAX);
}

static size_t set_bytes(uint32_t rules)
{
	return ALIGN_UP(prefix_set_bytes(rules), (size_t)CACHE_LINE);
}

size_t admission_bytes(uint32_t services, uint32_t rules, uint32_t sources)
{
	return source_table_bytes(sources) + (size_t)services * 2 * set_bytes(rules) +
	       rules * sizeof(uint64_t);
}

void admission_init(struct admission *admission, void *memory, uint32_t services, uint32_t rules,
		    uint32_t sources)
{
	uint8_t *at = memory;

	source_table_init(&admission->sources, at, sources);
	at += source_table_bytes(sources);
	for (uint32_t i = 0; i < services; i++) {
		for (unsigned set = 0; set < 2; set++, at += set_bytes(rules))
			prefix_set_init(&admission->services[i].sets[set], at, rules);
		admission->services[i].bits[0] = 32;
	}
	admission->scratch = (uint64_t *)(void *)at;
	admission->rules = rules;
}

/* --- what is asked for */

static bool prefix_good(const struct c10m_prefix *prefix)
{
	if (prefix->family != 0 && prefix->family != 4)
		return false;
	if (prefix->bits > 32 || prefix->address[1] || prefix->address[2] || prefix->address[3])
		return false;
	return prefix->bits == 32 || (prefix->address[0] & UINT32_MAX >> prefix->bits) == 0;
}

static bool list_good(const struct c10m_prefix *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!prefix_good(&list[i]))
			return false;
	return true;
}

const char *admission_wrong(const struct c10m_limits *limits)
{
	if (limits->source_burst && !limits->source_rate)
		return "source_burst needs source_rate, which is the cap that it lets a source exceed for a "
		       "moment";
	if (limits->source_rate > RATE_MAX || limits->source_burst > RATE_MAX)
		return "source_rate and source_burst are at most 1000000";
	if (limits->source_bits > 32)
		return "source_bits is at most 32";
	if (limits->flags & ~(C10M_LIMITS_RESET | C10M_LIMITS_KEEP_LISTS))
		return "there is no such flag";
	if (limits->reserved[0] || limits->reserved[1] || limits->reserved[2])
		return "reserved fields are zero";
	if (limits->flags & C10M_LIMITS_KEEP_LISTS)
		return NULL;
	if ((!limits->allow && limits->allow_count) || (!limits->deny && limits->deny_count))
		return "a list that is not there has no prefixes";
	if (limits->allow_count > PREFIX_RULES_MAX || limits->deny_count > PREFIX_RULES_MAX)
		return "a list has at most 1048576 prefixes";
	if (!list_good(limits->allow, limits->allow_count) || !list_good(limits->deny, limits->deny_count))
		return "a prefix is of IPv4, has at most 32 bits, and zeros behind these";
	return NULL;
}

/* --- changing it */

static bool lists_in_force(const struct service_limits *limits)
{
	const struct prefix_set *set = &limits->sets[limits->current];

	return set->count > 1 || !set->first_allowed;
}

static uint32_t add_rules(uint64_t *rules, const struct c10m_prefix *list, size_t count, bool allow)
{
	for (size_t i = 0; i < count; i++)
		rules[i] = prefix_rule(list[i].address[0], list[i].bits, allow);
	return (uint32_t)count;
}

/* Beside the one in force, which is asked until the new one is whole. */
static void set_lists(struct admission *admission, struct service_limits *limits,
		      const struct c10m_limits *wanted)
{
	uint32_t count = add_rules(admission->scratch, wanted->allow, wanted->allow_count, true);

	count += add_rules(admission->scratch + count, wanted->deny, wanted->deny_count, false);
	prefix_set_build(&limits->sets[!limits->current], admission->scratch, count,
			 wanted->allow_count == 0);
	limits->current = !limits->current;
}

/* Connections that are not counted yet, or by another length, will be. */
static void start_recount(struct admission *admission, uint32_t service)
{
	admission->recounting |= 1u << service;
	admission->recount_next = 0;
}

static void set_caps(struct admission *admission, uint32_t service, const struct c10m_limits *wanted)
{
	struct service_limits *limits = &admission->services[service];
	uint8_t bits = (uint8_t)(wanted->source_bits ? wanted->source_bits : 32);
	bool keyed_anew = bits != limits->bits[limits->keying];

	if (keyed_anew) {
		limits->keying = !limits->keying;
		limits->bits[limits->keying] = bits;
	}
	if (keyed_anew || (wanted->source_connections && !limits->source_connections))
		start_recount(admission, service);
	limits->source_connections = wanted->source_connections;
	limits->reset = wanted->flags & C10M_LIMITS_RESET;
	admission->sources.rates[service] = (struct source_rate){
		.rate = wanted->source_rate,
		.burst = !wanted->source_rate   ? 0
			 : wanted->source_burst ? wanted->source_burst
						: wanted->source_rate,
	};
	limits->active = wanted->source_connections || wanted->source_rate || lists_in_force(limits);
}

int admission_set(struct core *core, uint32_t service, const struct c10m_limits *limits)
{
	static const struct c10m_limits none;
	struct admission *admission = &core->admission;
	struct service_limits *old;

	if (!limits)
		limits = &none;
	if (service >= core->service_count || admission_wrong(limits))
		return -EINVAL;
	old = &admission->services[service];
	if (admission->recounting & 1u << service &&
	    (limits->source_bits ? limits->source_bits : 32) != old->bits[old->keying])
		return -EBUSY; /* blocks know two lengths, the last one and the one before */
	if (!(limits->flags & C10M_LIMITS_KEEP_LISTS)) {
		if (limits->allow_count + limits->deny_count > admission->rules)
			return -ENOSPC;
		set_lists(admission, old, limits);
	}
	set_caps(admission, service, limits);
	return 0;
}

/* --- asking */

bool admission_lets_in(const struct core *core, uint32_t service, uint32_t address)
{
	const struct service_limits *limits = &core->admission.services[service];

	return likely(!limits->active) || prefix_set_allows(&limits->sets[limits->current], address);
}

/* SipHash-1-3, with a length of its own: who picks addresses must not pick buckets. */
static uint64_t source_hash(const struct core *core, uint32_t service, uint32_t address, uint32_t bits)
{
	uint64_t word = (address & UINT32_MAX << (32 - bits)) | (uint64_t)bits << 32;

	return siphash_words(&core->secrets->flow, &word, 1, service | (uint64_t)9 << 56, 1, 3);
}

static uint64_t hash_of(const struct core *core, const struct tcb *tcb, unsigned keying)
{
	return source_hash(core, tcb->service, tcb->tuple.remote_ip,
			   core->admission.services[tcb->service].bits[keying]);
}

enum drop_reason admission_check(const struct core *core, uint32_t service, uint32_t address)
{
	const struct service_limits *limits = &core->admission.services[service];
	const struct source_table *sources = &core->admission.sources;
	const struct source *source;

	if (likely(!limits->active))
		return DROP_NONE;
	if (!prefix_set_allows(&limits->sets[limits->current], address))
		return DROP_LIMIT_DENIED;
	if (!limits->source_connections && !sources->rates[service].rate)
		return DROP_NONE;
	source = source_find(sources, service,
			     source_hash(core, service, address, limits->bits[limits->keying]));
	if (limits->source_connections && source && source->connections >= limits->source_connections)
		return DROP_LIMIT_CONNECTIONS;
	if (sources->rates[service].rate &&
	    source_tokens(sources, service, source, core->now_tick) < SOURCE_TOKEN)
		return DROP_LIMIT_RATE;
	return DROP_NONE;
}

/* --- counting */

static struct source *make(struct core *core, const struct tcb *tcb)
{
	struct admission *admission = &core->admission;
	unsigned keying = admission->services[tcb->service].keying;
	struct source *source = source_make(&admission->sources, tcb->service, hash_of(core, tcb, keying),
					    core->now_tick);

	core->counters.limit_forgotten += admission->sources.forgotten;
	admission->sources.forgotten = 0;
	core->counters.limit_untracked += !source;
	return source;
}

static void count(struct core *core, struct tcb *tcb, struct source *source)
{
	source->connections++;
	core->admission.counted++;
	tcb->options |= TCB_COUNTED;
	tcb->options &= (uint16_t)~TCB_KEYING;
	if (core->admission.services[tcb->service].keying)
		tcb->options |= TCB_KEYING;
}

void admission_count(struct core *core, struct tcb *tcb)
{
	bool rated = core->admission.sources.rates[tcb->service].rate > 0;
	bool capped = core->admission.services[tcb->service].source_connections > 0;
	struct source *source;

	if (likely(!rated && !capped))
		return;
	source = make(core, tcb);
	if (source && rated)
		source_spend(&core->admission.sources, source, core->now_tick);
	if (source && capped)
		count(core, tcb, source);
}

void admission_release(struct core *core, const struct tcb *tcb)
{
	uint64_t hash = hash_of(core, tcb, tcb->options & TCB_KEYING ? 1 : 0);
	struct source *source = source_find(&core->admission.sources, tcb->service, hash);

	core->admission.counted--;
	if (source && source->connections)
		source->connections--;
}

/* --- counting anew */

static bool to_be_counted(const struct core *core, const struct tcb *tcb)
{
	return tcb->state != TCB_FREE && !(tcb->options & TCB_ACTIVE_OPEN) &&
	       core->admission.services[tcb->service].source_connections > 0;
}

static void recount_block(struct core *core, struct tcb *tcb)
{
	unsigned keying = core->admission.services[tcb->service].keying;
	struct source *source;

	if (tcb->state == TCB_FREE)
		return;
	if (tcb->options & TCB_COUNTED) {
		if (keying == (tcb->options & TCB_KEYING ? 1u : 0u))
			return;
		admission_release(core, tcb);
		tcb->options &= (uint16_t)~TCB_COUNTED;
	}
	source = to_be_counted(core, tcb) ? make(core, tcb) : NULL;
	if (source)
		count(core, tcb, source);
}

void admission_recount(struct core *core)
{
	struct admission *admission = &core->admission;
	uint32_t end = MIN_OF(admission->recount_next + RECOUNT_SLICE, core->blocks.fresh);

	for (; admission->recount_next < end; admission->recount_next++) {
		struct tcb *tcb = tcb_at(core, admission->recount_next);

		if (admission->recounting & 1u << tcb->service)
			recount_block(core, tcb);
	}
	if (end == core->blocks.fresh)
		admission->recounting = 0;
}

void admission_rebuild(struct core *core)
{
	source_table_clear(&core->admission.sources);
	core->admission.recounting = 0;
	core->admission.counted = 0;
	for (uint32_t i = 0; i < core->blocks.fresh; i++) {
		struct tcb *tcb = tcb_at(core, i);

		tcb->options &= (uint16_t)~TCB_COUNTED;
		recount_block(core, tcb);
	}
}

void admission_verify(const struct core *core)
{
	uint64_t counted = 0;

	for (uint32_t i = 0; i < core->blocks.fresh; i++) {
		const struct tcb *tcb = tcb_at(core, i);
		const struct source *source;

		if (tcb->state == TCB_FREE || !(tcb->options & TCB_COUNTED))
			continue;
		counted++;
		source = source_find(&core->admission.sources, tcb->service,
				     hash_of(core, tcb, tcb->options & TCB_KEYING ? 1 : 0));
		CHECK(source && source->connections);
	}
	CHECK(source_table_connections(&core->admission.sources) == counted);
	CHECK(core->admission.counted == counted);
}
