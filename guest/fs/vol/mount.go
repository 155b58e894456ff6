package vol

import (
	"errors"
	"sync"

	"github.com/pvrun/pvrun/guest/fs"
)

// Options say how a volume is mounted; each may be left out.
type Options struct {
	ReadOnly bool
	// Now is the wall clock, ns since 1970.
	Now func() int64
	// Dirty and Cache are how many bytes wait in memory to be written, and are kept
	// there after being read.
	Dirty, Cache int
	// Changed is called when the first change since a commit is made, and does not
	// call back.
	Changed func()
}

const defaultDirty, defaultCache = 8 << 20, 8 << 20

// FS is a mounted volume. It is a [fs.Tree].
type FS struct {
	dev       Device
	readOnly  bool
	now       func() int64
	notify    func()
	dirtyMost int

	mu         sync.Mutex
	idle       sync.Cond // no commit is under way
	committing bool
	broken     bool // a commit has failed: nothing is written any more
	lastCommit int64
	scratch    []byte // the commit's

	sb          super // as the next commit will have it
	table       tree  // the inode file
	space       space
	cache       cache
	inodes      map[uint64]*inode // in memory
	changed     map[uint64]*inode // to be stored by the next commit
	inodeLimit  int
	inodeCursor uint64
	names       int // in folders that are known
	handles     map[uint64]*handle
	lastHandle  uint64
}

// Mount opens the volume on a device. Read-only it writes nothing at all.
func Mount(dev Device, o Options) (*FS, error) {
	v := newFS(dev, o)
	if err := v.open(); err != nil {
		return nil, &opError{"mount the volume", err}
	}
	return v, nil
}

func newFS(dev Device, o Options) *FS {
	v := &FS{dev: dev, readOnly: o.ReadOnly, now: o.Now, notify: o.Changed, inodeLimit: mostInodes,
		inodes: map[uint64]*inode{}, changed: map[uint64]*inode{}, handles: map[uint64]*handle{}}
	v.idle.L = &v.mu
	if v.now == nil {
		v.now = func() int64 { return 0 }
	}
	if v.notify == nil {
		v.notify = func() {}
	}
	if o.Dirty == 0 {
		o.Dirty = defaultDirty
	}
	if o.Cache == 0 {
		o.Cache = defaultCache
	}
	v.dirtyMost = max(o.Dirty/BlockSize, opMost)
	v.cache.init(o.Cache / BlockSize)
	v.lastCommit = v.now()
	return v
}

func (v *FS) open() error {
	list := readSupers(v.dev)
	best := newest(list)
	if best < 0 {
		return worst(list)
	}
	for i, s := range list {
		if s.description != nil && !v.readOnly {
			return &damage{"superblock " + string('0'+rune(i)), s.description}
		}
	}
	v.use(list[best])
	if _, e := v.get(RootInode); e != 0 {
		return &damage{"the root folder", errChecksum}
	}
	if v.readOnly {
		return nil
	}
	v.space = newSpace(v.sb.blocks)
	if err := v.readBitmap(); err != nil {
		return &damage{"the bitmap", err}
	}
	return v.reap()
}

// use makes a superblock the one to go on from.
func (v *FS) use(s super) {
	v.sb = s
	v.table = tree{root: s.table, height: s.height}
}

// damage is something that does not make sense.
type damage struct {
	what string
	err  error
}

func (d *damage) Error() string {
	if d.err == errMagic || errors.As(d.err, new(*versionError)) {
		return d.err.Error()
	}
	return d.what + ": " + d.err.Error() + " (fsck can repair it)"
}
func (d *damage) Unwrap() []error { return []error{d.err, ErrDamaged} }

// readSupers reads both superblocks; description says what is wrong with one.
func readSupers(dev Device) (list [Supers]super) {
	device := uint64(max(dev.Size(), 0)) / BlockSize
	b := make([]byte, BlockSize)
	for i := range list {
		if int64(i+1)*BlockSize > dev.Size() {
			list[i].description = errMagic
		} else if err := dev.ReadAt(b, int64(i)*BlockSize); err != nil {
			list[i].description = err
		} else {
			s, err := decodeSuper(b, device)
			s.description = err
			list[i] = s
		}
	}
	return list
}

// newest is the superblock that counts; -1 is none.
func newest(list [Supers]super) int {
	best := -1
	for i, s := range list {
		if s.description == nil && (best < 0 || s.generation > list[best].generation) {
			best = i
		}
	}
	return best
}

