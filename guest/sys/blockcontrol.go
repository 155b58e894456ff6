package sys

import "github.com/pvrun/pvrun/guest/fs"

// Requests of ioctl that block devices answer. Linux's include/uapi/linux/fs.h.
const (
	blkroget      = 0x125e
	blkgetsize    = 0x1260
	blkflsbuf     = 0x1261
	blksszget     = 0x1268
	blkdiscard    = 0x1277
	blkiomin      = 0x1278
	blkioopt      = 0x1279
	blkpbszget    = 0x127b
	blkzeroout    = 0x127f
	blkbszget     = 0x80081270
	blkgetsize64  = 0x80081272
	blockIOPrefix = 0x12 // second byte of them all
)

// blockControl does the requests that only a disk answers; ENOTTY for others.
func blockControl(a *args) fs.Errno {
	if a.u32(1)>>8&0xff != blockIOPrefix {
		return fs.ENOTTY
	}
	switch a.u32(1) {
	case blkflsbuf:
		return files().BlockFlush(a.int(0))
	case blkdiscard, blkzeroout:
		return blockDiscard(a, a.u32(1) == blkzeroout)
	}
	facts, e := files().BlockFacts(a.int(0))
	if e != 0 {
		return e
	}
	switch a.u32(1) {
	case blkgetsize64:
		return store(a, 2, facts.Size)
	case blkgetsize:
		return store(a, 2, facts.Size/512)
	case blksszget, blkpbszget, blkiomin:
		return store(a, 2, int32(facts.Sector))
	case blkioopt:
		return store(a, 2, int32(0))
	case blkbszget:
		return store(a, 2, int32(4096))
	case blkroget:
		ro := int32(0)
		if facts.ReadOnly {
			ro = 1
		}
		return store(a, 2, ro)
	}
	return fs.ENOTTY
}

// blockDiscard takes offset and length from the program.
func blockDiscard(a *args, zeroes bool) fs.Errno {
	r, e := load[[2]uint64](a, 2)
	if e != 0 {
		return e
	}
	return files().BlockDiscard(a.int(0), r[0], r[1], zeroes)
}
