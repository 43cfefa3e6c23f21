/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about networks: -netdev, -nic, -net, as specifications of our backends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"

#define DEFAULT_CARD "e1000"

static struct qemu_netdev *new_netdev(struct qemu *q, const char *what, const char *text, struct err *e)
{
	struct qemu_netdev *n = &q->netdev[q->n_netdevs];

	if (q->n_netdevs == QEMU_MAX_BACKENDS) {
		err_set(e, E2BIG, "%s: more than %d networks", what, QEMU_MAX_BACKENDS);
		return NULL;
	}
	q->n_netdevs++;
	memset(n, 0, sizeof(*n));
	return keyval_parse(&n->k, what, text, "type", e) ? NULL : n;
}

struct qemu_netdev *qemu_netdev_find(struct qemu *q, const char *id)
{
	for (unsigned i = 0; i < q->n_netdevs; i++)
		if (q->netdev[i].id && !strcmp(q->netdev[i].id, id))
			return &q->netdev[i];
	return NULL;
}

/* -- Types ----------------------------------------------------------------------------------------------------- */

/* "tcp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT" as publish=[PROTO:][HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT. */
static int add_forward(struct keyval *k, const char *rule, struct strbuf *out, struct err *e)
{
	char proto[8] = "tcp", host[64] = "", guest[64] = "";
	unsigned hport, gport;
	const char *p = rule, *colon;
	int n = 0;

	if (!strncmp(p, "udp:", 4) || !strncmp(p, "tcp:", 4)) {
		snprintf(proto, sizeof(proto), "%.3s", p);
		p += 4;
	} else {
		p += *p == ':';
	}
	colon = strchr(p, ':');
	if (colon && colon - p < (int)sizeof(host)) {
		snprintf(host, sizeof(host), "%.*s", (int)(colon - p), p);
		p = colon + 1;
	}
	if (sscanf(p, "%5u-%63[0-9.]:%5u%n", &hport, guest, &gport, &n) != 3) {
		n = 0;
		*guest = 0;
		if (sscanf(p, "%5u-:%5u%n", &hport, &gport, &n) != 2)
			n = 0;
	}
	if (!n || p[n])
		return err_set(e, EINVAL, "%s: hostfwd=%s: write it like tcp::2222-:22", k->what, rule);
	strbuf_addf(out, ",publish=%s:%s%s%u:%s%s%u", proto, *host ? host : "0.0.0.0", ":", hport, guest, *guest ? ":" : "", gport);
	return 0;
}

static int user_spec(struct keyval *k, struct strbuf *out, struct err *e)
{
	static const struct {
		const char *qemu, *ours;
	} same[] = { { "net", "net" }, { "dns", "dns" }, { "hostname", "hostname" }, { "domainname", "domain" }, { "restrict", "restrict" },
		     { "ipv6", "ipv6" } };
	int rc;

	strbuf_addf(out, "user");
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		const char *value = keyval_take(k, same[i].qemu);

		if (value)
			strbuf_addf(out, ",%s=%s", same[i].ours, value);
	}
	for (unsigned i = 0; i < k->n; i++) {
		if (strcmp(k->pair[i].name, "hostfwd") || !k->pair[i].value)
			continue;
		k->pair[i].used = true;
		rc = add_forward(k, k->pair[i].value, out, e);
		if (rc)
			return rc;
	}
	return keyval_only(k, "ipv4", true, "the network has IPv4", e);
}

static int tap_spec(struct keyval *k, struct strbuf *out, struct err *e)
{
	const char *name = keyval_take(k, "ifname"), *script = keyval_take(k, "script"), *down = keyval_take(k, "downscript");

	if (!name)
		return err_set(e, ENOTSUP, "%s %s: name an interface that is there: ifname=NAME", k->what, k->text);
	if (!script || strcmp(script, "no") || (down && strcmp(down, "no")))
		return err_set(e, ENOTSUP, "%s %s: scripts are not run: set the interface up before, and say script=no,downscript=no", k->what,
			       k->text);
	keyval_skip(k, "vnet_hdr");
	keyval_skip(k, "sndbuf");
	keyval_skip(k, "queues");
	strbuf_addf(out, "tap=%s", name);
	return keyval_only(k, "vhost", false, "frames go through this process", e);
}

