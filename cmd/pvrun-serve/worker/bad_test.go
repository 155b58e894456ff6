package worker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
)

// envBad makes workers bad ones.
const envBad = "PVRUN_WORKER_BAD"

// bads are what bad workers do when they have begun, and are asked for a machine.
var bads = map[string]func(c net.Conn, asked frame){
	"closes":  func(net.Conn, frame) {},
	"panics":  func(net.Conn, frame) { panic("at\nonce") },
	"mistake": func(c net.Conn, f frame) { writeFrame(c, frame{kind: kindDone, machine: f.machine + 1}) },
	"twice": func(c net.Conn, f frame) {
		for range 2 {
			writeFrame(c, frame{kind: kindDone, machine: f.machine})
		}
	},
	"asks":    func(c net.Conn, f frame) { writeFrame(c, f) },
	"long":    func(c net.Conn, f frame) { c.Write(header(1<<31, f.machine, kindResponse)) },
	"unknown": func(c net.Conn, f frame) { c.Write(header(0, f.machine, kinds)) },
	"half":    func(c net.Conn, f frame) { c.Write(header(100, f.machine, kindResponse)) },
	"writes":  func(c net.Conn, f frame) { writeFrame(c, frame{kind: kindStdout, machine: 77}) },
}

func header(n, machine uint32, k kind) []byte {
	h := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(h, n)
	binary.LittleEndian.PutUint32(h[4:], machine)
	h[8] = byte(k)
	return h
}

// bad is a worker that is none.
func bad(how string) int {
	c, err := socketOf(socketFD)
	if err != nil {
		return 9
	}
	in := bufio.NewReader(c)
	if how == "exits" {
		fmt.Fprintln(os.Stderr, "not today")
		return 3
	}
	readFrame(in)
	if how == "refuses" {
		writeFrame(c, frame{kind: kindError, payload: encodeError(errors.New("no room"))})
		return 0
	}
	writeFrame(c, frame{kind: kindDone})
	f, _ := readFrame(in)
	bads[how](c, f)
	if how != "closes" && how != "half" {
		io.Copy(io.Discard, in) // until the other side has enough of it
	}
	return 0
}

// A worker that is no good is an error, whatever it does, and is gone.
func TestBadWorkers(t *testing.T) {
	s := newSource(t, 2)
	for how, want := range map[string]string{
		"exits": "exit status 3: not today", "refuses": "no room",
		"closes": "has ended", "panics": "exit status 2: panic: at",
		"mistake": "makes no sense", "asks": "makes no sense",
		"long": "a frame of kind", "unknown": "a frame of kind", "half": "unexpected EOF",
		"writes": "makes no sense",
	} {
		t.Setenv(envBad, how)
		m, err := s.New(nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", how, err, want)
		}
		if begins := how == "exits" || how == "refuses"; errors.Is(err, pool.ErrLost) == begins {
			t.Errorf("%s: got %v", how, err)
		}
		if m != nil {
			m.Close()
		}
	}
	t.Setenv(envBad, "twice")
	m, err := s.New(nil, nil)
	if err == nil {
		<-m.of.gone
		m.Close()
	}
	t.Setenv(envBad, "")
	wants(t, newMachine(t, s, nil), "hello", "hello ")
}

// FuzzFrame reads frames, none of which is longer than it may be.
func FuzzFrame(f *testing.F) {
	f.Add(append(header(5, 1, kindInvoke), "hello"...))
	f.Add(header(1<<31, 1, kindResponse))
	f.Add(header(0, 1, kinds))
	f.Add(header(1, 1, kindDone)[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrame(bytes.NewReader(b))
		if err == nil && (got.kind >= kinds || len(got.payload) > int(limits[got.kind]) || len(got.payload) > len(b)) {
			t.Errorf("a frame of kind %d and %d bytes", got.kind, len(got.payload))
		}
		if err == nil {
			_ = decodeError(got.payload)
		}
	})
}
