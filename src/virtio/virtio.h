/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio device (Virtual I/O Device specification 1.2) without its transport: status, features, queues, life. */
#ifndef DOPPEL_VIRTIO_VIRTIO_H
#define DOPPEL_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/clock.h"
#include "bus/device.h"
#include "virtio/sg.h"
#include "virtio/queue.h"

#define VIRTIO_MAX_QUEUES  64
#define VIRTIO_CONFIG_SIZE 256 /* bytes of device configuration at most */

/* Device types, chapter 5 */
enum virtio_id {
	VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4, VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_VSOCK = 19, VIRTIO_ID_FS = 26,
};

/* Device status, 2.1 */
enum {
	VIRTIO_S_ACKNOWLEDGE = 1, VIRTIO_S_DRIVER = 2, VIRTIO_S_DRIVER_OK = 4, VIRTIO_S_FEATURES_OK = 8,
	VIRTIO_S_NEEDS_RESET = 64, VIRTIO_S_FAILED = 128,
};

/* Features of any device, chapter 6 */
#define VIRTIO_F_INDIRECT    BIT(28)
#define VIRTIO_F_EVENT_IDX   BIT(29)
#define VIRTIO_F_VERSION_1   BIT(32)
#define VIRTIO_F_PACKED      BIT(34)

/* What the rings can do; packed only if it was asked for. */
#define VIRTIO_F_RINGS       (VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)

/* What a device of some type does. Slots may be NULL. */
struct virtio_ops {
	/*
	 * Handle what is in the queue, with its lock held (which it may drop and take again): at most about a ring's worth,
	 * so that no guest keeps a thread for itself. True: there may be more.
	 */
	bool (*process)(struct virtio_device *vd, struct virtqueue *vq);
	/* Build the configuration space, and take a write to it; the device's lock is held. */
	void (*config_read)(struct virtio_device *vd, uint8_t *buf);
	void (*config_write)(struct virtio_device *vd, unsigned off, unsigned size, uint64_t val);
	/* The driver has become ready (DRIVER_OK), or the machine goes on: no lock held but, perhaps, the device's. */
	void (*ready)(struct virtio_device *vd);
	/* The guest has reset the device, whose queues stand: give up chains and state. The device's lock is held. */
	void (*reset)(struct virtio_device *vd);
	/* The machine stops: return when nothing moves any more and all chains that can be are given back. No lock. */
	void (*drain)(struct virtio_device *vd);
	/* After the common state was restored. */
	int (*post_load)(struct virtio_device *vd);
	void (*free)(struct virtio_device *vd);
	uint64_t threaded; /* queues, a bit each, that the device's thread handles because it may take long */
};

/* How interrupts reach the guest; any thread, under the device's and a queue's lock. */
struct virtio_transport {
	void (*queue_interrupt)(void *opaque, unsigned queue);
	void (*config_interrupt)(void *opaque);
	void *opaque;
};

/* First member of every device. */
struct virtio_device {
	struct device dev;
	const struct virtio_ops *ops;
	enum virtio_id id;
	struct space *mem;
	struct virtio_transport transport;
	uint64_t host_features;      /* offered; constant once the machine runs */
	unsigned n_queues, config_size;
	uint16_t queue_size;         /* largest that the driver may choose */
	struct virtqueue *vq;

	struct lock lock;            /* RANK_VIRTIO: registers, what follows, and the type's configuration */
	uint64_t guest_features;     /* accepted by the driver; constant from FEATURES_OK on */
	_Atomic uint8_t status;
	_Atomic bool broken;         /* a ring was bad: NEEDS_RESET */
	_Atomic bool quiesced;
	_Atomic unsigned in_flight;  /* chains that the device has, of former generations too */
	uint8_t reset_pending;       /* the status that shows until in_flight is 0 */
	_Atomic uint8_t config_gen;
	struct lock config_lock;     /* RANK_VIRTIO_CONFIG: config_pending, and the interrupt: none comes while quiesced */
	bool config_pending;         /* the configuration changed meanwhile */
	/* Registers of the queues; the ring positions are up to date while the device is quiesced. */
	uint16_t q_size[VIRTIO_MAX_QUEUES], q_avail_idx[VIRTIO_MAX_QUEUES], q_used_idx[VIRTIO_MAX_QUEUES];
	uint8_t q_enabled[VIRTIO_MAX_QUEUES], q_wraps[VIRTIO_MAX_QUEUES];
	uint64_t q_desc[VIRTIO_MAX_QUEUES], q_driver[VIRTIO_MAX_QUEUES], q_device[VIRTIO_MAX_QUEUES];

