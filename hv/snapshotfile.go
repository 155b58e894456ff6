package hv

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cespare/xxhash/v2"
	"github.com/pvrun/pvrun/hv/kvm"
	"github.com/pvrun/pvrun/hypercall"
)

// A snapshot's file: a page with the header, then description (JSON) and a hash of each
// page, filled up with zeros to a whole page, then the pages. All numbers are little
// endian. docs/snapshot.md describes it.
type snapshotHeader struct {
	Magic   [8]byte
	Format  uint32 // of the file
	ABI     uint32 // of the guest inside
	Mode    uint32
	Pad     uint32
	Text    uint64 // bytes of the description
	Pages   uint64 // that are stored
	Hash    uint64 // of description and page hashes, XXH64
	CPU     [64]byte
	Reserve [16]byte
	Self    uint64 // hash of this header up to here
}

const (
	snapshotFormat = 2
	// maxSnapshotText bounds the description, in bytes: arguments and environment are
	// most of it.
	maxSnapshotText = 8 << 20
	hashSize        = 8
)

var snapshotMagic = [8]byte{'p', 'v', 'r', 'u', 'n', 's', 'n', 'p'}

// SnapshotError is a file that is no snapshot, or not one for here.
type SnapshotError struct {
	Path string
	Err  error
}

func (e *SnapshotError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *SnapshotError) Unwrap() error { return e.Err }

// IsSnapshot says whether a regular file begins as a snapshot does. It reads nothing
// of others: what comes out of a pipe would be gone.
func IsSnapshot(path string) bool {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return false
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [8]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && magic == snapshotMagic
}

// Save writes the snapshot to a file, which is there whole or not at all: what was at
// path stays until the new one is with the disk. Only its owner may read it: it holds
// the program's memory.
func (s *Snapshot) Save(path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return &HostError{"save snapshot", err}
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = &HostError{"save snapshot", err}
		}
	}()
	err = errors.Join(s.write(f), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (s *Snapshot) write(f *os.File) error {
	if s.once != nil {
		return errOnce
	}
	text, err := json.Marshal(&s.state)
	if err != nil {
		return err
	}
	cpu, err := processor()
	if err != nil {
		return err
	}
	h := snapshotHeader{
		Magic: snapshotMagic, Format: snapshotFormat, ABI: hypercall.Version, Mode: uint32(hypercall.ModePV),
		Text: uint64(len(text)), Pages: uint64(s.stored), CPU: cpu,
	}
	text = append(text, s.hashes()...)
	h.Hash = xxhash.Sum64(text)
	h.Self = h.sum()
	b := append(h.bytes(), make([]byte, pageSize-binary.Size(&h))...)
	b = append(b, text...)
	if _, err := f.Write(append(b, make([]byte, -len(b)&(pageSize-1))...)); err != nil {
		return err
	}
	for _, x := range s.state.Extents {
		if _, err := f.Write(s.base.run(x.First, x.Pages)); err != nil {
			return err
		}
	}
	return nil
}

func (h *snapshotHeader) bytes() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h) // to memory
	return b.Bytes()
}

func (h *snapshotHeader) sum() uint64 {
	b := h.bytes()
	return xxhash.Sum64(b[:len(b)-hashSize])
}

// processor is what guests may know of the processor, as a header holds it.
var processor = sync.OnceValues(func() (name [64]byte, err error) {
	text, err := kvm.Processor()
	copy(name[:], text)
	return name, err
})

// hashes are one of each stored page, in the file's order.
func (s *Snapshot) hashes() []byte {
	out := make([]byte, 0, s.stored*hashSize)
	for _, x := range s.state.Extents {
		for i := range x.Pages {
			out = binary.LittleEndian.AppendUint64(out, xxhash.Sum64(s.base.page(x.First+frame(i))))
		}
	}
	return out
}

// OpenSnapshot reads a snapshot's file, whose every byte is checked before anything is
// done with it. What becomes of the file later does not matter. The error is a
// *SnapshotError.
func OpenSnapshot(path string) (*Snapshot, error) { return openSnapshot(path, new(Snapshot)) }

func openSnapshot(path string, s *Snapshot) (*Snapshot, error) {
	go processor() // it is a while until the answer is needed
	// O_NONBLOCK: a FIFO is refused below, not waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, &SnapshotError{path, errors.Unwrap(err)}
	}
	defer f.Close()
	if err := s.read(f); err != nil {
		return nil, errors.Join(&SnapshotError{path, err}, s.Close())
	}
	return s, nil
}

var errDamaged = errors.New("the snapshot is damaged; make it again")

func (s *Snapshot) read(f *os.File) error {
	h, size, err := readHeader(f)
	if err != nil {
		return err
	}
	first := pageSize + (int64(h.Text)+int64(h.Pages)*hashSize+pageSize-1)&^(pageSize-1)
	if size != first+int64(h.Pages)<<pageShift {
		return fmt.Errorf("it has %d bytes and should have %d: %w", size, first+int64(h.Pages)<<pageShift, errDamaged)
	}
	text := make([]byte, int64(h.Text)+int64(h.Pages)*hashSize)
	if _, err := f.ReadAt(text, pageSize); err != nil {
		return err
	}
	if xxhash.Sum64(text) != h.Hash {
		return errDamaged
	}
	d := json.NewDecoder(bytes.NewReader(text[:h.Text]))
	d.DisallowUnknownFields()
	if err := d.Decode(&s.state); err != nil {
		return fmt.Errorf("%w (%v)", errDamaged, err)
	}
	if err := s.state.check(int64(h.Pages)); err != nil {
		return fmt.Errorf("%w (%v)", errDamaged, err)
	}
	if err := fitsHost(s.state.Memory); err != nil {
		return err
	}
	take := s.copyPages
	if s.once != nil {
		take = s.readPages
	}
	if err := take(io.NewSectionReader(f, first, size-first), text[h.Text:]); err != nil {
		return err
	}
	if err := h.checkProcessor(); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return fmt.Errorf("%w (%v)", errDamaged, err)
	}
	return nil
}

