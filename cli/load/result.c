/* result.c - what a run has shown, as a table and as JSON.
 * In: the engines of the workers. Out: text. Owns: nothing. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"
#include "sys/text.h"

static const struct percentile {
	const char *key;
	double share;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};

/* --- adding up ----------------------------------------------------------------------------------- */

static void add_counts(struct load_counts *sum, const struct load_counts *part)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)part;

	for (size_t i = 0; i < LOAD_COUNT; i++)
		to[i] += from[i];
}

static double seconds_of(uint64_t first_us, uint64_t last_us)
{
	return last_us > first_us ? (double)(last_us - first_us) / 1e6 : 0;
}

static void add_engine(struct load_result *result, const struct load_engine *engine)
{
	double open = seconds_of(engine->open_first_us, engine->open_last_us);
	double load = seconds_of(engine->load_first_us, engine->load_last_us);
	double paced = seconds_of(engine->paced_first_us, engine->paced_last_us);
	double closing = seconds_of(engine->close_first_us, engine->close_last_us);
	double message = seconds_of(engine->message_first_us, engine->message_last_us);

	add_counts(&result->counts, &engine->counts);
	histogram_merge(&result->latency, &engine->latency);
	histogram_merge(&result->paced, &engine->paced);
	histogram_merge(&result->open_time, &engine->open_time);
	histogram_merge(&result->send_delay, &engine->send_delay);
	jitter_merge(&result->jitter, &engine->jitter);
	result->held += engine->held_at_end;
	result->asked += engine->asked_in_load;
	result->answered += engine->answered_in_load;
	result->answered_paced += engine->answered_paced;
	result->paced_seconds = MAX_OF(result->paced_seconds, paced);
	result->open_seconds = MAX_OF(result->open_seconds, open);
	result->load_seconds = MAX_OF(result->load_seconds, load);
	result->message_seconds = MAX_OF(result->message_seconds, message);
	if (!result->options->config.churn) /* else they came and went */
		result->close_seconds = MAX_OF(result->close_seconds, closing);
	result->interrupted |= engine->interrupted;
}

void result_collect(struct load_result *result)
{
	for (uint32_t i = 0; i < result->options->config.workers; i++)
		add_engine(result, engine_at(i));
	result->verdict = engines_verdict();
}

bool result_is_good(const struct load_result *result)
{
	const struct load_counts *counts = &result->counts;
	const struct load_config *config = &result->options->config;

	if (result->verdict || load_lost(counts) || load_open_failures(counts) || counts->messages_wrong ||
	    counts->unclosed)
		return false;
	if (config->message_bytes && counts->messages < counts->opened)
		return false;
	return result->interrupted || config->churn || counts->opened >= config->connections;
}

static double rate(uint64_t count, double seconds)
{
	return seconds > 0 ? (double)count / seconds : 0;
}

/* --- the table ---------------------------------------------------------------------------------------- */

static void print_rate(FILE *to, const char *what, uint64_t count, double seconds)
{
	if (count > 0)
		fprintf(to, "%-22s%14" PRIu64 "  in %.3f s: %.0f a second\n", what, count, seconds,
			rate(count, seconds));
}

static void print_percentiles(FILE *to, const char *what, const struct histogram *histogram)
{
	if (histogram->count == 0)
		return;
	fprintf(to, "%-22s", what);
	for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++)
		fprintf(to, "%s %" PRIu64 "  ", percentiles[i].key,
			histogram_percentile(histogram, percentiles[i].share));
	fprintf(to, "max %" PRIu64 "\n", histogram->max);
}

static void print_jitter(FILE *to, const struct jitter *jitter)
{
	if (jitter->watched_us == 0)
		return;
	fprintf(to, "%-22s", "machine's jitter, us");
	for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++)
		fprintf(to, "%s %" PRIu64 "  ", percentiles[i].key,
			jitter_percentile(jitter, percentiles[i].share));
	fprintf(to, "max %" PRIu64 "  (the processor was taken away %" PRIu64 " times, %.2f%% of the time)\n",
		jitter->taken.max, jitter->taken.count,
		100 * (double)jitter->taken_us / (double)jitter->watched_us);
}

/* What went wrong, by reason; nothing when nothing did. */
static void print_reasons(const struct load_counts *counts, FILE *to)
{
	const struct {
		uint64_t count;
		const char *text;
	} reasons[] = {
#define REASON(field, key, text) {counts->field, text},
		LOAD_COUNTS(REASON)
#undef REASON
	};
	size_t first = offsetof(struct load_counts, open_refused) / sizeof(uint64_t);
	size_t last = offsetof(struct load_counts, unclosed) / sizeof(uint64_t);

	for (size_t i = first; i <= last; i++)
		if (reasons[i].count > 0)
			fprintf(to, "%36" PRIu64 "  %s\n", reasons[i].count, reasons[i].text);
}

