// Command sockets uses the sockets of unix(7) as programs do: through package net, and
// by system calls with buffers on the stack.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	streams()
	datagrams()
	pairs()
	rights()
	deadlines()
	half()
	calls()
	stack(1)
	vectors()
	messages()
	backlog()
	interfaces()
	files()
	fmt.Println("ok")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// streams has many clients at once, each of which gets back what it sends.
func streams() {
	for _, path := range []string{os.TempDir() + "/stream.sock", "@stream"} {
		l, err := net.Listen("unix", path)
		must(err)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_, err := io.Copy(c, c)
					must(err)
				}()
			}
		}()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { echo(path, int64(i)) })
		}
		wg.Wait()
		must(l.Close())
		if _, err := net.Dial("unix", path); err == nil {
			panic("dialed a closed listener")
		}
	}
	_, err := os.Stat(os.TempDir() + "/stream.sock")
	fmt.Println("streams", os.IsNotExist(err))
}

func echo(path string, seed int64) {
	c, err := net.Dial("unix", path)
	must(err)
	data := make([]byte, 200_000)
	rand.New(rand.NewSource(seed)).Read(data)
	go func() {
		_, err := c.Write(data)
		must(err)
		must(c.(*net.UnixConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	must(err)
	if sha256.Sum256(got) != sha256.Sum256(data) {
		panic("echo differs")
	}
	must(c.Close())
}

func datagrams() {
	addr := &net.UnixAddr{Name: os.TempDir() + "/dgram.sock", Net: "unixgram"}
	s, err := net.ListenUnixgram("unixgram", addr)
	must(err)
	defer s.Close()
	c, err := net.DialUnix("unixgram", &net.UnixAddr{Name: "@client", Net: "unixgram"}, addr)
	must(err)
	defer c.Close()
	const count = 3000 // more than a queue has room for
	go func() {
		for i := range count {
			_, err := fmt.Fprint(c, "datagram ", i)
			must(err)
		}
	}()
	b := make([]byte, 100)
	for i := range count {
		n, from, err := s.ReadFromUnix(b)
		must(err)
		if want := fmt.Sprint("datagram ", i); string(b[:n]) != want || from.Name != "@client" {
			panic(fmt.Sprint(string(b[:n]), from))
		}
	}
	_, err = net.Dial("unix", addr.Name)
	fmt.Println("datagrams", errors.Is(err, syscall.EPROTOTYPE))
}

func pairs() {
	for _, typ := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM, syscall.SOCK_SEQPACKET} {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, typ, 0)
		must(err)
		f := os.NewFile(uintptr(fds[0]), "pair")
		c, err := net.FileConn(f)
		must(err)
		must(f.Close())
		go func() { // a blocking write from here, a netpoller's read there
			_, err := syscall.Write(fds[1], []byte("through the pair"))
			must(err)
		}()
		b := make([]byte, 100)
		n, err := c.Read(b)
		must(err)
		cred, err := syscall.GetsockoptUcred(fds[1], syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		must(err)
		var st syscall.Stat_t
		must(syscall.Fstat(fds[1], &st))
		name, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fds[1]))
		must(err)
		fmt.Println("pair", string(b[:n]), cred.Pid == int32(os.Getpid()), st.Mode&syscall.S_IFMT == syscall.S_IFSOCK,
			strings.HasPrefix(name, "socket:["))
		must(c.Close())
		must(syscall.Close(fds[1]))
	}
}

