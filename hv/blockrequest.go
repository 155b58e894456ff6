package hv

import (
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
)

// blockJob is a request that was taken.
type blockJob struct {
	ring   *blockRing
	req    hypercall.BlockRequest // the host's copy
	pieces [][]byte               // the buffer, in host memory
	frames []frame                // that are pinned
	file   hypercall.HostFileArgs // of StartInfo.FileRing: the host's copy
}

// writes says whether a job moves data from the guest.
func (j *blockJob) writes() bool {
	return j.req.Op == hypercall.BlockWrite || j.req.Op == hypercall.BlockHostFile && j.file.Op == hypercall.HostFileWrite
}

// syncs says whether a job makes what was written stay.
func (j *blockJob) syncs() bool {
	return j.req.Op == hypercall.BlockFlush || j.req.Op == hypercall.BlockHostFile && j.file.Op == hypercall.HostFileSync
}

// quick says whether a job is likely to be done without waiting.
func (j *blockJob) quick(now uint64) bool {
	switch j.req.Op {
	case hypercall.BlockRead:
		return true
	case hypercall.BlockWrite:
		return !j.ring.pace.slow(now)
	case hypercall.BlockHostFile:
		return j.quickFile(now)
	}
	return false
}

// limits are what requests to a disk are checked against.
type limits struct {
	size, sector                uint64
	readOnly, canDiscard, zeros bool
}

func limitsOf(b disk.Backend) limits {
	return limits{
		size: uint64(b.Size()), sector: uint64(b.SectorSize()),
		readOnly: b.ReadOnly(), canDiscard: b.CanDiscard(), zeros: b.CanZero(),
	}
}

// check looks at everything in a request but its segments.
func (l *limits) check(q *hypercall.BlockRequest) hypercall.Status {
	switch q.Op {
	case hypercall.BlockRead, hypercall.BlockWrite:
		if q.Count == 0 || q.Count > hypercall.MaxBlockSegments || q.Length > hypercall.MaxBlockBytes {
			return hypercall.EINVAL
		}
	case hypercall.BlockFlush:
		if q.Count != 0 || q.Offset != 0 || q.Length != 0 {
			return hypercall.EINVAL
		}
		return 0
	case hypercall.BlockDiscard, hypercall.BlockWriteZeroes:
		if q.Count != 0 {
			return hypercall.EINVAL
		}
	default:
		return hypercall.EINVAL
	}
	if q.Length == 0 || q.Length%l.sector != 0 || q.Offset%l.sector != 0 ||
		q.Offset > l.size || q.Length > l.size-q.Offset {
		return hypercall.EINVAL
	}
	return l.permits(q.Op)
}

func (l *limits) permits(op hypercall.BlockOp) hypercall.Status {
	switch {
	case op != hypercall.BlockRead && l.readOnly:
		return hypercall.EROFS
	case op == hypercall.BlockDiscard && !l.canDiscard, op == hypercall.BlockWriteZeroes && !l.zeros:
		return hypercall.EOPNOTSUPP
	}
	return 0
}

// prepare checks a request and pins the memory that it names, or none.
func (b *blocks) prepare(j *blockJob) hypercall.Status {
	if j.ring.back == nil {
		return b.prepareFile(j)
	}
	if s := j.ring.limits.check(&j.req); s != 0 {
		return s
	}
	if j.req.Op != hypercall.BlockRead && j.req.Op != hypercall.BlockWrite {
		return 0
	}
	segments, s := b.segments(j)
	if s == 0 {
		s = b.tables.pinAll(j, segments, j.req.Op == hypercall.BlockRead)
	}
	if s != 0 {
		b.tables.unpin(j)
	}
	return s
}

// segments is the host's copy of a request's segments, checked: their sum is the
// request's length.
func (b *blocks) segments(j *blockJob) ([]hypercall.BlockSegment, hypercall.Status) {
	q := &j.req
	var all []hypercall.BlockSegment
	if q.Count <= hypercall.BlockSegments {
		all = q.Segments[:q.Count]
	} else {
		all = make([]hypercall.BlockSegment, q.Count)
		if s := b.copySegments(all, q.Segments[0].Addr); s != 0 {
			return nil, s
		}
	}
	left := q.Length
	for _, s := range all {
		if s.Len == 0 || s.Len > left {
			return nil, hypercall.EINVAL
		}
		left -= s.Len
	}
	if left != 0 {
		return nil, hypercall.EINVAL
	}
	return all, 0
}

func (b *blocks) copySegments(to []hypercall.BlockSegment, from hypercall.GVA) hypercall.Status {
	memory := guestMemory{b.tables}
	for i := range to {
		at := uint64(from) + uint64(i)*segmentSize
		if at < uint64(from) {
			return hypercall.EFAULT
		}
		if s := memory.copyIn(bytesOf(&to[i]), at); s != 0 {
			return s
		}
	}
	return 0
}

const segmentSize = 16 // of a hypercall.BlockSegment