static void print_interface(const struct load_interface *interface, FILE *to)
{
	uint64_t dropped = interface->rx_dropped + interface->tx_lost;
	uint64_t kernel = interface->kernel_rx_dropped + interface->kernel_tx_dropped +
			  interface->kernel_errors;

	if (dropped + kernel == 0)
		return;
	fprintf(to,
		"%-22s%14" PRIu64 "  frames by the interface, %" PRIu64
		" by the kernel on it: not the server's losses\n",
		"dropped on the way", dropped, kernel);
}

static void print_message(const struct load_result *result, FILE *to)
{
	if (result->options->config.message_bytes == 0)
		return;
	fprintf(to, "%-22s%14" PRIu64 "  of %" PRIu64 " connections, in %.3f s from the first to the last",
		"message arrived at", result->counts.messages, result->counts.opened,
		result->message_seconds);
	if (result->counts.messages_wrong)
		fprintf(to, "; %" PRIu64 " got other bytes", result->counts.messages_wrong);
	fputc('\n', to);
}

static void print_bytes(const struct load_result *result, FILE *to)
{
	if (result->options->config.protocol != LOAD_STREAM)
		return;
	fprintf(to, "%-22s%14.1f  Mbit/s sent, %.1f received\n", "stream",
		rate(result->counts.bytes_out, result->load_seconds) * 8 / 1e6,
		rate(result->counts.bytes_in, result->load_seconds) * 8 / 1e6);
}

static bool is_paced(const struct load_result *result)
{
	return result->options->config.paced_percent || result->options->config.paced_rate;
}

static void print_proof(const struct load_result *result, FILE *to)
{
	const struct load_config *config = &result->options->config;

	if (config->prove_before)
		fprintf(to, "%-22s%14" PRIu64 "  of %" PRIu64 " connections answered an echo of their own\n",
			"proved before", result->counts.proved, result->counts.opened);
	if (config->prove_after)
		fprintf(to, "%-22s%14" PRIu64 "  of %" PRIu64 " connections answered an echo of their own\n",
			"proved after", result->counts.proved_after, result->counts.opened);
}

void result_print(const struct load_result *result, FILE *to)
{
	const struct load_counts *counts = &result->counts;
	bool churn = result->options->config.churn;

	if (result->verdict)
		fprintf(to, "%-22s%s\n", "ended early", result->verdict);
	if (result->interrupted)
		fprintf(to, "%-22sit was stopped: this is what was seen so far\n", "interrupted");
	print_rate(to, "connections opened", counts->opened, result->open_seconds);
	fprintf(to, "%-22s%14" PRIu64 "\n", "held at the end", result->held);
	print_proof(result, to);
	print_rate(to, churn ? "sessions" : "requests answered", churn ? counts->sessions : result->answered,
		   result->load_seconds);
	if (is_paced(result))
		print_rate(to, "paced, answered", result->answered_paced, result->paced_seconds);
	print_bytes(result, to);
	print_message(result, to);
	fprintf(to, "%-22s%14" PRIu64 "\n", "lost", load_lost(counts));
	fprintf(to, "%-22s%14" PRIu64 "\n", "not opened", load_open_failures(counts));
	print_reasons(counts, to);
	if (!churn)
		print_rate(to, "closed at the end", result->held, result->close_seconds);
	print_percentiles(to, churn ? "session, us" : "latency, us", &result->latency);
	if (is_paced(result))
		print_percentiles(to, "paced latency, us", &result->paced);
	print_percentiles(to, "open, us", &result->open_time);
	print_percentiles(to, "sent late by us, us", &result->send_delay);
	print_jitter(to, &result->jitter);
	print_interface(&result->interface, to);
	fflush(to);
}

/* --- JSON ------------------------------------------------------------------------------------------------
 */

static void add_number(cJSON *object, const char *key, uint64_t value)
{
	cJSON_AddNumberToObject(object, key, (double)value);
}

static void add_percentiles(cJSON *json, const char *name, const struct histogram *histogram)
{
	cJSON *object = cJSON_AddObjectToObject(json, name);

	for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++)
		add_number(object, percentiles[i].key, histogram_percentile(histogram, percentiles[i].share));
	add_number(object, "max", histogram->max);
}

static void add_jitter(cJSON *json, const struct jitter *jitter)
{
	cJSON *object = cJSON_AddObjectToObject(json, "jitter_us");

	for (size_t i = 0; i < ARRAY_COUNT(percentiles); i++)
		add_number(object, percentiles[i].key, jitter_percentile(jitter, percentiles[i].share));
	add_number(object, "max", jitter->taken.max);
	add_number(object, "times", jitter->taken.count);
	cJSON_AddNumberToObject(object, "share",
				jitter->watched_us ? (double)jitter->taken_us / (double)jitter->watched_us
						   : 0);
	add_percentiles(json, "turn_us", &jitter->turns);
}

