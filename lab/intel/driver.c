// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux's half of device.h: a transport "lab" for 9P, and /dev/vport0p1… for the
 * agents, with what they use of a virtio-serial port: non-blocking reads and
 * writes, POLLHUP without a client, SIGIO when that changes.
 */
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <net/9p/9p.h>
#include <net/9p/client.h>
#include <net/9p/transport.h>

#include "device.h"

enum {
	PORTS = 16,
	CHUNK = 32768,
	P9_SIZE_MAX = 512 * 1024,
};

struct port {
	struct miscdevice misc;
	char name[16];
	struct mutex lock; /* of chunk */
	void *chunk;
	wait_queue_head_t wait;
	struct fasync_struct *fasync;
};

static struct port ports[PORTS];
static struct lab_state *fresh, state; /* state: as of the last tick or call */
static struct timer_list tick;
static struct lab_call *call;
static DEFINE_SPINLOCK(call_lock);
static struct p9_client *p9_user;

static int lab_call(enum lab_op op, u32 port, void *out, u32 out_size, void *in, u32 in_size)
{
	unsigned long flags;
	int result;

	spin_lock_irqsave(&call_lock, flags);
	*call = (struct lab_call){
		.op = op,
		.port = port,
		.out = out ? virt_to_phys(out) : 0,
		.out_size = out_size,
		.in = in ? virt_to_phys(in) : 0,
		.in_size = in_size,
	};
	outl(virt_to_phys(call), LAB_IO_PORT);
	result = READ_ONCE(call->result);
	spin_unlock_irqrestore(&call_lock, flags);
	return result;
}

/* --- Ports --- */

static struct port *port_of(struct file *file)
{
	return container_of(file->private_data, struct port, misc);
}

static void on_tick(struct timer_list *timer)
{
	struct lab_state was = state;

	if (lab_call(LAB_OP_STATE, 0, NULL, 0, fresh, sizeof(*fresh)) == sizeof(*fresh))
		state = *fresh;
	for (int i = 0; i < PORTS; i++) {
		u32 bit = BIT(i);

		if ((state.readable | state.writable | (was.connected ^ state.connected)) & bit)
			wake_up_interruptible(&ports[i].wait);
		if ((was.connected ^ state.connected) & bit)
			kill_fasync(&ports[i].fasync, SIGIO, POLL_OUT);
	}
	mod_timer(&tick, jiffies + 1);
}

static ssize_t port_io(struct file *file, char __user *to, const char __user *from, size_t len)
{
	struct port *p = port_of(file);
	u32 index = p - ports;
	int n;

	len = min_t(size_t, len, CHUNK);
	if (!(file->f_flags & O_NONBLOCK))
		return -EINVAL;
	mutex_lock(&p->lock);
	if (from && copy_from_user(p->chunk, from, len))
		n = -EFAULT;
	else if (from)
		n = lab_call(LAB_OP_WRITE, index, p->chunk, len, NULL, 0);
	else
		n = lab_call(LAB_OP_READ, index, NULL, 0, p->chunk, len);
	if (n == -1) {
		u32 *ready = from ? &state.writable : &state.readable;

		*ready &= ~BIT(index); /* until the next tick says otherwise */
		n = -EAGAIN;
	} else if (!n && from) {
		n = -EPIPE;
	} else if (n > 0 && to && copy_to_user(to, p->chunk, n)) {
		n = -EFAULT;
	}
	mutex_unlock(&p->lock);
	return n;
}

static ssize_t port_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	return port_io(file, to, NULL, len);
}

static ssize_t port_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	return port_io(file, NULL, from, len);
}

static __poll_t port_poll(struct file *file, poll_table *table)
{
	struct port *p = port_of(file);
	u32 bit = BIT(p - ports);
	__poll_t mask = 0;

	poll_wait(file, &p->wait, table);
	if (!(state.connected & bit))
		return EPOLLHUP;
	if (state.readable & bit)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (state.writable & bit)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

static int port_fasync(int fd, struct file *file, int on)
{
	return fasync_helper(fd, file, on, &port_of(file)->fasync);
}

static int port_release(struct inode *inode, struct file *file)
{
	return port_fasync(-1, file, 0);
}

static const struct file_operations port_fops = {
	.owner = THIS_MODULE,
	.read = port_read,
	.write = port_write,
	.poll = port_poll,
	.fasync = port_fasync,
	.release = port_release,
	.llseek = no_llseek,
};

/* --- 9P: one connection, the root's --- */

static int p9_create(struct p9_client *client, const char *name, char *args)
{
	if (p9_user)
		return -EBUSY;
	p9_user = client;
	client->trans = &p9_user;
	client->status = Connected;
	return 0;
}

static void p9_close(struct p9_client *client)
{
	client->status = Disconnected;
	p9_user = NULL;
}

static int p9_request(struct p9_client *client, struct p9_req_t *req)
{
	int n;

	WRITE_ONCE(req->status, REQ_STATUS_SENT);
	n = lab_call(LAB_OP_9P, 0, req->tc.sdata, req->tc.size, req->rc.sdata, req->rc.capacity);
	if (n < 7)
		return -EIO;
	req->rc.size = n;
	p9_client_cb(client, req, REQ_STATUS_RCVD);
	return 0;
}

static int p9_cancel(struct p9_client *client, struct p9_req_t *req)
{
	return 1; /* it is done already */
}

static struct p9_trans_module transport = {
	.name = "lab",
	.maxsize = P9_SIZE_MAX,
	.create = p9_create,
	.close = p9_close,
	.request = p9_request,
	.cancel = p9_cancel,
	.owner = THIS_MODULE,
};

static int __init lab_init(void)
{
	int err;

	if (inl(LAB_IO_PORT) != LAB_IO_PORT)
		return -ENODEV;
	call = kzalloc(sizeof(*call), GFP_KERNEL);
	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL);
	if (!call || !fresh)
		return -ENOMEM;
	for (int i = 0; i < PORTS; i++) {
		struct port *p = &ports[i];

		p->chunk = kmalloc(CHUNK, GFP_KERNEL);
		if (!p->chunk)
			return -ENOMEM;
		mutex_init(&p->lock);
		init_waitqueue_head(&p->wait);
		snprintf(p->name, sizeof(p->name), "vport0p%d", i + 1);
		p->misc.minor = MISC_DYNAMIC_MINOR;
		p->misc.name = p->name;
		p->misc.fops = &port_fops;
		err = misc_register(&p->misc);
		if (err)
			return err; /* PID 1 powers off */
	}
	v9fs_register_trans(&transport);
	timer_setup(&tick, on_tick, 0);
	mod_timer(&tick, jiffies + 1);
	return 0;
}
module_init(lab_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("vmbox's Intel lab: files and ports");