/* -netdev socket,udp=HOST:PORT,localaddr=HOST:PORT: the only one whose frames our links speak. */
static int socket_spec(struct keyval *k, struct strbuf *out, struct err *e)
{
	const char *udp = keyval_take(k, "udp"), *local = keyval_take(k, "localaddr"), *port = local ? strrchr(local, ':') : NULL;

	if (!udp || !port)
		return err_set(e, ENOTSUP, "%s %s: listen=, connect=, mcast= and fd= are not built: use udp=HOST:PORT,localaddr=HOST:PORT, or stream",
			       k->what, k->text);
	strbuf_addf(out, "link=udp:%s:%s", port + 1, udp);
	return 0;
}

static int stream_spec(struct keyval *k, struct strbuf *out, struct err *e)
{
	const char *type = keyval_take(k, "addr.type"), *path = keyval_take(k, "addr.path");
	bool server = false;
	int rc = keyval_take_bool(k, "server", &server, e);

	if (rc)
		return rc;
	if (!type || strcmp(type, "unix") || !path)
		return err_set(e, ENOTSUP, "%s %s: give addr.type=unix,addr.path=PATH", k->what, k->text);
	strbuf_addf(out, "link=unix:%s%s", path, server ? ",listen" : "");
	return 0;
}

static int dgram_spec(struct keyval *k, struct strbuf *out, struct err *e)
{
	const char *lt = keyval_take(k, "local.type"), *lp = keyval_take(k, "local.port"), *rt = keyval_take(k, "remote.type");
	const char *rh = keyval_take(k, "remote.host"), *rp = keyval_take(k, "remote.port");

	keyval_skip(k, "local.host");
	if (!lt || strcmp(lt, "inet") || !rt || strcmp(rt, "inet") || !lp || !rh || !rp)
		return err_set(e, ENOTSUP, "%s %s: give local.type=inet,local.host=H,local.port=P,remote.type=inet,remote.host=H,remote.port=P", k->what,
			       k->text);
	strbuf_addf(out, "link=udp:%s:%s:%s", lp, rh, rp);
	return 0;
}

static const struct {
	const char *type, *help;
	int (*spec)(struct keyval *k, struct strbuf *out, struct err *e);
} types[] = {
	{ "user", "NAT through the host's sockets", user_spec },
	{ "tap", "an interface of the host", tap_spec },
	{ "socket", "frames in UDP", socket_spec },
	{ "stream", "frames through a Unix socket", stream_spec },
	{ "dgram", "frames in UDP", dgram_spec },
};

bool qemu_answer_netdev(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Available netdev backend types:\n");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		printf("%s\n", types[i].type);
	return true;
}

static int open_net(struct qemu_netdev *n, struct err *e)
{
	const char *type = keyval_take(&n->k, "type");
	struct strbuf spec = STRBUF_INIT;
	int rc = -ENOTSUP;

	if (!type)
		return err_set(e, EINVAL, "%s %s: which type? user", n->k.what, n->k.text);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i].type, type))
			continue;
		rc = types[i].spec(&n->k, &spec, e);
		goto found;
	}
	err_set(e, ENOTSUP, "%s: type '%s' is not built: use user, tap, socket, stream or dgram", n->k.what, type);
found:
	if (!rc)
		rc = keyval_done(&n->k, e);
	if (!rc)
		rc = net_open(&n->net, spec.buf, e);
	strbuf_release(&spec);
	return rc;
}

int qemu_add_netdev(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct qemu_netdev *n = new_netdev(q, "-netdev", arg, e);

	if (!n)
		return -EINVAL;
	n->id = keyval_take(&n->k, "id");
	if (!n->id)
		return err_set(e, EINVAL, "-netdev %s: give it a name: id=ID", arg);
	if (qemu_netdev_find(q, n->id) != n)
		return err_set(e, EEXIST, "-netdev %s: there is one of that name already", arg);
	q->no_network = true;
	return open_net(n, e);
}

/* -- Cards with their network ---------------------------------------------------------------------------------------- */

static const char *const cards[] = { "e1000", "pcnet", "virtio-net-pci" };

bool qemu_answer_nic(const char *arg)
{
	if (!strstr(arg, "model=help") && strcmp(arg, "help"))
		return false;
	printf("Available NIC models:\n");
	for (size_t i = 0; i < ARRAY_SIZE(cards); i++)
		printf("%s\n", cards[i]);
	return true;
}

