/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network cards that can be plugged in by name, but for virtio's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/net/net.h"
#include "dev/net/e1000.h"
#include "dev/net/pcnet.h"
#include "machine/bootorder.h"
#include "machine/devices.h"
#include "machine/devices_net.h"

int device_mac(struct pc *pc, const struct device_config *cfg, uint8_t mac[6], struct err *e)
{
	static const uint8_t first[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	const char *text = device_prop_string(cfg, "mac");
	unsigned byte[6], n = 0;

	if (!text) {
		memcpy(mac, first, 6);
		mac[5] = (uint8_t)(mac[5] + pc->chips->n_nics++);
		return 0;
	}
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5], &n) != 6 ||
	    text[n] || (byte[0] & 1))
		return err_set(e, EINVAL, "device '%s': mac=%s: give the address of one card, as 52:54:00:12:34:56", cfg->driver,
			       text);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)byte[i];
	return 0;
}

static const struct device_prop_spec props[] = { DEVICE_MAC_PROP, DEVICE_BOOT_PROP, { 0 } };

static int plug_e1000(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct e1000_config c = { .bus = pc->chips->pci, .mem = pc->mem, .net = cfg->net };
	int rc = device_mac(pc, cfg, c.mac, e);

	if (!rc)
		rc = device_pci_devfn(pc, cfg, &c.devfn, e);
	if (!rc)
		board_add(pc, e1000_new(&c));
	return rc ? rc : board_boot_pci(pc, cfg, c.devfn, "ethernet", "/ethernet-phy@0", e);
}

static int plug_pcnet(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct pcnet_config c = { .bus = pc->chips->pci, .mem = pc->mem, .net = cfg->net };
	int rc = device_mac(pc, cfg, c.mac, e);

	if (!rc)
		rc = device_pci_devfn(pc, cfg, &c.devfn, e);
	if (!rc)
		board_add(pc, pcnet_new(&c));
	return rc ? rc : board_boot_pci(pc, cfg, c.devfn, "ethernet", "/ethernet-phy@0", e);
}

int pc_set_link(struct pc *pc, const char *name, bool up, struct err *e)
{
	char number[16];
	unsigned n = 0;

	for (unsigned i = 0; i < pc->cfg.n_devices; i++) {
		const struct device_config *d = &pc->cfg.devices[i];

		if (!d->net)
			continue;
		snprintf(number, sizeof(number), "net%u", n++);
		if (strcmp(name, number) && (!d->id || strcmp(name, d->id)))
			continue;
		net_plug(d->net, up);
		return 0;
	}
	return err_set(e, ENODEV, "link '%s': no card of that name; there %s %u, net0 being the first", name, n == 1 ? "is" : "are", n);
}

const struct device_driver net_drivers[] = {
	{ "pcnet", "AMD PCnet-PCI II (Am79C970A) network card", DEVICE_BUS_PCI, DEVICE_NEEDS_NET, props, plug_pcnet },
	{ "e1000", "Intel 82540EM network card", DEVICE_BUS_PCI, DEVICE_NEEDS_NET, props, plug_e1000 },
	{ 0 },
};
