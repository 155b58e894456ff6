package socket

import "testing"

func BenchmarkNewStack(b *testing.B) {
	for b.Loop() {
		newNetwork(nil, nil)
	}
}
