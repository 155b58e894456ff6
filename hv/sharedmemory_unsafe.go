package hv

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newMachineMemory makes the memory of a machine: guest bytes, and own bytes behind
// them that no guest address leads to. With an engine that shares memory the guest's is
// a file, which guest code may map as it likes; what the host relies on has frames
// beyond it.
func (vm *VM) newMachineMemory(guest, own int64) (*memory, error) {
	if vm.engine.SharedMemory() {
		return newSharedMemory(guest, own)
	}
	return newMemory(guest + own)
}

// newSharedMemory is newMemory of which the first guest bytes are a file's. Safe as
// newMemory is; the file is mapped over what was reserved.
func newSharedMemory(guest, own int64) (*memory, error) {
	m, err := newMemory(guest + own)
	if err != nil {
		return nil, err
	}
	if err := m.putInFile(guest); err != nil {
		_ = m.close()
		return nil, &HostError{Op: fmt.Sprintf("make a file of %d MiB for the machine's memory", guest>>20), Err: err}
	}
	return m, nil
}

func (m *memory) putInFile(size int64) error {
	fd, err := unix.MemfdCreate("pvrun-memory", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	m.file, m.inFile = fd, frame(size>>pageShift)
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	_, err = unix.MmapPtr(fd, 0, unsafe.Pointer(unsafe.SliceData(m.data)), uintptr(size),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED|unix.MAP_NORESERVE)
	return err
}

// forgetShared is forget for frames of the file, none of which is beyond it.
func (m *memory) forgetShared(f frame, n int) error {
	if err := m.forgot(f, n); err != nil {
		return err
	}
	return unix.Madvise(m.run(f, n), unix.MADV_REMOVE)
}