// worst is why there is no superblock at all: that another program or version
// wrote the device, if one of them says so.
func worst(list [Supers]super) error {
	for _, s := range list {
		if s.description != errMagic {
			return &damage{"both superblocks", s.description}
		}
	}
	return errMagic
}

// reap removes what had no name any more and was open when the volume was last
// in use.
func (v *FS) reap() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for ino := uint64(RootInode); ino < v.sb.inodes && v.sb.orphans > 0; ino++ {
		b, e := v.load(&v.table, 0, ino/BlockInodes)
		if b == nil || e != 0 || isFree(b.data.record(ino)) || get32(b.data.record(ino)[inodeNlink:]) != 0 {
			continue
		}
		n, e := v.get(ino)
		if e != 0 || ino == RootInode {
			continue
		}
		if v.begin(0) != 0 || v.touch(n) != 0 {
			return ErrBroken
		}
		v.erase(n)
		v.sb.orphans--
		v.cache.trim()
	}
	return nil
}

// Commit makes all changes durable.
func (v *FS) Commit() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.commit() != 0 {
		return &opError{"write the volume", ErrBroken}
	}
	return nil
}

// Facts are what is to be said of a volume as a whole.
type Facts struct {
	Size, Used int64 // bytes
	Inodes     uint64
	Generation uint64
	UUID       [16]byte
}

// Facts describes the volume.
func (v *FS) Facts() Facts {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sb.facts()
}

func (s *super) facts() Facts {
	return Facts{int64(s.blocks) * BlockSize, int64(s.blocks-s.freeBlocks) * BlockSize, s.inodes - s.freeInodes,
		s.generation, s.uuid}
}

// ReadFacts describes the volume on a device as its last commit left it.
func ReadFacts(dev Device) (Facts, error) {
	list := readSupers(dev)
	best := newest(list)
	if best < 0 {
		return Facts{}, worst(list)
	}
	return list[best].facts(), nil
}

// FormatOptions are what a volume is made with.
type FormatOptions struct {
	UUID     [16]byte
	Now      int64 // ns since 1970
	UID, GID uint32
}

var errSmall = errors.New("a volume has at least 1 MiB")

// Format makes an empty volume of all of a device.
func Format(dev Device, o FormatOptions) error {
	blocks := min(uint64(max(dev.Size(), 0))/BlockSize, MaxBlocks)
	err := errSmall
	if blocks >= MinBlocks {
		err = format(dev, o, blocks)
	}
	if err != nil {
		return &opError{"make a volume", err}
	}
	return nil
}

func format(dev Device, o FormatOptions, blocks uint64) error {
	start := dataStart(blocks)
	// What was there must not look like a volume while half of it is new.
	if err := dev.WriteAt(make([]byte, Supers*BlockSize), 0); err != nil {
		return err
	}
	if err := dev.Flush(); err != nil {
		return err
	}
	sp := newSpace(blocks)
	for i := range start + 1 {
		sp.used.set(i)
	}
	pair := make([]byte, 2*BlockSize)
	for n := range bitmapBlocks(blocks) {
		copy(pair, sp.encodeSlot(n, 1)[:])
		if err := dev.WriteAt(pair, int64(slotPlace(n, 0))*BlockSize); err != nil {
			return err
		}
	}
	table := new(block)
	root := inode{tree: tree{ino: RootInode}, mode: fs.S_IFDIR | 0o755, nlink: 2, uid: o.UID, gid: o.GID,
		atime: o.Now, mtime: o.Now, ctime: o.Now, btime: o.Now}
	root.encode(table.record(RootInode))
	if err := dev.WriteAt(table[:], int64(start)*BlockSize); err != nil {
		return err
	}
	if err := dev.Flush(); err != nil {
		return err
	}
	s := super{uuid: o.UUID, blocks: blocks, table: pointer{start, Checksum(table[:])}, inodes: BlockInodes,
		freeInodes: BlockInodes - 2, freeBlocks: blocks - start - 1, created: o.Now, committed: o.Now}
	for s.generation = 1; s.generation <= Supers; s.generation++ {
		if err := dev.WriteAt(s.encode(), int64(s.generation%Supers)*BlockSize); err != nil {
			return err
		}
	}
	return dev.Flush()
}
