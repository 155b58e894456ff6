package guests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// loader keeps requests under way: as many as R9 says, until R14 were answered. RBX
// is the ring, R10 the pending bits, R15 the longest time to block, RBP the
// hypercall page; R12 is ReqProd and R13 RspProd, as last seen.
//
//	look:   mov eax, [rbx+RspProd]
//	        cmp eax, r13d
//	        jne new
//	        cmp dword ptr [rbx+Polling], 0
//	        je sleep
//	        pause
//	        jmp look
//	new:    mov r13d, eax
//	        mov [rbx+RspCons], eax
//	        cmp eax, r14d
//	        jae done
//	        add eax, r9d
//	submit: mov ecx, r12d
//	        mov r12d, eax
//	        xchg [rbx+ReqProd], eax
//	        mov eax, r12d
//	        sub eax, [rbx+ReqEvent]
//	        mov edx, r12d
//	        sub edx, ecx
//	        cmp eax, edx
//	        jae look
//	        mov eax, CallDoorbell
//	        call rbp
//	        jmp look
//	sleep:  lea eax, [r13+1]
//	        xchg [rbx+RspEvent], eax
//	        cmp [rbx+RspProd], r13d
//	        jne look
//	        mov rdi, r15
//	        mov eax, CallBlock
//	        call rbp
//	        mov dword ptr [r10], 0
//	        jmp look
//	done:
var loader = []byte{
	0x8b, 0x43, 0x44, 0x44, 0x39, 0xe8, 0x75, 0x0a, 0x83, 0x7b, 0x48, 0x00, 0x74, 0x32, 0xf3, 0x90,
	0xeb, 0xee, 0x41, 0x89, 0xc5, 0x89, 0x43, 0x08, 0x44, 0x39, 0xf0, 0x73, 0x43, 0x44, 0x01, 0xc8,
	0x44, 0x89, 0xe1, 0x41, 0x89, 0xc4, 0x87, 0x03, 0x44, 0x89, 0xe0, 0x2b, 0x43, 0x40, 0x44, 0x89,
	0xe2, 0x29, 0xca, 0x39, 0xd0, 0x73, 0xc9, 0xb8, 0x13, 0x00, 0x00, 0x00, 0xff, 0xd5, 0xeb, 0xc0,
	0x41, 0x8d, 0x45, 0x01, 0x87, 0x43, 0x04, 0x44, 0x39, 0x6b, 0x44, 0x75, 0xb3, 0x4c, 0x89, 0xff,
	0xb8, 0x02, 0x00, 0x00, 0x00, 0xff, 0xd5, 0x41, 0xc7, 0x02, 0x00, 0x00, 0x00, 0x00, 0xeb, 0xa0,
}

const loaderSubmit = 0x20 // where it begins

// loadGuest is a guest that makes the 256 requests of a ring over and over, to
// memory at free.
func loadGuest(t testing.TB, requests [hypercall.BlockRingSize]hypercall.BlockRequest, depth, total uint64) string {
	const at = 0x4000
	data := make([]byte, asm.DataSize)
	copy(data[at:], unsafe.Slice((*byte)(unsafe.Pointer(&requests)), unsafe.Sizeof(requests)))
	c := new(asm.Code).Mov(asm.R15, asm.Results)
	c.Hypercall(hypercall.CallMap, free, hypercall.BlockRingSize*hypercall.MaxBlockBytes/16, rw)
	c.Mov(asm.RSI, asm.Data+at).Mov(asm.RDI, ringReqs).Mov(asm.RCX, uint64(unsafe.Sizeof(requests))).Raw(0xf3, 0xa4) // rep movsb
	c.Mov(asm.RBX, ring).Mov(asm.R10, asm.Pending).Mov(asm.R15, hypercall.Forever).Mov(asm.RBP, uint64(hypercall.HypercallGVA))
	c.Mov(asm.R9, depth).Mov(asm.R14, total).Mov(asm.R12, 0).Mov(asm.R13, 0).MovReg(asm.RAX, asm.R9)
	c.Raw(0xeb, loaderSubmit).Raw(loader...).Exit(0)
	return asm.Image{Code: c, Data: data}.Write(t)
}

