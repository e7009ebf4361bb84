/* model.h - connections whose algorithm works on a model of the path (bbr.h) and on samples of its rate.
 *
 * A model attaches with the first burst, and is kept while the connection lasts, or until another needs one
 * and nothing is queued here. Without one left the connection has CUBIC. What is asked here is asked of paced
 * connections only (tcb.paced): others pay nothing. */
#ifndef C10M_TCP_MODEL_H
#define C10M_TCP_MODEL_H

#include "tcp/bbr.h"
#include "tcp/core.h"

#define MODELS_MAX 65534u /* an extension names one in 16 bits */

struct model {
	uint32_t owner; /* block index */
	bool recovering;
	struct bbr bbr;
	struct rate rate;
};

/* NULL: there is none, or the algorithm is no such any more. */
struct model *model_of(const struct core *core, const struct tcb *tcb);
/* Attaches one where the algorithm asks for it. False: there is none. */
bool model_consider(struct core *core, struct tcb *tcb);
void model_release(struct core *core, struct tcp_extension *extension);
/* --- while tcb.paced */
void model_sent(struct core *core, struct tcb *tcb, uint32_t end, uint32_t bytes); /* new data */
void model_acked(struct core *core, struct tcb *tcb);
void model_lost(struct core *core, struct tcb *tcb, uint32_t start, uint32_t bytes);

#endif