	pthread_t thread;            /* worker.c's */
	struct lock work_lock;       /* RANK_LEAF: what follows */
	pthread_cond_t work_cond, idle_cond;
	uint64_t work;               /* queues to be looked at, a bit each */
	bool thread_started, thread_ends, thread_busy, thread_held;
};

/* What a saved device has in common: the first lines of its table; s is its struct with the member vd. */
#define VIRTIO_STATE(s)                                                                           \
	STATE_U64(s, vd.guest_features), STATE_U8(s, vd.status), STATE_BOOL(s, vd.broken),        \
	STATE_ARRAY(s, vd.q_size), STATE_ARRAY(s, vd.q_avail_idx), STATE_ARRAY(s, vd.q_used_idx), \
	STATE_ARRAY(s, vd.q_enabled), STATE_ARRAY(s, vd.q_wraps), STATE_ARRAY(s, vd.q_desc),      \
	STATE_ARRAY(s, vd.q_driver), STATE_ARRAY(s, vd.q_device)

struct virtio_params {
	enum virtio_id id;
	const struct device_ops *dev_ops; /* with virtio_dev_...() below */
	const struct virtio_ops *ops;
	struct space *mem;       /* where the rings and buffers are */
	uint64_t features;       /* besides VIRTIO_F_RINGS */
	unsigned n_queues;       /* 1 to VIRTIO_MAX_QUEUES */
	uint16_t queue_size;     /* 0: 256 */
	unsigned config_size;
};

/* For constructors: vd is zero. Queues, locks; the thread is started when it is first needed. */
void virtio_init(struct virtio_device *vd, const struct virtio_params *p);

/* Slots of the type's struct device_ops. free() calls ops->free for what the type has, then frees vd itself. */
void virtio_dev_reset(struct device *d);
int virtio_dev_post_load(struct device *d);
void virtio_dev_quiesce(struct device *d, bool on);
void virtio_dev_free(struct device *d);
void virtio_dev_print_stats(const struct device *d, struct strbuf *out);

/* -- For transports: with vd->lock held ------------------------------------------------------------ */

uint8_t virtio_status(struct virtio_device *vd);
void virtio_set_status(struct virtio_device *vd, uint8_t val); /* 0: reset; done when the status reads 0 */
void virtio_set_features(struct virtio_device *vd, unsigned word, uint32_t val); /* word 0 or 1 */
void virtio_queue_enable(struct virtio_device *vd, unsigned q);
void virtio_queue_disable(struct virtio_device *vd, unsigned q);
uint64_t virtio_config_read(struct virtio_device *vd, unsigned off, unsigned size);
void virtio_config_write(struct virtio_device *vd, unsigned off, unsigned size, uint64_t val);

/* The driver has kicked; no lock held. Numbers of queues that are not there are ignored. */
void virtio_kick(struct virtio_device *vd, unsigned q);

/* -- For device types -------------------------------------------------------------------------------- */

static inline bool virtio_has(const struct virtio_device *vd, uint64_t feature)
{
	return vd->guest_features & feature;
}

/* Whether the rings may be used: the driver is ready, nothing is broken, the machine runs. */
bool virtio_live(struct virtio_device *vd);

/* The guest's rings or requests make no sense: NEEDS_RESET and a rate-limited message. Any lock. */
void virtio_break(struct virtio_device *vd, const char *why);

/* The configuration space has changed; any lock below RANK_VIRTIO_CONFIG. */
void virtio_config_changed(struct virtio_device *vd);

/* Let the device's thread look at a queue; any lock below RANK_LEAF. */
void virtio_wake(struct virtio_device *vd, unsigned q);

/* worker.c: the device's thread. */
void virtio_worker_init(struct virtio_device *vd);
void virtio_worker_hold(struct virtio_device *vd, bool hold); /* true: returns when it does nothing */
void virtio_worker_release(struct virtio_device *vd);
void virtio_process(struct virtio_device *vd, unsigned q);    /* what virtio_kick() does after its checks */

#endif
