/* capture.c - a port that wraps a port and writes what passes as pcapng.
 * In: frames of both directions, the time. Out: a file that tcpdump and Wireshark read.
 * Owns: the inner port, the file, a buffer of whole blocks, the compiled filter.
 * A file that cannot be written ends the capture with one sentence; traffic goes on.
 * Format: draft-ietf-opsawg-pcapng; numbers stand in our own byte order. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pcap/pcap.h>

#include "base/check.h"
#include "port/capture.h"

#define BUFFER_BYTES ((size_t)256 << 10)
#define SNAP_MOST    65535u

#define BLOCK_SECTION   0x0a0d0d0au /* section 4.1 */
#define BLOCK_INTERFACE 1u          /* section 4.2 */
#define BLOCK_PACKET    6u          /* section 4.3, enhanced packet block */
#define BYTE_ORDER_MARK 0x1a2b3c4du
#define OPTION_END      0u
#define OPTION_NAME     2u  /* if_name */
#define OPTION_TSRESOL  9u  /* if_tsresol */
#define OPTION_FILTER   11u /* if_filter */
#define OPTION_FLAGS    2u  /* epb_flags */
#define FLAG_INBOUND    1u
#define FLAG_OUTBOUND   2u

/* Block type, length, interface, time (2), captured, original; flags option (3 words with its end); length.
 */
#define PACKET_BLOCK_BYTES 44

struct capture_port {
	struct port port;
	struct port *inner;
	struct bpf_program filter;
	bool filtered;
	bool stopped;
	int fd;
	uint32_t snap_bytes;
	uint64_t limit_bytes;
	uint64_t written_bytes; /* in the file, whole blocks */
	uint64_t unix_us;
	struct capture_stats stats;
	char *path;
	size_t used; /* of the buffer, whole blocks */
	uint8_t buffer[BUFFER_BYTES];
};

static struct capture_port *capture_of(struct port *port)
{
	return (struct capture_port *)port;
}

/* --- the file ---------------------------------------------------------------- */

static void capture_stop(struct capture_port *capture, const char *why)
{
	fprintf(stderr, "c10m: the capture to %s ends here (%s); traffic goes on\n", capture->path, why);
	capture->stopped = true;
	capture->used = 0;
}

/* Writes the whole buffer: 0 or a negative errno. A part that did fit is cut off again, so
 * that the file ends with a whole block. */
static int capture_write(struct capture_port *capture)
{
	size_t done = 0;

	while (done < capture->used) {
		ssize_t count = write(capture->fd, capture->buffer + done, capture->used - done);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			int number = count < 0 ? errno : ENOSPC;

			if (ftruncate(capture->fd, (off_t)capture->written_bytes) < 0)
				return -number; /* a device, then: it keeps nothing anyway */
			return -number;
		}
		done += (size_t)count;
	}
	capture->written_bytes += done;
	capture->used = 0;
	return 0;
}

static void capture_flush(struct capture_port *capture)
{
	int result = capture->stopped ? 0 : capture_write(capture);

	if (result < 0)
		capture_stop(capture, strerror(-result));
}

static void put_word(struct capture_port *capture, uint32_t word)
{
	memcpy(capture->buffer + capture->used, &word, sizeof(word));
	capture->used += sizeof(word);
}

static void put_option(struct capture_port *capture, uint16_t code, const void *value, size_t bytes)
{
	const uint16_t head[2] = {code, (uint16_t)bytes};

	memcpy(capture->buffer + capture->used, head, sizeof(head));
	memset(capture->buffer + capture->used + 4, 0, ALIGN_UP(bytes, (size_t)4));
	memcpy(capture->buffer + capture->used + 4, value, bytes);
	capture->used += 4 + ALIGN_UP(bytes, (size_t)4);
}

/* A block starts with its type and ends, like it begins, with its length. */
static size_t block_begin(struct capture_port *capture, uint32_t type)
{
	size_t start = capture->used;

	put_word(capture, type);
	put_word(capture, 0);
	return start;
}

static void block_end(struct capture_port *capture, size_t start)
{
	uint32_t bytes = (uint32_t)(capture->used - start + 4);

	put_word(capture, bytes);
	memcpy(capture->buffer + start + 4, &bytes, sizeof(bytes));
}

