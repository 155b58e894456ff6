// Package stamps is how sectors are written that tell afterwards what wrote them.
// A writer has a region of sectors of its own. Its operation n, from 1 on, fills a
// run of them that follows from n; each sector says by which writer, in which
// operation and where it was filled, and all of its bytes follow from that. So a
// sector that is half old and half new shows.
package stamps

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sector is the size of a sector in bytes.
const Sector = 512

// RegionSectors is how many sectors a writer has.
const RegionSectors = 512

// maxRun is the most sectors that an operation fills.
const maxRun = 64

// Op is one operation of a writer.
type Op struct{ Writer, N uint64 }

// Run is the sectors of the region that the operation fills.
func (o Op) Run() (first, n uint64) {
	r := mix(o.Writer<<32 + o.N)
	n = 1
	if r%4 == 0 {
		n += r >> 8 % maxRun
	}
	return r >> 32 % (RegionSectors - n + 1), n
}

// Offset is where in the file sector i of a writer's region lies, in bytes.
func Offset(writer, i uint64) int64 { return int64(writer*RegionSectors+i) * Sector }

// Fill fills sector i of the writer's region.
func (o Op) Fill(b []byte, i uint64) {
	binary.LittleEndian.PutUint64(b, o.Writer)
	binary.LittleEndian.PutUint64(b[8:], o.N)
	binary.LittleEndian.PutUint64(b[16:], i)
	seed := mix(o.Writer<<48 ^ o.N<<16 ^ i)
	for at := 24; at < Sector; at += 8 {
		seed = mix(seed + uint64(at))
		binary.LittleEndian.PutUint64(b[at:], seed)
	}
}

// Bytes is all that the operation writes.
func (o Op) Bytes() []byte {
	first, n := o.Run()
	b := make([]byte, n*Sector)
	for i := range n {
		o.Fill(b[i*Sector:], first+i)
	}
	return b
}

// ErrTorn is a sector that no operation wrote as it is.
var ErrTorn = errors.New("torn")

// Read is the operation that filled sector i of a writer's region; number 0 when
// none did.
func Read(b []byte, writer, i uint64) (Op, error) {
	if [Sector]byte(b) == [Sector]byte{} {
		return Op{Writer: writer}, nil
	}
	o := Op{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	var want [Sector]byte
	o.Fill(want[:], i)
	if o.Writer != writer || [Sector]byte(b) != want {
		return o, fmt.Errorf("sector %d of writer %d: %w: begins as %v", i, writer, ErrTorn, o)
	}
	return o, nil
}

// Check says what is wrong with a writer's region when its operations up to acked
// were acknowledged: each sector is of the last of them that filled it, or of the
// one that was under way.
func Check(region []byte, writer, acked uint64) error {
	var want [RegionSectors]uint64
	for n := uint64(1); n <= acked; n++ {
		first, count := Op{writer, n}.Run()
		for i := range count {
			want[first+i] = n
		}
	}
	first, count := Op{writer, acked + 1}.Run()
	for i := range uint64(RegionSectors) {
		o, err := Read(region[i*Sector:][:Sector], writer, i)
		switch {
		case err != nil:
			return err
		case o.N == want[i]:
		case o.N == acked+1 && i >= first && i < first+count:
		default:
			return fmt.Errorf("sector %d of writer %d: of operation %d, want %d of %d acknowledged", i, writer, o.N, want[i], acked)
		}
	}
	return nil
}

// mix spreads n over 64 bits (the finalizer of SplitMix64).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
