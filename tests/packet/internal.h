/* internal.h - what the files of the harness share. */
#ifndef C10M_TESTS_PACKET_INTERNAL_H
#define C10M_TESTS_PACKET_INTERNAL_H

#include "harness.h"

#define FAIL_AT(file, line, ...) \
	do { \
		print_error(__VA_ARGS__); \
		print_error("\n"); \
		_fail((file), (line)); \
	} while (0)

/* The test that runs: callbacks have no other way to it. */
extern struct test *current_test;

void service_defaults(struct c10m_service *service, const char *name, uint16_t port);
/* Writes the headers of an IPv4 packet whose body has so many bytes; returns the frame's bytes. */
uint32_t emit_headers(uint8_t *frame, uint32_t source, uint32_t destination, uint8_t protocol,
		      uint32_t bytes);
void show_frame(const char *what, const uint8_t *frame, uint32_t bytes);

#endif