static void add_lost(cJSON *json, const struct load_counts *counts)
{
	cJSON *lost = cJSON_AddObjectToObject(json, "lost_by_reason");
	cJSON *failed = cJSON_AddObjectToObject(json, "not_opened_by_reason");

	add_number(lost, "reset", counts->lost_reset);
	add_number(lost, "closed", counts->lost_closed);
	add_number(lost, "timeout", counts->lost_timeout);
	add_number(lost, "wrong", counts->lost_wrong);
	add_number(lost, "repeated", counts->lost_repeated);
	add_number(lost, "unasked", counts->lost_unasked);
	add_number(lost, "unanswered", counts->unanswered);
	add_number(failed, "refused", counts->open_refused);
	add_number(failed, "timeout", counts->open_timeout);
	add_number(failed, "unreachable", counts->open_unreachable);
	add_number(failed, "other", counts->open_other);
}

static void add_interface(cJSON *json, const struct load_interface *interface)
{
	cJSON *object = cJSON_AddObjectToObject(json, "interface");

	add_number(object, "rx_dropped", interface->rx_dropped);
	add_number(object, "tx_lost", interface->tx_lost);
	add_number(object, "tx_full", interface->tx_full);
	add_number(object, "kernel_rx_dropped", interface->kernel_rx_dropped);
	add_number(object, "kernel_tx_dropped", interface->kernel_tx_dropped);
	add_number(object, "kernel_errors", interface->kernel_errors);
}

static void add_times(cJSON *json, const struct load_result *result)
{
	const struct load_counts *counts = &result->counts;

	cJSON_AddNumberToObject(json, "open_seconds", result->open_seconds);
	cJSON_AddNumberToObject(json, "open_per_second", rate(counts->opened, result->open_seconds));
	cJSON_AddNumberToObject(json, "load_seconds", result->load_seconds);
	cJSON_AddNumberToObject(json, "requests_per_second", rate(result->answered, result->load_seconds));
	cJSON_AddNumberToObject(json, "sessions_per_second", rate(counts->sessions, result->load_seconds));
	cJSON_AddNumberToObject(json, "bytes_out_per_second", rate(counts->bytes_out, result->load_seconds));
	cJSON_AddNumberToObject(json, "bytes_in_per_second", rate(counts->bytes_in, result->load_seconds));
	cJSON_AddNumberToObject(json, "message_seconds", result->message_seconds);
	cJSON_AddNumberToObject(json, "close_seconds", result->close_seconds);
	add_percentiles(json, "latency_us", &result->latency);
	if (is_paced(result)) {
		cJSON_AddNumberToObject(json, "paced_per_second",
					rate(result->answered_paced, result->paced_seconds));
		add_percentiles(json, "paced_latency_us", &result->paced);
	}
	add_percentiles(json, "open_us", &result->open_time);
	add_percentiles(json, "send_delay_us", &result->send_delay);
	add_jitter(json, &result->jitter);
}

static void add_counted(cJSON *json, const struct load_result *result)
{
	const struct load_counts *counts = &result->counts;

	add_number(json, "connections", result->options->config.connections);
	add_number(json, "opened", counts->opened);
	add_number(json, "established", result->held);
	add_number(json, "lost", load_lost(counts));
	add_number(json, "not_opened", load_open_failures(counts));
	add_lost(json, counts);
	add_number(json, "late", counts->late);
	add_number(json, "unsent", counts->unsent);
	add_number(json, "requests", result->asked);
	add_number(json, "answers", result->answered);
	add_number(json, "proved_before", counts->proved);
	add_number(json, "proved_after", counts->proved_after);
	add_number(json, "messages", counts->messages);
	add_number(json, "messages_wrong", counts->messages_wrong);
	add_number(json, "sessions", counts->sessions);
	add_number(json, "closed", counts->closed);
	add_number(json, "unclosed", counts->unclosed);
}

bool result_print_json(const struct load_result *result)
{
	cJSON *json = cJSON_CreateObject();
	bool good;
	char *text;

	cJSON_AddStringToObject(json, "protocol", load_protocol_names[result->options->config.protocol]);
	add_counted(json, result);
	add_times(json, result);
	add_interface(json, &result->interface);
	add_number(json, "retransmits", result->retransmits);
	add_number(json, "stack_drops", result->stack_drops);
	add_number(json, "memory_bytes", result->memory_bytes);
	cJSON_AddBoolToObject(json, "interrupted", result->interrupted);
	if (result->verdict)
		cJSON_AddStringToObject(json, "verdict", result->verdict);
	text = cJSON_Print(json);
	cJSON_Delete(json);
	good = text && printf("%s\n", text) > 0 && fflush(stdout) == 0;
	free(text);
	return good;
}
