package network

import "testing"

// What it takes until a machine's network answers.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		l, err := Open(Config{Target: Target{Kind: User}})
		if err != nil {
			b.Fatal(err)
		}
		arp(b, l)
		l.Close()
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		l, err := Open(Config{Target: Target{Kind: User}})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		arp(b, l)
		l.Close()
		b.StartTimer()
	}
}
