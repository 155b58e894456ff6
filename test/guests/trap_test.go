package guests

import (
	"context"
	"testing"
	"time"
	"bytes"
	"fmt"

	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/test/guests/asm"
)

func TestTrapSmoke(t *testing.T) {
	c := new(asm.Code)
	c.Raw(0x9c, 0x58)       // pushfq; pop rax
	c.Raw(0xfb)             // sti
	c.Raw(0x9c, 0x5b)       // pushfq; pop rbx
	c.Raw(0xfa)             // cli
	c.Raw(0x66, 0xba, 0xf8, 0x03) // mov dx, 0x3f8
	for _, b := range []byte("hi\n") {
		c.Raw(0xb0, b, 0xee) // mov al, b; out dx, al
	}
	c.Raw(0x31, 0xd2, 0x8c, 0xc9) // xor edx,edx ; mov ecx, cs
	c.Raw(0xb8, 42, 0, 0, 0, 0xba, 0xf4, 0, 0, 0, 0xef) // mov eax, 42; mov edx, 0xf4; out dx, eax
	var out bytes.Buffer
	vm, err := hv.New(hv.Config{Image: asm.Image{Code: c}.Write(t), Mode: hypercall.ModeTrap, Stdout: &out, CollectKVMStats: true})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	exit, err := vm.Run(ctx)
	fmt.Println(exit, err, out.String())
	if f, ok := err.(*hv.GuestFault); ok { fmt.Println(f.Regs.String()) }
	fmt.Printf("%+v\n", vm.Stats().Exits)
	fmt.Println(vm.Stats().KVM["exits"])
}
