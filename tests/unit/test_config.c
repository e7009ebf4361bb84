/* test_config.c - options: tables, their limits, and what fits together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/config.h"

#define ARGS_MAX 32

static struct run_config config;
static struct c10m_service services[2];
static char error[OPTIONS_ERROR_BYTES];

/* Parses a line of words; the page has the table of every server alone. */
static enum options_verdict parse(const char *line)
{
	static char text[512];
	char *argv[ARGS_MAX + 1] = {NULL}, *save = NULL;
	const struct option_group group = {"options", run_options, run_option_count, &config};
	const struct option_page page = {"usage", "about", &group, 1};
	int argc = 0;

	snprintf(text, sizeof(text), "program %s", line);
	for (char *word = strtok_r(text, " ", &save); word && argc < ARGS_MAX;
	     word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	run_config_init(&config);
	error[0] = '\0';
	return options_parse(argc, argv, &page, error);
}

static bool check(const char *line)
{
	services[0] = (struct c10m_service){.name = "one", .port = 7};
	services[1] = (struct c10m_service){.name = "two", .port = 8};
	assert_int_equal(parse(line), OPTIONS_RUN);
	return run_config_check(&config, services, 2, error);
}

static void values_arrive(void **state)
{
	(void)state;
	assert_int_equal(
		parse("--interface eth7 --address 10.1.2.3/20 --gateway=10.1.2.254 --port 8080 --cpu 3 "
		      "--connections 10M"),
		OPTIONS_RUN);
	assert_string_equal(config.interface, "eth7");
	assert_int_equal(config.address, 0x0a010203);
	assert_true(config.prefix_given);
	assert_int_equal(config.prefix_bits, 20);
	assert_int_equal(config.gateway, 0x0a0102fe);
	assert_int_equal(config.port, 8080);
	assert_int_equal(config.cpu_count, 1);
	assert_int_equal(config.cpus[0], 3);
	assert_int_equal(config.connections, 10000000);
}

static void defaults_stay(void **state)
{
	(void)state;
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_int_equal(config.connections, RUN_CONNECTIONS_DEFAULT);
	assert_int_equal(config.cpu_count, 0);
	assert_int_equal(config.owner, OWNER_BY_HASH);
	assert_int_equal(config.workers, 1);
	assert_int_equal(config.mode, AFXDP_AUTO);
	assert_int_equal(config.pages, SYS_PAGES_BEST);
	assert_false(config.faulty);
}

static void words_pick(void **state)
{
	(void)state;
	assert_int_equal(parse("--mode native --huge 2m --verbose --fault loss=50%,seed=9"), OPTIONS_RUN);
	assert_int_equal(config.mode, AFXDP_NATIVE);
	assert_int_equal(config.pages, SYS_PAGES_2M);
	assert_true(config.verbose);
	assert_true(config.faulty);
	assert_true(config.fault.loss > 0.49 && config.fault.loss < 0.51);
	assert_int_equal(parse("--mode generic --huge plain"), OPTIONS_RUN);
	assert_int_equal(config.mode, AFXDP_GENERIC);
	assert_int_equal(config.pages, SYS_PAGES_PLAIN);
}

/* Each ends with a sentence that names the option, and says what it takes. */
static void nonsense_is_refused(void **state)
{
	static const char *const lines[] = {
		"--port 0",
		"--port 65536",
		"--port 80x",
		"--port -1",
		"--address 10.0.0",
		"--address 10.0.0.1/33",
		"--address 224.0.0.1/24",
		"--address 127.0.0.1/8",
		"--gateway 1.2.3",
		"--source-net 10.64.0.0",
		"--source-net 0.0.0.0/0",
		"--source-net 10.64.0.0/33",
		"--source-net net/12",
		"--mode fast",
		"--huge 3m",
		"--connections 0",
		"--connections 5G",
		"--connections 99999999999999999999",
		"--fault loss=200%",
		"--stats 0",
		"--bogus",
		"operand",
		"--port",
		"--cpu 70000",
		"--cpu 1,",
		"--cpu 1,,2",
		"--cpu -1",
		"--cpu 1;2",
		"--workers 65",
		"--vlan 0",
		"--vlan 4095",
		"--vlan five",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
		enum options_verdict verdict = parse(lines[i]);

		if (verdict != OPTIONS_WRONG || strlen(error) < 10)
			fail_msg("'%s' gave verdict %d and the sentence '%s'", lines[i], verdict, error);
	}
}

static void help_and_version(void **state)
{
	(void)state;
	assert_int_equal(parse("--help"), OPTIONS_HELP);
	assert_int_equal(parse("--port 80 -h"), OPTIONS_HELP);
	assert_int_equal(parse("--version"), OPTIONS_VERSION);
	assert_int_equal(parse("--interface lo -- --port nonsense"), OPTIONS_RUN);
}

/* What parses is what is printed. */
static void help_names_every_option(void **state)
{
	const struct option_group group = {"options", run_options, run_option_count, &config};
	const struct option_page page = {"usage", "about", &group, 1};
	char *text = NULL, wanted[64];
	size_t bytes = 0;
	FILE *to = open_memstream(&text, &bytes);

	(void)state;
	options_print(to, &page);
	fclose(to);
	for (unsigned i = 0; i < run_option_count; i++) {
		snprintf(wanted, sizeof(wanted), "  --%s", run_options[i].name);
		if (!strstr(text, wanted))
			fail_msg("--%s is not in the help", run_options[i].name);
		assert_true(strlen(run_options[i].help) > 10);
	}
	assert_non_null(strstr(text, "--help"));
	assert_non_null(strstr(text, "--version"));
	free(text);
}

static void what_belongs_together(void **state)
{
	(void)state;
	assert_true(check("--interface lo --address 10.0.0.1/24"));
	assert_true(check("--interface lo --address 10.0.0.1"));
	assert_true(check("--interface lo --address 10.0.0.0/31"));
	assert_true(check("--interface lo --address 10.0.0.0/32"));
	assert_false(check("--address 10.0.0.1/24"));
	assert_non_null(strstr(error, "--interface"));
	assert_false(check("--interface lo"));
	assert_non_null(strstr(error, "--address"));
	assert_false(check("--interface lo --address 10.0.0.0/24"));
	assert_false(check("--interface lo --address 10.0.0.255/24"));
	assert_false(check("--interface lo --address 10.0.0.1/0"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --gateway 10.0.0.1"));
	assert_true(check("--interface lo --address 10.0.0.1/24 --workers 2"));
	assert_true(check("--interface lo --address 10.0.0.1/24 --workers 2 --cpu 1"));
	assert_true(check("--interface lo --address 10.0.0.1/24 --workers 2 --cpu 1,0"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --workers 3 --cpu 1,0"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --cpu 1,0"));
	assert_non_null(strstr(error, "--cpu"));
	assert_true(check("--interface lo --address 10.0.0.1/24 --workers 2 --cpu 0,0") ==
		    (sysconf(_SC_NPROCESSORS_ONLN) < 2));
	assert_true(sysconf(_SC_NPROCESSORS_ONLN) < 2 || strstr(error, "twice"));
	assert_true(check("--interface lo --address 10.0.0.1/24 --workers 2 --owner 1"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --workers 2 --owner 2"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --capture-filter tcp"));
	assert_true(check("--interface lo --address 10.0.0.1/24 --capture-filter tcp --capture f"));
}

static void a_loopback_address_is_no_servers(void **state)
{
	(void)state;
	assert_int_equal(parse("--address 127.0.0.1/8"), OPTIONS_WRONG);
	assert_non_null(strstr(error, "loopback"));
	assert_int_equal(parse("--address 127.9.9.9"), OPTIONS_WRONG);
	assert_non_null(strstr(error, "loopback"));
	assert_int_equal(parse("--address 224.0.0.1/24"), OPTIONS_WRONG);
	assert_null(strstr(error, "loopback"));
}

static void a_tap_address_is_for_tap_devices(void **state)
{
	(void)state;
	assert_true(check("--interface tap77 --address 10.0.0.1/24 --tap-address 10.0.0.2"));
	assert_true(check("--interface eth7 --via tap --address 10.0.0.1/24 --tap-address 10.0.0.2"));
	assert_false(check("--interface eth7 --address 10.0.0.1/24 --tap-address 10.0.0.2"));
	assert_non_null(strstr(error, "TAP"));
	assert_false(check("--interface lo --via packet --address 10.0.0.1/24 --tap-address 10.0.0.2"));
	assert_false(check("--interface tap77 --via afxdp --address 10.0.0.1/24 --tap-address 10.0.0.2"));
	assert_false(check("--wire /tmp/w --address 10.0.0.1/24 --tap-address 10.0.0.2"));
}

/* Each worker gets its share, and a little more: a hash is not a division. */
/* Beside the kernel its addresses and routes count, and AF_XDP alone leaves it its part. */
/* Each refusal has a sentence of its own. */
static void source_nets(void **state)
{
	static const char *const wrong[][2] = {
		{"10.64.0.1/12", "bits set"},     {"10.0.0.0/24", "--address"},
		{"10.0.0.1/32", "--address"},     {"10.0.0.254/32", "--gateway"},
		{"10.0.0.9/32", "--tap-address"}, {"127.0.0.0/8", "loopback"},
		{"127.5.0.0/16", "loopback"},     {"64.0.0.0/2", "loopback"},
		{"224.0.0.0/4", "multicast"},     {"239.1.0.0/16", "multicast"},
		{"192.0.0.0/2", "multicast"},     {"240.0.0.0/8", "multicast"},
		{"0.0.0.0/8", "0.0.0.0/8"},       {"0.5.0.0/16", "0.0.0.0/8"},
	};
	static const char good[] = "--interface tap77 --address 10.0.0.1/24 --gateway 10.0.0.254 "
				   "--tap-address 10.0.0.9 ";
	struct ipv4_range range;
	char line[256];

	(void)state;
	snprintf(line, sizeof(line), "%s--source-net 10.64.0.0/12", good);
	assert_true(check(line));
	range = run_config_sources(&config);
	assert_int_equal(range.first, 0x0a400001);
	assert_int_equal(range.count, (1u << 20) - 2);
	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		snprintf(line, sizeof(line), "%s--source-net %s", good, wrong[i][0]);
		if (check(line) || !strstr(error, wrong[i][1]))
			fail_msg("%s gave the sentence '%s'", wrong[i][0], error);
	}
	assert_false(check("--interface i --shared --source-net 10.64.0.0/12"));
	assert_non_null(strstr(error, "--shared"));
	assert_true(check(good));
	assert_int_equal(run_config_sources(&config).count, 0);
	assert_true(check("--interface i --address 10.0.0.1/24 --source-net 10.0.0.6/31"));
	assert_int_equal(run_config_sources(&config).count, 2);
	assert_int_equal(run_config_sources(&config).first, 0x0a000006);
}

static void vlans(void **state)
{
	(void)state;
	assert_true(check("--interface i --address 10.0.0.1/24 --vlan 4094"));
	assert_int_equal(config.vlan, 4094);
	assert_true(check("--wire /tmp/w --address 10.0.0.1/24 --vlan 1"));
	assert_false(check("--interface i --address 10.0.0.1 --vlan 5"));
	assert_non_null(strstr(error, "prefix"));
	assert_false(check("--interface i --shared --vlan 5"));
	assert_non_null(strstr(error, "eth0.5"));
	assert_false(check("--interface tap77 --address 10.0.0.1/24 --tap-address 10.0.0.2 --vlan 5"));
	assert_non_null(strstr(error, "--tap-address"));
}

/* A wire takes the place of an interface. */
static void wire_fits(void **state)
{
	(void)state;
	assert_true(check("--wire /tmp/w --address 10.0.0.1/24"));
	assert_int_equal(config.via, PORT_KIND_WIRE);
	assert_string_equal(config.wire, "/tmp/w");
	assert_false(config.no_checksums);
	assert_true(check("--via wire --wire /tmp/w --address 10.0.0.1/24 --no-checksums"));
	assert_true(config.no_checksums);
	assert_false(check("--via wire --address 10.0.0.1/24"));
	assert_non_null(strstr(error, "--wire PATH"));
	assert_false(check("--interface lo --via wire --address 10.0.0.1/24"));
	assert_false(check("--wire /tmp/w"));
	assert_non_null(strstr(error, "--address"));
	assert_false(check("--wire /tmp/w --address 10.0.0.1"));
	assert_false(check("--wire /tmp/w --address 10.0.0.1/24 --interface lo"));
	assert_non_null(strstr(error, "--interface"));
	assert_false(check("--wire /tmp/w --address 10.0.0.1/24 --via tap"));
	assert_false(check("--wire /tmp/w --address 10.0.0.1/24 --shared"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --no-checksums"));
	assert_non_null(strstr(error, "--no-checksums"));
}

static void what_belongs_to_sharing(void **state)
{
	(void)state;
	assert_true(check("--interface lo --shared"));
	assert_true(check("--interface lo --shared --address 10.0.0.1 --via afxdp --workers 2"));
	assert_int_equal(config.client_ports, RUN_CLIENT_PORTS_AUTO);
	assert_true(check("--interface lo --shared --client-ports 0"));
	assert_int_equal(config.client_ports, 0);
	assert_false(check("--interface lo --shared --gateway 10.0.0.254"));
	assert_non_null(strstr(error, "--gateway"));
	assert_false(check("--interface lo --shared --via tap"));
	assert_false(check("--interface lo --shared --via packet"));
	assert_non_null(strstr(error, "--via"));
	assert_false(check("--interface lo --address 10.0.0.1/24 --client-ports 5"));
	assert_non_null(strstr(error, "--client-ports"));
}

static void workers_share_the_limits(void **state)
{
	struct stack_config stack;

	(void)state;
	assert_int_equal(parse("--connections 1M --half-open 1000 --workers 4"), OPTIONS_RUN);
	run_config_stack(&config, &stack);
	assert_in_range(stack.connections, 250000, 300000);
	assert_in_range(stack.half_open, 250, 350);
	assert_int_equal(stack.time_wait, 0);
	assert_int_equal(parse("--connections 10 --workers 4"), OPTIONS_RUN);
	run_config_stack(&config, &stack);
	assert_int_equal(stack.connections, 10);
	assert_int_equal(parse("--connections 1M"), OPTIONS_RUN);
	run_config_stack(&config, &stack);
	assert_int_equal(stack.connections, 1000000);
	assert_int_equal(parse("--connections 1M --workers 2 --owner 0"), OPTIONS_RUN);
	run_config_stack(&config, &stack);
	assert_int_equal(stack.connections, 1000000);
	assert_int_equal(parse("--workers 3 --cpu 7,6,5"), OPTIONS_RUN);
	assert_int_equal(config.cpu_count, 3);
	assert_int_equal(config.cpus[2], 5);
}

static void port_replaces_the_services_own(void **state)
{
	(void)state;
	assert_int_equal(parse("--interface lo --address 10.0.0.1/24 --port 99"), OPTIONS_RUN);
	services[0] = (struct c10m_service){.name = "one", .port = 7};
	services[1] = (struct c10m_service){.name = "client"};
	assert_true(run_config_check(&config, services, 2, error));
	assert_int_equal(services[0].port, 99);
	assert_int_equal(services[1].port, 0);
	assert_false(check("--interface lo --address 10.0.0.1/24 --port 99"));
	assert_non_null(strstr(error, "99"));
}

static void numbers(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_true(option_number("0", &value) && value == 0);
	assert_true(option_number("12k", &value) && value == 12000);
	assert_true(option_number("3M", &value) && value == 3000000);
	assert_true(option_number("4294967295", &value) && value == UINT32_MAX);
	assert_false(option_number("", &value));
	assert_false(option_number("k", &value));
	assert_false(option_number("1kk", &value));
	assert_false(option_number("1.5", &value));
	assert_false(option_number(" 1", &value));
}

static void stack_gets_the_values(void **state)
{
	struct stack_config stack;

	(void)state;
	assert_true(check(
		"--interface lo --address 10.0.0.1/24 --gateway 10.0.0.2 --connections 5k --rto-min-ms 33 "
		"--time-wait-ms 44 --half-open 55 --mtu 1400"));
	run_config_stack(&config, &stack);
	assert_int_equal(stack.connections, 5000);
	assert_int_equal(stack.address, 0x0a000001);
	assert_int_equal(stack.prefix_bits, 24);
	assert_int_equal(stack.gateway, 0x0a000002);
	assert_int_equal(stack.rto_min_ms, 33);
	assert_int_equal(stack.time_wait_ms, 44);
	assert_int_equal(stack.half_open, 55);
	assert_int_equal(stack.mtu, 1400);
}

static void limits_must_make_sense(void **state)
{
	const struct c10m_prefix wrong = {.bits = 8, .address = {0x0a000001}};
	const struct c10m_limits limits = {.deny = &wrong, .deny_count = 1};

	(void)state;
	assert_true(check("--interface eth7 --address 10.0.0.1/24"));
	services[1].limits = &limits;
	assert_false(run_config_check(&config, services, 2, error));
	assert_string_equal(error,
			    "the limits of service two make no sense: a prefix is of IPv4, has at most 32 "
			    "bits, and zeros behind these");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wire_fits),
		cmocka_unit_test(values_arrive),
		cmocka_unit_test(defaults_stay),
		cmocka_unit_test(words_pick),
		cmocka_unit_test(limits_must_make_sense),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(help_names_every_option),
		cmocka_unit_test(what_belongs_together),
		cmocka_unit_test(a_loopback_address_is_no_servers),
		cmocka_unit_test(a_tap_address_is_for_tap_devices),
		cmocka_unit_test(source_nets),
		cmocka_unit_test(vlans),
		cmocka_unit_test(what_belongs_to_sharing),
		cmocka_unit_test(workers_share_the_limits),
		cmocka_unit_test(port_replaces_the_services_own),
		cmocka_unit_test(numbers),
		cmocka_unit_test(stack_gets_the_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
