package kvm

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hypercall"
)

// TestStructs compares sizes and offsets with Linux's (include/uapi/linux/kvm.h,
// arch/x86/include/uapi/asm/kvm.h).
func TestStructs(t *testing.T) {
	for _, s := range []struct {
		name      string
		got, want uintptr
	}{
		{"kvm_regs", unsafe.Sizeof(engine.Regs{}), 144},
		{"kvm_regs.rip", unsafe.Offsetof(engine.Regs{}.RIP), 128},
		{"kvm_sregs", unsafe.Sizeof(sregs{}), 312},
		{"kvm_sregs.tr", unsafe.Offsetof(sregs{}.tr), 144},
		{"kvm_sregs.gdt", unsafe.Offsetof(sregs{}.gdt), 192},
		{"kvm_sregs.cr0", unsafe.Offsetof(sregs{}.cr0), 224},
		{"kvm_sregs.efer", unsafe.Offsetof(sregs{}.efer), 264},
		{"kvm_segment", unsafe.Sizeof(segment{}), 24},
		{"kvm_segment.type", unsafe.Offsetof(segment{}.typ), 14},
		{"kvm_segment.unusable", unsafe.Offsetof(segment{}.unusable), 22},
		{"kvm_dtable", unsafe.Sizeof(dtable{}), 16},
		{"kvm_userspace_memory_region", unsafe.Sizeof(userMemoryRegion{}), 32},
		{"kvm_cpuid_entry2", unsafe.Sizeof(cpuidEntry{}), 40},
		{"kvm_msrs with one entry", unsafe.Sizeof(msrs1{}), 24},
		{"kvm_ioeventfd", unsafe.Sizeof(ioeventFD{}), 64},
		{"kvm_ioeventfd.fd", unsafe.Offsetof(ioeventFD{}.fd), 20},
		{"kvm_xcrs", unsafe.Sizeof(xcrs{}), 392},
		{"kvm_xcrs.xcrs", unsafe.Offsetof(xcrs{}.xcr), 8},
		{"kvm_run.s.regs.sregs", runSregs - runRegs, 144},
	} {
		if s.got != s.want {
			t.Errorf("%s: %d, want %d", s.name, s.got, s.want)
		}
	}
}

// TestIoctls computes the numbers that encode a size (Linux,
// include/uapi/asm-generic/ioctl.h).
func TestIoctls(t *testing.T) {
	const none, write, read = 0, 1, 2
	ioc := func(dir, nr, size uintptr) uintptr { return dir<<30 | size<<16 | 0xae<<8 | nr }
	for name, c := range map[string][2]uintptr{
		"KVM_RUN":                    {kvmRun, ioc(none, 0x80, 0)},
		"KVM_GET_SUPPORTED_CPUID":    {kvmGetSupportedCPUID, ioc(read|write, 0x05, 8)},
		"KVM_SET_USER_MEMORY_REGION": {kvmSetUserMemoryRegion, ioc(write, 0x46, unsafe.Sizeof(userMemoryRegion{}))},
		"KVM_IOEVENTFD":              {kvmIOEventFD, ioc(write, 0x79, unsafe.Sizeof(ioeventFD{}))},
		"KVM_GET_SREGS":              {kvmGetSregs, ioc(read, 0x83, unsafe.Sizeof(sregs{}))},
		"KVM_SET_SREGS":              {kvmSetSregs, ioc(write, 0x84, unsafe.Sizeof(sregs{}))},
		"KVM_GET_MSRS":               {kvmGetMSRs, ioc(read|write, 0x88, 8)},
		"KVM_SET_MSRS":               {kvmSetMSRs, ioc(write, 0x89, 8)},
		"KVM_SET_CPUID2":             {kvmSetCPUID2, ioc(write, 0x90, 8)},
		"KVM_SET_XCRS":               {kvmSetXCRs, ioc(write, 0xa7, unsafe.Sizeof(xcrs{}))},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %#x, want %#x", name, c[0], c[1])
		}
	}
}

func systemForTest() func(page int) []byte {
	b := make([]byte, SystemPages*hypercall.PageSize)
	fillSystem(b)
	return func(page int) []byte { return b[page*hypercall.PageSize:][:hypercall.PageSize] }
}

// TestPortMap: the I/O permission bitmap, read as the CPU reads it, opens one
// port for a byte and nothing wider.
func TestPortMap(t *testing.T) {
	tss := systemForTest()(pageTSS)
	base := int(binary.LittleEndian.Uint16(tss[102:]))
	// Two bytes are read at the port's place; both must lie inside the limit.
	allowed := func(port, width int) bool {
		at := base + port/8
		if at+1 > tssLimit {
			return false
		}
		bits := binary.LittleEndian.Uint16(tss[at:]) >> (port % 8)
		return bits&(1<<width-1) == 0
	}
	for port := range 65536 {
		for _, width := range []int{1, 2, 4} {
			if got, want := allowed(port, width), port == hypercallPort && width == 1; got != want {
				t.Errorf("port %#x, %d bytes: allowed is %v", port, width, got)
			}
		}
	}
}

// TestGates decodes the IDT (Intel SDM volume 3A, "64-Bit Mode IDT").
func TestGates(t *testing.T) {
	page := systemForTest()
	idt, stubs := page(pageIDT), page(pageStubs)
	for v := range vectors {
		lo, hi := binary.LittleEndian.Uint64(idt[16*v:]), binary.LittleEndian.Uint64(idt[16*v+8:])
		handler := lo&0xffff | lo>>48<<16 | hi<<32
		sel, ist, typ, dpl, present := lo>>16&0xffff, lo>>32&7, lo>>40&0xf, lo>>45&3, lo>>47&1
		wantDPL, wantIST := uint64(0), uint64(0)
		switch v {
		case 3:
			wantDPL = 3
		case 2, 8, 18:
			wantIST = 1
		}
		if sel != 8 || typ != 14 || present != 1 || dpl != wantDPL || ist != wantIST || hi>>32 != 0 {
			t.Errorf("vector %d: gate %#x %#x", v, hi, lo)
		}
		off := handler - systemAddr(pageStubs)
		if off >= hypercall.PageSize-4 || stubs[off] != 0xe6 || int(stubs[off+1]) != exceptionPort+v || stubs[off+2] != 0xeb || stubs[off+3] != 0xfc {
			t.Errorf("vector %d: stub at %#x", v, handler)
		}
	}
	for _, b := range idt[16*vectors:] {
		if b != 0 {
			t.Fatal("the IDT goes on after its limit")
		}
	}
	if exceptionPort+vectors > hypercallPort {
		t.Error("a vector's port is the hypercall's")
	}
}

func TestHypercallPage(t *testing.T) {
	b := make([]byte, hypercall.PageSize)
	HypercallPage(b)
	if b[0] != 0xe6 || b[1] != hypercallPort || b[2] != 0xc3 {
		t.Errorf("% x", b[:3])
	}
	for i, c := range b[3:] {
		if c != 0xf4 {
			t.Fatalf("byte %d is %#x, not HLT", i+3, c)
		}
	}
}

// TestUserSegments: guest code begins at CPL 3 in a 64-bit segment.
func TestUserSegments(t *testing.T) {
	code, data := userSegments()
	for _, s := range []segment{code, data} {
		if s.dpl != 3 || s.selector&3 != 3 || s.present != 1 || s.s != 1 {
			t.Errorf("%+v", s)
		}
	}
	if code.l != 1 || code.db != 0 || code.typ&8 == 0 || data.typ&8 != 0 {
		t.Errorf("code %+v, data %+v", code, data)
	}
}