static int plug_card(struct qemu *q, struct qemu_netdev *n, const char *model, const char *mac, const char *addr, struct err *e)
{
	char text[256];

	if (!n->id) {
		snprintf(n->own_id, sizeof(n->own_id), "net%u", (unsigned)(n - q->netdev));
		n->id = n->own_id;
	}
	model = !model ? DEFAULT_CARD : !strcmp(model, "virtio") ? "virtio-net-pci" : model;
	snprintf(text, sizeof(text), "%.64s,netdev=%.64s%s%.24s%s%.8s", model, n->id, mac ? ",mac=" : "", mac ? mac : "", addr ? ",addr=" : "",
		 addr ? addr : "");
	return qemu_plug(q, n->k.what, text, e);
}

int qemu_add_nic(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct qemu_netdev *n;
	const char *model, *mac, *addr;
	int rc;

	q->no_network = true;
	if (!strcmp(arg, "none"))
		return 0;
	n = new_netdev(q, "-nic", arg, e);
	if (!n)
		return -EINVAL;
	n->id = keyval_take(&n->k, "id");
	model = keyval_take(&n->k, "model");
	mac = keyval_take(&n->k, "mac");
	addr = keyval_take(&n->k, "addr");
	rc = open_net(n, e);
	return rc ? rc : plug_card(q, n, model, mac, addr, e);
}

/* The next -net of the other kind that has no partner yet: a hub with two ports. */
static int pair(struct qemu *q, const char *what, struct keyval *nic, struct qemu_netdev *n, struct err *e)
{
	const char *model = keyval_take(nic, "model"), *mac = keyval_take(nic, "macaddr"), *addr = keyval_take(nic, "addr");

	keyval_skip(nic, "type");
	keyval_skip(nic, "name");
	keyval_skip(nic, "vectors");
	n->k.what = what;
	n->user = NULL;
	if (keyval_done(nic, e))
		return -EINVAL;
	return plug_card(q, n, model, mac, addr, e);
}

static int add_net_nic(struct qemu *q, struct qemu_netdev *n, struct err *e)
{
	const char *id = keyval_take(&n->k, "netdev");
	struct qemu_netdev *x = NULL;

	if (id) {
		x = qemu_netdev_find(q, id);
		if (!x || x->user)
			return err_set(e, EINVAL, "-net %s: netdev=%s: there is no such -netdev that is free", n->k.text, id);
	}
	for (unsigned i = 0; !x && i < q->n_netdevs; i++)
		if (q->netdev[i].half == NET_HALF_NETWORK)
			x = &q->netdev[i];
	if (!x) {
		n->half = NET_HALF_CARD;
		return 0;
	}
	x->half = NET_HALF_NONE;
	return pair(q, "-net", &n->k, x, e);
}

int qemu_add_net(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct qemu_netdev *n;
	int rc;

	q->no_network = true;
	if (!strcmp(arg, "none"))
		return 0;
	n = new_netdev(q, "-net", arg, e);
	if (!n)
		return -EINVAL;
	if (!strcmp(keyval_peek(&n->k, "type") ? keyval_peek(&n->k, "type") : "", "nic"))
		return add_net_nic(q, n, e);
	keyval_skip(&n->k, "name");
	n->id = keyval_take(&n->k, "id");
	rc = open_net(n, e);
	if (rc)
		return rc;
	for (unsigned i = 0; i < q->n_netdevs; i++) {
		if (q->netdev[i].half != NET_HALF_CARD)
			continue;
		q->netdev[i].half = NET_HALF_NONE;
		return pair(q, "-net", &q->netdev[i].k, n, e);
	}
	n->half = NET_HALF_NETWORK;
	return 0;
}

/* A card without a network: one on which nobody is. */
static int plug_lone_card(struct qemu *q, struct qemu_netdev *card, struct err *e)
{
	int rc;

	card->half = NET_HALF_NONE;
	rc = net_open(&card->net, "none", e);
	return rc ? rc : pair(q, "-net", &card->k, card, e);
}

int qemu_default_net(struct qemu *q, struct err *e)
{
	for (unsigned i = 0; i < q->n_netdevs; i++) {
		if (q->netdev[i].half == NET_HALF_CARD) {
			int rc = plug_lone_card(q, &q->netdev[i], e);

			if (rc)
				return rc;
		}
	}
	if (q->no_network || q->nodefaults)
		return 0;
	return qemu_add_nic(q, NULL, "user", e);
}