// copyPages copies the pages to memory and compares their hashes. The file itself is not
// mapped: who can write it could change pages after they were checked, and one that
// became shorter would have the host die of SIGBUS. Pages of zeros stay holes.
func (s *Snapshot) copyPages(from *io.SectionReader, hashes []byte) (err error) {
	if s.file, err = memoryFile("pvrun-snapshot"); err != nil {
		return err
	}
	size := int64(len(hashes)/hashSize) << pageShift
	b := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(b)) {
		b = b[:min(size-at, int64(len(b)))]
		if _, err := io.ReadFull(from, b); err != nil {
			return err
		}
		for i := 0; i < len(b); i, hashes = i+pageSize, hashes[hashSize:] {
			if xxhash.Sum64(b[i:i+pageSize]) != binary.LittleEndian.Uint64(hashes) {
				return errDamaged
			}
		}
		if err := writeNonzero(s.file, b, at); err != nil {
			return err
		}
	}
	return s.file.Truncate(size)
}

// writeNonzero writes whole pages at an offset, but for those at both ends that are zero.
func writeNonzero(f *os.File, b []byte, at int64) error {
	for len(b) > 0 && isZero(b[:pageSize]) {
		b, at = b[pageSize:], at+pageSize
	}
	for len(b) > 0 && isZero(b[len(b)-pageSize:]) {
		b = b[:len(b)-pageSize]
	}
	_, err := f.WriteAt(b, at)
	return err
}

// readHeader reads the header, and says what about it is not as here.
func readHeader(f *os.File) (h snapshotHeader, size int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return h, 0, err
	}
	if !st.Mode().IsRegular() {
		return h, 0, errors.New("not a regular file")
	}
	if err := binary.Read(io.NewSectionReader(f, 0, pageSize), binary.LittleEndian, &h); err != nil || h.Magic != snapshotMagic {
		return h, 0, errors.New("not a snapshot")
	}
	return h, st.Size(), h.check()
}

func (h *snapshotHeader) check() error {
	switch {
	case h.Format != snapshotFormat:
		return fmt.Errorf("a snapshot of format %d, this pvrun reads format %d: make it again", h.Format, snapshotFormat)
	case h.Self != h.sum():
		return errDamaged
	case h.ABI != hypercall.Version:
		return fmt.Errorf("made for ABI version %d, this pvrun speaks version %d: make it again", h.ABI, hypercall.Version)
	case hypercall.Mode(h.Mode) != hypercall.ModePV:
		return fmt.Errorf("made in mode %v, this pvrun resumes %v", hypercall.Mode(h.Mode), hypercall.ModePV)
	case h.Text > maxSnapshotText, h.Pages > MaxMemory>>pageShift:
		return errDamaged
	}
	return fitsHost(int64(h.Pages) << pageShift)
}

// checkProcessor comes last: to know this one takes as long as to copy the pages.
func (h *snapshotHeader) checkProcessor() error {
	cpu, err := processor()
	if err != nil {
		return err
	}
	if text := func(b [64]byte) string { return string(bytes.TrimRight(b[:], "\x00")) }; h.CPU != cpu {
		return fmt.Errorf("made on the processor %q, this one is %q: make it again", text(h.CPU), text(cpu))
	}
	return nil
}

// check bounds what the description says.
func (r *rest) check(pages int64) error {
	if r.Memory < MinMemory || r.Memory > MaxMemory || r.Memory%pageSize != 0 {
		return fmt.Errorf("memory of %d bytes", r.Memory)
	}
	if len(r.Extents) > maxExtents {
		return fmt.Errorf("%d extents", len(r.Extents))
	}
	next := frame(0)
	for _, x := range r.Extents {
		if x.Pages <= 0 || x.First < next || int64(x.First)+int64(x.Pages) > r.Memory>>pageShift || int64(x.Pages) > pages {
			return fmt.Errorf("extent %+v", x)
		}
		next = x.end()
		pages -= int64(x.Pages)
	}
	canonical := func(a uint64) bool { return a < 1<<47 }
	u := &r.Upcall
	switch {
	case pages != 0:
		return errors.New("pages without a place")
	case r.NICs < 0 || r.NICs > hypercall.MaxNICs:
		return fmt.Errorf("%d NICs", r.NICs)
	case int64(r.Root) >= r.Memory>>pageShift:
		return fmt.Errorf("root %#x", r.Root)
	case r.Moment&(r.Moment-1) != 0 || r.Moment&^r.Ready != 0:
		return fmt.Errorf("at rest at %#x of the moments %#x", r.Moment, r.Ready)
	case !isPort(r.Port) || !isPort(r.Service):
		return fmt.Errorf("ports %d and %d", r.Port, r.Service)
	case r.Clock < 0 || r.Clock > maxClock:
		return fmt.Errorf("clock %d", r.Clock)
	case !canonical(r.Regs.RIP) || !canonical(r.FS) || !canonical(r.GS):
		return errors.New("registers")
	}
	for _, a := range []hypercall.GVA{u.Entry, u.Stack, u.CriticalStart, u.CriticalEnd, u.Restart, u.Syscall} {
		if !canonical(uint64(a)) {
			return errors.New("upcall")
		}
	}
	return nil
}

// isPort says whether n is a TCP port, or 0 for none.
func isPort(n int) bool { return n >= 0 && n <= 0xffff }

// maxClock is 100 years in ns.
const maxClock = 100 * 366 * 24 * 3600 * 1_000_000_000
