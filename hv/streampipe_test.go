package hv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
)

var pipeImage = sync.OnceValues(func() (string, error) { return builtOnce("../test/function/pipe") })

// piped is a snapshot of a program that connects each client with a service.
func piped(t *testing.T) *Snapshot {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	need.KVM(t)
	need.Count(1)
	img, err := pipeImage()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Boot(ctx, Config{
		Image: img, Args: []string{"pipe"}, Stderr: os.Stderr, Memory: 256 << 20,
		Env:      []string{"PORT=8080", fmt.Sprintf("SERVICE=127.0.0.1:%d", servicePort)},
		Messages: true, Ready: hypercall.ReadyListen, ReadyPort: 8080, ServicePort: servicePort,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ends are both ends of a connection through the program.
func ends(t testing.TB, vm *VM) (a, b *conn) {
	t.Helper()
	c, err := vm.Dial(0)
	if err != nil {
		t.Fatal(err)
	}
	c.Write(nil) // or the program does not hear of it yet
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d, err := vm.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	d.SetDeadline(time.Now().Add(30 * time.Second))
	return c.(*conn), d.(*conn)
}

// TestPipe sends much both ways at once, over several connections, each of which is ended
// by halves.
func TestPipe(t *testing.T) {
	vm := clone(t, piped(t))
	for life := range 3 {
		stop := serving(t, vm)
		var all sync.WaitGroup
		for i := range 8 {
			a, b := ends(t, vm) // in turn: which is whose cannot be told
			all.Go(func() {
				defer a.Close()
				defer b.Close()
				var both sync.WaitGroup
				both.Go(func() { send(t, a, b, uint64(i), 1+i*300_000) })
				both.Go(func() { send(t, b, a, uint64(i)+100, 1+(7-i)*300_000) })
				both.Wait()
			})
		}
		all.Wait()
		stop()
		if err := vm.Rewind(); err != nil {
			t.Fatal(life, err)
		}
	}
}

// send sends n bytes in pieces from one end to the other, and the end.
func send(t *testing.T, from, to *conn, seed uint64, n int) {
	table := crc64.MakeTable(crc64.ECMA)
	sum, sent := crc64.New(table), make(chan struct{})
	go func() {
		defer close(sent)
		r := rand.New(rand.NewPCG(seed, 1))
		for left := n; left > 0; {
			b := make([]byte, min(left, 1+r.IntN(100_000)))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			if _, err := from.Write(b); err != nil {
				t.Error(err)
				return
			}
			sum.Write(b)
			left -= len(b)
		}
		from.CloseWrite()
	}()
	got := crc64.New(table)
	k, err := io.Copy(got, to)
	<-sent
	if err != nil || int(k) != n || got.Sum64() != sum.Sum64() {
		t.Errorf("%d bytes of %d, %v", k, n, err)
	}
}

// TestPipeReset: a reset goes through, and what waits on the other side hears of it.
func TestPipeReset(t *testing.T) {
	vm := clone(t, piped(t))
	defer serving(t, vm)()
	for range 20 {
		a, b := ends(t, vm)
		b.Write([]byte("nobody reads this"))
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		a.Close() // with the rest unread
		if _, err := io.Copy(io.Discard, b); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the other side: %v", err)
		}
		b.Close()
	}
	c, err := vm.Dial(81)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("nobody listens there")
	}
}

// TestPipeBackPressure: who does not read stops who writes, at both ends, and goes on later.
func TestPipeBackPressure(t *testing.T) {
	vm := clone(t, piped(t))
	defer serving(t, vm)()
	a, b := ends(t, vm)
	a.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := a.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	a.SetWriteDeadline(time.Time{})
	a.CloseWrite()
	if k, err := io.Copy(io.Discard, b); err != nil || int(k) != n {
		t.Errorf("%d bytes of %d, %v", k, n, err)
	}
	b.Write([]byte("x"))
	b.Close()
	if text, err := io.ReadAll(a); string(text) != "x" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// TestPipeEnds: when a machine is closed with connections open nothing of them is left.
func TestPipeEnds(t *testing.T) {
	s := piped(t)
	before := runtime.NumGoroutine()
	for range 5 {
		vm, err := s.New(Clone{Stderr: os.Stderr})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error, 1)
		go func() { left <- vm.RunUntil(ctx, nil) }()
		var readers sync.WaitGroup
		for range 5 {
			a, b := ends(t, vm)
			for _, c := range []net.Conn{a, b} {
				readers.Go(func() {
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrOver) {
						t.Errorf("Read: %v", err)
					}
				})
			}
		}
		why := errors.New("enough")
		cancel(why)
		if err := <-left; err != why {
			t.Errorf("RunUntil: %v", err)
		}
		readers.Wait()
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
		if _, err := vm.Accept(t.Context()); !errors.Is(err, ErrOver) {
			t.Errorf("Accept: %v", err)
		}
	}
	waitFor(t, "the goroutines' end", func() bool { return runtime.NumGoroutine() <= before })
}

// TestPipeMany opens as many streams as there may be, and one more.
func TestPipeMany(t *testing.T) {
	vm := clone(t, piped(t))
	defer serving(t, vm)()
	var list []net.Conn
	for range hypercall.MaxStreams / 2 {
		a, b := ends(t, vm)
		list = append(list, a, b)
	}
	if _, err := vm.Dial(0); !errors.Is(err, ErrStreams) {
		t.Errorf("Dial: %v", err)
	}
	for i := 0; i < len(list); i += 2 {
		want := []byte(fmt.Sprint("number ", i))
		list[i].Write(want)
		b := make([]byte, len(want))
		if _, err := io.ReadFull(list[i+1], b); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("%q, %v", b, err)
		}
	}
	for _, c := range list {
		c.Close()
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		c, err := vm.Dial(0)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal("places do not come back: ", err)
		}
	}
}
