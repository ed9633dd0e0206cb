// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's half of the paravirtual channels: character devices
 * /dev/vmbox/{control,stdin,stdout,stderr,9p,9p-rw}, the kernel's console, and the
 * doorbells for power-off and panic. include/vmbox/pvio.h has the protocol.
 *
 * Owns the guest's counters and flags of every ring. Trusts the host, but
 * checks its counters, so that a host that is wrong is seen as -EIO.
 *
 * Theory of operation. A ring's own counter lives in struct ring and is only
 * published to the shared page. PVIO_WAITING is set by whoever finds that it
 * cannot go on (ring_ready()) and cleared only by the interrupt handler, and
 * only once it woke that queue: so a reader that gets data early cannot take
 * away the wake-up of one that polls. A flag left set costs one interrupt.
 *
 * Locks: ring.lock serialises copies and the own counter [l]. Writers keep it
 * while they wait for space, so that one write's bytes stay together. Flags
 * change atomically. The console's ring has no lock: the console lock, or
 * panic on the only CPU, makes its caller the only one.
 */
#define pr_fmt(fmt) "pvio: " fmt

#include <linux/atomic.h>
#include <linux/console.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/panic_notifier.h>
#include <linux/poll.h>
#include <linux/reboot.h>
#include <linux/sched/signal.h>
#include <linux/splice.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <asm/i8259.h>
#include <vmbox/pvio.h>

struct ring {
	u32 *own, *own_flags;	/* (c) ours in the shared header */
	u32 *peer, *peer_flags; /* (c) the host's */
	u8 *data;		/* (c) PVIO_RING_SIZE bytes */
	bool producer;		/* (c) we fill it */
	u32 pos;		/* [l] what *own says */
	struct mutex lock;
	wait_queue_head_t wait;
	atomic_t opens;
};

struct channel {
	struct miscdevice misc; /* first: misc_open() leaves it in private_data */
	struct ring *rx, *tx;	/* (c) NULL: this direction is not used */
	bool once;		/* (c) may be opened once per boot */
	unsigned long opened;
};

static void *region __ro_after_init;
static struct ring rings[PVIO_NR_CHANNELS][2];

static void doorbell(u32 value)
{
	outl(value, PVIO_PORT);
}

/* Tells the host that our counter or flags moved, if it waits for that. */
static void ring_kick(struct ring *r)
{
	smp_mb();
	if (READ_ONCE(*r->peer_flags) & PVIO_WAITING)
		doorbell(PVIO_DB_KICK);
}

static bool peer_closed(const struct ring *r)
{
	return smp_load_acquire(r->peer_flags) & PVIO_CLOSED;
}

/* Bytes that can be moved now, or -EIO for counters that make no sense. */
static int ring_avail(const struct ring *r)
{
	u32 peer = smp_load_acquire(r->peer);
	u32 pos = READ_ONCE(r->pos);
	u32 fill = r->producer ? pos - peer : peer - pos;

	if (fill > PVIO_RING_SIZE) {
		pr_err_once("the host's counters are broken\n");
		return -EIO;
	}
	return r->producer ? PVIO_RING_SIZE - fill : fill;
}

/* True if a caller need not sleep: data or space, end, or a broken ring. */
static bool ring_progress(const struct ring *r)
{
	return ring_avail(r) || peer_closed(r);
}

/* As ring_progress(), but arranges for a wake-up if it returns false, and asks for bytes. */
static bool ring_ready(struct ring *r)
{
	if (ring_progress(r))
		return true;
	set_mask_bits(r->own_flags, 0, PVIO_WAITING);
	smp_mb();
	if (READ_ONCE(*r->peer_flags) & PVIO_ON_DEMAND)
		doorbell(PVIO_DB_KICK);
	return ring_progress(r);
}

static void ring_advance(struct ring *r, u32 n)
{
	WRITE_ONCE(r->pos, r->pos + n);
	smp_store_release(r->own, r->pos);
}

/* The contiguous part of the ring at our position, at most max bytes. */
static u8 *ring_span(struct ring *r, size_t max, size_t *len)
{
	u32 off = r->pos & (PVIO_RING_SIZE - 1);

	*len = min_t(size_t, max, PVIO_RING_SIZE - off);
	return r->data + off;
}

