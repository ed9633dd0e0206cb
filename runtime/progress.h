/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What takes longer than a second is said in one line on stderr, if that is a terminal
 * and we are in its foreground; it is taken away again. For processes of one thread.
 */
#ifndef VMBOX_PROGRESS_H
#define VMBOX_PROGRESS_H

/* Looks at stderr, and makes the timer: before a cage. Without it nothing is ever shown. */
void progress_prepare(void);

/* From a second on "vmbox: WHAT" is shown until progress_end(). What was begun before has ended. */
void progress_begin(const char *what);

/* Nothing is shown any more; nothing is to be written to the terminal before. In any state. */
void progress_end(void);

#endif