// fileDisk is a disk in a file of n bytes.
func fileDisk(t testing.TB, n int64) disk.Backend {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i >> 9)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// randomRequests are n bytes each, anywhere on a disk, to places of their own.
func randomRequests(op hypercall.BlockOp, size, n int64) (list [hypercall.BlockRingSize]hypercall.BlockRequest) {
	for i := range list {
		off := rand.Int64N(size/n) * n
		list[i] = one(op, uint64(off), free+uint64(i)*uint64(n)%(hypercall.BlockRingSize*hypercall.MaxBlockBytes/16), uint64(n))
		list[i].ID = uint64(i)
	}
	return list
}

// TestBlockLoad: a ring that is never empty, and one that is full.
func TestBlockLoad(t *testing.T) {
	const size, n = 4 << 20, 20000
	for _, depth := range []uint64{1, 32, hypercall.BlockRingSize} {
		for _, op := range []hypercall.BlockOp{hypercall.BlockRead, hypercall.BlockWrite} {
			t.Run(fmt.Sprintf("%d of %d", depth, op), func(t *testing.T) {
				d := fileDisk(t, size)
				o := run(t, hv.Config{Disks: disks(d), Image: loadGuest(t, randomRequests(op, size, 4096), depth, n)}, limit)
				o.wantExit(t, 0)
			})
		}
	}
}

// BenchmarkBlock is the time of one request, and its exits to pvrun.
func BenchmarkBlock(b *testing.B) {
	const size = 64 << 20
	for _, s := range []struct {
		name  string
		op    hypercall.BlockOp
		bytes int64
		depth uint64
	}{
		{"read4k-1", hypercall.BlockRead, 4096, 1}, {"read4k-32", hypercall.BlockRead, 4096, 32},
		{"write4k-1", hypercall.BlockWrite, 4096, 1}, {"write4k-32", hypercall.BlockWrite, 4096, 32},
		{"read1m-1", hypercall.BlockRead, 1 << 20, 1}, {"write1m-1", hypercall.BlockWrite, 1 << 20, 1},
		{"read1m-4", hypercall.BlockRead, 1 << 20, 4}, {"write1m-4", hypercall.BlockWrite, 1 << 20, 4},
	} {
		b.Run(s.name, func(b *testing.B) {
			d := fileDisk(b, size)
			vm, err := newVM(b, hv.Config{Disks: disks(d), CollectKVMStats: true,
				Image: loadGuest(b, randomRequests(s.op, size, s.bytes), s.depth, uint64(b.N))})
			if err != nil {
				b.Fatal(err)
			}
			defer vm.Close()
			b.SetBytes(s.bytes)
			b.ResetTimer()
			if exit, err := vm.Run(context.Background()); err != nil || exit.Code != 0 {
				b.Fatal(exit, err)
			}
			b.StopTimer()
			st := vm.Stats()
			b.ReportMetric(float64(st.Exits.Total)/float64(b.N), "exits/op")
			b.ReportMetric(float64(st.KVM["exits"][0])/float64(b.N), "allexits/op")
			b.Logf("%+v %v", st.Block, st.Exits.ByReason)
		})
	}
}

// BenchmarkBlockPool is the time of requests that all have to wait, for nothing.
func BenchmarkBlockPool(b *testing.B) {
	for _, depth := range []uint64{1, 32} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			d := disk.Inject(disk.NewMemory(1<<20), func(disk.Op, int64, int64) error { return nil })
			vm, err := newVM(b, hv.Config{Disks: disks(d), Image: loadGuest(b, randomRequests(hypercall.BlockRead, 1<<20, 4096), depth, uint64(b.N))})
			if err != nil {
				b.Fatal(err)
			}
			defer vm.Close()
			b.ResetTimer()
			if exit, err := vm.Run(context.Background()); err != nil || exit.Code != 0 {
				b.Fatal(exit, err)
			}
			b.StopTimer()
			b.ReportMetric(float64(vm.Stats().Exits.Total)/float64(b.N), "exits/op")
		})
	}
}
