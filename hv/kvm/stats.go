package kvm

import (
	"encoding/binary"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// KernelStats reads the kernel's own statistics of the machine's vCPU (Linux,
// Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD). Names are the kernel's; a
// histogram has several values. nil when the kernel has none.
func (v *VCPU) KernelStats() map[string][]uint64 {
	fd, err := ioctl(v.fd, kvmGetStatsFD, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "kvm-stats")
	defer f.Close()
	return readStats(fd)
}

// statsHeader is struct kvm_stats_header, statsDesc the fixed part of struct
// kvm_stats_desc; a name of nameSize bytes follows each.
type statsHeader struct{ nameSize, num, descAt, dataAt uint32 }

const statsDescSize = 16

func readStats(fd int) map[string][]uint64 {
	var hb [24]byte
	if n, err := unix.Pread(fd, hb[:], 0); err != nil || n < len(hb) {
		return nil
	}
	le := binary.LittleEndian
	h := statsHeader{le.Uint32(hb[4:]), le.Uint32(hb[8:]), le.Uint32(hb[16:]), le.Uint32(hb[20:])}
	if h.nameSize > 4096 || h.num > 4096 {
		return nil
	}
	step := statsDescSize + int(h.nameSize)
	desc := make([]byte, step*int(h.num))
	if n, err := unix.Pread(fd, desc, int64(h.descAt)); err != nil || n < len(desc) {
		return nil
	}
	out := map[string][]uint64{}
	for d := desc; len(d) >= step; d = d[step:] {
		name, _, _ := strings.Cut(string(d[statsDescSize:step]), "\x00")
		out[name] = readStat(fd, int64(h.dataAt)+int64(le.Uint32(d[8:])), int(le.Uint16(d[6:])))
	}
	return out
}

func readStat(fd int, at int64, n int) []uint64 {
	b := make([]byte, 8*n)
	if m, err := unix.Pread(fd, b, at); err != nil || m < len(b) {
		return nil
	}
	v := make([]uint64, n)
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return v
}
