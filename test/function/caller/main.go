// Command caller is a function that calls others over its network: what it has of it
// before it is ready, and what in each life after.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What the program has when it becomes ready.
var (
	old      net.Conn // to the peer that its argument names, if it does
	oldUDP   net.Conn
	errs     = make(chan error, 1) // of a read from old that is under way
	listener net.Listener
	datagram net.PacketConn
	inside   [2]net.Conn // over loopback
)

func main() {
	if err := begin(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
		os.Exit(1)
	}
	for {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "caller:", err)
			os.Exit(1)
		}
	}
}

func begin(args []string) (err error) {
	if listener, err = net.Listen("tcp", ":80"); err != nil {
		return err
	}
	if datagram, err = net.ListenPacket("udp", ":53"); err != nil {
		return err
	}
	if err := connectInside(); err != nil {
		return err
	}
	if len(args) == 0 {
		return nil
	}
	if old, err = net.Dial("tcp", args[0]); err != nil {
		return err
	}
	if oldUDP, err = net.Dial("udp", args[0]); err != nil {
		return err
	}
	go func() {
		_, err := old.Read(make([]byte, 100))
		errs <- err
	}()
	if len(args) > 1 && args[1] == "busy" {
		for _, c := range []net.Conn{old, oldUDP, old, oldUDP} {
			go talk(c, "first machine ")
		}
	}
	_, _ = net.LookupHost("nobody.example") // package net has read its files
	return nil
}

// talk sends without end.
func talk(c net.Conn, text string) {
	for b := []byte(strings.Repeat(text, 60)); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func connectInside() (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	if inside[0], err = net.Dial("tcp", l.Addr().String()); err != nil {
		return err
	}
	inside[1], err = l.Accept()
	return err
}

func serve() error {
	f, err := os.OpenFile("/dev/function", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [24]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return err
	}
	message := make([]byte, binary.LittleEndian.Uint64(head[8:]))
	if _, err := io.ReadFull(f, message); err != nil {
		return err
	}
	text, err := answer(strings.Fields(string(message)))
	if err != nil {
		text = "error: " + err.Error()
	}
	_, err = f.WriteString(text)
	return err
}

func answer(words []string) (string, error) {
	arg := append(words, "")[1]
	switch words[0] {
	case "fetch":
		return fetch(arg)
	case "serve": // one request
		c, err := listener.Accept()
		if err != nil {
			return "", err
		}
		defer c.Close()
		name, _ := os.Hostname()
		_, err = fmt.Fprintf(c, "%s to %s", name, c.RemoteAddr())
		return c.RemoteAddr().String(), err
	case "interface":
		return ownInterface()
	case "files":
		return files()
	case "old":
		return broken(), nil
	case "inside":
		go inside[0].Write([]byte("inside"))
		b := make([]byte, 6)
		_, err := io.ReadFull(inside[1], b)
		return string(b), err
	case "leave": // traffic that goes on when this is answered
		go leave(arg)
		time.Sleep(20 * time.Millisecond)
		return "left", nil
	case "got": // a datagram that was there already
		datagram.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		b := make([]byte, 2000)
		n, from, err := datagram.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "nothing", nil
		}
		return fmt.Sprintf("%s from %v", b[:n], from), err
	case "ask":
		list, err := net.LookupHost(arg)
		return strings.Join(list, " "), err
	case "from": // a port of its own, which is the same in each life
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: 5555}, Timeout: 5 * time.Second}
		_, err := d.Dial("tcp", arg)
		return "", err
	case "echo":
		return arg, nil
	}
	return "", errors.New("what is " + words[0] + "?")
}

func fetch(addr string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

func ownInterface() (string, error) {
	eth, err := net.InterfaceByName("eth0")
	if err != nil {
		return "", err
	}
	addrs, err := eth.Addrs()
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	slices.Sort(list)
	return fmt.Sprint(eth.HardwareAddr, " ", eth.MTU, " ", eth.Flags&net.FlagRunning != 0, " ", strings.Join(list, " ")), err
}

func files() (string, error) {
	var all []string
	for _, name := range []string{"resolv.conf", "hosts", "hostname"} {
		b, err := os.ReadFile("/etc/" + name)
		if err != nil {
			return "", err
		}
		all = append(all, string(b))
	}
	return strings.Join(all, "--\n"), nil
}

// broken tells what has become of the connections of before: of a read that waits, of the
// next read and write, and of datagrams.
func broken() string {
	reset := func(err error) string {
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			return "reset"
		case errors.Is(err, syscall.EPIPE):
			return "pipe"
		case errors.Is(err, syscall.EINVAL):
			return "invalid"
		}
		return fmt.Sprint(err)
	}
	var all []string
	select {
	case err := <-errs:
		all = append(all, reset(err))
	case <-time.After(5 * time.Second):
		all = append(all, "waits")
	}
	b := make([]byte, 100)
	old.SetDeadline(time.Now().Add(time.Second))
	_, err := old.Write(b)
	all = append(all, reset(err))
	oldUDP.SetDeadline(time.Now().Add(time.Second))
	_, err = oldUDP.Read(b)
	all = append(all, reset(err))
	_, err = oldUDP.Write(b)
	return strings.Join(append(all, reset(err)), " ")
}

func leave(addr string) {
	for _, kind := range []string{"udp", "tcp"} {
		if c, err := net.Dial(kind, addr); err == nil {
			go talk(c, "life before ")
		}
	}
}
