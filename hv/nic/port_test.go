package nic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// file is one that may fail.
type file struct {
	bytes.Buffer
	left   int // bytes until it fails
	wait   chan bool
	closed int
}

func (f *file) Write(b []byte) (int, error) {
	if f.wait != nil {
		<-f.wait
	}
	if f.left -= len(b); f.left < 0 {
		return 0, unix.ENOSPC
	}
	return f.Buffer.Write(b)
}

func (f *file) Close() error { f.closed++; return nil }

// TestCapture: what goes by is in the file, both ways.
func TestCapture(t *testing.T) {
	f := &file{left: 1 << 30}
	c := NewCapture(f)
	a, b := pair(t, unix.SOCK_SEQPACKET)
	p := NewPort(a, 1500, 0, c)
	var h Header
	buf := make([]byte, 2000)
	const rounds = 500
	for i := range rounds {
		if _, err := p.Send(&h, bytes.Repeat([]byte{byte(i)}, 60+i)); err != nil {
			t.Fatal(err)
		}
		n, err := b.Receive(&h, buf)
		if err != nil {
			t.Fatal(err)
		}
		b.Send(&h, buf[:n/2])
		if _, err := p.Receive(&h, buf); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil || f.closed != 1 {
		t.Fatal(err, f.closed)
	}
	le, file := binary.LittleEndian, f.Bytes()
	if le.Uint32(file) != 0xa1b23c4d || le.Uint16(file[4:]) != 2 || le.Uint16(file[6:]) != 4 || le.Uint32(file[16:]) != 262144 || le.Uint32(file[20:]) != 1 {
		t.Errorf("% x", file[:24])
	}
	file = file[24:]
	for i := range 2 * rounds {
		want := 60 + i/2
		if i%2 == 1 {
			want /= 2
		}
		sec, ns, n, all := le.Uint32(file), le.Uint32(file[4:]), le.Uint32(file[8:]), le.Uint32(file[12:])
		if d := time.Since(time.Unix(int64(sec), int64(ns))); d < 0 || d > time.Minute || int(n) != want || all != n || file[16] != byte(i/2) {
			t.Fatalf("record %d: %v ago, %d of %d bytes", i, d, n, all)
		}
		file = file[16+n:]
	}
	if len(file) != 0 {
		t.Errorf("%d bytes more", len(file))
	}
}

// TestCaptureFails: an error ends the capture and not the traffic, and is said once.
func TestCaptureFails(t *testing.T) {
	f := &file{left: 200_000}
	c := NewCapture(f)
	for range 1000 {
		c.Add(make([]byte, 1500))
		time.Sleep(10 * time.Microsecond)
	}
	if err := c.Close(); !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	if err := c.Close(); err != nil || f.closed != 1 {
		t.Error(err, f.closed)
	}
}

// TestCaptureSlow: a file that takes nothing costs a bounded amount of memory.
func TestCaptureSlow(t *testing.T) {
	f := &file{left: 1 << 30, wait: make(chan bool)}
	c := NewCapture(f)
	began := time.Now()
	for range 20_000 {
		c.Add(make([]byte, 1500))
	}
	if d := time.Since(began); d > 2*time.Second || cap(c.buf) > 3*captureBytes {
		t.Errorf("%v, %d bytes", d, cap(c.buf))
	}
	close(f.wait)
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "too slow for") {
		t.Error(err)
	}
}

// TestPortRate: what was too much is waited for, one frame at least goes by at once.
func TestPortRate(t *testing.T) {
	a, b := pair(t, unix.SOCK_SEQPACKET)
	p := NewPort(a, 1500, 10_000, nil)
	if p.SendAfter() != 0 || p.ReceiveAfter() != 0 {
		t.Error("the first frame waits")
	}
	var h Header
	frame := make([]byte, 65549)
	for range 2 {
		if _, err := p.Send(&h, frame); err != nil {
			t.Fatal(err)
		}
		b.Receive(&h, frame)
	}
	if d := p.SendAfter(); d < 6*time.Second || d > 7*time.Second || p.ReceiveAfter() != 0 {
		t.Errorf("after %v, the other way %v", d, p.ReceiveAfter())
	}
}
