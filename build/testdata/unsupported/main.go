// Command unsupported asks for what a unikernel does not have.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"plugin"
	"syscall"
)

func main() {
	show(exec.Command("/bin/true").Run())
	_, err := os.StartProcess("/bin/true", nil, &os.ProcAttr{})
	show(err)
	show(syscall.Exec("/bin/true", nil, nil))
	_, err = net.Dial("tcp", "127.0.0.1:80")
	show(err)
	_, err = net.Dial("tcp", "[::1]:80")
	show(err)
	_, err = net.Listen("tcp", ":80")
	show(err)
	_, err = net.Listen("unix", "/tmp/x")
	show(err)
	_, err = net.ListenPacket("udp", ":80")
	show(err)
	_, err = net.Interfaces()
	show(err)
	_, err = syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	show(err)
	_, err = plugin.Open("x.so")
	fmt.Println(err)
}

func show(err error) {
	fmt.Println(err)
	if !errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("and that is not errors.ErrUnsupported")
	}
}
