package fs

// Types and permission bits of a mode. Linux's include/uapi/linux/stat.h.
const (
	S_IFMT   = 0o170000
	S_IFSOCK = 0o140000
	S_IFLNK  = 0o120000
	S_IFREG  = 0o100000
	S_IFBLK  = 0o060000
	S_IFDIR  = 0o040000
	S_IFCHR  = 0o020000
	S_IFIFO  = 0o010000
	S_ISUID  = 0o4000
	S_ISGID  = 0o2000
	S_IXGRP  = 0o010

	permBits = 0o7777
)

// Flags of open. Linux's include/uapi/asm-generic/fcntl.h.
const (
	O_RDONLY    = 0
	O_WRONLY    = 1
	O_RDWR      = 2
	O_ACCMODE   = 3
	O_CREAT     = 0x40
	O_EXCL      = 0x80
	O_TRUNC     = 0x200
	O_APPEND    = 0x400
	O_NONBLOCK  = 0x800
	O_DSYNC     = 0x1000
	O_DIRECT    = 0x4000
	O_LARGEFILE = 0x8000
	O_DIRECTORY = 0x10000
	O_NOFOLLOW  = 0x20000
	O_NOATIME   = 0x40000
	O_CLOEXEC   = 0x80000
	O_PATH      = 0x200000
	O_SYNC      = 0x100000 | O_DSYNC
	O_TMPFILE   = 0x400000 | O_DIRECTORY

	oTmpfileBit = 0x400000
	oSyncBit    = 0x100000
	// settable is what F_SETFL may change.
	settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME
	// oKept is what F_GETFL shows of the flags of open.
	oKept = O_ACCMODE | settable | O_SYNC | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_PATH | oTmpfileBit
)

// Flags of the *at calls. Linux's include/uapi/linux/fcntl.h.
const (
	AT_FDCWD            = -100
	AT_SYMLINK_NOFOLLOW = 0x100
	AT_REMOVEDIR        = 0x200
	AT_EACCESS          = 0x200
	AT_SYMLINK_FOLLOW   = 0x400
	AT_NO_AUTOMOUNT     = 0x800
	AT_EMPTY_PATH       = 0x1000
	atStatxSync         = 0x6000
)

// Flags of renameat2. Linux's include/uapi/linux/fs.h.
const (
	RENAME_NOREPLACE = 1
	RENAME_EXCHANGE  = 2
)

// Restrictions of openat2. Linux's include/uapi/linux/openat2.h.
const (
	RESOLVE_NO_XDEV       = 0x01
	RESOLVE_NO_MAGICLINKS = 0x02
	RESOLVE_NO_SYMLINKS   = 0x04
	RESOLVE_BENEATH       = 0x08
	RESOLVE_IN_ROOT       = 0x10
	RESOLVE_CACHED        = 0x20

	resolveKnown = 0x3f
)

// Commands of fcntl. Linux's include/uapi/asm-generic/fcntl.h, linux/fcntl.h.
const (
	F_DUPFD         = 0
	F_GETFD         = 1
	F_SETFD         = 2
	F_GETFL         = 3
	F_SETFL         = 4
	F_GETLK         = 5
	F_SETLK         = 6
	F_SETLKW        = 7
	F_SETOWN        = 8
	F_GETOWN        = 9
	F_OFD_GETLK     = 36
	F_OFD_SETLK     = 37
	F_OFD_SETLKW    = 38
	F_DUPFD_CLOEXEC = 1030
	F_SETPIPE_SZ    = 1031
	F_GETPIPE_SZ    = 1032
	F_ADD_SEALS     = 1033
	F_GET_SEALS     = 1034

	FD_CLOEXEC = 1

	F_RDLCK = 0
	F_WRLCK = 1
	F_UNLCK = 2
)

// Operations of flock.
const (
	LOCK_SH = 1
	LOCK_EX = 2
	LOCK_NB = 4
	LOCK_UN = 8
)

// Origins of lseek.
const (
	SEEK_SET  = 0
	SEEK_CUR  = 1
	SEEK_END  = 2
	SEEK_DATA = 3
	SEEK_HOLE = 4
)

// Modes of fallocate. Linux's include/uapi/linux/falloc.h.
const (
	FALLOC_FL_KEEP_SIZE  = 1
	FALLOC_FL_PUNCH_HOLE = 2
	FALLOC_FL_ZERO_RANGE = 0x10
)

// Readiness. Linux's include/uapi/linux/eventpoll.h.
const (
	EPOLLIN    = 0x1
	EPOLLPRI   = 0x2
	EPOLLOUT   = 0x4
	EPOLLERR   = 0x8
	EPOLLHUP   = 0x10
	EPOLLNVAL  = 0x20
	EPOLLRDHUP = 0x2000

	EPOLLONESHOT = 1 << 30
	EPOLLET      = 1 << 31

	EPOLL_CTL_ADD = 1
	EPOLL_CTL_DEL = 2
	EPOLL_CTL_MOD = 3
)

// Flags of eventfd2 and memfd_create.
const (
	EFD_SEMAPHORE = 1
	MFD_CLOEXEC   = 1
)

// Limits. Linux's include/uapi/linux/limits.h; the file size is ext4's.
const (
	PATH_MAX = 4096 // bytes of a path, its NUL included
	NAME_MAX = 255  // bytes of one component
	PIPE_BUF = 4096 // bytes that a pipe takes whole
	MaxFDs   = 65536
	MaxFile  = 1 << 44 // bytes of one file

	maxLinks    = 65000
	maxSymlinks = 40
	maxRW       = 0x7ffff000 // bytes of one read or write, as in Linux
)

// Values of utimensat's tv_nsec. Linux's include/linux/stat.h.
const (
	UTIME_NOW  = 1<<30 - 1
	UTIME_OMIT = 1<<30 - 2
)
