/* test_capture.c - the port "capture": what it writes is read back through libpcap and block by block. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <pcap/pcap.h>

#include "port/capture.h"
#include "port/link.h"
#include "wire/bytes.h"

#define START_US 1700000000000000ULL

struct rig {
	struct port *near, *far; /* far is captured */
	char path[64], error[200];
};

static void rig_open(struct rig *rig, struct capture_config *config)
{
	const struct link_config wire = {.frames = 256, .frame_bytes = 2048, .mtu = 1500};
	struct port *ends[2];
	int fd;

	strcpy(rig->path, "/tmp/c10m-capture-XXXXXX");
	fd = mkstemp(rig->path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(link_open(&wire, ends), 0);
	rig->near = ends[0];
	config->path = config->path ? config->path : rig->path;
	rig->far = capture_wrap(ends[1], config, rig->error, sizeof(rig->error));
	if (!rig->far) { /* refused: the inner port is still whole */
		assert_true(rig->error[0] != '\0');
		port_close(ends[1]);
	}
}

static void rig_close(struct rig *rig)
{
	port_close(rig->far);
	port_close(rig->near);
	rig->near = rig->far = NULL;
}

/* A UDP frame to the port, whose payload is its number again and again. */
static void write_frame(struct packet *packet, uint16_t port, uint32_t bytes)
{
	memset(packet->data, (int)(bytes & 0xff), bytes);
	put16(packet->data + 12, 0x0800);
	packet->data[14] = 0x45;
	put16(packet->data + 16, (uint16_t)(bytes - 14));
	put16(packet->data + 20, 0);
	packet->data[23] = 17;
	put16(packet->data + 34, 1000);
	put16(packet->data + 36, port);
	packet->bytes = bytes;
}

static void pass_one(struct port *from, struct port *to, uint16_t port, uint32_t bytes)
{
	struct packet packet;

	assert_int_equal(port_tx_reserve(from, &packet, 1), 1);
	write_frame(&packet, port, bytes);
	port_tx_submit(from, &packet, 1, 1);
	assert_int_equal(port_rx(to, &packet, 1), 1);
	assert_int_equal(packet.bytes, bytes);
	port_rx_release(to, &packet, 1);
}

/* Three frames in, two out, a second and a microsecond apart. */
static void pass_five(struct rig *rig)
{
	for (uint32_t i = 0; i < 5; i++) {
		capture_set_time(rig->far, START_US + i * 1000001);
		if (i % 2 == 0)
			pass_one(rig->near, rig->far, (uint16_t)(80 + i), 61 + i);
		else
			pass_one(rig->far, rig->near, (uint16_t)(80 + i), 61 + i);
	}
}

/* Frames that libpcap finds in the file; -1 when it does not like it. */
static int count_frames(const char *path)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *file = pcap_open_offline(path, error);
	struct pcap_pkthdr *header;
	const u_char *data;
	int count = 0, result;

	assert_non_null(file);
	while ((result = pcap_next_ex(file, &header, &data)) == 1)
		count++;
	pcap_close(file);
	return result == PCAP_ERROR_BREAK ? count : -1;
}