static bool is_nowait(struct kiocb *iocb)
{
	return (iocb->ki_flags & IOCB_NOWAIT) || (iocb->ki_filp->f_flags & O_NONBLOCK);
}

/* Copies what is there. 0: nothing yet, or the user's memory ended (*fault). */
static ssize_t ring_take(struct ring *r, struct iov_iter *to, bool *fault)
{
	ssize_t done = 0;
	int avail = ring_avail(r);

	if (avail < 0)
		return avail;
	while (avail && iov_iter_count(to)) {
		size_t len, copied;
		u8 *p = ring_span(r, avail, &len);

		copied = copy_to_iter(p, len, to);
		*fault = !copied;
		if (!copied)
			break;
		ring_advance(r, copied);
		avail -= copied;
		done += copied;
	}
	return done;
}

static ssize_t pvio_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct channel *ch = iocb->ki_filp->private_data;
	struct ring *r = ch->rx;
	bool nowait = is_nowait(iocb), closed, ready, fault = false;
	ssize_t n;

	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		if (mutex_lock_interruptible(&r->lock))
			return -ERESTARTSYS;
		closed = peer_closed(r); /* before the counter: the end is final */
		n = ring_take(r, to, &fault);
		if (n > 0)
			ring_kick(r);
		mutex_unlock(&r->lock);
		if (fault && !n)
			return -EFAULT;
		/* A caller that never sleeps here has to be told of what comes next. */
		ready = nowait && ring_ready(r);
		if (n)
			return n;
		if (closed)
			return ch->once ? -ECONNRESET : 0;
		if (nowait && !ready)
			return -EAGAIN;
		if (wait_event_interruptible(r->wait, ring_ready(r)))
			return -ERESTARTSYS;
	}
}

/* Fills the ring as far as it goes; one byte or more, or why not. */
static ssize_t ring_put(struct ring *r, struct iov_iter *from)
{
	size_t len, copied;
	int space = ring_avail(r);
	u8 *p;

	if (peer_closed(r))
		return -EPIPE;
	if (space <= 0)
		return space ?: -EAGAIN;
	p = ring_span(r, space, &len);
	copied = copy_from_iter(p, len, from);
	ring_advance(r, copied);
	return copied ?: -EFAULT;
}

static ssize_t pvio_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct channel *ch = iocb->ki_filp->private_data;
	struct ring *r = ch->tx;
	bool nowait = is_nowait(iocb);
	ssize_t done = 0, n = 0;

	if (nowait && !mutex_trylock(&r->lock))
		return -EAGAIN;
	if (!nowait && mutex_lock_interruptible(&r->lock))
		return -ERESTARTSYS;
	while (iov_iter_count(from)) {
		n = ring_put(r, from);
		if (n > 0) {
			done += n;
			continue;
		}
		if (n != -EAGAIN)
			break;
		ring_kick(r);
		if (nowait) {
			if (!ring_ready(r))
				break;
		} else if (wait_event_interruptible(r->wait, ring_ready(r))) {
			n = -ERESTARTSYS;
			break;
		}
	}
	if (done)
		ring_kick(r);
	mutex_unlock(&r->lock);
	if (n == -EPIPE)
		send_sig(SIGPIPE, current, 0);
	return done ?: n;
}

static __poll_t pvio_poll(struct file *file, poll_table *pt)
{
	struct channel *ch = file->private_data;
	__poll_t mask = 0;

	if (ch->rx) {
		poll_wait(file, &ch->rx->wait, pt);
		if (ring_ready(ch->rx))
			mask |= EPOLLIN | EPOLLRDNORM;
		if (peer_closed(ch->rx))
			mask |= EPOLLHUP | EPOLLRDHUP;
	}
	if (ch->tx) {
		poll_wait(file, &ch->tx->wait, pt);
		if (ring_ready(ch->tx))
			mask |= EPOLLOUT | EPOLLWRNORM;
		if (peer_closed(ch->tx))
			mask |= EPOLLERR;
	}
	return mask;
}

