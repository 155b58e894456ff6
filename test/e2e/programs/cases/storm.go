package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

var (
	_ = add("storm", storm)
	_ = add("retouch", retouch)
	_ = add("twopipes", twoPipes)
)

// storm faults and recovers for two seconds, with paging calls in between,
// whatever signals come.
func storm([]string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	go func() {
		for range c {
		}
	}()
	fmt.Println("ready")
	want, got := 0, 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		for range 20 {
			want++
			got += faults(nil)
		}
		b := must(syscall.Mmap(-1, 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE))
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		check(syscall.Munmap(b))
	}
	fmt.Println("recovered from all:", got == want)
}

func faults(p *int) (n int) {
	defer func() {
		if recover() != nil {
			n = 1
		}
	}()
	return *p
}

// retouch faults at one address from one instruction, each time rightly.
func retouch([]string) {
	b := must(syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE))
	sum := 0
	for range 3000 {
		sum += int(b[0])
		b[0] = 1
		check(syscall.Madvise(b, syscall.MADV_DONTNEED))
	}
	fmt.Println("sum", sum)
}

// twoPipes fills stdout, which nobody reads, and goes on writing to stderr.
func twoPipes([]string) {
	go fmt.Print(strings.Repeat("stdout ", 1<<16))
	time.Sleep(100 * time.Millisecond)
	for range 100 {
		fmt.Fprint(os.Stderr, strings.Repeat("stderr ", 1<<10))
	}
	os.Exit(0)
}
