package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// protocolVersion changes with what an older side would misunderstand.
	protocolVersion = 1
	maxMessage      = 4096
	// frameHeader is how many bytes stand in front of a frame: struct virtio_net_hdr
	// (VIRTIO 1.2, "Device Operation" of the network device), zero.
	frameHeader = 10
)

type request struct {
	Version int            `json:"version,omitempty"`
	Join    *joinRequest   `json:"join,omitempty"`
	Expose  *exposeRequest `json:"expose,omitempty"`
}

type joinRequest struct {
	Name string `json:"name,omitempty"`
	MAC  string `json:"mac"`
	MTU  int    `json:"mtu,omitempty"`
}

type exposeRequest struct {
	Network string `json:"network"` // tcp or udp
	Port    uint16 `json:"port"`
}

type reply struct {
	Error  string  `json:"error,omitempty"`
	Joined *joined `json:"joined,omitempty"`
}

type joined struct {
	Address string `json:"address"`
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"`
	Search  string `json:"search"`
	MTU     int    `json:"mtu"`
}

// control is a connection of the protocol.
type control struct{ *net.UnixConn }

// receive reads a request, and the descriptor beside it if there is one.
func (c control) receive() (r request, file *os.File, err error) {
	text, rights := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*4))
	n, nrights, flags, _, err := c.ReadMsgUnix(text, rights)
	if err != nil {
		return r, nil, err
	}
	file, err = descriptor(rights[:nrights])
	switch {
	case err != nil:
		return r, nil, err
	case n == 0:
		err = net.ErrClosed
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("the message is too long")
	default:
		err = json.Unmarshal(text[:n], &r)
	}
	if err != nil && file != nil {
		file.Close()
		file = nil
	}
	return r, file, err
}

// descriptor takes the one descriptor out of a control message; others are closed.
func descriptor(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	list, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var file *os.File
	for i := range list {
		fds, err := unix.ParseUnixRights(&list[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if file != nil {
				unix.Close(fd)
				continue
			}
			unix.CloseOnExec(fd)
			unix.SetNonblock(fd, true) // before os.NewFile, which asks
			file = os.NewFile(uintptr(fd), "descriptor")
		}
	}
	return file, nil
}

func (c control) send(r reply) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = c.Write(text)
	}
	return err
}

// serve is one machine's time on the network.
func (c control) serve(n *network) {
	defer c.Close()
	m, err := c.join(n)
	if err != nil {
		c.send(reply{Error: err.Error()})
		return
	}
	defer n.leave(m)
	for {
		r, file, err := c.receive()
		if err != nil {
			return
		}
		var answer reply
		if err := m.handle(r, file); err != nil {
			answer.Error = err.Error()
		}
		if c.send(answer) != nil {
			return
		}
	}
}

func (c control) join(n *network) (*machine, error) {
	r, file, err := c.receive()
	if err != nil {
		return nil, err
	}
	if file != nil {
		defer file.Close() // the machine has a copy
	}
	switch {
	case r.Version != protocolVersion:
		return nil, fmt.Errorf("pvrun speaks version %d and pvrun-net %d: install both of one release", r.Version, protocolVersion)
	case r.Join == nil || file == nil:
		return nil, errors.New("the first request must be join, with a descriptor")
	}
	m, err := n.join(*r.Join, file)
	if err != nil {
		return nil, err
	}
	if err := c.send(reply{Joined: m.joined()}); err != nil {
		n.leave(m)
		return nil, err
	}
	return m, nil
}

func (m *machine) handle(r request, file *os.File) error {
	if file != nil {
		defer file.Close()
	}
	if r.Expose == nil || file == nil || r.Expose.Port == 0 {
		return errors.New("not a request, or without its descriptor")
	}
	return m.expose(r.Expose.Network, r.Expose.Port, file)
}
