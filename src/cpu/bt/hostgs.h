/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's GS base, by which translated code finds its vCPU; nobody else in this process uses it. */
#ifndef DOPPEL_CPU_BT_HOSTGS_H
#define DOPPEL_CPU_BT_HOSTGS_H

void hostgs_set(const void *base); /* of the calling thread */

#endif