static bool is_closed(const struct ring *r)
{
	return r && (READ_ONCE(*r->own_flags) & PVIO_CLOSED);
}

static void ring_close(struct ring *r)
{
	if (r && atomic_dec_and_test(&r->opens)) {
		set_mask_bits(r->own_flags, 0, PVIO_CLOSED);
		ring_kick(r);
	}
}

static int pvio_open(struct inode *inode, struct file *file)
{
	struct channel *ch = file->private_data;

	if (ch->once && test_and_set_bit(0, &ch->opened))
		return -EBUSY;
	if (is_closed(ch->rx) || is_closed(ch->tx))
		return -ENXIO;
	if (ch->rx)
		atomic_inc(&ch->rx->opens);
	if (ch->tx)
		atomic_inc(&ch->tx->opens);
	return stream_open(inode, file);
}

static int pvio_release(struct inode *inode, struct file *file)
{
	struct channel *ch = file->private_data;

	ring_close(ch->rx);
	ring_close(ch->tx);
	return 0;
}

static const struct file_operations both_fops = {
	.owner = THIS_MODULE,
	.open = pvio_open,
	.release = pvio_release,
	.read_iter = pvio_read_iter,
	.write_iter = pvio_write_iter,
	.poll = pvio_poll,
	.llseek = no_llseek,
};

static const struct file_operations in_fops = {
	.owner = THIS_MODULE,
	.open = pvio_open,
	.release = pvio_release,
	.read_iter = pvio_read_iter,
	.splice_read = generic_file_splice_read,
	.poll = pvio_poll,
	.llseek = no_llseek,
};

static const struct file_operations out_fops = {
	.owner = THIS_MODULE,
	.open = pvio_open,
	.release = pvio_release,
	.write_iter = pvio_write_iter,
	.splice_write = iter_file_splice_write,
	.poll = pvio_poll,
	.llseek = no_llseek,
};

#define RX(ch) .rx = &rings[ch][PVIO_TO_GUEST]
#define TX(ch) .tx = &rings[ch][PVIO_TO_HOST]
#define MISC(node, ops)                        \
	.misc = { .minor = MISC_DYNAMIC_MINOR, \
		  .name = "vmbox_" node,       \
		  .nodename = "vmbox/" node,   \
		  .fops = &(ops),              \
		  .mode = 0600 }

static struct channel channels[] = {
	{ MISC("control", both_fops), RX(PVIO_CH_CONTROL), TX(PVIO_CH_CONTROL), .once = true },
	{ MISC("stdin", in_fops), RX(PVIO_CH_STDIN) },
	{ MISC("stdout", out_fops), TX(PVIO_CH_STDOUT) },
	{ MISC("stderr", out_fops), TX(PVIO_CH_STDERR) },
	{ MISC("9p", both_fops), RX(PVIO_CH_9P), TX(PVIO_CH_9P), .once = true },
	{ MISC("9p-rw", both_fops), RX(PVIO_CH_9P_RW), TX(PVIO_CH_9P_RW), .once = true },
};

/* Wakes those who wait on a ring that moved. The only place that clears WAITING. */
static void ring_interrupt(struct ring *r)
{
	if (!r || !(READ_ONCE(*r->own_flags) & PVIO_WAITING) || !ring_progress(r))
		return;
	set_mask_bits(r->own_flags, PVIO_WAITING, 0);
	smp_mb();
	wake_up_interruptible(&r->wait);
}

static irqreturn_t pvio_interrupt(int irq, void *arg)
{
	struct channel *ch;

	for (ch = channels; ch < channels + ARRAY_SIZE(channels); ch++) {
		ring_interrupt(ch->rx);
		ring_interrupt(ch->tx);
	}
	return IRQ_HANDLED;
}

/* Console: any context, never waits; what does not fit is counted and said. */
static bool console_put(struct ring *r, const char *s, size_t n)
{
	if (ring_avail(r) < (int)n)
		return false;
	while (n) {
		size_t len;
		u8 *p = ring_span(r, n, &len);

		memcpy(p, s, len);
		ring_advance(r, len);
		s += len;
		n -= len;
	}
	ring_kick(r);
	return true;
}