static void capture_write_header(struct capture_port *capture, const struct capture_config *config)
{
	const uint8_t microseconds = 6; /* powers of ten */
	const uint16_t version[2] = {1, 0}, link_type[2] = {DLT_EN10MB, 0};
	char filter[256] = ""; /* its first byte, 0, says: an expression */
	uint32_t word;
	size_t start = block_begin(capture, BLOCK_SECTION);

	put_word(capture, BYTE_ORDER_MARK);
	memcpy(&word, version, sizeof(word));
	put_word(capture, word);
	put_word(capture, UINT32_MAX); /* the section's length, 64 bits: not known */
	put_word(capture, UINT32_MAX);
	block_end(capture, start);
	start = block_begin(capture, BLOCK_INTERFACE);
	memcpy(&word, link_type, sizeof(word));
	put_word(capture, word);
	put_word(capture, config->snap_bytes);
	if (config->interface_name)
		put_option(capture, OPTION_NAME, config->interface_name,
			   strnlen(config->interface_name, 255));
	put_option(capture, OPTION_TSRESOL, &microseconds, 1);
	if (config->filter && config->filter[0]) {
		snprintf(filter + 1, sizeof(filter) - 1, "%s", config->filter);
		put_option(capture, OPTION_FILTER, filter, 1 + strlen(filter + 1));
	}
	put_option(capture, OPTION_END, "", 0);
	block_end(capture, start);
}

/* --- frames ------------------------------------------------------------------ */

static void capture_put(struct capture_port *capture, const struct packet *packet, uint32_t bytes,
			uint32_t flags)
{
	size_t start = block_begin(capture, BLOCK_PACKET);

	put_word(capture, 0); /* the first and only interface */
	put_word(capture, (uint32_t)(capture->unix_us >> 32));
	put_word(capture, (uint32_t)capture->unix_us);
	put_word(capture, bytes);
	put_word(capture, packet->bytes);
	memcpy(capture->buffer + capture->used, packet->data, bytes);
	memset(capture->buffer + capture->used + bytes, 0, ALIGN_UP(bytes, 4u) - bytes);
	capture->used += ALIGN_UP(bytes, 4u);
	put_option(capture, OPTION_FLAGS, &flags, sizeof(flags));
	put_option(capture, OPTION_END, "", 0);
	block_end(capture, start);
}

static void capture_frame(struct capture_port *capture, const struct packet *packet, uint32_t flags)
{
	uint32_t bytes = MIN_OF(packet->bytes, capture->snap_bytes);
	size_t block_bytes = PACKET_BLOCK_BYTES + ALIGN_UP(bytes, 4u);

	if (capture->filtered &&
	    bpf_filter(capture->filter.bf_insns, packet->data, packet->bytes, packet->bytes) == 0) {
		capture->stats.filtered++;
		return;
	}
	if (capture->used + block_bytes > BUFFER_BYTES)
		capture_flush(capture);
	if (!capture->stopped && capture->limit_bytes > 0 &&
	    capture->written_bytes + capture->used + block_bytes > capture->limit_bytes) {
		capture_flush(capture);
		if (!capture->stopped)
			capture_stop(capture, "the file has the size it was limited to");
	}
	if (capture->stopped) {
		capture->stats.missed++;
		return;
	}
	capture_put(capture, packet, bytes, flags);
	capture->stats.captured++;
}

static void capture_frames(struct capture_port *capture, const struct packet *packets, uint32_t count,
			   uint32_t flags)
{
	for (uint32_t i = 0; i < count; i++)
		capture_frame(capture, &packets[i], flags);
}

/* --- the functions of the port ----------------------------------------------- */

static uint32_t capture_rx(struct port *port, struct packet *packets, uint32_t max)
{
	struct capture_port *capture = capture_of(port);
	uint32_t count = port_rx(capture->inner, packets, max);

	capture_frames(capture, packets, count, FLAG_INBOUND);
	port->stats = capture->inner->stats;
	return count;
}

static void capture_rx_release(struct port *port, struct packet *packets, uint32_t count)
{
	port_rx_release(capture_of(port)->inner, packets, count);
}

static uint32_t capture_tx_reserve(struct port *port, struct packet *packets, uint32_t max)
{
	struct port *inner = capture_of(port)->inner;
	uint32_t count = port_tx_reserve(inner, packets, max);

	port->stats = inner->stats;
	return count;
}

/* Written before it is sent: afterwards the frame is no longer ours to look at. */
static void capture_tx_submit(struct port *port, struct packet *packets, uint32_t filled, uint32_t reserved)
{
	struct capture_port *capture = capture_of(port);

	capture_frames(capture, packets, filled, FLAG_OUTBOUND);
	port_tx_submit(capture->inner, packets, filled, reserved);
	port->stats = capture->inner->stats;
}

