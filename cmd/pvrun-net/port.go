package main

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxQueue is how many bytes wait for a machine that does not take them; more is
// dropped. A TCP stream fills half of it.
const maxQueue = 2 << 20

var zeroHeader [frameHeader]byte

// port is where a machine is at the switch.
type port struct {
	file    *os.File
	raw     syscall.RawConn
	mtu     int
	stop    atomic.Bool
	dropped atomic.Uint64

	mu     sync.Mutex
	queue  [][]byte      // frames behind their headers
	queued int           // bytes
	wake   chan struct{} // there is something in queue
	end    chan struct{} // closed with the port
}

func newPort(frames *os.File, mtu int) (*port, error) {
	fd, err := unix.FcntlInt(frames.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	unix.SetNonblock(fd, true)
	// What the kernel refuses it keeps as it was.
	const room = 4 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, room)
	}
	p := &port{file: os.NewFile(uintptr(fd), "frames"), mtu: mtu, wake: make(chan struct{}, 1), end: make(chan struct{})}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// send gives the machine a frame, of parts that are size bytes together, or drops it.
// It never waits, and keeps nothing of them.
func (p *port) send(parts [][]byte, size int) {
	if size > ethernetHeader+p.mtu {
		p.dropped.Add(1)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 && p.write(append([][]byte{zeroHeader[:]}, parts...)) {
		return
	}
	if p.queued+size > maxQueue || p.stop.Load() {
		p.dropped.Add(1)
		return
	}
	frame := make([]byte, frameHeader, frameHeader+size)
	for _, part := range parts {
		frame = append(frame, part...)
	}
	p.queue, p.queued = append(p.queue, frame), p.queued+size
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// write gives a frame to the kernel; done is false when it is to be tried again.
func (p *port) write(parts [][]byte) (done bool) {
	err := p.raw.Control(func(fd uintptr) {
		_, err := unix.Writev(int(fd), parts)
		for err == unix.EINTR {
			_, err = unix.Writev(int(fd), parts)
		}
		if done = err != unix.EAGAIN && err != unix.ENOBUFS; done && err != nil {
			p.dropped.Add(1)
		}
	})
	return done || err != nil
}

// drain sends what is queued, as the machine takes it.
func (p *port) drain() {
	for {
		select {
		case <-p.wake:
		case <-p.end:
			return
		}
		p.raw.Write(func(uintptr) (empty bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for len(p.queue) > 0 {
				if p.stop.Load() {
					return true
				}
				if !p.write(p.queue[:1]) {
					return false
				}
				p.queued -= len(p.queue[0]) - frameHeader
				p.queue[0] = nil
				p.queue = p.queue[1:]
			}
			p.queue = nil
			return true
		})
	}
}

// run calls f with each frame that the machine sends. A frame that makes it panic
// ends the machine's link and no other's.
func (p *port) run(f func(frame []byte)) {
	defer func() {
		if recover() != nil {
			unix.Shutdown(int(p.file.Fd()), unix.SHUT_RDWR)
		}
	}()
	var head [frameHeader]byte
	frame := make([]byte, ethernetHeader+maxMTU+1) // one too long shows
	parts := [][]byte{head[:], frame}
	p.raw.Read(func(fd uintptr) (end bool) {
		for !p.stop.Load() {
			n, err := unix.Readv(int(fd), parts)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false
			case err != nil || n == 0:
				return true
			case n > frameHeader:
				f(frame[:n-frameHeader])
			}
		}
		return true
	})
}

func (p *port) close() {
	p.stop.Store(true)
	p.file.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = nil
	close(p.end)
}
