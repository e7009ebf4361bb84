/* options.c - what a run is asked for, and whether it makes sense.
 * In: argv. Out: struct load_options. Owns: the table of options. */
#include <stdlib.h>
#include <string.h>

#include "flow/ports.h"
#include "options.h"
#include "sys/entropy.h"
#include "wire/ipv4.h"

#define LOAD_CONNECTIONS_DEFAULT 1000
#define TIME_WAIT_MS_DEFAULT     100
#define TIME_WAIT_CHURN          262144 /* connections that end within that time at 2.6 million a second */

static bool wrong(char error[OPTIONS_ERROR_BYTES], const char *option, const char *wants, const char *text)
{
	snprintf(error, OPTIONS_ERROR_BYTES, "%s takes %s, not '%.60s'", option, wants, text);
	return false;
}

/* "7" or "7-9" */
static bool ports_from_text(const char *text, struct load_config *config)
{
	char *end;
	unsigned long first = strtoul(text, &end, 10), last = first;

	if (end == text || *text == '-')
		return false;
	if (*end == '-') {
		text = end + 1;
		last = strtoul(text, &end, 10);
	}
	if (end == text || *end != '\0' || first < 1 || last < first || last > 65535)
		return false;
	config->target_port = (uint32_t)first;
	config->target_ports = (uint32_t)(last - first + 1);
	return true;
}

static bool set_target(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct load_config *config = &((struct load_options *)target)->config;
	const char *colon = strchr(text, ':');
	char address[IPV4_TEXT_BYTES] = {0};

	if (colon && (size_t)(colon - text) < sizeof(address)) {
		memcpy(address, text, (size_t)(colon - text));
		if (ipv4_from_text(address, &config->target_address) &&
		    ipv4_is_unicast(config->target_address) && ports_from_text(colon + 1, config))
			return true;
	}
	return wrong(error, "--target",
		     "an address and a port, such as 10.0.0.2:7, or ports, such as 10.0.0.2:80-89", text);
}

static int word_of(const char *text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}

static bool set_protocol(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct load_config *config = &((struct load_options *)target)->config;
	int which = word_of(text, load_protocol_names, LOAD_PROTOCOLS);

	if (which < 0)
		return wrong(error, "--protocol", "echo, http, connect, idle or stream", text);
	config->protocol = (enum load_protocol)which;
	return true;
}

static bool set_direction(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	static const char *const words[] = {
		[LOAD_BOTH] = "both", [LOAD_SEND] = "send", [LOAD_RECEIVE] = "receive"};
	struct load_config *config = &((struct load_options *)target)->config;
	int which = word_of(text, words, 3);

	if (which < 0)
		return wrong(error, "--direction", "both, send or receive", text);
	config->direction = (enum load_direction)which;
	return true;
}

static bool set_prove(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	struct load_config *config = &((struct load_options *)target)->config;
	static const char *const words[] = {"before", "after", "both"};
	int which = word_of(text, words, 3);

	if (which < 0)
		return wrong(error, "--prove", "before, after or both", text);
	config->prove_before = which != 1;
	config->prove_after = which != 0;
	return true;
}

static bool set_acks(void *target, const char *text, char error[OPTIONS_ERROR_BYTES])
{
	static const char *const words[] = {
		[ACKS_AUTO] = "auto", [ACKS_QUICK] = "quick", [ACKS_DELAYED] = "delayed"};
	int which = word_of(text, words, 3);

	if (which < 0)
		return wrong(error, "--acks", "quick, delayed or auto", text);
	((struct load_options *)target)->acks = (enum load_acks)which;
	return true;
}

#define AT(field)               .offset = offsetof(struct load_options, field)
#define NUMBER(field, from, to) .kind = OPTION_NUMBER, AT(field), .min = (from), .max = (to)
#define FLAG(field)             .kind = OPTION_FLAG, AT(field)
#define TEXT(field)             .kind = OPTION_TEXT, AT(field)
#define CUSTOM(function)        .kind = OPTION_CUSTOM, .set = (function)

