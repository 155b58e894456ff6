// Package fs is the guest's file system and descriptor table: a POSIX tree in
// memory, pipes, event counters, the few devices and the /proc files that Go
// programs read. It knows nothing of the machine: what it needs from outside
// comes in through [Host], so that its tests run as ordinary Go tests.
//
// Methods of [FS] are system calls with Go arguments. They are called from any
// number of goroutines; a call that waits parks its goroutine and nothing
// else. Buffers may lie on the caller's stack and so are never kept or handed
// to another goroutine.
//
// Locks, outermost first: FS.tree (names), table.mu (descriptors), file.mu
// (one description's offset), inode.mu (attributes and data), pipe.mu and the
// other small ones.
package fs
