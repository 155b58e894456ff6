// Command rest goes on while its machine comes to rest again and again. For each time it
// says that it is ready, waits until the machine has another name, and tells what it sees.
package main

import (
	cryptorand "crypto/rand"
	"fmt"
	"hash/maphash"
	"math/rand"
	randv2 "math/rand/v2"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	switch os.Args[1] {
	case "draw":
		runtime.LockOSThread() // not the one that brings the machine to rest
		eachRest(n, draw)
	case "load":
		stop := startLoad()
		eachRest(n, func() { fmt.Println(os.Hostname()) })
		fmt.Println(stop())
	case "read":
		read(n, func(b []byte) { cryptorand.Read(b) })
	case "device":
		f, err := os.Open("/dev/urandom")
		if err != nil {
			panic(err)
		}
		read(n, func(b []byte) { f.Read(b) })
	case "idle":
		idle()
	case "listen":
		listen(n)
	}
}

// eachRest calls f after each of n rests.
func eachRest(n int, f func()) {
	for range n {
		before, _ := os.Hostname()
		fmt.Println("ready")
		for now := before; now == before; now, _ = os.Hostname() {
			time.Sleep(100 * time.Microsecond)
		}
		f()
	}
}

// draw prints a line of numbers for each generator, and who the machine is.
func draw() {
	const n = 200
	line := func(name string, next func() uint64) {
		fmt.Print(name)
		for range n {
			fmt.Printf(" %x", next())
		}
		fmt.Println()
	}
	line("v2", randv2.Uint64)
	line("v1", func() uint64 { return uint64(rand.Int63()) })
	line("maphash", func() uint64 { return maphash.String(maphash.MakeSeed(), "x") })
	line("map", order)
	var b [8]byte
	cryptorand.Read(b[:])
	fmt.Printf("crypto %x\n", b)
	host, _ := os.Hostname()
	text, _ := os.ReadFile("/proc/sys/kernel/hostname")
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	tail := id[len(id)-13:] // where no bits stand for a kind of UUID
	fmt.Printf("host %s %s %s\n", host, strings.TrimSpace(string(text)), strings.TrimSpace(string(tail)))
}

// order is the order in which a range over a map begins.
func order() (v uint64) {
	m := map[int]int{}
	for i := range 256 {
		m[i] = i
	}
	n := 0
	for i := range m {
		if v = v<<8 | uint64(i); n == 7 {
			break
		}
		n++
	}
	return v
}

// read draws n bytes at once and prints the first and the last eight.
func read(n int, draw func(b []byte)) {
	b := make([]byte, n)
	draw(b)
	fmt.Printf("%x %x\n", b[:8], b[n-8:])
}

// idle waits for a signal. Nobody sleeps, and nobody waits in the poller.
func idle() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("ready")
	fmt.Println(<-c)
}

// listen prints the machine's name when it has begun to listen, and whether somebody can
// connect.
func listen(port int) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: port})
	if err != nil {
		panic(err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond) // until Accept waits
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			panic(err)
		}
		c.Write([]byte("hello"))
		c.Close()
	}()
	c, err := l.Accept()
	host, _ := os.Hostname()
	fmt.Println(host, err)
	if err != nil {
		panic(err)
	}
	b := make([]byte, 5)
	n, _ := c.Read(b)
	fmt.Println(string(b[:n]))
}
