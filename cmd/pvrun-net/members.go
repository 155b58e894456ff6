package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a shared network waits for its first machine.
var patience = 10 * time.Second

// acceptPause is how long it leaves those alone who connect and cannot be taken.
const acceptPause = 10 * time.Millisecond

// serveShared has a network for all that connect, until the last has left. Whoever
// connects holds a lock on the folder of the sockets then, and so does this when it ends: a
// machine is never lost between the two.
func serveShared(n *network, file *os.File, path string) error {
	l, err := net.FileListener(file)
	file.Close()
	listener, ok := l.(*net.UnixListener)
	if err != nil || !ok {
		return fmt.Errorf("descriptor 3 is not a listening unix socket")
	}
	listener.SetUnlinkOnClose(false)
	var members sync.WaitGroup
	left := make(chan struct{}, 1)
	listener.SetDeadline(time.Now().Add(patience))
	count := make(chan int, 1)
	count <- 0
	go func() {
		for range left {
			listener.SetDeadline(time.Now())
		}
	}()
	for {
		conn, err := listener.AcceptUnix()
		switch {
		case err == nil:
			count <- <-count + 1
			listener.SetDeadline(time.Time{})
			members.Go(func() {
				control{conn}.serve(n)
				one := <-count - 1
				count <- one
				if one == 0 {
					left <- struct{}{}
				}
			})
			continue
		case errors.Is(err, net.ErrClosed):
			return err
		case !errors.Is(err, os.ErrDeadlineExceeded):
			time.Sleep(acceptPause) // descriptors are used up, which the machines that are here survive
			continue
		}
		now := <-count
		count <- now
		if now > 0 {
			listener.SetDeadline(time.Time{})
			continue
		}
		if last(listener, path) {
			return nil
		}
	}
}

// last takes the network's name away, unless somebody waits to connect.
func last(listener *net.UnixListener, path string) bool {
	folder, err := os.Open(filepath.Dir(path))
	if err == nil {
		defer folder.Close()
		unix.Flock(int(folder.Fd()), unix.LOCK_EX)
	}
	if waiting(listener) {
		listener.SetDeadline(time.Now().Add(patience))
		return false
	}
	os.Remove(path)
	return true
}

// waiting is whether a connection is there to be accepted.
func waiting(listener *net.UnixListener) (yes bool) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(p, 0)
		yes = n > 0
	})
	return yes
}
