package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// peer is who talks to a server: the address, and the namespace to reach it from.
type peer struct{ ns, address string }

// dial connects on a thread in the peer's namespace: a socket belongs to that of the
// thread that makes it.
func (p peer) dial() (c net.Conn, err error) {
	if p.ns == "" {
		return net.Dial("tcp", p.address)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		file, err := os.Open("/run/netns/" + p.ns)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			file.Close()
		}
		if err == nil {
			c, err = net.Dial("tcp", p.address)
		}
		done <- err
	}()
	err = <-done
	return c, err
}

// await waits until the server answers.
func (p peer) await() error {
	var err error
	for range 200 {
		var c net.Conn
		if c, err = p.dial(); err == nil {
			c.SetDeadline(time.Now().Add(time.Second))
			_, err = exchange(c, make([]byte, 4096))
			c.Close()
			if err == nil {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

const request = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"

// exchange makes one request for a short answer and returns how long that is.
func exchange(c net.Conn, buf []byte) (int, error) {
	if _, err := io.WriteString(c, request); err != nil {
		return 0, err
	}
	n := 0
	for {
		k, err := c.Read(buf[n:])
		if n += k; err != nil {
			return n, err
		}
		// hello's body is one line, and the head has no line without CR.
		if s := string(buf[:n]); strings.HasSuffix(s, "\n") && !strings.HasSuffix(s, "\r\n") {
			if !strings.HasPrefix(s, "HTTP/1.1 200 ") {
				return n, fmt.Errorf("the server says %q", s)
			}
			return n, nil
		}
	}
}

// requests makes n requests on each of some connections at a time, and returns how
// long each took, sorted, and all of them together.
func (p peer) requests(n, connections int) (each []time.Duration, all time.Duration, err error) {
	conns := make([]net.Conn, connections)
	for i := range conns {
		if conns[i], err = p.dial(); err != nil {
			return nil, 0, err
		}
		defer conns[i].Close()
	}
	took := make([][]time.Duration, connections)
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for i, c := range conns {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for range n {
				t := time.Now()
				if _, err := exchange(c, buf); err != nil {
					failed.Store(&err)
					return
				}
				took[i] = append(took[i], time.Since(t))
			}
		})
	}
	wg.Wait()
	all = time.Since(began)
	if err := failed.Load(); err != nil {
		return nil, 0, *err
	}
	each = slices.Concat(took...)
	slices.Sort(each)
	return each, all, nil
}

// download has the server send bytes, upload sends it some.
func (p peer) download(bytes int64) (time.Duration, error) {
	return p.stream(fmt.Sprintf("GET /bytes/%d HTTP/1.1\r\nHost: bench\r\n\r\n", bytes), 0, bytes)
}

func (p peer) upload(bytes int64) (time.Duration, error) {
	return p.stream(fmt.Sprintf("POST /count HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n", bytes), bytes, 0)
}

func (p peer) stream(head string, out, in int64) (time.Duration, error) {
	c, err := p.dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	if _, err := io.WriteString(c, head); err != nil {
		return 0, err
	}
	for chunk := make([]byte, 256<<10); out > 0; {
		n, err := c.Write(chunk[:min(out, int64(len(chunk)))])
		if err != nil {
			return 0, err
		}
		out -= int64(n)
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(c, 256<<10), nil)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	if err == nil && (r.StatusCode != 200 || in > 0 && n != in) {
		err = fmt.Errorf("%s with %d bytes of %d", r.Status, n, in)
	}
	return time.Since(began), err
}
