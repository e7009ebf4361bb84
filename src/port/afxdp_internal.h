/* afxdp_internal.h - what the files of the afxdp port share among themselves. */
#ifndef C10M_PORT_AFXDP_INTERNAL_H
#define C10M_PORT_AFXDP_INTERNAL_H

#include <stdatomic.h>

#include <xdp/xsk.h>

#include "port/afxdp.h"
#include "port/afxdp_shared.h"
#include "port/afxdp_split.h"

/* Of Linux 6.6; older headers lack the names. */
#ifndef XDP_USE_SG
#define XDP_USE_SG    (1 << 4)
#define XDP_PKT_CONTD (1 << 0)
#endif

#define AFXDP_FRAME_BYTES    2048
#define AFXDP_FRAME_SHIFT    11
#define AFXDP_FRAMES_DEFAULT 4096
#define AFXDP_FRAMES_MIN     (4 * PORT_BURST)
#define AFXDP_FRAMES_MAX     65536
#define AFXDP_HEADROOM_BYTES 256 /* the kernel leaves this much free before a received frame */
#define AFXDP_MTU_MAX        (AFXDP_FRAME_BYTES - AFXDP_HEADROOM_BYTES - 14)

/* What the kernel says about an interface (afxdp_device.c). */
struct afxdp_device {
	char name[16];
	char driver[32];
	unsigned int index;
	uint8_t address[6];
	uint32_t mtu;
	uint16_t queues; /* queues that both receive and send */
	bool takes_tags; /* received VLAN tags are kept beside the frames, if they are at all */
};

int afxdp_device_query(const char *interface, struct afxdp_device *device, char error[PORT_ERROR_BYTES]);

/* The loaded program and its attachment (afxdp_program.c), shared by the ports of one interface. */
struct afxdp_program {
	struct afxdp_bpf *skeleton;
	int link_fd; /* closing it, or dying, detaches the program */
	bool native;
	bool fell_back; /* native was tried first, and refused */
	atomic_uint users;
};

struct afxdp_program *afxdp_program_load(const struct afxdp_device *device, const struct afxdp_config *config,
					 char error[PORT_ERROR_BYTES]);
int afxdp_program_add_socket(struct afxdp_program *program, uint32_t queue, int socket_fd);
/* For those who want to ask it without a network. */
int afxdp_program_fd(const struct afxdp_program *program);
/* The last user unloads. */
void afxdp_program_put(struct afxdp_program *program);

/* The one place where a frame is at any time. */
enum afxdp_frame_state {
	AFXDP_FRAME_FREE,     /* on the stack of free frames */
	AFXDP_FRAME_FILL,     /* the kernel's, to receive into, or received and not yet seen by us */
	AFXDP_FRAME_LENT,     /* received, lent to the caller */
	AFXDP_FRAME_RESERVED, /* lent to the caller to be filled */
	AFXDP_FRAME_SENDING,  /* in the transmit ring, or not yet completed */
};

/* Invariant: the lower half of the frames receives (FILL or LENT, or on `spare` when the
 * fill ring was full), the upper half sends (FREE, RESERVED or SENDING). So neither
 * direction can starve the other. */
struct afxdp_port {
	struct port port;
	struct xsk_ring_cons rx, completion;
	struct xsk_ring_prod tx, fill;
	uint8_t *umem;
	uint8_t *state; /* enum afxdp_frame_state of each frame */
	int fd;
	uint32_t frames; /* all of them, a power of two */
	uint32_t *free;  /* stack of frames to send */
	uint32_t *spare; /* stack of frames to receive for which the fill ring had no place */
	uint32_t free_count, spare_count;
	uint32_t reserved; /* frames lent by tx_reserve */
	uint32_t sending;  /* frames submitted and not completed */
	uint32_t polls;    /* of rx: what is done only now and then */
	bool kick_pending; /* the kernel has not taken all that was submitted */
	bool left_sums;    /* peers may leave transport checksums to hardware there is none of */
	bool in_pieces;    /* frames that are too long for one of ours come in several */
	struct afxdp_split split;
	/* Set up and torn down only. */
	struct xsk_umem *kernel_umem;
	struct xsk_socket *socket;
	struct afxdp_program *program;
	size_t umem_bytes;
	bool umem_mapped; /* by us */
	char name[16];
	uint32_t queue;
};

extern const struct port_ops afxdp_ops;

/* Puts every frame where it belongs at start (afxdp.c). */
void afxdp_frames_init(struct afxdp_port *afxdp);
/* Undoes the opening of one queue (afxdp_open.c). */
void afxdp_close(struct port *port);

#endif