/* Who sleeps has time to write, and who looks at the file meanwhile finds all of it. */
static bool capture_wait_prepare(struct port *port)
{
	struct capture_port *capture = capture_of(port);

	if (capture->used > 0)
		capture_flush(capture);
	return !capture->inner->ops->wait_prepare || capture->inner->ops->wait_prepare(capture->inner);
}

static void capture_wait_done(struct port *port)
{
	struct port *inner = capture_of(port)->inner;

	if (inner->ops->wait_done)
		inner->ops->wait_done(inner);
}

static void capture_free(struct capture_port *capture)
{
	if (capture->fd >= 0)
		close(capture->fd);
	if (capture->filtered)
		pcap_freecode(&capture->filter);
	free(capture->path);
	free(capture);
}

static void capture_close(struct port *port)
{
	struct capture_port *capture = capture_of(port);

	capture_flush(capture);
	port_close(capture->inner);
	capture_free(capture);
}

static const struct port_ops capture_ops = {
	.name = "capture",
	.rx = capture_rx,
	.rx_release = capture_rx_release,
	.tx_reserve = capture_tx_reserve,
	.tx_submit = capture_tx_submit,
	.wait_prepare = capture_wait_prepare,
	.wait_done = capture_wait_done,
	.close = capture_close,
};

/* --- opening ----------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static bool refuse(char *error, size_t error_bytes, const char *format,
							 ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, error_bytes, format, arguments);
	va_end(arguments);
	return false;
}

static bool capture_compile(struct capture_port *capture, const char *expression, char *error,
			    size_t error_bytes)
{
	pcap_t *ethernet;

	if (!expression || !expression[0])
		return true;
	ethernet = pcap_open_dead(DLT_EN10MB, (int)SNAP_MOST);
	if (!ethernet)
		return refuse(error, error_bytes, "too little memory for the capture filter");
	capture->filtered = pcap_compile(ethernet, &capture->filter, expression, 1, PCAP_NETMASK_UNKNOWN) ==
			    0;
	if (!capture->filtered)
		refuse(error, error_bytes, "the capture filter '%.80s' is wrong (%.80s): see pcap-filter(7)",
		       expression, pcap_geterr(ethernet));
	pcap_close(ethernet);
	return capture->filtered;
}

/* A pipe could make the traffic wait for its reader. */
static bool capture_open_file(struct capture_port *capture, const char *path, char *error, size_t error_bytes)
{
	struct stat status;

	if (!path || !path[0])
		return refuse(error, error_bytes, "the capture has no file: name one");
	capture->path = strdup(path);
	if (!capture->path)
		return refuse(error, error_bytes, "too little memory for the capture");
	if (stat(path, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
		return refuse(error, error_bytes, "%.160s is a pipe: capture into a file", path);
	capture->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
	if (capture->fd < 0)
		return refuse(error, error_bytes, "the capture file %.160s cannot be opened: %s", path,
			      strerror(errno));
	return true;
}

static bool capture_start(struct capture_port *capture, const struct capture_config *config, char *error,
			  size_t error_bytes)
{
	int result;

	/* The filter first: a mistake in it must not empty a file. */
	if (!capture_compile(capture, config->filter, error, error_bytes) ||
	    !capture_open_file(capture, config->path, error, error_bytes))
		return false;
	capture->snap_bytes = config->snap_bytes ? MIN_OF(config->snap_bytes, SNAP_MOST) : SNAP_MOST;
	capture->limit_bytes = config->limit_bytes;
	capture_write_header(capture, config);
	result = capture_write(capture);
	if (result < 0)
		return refuse(error, error_bytes, "the capture file %.160s cannot be written: %s",
			      capture->path, strerror(-result));
	return true;
}

struct port *capture_wrap(struct port *inner, const struct capture_config *config, char *error,
			  size_t error_bytes)
{
	struct capture_port *capture = calloc(1, sizeof(*capture));

	if (!capture) {
		refuse(error, error_bytes, "too little memory for the capture");
		return NULL;
	}
	capture->fd = -1;
	if (!capture_start(capture, config, error, error_bytes)) {
		capture_free(capture);
		return NULL;
	}
	capture->inner = inner;
	capture->port = (struct port){
		.ops = &capture_ops, .caps = inner->caps, .wait_fd = inner->wait_fd, .advice = inner->advice};
	snprintf(capture->port.text, sizeof(capture->port.text), "capture over %.80s", inner->text);
	return &capture->port;
}

void capture_set_time(struct port *port, uint64_t unix_us)
{
	capture_of(port)->unix_us = unix_us;
}

const struct capture_stats *capture_stats(const struct port *port)
{
	return &((const struct capture_port *)port)->stats;
}
