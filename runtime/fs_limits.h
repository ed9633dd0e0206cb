/* SPDX-License-Identifier: GPL-2.0-only */
/* Every bound of the file server; those of fids and descriptors are a session's. */
#ifndef VMBOX_FS_LIMITS_H
#define VMBOX_FS_LIMITS_H

#define FS_MSIZE_MAX	(128U * 1024 + 24) /* largest message, either way */
#define FS_MSIZE_MIN	4096U
#define FS_WALK_MAX	16	     /* names in a Twalk, by the protocol */
#define FS_NAME_MAX	255	     /* bytes of a name */
#define FS_DEPTH_MAX	1024	     /* directories between an export and a file */
#define FS_FIDS_MAX	(256 * 1024) /* the guest's cache holds one for each file it saw */
#define FS_FID_BUCKETS	(16 * 1024)
#define FS_NODE_BUCKETS (16 * 1024)
#define FS_NODE_FDS_MAX 512   /* O_PATH descriptors kept; the oldest is closed and found again */
#define FS_OPEN_MAX	16384 /* files open at once, if RLIMIT_NOFILE lets us */
#define FS_OTHER_FDS	512   /* exports, streams */
#define FS_DEVICES_MAX	15    /* file systems whose inode numbers stay small */
#define FS_MEMORY_MAX	(256UL * 1024 * 1024)
#define FS_BLOCK	4096U	     /* a quota is used up in these */
#define FS_DENIALS_MAX	1024	     /* different denials that are recorded */
#define FS_DENIED_MAX	(1UL << 20)  /* bytes of what the report has of them */
#define FS_SAID_MAX	16	     /* of them, those that are said on stderr */
#define FS_AUDIT_MAX	(1UL << 30)  /* bytes of records; then nothing more is changed */
#define FS_LINE_MAX	(128 * 1024) /* a record: three paths, each byte of them escaped */

#define FS_USES_MAX    (16UL << 20) /* bytes of what learn is told */
#define FS_USE_BUCKETS (16 * 1024)
#define FS_NOTE_MAX    1024 /* bytes of a refusal that it is told of */

#endif
