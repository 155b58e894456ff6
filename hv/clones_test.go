package hv

import "testing"

// BenchmarkClones makes a machine beside many others. They are not quite apart: what one
// unmaps, or copies, the kernel asks all others about.
func BenchmarkClones(b *testing.B) {
	s := recall(b, 0)
	vm := clone(b, s)
	ask(b, vm, "echo hello")
	if err := vm.Rewind(); err != nil {
		b.Fatal(err)
	}
	for range 200 {
		vm := clone(b, s)
		ask(b, vm, "echo hello")
	}
	for b.Loop() {
		vm, err := s.New(Clone{})
		if err != nil {
			b.Fatal(err)
		}
		ask(b, vm, "echo hello")
		if err := vm.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
