/* extension.c - what attaches to a block only while it holds something.
 * In: uses that begin and end.  Out: one extension for all of them.  Owns: the pool of extensions. */
#include "tcp/model.h"

#include <string.h>

struct tcp_extension *extension_hold(struct core *core, struct tcb *tcb, uint16_t use)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension) {
		tcb->extension = pool_take(&core->extensions);
		extension = tcb_extension(core, tcb);
		if (!extension) {
			core->counters.tcp_extensions_missing++;
			return NULL;
		}
		memset(extension, 0, sizeof(*extension));
		extension->owner = tcb_index(core, tcb);
		extension->ooo_last = CHUNK_NONE;
	}
	extension->uses |= use;
	return extension;
}

void extension_drop(struct core *core, struct tcb *tcb, uint16_t uses)
{
	struct tcp_extension *extension = tcb_extension(core, tcb);

	if (!extension)
		return;
	if (uses & extension->uses & EXTENSION_MODEL)
		model_release(core, extension);
	extension->uses &= (uint16_t)~uses;
	if (extension->uses)
		return;
	tcb->paced = 0;
	pool_give(&core->extensions, tcb->extension);
	tcb->extension = POOL_NONE;
}
