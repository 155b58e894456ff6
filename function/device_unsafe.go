//go:build pvrun && linux

package function

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Requests of ioctl (docs/functions.md).
const (
	requestFail       = 0x4670
	requestReady      = 0x4671
	requestGeneration = 0x80084672
	requestInstance   = 0x80104673
	requestNextLife   = 0xc0084674
)

const (
	device     = "/dev/function"
	headerSize = 24 // that is known; the file says how much it has
	// firstRead is what is read at once: header and message, if that is short.
	firstRead = 4096
)

func open(flags int) (int, error) {
	for {
		fd, err := syscall.Open(device, flags|syscall.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case syscall.EINTR:
		case syscall.ENODEV:
			return -1, fmt.Errorf("%s: this machine gets no messages; those of pvrun invoke do", device)
		default:
			return -1, &os.PathError{Op: "open", Path: device, Err: err}
		}
	}
}

// exchange is a message and its answer.
type exchange struct {
	fd       int
	message  []byte
	deadline int64 // of the monotonic clock, in ns
}

// receive waits for a message.
func receive() (*exchange, error) {
	fd, err := open(os.O_RDWR)
	if err != nil {
		return nil, err
	}
	x := &exchange{fd: fd}
	if err := x.receive(); err != nil {
		syscall.Close(fd)
		return nil, fmt.Errorf("read %s: %w", device, err)
	}
	return x, nil
}

func (x *exchange) receive() error {
	b := make([]byte, firstRead)
	n, err := x.fill(b, headerSize)
	if err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(b[4:])
	length := binary.LittleEndian.Uint64(b[8:])
	x.deadline = int64(binary.LittleEndian.Uint64(b[16:]))
	if size < headerSize || size > firstRead || length > MaxMessage {
		return errors.New("bad header")
	}
	end := int(size) + int(length)
	if end > len(b) {
		b = append(make([]byte, 0, end), b[:n]...)[:end]
	}
	if n < end {
		_, err = x.fill(b[n:end], end-n)
	}
	x.message = b[size:end:end]
	return err
}

// fill reads at least so many bytes.
func (x *exchange) fill(b []byte, least int) (n int, err error) {
	for n < least {
		k, err := syscall.Read(x.fd, b[n:])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return n, err
		case k == 0:
			return n, errors.New("the message is short")
		default:
			n += k
		}
	}
	return n, nil
}

// respond ends the exchange. What cannot be written is an answer, too.
func (x *exchange) respond(response []byte, failed error) {
	if failed != nil {
		text := failed.Error()
		response = []byte(text[:min(len(text), MaxMessage)])
		control(x.fd, requestFail)
	}
	for len(response) > 0 {
		n, err := syscall.Write(x.fd, response)
		if err != nil && err != syscall.EINTR {
			control(x.fd, requestFail)
			break
		}
		response = response[max(n, 0):]
	}
	syscall.Close(x.fd)
}

func control(fd int, request uintptr) error { return ioctl(fd, request, nil) }

func ioctl(fd int, request uintptr, at unsafe.Pointer) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(at))
	if errno != 0 {
		return errno
	}
	return nil
}

func generationOf(fd int) (n uint64) {
	ioctl(fd, requestGeneration, unsafe.Pointer(&n))
	return n
}

func instanceOf(fd int) (id [16]byte) {
	ioctl(fd, requestInstance, unsafe.Pointer(&id))
	return id
}

// nextLife waits for another generation than old.
func nextLife(fd int, old uint64) (uint64, error) {
	for {
		now := old
		err := ioctl(fd, requestNextLife, unsafe.Pointer(&now))
		if err != syscall.EINTR {
			return now, err
		}
	}
}

// monotonic is the clock of deadlines, in ns.
func monotonic() int64 {
	var ts syscall.Timespec
	const clockMonotonic = 1
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}
