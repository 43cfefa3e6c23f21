/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals that end the program in order, while a virtual machine runs. */
#include <string.h>
#include <unistd.h>
#include "backend/chr/tty.h"
#include "base/bits.h"
#include "cli/command.h"
#include "cli/stopper.h"

/* What every thread must take itself, or nobody can. */
static const int own_faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
static const int ending[] = { SIGINT, SIGTERM, SIGHUP };

void stopper_block(struct stopper *s)
{
	sigset_t all;

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	/* vCPU threads may stand at a guest's stack pointer: no handler but their own may run there. */
	sigfillset(&all);
	for (unsigned i = 0; i < ARRAY_SIZE(own_faults); i++)
		sigdelset(&all, own_faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &s->old);

	sigemptyset(&s->set);
	for (unsigned i = 0; i < ARRAY_SIZE(ending); i++) {
		struct sigaction a;

		if (!sigaction(ending[i], NULL, &a) && a.sa_handler != SIG_IGN)
			sigaddset(&s->set, ending[i]);
	}
}

static void stop(struct stopper *s, int sig)
{
	bool now;

	pthread_mutex_lock(&s->lock);
	now = s->impatient;
	if (!now)
		vm_stop(s->vm, (uint32_t)sig);
	s->impatient = true;
	pthread_mutex_unlock(&s->lock);
	if (!now)
		return;
	tty_restore();
	_exit(sig ? STATUS_SIGNAL + sig : STATUS_OK);
}

static void *stopper_thread(void *arg)
{
	struct stopper *s = arg;
	sigset_t mask;
	int sig;

	/* Handlers of other signals, such as the terminal's SIGTSTP and SIGCONT, run on this thread. */
	sigorset(&mask, &s->old, &s->set);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	while (!sigwait(&s->set, &sig) && !atomic_load(&s->done))
		stop(s, sig);
	return NULL;
}

int stopper_start(struct stopper *s, struct vm *vm, struct err *e)
{
	int rc;

	s->vm = vm;
	sigaddset(&s->set, SIGUSR2); /* how stopper_end() wakes the thread */
	rc = pthread_create(&s->thread, NULL, stopper_thread, s);
	if (rc)
		return err_set(e, rc, "cannot make a thread: %s", strerror(rc));
	s->started = true;
	return 0;
}

void stopper_leave(void *opaque)
{
	stop(opaque, 0);
}

bool stopper_stopped(struct stopper *s)
{
	bool stopped;

	pthread_mutex_lock(&s->lock);
	stopped = s->impatient;
	pthread_mutex_unlock(&s->lock);
	return stopped;
}

void stopper_impatient(struct stopper *s)
{
	pthread_mutex_lock(&s->lock);
	s->impatient = true;
	pthread_mutex_unlock(&s->lock);
}

void stopper_end(struct stopper *s)
{
	if (s->started) {
		atomic_store(&s->done, true);
		pthread_kill(s->thread, SIGUSR2);
		pthread_join(s->thread, NULL);
		s->started = false;
	}
	pthread_mutex_destroy(&s->lock);
	pthread_sigmask(SIG_SETMASK, &s->old, NULL);
}