// rights sends a file through a socket.
func rights() {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	must(os.WriteFile(os.TempDir()+"/sent", []byte("sent along"), 0o600))
	f, err := os.Open(os.TempDir() + "/sent")
	must(err)
	must(syscall.Sendmsg(fds[0], []byte("x"), syscall.UnixRights(int(f.Fd())), nil, 0))
	must(f.Close())
	b, oob := make([]byte, 10), make([]byte, 64)
	n, oobn, flags, _, err := syscall.Recvmsg(fds[1], b, oob, syscall.MSG_CMSG_CLOEXEC)
	must(err)
	list, err := syscall.ParseSocketControlMessage(oob[:oobn])
	must(err)
	got, err := syscall.ParseUnixRights(&list[0])
	must(err)
	text, err := io.ReadAll(os.NewFile(uintptr(got[0]), "received"))
	must(err)
	fmt.Println("rights", n, string(text), flags == syscall.MSG_CMSG_CLOEXEC)
	must(syscall.Close(fds[0]))
	must(syscall.Close(fds[1]))
}

func deadlines() {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	c, err := net.FileConn(os.NewFile(uintptr(fds[0]), "pair"))
	must(err)
	must(c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	fmt.Println("deadline", errors.Is(err, os.ErrDeadlineExceeded))
	must(syscall.SetsockoptTimeval(fds[1], syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 20_000}))
	begun := time.Now()
	_, err = syscall.Read(fds[1], make([]byte, 1))
	fmt.Println("SO_RCVTIMEO", err == syscall.EAGAIN, time.Since(begun) > 15*time.Millisecond)
	must(c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)))
	_, err = c.Write(make([]byte, 10<<20))
	fmt.Println("write", errors.Is(err, os.ErrDeadlineExceeded))
	must(c.Close())
	must(syscall.Close(fds[1]))
}

func half() {
	l, err := net.Listen("unix", "@half")
	must(err)
	defer l.Close()
	c, err := net.Dial("unix", "@half")
	must(err)
	s, err := l.Accept()
	must(err)
	must(s.Close())
	_, err = c.Read(make([]byte, 1))
	_, err2 := c.Write([]byte("x"))
	fmt.Println("half", err == io.EOF, errors.Is(err2, syscall.EPIPE))
}

// calls are system calls that fail.
func calls() {
	bad := func(what string, nr uintptr, a, b, c uintptr) {
		_, _, e := syscall.Syscall(nr, a, b, c)
		fmt.Println(what+":", e)
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	fd := uintptr(fds[0])
	bad("bind a file", syscall.SYS_BIND, 1, 0, 0)
	bad("bind nothing", syscall.SYS_BIND, 77, 0, 0)
	bad("bind a bad pointer", syscall.SYS_BIND, fd, 8, 16)
	bad("bind too long", syscall.SYS_BIND, fd, 8, 200)
	bad("listen", syscall.SYS_LISTEN, fd, 1, 0)
	bad("recvmsg nowhere", syscall.SYS_RECVMSG, fd, 8, 0)
	bad("accept flags", syscall.SYS_ACCEPT4, fd, 0, 0)
	bad("getsockname nowhere", syscall.SYS_GETSOCKNAME, fd, 8, 8)
	bad("socket type", syscall.SYS_SOCKET, syscall.AF_UNIX, 77, 0)
	bad("socket flags", syscall.SYS_SOCKET, syscall.AF_UNIX, 1|1<<20, 0)
	bad("socket family", syscall.SYS_SOCKET, 5, 1, 0)
	m := [7]uintptr{2: 8, 3: 1 << 40}
	bad("sendmsg vector", syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&m)), 0)
	m = [7]uintptr{2: 8, 3: 1}
	bad("sendmsg bad vector", syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&m)), 0)
	_, err = syscall.Seek(fds[0], 0, 0)
	fmt.Println("seek:", err)
	must(syscall.Close(fds[0]))
	must(syscall.Close(fds[1]))
}

// stack reads into a buffer on the stack while that grows and moves.
func stack(depth int) {
	if depth == 1 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { stack(2) })
		}
		wg.Wait()
		fmt.Println("stack")
		return
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	for i := range 200 {
		var b [64]byte
		var want [64]byte
		for k := range want {
			want[k] = byte(i + k)
		}
		go func() {
			runtime.Gosched()
			grow(50)
			_, _ = syscall.Write(fds[0], want[:])
		}()
		n, err := syscall.Read(fds[1], b[:])
		must(err)
		if n != 64 || b != want {
			panic("the stack's buffer differs")
		}
		if i%50 == 0 {
			runtime.GC()
		}
	}
	must(syscall.Close(fds[0]))
	must(syscall.Close(fds[1]))
}

