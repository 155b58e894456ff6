// Package nic is what carries a machine's frames on the host: descriptors that give
// and take one frame at a time, what may stand in front of a frame, and what is done
// with frames on the way.
package nic

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// Link is a descriptor that carries frames, one for each read and each write: a TAP
// (IFF_TAP, IFF_NO_PI and IFF_VNET_HDR), or a connected SOCK_SEQPACKET or SOCK_DGRAM
// unix socket. It does not block.
type Link struct {
	FD int
	// Offload: frames may come and go with partial checksums, and longer than the MTU
	// to be cut. Without it each Header is zero.
	Offload bool
}

// Header stands in front of every frame on a link: struct virtio_net_hdr in the byte
// order of the machine (Virtual I/O Device (VIRTIO) Version 1.2, "Device Operation" of
// the network device; Linux, include/uapi/linux/virtio_net.h).
type Header struct {
	Flags          uint8
	GSO            uint8
	HeaderLen      uint16
	SegmentSize    uint16
	ChecksumStart  uint16
	ChecksumOffset uint16
}

// HeaderSize is how long a Header is, in bytes.
const HeaderSize = 10

// ErrShort is a message without a whole Header.
var ErrShort = errors.New("message is shorter than its header")

// Receive takes one frame and returns its length. A frame that is longer than the
// buffer is cut, and nothing says so. EAGAIN: there is none; io.EOF: the other side has
// gone. Nothing is allocated.
func (l Link) Receive(h *Header, frame []byte) (int, error) {
	n, errno := transfer(unix.SYS_READV, l.FD, h, frame)
	switch {
	case errno != 0:
		return 0, errno
	case n == 0 && l.gone():
		return 0, io.EOF
	case n < HeaderSize:
		return 0, ErrShort
	}
	return n - HeaderSize, nil
}

// Send gives one frame and returns its length. EAGAIN: there is no room for it now.
// Nothing is allocated.
func (l Link) Send(h *Header, frame []byte) (int, error) {
	n, errno := transfer(unix.SYS_WRITEV, l.FD, h, frame)
	switch {
	case errno != 0:
		return 0, errno
	case n < HeaderSize:
		return 0, ErrShort
	}
	return n - HeaderSize, nil
}

// gone tells the end of a SOCK_SEQPACKET from an empty message.
func (l Link) gone() bool {
	fds := []unix.PollFd{{Fd: int32(l.FD), Events: unix.POLLRDHUP}}
	n, _ := unix.Poll(fds, 0)
	return n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLRDHUP) != 0
}