static uint32_t word_at(const uint8_t *bytes)
{
	uint32_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* --- what is written --------------------------------------------------------- */

static void test_read_back(void **state)
{
	struct capture_config config = {.interface_name = "far"};
	struct rig rig;
	char error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const u_char *data;
	pcap_t *file;

	(void)state;
	rig_open(&rig, &config);
	pass_five(&rig);
	assert_int_equal(capture_stats(rig.far)->captured, 5);
	assert_int_equal(rig.far->stats.rx_packets, 3);
	assert_int_equal(rig.far->stats.tx_packets, 2);
	rig_close(&rig);
	file = pcap_open_offline(rig.path, error);
	assert_non_null(file);
	assert_int_equal(pcap_datalink(file), DLT_EN10MB);
	for (uint32_t i = 0; i < 5; i++) {
		struct packet expected = {.data = (uint8_t[2048]){0}};

		assert_int_equal(pcap_next_ex(file, &header, &data), 1);
		assert_int_equal(header->len, 61 + i);
		assert_int_equal(header->caplen, 61 + i);
		assert_int_equal(header->ts.tv_sec, 1700000000 + i);
		assert_int_equal(header->ts.tv_usec, i);
		write_frame(&expected, (uint16_t)(80 + i), 61 + i);
		assert_memory_equal(data, expected.data, 61 + i);
	}
	assert_int_equal(pcap_next_ex(file, &header, &data), PCAP_ERROR_BREAK);
	pcap_close(file);
	unlink(rig.path);
}

/* Block by block: types, both lengths, name and resolution of the interface, direction of each frame. */
static void test_blocks(void **state)
{
	const uint32_t types[] = {0x0a0d0d0a, 1, 6, 6, 6, 6, 6};
	struct capture_config config = {.interface_name = "far", .filter = "udp"};
	uint8_t bytes[4096], *at = bytes;
	struct rig rig;
	FILE *file;
	size_t size;

	(void)state;
	rig_open(&rig, &config);
	pass_five(&rig);
	rig_close(&rig);
	file = fopen(rig.path, "rb");
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	for (uint32_t i = 0; i < ARRAY_COUNT(types); i++) {
		uint32_t length = word_at(at + 4);

		assert_int_equal(word_at(at), types[i]);
		assert_int_equal(length % 4, 0);
		assert_in_range(length, 12, (uint64_t)(bytes + size - at));
		assert_int_equal(word_at(at + length - 4), length);
		if (i == 1) {
			assert_memory_equal(at + 16, "\2\0\3\0far\0\11\0\1\0\6\0\0\0\13\0\4\0\0udp\0\0\0\0",
					    28);
		} else if (i > 1) { /* flags: 1 came in, 2 went out */
			assert_int_equal(word_at(at + length - 12), i % 2 == 0 ? 1 : 2);
			assert_int_equal(word_at(at + length - 8), 0);
		}
		at += length;
	}
	assert_ptr_equal(at, bytes + size);
	unlink(rig.path);
}

static void test_filter_and_snap(void **state)
{
	struct capture_config config = {.filter = "udp dst port 81 or udp dst port 84", .snap_bytes = 40};
	struct rig rig;
	char error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const u_char *data;
	pcap_t *file;

	(void)state;
	rig_open(&rig, &config);
	pass_five(&rig);
	assert_int_equal(capture_stats(rig.far)->captured, 2);
	assert_int_equal(capture_stats(rig.far)->filtered, 3);
	rig_close(&rig);
	file = pcap_open_offline(rig.path, error);
	assert_non_null(file);
	for (uint32_t port = 81; port <= 84; port += 3) {
		assert_int_equal(pcap_next_ex(file, &header, &data), 1);
		assert_int_equal(header->caplen, 40);
		assert_int_equal(header->len, 61 + port - 80);
		assert_int_equal(get16(data + 36), port);
	}
	assert_int_equal(pcap_next_ex(file, &header, &data), PCAP_ERROR_BREAK);
	pcap_close(file);
	unlink(rig.path);
}

/* More than the buffer holds, and the file is whole at every moment the worker sleeps. */
static void test_many(void **state)
{
	struct capture_config config = {0};
	struct rig rig;

	(void)state;
	rig_open(&rig, &config);
	for (uint32_t i = 0; i < 1000; i++)
		pass_one(rig.near, rig.far, 80, 1514);
	assert_true(rig.far->ops->wait_prepare(rig.far));
	rig.far->ops->wait_done(rig.far);
	assert_int_equal(count_frames(rig.path), 1000);
	rig_close(&rig);
	assert_int_equal(count_frames(rig.path), 1000);
	unlink(rig.path);
}

/* --- what ends it ------------------------------------------------------------ */

/* The sentence appears once, on standard error; this looks for it. */
struct listener {
	int saved;
	char path[64];
};

static void listen_begin(struct listener *listener)
{
	int fd;

	strcpy(listener->path, "/tmp/c10m-stderr-XXXXXX");
	fd = mkstemp(listener->path);
	assert_true(fd >= 0);
	listener->saved = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static int listen_end(struct listener *listener)
{
	char line[300];
	int lines = 0;
	FILE *file;

	dup2(listener->saved, STDERR_FILENO);
	close(listener->saved);
	file = fopen(listener->path, "r");
	while (fgets(line, sizeof(line), file))
		lines += strstr(line, "ends here") != NULL;
	fclose(file);
	unlink(listener->path);
	return lines;
}

static void test_limit(void **state)
{
	struct capture_config config = {.limit_bytes = 100000};
	struct listener listener;
	struct stat status;
	struct rig rig;

	(void)state;
	rig_open(&rig, &config);
	listen_begin(&listener);
	for (uint32_t i = 0; i < 1000; i++)
		pass_one(rig.near, rig.far, 80, 1014);
	assert_int_equal(listen_end(&listener), 1);
	assert_int_equal(capture_stats(rig.far)->captured + capture_stats(rig.far)->missed, 1000);
	assert_in_range(capture_stats(rig.far)->captured, 92, 95);
	rig_close(&rig);
	assert_int_equal(stat(rig.path, &status), 0);
	assert_in_range(status.st_size, 98000, 100000);
	assert_in_range(count_frames(rig.path), 92, 95);
	unlink(rig.path);
}

/* A file that may grow no further stands for a full disk: a part of the buffer fits. */
static void test_disk_full(void **state)
{
	struct rlimit before, small;
	struct capture_config config = {0};
	struct listener listener;
	struct rig rig;

	(void)state;
	rig_open(&rig, &config);
	listen_begin(&listener);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){.rlim_cur = 400001, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint32_t i = 0; i < 1000; i++)
		pass_one(rig.near, rig.far, 80, 1014); /* traffic goes on */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(listen_end(&listener), 1);
	assert_true(capture_stats(rig.far)->missed > 0);
	assert_int_equal(rig.far->stats.rx_packets, 1000);
	rig_close(&rig);
	assert_in_range(count_frames(rig.path), 200, 400); /* the file ends with a whole block */
	unlink(rig.path);
}

static void test_refused(void **state)
{
	struct capture_config wrong[] = {
		{.filter = "udp dst port eighty one"},
		{.path = "/nowhere/at/all"},
		{.path = "/dev/full"},
		{.path = ""},
	};
	const char *words[] = {"filter", "/nowhere/at/all", "written", "name one"};
	struct rig rig;

	(void)state;
	for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		rig_open(&rig, &wrong[i]);
		assert_null(rig.far);
		assert_non_null(strstr(rig.error, words[i]));
		port_close(rig.near);
		unlink(rig.path);
	}
}

static void test_pipe_refused(void **state)
{
	struct capture_config config = {.path = "/tmp/c10m-capture-pipe"};
	struct rig rig;

	(void)state;
	unlink(config.path);
	assert_int_equal(mkfifo(config.path, 0600), 0);
	rig_open(&rig, &config);
	assert_null(rig.far);
	assert_non_null(strstr(rig.error, "pipe"));
	port_close(rig.near);
	unlink(rig.path);
	unlink(config.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_back),       cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_filter_and_snap), cmocka_unit_test(test_many),
		cmocka_unit_test(test_limit),           cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_refused),         cmocka_unit_test(test_pipe_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