func grow(n int) byte {
	var b [256]byte
	if n > 0 {
		b[n] = grow(n - 1)
	}
	return b[n]
}

// vectors has more pieces than a page of struct iovec.
func vectors() {
	l, err := net.Listen("unix", "@vectors")
	must(err)
	defer l.Close()
	got := make(chan []byte)
	go func() {
		c, err := l.Accept()
		must(err)
		b, err := io.ReadAll(c)
		must(err)
		got <- b
	}()
	c, err := net.Dial("unix", "@vectors")
	must(err)
	var list net.Buffers
	var want []byte
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, i%300)
		list, want = append(list, b), append(want, b...)
	}
	_, err = list.WriteTo(c)
	must(err)
	must(c.Close())
	fmt.Println("vectors", bytes.Equal(<-got, want))
}

// messages goes through sendmmsg and recvmmsg.
func messages() {
	type mmsghdr struct {
		syscall.Msghdr
		n uint32
		_ uint32
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	must(err)
	var out, in [4]mmsghdr
	var vec, room [4]syscall.Iovec
	bufs := make([][]byte, 4)
	for i := range out {
		text := []byte(strings.Repeat("x", i+1))
		vec[i] = syscall.Iovec{Base: &text[0], Len: uint64(len(text))}
		out[i].Iov, out[i].Iovlen = &vec[i], 1
		bufs[i] = make([]byte, 10)
		room[i] = syscall.Iovec{Base: &bufs[i][0], Len: 10}
		in[i].Iov, in[i].Iovlen = &room[i], 1
	}
	const sendmmsg, recvmmsg, waitForOne = 307, 299, 0x10000
	sent, _, e1 := syscall.Syscall6(sendmmsg, uintptr(fds[0]), uintptr(unsafe.Pointer(&out)), 3, 0, 0, 0)
	got, _, e2 := syscall.Syscall6(recvmmsg, uintptr(fds[1]), uintptr(unsafe.Pointer(&in)), 4, waitForOne, 0, 0)
	fmt.Println("messages", sent, e1, got, e2, in[0].n, in[1].n, in[2].n, string(bufs[2][:3]))
	must(syscall.Close(fds[0]))
	must(syscall.Close(fds[1]))
}

// backlog has a blocking connect wait for an accept.
func backlog() {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	addr := &syscall.SockaddrUnix{Name: "@backlog"}
	must(syscall.Bind(fd, addr))
	must(syscall.Listen(fd, 1))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			c, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			must(err)
			must(syscall.Connect(c, addr))
			must(syscall.Close(c))
		})
	}
	time.Sleep(10 * time.Millisecond)
	for range 10 {
		c, _, err := syscall.Accept(fd)
		must(err)
		must(syscall.Close(c))
	}
	wg.Wait()
	fmt.Println("backlog")
	must(syscall.Close(fd))
}

func interfaces() {
	list, err := net.Interfaces()
	must(err)
	for _, i := range list {
		_, err := i.Addrs()
		must(err)
		if i.Flags&net.FlagLoopback != 0 {
			same, err := net.InterfaceByName(i.Name)
			must(err)
			fmt.Println("loopback", same.Index == i.Index)
		}
	}
	_, err = net.InterfaceAddrs()
	fmt.Println("interfaces", err)
}

// files are what package net reads.
func files() {
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/proc/sys/net/core/somaxconn"} {
		_, err := os.ReadFile(name)
		must(err)
	}
	port, err := net.LookupPort("tcp", "https")
	fmt.Println("port", port, err)
	host, err := os.Hostname()
	must(err)
	addrs, err := net.LookupHost(host)
	fmt.Println("host", len(addrs) > 0, err)
}
