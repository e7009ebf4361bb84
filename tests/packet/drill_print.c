/* drill_print.c - a packet in the notation of scripts. */
#include "drill.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/compiler.h"
#include "wire/tcp.h"

struct writer {
	char *text;
	unsigned room, used;
};

static void __attribute__((format(printf, 2, 3))) add(struct writer *writer, const char *format, ...)
{
	va_list args;
	int more;

	va_start(args, format);
	more = vsnprintf(writer->text + writer->used, writer->room - writer->used, format, args);
	va_end(args);
	writer->used = MIN_OF(writer->used + (unsigned)MAX_OF(more, 0), writer->room - 1);
}

static void add_option(struct writer *writer, const struct drill_option *option)
{
	switch (option->kind) {
	case 0:
		add(writer, "eol");
		return;
	case 1:
		add(writer, "nop");
		return;
	case 2:
		add(writer, "mss %u", option->numbers[0]);
		return;
	case 3:
		add(writer, "wscale %u", option->numbers[0]);
		return;
	case 4:
		add(writer, "sackOK");
		return;
	case 5:
		add(writer, "sack");
		for (unsigned i = 0; i + 1 < option->count; i += 2)
			add(writer, " %u:%u", option->numbers[i], option->numbers[i + 1]);
		return;
	case 8:
		add(writer, "TS val %u ecr %u", option->numbers[0], option->numbers[1]);
		return;
	case 34:
		add(writer, "FO ");
		break;
	default:
		add(writer, "kind %u ", option->kind);
	}
	for (unsigned i = 0; i < option->count; i++)
		add(writer, "%02x", option->bytes[i]);
}

static void add_flags(struct writer *writer, uint8_t flags)
{
	static const char letters[] = "FSRP.UEW";

	for (unsigned i = 0; i < 8; i++)
		if (flags & 1u << i)
			add(writer, "%c", letters[i]);
	add(writer, flags ? " " : "- ");
}

void drill_print(const struct drill_packet *packet, bool inbound, char *text, unsigned room)
{
	static const char *const marks[] = {"[noecn] ", "[ect1] ", "[ect0] ", "[ce] "};
	struct writer writer = {text, room, 0};

	add(&writer, inbound ? "< " : "> ");
	if (packet->ecn > ECN_NONE)
		add(&writer, "%s", marks[packet->ecn]);
	add_flags(&writer, packet->flags);
	add(&writer, "%u:%u(%u)", packet->seq, packet->seq + packet->bytes, packet->bytes);
	if (packet->flags & TCP_ACK)
		add(&writer, " ack %u", packet->ack);
	if (packet->has_win)
		add(&writer, " win %u", packet->win);
	if (packet->flags & TCP_URG)
		add(&writer, " urg %u", packet->urgent);
	if (packet->any_options)
		add(&writer, " <...>");
	for (unsigned i = 0; i < packet->option_count; i++) {
		add(&writer, "%s", i ? "," : " <");
		add_option(&writer, &packet->options[i]);
	}
	if (packet->option_count)
		add(&writer, ">");
}
