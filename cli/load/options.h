/* options.h - what c10m load is asked for on the command line. */
#ifndef C10M_LOAD_OPTIONS_H
#define C10M_LOAD_OPTIONS_H

#include "load.h"
#include "run/run.h"

enum load_acks { ACKS_AUTO, ACKS_QUICK, ACKS_DELAYED };

struct load_options {
	struct load_config config;
	bool http_close, json, quiet;
	enum load_acks acks;
	const char *path, *csv, *plot;
	const char *interface;
};

#define LOAD_PROTOCOLS 5
extern const char *const load_protocol_names[LOAD_PROTOCOLS];

extern const struct option_spec load_specs[];
extern const unsigned load_spec_count;

void load_options_init(struct load_options *options);
void load_run_defaults(struct run_config *run);
/* False and a sentence when it makes no sense. Completes what follows from other options. */
bool load_options_check(struct load_options *options, struct run_config *run,
			char error[OPTIONS_ERROR_BYTES]);

#endif