const struct option_spec load_specs[] = {
	{"target", "A:P[-Q]", "address and port of the server, or its ports (required)", CUSTOM(set_target)},
	{"protocol", "NAME",
	 "what is done on the connections:\n"
	 "echo     requests that are to come back as they are (RFC 862); each is checked\n"
	 "http     GET requests of HTTP/1.1\n"
	 "connect  opened and closed again, and again\n"
	 "idle     held open, nothing more\n"
	 "stream   as many bytes as it takes (--direction)",
	 CUSTOM(set_protocol)},
	{"rate", "R", "connections opened a second; default: as fast as the target answers",
	 NUMBER(config.rate, 1, 100000000)},
	{"request-rate", "R",
	 "requests a second, on connections chosen at random; latency counts from the time at\n"
	 "which a request was meant to be sent. Default: the next one when one is answered",
	 NUMBER(config.request_rate, 1, 100000000)},
	{"then-paced", "PERCENT",
	 "behind the load, for as long again: so many percent of the requests a second that were\n"
	 "reached, by a schedule as with --request-rate",
	 NUMBER(config.paced_percent, 1, 100)},
	{"then-rate", "R", "the same with a rate in place of a share; what was reached, if that is less",
	 NUMBER(config.paced_rate, 1, 100000000)},
	{"in-flight", "N",
	 "requests without answer at a time, at most (256; with --request-rate 16384). What is\n"
	 "meant to be sent while so many are out waits, and its latency counts on",
	 NUMBER(config.in_flight, 1, 1u << 26)},
	{"acks", "WHEN",
	 "how answers are acknowledged: quick (at once), delayed (with the next request, or\n"
	 "within --delayed-ack-ms), or auto, the default: delayed, unless there are so many\n"
	 "connections that the next request mostly comes later",
	 CUSTOM(set_acks)},
	{"payload", "BYTES", "length of an echo (64)", NUMBER(config.payload, 8, 1u << 20)},
	{"duration", "S", "seconds of load, when all connections are open (10); 0: none",
	 NUMBER(config.duration_s, 0, 86400 * 7)},
	{"stay", NULL, "go on until Ctrl-C", FLAG(config.stay)},
	{"requests-per-connection", "N",
	 "close each connection after so many answers and open another in its place; 1 is connect,\n"
	 "request, answer, close. Default: they are held open",
	 NUMBER(config.requests_per_connection, 1, 1u << 30)},
	{"http-close", NULL, "http: a connection for each request; the server closes it", FLAG(http_close)},
	{"path", "PATH", "http: what to ask for (/)", TEXT(path)},
	{"direction", "WAY", "stream: both (to an echo server; what comes back is checked), send, receive",
	 CUSTOM(set_direction)},
	{"prove", "WHEN",
	 "every connection has to answer an echo of its own, before the load, after it, or both",
	 CUSTOM(set_prove)},
	{"expect-message", "BYTES",
	 "after the load, wait until the server has sent a message of so many bytes to all\n"
	 "connections by itself, and count whom it reached",
	 NUMBER(config.message_bytes, 1, 1u << 20)},
	{"message-wait", "S", "... for so long at most (60)", NUMBER(config.message_wait_s, 1, 86400)},
	{"late-ms", "MS", "what is not answered within this time is lost (10000)",
	 NUMBER(config.late_ms, 100, LOAD_LATE_MS_MAX)},
	{"reset", NULL, "end the connections by resets, not in order", FLAG(config.reset)},
	{"fastopen", NULL,
	 "the first request of a connection goes with its SYN, where the server takes it there (TCP\n"
	 "Fast Open): --protocol http with --http-close or --requests-per-connection",
	 FLAG(config.fastopen)},
	{"json", NULL, "the results as JSON on standard output; the table goes to standard error",
	 FLAG(json)},
	{"csv", "FILE", "a line each second", TEXT(csv)},
	{"plot", "FILE", "the run over time as a picture: FILE.svg or FILE.png (needs gnuplot)", TEXT(plot)},
	{"quiet", NULL, "no progress on standard error", FLAG(quiet)},
};

const unsigned load_spec_count = ARRAY_COUNT(load_specs);

const char *const load_protocol_names[LOAD_PROTOCOLS] = {
	[LOAD_ECHO] = "echo", [LOAD_HTTP] = "http",     [LOAD_CONNECT] = "connect",
	[LOAD_IDLE] = "idle", [LOAD_STREAM] = "stream",
};

