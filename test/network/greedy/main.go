// Command greedy takes all that there is of what its word says, tells why there is no
// more, gives it back and fetches a URL with what is left.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// A bound for what should have ended before.
const most = 200_000

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: greedy sockets|listeners|datagrams|connections|names HOST:PORT URL")
		os.Exit(2)
	}
	what, address, url := os.Args[1], os.Args[2], os.Args[3]
	var n int
	var err error
	switch what {
	case "sockets":
		n, err = keep(func(int) (io.Closer, error) {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
			return closer(fd), err
		})
	case "listeners":
		n, err = keep(func(int) (io.Closer, error) { return net.Listen("tcp", "127.0.0.1:0") })
	case "datagrams":
		n, err = keep(func(i int) (io.Closer, error) { return datagrams(address, i) })
	case "connections":
		n, err = keep(func(int) (io.Closer, error) { return net.DialTimeout("tcp", address, 5*time.Second) })
	case "names":
		n, err = names()
	}
	fmt.Println(what, kind(err))
	fmt.Fprintln(os.Stderr, n, err)
	for try := 0; ; try++ {
		if err = fetch(url); err == nil || try == 5 {
			break
		}
		time.Sleep(time.Second)
	}
	fmt.Println("fetched", err)
}

// keep makes things and keeps them until there are no more.
func keep(make func(i int) (io.Closer, error)) (n int, err error) {
	for ; n < most; n++ {
		c, err := make(n)
		if err != nil {
			return n, err
		}
		defer c.Close()
	}
	return n, nil
}

// closer is a descriptor.
type closer int

func (c closer) Close() error { return syscall.Close(int(c)) }

// datagrams sends to many ports, a flow each.
func datagrams(address string, i int) (io.Closer, error) {
	if i == 3000 {
		return nil, errors.New("enough")
	}
	c, err := net.Dial("udp", address)
	if err == nil {
		c.Write(make([]byte, 1000))
	}
	return c, err
}

// names asks for many at a time.
func names() (n int, err error) {
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() { net.LookupHost(fmt.Sprintf("n%d.invalid", i)) })
	}
	all.Wait()
	return 2000, errors.New("enough")
}

func kind(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return "EMFILE"
	case errors.Is(err, syscall.ENOBUFS):
		return "ENOBUFS"
	case errors.Is(err, syscall.EADDRINUSE):
		return "EADDRINUSE"
	case err == nil:
		return "endless"
	}
	return "ended"
}

func fetch(url string) error {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	return r.Body.Close()
}
