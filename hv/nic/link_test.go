package nic

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is two ends of a link.
func pair(t testing.TB, typ int) (a, b Link) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return Link{FD: fds[0]}, Link{FD: fds[1]}
}

func TestLink(t *testing.T) {
	for _, typ := range []int{unix.SOCK_SEQPACKET, unix.SOCK_DGRAM} {
		a, b := pair(t, typ)
		sent := Header{1, 4, 66, 1448, 34, 16}
		frame := bytes.Repeat([]byte("frame"), 300)
		if n, err := a.Send(&sent, frame); n != len(frame) || err != nil {
			t.Fatal(n, err)
		}
		var got Header
		buf := make([]byte, 2000)
		if n, err := b.Receive(&got, buf); n != len(frame) || err != nil || got != sent || !bytes.Equal(buf[:n], frame) {
			t.Errorf("%d bytes, %v, header %+v", n, err, got)
		}
		if n, err := b.Receive(&got, buf); n != 0 || err != unix.EAGAIN {
			t.Errorf("nothing: %d, %v", n, err)
		}
		for size := range HeaderSize {
			if _, err := unix.Write(a.FD, frame[:size]); err != nil {
				t.Fatal(err)
			}
			if n, err := b.Receive(&got, buf); size > 0 && n == 0 && !errors.Is(err, ErrShort) {
				t.Errorf("a message of %d bytes: %d, %v", size, n, err)
			}
		}
	}
}

func TestLinkGone(t *testing.T) {
	a, b := pair(t, unix.SOCK_SEQPACKET)
	unix.Shutdown(b.FD, unix.SHUT_RDWR)
	var h Header
	if n, err := a.Receive(&h, make([]byte, 20)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := a.Send(&h, make([]byte, 20)); n != 0 || err != unix.EPIPE {
		t.Errorf("%d, %v", n, err)
	}
}

func TestLinkAllocates(t *testing.T) {
	a, b := pair(t, unix.SOCK_SEQPACKET)
	frame := make([]byte, 1514)
	h := new(Header)
	n := testing.AllocsPerRun(100, func() {
		a.Send(h, frame)
		b.Receive(h, frame)
		b.Receive(h, frame) // EAGAIN
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
