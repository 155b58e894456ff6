package worker

import (
	"testing"

	"github.com/pvrun/pvrun/hv"
)

// BenchmarkInvoke is a call and the rewind behind it, in a worker and beside it in this
// process.
func BenchmarkInvoke(b *testing.B) {
	s := newSource(b, PerWorker)
	far, err := s.New(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	near, err := s.snapshot.New(hv.Clone{})
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	for name, m := range map[string]vm{"worker": far, "process": near} {
		b.Run("invoke/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := m.Invoke(b.Context(), []byte("hello you")); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("rewind/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := m.Invoke(b.Context(), []byte("hello you")); err != nil {
					b.Fatal(err)
				}
				if err := m.Rewind(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