static void console_write(struct console *con, const char *s, unsigned int n)
{
	static unsigned int dropped;
	struct ring *r = &rings[PVIO_CH_CONSOLE][PVIO_TO_HOST];
	char note[48];

	if (dropped) {
		int len = scnprintf(note, sizeof(note), "pvio: %u bytes lost\n", dropped);

		if (console_put(r, note, len))
			dropped = 0;
	}
	if (dropped || !console_put(r, s, n))
		dropped += n;
}

static struct console pvio_console = {
	.name = "pvio",
	.write = console_write,
	.flags = CON_PRINTBUFFER,
	.index = -1,
};

static int pvio_panic(struct notifier_block *nb, unsigned long event, void *msg)
{
	console_flush_on_panic(CONSOLE_FLUSH_PENDING);
	doorbell(PVIO_DB_PANIC);
	return NOTIFY_DONE;
}

static struct notifier_block panic_block = { .notifier_call = pvio_panic };

static int pvio_power_off(struct sys_off_data *data)
{
	doorbell(PVIO_DB_POWEROFF);
	return NOTIFY_DONE;
}

static void __init ring_init(struct ring *r, struct pvio_ring *shared, u8 *data, bool producer)
{
	r->producer = producer;
	r->data = data;
	r->own = producer ? &shared->prod : &shared->cons;
	r->own_flags = producer ? &shared->prod_flags : &shared->cons_flags;
	r->peer = producer ? &shared->cons : &shared->prod;
	r->peer_flags = producer ? &shared->cons_flags : &shared->prod_flags;
	mutex_init(&r->lock);
	init_waitqueue_head(&r->wait);
}

/* As early as consoles come up, so that an early panic is seen. */
static int __init pvio_console_init(void)
{
	struct pvio_header *h;
	int ch, dir;

	region = memremap(PVIO_GPA, PVIO_REGION_SIZE, MEMREMAP_WB);
	h = region;
	if (!h || h->magic != PVIO_MAGIC || h->version != PVIO_VERSION)
		panic("pvio: no channels of version %d at %llx", PVIO_VERSION, PVIO_GPA);
	for (ch = 0; ch < PVIO_NR_CHANNELS; ch++)
		for (dir = 0; dir < 2; dir++)
			ring_init(&rings[ch][dir], &h->ring[ch][dir],
				  region + PVIO_RING_OFFSET(ch, dir), dir == PVIO_TO_HOST);
	register_console(&pvio_console);
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	return 0;
}
console_initcall(pvio_console_init);

static void timer_ack(struct irq_data *data)
{
	outb(0x60 + data->irq, PIC_MASTER_CMD); /* specific EOI */
}

/*
 * Each access to the 8259 is an exit, and the usual handling makes four for one
 * interrupt. The channels' line needs none, not even an EOI; the timer's, which
 * is an edge too, needs only that.
 */
static void __init simplify_interrupts(void)
{
	static struct irq_chip timer_chip;
	unsigned long flags;

	timer_chip = i8259A_chip;
	timer_chip.irq_mask_ack = NULL;
	timer_chip.irq_ack = timer_ack;
	local_irq_save(flags);
	irq_set_chip_and_handler(0, &timer_chip, handle_edge_irq);
	irq_set_handler(PVIO_IRQ, handle_simple_irq);
	local_irq_restore(flags);
}

static int __init pvio_init(void)
{
	int i, err;

	simplify_interrupts();
	err = request_irq(PVIO_IRQ, pvio_interrupt, 0, "pvio", channels);
	for (i = 0; !err && i < ARRAY_SIZE(channels); i++)
		err = misc_register(&channels[i].misc);
	if (!err)
		err = PTR_ERR_OR_ZERO(register_sys_off_handler(
			SYS_OFF_MODE_POWER_OFF, SYS_OFF_PRIO_FIRMWARE, pvio_power_off, NULL));
	if (err)
		panic("pvio: cannot set up the channels: error %d", err);
	return 0;
}
device_initcall(pvio_init);
