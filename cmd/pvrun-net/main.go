package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// controlFD is where pvrun has put its socket.
const controlFD = 3

// memoryLimit is where the collector begins to work hard; what a network may hold is
// bounded where it is held.
const memoryLimit = 512 << 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pvrun-net:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	shared := len(args) == 2 && args[0] == "--shared"
	if len(args) != 0 && !shared {
		return errors.New("pvrun starts this for --net user; there is nothing to be done by hand")
	}
	// A key on the terminal, or the end of its session, is for the program: this ends
	// with its machines.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGPIPE)
	logrus.SetOutput(io.Discard)
	debug.SetMemoryLimit(memoryLimit)
	unix.CloseOnExec(controlFD)
	file := os.NewFile(controlFD, "control")
	if file == nil {
		return errors.New("descriptor 3 is missing")
	}
	n, err := newNetwork()
	if err != nil {
		return err
	}
	defer n.close()
	if shared {
		return serveShared(n, file, args[1])
	}
	c, err := net.FileConn(file)
	file.Close()
	conn, ok := c.(*net.UnixConn)
	if err != nil || !ok {
		return fmt.Errorf("descriptor 3 is not a unix socket: pvrun starts this for --net user")
	}
	control{conn}.serve(n)
	return nil
}