void load_options_init(struct load_options *options)
{
	*options = (struct load_options){
		.path = "/",
		.config = {.payload = 64, .duration_s = 10, .late_ms = 10000, .message_wait_s = 60},
	};
}

/* What holds for every server and means something else here. */
void load_run_defaults(struct run_config *run)
{
	run->connections = LOAD_CONNECTIONS_DEFAULT;
	run->time_wait_ms = TIME_WAIT_MS_DEFAULT;
}

/* --- whether it makes sense together ---------------------------------------------------------- */

static const char *contradiction(const struct load_options *options)
{
	const struct load_config *config = &options->config;
	bool echoes = config->protocol == LOAD_ECHO || config->protocol == LOAD_IDLE;

	if (!config->target_address)
		return "say where the server is: --target ADDRESS:PORT";
	if (options->http_close && config->protocol != LOAD_HTTP)
		return "--http-close is for --protocol http; --requests-per-connection 1 does it for others";
	if (config->fastopen && !(config->protocol == LOAD_HTTP && config->churn))
		return "--fastopen is for --protocol http with --http-close or --requests-per-connection";
	if (config->direction != LOAD_BOTH && config->protocol != LOAD_STREAM)
		return "--direction is for --protocol stream";
	if ((config->prove_before || config->prove_after) &&
	    (config->churn || !(echoes || config->protocol == LOAD_HTTP)))
		return "--prove is for connections that are held open: --protocol echo, idle or http";
	if (config->message_bytes && (config->churn || !echoes))
		return "--expect-message is for connections that are held open: --protocol idle or echo";
	if (config->requests_per_connection &&
	    (config->protocol == LOAD_IDLE || config->protocol == LOAD_STREAM))
		return "--requests-per-connection is for --protocol echo, http or connect";
	if (config->request_rate &&
	    (config->churn || (config->protocol != LOAD_ECHO && config->protocol != LOAD_HTTP)))
		return "--request-rate is for requests on connections that are held open: --protocol echo or "
		       "http; "
		       "--rate tells how many are opened a second";
	if (config->paced_percent && config->paced_rate)
		return "--then-paced and --then-rate are the same with another measure: give one of them";
	if ((config->paced_percent || config->paced_rate) &&
	    (config->churn || config->request_rate || config->stay ||
	     (config->protocol != LOAD_ECHO && config->protocol != LOAD_HTTP)))
		return "--then-paced and --then-rate are for requests as fast as they are answered, on "
		       "connections that are held open, and for a while: leave --request-rate and --stay out";
	if (config->stay && config->duration_s == 0)
		return "--stay and --duration 0 contradict each other";
	return NULL;
}

static bool refuse(char error[OPTIONS_ERROR_BYTES], const char *sentence)
{
	snprintf(error, OPTIONS_ERROR_BYTES, "%s", sentence);
	return false;
}

/* The net's hosts, or the address alone; on a shared one the kernel has its say in every port. */
static void choose_sources(struct load_config *config, const struct run_config *run)
{
	struct ipv4_range net = run_config_sources(run);

	config->source_address = net.count ? net.first : run->shared ? 0 : run->address;
	config->source_count = net.count ? net.count : run->shared ? 0 : 1;
}

static bool check_target(const struct load_config *config, const struct run_config *run,
			 char error[OPTIONS_ERROR_BYTES])
{
	uint32_t mask = run->prefix_bits ? UINT32_MAX << (32 - run->prefix_bits) : 0;

	if (run->address == config->target_address && !run->shared)
		return refuse(error, "--target is the load generator's own address: give the server's");
	if (config->source_count > 1 &&
	    config->target_address - config->source_address < config->source_count)
		return refuse(error, "--source-net holds --target: take a net that is nobody's");
	if (run->prefix_given && !run->gateway && ((run->address ^ config->target_address) & mask))
		return refuse(
			error,
			"--target is in another network than --address: say by which --gateway to go there");
	return true;
}

