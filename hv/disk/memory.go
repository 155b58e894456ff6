package disk

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Memory is a disk that forgets: its bytes are in Go's memory.
type Memory struct {
	mu   sync.Mutex
	data []byte
}

// NewMemory makes one of n bytes, which are sectors of 512.
func NewMemory(n int64) *Memory { return &Memory{data: make([]byte, n&^(minSector-1))} }

// Bytes is a copy of what is on it.
func (m *Memory) Bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]byte(nil), m.data...)
}

func (m *Memory) Size() int64      { return int64(len(m.data)) }
func (m *Memory) SectorSize() int  { return minSector }
func (m *Memory) ReadOnly() bool   { return false }
func (m *Memory) CanDiscard() bool { return true }
func (m *Memory) CanZero() bool    { return true }
func (m *Memory) Flush() error     { return nil }
func (m *Memory) Close() error     { return nil }

// at is a range of the disk.
func (m *Memory) at(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > m.Size() || n > m.Size()-off {
		return nil, fmt.Errorf("disk in memory: %d bytes at %d: %w", n, off, unix.EIO)
	}
	return m.data[off : off+n], nil
}

func (m *Memory) ReadAt(pieces [][]byte, off int64, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.at(off, length(pieces))
	if err != nil {
		return err
	}
	for _, p := range pieces {
		b = b[copy(p, b):]
	}
	return nil
}

func (m *Memory) WriteAt(pieces [][]byte, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.at(off, length(pieces))
	if err != nil {
		return err
	}
	for _, p := range pieces {
		b = b[copy(b, p):]
	}
	return nil
}

// Discard leaves something that no program should want to see.
func (m *Memory) Discard(off, n int64) error { return m.fill(off, n, 0xdd) }

func (m *Memory) WriteZeroes(off, n int64) error { return m.fill(off, n, 0) }

func (m *Memory) fill(off, n int64, with byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.at(off, n)
	for i := range b {
		b[i] = with
	}
	return err
}
