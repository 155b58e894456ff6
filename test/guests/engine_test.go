package guests

import (
	"context"
	"testing"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
)

// repeat makes a guest that does something n times and exits with 0. R13 counts.
func repeat(n int, f func(c *asm.Code)) *asm.Code {
	c := new(asm.Code).Begin().Mov(asm.R13, uint64(n))
	loop := len(c.B)
	f(c)
	c.Raw(0x49, 0xff, 0xcd) // dec r13
	back := loop - (len(c.B) + 6)
	return c.Raw(0x0f, 0x85, byte(back), byte(back>>8), byte(back>>16), byte(back>>24)).Exit(0) // jnz
}

// BenchmarkEngine is what the host's part costs a guest, on each engine.
func BenchmarkEngine(b *testing.B) {
	const at = uint64(0x10_0000_0000)
	handler := new(asm.Code).Unmask().Raw(0x41, 0xff, 0xe6) // jmp r14
	for _, work := range []struct {
		name string
		f    func(c *asm.Code)
	}{
		{"call", func(c *asm.Code) { c.Hypercall(99) }},
		{"map-touch-unmap", func(c *asm.Code) {
			c.Hypercall(hypercall.CallMap, at, page, rw).Store(at, 1).Hypercall(hypercall.CallUnmap, at, page)
		}},
		{"exception", func(c *asm.Code) { c.Raw(0x4c, 0x8d, 0x35, 2, 0, 0, 0, 0x0f, 0x0b) }}, // lea r14, [rip+2]; ud2
	} {
		for _, engine := range []string{hv.EngineKVM, hv.EngineProc} {
			b.Run(work.name+"/"+engine, func(b *testing.B) {
				if engine == hv.EngineKVM {
					need.KVM(b)
				}
				vm, err := hv.New(hv.Config{Engine: engine, Image: asm.Image{Code: repeat(b.N, work.f), Handler: handler}.Write(b)})
				if err != nil {
					b.Fatal(err)
				}
				defer vm.Close()
				b.ResetTimer()
				if exit, err := vm.Run(context.Background()); err != nil || exit.Code != 0 {
					b.Fatal(exit, err)
				}
			})
		}
	}
}