/* Each connection needs an address and a port of its own towards each port of the target. */
static bool check_room(const struct load_config *config, const struct run_config *run,
		       char error[OPTIONS_ERROR_BYTES])
{
	uint64_t addresses = MAX_OF(config->source_count, 1u);
	uint64_t ports = run->shared ? 1000 : PORTS_COUNT;
	uint64_t room = addresses * ports * config->target_ports;

	if (run->shared && run->client_ports != RUN_CLIENT_PORTS_AUTO)
		room = (uint64_t)run->client_ports * config->target_ports;
	if (config->connections <= room)
		return true;
	snprintf(error, OPTIONS_ERROR_BYTES,
		 "%u connections do not fit: %lu address%s with %lu ports, to %u port%s of the target, make "
		 "%lu; "
		 "%s",
		 config->connections, (unsigned long)addresses, addresses == 1 ? "" : "es",
		 (unsigned long)ports, config->target_ports, config->target_ports == 1 ? "" : "s",
		 (unsigned long)room,
		 run->shared ? "reserve more --client-ports"
			     : "give more addresses to connect from, as in --source-net 10.64.0.0/12");
	return false;
}

static bool make_http_request(struct load_options *options, char error[OPTIONS_ERROR_BYTES])
{
	struct load_config *config = &options->config;
	char address[IPV4_TEXT_BYTES];
	int bytes;

	if (options->path[0] != '/' || strpbrk(options->path, " \r\n"))
		return wrong(error, "--path", "a path that begins with /, without blanks", options->path);
	bytes = snprintf(config->http_request, sizeof(config->http_request),
			 "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: c10m-load\r\n%s\r\n", options->path,
			 ipv4_to_text(config->target_address, address), config->target_port,
			 options->http_close ? "Connection: close\r\n" : "");
	if (bytes >= (int)sizeof(config->http_request))
		return refuse(error, "--path is too long: 400 characters are enough");
	config->http_bytes = (uint32_t)bytes;
	return true;
}

/* A rate is meant to be kept: the bound is only to be so small that nothing waits for as long as a
 * retransmission takes. */
static void choose_in_flight(struct load_config *config)
{
	if (config->in_flight == 0)
		config->in_flight = config->request_rate ? LOAD_PACED_IN_FLIGHT : 256;
}

/* Whether a connection's next request comes while its acknowledgement would wait. Where no rate tells, a
 * million requests a second are assumed. */
static void choose_acks(struct load_options *options, const struct run_config *run)
{
	const struct load_config *config = &options->config;
	uint32_t delay_ms = run->delayed_ack_ms ? run->delayed_ack_ms : 40;
	uint64_t requests = config->request_rate ? config->request_rate : 1000000;

	if (options->acks == ACKS_AUTO && (config->churn || config->protocol == LOAD_STREAM ||
					   requests * delay_ms / 1000 > config->connections))
		options->acks = ACKS_DELAYED;
	else if (options->acks == ACKS_AUTO)
		options->acks = ACKS_QUICK;
}

/* Connections that end still have their block for a while. */
static void size_stack(const struct load_config *config, struct run_config *run)
{
	uint32_t spare = config->churn ? config->connections / 4 + 1024 : 0;

	run->connections = MIN_OF(config->connections + spare, (uint32_t)RUN_CONNECTIONS_MAX);
	if (run->half_open == 0)
		run->half_open = 64;
	if (run->time_wait == 0 && config->churn)
		run->time_wait = TIME_WAIT_CHURN;
}

bool load_options_check(struct load_options *options, struct run_config *run, char error[OPTIONS_ERROR_BYTES])
{
	struct load_config *config = &options->config;
	const char *sentence;

	if (options->http_close)
		config->requests_per_connection = 1;
	config->churn = config->protocol == LOAD_CONNECT || config->requests_per_connection > 0;
	config->connections = run->connections;
	config->workers = run->workers;
	choose_sources(config, run);
	options->interface = run->interface ? run->interface : "";
	sentence = contradiction(options);
	if (sentence)
		return refuse(error, sentence);
	if (config->workers > config->connections)
		return refuse(error, "--workers wants a connection for each: raise --connections");
	if (!check_target(config, run, error) || !check_room(config, run, error) ||
	    !make_http_request(options, error))
		return false;
	if (sys_entropy_fill(&config->secret, sizeof(config->secret)) < 0)
		return refuse(error, "the machine gives no randomness: check /dev/urandom");
	choose_in_flight(config);
	choose_acks(options, run);
	size_stack(config, run);
	return true;
}
